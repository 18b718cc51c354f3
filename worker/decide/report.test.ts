import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { statusOf } from './explain.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

const { leaseMs } = LEASE_PROFILES.default;

describe('who may speak as a node', () => {
  const strangers: [string, (desk: Desk) => void, Parameters<Desk['hears']>, string][] = [
    ['a version that is not served', () => undefined, ['alice', { version: [2, 0] }], 'version-unsupported'],
    ['a node that never joined', () => undefined, ['mallory'], 'node-unknown'],
    [
      'a removed node',
      (desk) => desk.does({ type: 'node-remove', node: 'alice', force: true }),
      ['alice'],
      'node-removed',
    ],
    ['a node of another history', () => undefined, ['alice', { history: 'h0' }], 'history-mismatch'],
    [
      'a second incarnation beside the living one',
      () => undefined,
      ['alice', { incarnation: 'x' }],
      'identity-conflict',
    ],
  ];
  for (const [who, before, report, code] of strangers)
    test(`${who} is refused whole (${code}), and its renewal and claim are not looked at`, () => {
      const desk = new Desk();
      before(desk);
      const [node, told] = report;
      const reply = desk.hears(node, {
        ...told,
        leases: [{ group: 'db', epoch: 1 }],
        claims: [{ group: 'db', renewal: null, seenForMs: 0 }],
      });
      equal(reply.problem?.code, code);
      deepEqual([reply.leases, reply.grants, reply.observed], [[], [], []]);
      equal(desk.group().lease, null);
    });

  test('a version one minor apart is served', () => {
    equal(new Desk().hears('alice', { version: [1, 1] }).problem, undefined);
  });

  test('a new incarnation is taken when the old one has been silent for a lease', () => {
    const desk = new Desk();
    desk.passes(leaseMs);
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem?.code, 'identity-conflict');
    desk.passes(1);
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem, undefined);
    deepEqual(desk.kinds.includes('node.new-incarnation'), true);
  });

  test('a new incarnation is refused for as long as the old one may hold a lease, also after a restart', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts();
    desk.passes(TAKEOVER_MS - 1);
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem?.code, 'identity-conflict');
    desk.passes(1);
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem, undefined);
  });

  test('a new incarnation may follow at once one that retired with nothing running', () => {
    const desk = new Desk();
    desk.hears('alice', { retiring: true });
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem, undefined);
  });

  test('a node that retired was seen just now: it is lost, with that reason, and not said to have been silent before', () => {
    const desk = new Desk();
    desk.passes(28_560, ['bob', 'carol']);
    desk.hears('alice');
    desk.hears('alice', { retiring: true });
    deepEqual(desk.kinds, [], 'nothing untrue is told of how long it was silent');
    equal(desk.nudged.includes('bob'), true, 'whoever takes over from it hears of it at once');
    const { nodes, groups } = statusOf(desk.state, desk.now);
    deepEqual([nodes.alice?.state, nodes.alice?.lastSeenMs, nodes.alice?.note], ['lost', 0, 'agent ended']);
    const alice = groups.db?.candidates.find(({ node }) => node === 'alice');
    deepEqual(alice?.reasons[0], { rule: 'agent-ended', since: new Date(desk.now).toISOString() });
    desk.passes(leaseMs + 1, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    match(desk.events.find(({ kind }) => kind === 'node.lost')?.detail ?? '', /^its agent ended 4001 ms ago/);
    desk.hears('alice', { incarnation: 'alice-2' });
    deepEqual(desk.kinds, ['node.new-incarnation', 'node.returned']);
    equal(statusOf(desk.state, desk.now).nodes.alice?.note, undefined);
  });

  test('a report that was overtaken by the last one does not bring a retired incarnation back', () => {
    const desk = new Desk();
    desk.hears('alice', { sentMs: 20, retiring: true });
    desk.hears('alice', { sentMs: 10 });
    equal(desk.state.volatile.nodes.alice?.ended, 'retired');
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem, undefined);
    equal(desk.state.volatile.nodes.alice?.ended, null);
  });

  test('a retired incarnation whose lease still runs is followed when that has ended', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { retiring: true });
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem?.code, 'identity-conflict');
    desk.passes(TAKEOVER_MS);
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem, undefined);
  });

  test('two agents with one identity are reported once, and the second does not make the first look alive', () => {
    const desk = new Desk();
    const seen = desk.state.volatile.nodes.alice?.lastSeenAt;
    desk.passes(100);
    desk.hears('alice', { incarnation: 'clone' });
    equal(desk.state.volatile.nodes.alice?.lastSeenAt, seen);
    desk.hears('alice');
    deepEqual(desk.kinds, ['node.identity-conflict']);
    desk.hears('alice', { incarnation: 'clone' });
    desk.hears('alice');
    deepEqual(desk.kinds, []);
  });

  test('the incarnation that was declared dead stays refused; a new one lifts the word', () => {
    const desk = new Desk();
    desk.passes(leaseMs);
    desk.hears('bob');
    desk.hears('alice');
    desk.passes(leaseMs);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    equal(desk.hears('alice').problem?.code, 'declared-dead');
    equal(desk.hears('alice', { incarnation: 'alice-2' }).problem, undefined);
    equal(desk.state.durable.nodes.alice?.declaredDead, null);
  });
});

