import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { timingWith } from '../../schemas/fuse.ts';
import { activationReserveMs, fuseInstant, GUARD_LATENESS_MS, LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Grant, LeaseAnswer } from '../../schemas/wire.ts';
import { type KeepState, nextDue, reportDue } from './keep.ts';
import { free, grant, heldLease, Keeper, renewed, START } from './testing.ts';

const T = LEASE_PROFILES.default;
/** When the guard acts if the agent has not begun to stop by force. */
const unattended = (deadlineMs: number) => deadlineMs - T.stopMs + GUARD_LATENESS_MS;

describe('P2, O4: a grant', () => {
  test('is made durable, then the fuse is armed, then the group may start: in this order', () => {
    const keeper = new Keeper();
    const sent = keeper.now;
    const effects = keeper.acquires(5);
    const deadlineMs = sent + T.leaseMs;
    deepEqual(effects, [
      {
        kind: 'persist',
        history: 'h1',
        epochs: { db: 5 },
        promiseMs: 0,
        coordinator: { generation: 1, instance: 'i1' },
      },
      {
        kind: 'arm',
        group: 'db',
        epoch: 5,
        deadlineMs,
        fireMs: unattended(deadlineMs),
        voters: { version: 1, names: ['alice', 'bob'] },
      },
      { kind: 'run', group: 'db', epoch: 5 },
    ]);
    equal(keeper.held?.phase, 'active');
  });

  const refused: [string, Partial<KeepState>, Grant, number][] = [
    ['to another incarnation', {}, grant(5, 'alice-0'), 20],
    ['during the quarantine', { quarantineEndMs: START + 60_000 }, grant(5), 20],
    ['of what is not verified to be stopped here', { claimable: new Set() }, grant(5), 20],
    ['that came too late to leave the time to stop (I6)', {}, grant(5), T.leaseMs - activationReserveMs(T) - 10],
  ];
  for (const [what, changes, given, delayMs] of refused)
    test(`${what} is not acted upon`, () => {
      const keeper = new Keeper();
      keeper.answered(keeper.sends(), { observed: [free] });
      const claim = keeper.sends();
      keeper.state = { ...keeper.state, ...changes };
      keeper.now += delayMs;
      deepEqual(keeper.answered(claim, { grants: [given] }), []);
      equal(keeper.held, undefined);
    });

  test('that leaves just enough time is acted upon', () => {
    equal(new Keeper().acquires(5, T.leaseMs - activationReserveMs(T) - 20).length, 3);
  });

  for (const epoch of [4, 5])
    test(`of epoch ${epoch} after epoch 5 was seen is given back: nothing of it runs here`, () => {
      const keeper = new Keeper({ epochs: { db: 5 } });
      deepEqual(keeper.acquires(epoch), []);
      deepEqual(keeper.state.releases, { db: { group: 'db', epoch } });
      equal(keeper.held, undefined);
    });

  test('that was not asked for in that request is not acted upon', () => {
    const keeper = new Keeper();
    deepEqual(keeper.answered(keeper.sends(), { grants: [grant(5)] }), []);
  });

  test('is not repeated by the same answer arriving twice', () => {
    const keeper = new Keeper();
    keeper.acquires(5);
    deepEqual(keeper.answered({ id: 'r2' }, { grants: [grant(5)] }), []);
  });
});

