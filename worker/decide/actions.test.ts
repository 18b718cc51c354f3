import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES, MAX_DETAIL_LENGTH } from '../../schemas/limits.ts';
import { statusOf } from './explain.ts';
import type { CoordinatorEvent } from './state.ts';
import { config, Desk } from './testing.ts';

const { leaseMs } = LEASE_PROFILES.default;

describe('an action that is not possible is refused whole, with the reason and what to do', () => {
  const runs = (desk: Desk) => desk.runsOn('alice');
  const move = (to: string | null): CoordinatorEvent => ({ type: 'move', group: 'db', to, operation: 'o' });
  const cases: [string, (desk: Desk) => void, CoordinatorEvent, string, RegExp][] = [
    ['an unknown group', runs, { type: 'cleanup', group: 'web' }, 'group-unknown', /there are: db/],
    ['an unknown node', runs, { type: 'node-ready', node: 'dave' }, 'node-unknown', /no node dave/],
    [
      'standby of an unknown node',
      runs,
      { type: 'node-standby', node: 'x', operation: 'o' },
      'node-unknown',
      /no node x/,
    ],
    ['removing an unknown node', runs, { type: 'node-remove', node: 'x', force: true }, 'node-unknown', /no node x/],
    ['the death of an unknown node', runs, { type: 'confirm-dead', node: 'x' }, 'node-unknown', /no node x/],
    ['a move to where it is', runs, move('alice'), 'not-possible', /already runs on alice/],
    [
      'a move to a node that there is not',
      runs,
      move('dave'),
      'node-unknown',
      /no node dave .*there are: alice, bob, carol/,
    ],
    [
      'a move to a node that is not listed',
      (d) => {
        d.does({ type: 'apply', config: config({ db: ['alice', 'bob'] }) });
        d.runsOn('alice');
      },
      move('carol'),
      'not-possible',
      /not in the group’s `on` list/,
    ],
    [
      'a move to a node in standby',
      (d) => {
        runs(d);
        d.does({ type: 'node-standby', node: 'bob', operation: 'o' });
      },
      move('bob'),
      'not-possible',
      /bob cannot take db: it is in standby/,
    ],
    [
      'a second move',
      (d) => {
        runs(d);
        d.does(move('bob'));
      },
      move('carol'),
      'not-possible',
      /already being moved to bob/,
    ],
    [
      'a move of a stopped group',
      (d) => d.does({ type: 'group-stop', group: 'db', operation: 'o' }),
      move('bob'),
      'not-possible',
      /group start db/,
    ],
    [
      'a move with nowhere to go',
      (d) => {
        runs(d);
        d.passes(leaseMs + 1);
        d.renews('alice', 1);
      },
      move(null),
      'not-possible',
      /no other node can take db: bob is lost/,
    ],
    [
      'removing a node that runs groups',
      runs,
      { type: 'node-remove', node: 'alice', force: false },
      'node-owns-groups',
      /alice runs db.*--force/,
    ],
    [
      'the death of a node that evidently lives',
      runs,
      { type: 'confirm-dead', node: 'alice' },
      'node-alive',
      /0 ms ago/,
    ],
    [
      'joining under the name of a living node',
      runs,
      { type: 'enrol', node: 'alice', publicKey: 'other' },
      'node-exists',
      /node remove alice/,
    ],
    [
      'joining as one more than can be told of each other',
      (d) => {
        for (let number = 4; number <= 16; number++) d.does({ type: 'enrol', node: `n${number}`, publicKey: 'key' });
      },
      { type: 'enrol', node: 'n17', publicKey: 'key' },
      'too-many-nodes',
      /16 nodes are joined, and 16 is the limit.*node remove/,
    ],
  ];
  for (const [what, before, action, code, detail] of cases)
    test(what, () => {
      const desk = new Desk();
      before(desk);
      const { durable } = desk.state;
      const { refused } = desk.does(action);
      equal(refused?.code, code);
      match(refused?.detail ?? '', detail);
      equal(desk.state.durable, durable);
      deepEqual(desk.effects, []);
    });
});