describe('C7: a coordinator whose data is older than what the nodes have seen', () => {
  const restored = () => {
    const desk = new Desk();
    desk.restarts();
    desk.hears('bob', { epochs: { db: 5 } });
    return desk;
  };

  test('grants nothing until every node has told its epochs, then continues above the highest', () => {
    const desk = restored();
    equal(desk.kinds.includes('coordinator.restored'), true);
    deepEqual(desk.claims('bob').grants, []);
    equal(desk.decision?.reasons[0]?.rule, 'restored');
    desk.hears('carol', { epochs: { db: 6 } });
    deepEqual(desk.claims('carol').grants, []);
    desk.hears('alice');
    deepEqual(desk.claims('alice').grants, [], 'the lease of epoch 6 may still run');
    desk.passes(TAKEOVER_MS, ['alice', 'bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored, null);
    equal(desk.claims('alice').grants[0]?.epoch, 7);
  });

  test('waits for the longest lease that any node counts', () => {
    const desk = restored();
    desk.hears('carol', { leaseMs: 15_000 });
    desk.hears('alice');
    desk.passes(TAKEOVER_MS, ['alice', 'bob', 'carol']);
    desk.does({ type: 'tick' });
    deepEqual(desk.claims('alice').grants, []);
    desk.passes(15_000, ['alice', 'bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.claims('alice').grants[0]?.epoch, 6);
  });

  test('does not ask a node again that had told its epochs before the proof came', () => {
    const desk = new Desk();
    desk.restarts();
    for (const node of ['alice', 'carol']) desk.hears(node);
    desk.hears('bob', { epochs: { db: 5 } });
    for (const node of ['alice', 'carol']) desk.hearsWithoutEpochs(node);
    desk.passes(TAKEOVER_MS, ['alice', 'bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored, null);
  });

  test('takes a lease that a node holds for a proof as well', () => {
    const desk = new Desk();
    desk.hears('bob', { leases: [{ group: 'db', epoch: 9 }] });
    equal(desk.state.durable.highestEpochs.db, 9);
    equal(desk.state.durable.restored === null, false);
  });

  test('continues when an operator confirms', () => {
    const desk = restored();
    desk.does({ type: 'confirm-history' });
    desk.hears('alice');
    deepEqual(desk.claims('alice').grants, [], 'no word shortens the wait for leases that this data does not know of');
    desk.passes(TAKEOVER_MS, ['alice', 'bob']);
    desk.does({ type: 'tick' });
    equal(desk.claims('alice').grants[0]?.epoch, 6);
  });

  test('does not wait for a removed node', () => {
    const desk = restored();
    desk.does({ type: 'node-remove', node: 'alice', force: false });
    desk.hears('carol');
    desk.passes(TAKEOVER_MS, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored, null);
  });

  test('goes on renewing what it knows', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('bob', { epochs: { db: 5 } });
    equal(desk.renews('alice', 1).leases[0]?.verdict, 'renewed');
  });

  test('holds back as well when a node knows another history', () => {
    const desk = new Desk();
    desk.hears('alice', { history: 'h0' });
    equal(desk.state.durable.restored?.since, desk.now);
    const since = desk.now;
    desk.passes(1_000);
    desk.hears('alice', { history: 'h0' });
    equal(desk.state.durable.restored?.since, since, 'once, or it would hold everything back for ever');
  });

  test('confirming a history that is not in doubt is refused', () => {
    equal(new Desk().does({ type: 'confirm-history' }).refused?.code, 'not-possible');
  });

  test('an epoch that is known already proves nothing', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { epochs: { db: 1 } });
    equal(desk.state.durable.restored, null);
  });
});

describe('O5: a release', () => {
  test('frees the group for others, who are told to claim now', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
    deepEqual(desk.kinds.includes('group.released'), true);
    deepEqual(desk.nudged.includes('bob'), true);
    equal(desk.hears('alice').observed[0]?.claim, 'now');
  });

  const stale: [string, string, string, number][] = [
    ['of another epoch', 'alice', 'alice-1', 2],
    ['by another node', 'bob', 'bob-1', 1],
  ];
  for (const [what, node, incarnation, epoch] of stale)
    test(`${what} frees nothing`, () => {
      const desk = new Desk();
      desk.runsOn('alice');
      desk.hears(node, { incarnation, releases: [{ group: 'db', epoch }] });
      equal(desk.lease().released, false);
    });

  test('by another incarnation frees nothing', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS + 1);
    equal(desk.hears('alice', { incarnation: 'alice-2', releases: [{ group: 'db', epoch: 1 }] }).problem, undefined);
    equal(desk.lease().released, false);
  });

  test('repeated is not told twice', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    for (const times of [1, 0]) {
      desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
      equal(desk.kinds.filter((kind) => kind === 'group.released').length, times);
    }
  });
});

