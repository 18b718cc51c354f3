import { deepEqual, equal, match } from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { GuardError, type GuardReset } from '../guard/index.ts';
import { NodeFuse } from './node-fuse.ts';

const WATCHDOG: GuardReset = { kind: 'watchdog', device: '/dev/watchdog', leastS: 1, mostS: 600, noWayOut: false };

function nodeFuse(reset: GuardReset, asked: string = reset.kind) {
  const told: [number, number][] = [];
  const said: string[] = [];
  /** What a test may change: who has the device, and what the guard says of it. */
  const seen: { holder?: string; open?: boolean; hidden?: boolean; busy?: boolean } = {};
  const events: string[] = [];
  let changes = 0;
  const fuse = new NodeFuse({
    guard: {
      setReset: async (seconds, latencyMs) => {
        told.push([seconds, latencyMs]);
      },
      resetReport: async () => ({ reset, open: seen.open ?? false, timeoutS: 0, latencyMs: 0, pettedAtMs: undefined }),
    },
    reset,
    asked,
    log: { info: (text) => said.push(text), warn: (text) => said.push(text) },
    isIdle: () => seen.busy !== true,
    seen: {
      runs: (device) => device === '/dev/watchdog' && (seen.holder !== undefined || seen.open === true),
      holder: () => (seen.hidden === true ? undefined : seen.holder),
    },
    journal: { add: ({ kind }) => events.push(kind) },
    onChange: () => {
      changes += 1;
    },
  });
  return { fuse, told, said, seen, events, changes: () => changes };
}

test('a guard alone is what a node tells where nothing else was chosen, and nothing is asked of it', () => {
  const { fuse, told, said } = nodeFuse({ kind: 'none' });
  fuse.follow(LEASE_PROFILES.fast);
  deepEqual(fuse.report(), { kind: 'guard' });
  deepEqual([told, said], [[], []]);
  equal(fuse.isEnoughFor('guard'), true);
  equal(fuse.isEnoughFor('watchdog'), false);
});

test('the guard is told the time-out that goes with the timing, once for each', () => {
  const { fuse, told } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  fuse.follow(LEASE_PROFILES.default);
  deepEqual(fuse.report(), { kind: 'watchdog', timeoutMs: 1_000 });
  fuse.follow(LEASE_PROFILES.wan);
  deepEqual(told, [
    [1, 200],
    [3, 500],
  ]);
  equal(fuse.isEnoughFor('watchdog'), true);
});

test('a timing that the watchdog cannot keep is told with the sum, and nothing is claimed', () => {
  const { fuse, said, changes } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  fuse.follow(LEASE_PROFILES.fast);
  const { problem } = fuse.report();
  match(
    problem ?? '',
    /watchdog 1000 \+ reset 50 = 1050 ms exceeds the stop budget 600 ms .*\(I2\); use the profile default/,
  );
  match(said.join(), /nothing is started here: watchdog 1000/);
  equal(fuse.isEnoughFor('guard'), false);
  equal(changes(), 1);
  fuse.follow(LEASE_PROFILES.default);
  equal(fuse.report().problem, undefined);
  equal(changes(), 2);
});

test('a watchdog that could not be armed keeps groups away for a minute, then it is tried again', (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { fuse, changes } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  fuse.notArmed('/dev/watchdog is in use by systemd (process 1)');
  equal(fuse.isEnoughFor('guard'), false);
  match(fuse.report().problem ?? '', /in use by systemd/);
  t.mock.timers.tick(60_000);
  equal(fuse.isEnoughFor('watchdog'), true);
  equal(changes(), 2);
});

test('a watchdog that something else has taken is told of before anything is claimed, and when it is free again', async () => {
  const { fuse, said, seen, events, changes } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  await fuse.look();
  seen.holder = 'sh (process 77)';
  await fuse.look();
  equal(fuse.report().problem, '/dev/watchdog is in use by sh (process 77)');
  equal(fuse.isEnoughFor('watchdog'), false);
  await fuse.look();
  deepEqual([events, changes()], [['agent.watchdog-taken'], 1], 'once');
  delete seen.holder;
  await fuse.look();
  equal(fuse.report().problem, undefined);
  deepEqual(said, [
    'nothing is started here: /dev/watchdog is in use by sh (process 77)',
    '/dev/watchdog is free again',
  ]);
  deepEqual([events.at(-1), changes()], ['agent.watchdog-free', 2]);
});

test('who has taken the watchdog may be hidden; the guard itself is nobody else, nor is a node that has a lease asked', async () => {
  const { fuse, seen, changes } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  seen.open = true;
  await fuse.look();
  equal(fuse.report().problem, undefined);
  Object.assign(seen, { open: false, holder: 'systemd (process 1)', busy: true });
  await fuse.look();
  deepEqual([fuse.report().problem, changes()], [undefined, 0]);
  Object.assign(seen, { busy: false, hidden: true });
  await fuse.look();
  equal(fuse.report().problem, '/dev/watchdog is in use by something that cannot be found');
});

test('a watchdog that is free again may be armed at once, although arming it had failed', async () => {
  const { fuse, seen } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  seen.holder = 'sh (process 77)';
  fuse.notArmed('/dev/watchdog is in use by sh (process 77)');
  await fuse.look();
  delete seen.holder;
  await fuse.look();
  equal(fuse.isEnoughFor('watchdog'), true);
  fuse.dispose();
});

test('it is looked at every ten seconds until the end', async (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { fuse, seen } = nodeFuse(WATCHDOG);
  fuse.follow(LEASE_PROFILES.default);
  seen.holder = 'sh (process 77)';
  t.mock.timers.tick(10_000);
  await Promise.resolve();
  await Promise.resolve();
  match(fuse.report().problem ?? '', /in use by sh/);
  fuse.dispose();
  delete seen.holder;
  t.mock.timers.tick(60_000);
  await Promise.resolve();
  await Promise.resolve();
  match(fuse.report().problem ?? '', /in use by sh/, 'not after its end');
});

test('a guard that was started with another choice counts as it is, and that is said', () => {
  const { fuse, said } = nodeFuse({ kind: 'none' }, 'watchdog');
  match(said.join(), /the guard that runs has --reset=none, and this agent --reset=watchdog/);
  deepEqual(fuse.report(), { kind: 'guard' });
});

test('a watchdog that cannot be stopped is said, and a refusal of the timing as well', async () => {
  match(nodeFuse({ ...WATCHDOG, noWayOut: true }).said.join(), /cannot be stopped once it is armed \(nowayout\)/);
  const said: string[] = [];
  const fuse = new NodeFuse({
    guard: {
      setReset: () => Promise.reject(new GuardError('range', 'out of range')),
      resetReport: () => Promise.reject(new GuardError('range', 'out of range')),
    },
    reset: WATCHDOG,
    asked: 'watchdog',
    log: { info: () => undefined, warn: (text) => said.push(text) },
    isIdle: () => true,
    seen: { runs: () => false, holder: () => undefined },
    journal: { add: () => undefined },
    onChange: () => undefined,
  });
  fuse.follow(LEASE_PROFILES.default);
  await Promise.resolve();
  await Promise.resolve();
  match(said.join(), /did not take the timing.*out of range/);
});