describe('O1: the deadline', () => {
  test('counts from the sending of the request, not from its answer', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.now += 1_000;
    const sent = keeper.now;
    const [pet] = keeper.renews(1, 'run', 900);
    const deadlineMs = sent + T.leaseMs;
    deepEqual(pet, { kind: 'pet', group: 'db', epoch: 1, deadlineMs, fireMs: unattended(deadlineMs) });
    equal(keeper.held?.deadlineMs, deadlineMs);
  });

  test('is not moved back by an older answer that was overtaken', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const first = keeper.sends();
    keeper.now += 500;
    const second = keeper.sends();
    keeper.answered(second, { leases: [renewed(1)] });
    const deadline = keeper.held?.deadlineMs;
    deepEqual(keeper.answered(first, { leases: [renewed(1)] }), []);
    equal(keeper.held?.deadlineMs, deadline);
  });

  const worthless: [string, string, LeaseAnswer][] = [
    ['to a request that this process did not send (P3)', 'someone-else', renewed(1)],
    ['about another epoch', 'own', renewed(2)],
    ['about another group', 'own', { ...renewed(1), group: 'web' }],
  ];
  for (const [what, whose, answer] of worthless)
    test(`is not moved by an answer ${what}`, () => {
      const keeper = new Keeper();
      keeper.acquires();
      const deadline = keeper.held?.deadlineMs;
      keeper.now += 1_000;
      const { id } = keeper.sends();
      deepEqual(keeper.answered({ id: whose === 'own' ? id : whose }, { leases: [answer] }), []);
      equal(keeper.held?.deadlineMs, deadline);
    });

  test('is not moved by the answer to a request that did not name the lease', () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [free] });
    const claim = keeper.sends();
    const deadline = keeper.now + T.leaseMs;
    keeper.now += 500;
    keeper.state = { ...keeper.state, observed: {} };
    const other = keeper.sends();
    keeper.answered(claim, { grants: [grant(1)] });
    deepEqual(keeper.answered(other, { leases: [renewed(1)] }), []);
    equal(keeper.held?.deadlineMs, deadline);
  });

  test('an answer that has outlived two leases is forgotten', () => {
    const keeper = new Keeper();
    const { id } = keeper.sends();
    keeper.now += 2 * T.leaseMs + 10;
    keeper.sends();
    equal(keeper.state.requests.get(id), undefined);
  });

  test('no pet is sent that the fuse would not live to use (I2)', () => {
    const keeper = new Keeper({ timing: { ...T, stopMs: 0 } });
    keeper.acquires();
    keeper.now += 1_000;
    const report = keeper.sends();
    keeper.state = {
      ...keeper.state,
      held: { db: heldLease({ epoch: 1, deadlineMs: keeper.now + 9_000, phase: 'active' }) },
    };
    keeper.now += 8_990;
    deepEqual(keeper.answered(report, { leases: [renewed(1)] }), []);
  });
});

describe('O3: a lease that was not renewed', () => {
  test('is lost at deadline − S: forced down, not a moment earlier', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const stopAt = (keeper.held?.deadlineMs ?? 0) - T.stopMs;
    keeper.now = stopAt - 1;
    deepEqual(keeper.does({ type: 'tick' }), []);
    equal(nextDue({ ...keeper.state, nextReportMs: stopAt + 9_000 }, keeper.now), stopAt);
    keeper.now = stopAt;
    deepEqual(
      keeper.does({ type: 'tick' }).map((effect) => [effect.kind, 'how' in effect ? effect.how : undefined]),
      [
        ['pet', undefined],
        ['lost', undefined],
        ['stop', 'forced'],
      ],
    );
    deepEqual(keeper.does({ type: 'tick' }), [], 'once');
  });

  test('is taken away by the guard soon after deadline − S, unless the agent says that it has begun', () => {
    const keeper = new Keeper();
    const armed = keeper.acquires().find(({ kind }) => kind === 'arm');
    const deadlineMs = keeper.held?.deadlineMs ?? 0;
    const instant = (fireMs: number) => ({ deadlineMs, fireMs });
    ok(armed?.kind === 'arm');
    deepEqual(instant(armed.fireMs), instant(deadlineMs - 1_500 + 150));
    keeper.now = deadlineMs - T.stopMs;
    const [begun] = keeper.does({ type: 'tick' });
    deepEqual(begun, { kind: 'pet', group: 'db', epoch: 1, deadlineMs, fireMs: fuseInstant(deadlineMs, T) });
  });

  test('that is lost shortly before deadline − S by a refusal leaves the agent S less the guard’s part, too', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const deadlineMs = keeper.held?.deadlineMs ?? 0;
    const report = keeper.sends();
    keeper.now = deadlineMs - T.stopMs - 100;
    keeper.answered(report, { problem: { code: 'declared-dead', detail: 'said so' } });
    const pet = keeper.effects.find(({ kind }) => kind === 'pet');
    deepEqual(pet, { kind: 'pet', group: 'db', epoch: 1, deadlineMs, fireMs: fuseInstant(keeper.now + T.stopMs, T) });
  });

  test('is lost for ever: neither named in a report nor brought back by an answer', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const report = keeper.sends();
    keeper.now = (keeper.held?.deadlineMs ?? 0) - T.stopMs;
    keeper.does({ type: 'tick' });
    deepEqual(keeper.sends().leases, []);
    deepEqual(keeper.answered(report, { leases: [renewed(1)] }), []);
    equal(keeper.held?.phase, 'lost');
  });

  test('is not renewed by a report that is composed too late, before anyone has noticed', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.now = (keeper.held?.deadlineMs ?? 0) - T.stopMs;
    deepEqual(keeper.sends().leases, []);
  });

  test('is lost when its renewal is answered too late, though no tick came before', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const report = keeper.sends();
    keeper.now = (keeper.held?.deadlineMs ?? 0) - T.stopMs;
    keeper.answered(report, { leases: [renewed(1)] });
    deepEqual(keeper.kinds, ['pet', 'lost', 'stop']);
  });

  test('a refused renewal ends it now; of another epoch it says nothing', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const refusal = (epoch: number): LeaseAnswer => ({ verdict: 'refused', group: 'db', epoch, reason: 'bob owns it' });
    deepEqual(keeper.answered(keeper.sends(), { leases: [refusal(0)] }), []);
    keeper.answered(keeper.sends(), { leases: [refusal(1)] });
    deepEqual(keeper.kinds, ['lost', 'stop']);
  });

  const problems = [
    ['declared-dead', true],
    ['node-removed', true],
    ['node-unknown', true],
    ['identity-conflict', true],
    ['history-mismatch', true],
    ['version-unsupported', false],
    ['malformed', false],
  ] as const;
  for (const [code, ends] of problems)
    test(`a report refused as ${code} ${ends ? 'ends every lease now' : 'ends no lease'}`, () => {
      const keeper = new Keeper();
      keeper.acquires();
      keeper.answered(keeper.sends(), { problem: { code, detail: 'so it is' } });
      deepEqual(keeper.kinds, ends ? ['refused', 'lost', 'stop'] : ['refused']);
      equal(keeper.state.nextReportMs, keeper.now + T.renewMs);
    });

  test('a fuse that cannot be armed or petted ends it now', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.does({ type: 'unprotected', group: 'db' });
    deepEqual(keeper.kinds, ['lost', 'stop']);
  });
});