describe('the failure policy', () => {
  const givesUp = (severity: 'soft' | 'hard' | 'fatal') => {
    const desk = new Desk();
    const epoch = desk.runsOn('alice');
    desk.hears('alice', {
      releases: [
        { group: 'db', epoch, failure: { resource: 'ip', severity, reason: 'no such device', output: 'log' } },
      ],
    });
    return desk;
  };

  for (const severity of ['soft', 'hard'] as const)
    test(`a group given up after ${severity} failures goes to the next node, and not back`, () => {
      const desk = givesUp(severity);
      deepEqual(Object.keys(desk.group().failures), ['alice']);
      deepEqual(desk.claims('alice').grants, []);
      deepEqual(desk.decision?.reasons[0]?.rule, 'failed-here');
      equal(desk.claims('bob').grants[0]?.epoch, 2);
    });

  test('a fatal failure counts on every node of the group: it is wrong everywhere', () => {
    const desk = givesUp('fatal');
    deepEqual(Object.keys(desk.group().failures), ['alice', 'bob', 'carol']);
    equal(desk.group().shown, 'failed');
    deepEqual(desk.claims('bob').grants, []);
  });

  test('the failure is told with its reason and its output', () => {
    const event = givesUp('hard').events.find(({ kind }) => kind === 'group.failed-on-node');
    equal(event?.detail, 'no such device\nlog');
  });

  test('a cleanup forgives, and the nodes are told', () => {
    const desk = givesUp('fatal');
    desk.does({ type: 'cleanup', group: 'db' });
    deepEqual(desk.nudged, ['alice', 'bob', 'carol']);
    equal(desk.claims('alice').grants.length, 1);
  });
});

