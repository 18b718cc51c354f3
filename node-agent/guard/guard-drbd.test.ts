/**
 * The guard and the role of DRBD resources. Where there is no DRBD (everywhere but on the virtual machines, test/vm) the module is a
 * stand-in whose resources are files (testing/drbd-module.c); the real way to the module is tried as far as it goes without one.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { bootMs } from '../system/index.ts';
import { until } from '../system/testing.ts';
import { Agent, cgroupMount, compile, fired, here, missing, ShownCgroup, startGuard } from './guard-testing.ts';
import type { GuardClient } from './index.ts';
import type { Verb } from './test-agent.ts';

const root = mkdtempSync(join(tmpdir(), 'hfgd-'));
const cgroup = join(cgroupMount ?? '/nowhere', `hfgd-${process.pid}`);
const holding = { kind: 'drbd', resource: 'r0' } as const;
const binaries = { real: join(root, 'holdfast-guard'), fake: join(root, 'holdfast-guard-fake') };

interface Place {
  readonly guardPid: number;
  readonly reader: GuardClient;
  readonly call: (method: Verb, ...args: unknown[]) => Promise<string | undefined>;
  /** A file of the stand-in for the module. */
  readonly says: (name: string, text: string | undefined) => void;
  readonly read: (name: string) => string;
}

/** A guard of this kind, and an agent that has said hello. */
async function place(t: TestContext, kind: keyof typeof binaries = 'fake'): Promise<Place> {
  const dir = mkdtempSync(join(root, 'state-'));
  const module = mkdtempSync(join(root, 'drbd-'));
  const start = join(dir, 'start');
  const program = `FAKE_DRBD=${module} exec unshare --mount --propagation private ${binaries[kind]} "$@"`;
  writeFileSync(start, `#!/bin/sh\n${program}\n`, { mode: 0o755 });
  const { pid: guardPid, reader } = await startGuard(t, dir, start);
  const agent = await Agent.ready(t, dir);
  const call: Place['call'] = (method, ...args) => agent.code(method, ...args);
  const says = (name: string, text: string | undefined) =>
    text === undefined ? rmSync(join(module, name)) : writeFileSync(join(module, name), text);
  const read = (name: string) =>
    existsSync(join(module, name)) ? readFileSync(join(module, name), 'utf8').trim() : '';
  return { guardPid, reader, call, says, read };
}

const lease = (ms: number, fuseMs = 50) => {
  const deadlineMs = bootMs() + ms;
  return { group: 'db', epoch: 1, deadlineMs, fireAtMs: deadlineMs - fuseMs };
};

const clean = (at: Place) => until('it is clean', async () => (await fired(at.reader)).clean);

const whileFor = async (ms: number, what: string) => {
  const later = bootMs() + ms;
  await until(what, () => bootMs() > later);
};

