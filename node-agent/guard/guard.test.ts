import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Holding } from '../resources/resource.ts';
import { bootMs } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import {
  add,
  addressOf,
  binary,
  cgroup,
  clear,
  firedAndClean,
  guard,
  inLan,
  lease,
  onLan,
  root,
  TOOLS,
  V4,
  V6,
} from './guard-lan-testing.ts';
import { Agent, cgroupMount, kill, missing } from './guard-testing.ts';
import { GuardClient } from './index.ts';
import type { Verb } from './test-agent.ts';

const VOTERS = { version: 1, names: ['alice', 'bob'] };

/** A raw connection, for what the client would not send. */
class Raw {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  text = '';
  constructor(t: TestContext, dir: string) {
    this.socket = createConnection(join(dir, 'guard.sock'));
    this.socket.on('data', (chunk) => {
      this.text += chunk.toString();
    });
    this.socket.on('error', () => undefined); // the end is what counts
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
    t.after(() => this.socket.destroy());
  }
  async ask(line: string): Promise<string> {
    const from = this.text.length;
    this.socket.write(`${line}\n`);
    return until(`an answer to ${line.slice(0, 40)}`, () => /^.*\n/.exec(this.text.slice(from))?.[0].trimEnd());
  }
}

describe('the guard', { skip: missing(TOOLS), timeout: 120_000 }, () => {
  onLan();

  /** A process in a cgroup below `name`, which is removed with the test. */
  async function processIn(t: TestContext, name: string): Promise<{ holding: Holding; pid: number }> {
    const path = join(cgroup, name);
    const operation = join(path, '.ops');
    mkdirSync(operation, { recursive: true });
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    assert(child.pid !== undefined);
    const pid = child.pid;
    t.after(async () => {
      kill(pid);
      await until(
        'the cgroup is empty',
        () => !readFileSync(join(path, 'cgroup.events'), 'utf8').includes('populated 1'),
      );
      rmdirSync(operation);
      rmdirSync(path);
    });
    writeFileSync(join(operation, 'cgroup.procs'), String(pid));
    return { holding: { kind: 'cgroup', path }, pid };
  }

  it('takes everything away from a stopped agent when its lease runs out, and kills the agent', async (t) => {
    const { dir, reader } = await guard(t);
    const agent = new Agent(t, dir);
    const daemon = await processIn(t, 'stopped');
    await agent.must('hello');
    const given = lease('db', 3, 700);
    await agent.must('arm', given, VOTERS);
    for (const holding of [V4, V6, daemon.holding]) await agent.must('hold', 'db', holding);
    add(V4);
    add(V6);
    process.kill(agent.pid, 'SIGSTOP');

    const group = await firedAndClean(reader, 'db');
    assert.equal(await agent.exited, 'SIGKILL');
    assert.equal(addressOf(V4), undefined);
    assert.equal(addressOf(V6), undefined);
    assert(!isAlive(daemon.pid));
    assert.equal(group.epoch, 3);
    assert(group.firedAtMs >= given.fireAtMs, 'not before the instant');
    t.diagnostic(`began ${group.latenessUs} µs after the instant`);
    assert(group.latenessUs < 1_000_000);
  });

  it('does nothing as long as it is petted', async (t) => {
    const { dir, reader } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 400));
    await agent.must('hold', 'db', V4);
    add(V4);
    const end = bootMs() + 1_500;
    await until('the time to pass, petting', async () => {
      await agent.must('pet', lease('db', 1, 400));
      assert(addressOf(V4), 'the address is there all the time');
      return bootMs() > end;
    });
    assert.equal((await reader.state()).groups.get('db')?.state, 'armed');
    clear(V4);
    await agent.must('disarm', 'db', 1);
    assert.equal((await reader.state()).groups.size, 0);
  });

  it('changes nothing when only the agent dies, and hands its state to the next one', async (t) => {
    const { dir, reader } = await guard(t);
    const first = new Agent(t, dir);
    await first.must('hello');
    await first.must('setIncarnation', 'inc-1');
    await first.must('note', 'quarantine', '123 456');
    const given = lease('db', 7, 30_000);
    await first.must('arm', given, VOTERS);
    await first.must('hold', 'db', V4);
    await first.must('hold', 'db', V4); // again is fine
    add(V4);
    kill(first.pid);
    await first.exited;

    const second = new Agent(t, dir);
    await second.must('hello');
    assert.equal((await second.call('setIncarnation', 'inc-2')).code, 'already');
    const state = await reader.state();
    assert.equal(state.incarnation, 'inc-1');
    assert.deepEqual([...state.notes], [['quarantine', '123 456']]);
    assert.deepEqual(state.groups.get('db'), {
      state: 'armed',
      epoch: 7,
      deadlineMs: given.deadlineMs,
      fireAtMs: given.fireAtMs,
      voters: VOTERS,
      holdings: [V4],
    });
    assert(addressOf(V4));
    await second.must('pet', lease('db', 7, 40_000));
    await second.must('note', 'quarantine', '');
    assert.equal((await reader.state()).notes.size, 0);
  });

  it('refuses what would weaken the fuse', async (t) => {
    const { dir, reader } = await guard(t);
    const agent = new Agent(t, dir);
    const other = await processIn(t, 'refused');
    assert.equal((await agent.call('arm', lease('db', 5, 9_000))).code, 'agent', 'before hello');
    await agent.must('hello');
    assert.equal((await agent.call('pet', lease('db', 5, 9_000))).code, 'unknown');
    assert.equal((await agent.call('hold', 'db', V4)).code, 'unknown');
    await agent.must('arm', lease('db', 5, 9_000));
    const before = (await reader.state()).groups.get('db');
    const now = bootMs();
    const refused: [string, Verb, unknown[]][] = [
      ['epoch', 'pet', [lease('db', 4, 20_000)]],
      ['epoch', 'pet', [lease('db', 6, 20_000)]],
      ['epoch', 'arm', [lease('db', 4, 20_000)]],
      ['late', 'pet', [{ group: 'db', epoch: 5, deadlineMs: now + 1_000, fireAtMs: now - 1 }]],
      ['range', 'pet', [{ group: 'db', epoch: 5, deadlineMs: now + 1_000, fireAtMs: now + 2_000 }]],
      ['range', 'pet', [{ group: 'db', epoch: 5, deadlineMs: Date.now(), fireAtMs: now + 2_000 }]],
      ['epoch', 'disarm', ['db', 4]],
      ['cgroup', 'hold', ['db', { kind: 'cgroup', path: '/tmp' }]],
      ['cgroup', 'hold', ['db', { kind: 'cgroup', path: `${cgroup}/../x` }]],
      ['cgroup', 'hold', ['db', { kind: 'cgroup', path: cgroupMount }]], // the guard itself is below
      ['syntax', 'hold', ['db', { kind: 'vip', interface: 'lan0', address: '192.0.2.10' }]],
      ['syntax', 'note', ['key', 'a\nstate']],
    ];
    for (const [code, verb, args] of refused)
      assert.deepEqual([verb, args, (await agent.call(verb, ...args)).code], [verb, args, code]);
    assert.deepEqual((await reader.state()).groups.get('db'), before);

    await agent.must('pet', lease('db', 5, 3_000)); // shorter: accepted, without effect
    assert.deepEqual((await reader.state()).groups.get('db'), before);
    await agent.must('hold', 'db', { kind: 'cgroup', path: join(cgroup, 'made-later') });
    await agent.must('unhold', 'db', { kind: 'cgroup', path: join(cgroup, 'made-later') });
    await agent.must('hold', 'db', other.holding);
    assert.equal((await agent.call('disarm', 'db', 5)).code, 'held');
    assert.equal((await agent.call('unhold', 'db', other.holding)).code, 'held');
    await agent.must('hold', 'db', V6);
    add(V6);
    assert.equal((await agent.call('unhold', 'db', V6)).code, 'held');
    clear(V6);
    await agent.must('unhold', 'db', V6);
    await agent.must('unhold', 'db', V6); // again is fine

    // A higher epoch is another lease: its times count even when they are shorter.
    const raised = lease('db', 6, 2_000);
    await agent.must('arm', raised, VOTERS);
    const after = (await reader.state()).groups.get('db');
    assert.deepEqual([after?.epoch, after?.deadlineMs], [6, raised.deadlineMs]);
  });

  it('keeps other groups armed when one fires; the fired one stays refused until it is disarmed', async (t) => {
    const { dir, reader } = await guard(t);
    const first = new Agent(t, dir);
    await first.must('hello');
    await first.must('arm', lease('web', 1, 30_000));
    await first.must('arm', lease('db', 1, 200));
    await firedAndClean(reader, 'db');
    assert.equal(await first.exited, 'SIGKILL');
    assert.equal((await reader.state()).groups.get('web')?.state, 'armed');
    const second = new Agent(t, dir);
    await second.must('hello');
    await second.must('pet', lease('web', 1, 40_000));
    assert.equal((await second.call('pet', lease('db', 1, 9_000))).code, 'fired');
    assert.equal((await second.call('arm', lease('db', 2, 9_000))).code, 'fired');
    await second.must('disarm', 'db', 1);
    await second.must('arm', lease('db', 2, 9_000));
  });

  it('lets a newer hello take the place of the older, which ends, and anyone read', async (t) => {
    const { dir } = await guard(t);
    const first = new Agent(t, dir);
    await first.must('hello');
    const second = new Agent(t, dir);
    await second.must('hello');
    assert.equal(await first.exited, 'SIGKILL');
    await second.must('arm', lease('db', 1, 9_000));
    // Forgotten readers do not lock anyone out.
    for (let n = 0; n < 20; n++) {
      const reader = new Raw(t, dir);
      assert.match(await reader.ask('state'), /^incarnation -/);
      assert.match(await reader.ask('pet db 1 1 1'), /^error agent /);
    }
    await second.must('pet', lease('db', 1, 10_000));
  });

  it('has one instance per state directory', async (t) => {
    const { dir, pid } = await guard(t);
    const again = spawnSync(inLan, ['--state-dir', dir], { encoding: 'utf8' });
    assert.equal(again.status, 75);
    assert.match(again.stderr, /another guard is running/);
    assert.equal(statSync(join(dir, 'guard.sock')).mode & 0o777, 0o600);
    kill(pid);
    await until('the lock is free', () => !isAlive(pid));
    // A stale socket is replaced, and of several that start it at once all find the same guard.
    const clients = await Promise.all([1, 2, 3, 4].map(() => GuardClient.connect(dir, { spawn: inLan })));
    const pids = await Promise.all(
      clients.map(async (client) => (await client.state()) && readFileSync(join(dir, 'guard.lock'), 'utf8')),
    );
    assert.equal(new Set(pids).size, 1);
    for (const client of clients) client.close();
    kill(Number(pids[0]));
  });

  it('says why it cannot start', async () => {
    await assert.rejects(GuardClient.connect(root), { code: 'start', message: /no guard runs/ });
    await assert.rejects(GuardClient.connect('/no/such/place'), { code: 'start' });
    const rejected = GuardClient.connect(root, { spawn: '/bin/false' });
    await assert.rejects(rejected, { code: 'start', message: /exit code 1/ });
    const run = (...args: string[]) => spawnSync(binary, args, { encoding: 'utf8' });
    assert.match(run('--version').stdout, /^holdfast-guard \d/);
    assert.match(run('--help').stdout, /--state-dir/);
    assert.equal(run('--frobnicate').status, 2);
    assert.equal(run().status, 2);
    assert.equal(run('--state-dir', '/no/such/place').status, 1);
  });

  it('refuses malformed lines, ends over-long ones, and survives 2,000 lines of noise', async (t) => {
    const { dir, pid } = await guard(t);
    const raw = new Raw(t, dir);
    assert.match(await raw.ask('hello 1'), new RegExp(`^ok ${pid} \\d+ (-|no-)`));
    for (const line of [
      '',
      ' ',
      'nonsense',
      'state x',
      'arm',
      'arm db x 1 1 -',
      'arm db 1  1 -',
      'arm d/b 1 9 9 -',
      'hello 2',
    ])
      assert.match(await raw.ask(line), /^error (syntax|version) /, line);
    assert.match(await raw.ask('pet db 1 99999999999999999999 1'), /^error syntax /);
    assert.match(await raw.ask('state'), /^incarnation -/);

    let seed = 4_711;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    const words = [
      'arm',
      'pet',
      'promise',
      'hold',
      'unhold',
      'disarm',
      'note',
      'announce',
      'probe',
      'state',
      'incarnation',
      'vip',
    ];
    words.push(
      'cgroup',
      'db',
      'lan0',
      '192.0.2.9/32',
      '192.0.2.9',
      '::/0',
      '-',
      '1',
      '99',
      '/',
      cgroup,
      '-1',
      '1e9',
      '%s%n',
    );
    const lines = Array.from({ length: 2_000 }, () =>
      random(10) === 0
        ? Buffer.from(
            Array.from({ length: random(80) }, () => (random(256) === 10 ? 0 : random(256))).filter((c) => c !== 10),
          )
        : Buffer.from(Array.from({ length: 1 + random(7) }, () => words[random(words.length)]).join(' ')),
    );
    const before = raw.text.length;
    for (const line of lines) raw.socket.write(Buffer.concat([line, Buffer.from('\n')]));
    raw.socket.write('incarnation - -\n');
    raw.socket.write('note last 1\nstate\n');
    await until('all answered', () => raw.text.slice(before).includes('note last 1\n'));

    const long = new Raw(t, dir);
    long.socket.write(`note key ${'x'.repeat(2_100)}`);
    await long.closed;
    assert(isAlive(pid));
    assert.match(await raw.ask('hello 1'), /^ok /);
  });

  it('delivers its state when every table is full', async (t) => {
    const { dir } = await guard(t);
    const client = await GuardClient.connect(dir);
    t.after(() => client.close());
    await client.hello();
    const path = `${cgroup}/${'x'.repeat(250)}`;
    const names = Array.from({ length: 200 }, (_, n) => `group-${n}`);
    await Promise.all(
      names.map(async (name) => {
        await client.arm(lease(name, 1, 100_000), VOTERS);
        for (let n = 0; n < 40; n++) await client.hold(name, { kind: 'cgroup', path: `${path}${n}` });
      }),
    );
    await assert.rejects(client.arm(lease('one-more', 1, 100_000), VOTERS), { code: 'full' });
    await assert.rejects(client.hold('group-0', V4), { code: 'full' });
    const { groups } = await client.state();
    assert.equal(groups.size, 200);
    assert([...groups.values()].every(({ holdings }) => holdings.length === 40));
    for (const name of names) await client.disarm(name, 1);
  });

  it('ignores SIGTERM while anything is armed and ends on it otherwise', async (t) => {
    const { dir, pid } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 30_000));
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const) process.kill(pid, signal);
    await agent.must('pet', lease('db', 1, 40_000));
    await agent.must('disarm', 'db', 1);
    assert(isAlive(pid));
    process.kill(pid, 'SIGTERM');
    await until('it ends', () => !isAlive(pid));
    assert(!existsSync(join(dir, 'guard.sock')));
  });
});
