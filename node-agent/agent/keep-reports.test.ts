import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES, type LeaseTiming } from '../../schemas/limits.ts';
import type { NodeConfig, Observation } from '../../schemas/wire.ts';
import { attemptOf, nextDue, reportDue } from './keep.ts';
import { free, grant, heldLease, Keeper, renewed, START } from './testing.ts';

const T = LEASE_PROFILES.default;
const configOf = (timing: LeaseTiming, revision = 2): NodeConfig => ({ revision, timing, groups: [] });

describe('P3: a new incarnation', () => {
  test('claims nothing before its quarantine has ended, says how long that is, and reports the moment it ends', () => {
    const keeper = new Keeper({ quarantineEndMs: START + T.promiseMs });
    const report = keeper.sends();
    equal(report.quarantineMs, T.promiseMs);
    keeper.answered(report, { observed: [free] });
    deepEqual(keeper.sends().claims, []);
    equal(nextDue({ ...keeper.state, nextReportMs: START + 90_000 }, keeper.now), START + T.promiseMs);
    keeper.now = START + T.promiseMs;
    ok(reportDue({ ...keeper.state, nextReportMs: START + 90_000 }, keeper.now));
    equal(keeper.sends().claims.length, 1);
  });

  test('tells its epochs until this instance of the coordinator has acknowledged them, then no more (C7)', () => {
    const keeper = new Keeper({ toldInstance: null, instance: null, epochs: { db: 4 } });
    const first = keeper.sends();
    deepEqual(first.epochs, { db: 4 });
    keeper.answered(first);
    equal(keeper.sends().epochs, undefined);
    const before = keeper.sends();
    keeper.answered(before, { instance: 'i2' });
    ok(reportDue(keeper.state, keeper.now), 'a new instance is told at once');
    deepEqual(keeper.sends().epochs, { db: 4 });
  });

  test('tells its epochs again when it is asked to: another incarnation of its name was heard in between', () => {
    const keeper = new Keeper({ epochs: { db: 4 } });
    keeper.answered(keeper.sends(), { tellEpochs: true });
    ok(reportDue(keeper.state, keeper.now), 'at once');
    const again = keeper.sends();
    deepEqual(again.epochs, { db: 4 });
    keeper.answered(again);
    equal(keeper.sends().epochs, undefined);
  });

  test('tells them with every report while it is refused: old data may take it for another (C7)', () => {
    const keeper = new Keeper({ epochs: { db: 4 } });
    for (let refused = 0; refused < 2; refused++) {
      const report = keeper.sends();
      deepEqual(report.epochs, refused === 0 ? undefined : { db: 4 });
      keeper.answered(report, { problem: { code: 'identity-conflict', detail: '' } });
    }
  });

  test('keeps the history of the first answer, on disk', () => {
    const keeper = new Keeper({ history: null });
    deepEqual(keeper.answered(keeper.sends()), [
      { kind: 'persist', history: 'h1', epochs: {}, promiseMs: 0, coordinator: { generation: 1, instance: 'i1' } },
    ]);
    equal(keeper.state.history, 'h1');
  });
});

describe('C2: the claimant’s side of the wait', () => {
  const other = (renewal: string, claim: Observation['claim'] = 'after'): Observation => ({
    group: 'db',
    renewal,
    released: null,
    claim,
    waitMs: T.takeoverMs,
  });
  const watching = () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [other('x1')] });
    return keeper;
  };

  test('counts from when it learned of the newest renewal, a step of its clock late rather than early', () => {
    const keeper = watching();
    keeper.now += T.takeoverMs + 9;
    deepEqual(keeper.sends().claims, []);
    keeper.now += 1;
    deepEqual(keeper.sends().claims, [{ group: 'db', renewal: 'x1', seenForMs: T.takeoverMs }]);
  });

  test('goes on while the same renewal stays the newest', () => {
    const keeper = watching();
    keeper.now += 2_000;
    keeper.answered(keeper.sends(), { observed: [other('x1')] });
    keeper.now = START + T.takeoverMs + 10;
    equal(keeper.sends().claims[0]?.seenForMs, T.takeoverMs);
  });

  for (const how of ['an answer', 'a message of its own'])
    test(`begins anew with a newer renewal, told by ${how}`, () => {
      const keeper = watching();
      keeper.now += T.takeoverMs;
      if (how === 'an answer') keeper.answered(keeper.sends(), { observed: [other('x2')] });
      else keeper.does({ type: 'renewals', renewals: [{ group: 'db', renewal: 'x2' }] });
      keeper.now += T.takeoverMs;
      deepEqual(keeper.sends().claims, []);
      keeper.now += 10;
      deepEqual(keeper.sends().claims, [{ group: 'db', renewal: 'x2', seenForMs: T.takeoverMs }]);
    });

  test('makes the node report exactly when its claim can be granted', () => {
    const keeper = watching();
    const far = { ...keeper.state, nextReportMs: START + 60_000 };
    equal(nextDue(far, keeper.now), START + 10 + T.takeoverMs);
    ok(!reportDue(far, START + 9 + T.takeoverMs));
    ok(reportDue(far, START + 10 + T.takeoverMs));
  });

  test('`never` is not claimed, however long it was watched', () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [other('x1', 'never')] });
    keeper.now += 60_000;
    deepEqual(keeper.sends().claims, []);
  });

  test('a new permission to claim is used at once; a claim that was just refused waits for the next renewal', () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [free] });
    ok(reportDue(keeper.state, keeper.now));
    keeper.answered(keeper.sends(), { observed: [free], refused: [{ group: 'db', reason: 'no' }] });
    ok(!reportDue(keeper.state, keeper.now));
  });

  test('what has just become claimable here is claimed at once', () => {
    const keeper = new Keeper({ claimable: new Set() });
    keeper.answered(keeper.sends(), { observed: [free] });
    ok(!reportDue(keeper.state, keeper.now));
    keeper.does({ type: 'claimable', groups: new Set(['db']) });
    ok(reportDue(keeper.state, keeper.now));
  });
});

