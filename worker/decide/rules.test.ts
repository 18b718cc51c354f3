import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reasonText } from '../../schemas/reasons.ts';
import type { Report } from '../../schemas/wire.ts';
import { statusOf } from './explain.ts';
import { config, TAKEOVER_MS } from './testing.ts';
import { Floor, reasonOf, ruled, SOON_MS, stateOf, TAKEOVERS_MS } from './testing-floor.ts';

describe('after', () => {
  const chain = { web: { after: ['app'] }, app: { after: ['db'] }, db: {} };

  test('a cold start brings up first what others come after', () => {
    const floor = new Floor(ruled(chain));
    floor.runs(SOON_MS);
    deepEqual(floor.story, ['+db alice', '+app alice', '+web alice']);
  });

  test('a group is not granted, also to one that asks, before the other is up', () => {
    const floor = new Floor(ruled(chain));
    const { grants, refused } = floor.hears('alice', { claims: [{ group: 'web', renewal: null, seenForMs: 0 }] });
    deepEqual(grants, []);
    match(refused[0]?.reason ?? '', /^waits for app, which is waiting \(for db, which is \w+\)$/);
  });

  test('it waits through starting and degraded is up', () => {
    const floor = new Floor(ruled({ web: { after: ['db'] }, db: {} }));
    floor.round();
    floor.round(); // db is granted
    const db = floor.agent('alice').held.get('db');
    if (db !== undefined) db.state = 'starting';
    floor.runs(SOON_MS);
    equal(floor.place('web'), '');
    if (db !== undefined) db.state = 'degraded';
    floor.runs(SOON_MS);
    equal(floor.place('web'), 'alice');
  });

  test('it is an order, not a bond: what runs goes on when the other fails, moves or stops', () => {
    const floor = new Floor(ruled({ web: { after: ['db'] }, db: {} }));
    floor.runs(SOON_MS);
    floor.does({ type: 'move', group: 'db', to: 'bob', operation: 'm' });
    floor.runs(SOON_MS);
    floor.fails('db');
    floor.runs(SOON_MS);
    floor.does({ type: 'group-stop', group: 'db', operation: 's' });
    floor.runs(SOON_MS);
    deepEqual(
      floor.since(2).filter((line) => line.includes('web')),
      [],
    );
    equal(floor.place('web'), 'alice');
  });

  test('a chain behind a group that has failed everywhere waits, and each says for what and why, to the end', () => {
    const floor = new Floor(ruled(chain));
    for (const node of floor.agents.keys()) floor.failing.add(`db/${node}`);
    floor.runs(SOON_MS);
    deepEqual(floor.story, []);
    deepEqual([stateOf(floor, 'db'), stateOf(floor, 'app'), stateOf(floor, 'web')], ['failed', 'waiting', 'waiting']);
    match(reasonOf(floor, 'app'), /^waits for db, which is failed \(carol ip failed here/);
    match(reasonOf(floor, 'web'), /^waits for app, which is waiting \(for db, which is failed \(carol ip failed here/);
    floor.failing.clear();
    floor.does({ type: 'cleanup', group: 'db' });
    floor.runs(SOON_MS);
    deepEqual(floor.story, ['+db carol', '+app alice', '+web alice']);
  });

  test('after a power cut everything comes up elsewhere in its order', () => {
    const floor = new Floor(ruled(chain));
    floor.runs(SOON_MS);
    floor.dies('alice');
    floor.runs(TAKEOVERS_MS);
    deepEqual(floor.since(6), ['+db bob', '+app bob', '+web bob']);
  });

  test('a restart of the coordinator forgets nothing: what was up counts as up', () => {
    const floor = new Floor(ruled({ web: { after: ['db'] }, db: {} }));
    floor.runs(SOON_MS);
    floor.does({ type: 'group-stop', group: 'web', operation: 's' });
    floor.runs(SOON_MS);
    floor.restarts();
    floor.does({ type: 'group-start', group: 'web', operation: 's2' });
    equal(stateOf(floor, 'db'), 'running');
    floor.runs(TAKEOVERS_MS);
    deepEqual(floor.since(2), ['-web alice', '+web alice']);
  });
});

describe('the order of leaving', () => {
  test('at standby, what comes after another group leaves first, and comes up last', () => {
    const floor = new Floor(ruled({ db: {}, app: { after: ['db'] }, web: { after: ['app'], with: ['db'] } }));
    floor.runs(SOON_MS);
    floor.standby('alice');
    const kept = statusOf(floor.state, floor.now).groups.db;
    deepEqual([kept?.state, kept?.reason], ['stopping', 'the node is in standby; app, web stop first']);
    floor.runs(SOON_MS);
    deepEqual(floor.since(3), ['-web alice', '-app alice', '-db alice', '+db bob', '+app bob', '+web bob']);
  });

  test('of two nodes that go to standby at once, groups that wait for each other both leave', () => {
    const floor = new Floor(ruled({ db: { on: ['alice', 'carol'] }, web: { on: ['bob', 'carol'], after: ['db'] } }));
    floor.runs(SOON_MS);
    deepEqual(floor.places, { db: 'alice', web: 'bob' });
    floor.standby('alice');
    floor.standby('bob');
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-web bob', '-db alice', '+db carol', '+web carol']);
  });

  for (const paused of ['nothing', 'db', 'web', null])
    test(`a host that is shutting down is left in the same order, with ${paused ?? 'everything'} paused`, () => {
      const floor = new Floor(ruled({ db: {}, web: { after: ['db'] } }));
      floor.runs(SOON_MS);
      if (paused !== 'nothing') floor.does({ type: 'pause', group: paused, forMs: 3_600_000, reason: 'new kernel' });
      const db = { group: 'db', epoch: 1 };
      const web = { group: 'web', epoch: 1 };
      const orders = (leases: readonly (typeof db)[], more: Partial<Report> = {}) =>
        floor
          .hears('alice', { leaving: true, leases: [...leases], epochs: {}, ...more })
          .leases.map((answer) => answer.verdict === 'renewed' && `${answer.group} ${answer.order}`);
      const dbStays = paused === null || paused === 'db' ? 'db pause' : 'db run';
      deepEqual(orders([db, web]), [dbStays, 'web release']);
      deepEqual(orders([db], { releases: [web] }), ['db release']);
    });

  test('a dependant whose node is lost is waited for until its lease has run out, no longer', () => {
    const floor = new Floor(ruled({ db: { on: ['alice', 'carol'] }, web: { on: ['bob'], after: ['db'] } }));
    floor.runs(SOON_MS);
    floor.dies('bob');
    floor.standby('bob');
    floor.standby('alice');
    floor.runs(TAKEOVER_MS - SOON_MS);
    equal(floor.place('db'), 'alice');
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), 'carol');
  });

  test('a dependant that does not stop is waited for; status says for whom', () => {
    const floor = new Floor(ruled({ db: {}, web: { after: ['db'] } }));
    floor.runs(SOON_MS);
    floor.neverStops.add('web');
    floor.standby('alice');
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), 'alice');
    equal(reasonOf(floor, 'db'), 'the node is in standby; web stops first');
    floor.neverStops.clear();
    floor.runs(SOON_MS);
    deepEqual(floor.since(2), ['-web alice', '-db alice', '+db bob', '+web bob']);
  });

  for (const [what, touch] of [
    ['paused', { pause: { since: 0, until: 4_000_000_000_000, reason: 'x' } }],
    ['on hold', { halt: { kind: 'hold', node: 'alice', resource: 'ip', reason: 'x', at: 0 } }],
  ] as const)
    test(`a dependant that is ${what} is not waited for: nobody touches it`, () => {
      const floor = new Floor(ruled({ db: {}, web: { after: ['db'] } }));
      floor.runs(SOON_MS);
      const groups = { ...floor.state.durable.groups, web: { ...floor.group('web'), ...touch } };
      floor.state = { ...floor.state, durable: { ...floor.state.durable, groups } };
      floor.neverStops.add('web');
      floor.standby('alice');
      floor.runs(SOON_MS);
      equal(floor.place('db'), 'bob');
    });

  test('a group that is to go on is no reason to keep another', () => {
    const floor = new Floor(ruled({ db: { on: ['alice', 'carol'] }, web: { on: ['bob'], after: ['db'] } }));
    floor.runs(SOON_MS);
    floor.standby('alice');
    floor.runs(SOON_MS);
    deepEqual(floor.places, { db: 'carol', web: 'bob' });
    deepEqual(floor.since(2), ['-db alice', '+db carol']);
  });
});

