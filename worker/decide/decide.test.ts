import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Operation } from '../../schemas/api.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { nextTick } from './decide.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';
import { ruled } from './testing-floor.ts';

const { leaseMs } = LEASE_PROFILES.default;

/** The operation, running or just ended. */
function operation(desk: Desk, id = 'op'): Pick<Operation, 'state' | 'progress'> | undefined {
  const ended = desk.effects.flatMap((effect) => (effect.kind === 'operation' ? [effect.operation] : []));
  return desk.state.durable.operations[id] ?? ended.find((one) => one.id === id);
}

/** What an agent does that is ordered to release. */
function releases(desk: Desk, node: string, epoch: number): void {
  desk.hears(node, { releases: [{ group: 'db', epoch }] });
}

describe('a move', () => {
  test('lives from the order to the report that the group runs on its target', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'op' });
    match(operation(desk)?.progress ?? '', /alice to stop and release/);
    releases(desk, 'alice', 1);
    match(operation(desk)?.progress ?? '', /bob to take it/);
    desk.claims('bob');
    match(operation(desk)?.progress ?? '', /bob is starting it/);
    desk.renews('bob', 2, { groups: [{ group: 'db', epoch: 2, state: 'running', forMs: 0, resources: [] }] });
    deepEqual([operation(desk)?.state, operation(desk)?.progress], ['succeeded', 'runs on bob']);
    deepEqual([desk.group().target, desk.state.durable.operations], [null, {}]);
    deepEqual(desk.kinds.includes('operation.finished'), true);
  });

  test('without a target goes to the best other node', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: null, operation: 'op' });
    equal(desk.group().target?.node, 'bob');
  });

  test('fails when its target fails, and the group goes where placement says', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'carol', operation: 'op' });
    releases(desk, 'alice', 1);
    desk.claims('carol');
    const failure = { resource: 'ip', severity: 'hard', reason: 'no' } as const;
    desk.hears('carol', { releases: [{ group: 'db', epoch: 2, failure }] });
    equal(operation(desk)?.state, 'failed');
    equal(desk.group().target, null);
    equal(desk.claims('alice').grants[0]?.epoch, 3);
  });

  for (const [what, strike] of [
    ['goes to standby', (d: Desk) => d.does({ type: 'node-standby', node: 'carol', operation: 'o2' })],
    ['leaves the `on` list', (d: Desk) => d.does({ type: 'apply', config: config({ db: ['alice', 'bob'] }) })],
    [
      'is lost',
      (d: Desk) => {
        d.passes(leaseMs + 1, ['bob']);
        d.renews('alice', 1);
        d.does({ type: 'tick' });
      },
    ],
  ] as const)
    test(`is over when its target ${what}`, () => {
      const desk = new Desk();
      desk.runsOn('alice');
      desk.does({ type: 'move', group: 'db', to: 'carol', operation: 'op' });
      strike(desk);
      equal(desk.group().target, null);
    });

  test('is over when the group was granted elsewhere meanwhile', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'carol', operation: 'op' });
    releases(desk, 'alice', 1);
    desk.hears('carol', { refusals: [{ group: 'db', resource: 'ip', reason: 'no' }] });
    desk.claims('alice');
    equal(operation(desk)?.state, 'failed');
  });
});

describe('stop and start', () => {
  test('a stop succeeds when the owner has released, and nobody may claim', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
    match(operation(desk)?.progress ?? '', /alice is stopping it/);
    releases(desk, 'alice', 1);
    equal(operation(desk)?.state, 'succeeded');
    equal(desk.group().shown, 'stopped');
    equal(desk.hears('alice').observed[0]?.claim, 'never');
  });

  test('a stop tells what runs with the group and is down with it', () => {
    const web = { on: ['alice', 'bob'], with: ['db'] };
    const cache = { on: ['alice', 'bob'], with: ['web'] };
    const desk = new Desk(ruled({ db: { on: ['alice', 'bob'] }, web, cache }));
    desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
    equal(operation(desk)?.progress, 'stopped; it never ran; down with it: web, cache');
  });

  test('a start succeeds when the group runs', () => {
    const desk = new Desk();
    desk.does({ type: 'group-stop', group: 'db', operation: 'o1' });
    desk.does({ type: 'group-start', group: 'db', operation: 'op' });
    match(operation(desk)?.progress ?? '', /waiting for a node/);
    desk.runsOn('alice');
    equal(operation(desk)?.state, 'succeeded');
  });

  test('a start fails when no node is left that could', () => {
    const desk = new Desk();
    const epoch = desk.runsOn('alice');
    const failure = { resource: 'ip', severity: 'fatal', reason: 'no' } as const;
    desk.hears('alice', { releases: [{ group: 'db', epoch, failure }] });
    desk.does({ type: 'group-start', group: 'db', operation: 'op' });
    const [grant] = desk.claims('alice').grants;
    equal(operation(desk)?.state, 'running', 'it is tried once more');
    desk.hears('alice', { releases: [{ group: 'db', epoch: grant?.epoch ?? 0, failure }] });
    equal(operation(desk)?.state, 'failed');
  });

  test('each is over when the other is asked for', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
    desk.does({ type: 'group-start', group: 'db', operation: 'o2' });
    equal(operation(desk)?.state, 'failed');
  });

  test('a stop ends a move', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'op' });
    desk.does({ type: 'group-stop', group: 'db', operation: 'o2' });
    equal(operation(desk)?.state, 'failed');
    equal(desk.group().target, null);
  });

  test('a stop succeeds when the group leaves the configuration, a start fails', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
    desk.does({ type: 'apply', config: config({}) });
    equal(operation(desk)?.state, 'succeeded');
    const other = new Desk();
    other.does({ type: 'group-start', group: 'db', operation: 'op' });
    other.does({ type: 'apply', config: config({}) });
    equal(operation(other)?.state, 'failed');
  });
});