describe('the pace of reports', () => {
  test('repeats an unanswered report quickly for the retries that the lease has room for, then at its usual pace', () => {
    const keeper = new Keeper();
    const pauses: number[] = [];
    for (let n = 0; n < 4; n++) {
      keeper.sends();
      pauses.push(keeper.state.nextReportMs - keeper.now);
      keeper.now = keeper.state.nextReportMs;
    }
    deepEqual(pauses, [T.retryMs, T.retryMs, T.renewMs, T.renewMs]);
  });

  test('follows the coordinator’s word when it answers', () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { renewInMs: 730 });
    equal(keeper.state.nextReportMs, keeper.now + 730);
  });

  test('tells how long the coordinator was away, once it answers again', () => {
    const keeper = new Keeper();
    for (let n = 0; n <= T.retries; n++) keeper.sends();
    keeper.now += 5_000;
    deepEqual(keeper.answered(keeper.sends()), [{ kind: 'reconnected', awayMs: 5_000 }]);
    deepEqual(keeper.answered(keeper.sends()), []);
  });

  test('a burst of reports is neither an absence of the coordinator nor a reason to retry later', () => {
    const keeper = new Keeper();
    for (let n = 0; n <= T.retries; n++) {
      keeper.sends();
      equal(keeper.state.nextReportMs, keeper.now + T.retryMs);
    }
    equal(attemptOf(keeper.state, keeper.now), 0, 'not yet worth sending by the other way as well');
    const awayMs = T.retries * T.retryMs + T.renewMs;
    for (const [silentMs, told] of [
      [70, []],
      [awayMs - 1, []],
      [awayMs, [{ kind: 'reconnected', awayMs }]],
    ] as const) {
      const report = keeper.sends();
      for (let n = 0; n < T.retries; n++) keeper.sends();
      keeper.now += silentMs;
      deepEqual(keeper.answered(report), told);
    }
  });

  test('a nudge and news make it report now', () => {
    for (const type of ['nudge', 'news'] as const) {
      const keeper = new Keeper({ nextReportMs: START + 900 });
      keeper.does({ type });
      ok(reportDue(keeper.state, keeper.now));
    }
  });

  test('reports composed within one step of the clock bear different times, in their order', () => {
    const keeper = new Keeper();
    const times = [keeper.sends(), keeper.sends(), keeper.sends()].map(({ sentMs }) => sentMs);
    deepEqual(times, [START, START + 1, START + 2]);
  });
});