describe('what a node tells of a group', () => {
  const run = (state: 'starting' | 'running', epoch = 1) => ({
    groups: [{ group: 'db', epoch, state, forMs: 100, resources: [] }],
  });

  test('is believed from the owner in its epoch only', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('bob', run('starting'));
    desk.hears('alice', run('starting', 2));
    equal(desk.group().run?.state, 'running');
  });

  test('sets when the group answered, by the node’s own measure of how long ago that was', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.renews('alice', 1, run('running'));
    deepEqual(
      desk.effects.filter((effect) => effect.kind === 'answering'),
      [{ kind: 'answering', group: 'db', epoch: 1, at: desk.now - 100 }],
    );
    desk.renews('alice', 1, run('running'));
    deepEqual(desk.effects, [], 'the same again is nothing new');
  });

  test('a report that was overtaken does not turn a running group back into a starting one', () => {
    const desk = new Desk();
    desk.claims('alice', {}, { sentMs: 10 });
    desk.renews('alice', 1, { sentMs: 30, ...run('running') });
    desk.renews('alice', 1, { sentMs: 20, ...run('starting'), revision: 0, quarantineMs: 900 });
    equal(desk.group().run?.state, 'running');
    equal(desk.state.volatile.nodes.alice?.revision, 1);
    equal(desk.state.volatile.nodes.alice?.readyAt, desk.now);
  });

  test('a report that was overtaken still renews and releases', () => {
    const desk = new Desk();
    desk.claims('alice', {}, { sentMs: 30 });
    equal(desk.renews('alice', 1, { sentMs: 20 }).leases[0]?.verdict, 'renewed');
    desk.hears('alice', { sentMs: 10, releases: [{ group: 'db', epoch: 1 }] });
    equal(desk.lease().released, true);
  });

  test('a new incarnation is not overtaken by the clock of the old boot', () => {
    const desk = new Desk();
    desk.hears('alice', { sentMs: 9_000_000 });
    desk.passes(leaseMs + 1);
    desk.hears('alice', { incarnation: 'alice-2', sentMs: 5, revision: 0 });
    equal(desk.state.volatile.nodes.alice?.revision, 0);
  });
});

describe('the story of a grant', () => {
  test('does not call a lease valid that it calls expired: its owner let it lapse', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const renewal = desk.hears('bob').observed[0]?.renewal ?? null;
    desk.passes(TAKEOVER_MS, ['alice', 'carol']);
    const granted = desk.hears('bob', { claims: [{ group: 'db', renewal, seenForMs: TAKEOVER_MS }] });
    equal(granted.grants[0]?.epoch, 2);
    equal(desk.decision?.cause, 'lease-expired');
    const alice = desk.decision?.candidates.find(({ node }) => node === 'alice');
    deepEqual(alice?.reasons[0], { rule: 'owner-let-lapse', owner: 'alice' });
  });
});

describe('a claim that cannot be granted', () => {
  test('is recorded once, until its reasons change', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const recorded = () => {
      desk.claims('bob');
      return desk.decision?.reasons.map(({ rule }) => rule);
    };
    deepEqual(recorded(), ['lease-runs']);
    deepEqual(recorded(), undefined);
    desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
    deepEqual(recorded(), ['group-stopped']);
  });

  const reasons: [string, (desk: Desk) => void, string, string][] = [
    [
      'of a node that is not listed',
      (d) => d.does({ type: 'apply', config: config({ db: ['alice'] }) }),
      'carol',
      'not-listed',
    ],
    ['of a node that is not the best', () => undefined, 'carol', 'better-candidate'],
    [
      'of a stopped group',
      (d) => d.does({ type: 'group-stop', group: 'db', operation: 'o' }),
      'alice',
      'group-stopped',
    ],
    [
      'of a node in standby',
      (d) => d.does({ type: 'node-standby', node: 'alice', operation: 'o' }),
      'alice',
      'standby',
    ],
  ];
  for (const [what, before, node, rule] of reasons)
    test(`${what} is refused with the reason ${rule}`, () => {
      const desk = new Desk();
      before(desk);
      deepEqual(desk.claims(node).grants, []);
      equal(desk.decision?.reasons[0]?.rule, rule);
      equal(desk.decision?.kind, 'refusal');
    });

  test('of a group that left the configuration is refused', () => {
    const desk = new Desk();
    desk.does({ type: 'apply', config: config({}) });
    match(desk.claims('alice').refused[0]?.reason ?? '', /no longer in the configuration/);
  });
});

describe('events of a node', () => {
  test('are stored with the node’s name, at the time they happened, under an id that is stored once', () => {
    const desk = new Desk();
    desk.hears('alice', {
      events: [{ id: 'p-1', kind: 'agent.started', severity: 'info', agoMs: 500, detail: 'new incarnation' }],
    });
    deepEqual(
      desk.events.map(({ node, at, id }) => ({ node, at, id })),
      [{ node: 'alice', at: desk.now - 500, id: 'alice/p-1' }],
    );
  });
});
