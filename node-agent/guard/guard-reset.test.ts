/**
 * The guard’s last word: when it pets a watchdog, when it stops, and when it resets by sysrq. The guard is the real one; the watchdog and
 * /proc/sysrq-trigger are files that a preloaded library writes to (testing/fake-watchdog.c), and sysrq-trigger is one by a bind mount too, where there is one:
 * nothing here can reset the machine.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { guardArguments } from '../agent/reset-choice.ts';
import { bootMs } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import { Agent, cgroupMount, compile, fired, here, missing, ShownCgroup, startGuard } from './guard-testing.ts';
import { GuardClient, GuardError } from './index.ts';
import type { Verb } from './test-agent.ts';

const root = mkdtempSync(join(tmpdir(), 'hfgr-'));
const binary = join(root, 'holdfast-guard');
const fake = join(root, 'fake-watchdog.so');
const cgroup = join(cgroupMount ?? '/nowhere', `hfgr-${process.pid}`);
const holding = { kind: 'cgroup', path: cgroup } as const;
/** W and δ of the tests. */
const W = 1_000;
const LATENCY = 200;

interface Done {
  readonly what: string;
  readonly value: number;
  readonly atMs: number;
}

interface Machine {
  readonly dir: string;
  readonly device: string;
  readonly program: string;
  /** What was done with the device, in order. */
  readonly log: () => Done[];
  readonly sysrq: () => string;
}

/** A machine with a watchdog, or none. `attributes` as in /sys/class/watchdog/watchdog0. */
function machine(how: 'watchdog' | 'sysrq' | 'not said', attributes: Readonly<Record<string, string>> = {}): Machine {
  const dir = mkdtempSync(join(root, 'state-'));
  const device = join(dir, 'wd');
  symlinkSync('/dev/null', device);
  writeFileSync(`${device}.log`, '');
  writeFileSync(`${device}.sysrq`, '');
  mkdirSync(`${device}.sys`);
  for (const [name, value] of Object.entries(attributes)) writeFileSync(`${device}.sys/${name}`, `${value}\n`);
  const program = join(dir, 'guard');
  const options = { watchdog: `--reset=watchdog --watchdog ${device}`, sysrq: '--reset=sysrq', 'not said': '' }[how];
  const hidden = `if [ -e /proc/sysrq-trigger ]; then mount --bind ${device}.sysrq /proc/sysrq-trigger; fi`;
  const inside = `${hidden}; exec env LD_PRELOAD=${fake} FAKE_WATCHDOG=${device} ${binary} ${options} "$@"`;
  writeFileSync(program, `#!/bin/sh\nexec unshare --mount --propagation private sh -ec '${inside}' sh "$@"\n`, {
    mode: 0o755,
  });
  const log = () =>
    readFileSync(`${device}.log`, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [what = '', value, atMs] = line.split(' ');
        return { what, value: Number(value), atMs: Number(atMs) };
      });
  return { dir, device, program, log, sysrq: () => readFileSync(`${device}.sysrq`, 'utf8') };
}

interface Place extends Machine {
  readonly guardPid: number;
  readonly reader: GuardClient;
  /** @returns the code and text of a refusal; undefined when it was done. */
  readonly call: (method: Verb, ...args: unknown[]) => Promise<{ code: string; message: string } | undefined>;
  readonly holds: () => Promise<void>;
  readonly shows: (events: string) => void;
}

/** A guard on it, and an agent that has said hello and what W and δ are. */
async function place(t: TestContext, on: Machine): Promise<Place> {
  const { pid: guardPid, reader } = await startGuard(t, on.dir, on.program);
  const agent = await Agent.ready(t, on.dir);
  const call: Place['call'] = async (method, ...args) => {
    const { code, message = '' } = await agent.call(method, ...args);
    return code === undefined ? undefined : { code, message };
  };
  assert.equal(await call('setReset', W / 1_000, LATENCY), undefined);
  const shown = new ShownCgroup(root);
  const shows = (events: string) => shown.says(events);
  const holds = async () => {
    assert.equal(await call('hold', 'db', holding), undefined);
    shown.says('populated 0\nfrozen 0\n');
    shown.standsFor(cgroup, guardPid);
  };
  return { ...on, guardPid, reader, call, holds, shows };
}

const lease = (ms: number, { group = 'db', epoch = 1, fuseMs = 500 } = {}) => {
  const deadlineMs = Math.floor(bootMs() + ms);
  return { group, epoch, deadlineMs, fireAtMs: deadlineMs - fuseMs };
};

const pets = (at: Machine) => at.log().filter(({ what }) => what === 'pet');
const passed = (what: string, ms: number) => until(what, () => bootMs() > ms, 10_000);

/** What the guard says when it does not start. */
function refusal(program: string, ...args: string[]): string {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 10_000 });
  return `${status} ${stderr}`;
}

