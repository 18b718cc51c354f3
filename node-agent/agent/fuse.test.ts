import { deepEqual, equal, match, rejects } from 'node:assert/strict';
import { test } from 'node:test';
import { GuardError } from '../guard/index.ts';
import { Addresses, processIdentity, silent } from '../system/index.ts';
import { Fuse, type FuseOptions } from './fuse.ts';

const lease = { group: 'db', epoch: 7, deadlineMs: 1_000, fireMs: 900 };
const arm = { kind: 'arm', ...lease, voters: { version: 1, names: ['alice'] } } as const;
const pet = { kind: 'pet', ...lease } as const;
const own = { pid: process.pid, identity: processIdentity(process.pid) };
const gone = { pid: process.pid, identity: `${process.pid}:1` };

/** A guard that writes down what it is asked, and answers `disarm` with these in turn. */
function fuseWith(disarms: readonly (GuardError | 'ok')[], guardProcess: FuseOptions['process'] = own) {
  const asked: string[] = [];
  const answers = [...disarms];
  const times = { deadlineMs: lease.deadlineMs, fireAtMs: lease.fireMs };
  const fuse = new Fuse({
    guard: {
      arm: async () => {
        asked.push('arm');
        return times;
      },
      pet: async () => {
        asked.push('pet');
        return times;
      },
      hold: async () => undefined,
      promise: async () => undefined,
      disarm: async () => {
        asked.push('disarm');
        const answer = answers.shift() ?? 'ok';
        if (answer !== 'ok') throw answer;
      },
      state: async () => ({ incarnation: undefined, notes: new Map(), promises: new Map(), groups: new Map() }),
    },
    process: guardProcess,
    cgroups: undefined,
    addresses: new Addresses(silent),
    log: silent,
  });
  return { fuse, asked };
}

const refused = (code: 'held' | 'unknown' | 'lost' | 'timeout') => new GuardError(code, code);

test('a lease is closed when the guard has forgotten it, or never knew it', async () => {
  deepEqual(await fuseWith(['ok']).fuse.close('db', 7), { is: 'closed' });
  deepEqual(await fuseWith([refused('unknown')]).fuse.close('db', 7), { is: 'closed' });
});

test('what the guard still finds is ended by force and looked at again; what cannot be ended keeps the lease', async () => {
  const once = fuseWith([refused('held'), 'ok']);
  deepEqual(await once.fuse.close('db', 7), { is: 'closed' });
  deepEqual(once.asked, ['disarm', 'disarm']);
  const stubborn = await fuseWith([refused('held'), refused('held'), refused('held')]).fuse.close('db', 7);
  equal(stubborn.is, 'held');
});

test('a guard that does not answer may still have the lease armed: nothing is given back unless its process is gone', async () => {
  for (const code of ['lost', 'timeout'] as const) {
    const unsure = await fuseWith([refused(code)]).fuse.close('db', 7);
    match(JSON.stringify(unsure), /"unsure"/);
    deepEqual(await fuseWith([refused(code)], gone).fuse.close('db', 7), { is: 'closed' });
  }
});

test('a lease that was given back while its epoch was being written is never armed, nor petted', async () => {
  const { fuse, asked } = fuseWith(['ok']);
  let held = true;
  const disk = Promise.withResolvers<void>();
  fuse.arm(arm, disk.promise, () => held);
  const petted = fuse.pet(pet, () => held).catch(() => false);
  const closing = fuse.close('db', 7);
  held = false;
  disk.resolve();
  deepEqual(await closing, { is: 'closed' });
  equal(await petted, false);
  deepEqual(asked, ['disarm'], 'closed after the activation was over, which armed nothing');
});

test('nothing starts before the fuse is armed, and not at all when the disk failed', async () => {
  const { fuse, asked } = fuseWith([]);
  fuse.arm(arm, Promise.reject(new Error('no space')), () => true);
  await rejects(fuse.armed('db'), /no space/);
  deepEqual(asked, []);
});
