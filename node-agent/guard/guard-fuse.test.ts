/**
 * The guard and what it cannot be sure of. What a group holds is, for the guard, a cgroup; what it reads there is written by the test, in a mount
 * namespace of the guard's own.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { bootMs } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import { Agent, cgroupMount, compile, fired, missing, ShownCgroup, startGuard, writeApart } from './guard-testing.ts';
import type { GuardClient } from './index.ts';
import type { Verb } from './test-agent.ts';

const root = mkdtempSync(join(tmpdir(), 'hfgf-'));
const binary = join(root, 'holdfast-guard');
const apart = join(root, 'guard-apart');
const cgroup = join(cgroupMount ?? '/nowhere', `hfgf-${process.pid}`);
const holding = { kind: 'cgroup', path: cgroup } as const;

interface Place {
  readonly guardPid: number;
  readonly agentPid: number;
  readonly reader: GuardClient;
  readonly call: (method: Verb, ...args: unknown[]) => Promise<string | undefined>;
  /** Registers the cgroup, of which the guard reads from now on what `shows` says: at first that nothing is in it. */
  readonly holds: () => Promise<void>;
  readonly shows: (events: string) => void;
}

/** A guard and an agent that has said hello. */
async function place(t: TestContext): Promise<Place> {
  const dir = mkdtempSync(join(root, 'state-'));
  const { pid: guardPid, reader } = await startGuard(t, dir, apart);
  const agent = await Agent.ready(t, dir);
  const call: Place['call'] = (method, ...args) => agent.code(method, ...args);
  const shown = new ShownCgroup(root);
  const shows = (events: string) => shown.says(events);
  const holds = async () => {
    assert.equal(await call('hold', 'db', holding), undefined);
    shown.says('populated 0\nfrozen 0\n');
    shown.standsFor(cgroup, guardPid);
  };
  return { guardPid, agentPid: agent.pid, reader, call, holds, shows };
}

const lease = (ms: number, epoch = 1) => {
  const deadlineMs = bootMs() + ms;
  return { group: 'db', epoch, deadlineMs, fireAtMs: deadlineMs - 50 };
};

describe('the fuse', { skip: missing(['cc', 'unshare', 'nsenter']), timeout: 60_000 }, () => {
  before(() => {
    compile(binary);
    writeApart(apart, binary);
    mkdirSync(cgroup);
  });
  after(() => {
    rmdirSync(cgroup);
    rmSync(root, { recursive: true, force: true });
  });

  it('kills the agent that did not pet it, also a stopped one', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(250)), undefined);
    process.kill(at.agentPid, 'SIGSTOP');
    await fired(at.reader);
    await until('the agent is dead', () => !isAlive(at.agentPid), 1_000);
  });

  it('is done only when a look shows that nothing is held any more', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(1_000)), undefined);
    await at.holds();
    at.shows('populated 1\n');
    await fired(at.reader);
    const later = bootMs() + 100;
    await until('it has looked again and again', () => bootMs() > later);
    assert.equal((await fired(at.reader)).clean, false);
    at.shows('populated 0\n');
    await until('it is clean', async () => (await fired(at.reader)).clean);
  });

  it('looks on when it is done: what comes back is taken away again', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(1_000)), undefined);
    await at.holds();
    await until('it is clean', async () => (await fired(at.reader)).clean);
    at.shows('populated 1\n');
    await until('it is not any more', async () => !(await fired(at.reader)).clean);
  });

  it('forgets neither a holding nor a group of which it does not know that nothing is held', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    await at.holds();
    for (const events of ['populated 1\n', '', 'frozen 0\n']) {
      at.shows(events);
      assert.equal(await at.call('unhold', 'db', holding), 'held', JSON.stringify(events));
      assert.equal(await at.call('disarm', 'db', 1), 'held', JSON.stringify(events));
    }
    at.shows('populated 0\n');
    assert.equal(await at.call('unhold', 'db', holding), undefined);
    assert.equal(await at.call('disarm', 'db', 1), undefined);
  });

  it('is moved by nothing once its instant has passed, even when the guard was stopped over it', async (t) => {
    const at = await place(t);
    assert.equal(await at.call('arm', lease(250)), undefined);
    process.kill(at.guardPid, 'SIGSTOP');
    const later = bootMs() + 300;
    await until('its instant passes', () => bootMs() > later);
    const petted = at.call('pet', lease(60_000));
    const armed = at.call('arm', lease(60_000, 2));
    const sent = bootMs() + 200;
    await until('they are on their way', () => bootMs() > sent);
    process.kill(at.guardPid, 'SIGCONT');
    await fired(at.reader);
    assert.ok(
      [await petted, await armed].every((code) => code !== undefined),
      'both are refused',
    );
  });
});