describe('the last word', { skip: missing(['cc', 'unshare', 'nsenter']), timeout: 120_000 }, () => {
  before(() => {
    compile(binary);
    compile(fake, `-shared -fPIC ${here}/testing/fake-watchdog.c -ldl`);
    mkdirSync(cgroup);
  });
  after(() => {
    rmdirSync(cgroup);
    rmSync(root, { recursive: true, force: true });
  });

  it('is refused in a container, where it would reset the whole machine', () => {
    const dir = mkdtempSync(join(root, 'contained-'));
    for (const how of ['watchdog', 'sysrq'])
      assert.match(
        refusal(
          'unshare',
          '--pid',
          '--fork',
          '--kill-child',
          binary,
          '--state-dir',
          dir,
          '--foreground',
          `--reset=${how}`,
        ),
        new RegExp(`^1 holdfast-guard: --reset=${how} .*refused in a container.*--reset=none`),
      );
  });

  it('is refused with a word or a device that is none', () => {
    const dir = mkdtempSync(join(root, 'words-'));
    const guard = (...args: string[]) => refusal(binary, '--state-dir', dir, '--foreground', ...args);
    assert.match(guard('--reset=reboot'), /^2 .*must be none, watchdog or sysrq/);
    assert.match(guard('--watchdog', '/dev/null'), /^2 .*needs --reset=watchdog/);
    assert.match(guard('--reset=watchdog', '--watchdog', 'wd'), /^2 .*absolute path/);
    const { program, device } = machine('watchdog');
    rmSync(device);
    assert.match(refusal(program, '--state-dir', dir, '--foreground'), /^1 .*No such file.*modprobe softdog/);
    writeFileSync(device, '');
    assert.match(refusal(program, '--state-dir', dir, '--foreground'), /^1 .*not a device/);
  });

  it('arms the watchdog before the first lease counts, pets it, and stops it with the last', async (t) => {
    const at = await place(t, machine('watchdog', { min_timeout: '1', max_timeout: '600', nowayout: '0' }));
    assert.deepEqual((await at.reader.resetReport()).reset, {
      kind: 'watchdog',
      device: at.device,
      leastS: 1,
      mostS: 600,
      noWayOut: false,
    });
    assert.deepEqual(at.log(), [], 'a guard without a lease does not arm it');
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    assert.deepEqual(
      at
        .log()
        .slice(0, 2)
        .map(({ what, value }) => [what, value]),
      [
        ['open', 0],
        ['timeout', 1],
      ],
    );
    await until('it is petted', () => pets(at).length >= 5);
    assert.equal(await at.call('arm', lease(60_000, { group: 'web' })), undefined);
    assert.equal(await at.call('disarm', 'web', 1), undefined);
    const report = await at.reader.resetReport();
    assert.deepEqual([report.open, report.timeoutS, report.latencyMs], [true, 1, LATENCY]);
    assert.ok((report.pettedAtMs ?? 0) > bootMs() - 500);
    assert.equal(await at.call('disarm', 'db', 1), undefined);
    await until('it is stopped', () => at.log().at(-1)?.what === 'stop');
    assert.equal((await at.reader.resetReport()).open, false);
    assert.equal(at.log().filter(({ what }) => what === 'open').length, 1);
  });

  it('pets no longer than the reset would be over by the deadline of every lease', async (t) => {
    const at = await place(t, machine('watchdog'));
    assert.equal(await at.call('arm', lease(60_000, { group: 'web' })), undefined);
    const short = lease(2_000, { fuseMs: 100 });
    assert.equal(await at.call('arm', short), undefined);
    await passed('the fuse is about to act', short.fireAtMs - 20);
    const last = pets(at).at(-1)?.atMs ?? 0;
    assert.ok(last + W + LATENCY <= short.deadlineMs, `petted ${short.deadlineMs - last} ms before the deadline`);
    assert.ok(last + W + LATENCY > short.deadlineMs - 300, 'and not given up before');
    await until('it is petted again when nothing is held', () => (pets(at).at(-1)?.atMs ?? 0) > short.fireAtMs);
    assert.equal((await fired(at.reader)).clean, true);
  });

  it('lets the watchdog act when it has fired and something is still held', async (t) => {
    const at = await place(t, machine('watchdog'));
    const short = lease(2_000);
    assert.equal(await at.call('arm', short), undefined);
    await at.holds();
    at.shows('populated 1\n');
    await passed('the machine would be reset', short.deadlineMs + 500);
    assert.ok((pets(at).at(-1)?.atMs ?? 0) + W + LATENCY <= short.deadlineMs);
    assert.equal(
      at.log().some(({ what }) => what === 'stop'),
      false,
    );
    at.shows('populated 0\n');
    await until(
      'nothing is held any more, so it is petted again',
      () => (pets(at).at(-1)?.atMs ?? 0) > short.deadlineMs,
    );
  });

  it('refuses a lease that would end before the watchdog acts: to arm it is to pet it', async (t) => {
    const at = await place(t, machine('watchdog'));
    assert.equal((await at.call('arm', lease(W + LATENCY - 50)))?.code, 'late');
    assert.deepEqual(at.log(), []);
  });

  it('refuses a lease when the driver does not take the time-out, and leaves the watchdog stopped', async (t) => {
    const at = await place(t, machine('watchdog', { min_timeout: '2', max_timeout: '600' }));
    const refused = await at.call('arm', lease(60_000));
    assert.equal(refused?.code, 'watchdog');
    assert.match(refused?.message ?? '', /\(fake\) does not take a time-out of 1 s: it has 2 s, and takes 2 to 600 s/);
    assert.deepEqual(
      at.log().map(({ what }) => what),
      ['open', 'timeout', 'stop'],
    );
    assert.deepEqual((await at.reader.state()).groups.size, 0);
    assert.equal(await at.call('setReset', 2, LATENCY), undefined);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
  });

  it('refuses a lease while something else has the watchdog', async (t) => {
    const at = await place(t, machine('watchdog'));
    writeFileSync(`${at.device}.busy`, '');
    const refused = await at.call('arm', lease(60_000));
    assert.equal(refused?.code, 'watchdog');
    assert.match(refused?.message ?? '', /in use by/);
    rmSync(`${at.device}.busy`);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
  });

  it('goes by the longer time-out until the next lease brings the other one', async (t) => {
    const at = await place(t, machine('watchdog'));
    assert.equal(await at.call('setReset', 3, LATENCY), undefined);
    assert.equal(await at.call('arm', lease(60_000, { group: 'web' })), undefined);
    assert.equal(await at.call('setReset', 1, LATENCY), undefined);
    assert.equal((await at.call('arm', lease(2_000)))?.code, 'late', 'the device still has three seconds');
    assert.equal(await at.call('arm', lease(5_000)), undefined);
    assert.equal((await at.reader.resetReport()).timeoutS, 1);
  });

  it('says at the start that a watchdog cannot be stopped, never closes it, and leaves its successor a minute', async (t) => {
    const on = machine('watchdog', { nowayout: '1', min_timeout: '1', max_timeout: '65535' });
    const said = spawnSync(on.program, ['--state-dir', on.dir], { encoding: 'utf8', timeout: 10_000 });
    assert.match(said.stderr, /cannot be stopped once it is armed \(nowayout\)/);
    const at = await place(t, on);
    assert.equal(await at.call('arm', lease(60_000)), undefined);
    assert.equal(await at.call('disarm', 'db', 1), undefined);
    const disarmed = bootMs();
    await until('it is petted on', () => (pets(at).at(-1)?.atMs ?? 0) > disarmed + 200);
    process.kill(at.guardPid, 'SIGTERM');
    await until('the guard ends', () => !isAlive(at.guardPid));
    assert.deepEqual(
      at
        .log()
        .slice(-2)
        .map(({ what, value }) => [what, value]),
      [
        ['timeout', 60],
        ['pet', 0],
      ],
    );
    writeFileSync(`${at.device}.sys/state`, 'active\n');
    writeFileSync(`${at.device}.sys/timeout`, '60\n');
    const successor = await place(t, on);
    assert.equal((await successor.reader.resetReport()).open, true, 'it is taken up without a lease');
  });

  it('resets by sysrq what is still held when the deadline is near, and nothing else', async (t) => {
    const at = await place(t, machine('sysrq'));
    const clean = lease(1_000);
    assert.equal(await at.call('arm', clean), undefined);
    await at.holds();
    await passed('the deadline', clean.deadlineMs + 100);
    assert.equal((await fired(at.reader)).clean, true);
    assert.equal(at.sysrq(), '', 'it could be taken away');
    at.shows('populated 1\n');
    await until('it has come back, and cannot', () => at.sysrq().startsWith('b'));
  });

  it('resets by sysrq before the deadline, not before it has tried', async (t) => {
    const at = await place(t, machine('sysrq'));
    const short = lease(1_200);
    assert.equal(await at.call('arm', short), undefined);
    await at.holds();
    at.shows('populated 1\n');
    await passed('the latency before the deadline', short.deadlineMs - LATENCY - 30);
    assert.equal(at.sysrq(), '');
    await until('it is reset', () => at.sysrq().startsWith('b'));
    assert.ok(bootMs() <= short.deadlineMs);
  });

  it('is what the agent that starts the guard has been told', async (t) => {
    const { dir, device, program } = machine('not said');
    const words = guardArguments({ kind: 'watchdog', device });
    const reader = await GuardClient.connect(dir, { spawn: program, arguments: words });
    t.after(() => {
      reader.close();
      process.kill(Number(readFileSync(join(dir, 'guard.lock'), 'utf8')), 'SIGKILL');
    });
    const { reset } = await reader.hello();
    assert.deepEqual(reset.kind === 'watchdog' && reset.device, device);
  });

  it('is none where nobody has asked for one', async (t) => {
    const dir = mkdtempSync(join(root, 'none-'));
    const reader = await GuardClient.connect(dir, { spawn: binary });
    t.after(() => {
      reader.close();
      process.kill(Number(readFileSync(join(dir, 'guard.lock'), 'utf8')), 'SIGKILL');
    });
    assert.deepEqual((await reader.hello()).reset, { kind: 'none' });
    await assert.rejects(reader.setReset(0, 0), (error) => error instanceof GuardError && error.code === 'range');
  });
});
