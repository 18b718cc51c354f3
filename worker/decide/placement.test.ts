import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { type Reason, reasonText } from '../../schemas/reasons.ts';
import { chosen, rank } from './placement.ts';
import { releaseOrder } from './release.ts';
import { config, Desk } from './testing.ts';

const { leaseMs } = LEASE_PROFILES.default;
const order = (desk: Desk, options = {}) => rank(desk.state, desk.group(), desk.now, options).map(({ node }) => node);
const best = (desk: Desk, options = {}) => chosen(rank(desk.state, desk.group(), desk.now, options));
const against = (desk: Desk, node: string) =>
  rank(desk.state, desk.group(), desk.now).find((candidate) => candidate.node === node);

describe('the order of nodes', () => {
  test('is that of the `on` list', () => {
    const desk = new Desk(config({ db: ['carol', 'alice', 'bob'] }));
    deepEqual(order(desk), ['carol', 'alice', 'bob']);
    equal(best(desk), 'carol');
  });

  test('puts the present owner first: a group stays put', () => {
    const desk = new Desk();
    desk.does({ type: 'node-standby', node: 'alice', operation: 'o' });
    desk.runsOn('bob');
    desk.does({ type: 'node-ready', node: 'alice' });
    deepEqual(order(desk), ['bob', 'alice', 'carol']);
  });

  test('puts the target of a move before the owner', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'carol', operation: 'o' });
    deepEqual(order(desk), ['carol', 'alice', 'bob']);
  });

  test('puts every node with an objection after every node without', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'node-standby', node: 'alice', operation: 'o' });
    deepEqual(order(desk), ['bob', 'carol', 'alice']);
  });

  test('asks who would take over: the living owner is left out, unless something speaks against it anyway', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    equal(best(desk), 'alice');
    equal(best(desk, { exceptOwner: true }), 'bob');
  });

  test('lets a new incarnation of the owner’s node take over like any other node', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(leaseMs + 1_000, ['bob', 'carol']);
    desk.hears('alice', { incarnation: 'alice-2' });
    equal(best(desk, { exceptOwner: true }), 'alice');
  });

  test('chooses nobody when something speaks against everyone', () => {
    const desk = new Desk();
    desk.passes(leaseMs + 1);
    equal(best(desk), undefined);
  });
});

describe('what speaks against a node', () => {
  const cases: [Reason['rule'], (desk: Desk) => void][] = [
    ['removed', (d) => d.does({ type: 'node-remove', node: 'bob', force: true })],
    ['standby', (d) => d.does({ type: 'node-standby', node: 'bob', operation: 'o' })],
    ['lost', (d) => d.passes(leaseMs + 1, ['alice', 'carol'])],
    ['refuses', (d) => d.hears('bob', { refusals: [{ group: 'db', resource: 'ip', reason: 'no' }] })],
    ['quarantine', (d) => d.hears('bob', { quarantineMs: 1_000 })],
    ['outdated-config', (d) => d.hears('bob', { revision: 0 })],
    [
      'epochs-unreported',
      (d) => {
        d.restarts();
        d.hearsWithoutEpochs('bob');
      },
    ],
    [
      'declared-dead',
      (d) => {
        d.passes(leaseMs, ['alice', 'carol']);
        d.does({ type: 'confirm-dead', node: 'bob' });
      },
    ],
    [
      'failed-here',
      (d) => {
        d.does({ type: 'node-standby', node: 'alice', operation: 'o' });
        const epoch = d.runsOn('bob');
        const failure = { resource: 'ip', severity: 'hard', reason: 'no' } as const;
        d.hears('bob', { releases: [{ group: 'db', epoch, failure }] });
      },
    ],
    ['not-joined', (d) => d.does({ type: 'apply', config: { ...config({ db: ['alice', 'bob'] }) } })],
  ];
  for (const [rule, before] of cases)
    test(`${rule}: is shown, and keeps it from being chosen`, () => {
      const desk = new Desk(
        rule === 'not-joined' ? { ...config({ db: ['alice', 'bob'] }), nodes: ['alice'] } : undefined,
      );
      before(desk);
      const bob = against(desk, 'bob');
      equal(bob?.reasons[0]?.rule, rule);
      equal(bob?.eligible, false);
      equal(bob?.chosen, false);
      equal(reasonText(bob?.reasons[0] ?? { rule: 'owner' }).length > 0, true);
    });

  test('each ends when its cause does', () => {
    const desk = new Desk();
    desk.hears('bob', { quarantineMs: 1_000, refusals: [{ group: 'db', resource: 'ip', reason: 'no' }] });
    desk.passes(1_000, ['alice', 'carol']);
    desk.hears('bob', { refusals: [] });
    equal(against(desk, 'bob')?.eligible, true);
  });

  test('a refusal of another group does not', () => {
    const desk = new Desk(config({ db: ['alice', 'bob'], web: ['bob'] }));
    desk.hears('bob', { refusals: [{ group: 'web', resource: 'ip', reason: 'no' }] });
    equal(against(desk, 'bob')?.eligible, true);
  });

  test('what speaks for it is shown as well', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    deepEqual(against(desk, 'alice')?.reasons, [
      { rule: 'owner', weight: 1_000 },
      { rule: 'preference', position: 1, weight: 16 },
    ]);
    deepEqual(against(desk, 'carol')?.reasons, [{ rule: 'preference', position: 3, weight: 14 }]);
  });
});

describe('the owner is ordered to release', () => {
  const causes: [string, (desk: Desk) => void, RegExp][] = [
    [
      'when its group is stopped',
      (d) => d.does({ type: 'group-stop', group: 'db', operation: 'o' }),
      /stopped by an operator/,
    ],
    [
      'when its node goes to standby',
      (d) => d.does({ type: 'node-standby', node: 'alice', operation: 'o' }),
      /standby/,
    ],
    [
      'when its node leaves the `on` list',
      (d) => d.does({ type: 'apply', config: config({ db: ['bob'] }) }),
      /no longer in the group/,
    ],
    [
      'when the group leaves the configuration',
      (d) => d.does({ type: 'apply', config: config({}) }),
      /removed from the configuration/,
    ],
    [
      'when the group is moved',
      (d) => d.does({ type: 'move', group: 'db', to: 'bob', operation: 'o' }),
      /moved to bob/,
    ],
    [
      'when its node was removed',
      (d) => d.does({ type: 'node-remove', node: 'alice', force: true }),
      /node was removed/,
    ],
  ];
  for (const [when, before, why] of causes)
    test(when, () => {
      const desk = new Desk();
      desk.runsOn('alice');
      before(desk);
      equal(why.test(releaseOrder(desk.state, desk.group(), desk.now) ?? ''), true);
      const [answer] = desk.renews('alice', 1).leases;
      if (answer !== undefined) equal(answer.verdict === 'renewed' && answer.order, 'release');
    });

  test('not before the target of a move can take it', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'o' });
    desk.hears('bob', { quarantineMs: 500 });
    equal(releaseOrder(desk.state, desk.group(), desk.now), undefined);
  });

  test('not because another node would rank higher, or because its own node failed to report', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(leaseMs + 1, ['bob']);
    equal(releaseOrder(desk.state, desk.group(), desk.now), undefined);
  });
});
