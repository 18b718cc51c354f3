import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reasonText } from '../../schemas/reasons.ts';
import type { Report } from '../../schemas/wire.ts';
import { statusOf, whyOf } from './explain.ts';
import { rank } from './placement.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';
import { Floor, ruled } from './testing-floor.ts';

/** Long enough for everything that needs no lease to run out. */
const SOON_MS = 2_000;
/** Long enough for a lost node to be taken over from, one group after the other. */
const TAKEOVERS_MS = TAKEOVER_MS + 4_000;

const reasonOf = (floor: Floor, group: string) => statusOf(floor.state, floor.now).groups[group]?.reason ?? '';
const stateOf = (floor: Floor, group: string) => statusOf(floor.state, floor.now).groups[group]?.state;

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

describe('prefer', () => {
  const labels = { carol: ['disk=ssd'], bob: ['disk=hdd', 'room=b'] };

  test('labels and nodes rank before the order of `on`, and the score says by how much', () => {
    const floor = new Floor(ruled({ db: { prefer: ['disk=ssd', 'bob'] } }, labels));
    const scores = rank(floor.state, floor.group(), floor.now).map(({ node, score }) => [node, score]);
    deepEqual(scores, [
      ['carol', 200 + 14],
      ['bob', 100 + 15],
      ['alice', 16],
    ]);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'carol');
  });

  test('of several entries that fit one node the best counts', () => {
    const floor = new Floor(ruled({ db: { prefer: ['room=b', 'disk=hdd', 'bob'] } }, labels));
    const [best] = rank(floor.state, floor.group(), floor.now);
    deepEqual(best?.reasons, [
      { rule: 'prefer', entry: 'room=b', weight: 300 },
      { rule: 'preference', position: 2, weight: 15 },
    ]);
  });

  test('does not move what runs: it stays put, also through a stop and a start', () => {
    const floor = new Floor(ruled({ db: {} }, labels));
    floor.runs(SOON_MS);
    const nine = Array.from({ length: 8 }, (_, index) => `x=${index}`);
    const better = { ...labels, carol: ['disk=ssd', 'x=0'] };
    floor.does({ type: 'apply', config: ruled({ db: { prefer: ['x=0', ...nine.slice(1), 'bob'] } }, better) });
    floor.runs(SOON_MS);
    floor.does({ type: 'group-stop', group: 'db', operation: 's' });
    floor.runs(SOON_MS);
    floor.does({ type: 'group-start', group: 'db', operation: 's2' });
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
    equal(rank(floor.state, floor.group(), floor.now)[0]?.score, 1_016);
  });
});

describe('failover: manual', () => {
  const manual = { db: { failover: 'manual' } } as const;

  test('after a power cut the group waits for a person, who moves it', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    floor.dies('alice');
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), '');
    equal(stateOf(floor, 'db'), 'waiting');
    match(reasonOf(floor, 'db'), /bob takes it only by `holdfast move db --to bob` \(failover: manual\)/);
    equal(floor.does({ type: 'move', group: 'db', to: null, operation: 'm' }).refused, undefined);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'bob');
    equal(floor.state.durable.operations.m, undefined);
  });

  test('the node that had it takes it again when it returns', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    floor.dies('alice');
    floor.runs(TAKEOVERS_MS);
    floor.returns('alice');
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), 'alice');
  });

  test('after a failure of the group as well, and a failure that was forgotten changes nothing', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    floor.fails('db');
    floor.dies('alice');
    floor.runs(SOON_MS);
    floor.does({ type: 'cleanup', group: 'db' });
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), '');
  });

  test('what an operator asks for goes on as usual: move, standby, stop and start', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    equal(floor.does({ type: 'move', group: 'db', to: 'bob', operation: 'm' }).refused, undefined);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'bob');
    floor.standby('bob');
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
  });

  test('a first start needs nobody', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
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