describe('standby', () => {
  test('succeeds when the node runs nothing any more; ready again before that fails it', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'node-standby', node: 'alice', operation: 'op' });
    match(operation(desk)?.progress ?? '', /waiting for db/);
    releases(desk, 'alice', 1);
    equal(operation(desk)?.state, 'succeeded');
    desk.does({ type: 'node-standby', node: 'alice', operation: 'o2' });
    equal(operation(desk, 'o2')?.state, 'succeeded');
    const other = new Desk();
    other.runsOn('alice');
    other.does({ type: 'node-standby', node: 'alice', operation: 'op' });
    other.does({ type: 'node-ready', node: 'alice' });
    equal(operation(other)?.state, 'failed');
  });
});

describe('an operation tells how it ended', () => {
  const stop = (desk: Desk) => desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
  const endings: [string, (desk: Desk) => void, RegExp][] = [
    ['in order', (desk) => releases(desk, 'alice', 1), /^stopped and released$/],
    [
      'by force, when the lease ran out',
      (desk) => {
        desk.passes(TAKEOVER_MS, ['bob']);
        desk.does({ type: 'tick' });
      },
      /^by force: the lease of alice ran out$/,
    ],
    [
      'by force, when the owner lost its lease before it was down',
      (desk) => desk.hears('alice', { releases: [{ group: 'db', epoch: 1, forced: true }] }),
      /^by force: alice lost its lease$/,
    ],
    [
      'by force, when the owner was declared dead',
      (desk) => {
        desk.passes(2_001, ['bob']);
        desk.does({ type: 'confirm-dead', node: 'alice' });
      },
      /^by force: alice was declared dead$/,
    ],
  ];
  for (const [how, ends, progress] of endings)
    test(`a stop, ${how}`, () => {
      const desk = new Desk();
      desk.runsOn('alice');
      desk.passes(TAKEOVER_MS - 1_000);
      desk.renews('alice', 1);
      stop(desk);
      ends(desk);
      equal(operation(desk)?.state, 'succeeded');
      match(operation(desk)?.progress ?? '', progress);
    });

  test('a move, by force, when its owner’s lease ran out on the way', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'op' });
    desk.passes(TAKEOVER_MS, ['bob']);
    desk.runsOn('bob');
    deepEqual(
      [operation(desk)?.state, operation(desk)?.progress],
      ['succeeded', 'runs on bob, taken over by force: the lease of alice ran out'],
    );
  });

  test('a start that no node can fulfil tells what speaks against each', () => {
    const desk = new Desk(config({ db: ['alice', 'bob'] }));
    desk.does({ type: 'group-stop', group: 'db', operation: 'o' });
    for (const node of ['alice', 'bob']) desk.does({ type: 'node-standby', node, operation: node });
    desk.does({ type: 'group-start', group: 'db', operation: 'op' });
    deepEqual(
      [operation(desk)?.state, operation(desk)?.progress],
      ['running', 'no node can take it: alice is in standby; bob is in standby'],
    );
    desk.does({ type: 'node-ready', node: 'bob' });
    equal(operation(desk)?.progress, 'waiting for a node to take it');
  });
});