describe('a node', () => {
  test('that is lost may join again with a new key, and is unheard of until it reports', () => {
    const desk = new Desk();
    desk.passes(leaseMs + 1);
    equal(desk.does({ type: 'enrol', node: 'alice', publicKey: 'new' }).refused, undefined);
    equal(desk.state.durable.nodes.alice?.publicKey, 'new');
    equal(desk.state.volatile.nodes.alice, undefined);
    deepEqual(desk.kinds.includes('node.rejoined'), true);
  });

  test('may repeat its enrolment with the same key', () => {
    equal(new Desk().does({ type: 'enrol', node: 'alice', publicKey: 'key of alice' }).refused, undefined);
  });

  test('that is removed by force keeps its lease until it ends: its groups move then, not before', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'node-remove', node: 'alice', force: true });
    deepEqual(desk.claims('bob').grants, []);
    equal(desk.renews('alice', 1).problem?.code, 'node-removed');
  });

  test('in standby keeps its mode over a join under another key, no: joining again makes it ready', () => {
    const desk = new Desk();
    desk.does({ type: 'node-standby', node: 'alice', operation: 'o' });
    desk.passes(leaseMs + 1);
    desk.does({ type: 'enrol', node: 'alice', publicKey: 'new' });
    equal(desk.state.durable.nodes.alice?.mode, 'ready');
  });

  test('that is declared dead is named with what its word freed', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(2_001);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    equal(desk.kinds[0], 'node.declared-dead');
    match(desk.events[0]?.detail ?? '', /freed: db/);
    equal(desk.state.durable.nodes.alice?.declaredDead?.incarnation, 'alice-1');
  });

  test('that is declared dead is shown as that, with when it was last seen, also when nothing was heard of it', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.passes(2_001, ['bob', 'carol']);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    const status = statusOf(desk.state, desk.now);
    const { state, lastSeenMs, note } = status.nodes.alice ?? {};
    deepEqual([state, lastSeenMs, note], ['lost', 2_001, 'declared dead']);
    equal(status.groups.db?.candidates.find(({ node }) => node === 'alice')?.reasons[0]?.rule, 'declared-dead');
    match(status.groups.db?.reason ?? '', /^alice was declared dead; /);
    desk.restarts();
    equal(statusOf(desk.state, desk.now).nodes.alice?.note, 'declared dead');
    desk.does({ type: 'confirm-dead', node: 'carol' });
    equal(statusOf(desk.state, desk.now).nodes.carol?.note, 'declared dead');
    equal(desk.hears('carol').problem, undefined, 'which of its incarnations was meant is not known');
    equal(statusOf(desk.state, desk.now).nodes.carol?.note, undefined);
  });

  test('declared dead twice frees nothing a second time', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(2_001);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    const proof = desk.lease().provenDeadAt;
    desk.passes(1_000);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    equal(desk.state.durable.nodes.alice?.declaredDead?.incarnation, 'alice-1');
    equal(desk.lease().provenDeadAt, proof, 'the wait of an unconfirmed proof does not begin anew');
  });
});

test('that an operator stops and starts a group is told of', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.does({ type: 'group-stop', group: 'db', operation: 'op1' });
  equal(desk.kinds[0], 'group.stop-requested');
  desk.does({ type: 'group-start', group: 'db', operation: 'op2' });
  equal(desk.kinds[0], 'group.start-requested');
});

test('an event that has much to list is cut, so that it can be read like any other', () => {
  const desk = new Desk();
  const epoch = desk.runsOn('alice');
  const failure = { resource: 'db', severity: 'hard', reason: 'r'.repeat(1_900), output: 'o'.repeat(4_000) } as const;
  desk.hears('alice', { releases: [{ group: 'db', epoch, failure }] });
  const told = desk.events.find(({ kind }) => kind === 'group.failed-on-node');
  equal(told?.detail.length, MAX_DETAIL_LENGTH);
  match(told?.detail ?? '', /o…$/);
});

describe('a new configuration', () => {
  test('counts a revision up, keeps what is known of its groups and tells every node', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'apply', config: config({ db: ['alice', 'bob'], web: ['bob'] }) });
    equal(desk.state.durable.revision, 2);
    equal(desk.lease().owner, 'alice');
    equal(desk.group('web').desired, 'started');
    deepEqual(desk.nudged, ['alice', 'bob', 'carol']);
  });
});