describe('the guard and DRBD', { skip: missing(['cc', 'unshare', 'nsenter']), timeout: 60_000 }, () => {
  before(() => {
    compile(binaries.real);
    compile(binaries.fake, `$(ls ${here}/*.c | grep -v drbd-module) ${here}/testing/drbd-module.c`);
    mkdirSync(cgroup);
  });
  after(() => {
    rmdirSync(cgroup);
    rmSync(root, { recursive: true, force: true });
  });

  it('demotes every volume when the lease of a stopped agent runs out, and reads the role back', async (t) => {
    const at = await place(t);
    at.says('r0', 'Primary 0 7');
    at.says('other', 'Primary 1');
    assert.equal(await at.call('arm', lease(1_000, 500)), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    assert.deepEqual((await fired(at.reader)).holdings, [holding]);
    await clean(at);
    assert.equal(at.read('log'), 'secondary r0 0\nsecondary r0 7', 'and no other resource');
    assert.match(at.read('other'), /^Primary/);
    at.says('r0', 'Primary 0');
    await until('what comes back is taken away again', () => at.read('r0') === 'Secondary 0');
  });

  it('demotes when nobody uses the device any more, and by force when the lease is over', async (t) => {
    const at = await place(t);
    at.says('r0', 'Primary 0');
    at.says('r0.busy', '');
    const shown = new ShownCgroup(root);
    assert.equal(await at.call('arm', lease(2_500, 1_500)), undefined);
    assert.equal(await at.call('hold', 'db', { kind: 'cgroup', path: cgroup }), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    shown.says('populated 1\n');
    shown.standsFor(cgroup, at.guardPid);
    await fired(at.reader);
    await whileFor(300, 'its users live on');
    assert.equal(at.read('log'), '', 'not asked while somebody writes');
    shown.says('populated 0\n');
    await until('it is asked', () => at.read('log') !== '');
    assert.match(at.read('log'), /^(secondary r0 0\n?)+$/);
    await whileFor(200, 'it is asked again');
    assert.equal((await fired(at.reader)).clean, false, 'DRBD refuses, so it is still held');
    assert.ok(at.read('log').split('\n').length < 8, 'and not asked all the time');
    await until('the lease is over', () => at.read('log').includes('secondary r0 0 by force'));
    await clean(at);
  });

  it('forgets neither the role nor the group while it is Primary, or while nobody can say', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined, 'again is fine');
    assert.deepEqual((await at.reader.state()).groups.get('db')?.holdings, [holding]);
    at.says('r0', 'Primary 0');
    assert.equal(await at.call('unhold', 'db', holding), 'held');
    at.says('r0', 'Silent 0');
    assert.equal(await at.call('disarm', 'db', 1), 'held', 'it says nothing of its role');
    at.says('r0', 'Secondary 0');
    at.says('deaf', '');
    assert.equal(await at.call('disarm', 'db', 1), 'held', 'the module does not answer');
    at.says('deaf', undefined);
    assert.equal(await at.call('unhold', 'db', holding), undefined);
    assert.equal(await at.call('disarm', 'db', 1), undefined);
    assert.equal(at.read('log'), '', 'nothing was demoted: the lease is good');
  });

  it('does not wait for a module that hangs: the fuse of another group fires in time', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    at.says('hangs', '');
    assert.equal(await at.call('arm', { ...lease(500), group: 'web' }), undefined);
    const looked = at.call('unhold', 'db', holding); // the agent is killed with the group that fires meanwhile
    const web = await until('it fires', async () => {
      const group = (await at.reader.state()).groups.get('web');
      return group?.state === 'fired' && group;
    });
    assert.ok(web.latenessUs < 150_000, `${web.latenessUs} µs late`);
    assert.match((await looked) ?? '', /^(held|gone)$/);
    at.says('hangs', undefined);
  });

  it('waits once for a module that hangs, not for each resource', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    const resources = Array.from({ length: 8 }, (_, index) => ({ kind: 'drbd', resource: `r${index}` }));
    for (const resource of resources) assert.equal(await at.call('hold', 'db', resource), undefined);
    at.says('hangs', '');
    const sinceMs = bootMs();
    for (const resource of resources) assert.equal(await at.call('unhold', 'db', resource), 'held');
    assert.ok(bootMs() - sinceMs < 2_500, `${bootMs() - sinceMs} ms for one look that hangs`);
    at.says('hangs', undefined);
  });

  it('believes no look from before it fired', async (t) => {
    const at = await place(t);
    at.says('r0', 'Secondary 0');
    assert.equal(await at.call('arm', lease(1_000)), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    assert.equal(await at.call('unhold', 'db', holding), undefined, 'it has looked');
    assert.equal(await at.call('hold', 'db', holding), undefined);
    at.says('r0', 'Primary 0');
    at.says('hangs', '');
    await fired(at.reader);
    await whileFor(300, 'it waits for an answer');
    assert.equal((await fired(at.reader)).clean, false);
    at.says('hangs', undefined);
    await clean(at);
    assert.equal(at.read('r0'), 'Secondary 0');
  });

  it('finds nothing held where the module is not loaded, which the kernel itself says', async (t) => {
    if (existsSync('/proc/drbd')) return t.skip('it is loaded here');
    const at = await place(t, 'real');
    assert.equal(await at.call('arm', lease(1_000)), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    assert.equal(await at.call('unhold', 'db', holding), undefined);
    assert.equal(await at.call('hold', 'db', holding), undefined);
    await clean(at);
  });

  it('takes no name that is none', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    for (const resource of ['', 'r 0', 'r0/1', 'x'.repeat(64)])
      assert.equal(await at.call('hold', 'db', { kind: 'drbd', resource }), 'syntax', resource);
  });
});