test('a chain of groups that wait is told in a few words, however long it is', () => {
  const names = Array.from({ length: 60 }, (_, index) => `g${index}`);
  const chain = Object.fromEntries(names.map((name, index) => [name, index === 0 ? {} : { after: [`g${index - 1}`] }]));
  const floor = new Floor(ruled(chain));
  for (const node of floor.agents.keys()) floor.failing.add(`g0/${node}`);
  floor.runs(SOON_MS);
  match(
    reasonOf(floor, 'g59'),
    /^waits for g58, which is waiting \(for g57, which waits for g56, which waits for 55 others and in the end g0, which is failed \(carol/,
  );
  equal(reasonOf(floor, 'g59').length < 500, true);
  floor.failing.clear();
  floor.does({ type: 'cleanup', group: 'g0' });
  floor.runs(60 * 300);
  deepEqual(
    floor.story,
    names.map((name) => `+${name} ${name === 'g0' ? 'carol' : 'alice'}`),
  );
});

test('groups without rules are placed as ever', () => {
  const floor = new Floor(config({ db: ['alice', 'bob'], web: ['bob'] }));
  floor.runs(SOON_MS);
  deepEqual(floor.places, { db: 'alice', web: 'bob' });
  equal(reasonText({ rule: 'not-with', group: 'db', owner: null }).includes('db'), true);
});