describe('O5: a release', () => {
  test('has nothing started once it is being made, though its grant was still on the way to the disk', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    deepEqual(keeper.does({ type: 'closing', group: 'db' }), []);
    equal(keeper.held?.phase, 'draining');
    deepEqual(
      keeper.renews(3, 'run').map(({ kind }) => kind),
      ['pet'],
      'renewed until the guard has forgotten it',
    );
    equal(keeper.held?.phase, 'draining', 'and not started by an order to run');
    keeper.does({ type: 'stopped', group: 'db' });
    deepEqual(keeper.sends().releases, [{ group: 'db', epoch: 3 }]);
  });

  test('is not told while a lost lease is still being stopped', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    keeper.does({ type: 'unprotected', group: 'db' });
    deepEqual(keeper.sends().releases, []);
    keeper.does({ type: 'stopped', group: 'db' });
    deepEqual(keeper.sends().releases, [{ group: 'db', epoch: 3, forced: true }]);
  });

  test('is told when everything is down, until it is acknowledged', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    deepEqual(keeper.sends().releases, []);
    deepEqual(keeper.does({ type: 'stopped', group: 'db' }), [], 'its fuse was closed before');
    equal(keeper.held, undefined);
    ok(reportDue(keeper.state, keeper.now));
    const report = keeper.sends();
    deepEqual(report.releases, [{ group: 'db', epoch: 3 }]);
    deepEqual(keeper.sends().releases, report.releases);
    keeper.answered(report);
    deepEqual(keeper.sends().releases, []);
  });

  test('is not acknowledged by the answer to a report that did not carry it', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    const report = keeper.sends();
    keeper.does({ type: 'stopped', group: 'db' });
    keeper.answered(report, { leases: [renewed(3)] });
    deepEqual(keeper.sends().releases, [{ group: 'db', epoch: 3 }]);
  });

  test('carries the failure of a group that was given up', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    const failure = { resource: 'ip', severity: 'hard', reason: 'no device' } as const;
    keeper.does({ type: 'stopped', group: 'db', failure });
    deepEqual(keeper.sends().releases, [{ group: 'db', epoch: 3, failure }]);
  });

  test('keeps what it tells when the grant of its epoch arrives a second time, by the other way', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    const failure = { resource: 'ip', severity: 'hard', reason: 'no device', verdict: 'stop' } as const;
    keeper.does({ type: 'stopped', group: 'db', failure });
    deepEqual(keeper.answered({ id: 'r2' }, { grants: [grant(3)] }), []);
    deepEqual(keeper.sends().releases, [{ group: 'db', epoch: 3, failure }]);
  });

  test('is final: the epoch is not acted upon again, whatever arrives', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    const renewal = keeper.sends();
    keeper.does({ type: 'stopped', group: 'db' });
    deepEqual(keeper.answered(renewal, { leases: [renewed(3)] }), []);
    deepEqual(keeper.answered({ id: 'r2' }, { grants: [grant(3)] }), []);
    equal(keeper.held, undefined);
  });

  test('that is not acknowledged yet keeps the node from claiming', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    keeper.does({ type: 'stopped', group: 'db' });
    keeper.state = {
      ...keeper.state,
      observed: { db: { renewal: null, sinceMs: 0, claim: 'now', released: null, waitMs: 0 } },
    };
    deepEqual(keeper.sends().claims, []);
  });

  test('is not sent during the quarantine: the lease runs out instead', () => {
    const keeper = new Keeper({ held: { db: heldLease({ epoch: 3, deadlineMs: START + 2_000, phase: 'lost' }) } });
    keeper.state = { ...keeper.state, quarantineEndMs: keeper.now + 1_000 };
    keeper.does({ type: 'stopped', group: 'db' });
    deepEqual(keeper.sends().releases, []);
    equal(keeper.held, undefined);
  });
});

