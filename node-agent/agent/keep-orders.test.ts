import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { nextDue, reportDue } from './keep.ts';
import { LEAVE_PATIENCE_MS } from './keep-leave.ts';
import { withCleanups } from './keep-orders.ts';
import { free, grant, heldLease, Keeper, renewed } from './testing.ts';

const T = LEASE_PROFILES.default;
const owner = () => {
  const keeper = new Keeper();
  keeper.acquires();
  keeper.now += 1_000;
  return keeper;
};
const stops = (keeper: Keeper) => keeper.effects.flatMap((effect) => (effect.kind === 'stop' ? [effect.how] : []));

test('the report of a hold says which cleanups were heard of, and no other report does', () => {
  const keeper = owner();
  const told = { group: 'db', epoch: 1, forMs: 0, resources: [] };
  equal(withCleanups({ ...told, state: 'held' }, keeper.held).cleanups, undefined, 'nothing was heard yet');
  keeper.renews(1, 'run', 20, 4);
  equal(withCleanups({ ...told, state: 'held' }, keeper.held).cleanups, 4);
  equal(withCleanups({ ...told, state: 'running' }, keeper.held).cleanups, undefined);
});

describe('an order to pause', () => {
  test('is told to the runner once, and the lease is renewed on', () => {
    const keeper = owner();
    const before = keeper.held?.deadlineMs ?? 0;
    keeper.renews(1, 'pause');
    deepEqual(keeper.effects.at(-1), { kind: 'pause', group: 'db', paused: true });
    deepEqual(keeper.kinds, ['pet', 'pause'], 'the fuse is petted on');
    keeper.now += 1_000;
    keeper.renews(1, 'pause');
    deepEqual(keeper.kinds, ['pet']);
    equal((keeper.held?.deadlineMs ?? 0) > before, true);
    equal(keeper.held?.phase, 'active');
  });

  test('ends with `run`', () => {
    const keeper = owner();
    keeper.renews(1, 'pause');
    keeper.now += 1_000;
    keeper.renews(1, 'run');
    deepEqual(keeper.effects.at(-1), { kind: 'pause', group: 'db', paused: false });
  });

  test('is not changed by an answer that a later one has overtaken', () => {
    const keeper = owner();
    const early = keeper.sends();
    const late = keeper.sends();
    keeper.answered(late, { leases: [renewed(1, 'pause')] });
    deepEqual(keeper.answered(early, { leases: [renewed(1, 'run')] }), []);
    equal(keeper.held?.paused, true);
  });

  test('ends with an order to release: the group is stopped in order', () => {
    const keeper = owner();
    keeper.renews(1, 'pause');
    keeper.renews(1, 'release');
    deepEqual(stops(keeper), ['graceful']);
    equal(keeper.held?.phase, 'draining');
    keeper.renews(1, 'pause');
    deepEqual(stops(keeper), [], 'and a release is not taken back');
  });

  test('does not keep a lease: when it is lost everything is stopped by force', () => {
    const keeper = owner();
    keeper.renews(1, 'pause');
    keeper.now = (keeper.held?.deadlineMs ?? 0) - T.stopMs;
    keeper.does({ type: 'tick' });
    deepEqual(keeper.kinds, ['pet', 'lost', 'stop']);
    deepEqual(stops(keeper), ['forced']);
  });

  test('a lease that was taken up again from the guard is paused until the first answer says otherwise', () => {
    for (const [order, effects] of [
      ['run', ['pet', 'pause']],
      ['pause', ['pet']],
    ] as const) {
      const keeper = new Keeper();
      const deadlineMs = keeper.now + 3_000;
      keeper.state = {
        ...keeper.state,
        held: { db: heldLease({ epoch: 1, deadlineMs, paused: true }) },
      };
      keeper.renews(1, order);
      deepEqual(keeper.kinds, effects, order);
    }
  });
});

