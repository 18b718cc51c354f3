/** The inequalities of the lease protocol (I1–I6), computed here once more, by numbers instead of by the functions under test. */
import { equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import {
  activationReserveMs,
  customTiming,
  fuseInstant,
  LEASE_PROFILES,
  type LeaseTiming,
  takeoverWaitMs,
  timingProblem,
} from './limits.ts';

const timings: Record<string, LeaseTiming> = {
  ...LEASE_PROFILES,
  'ttl 6 s': customTiming(6_000, 1_000),
  'the longest': customTiming(120_000, 10_000),
};

test('the profiles are those of the protocol', () => {
  const shown = Object.fromEntries(
    Object.entries(LEASE_PROFILES).map(([name, t]) => [
      name,
      [t.leaseMs, t.stopMs, t.takeoverMs, t.promiseMs].join(' '),
    ]),
  );
  equal(
    JSON.stringify(shown),
    '{"default":"4000 1500 4159 4059","fast":"1800 600 1904 1854","wan":"15000 5000 16031 15131"}',
  );
});

test('I3: no other node starts before the lease has ended, however much the clocks differ', () => {
  for (const [name, t] of Object.entries(timings)) {
    // the owner’s clock runs slow by one part in a thousand, that of whoever waits fast by as much
    const leaseAtMost = t.leaseMs / (1 - 1e-3);
    const waitAtLeast = t.takeoverMs / (1 + 1e-3);
    ok(waitAtLeast - leaseAtMost >= 0.99 * t.coordinatorMarginMs, name);
    ok(t.promiseMs / (1 + 1e-3) - leaseAtMost >= 0.99 * t.promiseMarginMs, `I4, ${name}`);
    ok(t.coordinatorMarginMs >= 100 && t.promiseMarginMs >= 50, `margins of ${name}`);
    equal(takeoverWaitMs(t.leaseMs, t.coordinatorMarginMs), t.takeoverMs, name);
  }
});

test('I2: the fuse has acted by the deadline, and not before the agent had its time', () => {
  for (const [name, t] of Object.entries(timings)) {
    const fires = fuseInstant(100_000, t);
    equal(100_000 - fires, t.fuseMs + t.resetMs, name);
    ok(t.fuseMs >= 150 && t.resetMs >= 50, `what the guard needs, ${name}`);
    ok(fires >= 100_000 - t.stopMs, `the agent begins before, ${name}`);
  }
});

test('I6: what is started can still be stopped in its time', () => {
  for (const t of Object.values(timings)) equal(activationReserveMs(t), t.stopMs + t.fuseMs + t.resetMs);
});

test('I1: a lease in which lost renewals find no room is refused, with the sum', () => {
  for (const t of Object.values(timings)) {
    equal(timingProblem(t), undefined);
    ok(t.renewMs + t.retries * t.retryMs + t.stopMs <= t.leaseMs);
  }
  const tight = { ...LEASE_PROFILES.default, retryMs: 800 };
  match(
    timingProblem(tight) ?? '',
    /1000 \+ 2 retries × 800 \+ stop 1500 = 4100 ms does not fit into ttl 4000 ms \(I1\)/,
  );
});

test('I2: a stop budget in which the fuse finds no room is refused, with the sum', () => {
  const late = { ...LEASE_PROFILES.default, fuseMs: 1_400 };
  match(timingProblem(late) ?? '', /fuse 1400 \+ reset 200 ms exceeds the stop budget 1500 ms \(I2\)/);
});