describe('an order to release', () => {
  test('stops gracefully, once, under a lease that is renewed on', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.now += 1_000;
    keeper.renews(1, 'release');
    deepEqual(keeper.kinds, ['pet', 'stop']);
    ok(keeper.effects.some((effect) => effect.kind === 'stop' && effect.how === 'graceful'));
    keeper.now += 1_000;
    keeper.renews(1, 'release');
    deepEqual(keeper.kinds, ['pet']);
    equal(keeper.held?.phase, 'draining');
  });

  test('is not taken back by a later `run`: what is being stopped is given back first', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.renews(1, 'release');
    keeper.renews(1, 'run');
    equal(keeper.held?.phase, 'draining');
  });

  test('turns into a forced stop when the lease ends meanwhile', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.renews(1, 'release');
    keeper.now = (keeper.held?.deadlineMs ?? 0) - T.stopMs;
    keeper.does({ type: 'tick' });
    deepEqual(keeper.kinds, ['pet', 'lost', 'stop']);
  });
});

describe('what would not stop', () => {
  test('is not renewed any more, and everything else of the group is forced down at once', () => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.does({ type: 'stuck', group: 'db' });
    deepEqual(keeper.kinds, ['lost', 'stop']);
    equal(keeper.held?.phase, 'stuck');
    deepEqual(keeper.sends().leases, []);
    deepEqual(keeper.does({ type: 'stuck', group: 'db' }), []);
    keeper.now += T.leaseMs;
    deepEqual(keeper.does({ type: 'tick' }), []);
  });

  test('is released when it stopped after all', () => {
    const keeper = new Keeper();
    keeper.acquires(3);
    keeper.does({ type: 'stuck', group: 'db' });
    keeper.does({ type: 'stopped', group: 'db' });
    deepEqual(keeper.sends().releases, [{ group: 'db', epoch: 3, forced: true }]);
  });
});

describe('with a watchdog', () => {
  const lastWord = { kind: 'watchdog', leastS: 1, mostS: 600 } as const;
  const timing = timingWith(T, lastWord);

  test('the guard acts earlier, and what must be left for a start includes the time-out (I6)', () => {
    const keeper = new Keeper({ timing, lastWord });
    const armed = keeper.acquires(5, 0).find(({ kind }) => kind === 'arm');
    ok(armed?.kind === 'arm');
    keeper.now = armed.deadlineMs - T.stopMs;
    const [begun] = keeper.does({ type: 'tick' });
    ok(begun?.kind === 'pet');
    equal(begun.deadlineMs - begun.fireMs, 500 + 200);
    equal(new Keeper({ timing, lastWord }).acquires(5, T.leaseMs - (1_500 + 1_000 + 200) - 10).length, 0);
    equal(new Keeper({ timing, lastWord }).acquires(5, T.leaseMs - (1_500 + 1_000 + 200) - 20).length, 3);
  });

  test('the timing of a new configuration gets this node’s own fuse', () => {
    const keeper = new Keeper({ timing, lastWord });
    keeper.answered(keeper.sends(), { config: { revision: 2, timing: LEASE_PROFILES.wan, groups: [] } });
    equal(keeper.state.timing.watchdogMs, 3_000);
    equal(keeper.state.timing.fuseMs, 1_666);
  });
});
