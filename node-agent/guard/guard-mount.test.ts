/** The guard and file systems, on a real ext4 in mount namespaces of the test's own. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Holding } from '../resources/resource.ts';
import { bootMs, deviceClaim } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import { Agent, compile, kill, missing, writeApart } from './guard-testing.ts';
import { GuardClient } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'hfgm-'));
const binary = join(root, 'holdfast-guard');
/** Starts the guard in a mount namespace of its own. */
const apart = join(root, 'guard-apart');

const noLoops = () => spawnSync('losetup', ['--find']).status !== 0 && 'needs loop devices';
const skip = missing(['cc', 'unshare', 'nsenter', 'losetup', 'mkfs.ext4'], false) || noLoops();

interface Place {
  readonly dir: string;
  readonly guardPid: number;
  readonly reader: GuardClient;
  readonly loop: string;
  readonly holding: Extract<Holding, { kind: 'mount' }>;
  /** Runs a shell command in the guard's mount namespace. */
  readonly inside: (script: string) => string;
  /** A process in it that does something and then sleeps. */
  readonly user: (script: string) => Promise<number>;
  /** It has said hello. */
  readonly agent: Agent;
}

let places = 0;

/** A guard, an agent that has said hello and armed `db` for so long, and a file system on a loop device. */
async function place(t: TestContext, leaseMs: number, name = 'data'): Promise<Place> {
  places += 1;
  const dir = join(root, `state-${places}`);
  const path = join(root, `${name}-${places}`);
  const image = join(root, `disk-${places}.img`);
  for (const directory of [dir, path]) mkdirSync(directory);
  const made = openSync(image, 'w');
  ftruncateSync(made, 32 << 20);
  closeSync(made);
  execFileSync('mkfs.ext4', ['-q', '-F', image]);
  const loop = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
  const children: ChildProcess[] = [];
  let guardPid = 0;
  t.after(async () => {
    for (const child of children) kill(child.pid ?? 0);
    kill(guardPid);
    await until('the file system is gone with its namespace', async () => (await deviceClaim(loop)) === 'free', 10_000);
    execFileSync('losetup', ['-d', loop]);
  });
  const reader = await GuardClient.connect(dir, { spawn: apart });
  t.after(() => reader.close());
  guardPid = Number(readFileSync(join(dir, 'guard.lock'), 'utf8'));
  const device = readFileSync(`/sys/block/${loop.slice(5)}/dev`, 'utf8').trim();

  const enter = ['--mount', '--target', String(guardPid)];
  const inside = (script: string) => execFileSync('nsenter', [...enter, 'sh', '-c', script], { encoding: 'utf8' });
  const user = async (script: string) => {
    const child = spawn('nsenter', [...enter, 'sh', '-c', `${script}; echo ready; exec sleep 1000`], {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('exit', () => reject(new Error(`ended before it was ready: ${script}`)));
    });
    return child.pid ?? 0;
  };
  const agent = await Agent.ready(t, dir);
  const now = bootMs();
  await agent.must('arm', { group: 'db', epoch: 1, deadlineMs: now + leaseMs, fireAtMs: now + leaseMs - 50 });
  return { dir, guardPid, reader, loop, holding: { kind: 'mount', path, device }, inside, user, agent };
}

const SCHED_OTHER = 0;

/** Field 41 of proc(5); NaN when it has ended. */
function policyOf(pid: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[38]);
  } catch {
    return Number.NaN;
  }
}

async function cleanAfterFire({ reader }: Place) {
  let found: Awaited<ReturnType<GuardClient['state']>>['groups'] extends ReadonlyMap<string, infer G>
    ? G | undefined
    : never;
  await until(
    'db fires and is clean',
    async () => {
      found = (await reader.state()).groups.get('db');
      return found?.state === 'fired' && found.clean;
    },
    15_000,
  );
  return found;
}

