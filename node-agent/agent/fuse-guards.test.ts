/** What the fuse tells the guard beside the lease, and what it takes up of what the guard remembers. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { GuardGroup } from '../guard/index.ts';
import type { Holding } from '../resources/index.ts';
import { Addresses, processIdentity, silent } from '../system/index.ts';
import { isAlive, noCgroups, testCgroups } from '../system/testing.ts';
import { Fuse, heldBy } from './fuse.ts';

const voters = { version: 1, names: ['alice'] };
const lease = { group: 'db', epoch: 7, deadlineMs: 1_000, fireMs: 900 };
const times = { deadlineMs: lease.deadlineMs, fireAtMs: lease.fireMs };
const skip = noCgroups() ?? false;

function fuseWith(log: string[], disarmed = Promise.resolve()) {
  const cgroups = testCgroups();
  const fuse = new Fuse({
    guard: {
      arm: async () => {
        log.push('arm');
        return times;
      },
      pet: async () => {
        log.push('pet');
        return times;
      },
      hold: async (_group: string, holding: Holding) => {
        log.push(`hold ${holding.kind === 'cgroup' ? holding.path : holding.kind}`);
      },
      promise: async () => undefined,
      disarm: () => disarmed,
      state: async () => ({ incarnation: undefined, notes: new Map(), promises: new Map(), groups: new Map() }),
    },
    process: { pid: process.pid, identity: processIdentity(process.pid) },
    cgroups,
    addresses: new Addresses(silent),
    log: silent,
  });
  return { fuse, cgroup: cgroups.group('db') };
}

test('the cgroup of a group is known to the guard before the group may start', { skip }, async () => {
  const log: string[] = [];
  const { fuse, cgroup } = fuseWith(log);
  fuse.arm({ kind: 'arm', ...lease, voters }, Promise.resolve(), () => true);
  await fuse.armed('db');
  deepEqual(log, ['arm', `hold ${cgroup.path}`]);
});

test('a lease that is taken up has the operations of the agent before ended, and its cgroup in the guard', {
  skip,
}, async (t) => {
  const log: string[] = [];
  const { fuse, cgroup } = fuseWith(log);
  const operation = cgroup.operation();
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  ok(child.pid !== undefined);
  writeFileSync(join(operation.path, 'cgroup.procs'), String(child.pid));
  await fuse.adopt('db');
  ok(!isAlive(child.pid));
  deepEqual(log, [`hold ${cgroup.path}`]);
});

test('a lease that is being given back, or is not held any more, is not petted', { skip }, async () => {
  const log: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const { fuse } = fuseWith(log, promise);
  const pet = { kind: 'pet', ...lease } as const;
  equal(await fuse.pet(pet, () => true), true);
  equal(await fuse.pet(pet, () => false), false);
  const closing = fuse.close('db', 7);
  equal(await fuse.pet(pet, () => true), false);
  resolve();
  deepEqual(await closing, { is: 'closed' });
  deepEqual(log, ['pet']);
});

test('of what a guard remembers only a lease that runs is gone on with, by its voters, and nothing is touched before an order', () => {
  const found = { epoch: 7, deadlineMs: 10_000, fireAtMs: 9_650, voters, holdings: [] };
  const armed: GuardGroup = { ...found, state: 'armed' };
  const fired: GuardGroup = { ...found, state: 'fired', firedAtMs: 9_650, latenessUs: 100, clean: true };
  const taken = (group: GuardGroup, nowMs: number) => {
    const promises = new Map();
    const state = { incarnation: 'alice-1', notes: new Map(), promises, groups: new Map([['db', group]]) };
    return heldBy(state, nowMs, 1_500).db;
  };
  const held = taken(armed, 8_499);
  deepEqual([held?.phase, held?.epoch, held?.deadlineMs], ['active', 7, 10_000]);
  deepEqual([held?.voters, held?.promised, held?.paused], [voters, {}, true]);
  equal(taken(armed, 8_500)?.phase, 'lost', 'it would have to be stopped by now');
  equal(taken(fired, 8_499)?.phase, 'lost');
});