describe('time', () => {
  test('a node that is silent for a lease is lost, once, and the others hear of it', () => {
    const desk = new Desk();
    desk.passes(leaseMs, ['alice', 'bob']);
    desk.passes(1);
    desk.does({ type: 'tick' });
    deepEqual(desk.kinds, ['node.lost']);
    deepEqual(desk.nudged, ['alice', 'bob', 'carol']);
    desk.does({ type: 'tick' });
    deepEqual(desk.effects, []);
    desk.hears('carol');
    deepEqual(desk.kinds, ['node.returned']);
  });

  test('a node that joined and never ran is not lost, and nobody waits for it', () => {
    const desk = new Desk();
    desk.does({ type: 'enrol', node: 'dave', publicKey: 'k' });
    for (const node of ['alice', 'bob', 'carol']) desk.hears(node, { retiring: true });
    for (const node of ['alice', 'bob', 'carol']) desk.does({ type: 'node-remove', node, force: true });
    desk.passes(leaseMs + 1);
    desk.does({ type: 'tick' });
    deepEqual(desk.kinds, []);
    equal(
      nextTick(desk.state, desk.now),
      null,
      'a wish that no tick can fulfil keeps the coordinator awake for nothing',
    );
  });

  test('the next tick is when a node would be lost or a lease would end, and it concludes just that', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    equal(nextTick(desk.state, desk.now), desk.now + leaseMs + 1);
    desk.passes(leaseMs + 1, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    const renewed = desk.state.volatile.renewals.db?.at ?? 0;
    equal(nextTick(desk.state, desk.now), renewed + TAKEOVER_MS);
    desk.now = renewed + TAKEOVER_MS;
    desk.does({ type: 'tick' });
    deepEqual(desk.kinds, ['group.lease-expired']);
    deepEqual(desk.nudged.includes('bob'), true);
    desk.does({ type: 'tick' });
    deepEqual(desk.kinds, [], 'an expired lease is told once');
  });

  test('a report that changes nothing concludes nothing', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(1_000);
    desk.renews('alice', 1);
    deepEqual(desk.effects, []);
  });
});

describe('a group that leaves the configuration', () => {
  test('stays on record until its owner has released it, then its epoch is remembered', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'apply', config: config({}) });
    equal(desk.group().lease?.epoch, 1);
    releases(desk, 'alice', 1);
    deepEqual([desk.state.durable.groups, desk.state.durable.highestEpochs], [{}, { db: 1 }]);
    desk.does({ type: 'apply', config: config({ db: ['alice'] }) });
    equal(desk.claims('alice').grants[0]?.epoch, 2, 'a group of the same name starts above it');
  });
});

describe('the state that is shown', () => {
  const shown = (desk: Desk) => desk.group().shown;

  test('follows a group from its first start over a failover to its stop', () => {
    const desk = new Desk();
    equal(shown(desk), 'starting');
    desk.claims('alice');
    equal(shown(desk), 'starting');
    desk.renews('alice', 1, { groups: [{ group: 'db', epoch: 1, state: 'running', forMs: 0, resources: [] }] });
    equal(shown(desk), 'running');
    desk.passes(leaseMs + 1, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(shown(desk), 'waiting');
    desk.passes(TAKEOVER_MS, ['bob', 'carol']);
    desk.runsOn('bob');
    equal(shown(desk), 'running');
    desk.does({ type: 'move', group: 'db', to: 'carol', operation: 'o' });
    equal(shown(desk), 'moving');
    releases(desk, 'bob', 2);
    equal(shown(desk), 'moving');
    desk.runsOn('carol');
    desk.does({ type: 'group-stop', group: 'db', operation: 'o2' });
    equal(shown(desk), 'stopping');
    releases(desk, 'carol', 3);
    equal(shown(desk), 'stopped');
  });

  test('is waiting when no node can run it, and says why', () => {
    const desk = new Desk();
    for (const node of ['alice', 'bob', 'carol']) desk.does({ type: 'node-standby', node, operation: node });
    equal(shown(desk), 'waiting');
    match(desk.events.find(({ kind }) => kind === 'group.waiting')?.detail ?? '', /carol is in standby/);
  });

  test('is stopping, not stopped, while a lost owner may still run it', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(leaseMs + 1);
    desk.does({ type: 'group-stop', group: 'db', operation: 'o' });
    equal(shown(desk), 'stopping');
  });

  test('is not changed by a restart before the owner had time to report', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts();
    desk.does({ type: 'tick' });
    equal(shown(desk), 'running');
  });

  test('is not running because another incarnation of the dead owner’s node speaks up', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.passes(2_100, ['bob']);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    desk.hears('alice', { incarnation: 'alice-2' });
    equal(shown(desk), 'waiting');
  });
});