describe('the guard and file systems', { skip, timeout: 90_000 }, () => {
  before(() => {
    compile(binary);
    writeApart(apart, binary);
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  it('unmounts when the lease of a stopped agent runs out, and kills who uses it and nobody else', async (t) => {
    const at = await place(t, 5_000);
    const { path } = at.holding;
    assert.equal(await at.agent.code('hold', 'db', at.holding), undefined);
    at.inside(`mount ${at.loop} ${path} && mkdir ${path}/dir ${path}/nested && mount -t tmpfs nested ${path}/nested`);
    at.inside(`cp /bin/sleep ${path}/program`);
    at.inside(`mkdir -p ${root}/bound-${places} && mount --bind ${path}/dir ${root}/bound-${places}`);
    const users = [
      await at.user(`exec 9>${path}/open`),
      await at.user(`cd ${path}/dir`),
      await at.user(`cd ${path}/nested`),
      await at.user(`cd ${root}/bound-${places}`),
      await at.user(`echo ready; exec ${path}/program 1000`),
    ];
    // It has a mount of its own in a namespace of its own, and uses nothing of it.
    const apartPid = await at.user(`exec unshare -m --propagation private sh -c 'echo ready; exec sleep 1000'`);
    const stranger = await at.user(`exec 9>${root}/stranger; : ${path}/open`);
    process.kill(at.agent.pid, 'SIGSTOP');
    const group = await cleanAfterFire(at);
    t.diagnostic(`began ${group?.state === 'fired' ? group.latenessUs : '?'} µs after the instant`);
    t.diagnostic(`clean by ${group?.state === 'fired' ? bootMs() - group.firedAtMs : '?'} ms after firing`);
    assert.ok(!isAlive(at.agent.pid), 'the agent');
    for (const pid of users) await until(`${pid} is dead`, () => !isAlive(pid));
    assert.ok(isAlive(stranger));
    assert.ok(isAlive(apartPid), 'its mount was taken away, which is enough');
    assert.doesNotMatch(at.inside('cat /proc/self/mountinfo'), new RegExp(` ${at.holding.device} `));
    assert.equal(await deviceClaim(at.loop), 'free');
  });

  it('takes away what a mount that was under way brings back', async (t) => {
    const at = await place(t, 300);
    await at.agent.call('hold', 'db', at.holding);
    await cleanAfterFire(at);
    at.inside(`mount ${at.loop} ${at.holding.path}`);
    await until('it is unmounted again', async () => (await deviceClaim(at.loop)) === 'free');
  });

  it('leaves the processor to what it waits for: who unmounts is not real-time', async (t) => {
    const at = await place(t, 4_000);
    const { path } = at.holding;
    await at.agent.call('hold', 'db', at.holding);
    at.inside(`mount ${at.loop} ${path} && truncate -s 1M ${path}/inner`);
    const inner = at.inside(`losetup --find --show ${path}/inner`).trim();
    try {
      await until('the one who cannot unmount it has an ordinary priority', () => {
        const [child] = readFileSync(`/proc/${at.guardPid}/task/${at.guardPid}/children`, 'utf8').split(' ');
        return child !== undefined && child !== '' && policyOf(child) === SCHED_OTHER;
      });
    } finally {
      execFileSync('losetup', ['-d', inner]);
    }
    await cleanAfterFire(at);
  });

  it('does not forget a file system that is still mounted, and remembers its name with a blank in it', async (t) => {
    const at = await place(t, 60_000, 'with blank\\');
    const path = at.holding.path;
    assert.equal(await at.agent.code('hold', 'db', at.holding), undefined);
    assert.equal(await at.agent.code('hold', 'db', at.holding), undefined, 'again is fine');
    assert.deepEqual((await at.reader.state()).groups.get('db')?.holdings, [at.holding]);
    at.inside(`mount ${at.loop} '${path}'`);
    assert.equal(await at.agent.code('unhold', 'db', at.holding), 'held');
    assert.equal(await at.agent.code('disarm', 'db', 1), 'held');
    at.inside(`umount '${path}'`);
    assert.equal(await at.agent.code('unhold', 'db', at.holding), undefined);
    assert.equal(await at.agent.code('disarm', 'db', 1), undefined);
  });

  it('refuses what it must not take down: its own root and state, and what is mounted elsewhere', async (t) => {
    const at = await place(t, 60_000);
    const { dev } = statSync(root);
    const own = `${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`;
    const refused: [string, Holding][] = [
      ['mount', { ...at.holding, device: own }],
      ['mount', { ...at.holding, path: '/srv/../etc' }],
      ['syntax', { ...at.holding, path: 'srv' }],
      ['syntax', { ...at.holding, device: '7' }],
      ['syntax', { ...at.holding, device: '7:x' }],
    ];
    for (const [code, holding] of refused)
      assert.deepEqual([holding, await at.agent.code('hold', 'db', holding)], [holding, code]);
    at.inside(`mkdir ${root}/other-${places} && mount ${at.loop} ${root}/other-${places}`);
    assert.equal(await at.agent.code('hold', 'db', at.holding), 'mount');
    assert.deepEqual((await at.reader.state()).groups.get('db')?.holdings, []);
    at.inside(`umount ${root}/other-${places}`);
  });
});