describe('cleanups', () => {
  const cleaned = (keeper: Keeper) => keeper.effects.filter(({ kind }) => kind === 'cleanup');

  test('the first answer of an epoch says where the count stands, a greater one that a person has cleaned up', () => {
    const keeper = owner();
    keeper.renews(1, 'run', 20, 4);
    deepEqual(cleaned(keeper), []);
    keeper.renews(1, 'run', 20, 4);
    deepEqual(cleaned(keeper), []);
    const askedMs = keeper.now;
    keeper.renews(1, 'run', 20, 5);
    deepEqual(cleaned(keeper), [{ kind: 'cleanup', group: 'db', askedMs }]);
    keeper.renews(1, 'run', 20, 5);
    deepEqual(cleaned(keeper), []);
  });

  test('come before the end of the pause that they end', () => {
    const keeper = owner();
    keeper.renews(1, 'pause', 20, 1);
    keeper.renews(1, 'run', 20, 2);
    deepEqual(keeper.kinds.slice(-2), ['cleanup', 'pause']);
  });

  test('a count that went back is taken as it is: the coordinator was restored', () => {
    const keeper = owner();
    keeper.renews(1, 'run', 20, 4);
    keeper.renews(1, 'run', 20, 1);
    deepEqual(cleaned(keeper), []);
    keeper.renews(1, 'run', 20, 2);
    equal(cleaned(keeper).length, 1);
  });

  test('an overtaken answer says nothing of them', () => {
    const keeper = owner();
    keeper.renews(1, 'run', 20, 1);
    const early = keeper.sends();
    const late = keeper.sends();
    keeper.answered(late, { leases: [renewed(1, 'run', 2)] });
    keeper.answered(early, { leases: [renewed(1, 'run', 1)] });
    keeper.renews(1, 'run', 20, 2);
    deepEqual(cleaned(keeper), []);
  });
});

describe('the host is being shut down', () => {
  const leaving = () => {
    const keeper = owner();
    keeper.renews();
    keeper.does({ type: 'leave' });
    return keeper;
  };

  test('is told at once, with every report until nothing is held any more, and nothing is claimed', () => {
    const keeper = leaving();
    equal(reportDue(keeper.state, keeper.now), true);
    equal(keeper.sends().leaving, true);
    keeper.state = { ...keeper.state, claimable: new Set(['db', 'web']) };
    const report = keeper.sends();
    keeper.answered(report, { leases: [renewed(1)], observed: [{ ...free, group: 'web' }] });
    deepEqual(keeper.sends().claims, []);
    equal(keeper.sends().leaving, true);
    deepEqual(keeper.answered(keeper.sends(), { grants: [{ ...grant(1), group: 'web' }] }), []);
  });

  test('nothing is stopped while the coordinator answers: it orders the releases', () => {
    const keeper = leaving();
    for (let ms = 0; ms < LEAVE_PATIENCE_MS - 1_000; ms += 500) {
      keeper.now += 480;
      keeper.renews();
      deepEqual(stops(keeper), []);
      keeper.does({ type: 'tick' });
      deepEqual(stops(keeper), []);
    }
  });

  test('what it does not order in time is stopped gracefully, under the lease', () => {
    const keeper = leaving();
    const endMs = keeper.now + LEAVE_PATIENCE_MS;
    while (keeper.now < endMs) {
      keeper.renews();
      keeper.now = Math.min(endMs, keeper.now + 480);
    }
    keeper.does({ type: 'tick' });
    deepEqual(stops(keeper), ['graceful']);
    equal(keeper.held?.phase, 'draining');
    keeper.does({ type: 'tick' });
    deepEqual(stops(keeper), []);
  });

  test('a coordinator that does not answer is not waited for: a lease lasts just long enough for a graceful stop', () => {
    const keeper = leaving();
    keeper.sends();
    equal(nextDue({ ...keeper.state, nextReportMs: keeper.now + 60_000 }, keeper.now), keeper.now + T.renewMs);
    keeper.now += T.renewMs;
    keeper.does({ type: 'tick' });
    deepEqual(stops(keeper), ['graceful']);
  });

  test('one group that is being stopped gives the others their time', () => {
    const keeper = leaving();
    const lease = heldLease({ epoch: 1, deadlineMs: keeper.now + 3_600_000, phase: 'active' });
    keeper.state = { ...keeper.state, held: { ...keeper.state.held, web: lease } };
    keeper.renews(1, 'release');
    deepEqual(stops(keeper), ['graceful']);
    for (let seconds = 0; seconds < 60; seconds++) {
      keeper.now += 1_000;
      keeper.renews(1, 'release', 0);
      keeper.does({ type: 'tick' });
      deepEqual(stops(keeper), []);
    }
    keeper.does({ type: 'stopped', group: 'db' });
    keeper.answered(keeper.sends());
    keeper.now += LEAVE_PATIENCE_MS;
    keeper.does({ type: 'tick' });
    deepEqual(
      keeper.effects.flatMap((effect) => (effect.kind === 'stop' ? [effect.group] : [])),
      ['web'],
    );
  });

  test('a paused group is stopped in its turn, too: when the coordinator orders it', () => {
    const keeper = leaving();
    keeper.renews(1, 'pause');
    deepEqual(stops(keeper), []);
    keeper.renews(1, 'release');
    deepEqual(stops(keeper), ['graceful']);
  });
});
