/** What a watchdog does to the inequalities I1, I2 and I6, by numbers. */
import { equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { fuseProblem, timingWith, watchdogSeconds } from './fuse.ts';
import { activationReserveMs, customTiming, fuseInstant, LEASE_PROFILES, timingProblem } from './limits.ts';

const { default: usual, fast, wan } = LEASE_PROFILES;
const watchdog = { kind: 'watchdog', leastS: 1, mostS: 600 } as const;

test('a watchdog gets a quarter of the lease, in whole seconds, as far as its driver goes', () => {
  equal(watchdogSeconds(usual, {}), 1);
  equal(watchdogSeconds(wan, {}), 3);
  equal(watchdogSeconds(customTiming(120_000, 10_000), {}), 30);
  equal(watchdogSeconds(usual, { leastS: 2 }), 2);
  equal(watchdogSeconds(wan, { mostS: 2 }), 2);
});

test('with a last word the guard acts earlier, and what must be left for a start counts the watchdog', () => {
  const t = timingWith(usual, watchdog);
  equal(fuseInstant(100_000, t), 100_000 - 500 - 200);
  equal(activationReserveMs(t), 1_500 + 1_000 + 200);
  equal(fuseInstant(100_000, timingWith(usual, { kind: 'sysrq' })), 100_000 - 500 - 200);
  equal(fuseInstant(100_000, timingWith(usual, { kind: 'none' })), 100_000 - 150 - 200);
  equal(activationReserveMs(timingWith(usual, { kind: 'none' })), 1_500 + 150 + 200);
});

test('the last pet, the guard and the reset come in this order, and the reset is over by the deadline', () => {
  for (const t of [usual, wan, customTiming(6_000, 1_000), customTiming(120_000, 10_000)]) {
    equal(fuseProblem(t, watchdog), undefined);
    const { watchdogMs = 0, fuseMs, resetMs, stopMs } = timingWith(t, watchdog);
    ok(stopMs >= watchdogMs + resetMs, 'the agent begins before the last pet');
    // a tenth of W is the pause between pets
    ok(fuseMs > watchdogMs / 10 + 100, 'the guard has time between its own act and the earliest reset');
    ok(watchdogMs >= 1_000 && watchdogMs <= t.leaseMs / 4);
  }
});

test('I2: a watchdog that is too slow for the lease is refused, with the sum and the profile that fits', () => {
  match(
    fuseProblem(fast, watchdog) ?? '',
    /watchdog 1000 \+ reset 50 = 1050 ms exceeds the stop budget 600 ms of a lease of 1800 ms \(I2\); use the profile default/,
  );
  match(
    fuseProblem(usual, { kind: 'watchdog', leastS: 2 }) ?? '',
    /watchdog 2000 \+ reset 200 = 2200 ms exceeds the stop budget 1500 ms .*\(I2\); use the profile wan/,
  );
  match(fuseProblem(wan, { kind: 'watchdog', leastS: 30 }) ?? '', /30500 ms.*no profile fits it.*--reset=none/);
});

test('I6: a lease in which nothing could be started is refused', () => {
  const t = { ...usual, stopMs: 2_400, renewMs: 500 };
  match(
    fuseProblem(t, watchdog) ?? '',
    /stop 2400 \+ watchdog 1000 \+ reset 200 ms leave too little of a lease of 4000 ms .*\(I6\)/,
  );
});

test('every profile fits the guard alone and a reset by sysrq', () => {
  for (const t of Object.values(LEASE_PROFILES))
    for (const kind of ['none', 'sysrq'] as const) {
      equal(fuseProblem(t, { kind }), undefined);
      equal(timingProblem(timingWith(t, { kind })), undefined);
    }
});