describe('a change of the lease’s length', () => {
  const changed = (timing: LeaseTiming) => {
    const keeper = new Keeper();
    keeper.acquires();
    keeper.answered(keeper.sends(), { config: configOf(timing) });
    return keeper;
  };

  test('is put in force at once and told at once', () => {
    const keeper = changed(LEASE_PROFILES.wan);
    deepEqual(keeper.kinds, ['configure']);
    equal(keeper.state.revision, 2);
    ok(reportDue(keeper.state, keeper.now));
    equal(keeper.sends().leaseMs, LEASE_PROFILES.wan.leaseMs);
  });

  test('a configuration that it has already is not put in force again', () => {
    const keeper = changed(LEASE_PROFILES.wan);
    deepEqual(keeper.answered(keeper.sends(), { config: configOf(LEASE_PROFILES.fast) }), []);
    equal(keeper.state.timing.leaseMs, LEASE_PROFILES.wan.leaseMs);
  });

  test('a longer lease is counted from requests that named it, not from those under way', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const under = keeper.sends();
    keeper.answered(keeper.sends(), { config: configOf(LEASE_PROFILES.wan) });
    keeper.answered(under, { leases: [renewed(1)] });
    equal(keeper.held?.deadlineMs, keeper.now + T.leaseMs);
    keeper.renews();
    equal(keeper.held?.deadlineMs, keeper.now - 20 + LEASE_PROFILES.wan.leaseMs);
  });

  test('a shorter lease is counted from requests under way as well', () => {
    const keeper = new Keeper({ timing: LEASE_PROFILES.wan });
    keeper.acquires();
    keeper.now += 14_000;
    keeper.state = {
      ...keeper.state,
      held: { db: heldLease({ epoch: 1, deadlineMs: keeper.now + 6_000, phase: 'active' }) },
    };
    const under = keeper.sends();
    keeper.answered(keeper.sends(), { config: configOf(T) });
    keeper.answered(under, { leases: [renewed(1)] });
    equal(keeper.held?.deadlineMs, keeper.now + 6_000);
  });

  test('a shorter lease is not told before the deadline that the guard was given has come: it cannot be shortened', () => {
    const keeper = new Keeper({ timing: LEASE_PROFILES.wan });
    keeper.acquires();
    const deadline = keeper.held?.deadlineMs ?? 0;
    keeper.answered(keeper.sends(), { config: configOf(LEASE_PROFILES.fast) });
    equal(keeper.sends().leaseMs, deadline - keeper.now);
    keeper.now += 6_000;
    equal(keeper.sends().leaseMs, deadline - keeper.now);
    keeper.renews();
    equal(keeper.held?.deadlineMs, deadline, 'a renewal of the shorter lease adds nothing yet');
    keeper.now = deadline - LEASE_PROFILES.fast.leaseMs;
    equal(keeper.sends().leaseMs, LEASE_PROFILES.fast.leaseMs);
  });

  test('a shorter lease gives what runs the later instant of the guard at once: it is not taken away while it is renewed', () => {
    const keeper = new Keeper({ timing: LEASE_PROFILES.wan });
    keeper.acquires();
    const deadlineMs = keeper.held?.deadlineMs ?? 0;
    keeper.now += 1_000;
    const effects = keeper.answered(keeper.sends(), { config: configOf(T), leases: [renewed(1)] });
    const pets = effects.filter(({ kind }) => kind === 'pet');
    const last = pets.at(-1);
    ok(last?.kind === 'pet');
    ok(last.fireMs >= (keeper.held?.deadlineMs ?? 0) - T.stopMs, 'not before the agent itself would stop by force');
    ok(last.deadlineMs >= deadlineMs);
  });

  test('a lease counted by a short timing is not lost because the new one has a larger stop budget', () => {
    const keeper = new Keeper({ timing: LEASE_PROFILES.fast });
    keeper.acquires();
    keeper.answered(keeper.sends(), { config: configOf(LEASE_PROFILES.wan) });
    deepEqual(keeper.does({ type: 'tick' }), []);
    keeper.now += 200;
    deepEqual(keeper.does({ type: 'tick' }), []);
    keeper.renews();
    deepEqual(keeper.kinds, ['pet']);
    keeper.now = (keeper.held?.deadlineMs ?? 0) - LEASE_PROFILES.wan.stopMs;
    keeper.does({ type: 'tick' });
    deepEqual(keeper.kinds, ['pet', 'lost', 'stop']);
  });
});

describe('what has come up while an answer was on its way', () => {
  test('a release is told at once, not with the next renewal', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const before = keeper.sends();
    keeper.now += 5;
    keeper.does({ type: 'stopped', group: 'db' });
    keeper.answered(before, { leases: [renewed(1)] });
    ok(reportDue(keeper.state, keeper.now));
    deepEqual(
      keeper.sends().releases.map(({ epoch }) => epoch),
      [1],
    );
  });

  test('so is news; without either the next report waits for its time', () => {
    const keeper = new Keeper();
    const before = keeper.sends();
    keeper.now += 5;
    keeper.does({ type: 'news' });
    keeper.answered(before);
    ok(reportDue(keeper.state, keeper.now));
    keeper.answered(keeper.sends());
    ok(!reportDue(keeper.state, keeper.now));
    equal(nextDue(keeper.state, keeper.now), keeper.now + T.renewMs);
  });
});

test('while something that was lost is being taken down nothing else is claimed or taken up: it may not run beside it', () => {
  const keeper = new Keeper({ claimable: new Set(['db', 'log']) });
  keeper.acquires();
  const log: Observation = { ...free, group: 'log' };
  const before = keeper.sends();
  keeper.answered(before, { observed: [log] });
  const claim = keeper.sends();
  equal(claim.claims.length, 1);
  keeper.does({ type: 'unprotected', group: 'db' });
  const granted = { ...grant(1), group: 'log' };
  deepEqual(keeper.answered(claim, { observed: [log], grants: [granted] }), []);
  deepEqual(keeper.sends().claims, []);
  keeper.does({ type: 'stopped', group: 'db' });
  equal(keeper.sends().claims.length, 1);
});
