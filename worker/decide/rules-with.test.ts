import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { whyOf } from './explain.ts';
import { Floor, reasonOf, ruled, SOON_MS, stateOf, TAKEOVERS_MS } from './testing-floor.ts';

describe('with', () => {
  const pair = { web: { with: ['db'] }, db: {} };

  test('it starts where the other is, whatever its own order of nodes', () => {
    const floor = new Floor(
      ruled({ web: { on: ['carol', 'bob', 'alice'], with: ['db'] }, db: { on: ['bob', 'alice'] } }),
    );
    floor.runs(SOON_MS);
    deepEqual(floor.story, ['+db bob', '+web bob']);
    const why = whyOf(floor.state, 'web', floor.now, { lastGrant: null, refusals: [] });
    const carol = why?.candidates.find(({ node }) => node === 'carol');
    deepEqual(carol?.reasons[0], { rule: 'not-with', group: 'db', owner: 'bob' });
  });

  test('it follows a planned move: it stops first, and starts beside the other', () => {
    const floor = new Floor(ruled(pair));
    floor.runs(SOON_MS);
    floor.does({ type: 'move', group: 'db', to: 'carol', operation: 'm' });
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-web alice', '-db alice', '+db carol', '+web carol']);
    equal(floor.state.durable.operations.m, undefined);
  });

  test('it follows a failure, and a power cut', () => {
    const floor = new Floor(ruled(pair));
    floor.runs(SOON_MS);
    floor.fails('db');
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-db alice', '-web alice', '+db bob', '+web bob']);
    floor.dies('bob');
    floor.runs(TAKEOVERS_MS);
    deepEqual(floor.since(8), ['+db carol', '+web carol']);
  });

  test('it stops with the other one, before it, and waits', () => {
    const floor = new Floor(ruled(pair));
    floor.runs(SOON_MS);
    floor.does({ type: 'group-stop', group: 'db', operation: 's' });
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-web alice', '-db alice']);
    equal(stateOf(floor, 'web'), 'waiting');
    match(reasonOf(floor, 'web'), /^waits for db, which is stopped \(stopped by an operator\)$/);
    floor.does({ type: 'group-start', group: 'db', operation: 's2' });
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'alice', db: 'alice' });
  });

  test('the other decides alone: it goes where its follower cannot, which waits and says so', () => {
    const floor = new Floor(ruled({ web: { on: ['alice'], with: ['db'] }, db: {} }));
    floor.runs(SOON_MS);
    floor.standby('alice');
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: '', db: 'bob' });
    match(reasonOf(floor, 'web'), /^alice is in standby$/);
    floor.does({ type: 'node-ready', node: 'alice' });
    floor.runs(SOON_MS);
    match(reasonOf(floor, 'web'), /^alice is not where db runs \(bob\)$/);
  });

  test('a failure of the follower does not move the other', () => {
    const floor = new Floor(ruled(pair));
    floor.runs(SOON_MS);
    floor.fails('web');
    floor.runs(1_000);
    deepEqual(floor.places, { web: '', db: 'alice' });
    equal(stateOf(floor, 'web'), 'failed');
  });

  test('a chain of followers goes together', () => {
    const floor = new Floor(ruled({ web: { with: ['app'] }, app: { with: ['db'] }, db: {} }));
    floor.runs(SOON_MS);
    floor.does({ type: 'move', group: 'db', to: 'bob', operation: 'm' });
    floor.runs(SOON_MS);
    deepEqual(floor.since(3), ['-web alice', '-app alice', '-db alice', '+db bob', '+app bob', '+web bob']);
  });

  test('a move of the follower is refused with what to do instead', () => {
    const floor = new Floor(ruled(pair));
    floor.runs(SOON_MS);
    const to = floor.does({ type: 'move', group: 'web', to: 'bob', operation: 'm' }).refused;
    match(
      to?.detail ?? '',
      /^bob cannot take web: it is not where db runs \(alice\); move db instead.*move db --to bob`$/,
    );
    const anywhere = floor.does({ type: 'move', group: 'web', to: null, operation: 'm' }).refused;
    match(anywhere?.detail ?? '', /^no other node can take web: .*move db instead, .*`holdfast move db`$/);
  });

  test('a rule that is new brings the follower over; a leader that has yet to start leaves it where it is', () => {
    const floor = new Floor(ruled({ web: { on: ['bob', 'alice'] }, db: {} }));
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'bob', db: 'alice' });
    floor.does({
      type: 'apply',
      config: ruled({ web: { with: ['new'] }, db: {}, new: { on: ['bob'], after: ['db'] } }),
    });
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['+new bob']);
    floor.does({ type: 'apply', config: ruled({ web: { with: ['db'] }, db: {}, new: { on: ['bob'] } }) });
    floor.runs(SOON_MS);
    deepEqual(floor.since(3), ['-web bob', '+web alice']);
  });
});
