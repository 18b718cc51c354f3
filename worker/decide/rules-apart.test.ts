import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rank } from './placement.ts';
import { Desk, TAKEOVER_MS } from './testing.ts';
import { Floor, reasonOf, ruled, SOON_MS, TAKEOVERS_MS } from './testing-floor.ts';

describe('apart', () => {
  test('two that start at the same instant take different nodes', () => {
    const floor = new Floor(ruled({ web: { apart: ['batch'] }, batch: {} }));
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'alice', batch: 'bob' });
    equal(
      rank(floor.state, floor.group('batch'), floor.now).find(({ node }) => node === 'alice')?.reasons[0]?.rule,
      'not-apart',
    );
  });

  test('in both directions no node is given one while it has the other: the later one waits', () => {
    for (const groups of [
      { web: { on: ['alice', 'bob'], apart: ['batch'] }, batch: { on: ['alice', 'bob'] } },
      { web: { on: ['alice', 'bob'] }, batch: { on: ['alice', 'bob'], apart: ['web'] } },
    ]) {
      const floor = new Floor(ruled(groups));
      floor.runs(SOON_MS);
      floor.dies('bob');
      floor.runs(TAKEOVERS_MS);
      deepEqual(floor.places, { web: 'alice', batch: '' });
      match(reasonOf(floor, 'batch'), /alice runs web, from which it is kept apart/);
      floor.returns('bob');
      floor.runs(TAKEOVERS_MS);
      deepEqual(floor.places, { web: 'alice', batch: 'bob' });
    }
  });

  test('a lease that may still run counts: nothing is given to a node for what a lost owner may still have there', () => {
    const floor = new Floor(ruled({ web: { on: ['alice'] }, batch: { on: ['bob', 'alice'], apart: ['web'] } }));
    floor.runs(SOON_MS);
    floor.dies('alice');
    floor.returns('alice');
    floor.fails('batch');
    floor.runs(1_000);
    equal(floor.place('batch'), '');
  });

  test('a new rule separates two that run together: the one that says it leaves', () => {
    const floor = new Floor(ruled({ web: {}, batch: {} }));
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'alice', batch: 'alice' });
    floor.does({ type: 'apply', config: ruled({ web: {}, batch: { apart: ['web'] } }) });
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-batch alice', '+batch bob']);
  });

  test('separates no more of them than can go somewhere: two do not leave at once for one place', () => {
    const on = ['alice', 'bob'];
    const floor = new Floor(ruled({ a: { on }, b: { on }, c: { on } }));
    floor.runs(SOON_MS);
    const all = { a: { on, apart: ['b', 'c'] }, b: { on, apart: ['a', 'c'] }, c: { on, apart: ['a', 'b'] } };
    floor.does({ type: 'apply', config: ruled(all) });
    floor.runs(60_000);
    deepEqual(floor.since(3), ['-b alice', '+b bob']);
    deepEqual(floor.places, { a: 'alice', b: 'bob', c: 'alice' });
    floor.does({ type: 'apply', config: ruled({ ...all, c: { apart: ['a', 'b'] } }) });
    floor.runs(SOON_MS);
    deepEqual(floor.places, { a: 'alice', b: 'bob', c: 'carol' });
  });

  test('both say it: one of them leaves, not both', () => {
    const floor = new Floor(ruled({ web: {}, batch: {} }));
    floor.runs(SOON_MS);
    floor.does({ type: 'apply', config: ruled({ web: { apart: ['batch'] }, batch: { apart: ['web'] } }) });
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-web alice', '+web bob']);
  });

  test('they stay together while the one that says it has nowhere to go', () => {
    const floor = new Floor(ruled({ web: {}, batch: {} }));
    floor.runs(SOON_MS);
    floor.standby('bob');
    floor.standby('carol');
    floor.does({ type: 'apply', config: ruled({ web: {}, batch: { apart: ['web'] } }) });
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'alice', batch: 'alice' });
    floor.does({ type: 'node-ready', node: 'carol' });
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'alice', batch: 'carol' });
  });

  test('a new rule separates also what only a person may fail over: it leaves in order', () => {
    const floor = new Floor(ruled({ web: {}, batch: { failover: 'manual' } }));
    floor.runs(SOON_MS);
    floor.does({ type: 'apply', config: ruled({ web: {}, batch: { failover: 'manual', apart: ['web'] } }) });
    floor.runs(SOON_MS);
    deepEqual(floor.places, { web: 'alice', batch: 'bob' });
  });

  test('a move to the other one’s node is refused with what to do first', () => {
    const floor = new Floor(ruled({ web: { apart: ['batch'] }, batch: { on: ['bob', 'carol'] } }));
    floor.runs(SOON_MS);
    const { refused } = floor.does({ type: 'move', group: 'web', to: 'bob', operation: 'm' });
    match(refused?.detail ?? '', /^bob cannot take web: it runs batch.*move batch away first: `holdfast move batch`/);
  });
});

test('a move ends when a rule comes to forbid its target', () => {
  const floor = new Floor(ruled({ web: { after: ['db'] }, db: { on: ['carol'] }, batch: { on: ['bob', 'carol'] } }));
  floor.runs(SOON_MS);
  floor.standby('bob');
  floor.runs(SOON_MS);
  floor.does({ type: 'node-ready', node: 'bob' });
  floor.neverStops.add('web');
  equal(floor.does({ type: 'move', group: 'web', to: 'bob', operation: 'm' }).refused, undefined);
  floor.runs(500);
  floor.does({ type: 'move', group: 'batch', to: 'bob', operation: 'm2' });
  floor.runs(SOON_MS);
  equal(floor.place('batch'), 'bob');
  const apart = { web: { after: ['db'], apart: ['batch'] }, db: { on: ['carol'] }, batch: { on: ['bob', 'carol'] } };
  floor.does({ type: 'apply', config: ruled(apart) });
  equal(floor.group('web').target, null);
  equal(floor.state.durable.operations.m, undefined);
  match(
    floor.events.find(({ kind }) => kind === 'operation.finished')?.detail ?? '',
    /bob could not take it; alice has it/,
  );
});

test('a grant that was lost is not repeated once it has run out and what it is kept apart from has come to the node', () => {
  const desk = new Desk(ruled({ log: { apart: ['db'] }, db: {} }));
  const log = { claims: [{ group: 'log', renewal: null, seenForMs: TAKEOVER_MS }] };
  equal(desk.hears('alice', log).grants[0]?.epoch, 1);
  equal(desk.hears('alice', log).grants[0]?.epoch, 1, 'it was lost');
  desk.passes(TAKEOVER_MS + 1, ['bob', 'carol']);
  desk.does({ type: 'tick' });
  equal(desk.claims('alice').grants[0]?.group, 'db');
  deepEqual(desk.hears('alice', log).grants, []);
});
