import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Holding } from '../resources/resource.ts';
import { bootMs } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import { GuardClient, type GuardGroup } from './index.ts';
import type { Verb } from './test-agent.ts';

const here = import.meta.dirname;
const lan = `hfg-${process.pid}`;
const neighbour = `${lan}-n`;
const root = mkdtempSync(join(tmpdir(), 'hfg-'));
const binary = join(root, 'holdfast-guard');
/** Starts the guard inside the test's network namespace. (`ip netns exec` would hide /sys/fs/cgroup.) */
const inLan = join(root, 'guard-in-lan');
const cgroupMount = / (\/\S+) \S+ (?:\S+ )*?- cgroup2 /.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];
const cgroup = join(cgroupMount ?? '/nowhere', lan);

type Vip = Extract<Holding, { kind: 'vip' }>;
const V4: Vip = { kind: 'vip', interface: 'lan0', address: '192.0.2.10/32' };
const V6: Vip = { kind: 'vip', interface: 'lan0', address: '2001:db8::10/128' };

const VOTERS = { version: 1, names: ['alice', 'bob'] };

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const tool of ['cc', 'ip', 'nsenter'])
    if (spawnSync(tool, ['--version']).error !== undefined) return `needs ${tool}`;
  return cgroupMount === undefined && 'needs cgroup v2';
}

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const lanIp = (...args: string[]) => ip('-n', lan, ...args);
const neighbourIp = (...args: string[]) => ip('-n', neighbour, ...args);

interface Address {
  readonly local: string;
  readonly prefixlen: number;
  readonly valid_life_time: number;
  readonly noprefixroute?: boolean;
  readonly nodad?: boolean;
}

function addressIn(list: () => string, { address }: Vip): Address | undefined {
  const links = JSON.parse(list()) as { addr_info?: Address[] }[];
  return links.flatMap((link) => link.addr_info ?? []).find(({ local }) => local === address.split('/')[0]);
}
const addressOf = (vip: Vip) => addressIn(() => lanIp('-j', 'addr', 'show', 'dev', 'lan0'), vip);
const add = ({ address }: Vip) =>
  lanIp('addr', 'add', address, 'dev', 'lan0', 'noprefixroute', ...(address.includes(':') ? ['nodad'] : []));
const clear = ({ address }: Vip) => {
  if (addressOf({ kind: 'vip', interface: 'lan0', address }) !== undefined)
    lanIp('addr', 'del', address, 'dev', 'lan0');
};

/** False also for one that has ended and waits for its parent. */

/** Kills by id, whatever has become of it. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A guard on a directory of its own, gone when the test ends. */
async function guard(t: TestContext): Promise<{ dir: string; pid: number; reader: GuardClient }> {
  const dir = mkdtempSync(join(root, 'state-'));
  const reader = await GuardClient.connect(dir, { spawn: inLan });
  const pid = Number(readFileSync(join(dir, 'guard.lock'), 'utf8'));
  t.after(() => {
    reader.close();
    kill(pid);
    clear(V4);
    clear(V6);
  });
  return { dir, pid, reader };
}

/** An agent in a process of its own, which the guard may kill. */
class Agent {
  readonly process: ChildProcess;
  readonly exited: Promise<string>;
  readonly #lines: AsyncIterator<string>;

  constructor(t: TestContext, dir: string) {
    const child = spawn(process.execPath, [join(here, 'test-agent.ts'), dir], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process = child;
    this.exited = once(child, 'exit').then(([code, signal]) => String(signal ?? code));
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    t.after(() => kill(this.pid));
  }

  get pid(): number {
    assert(this.process.pid !== undefined);
    return this.process.pid;
  }

  /** @returns what the guard answered; `{code}` when it refused. */
  async call(method: Verb, ...args: unknown[]): Promise<{ value?: unknown; code?: string }> {
    this.process.stdin?.write(`${JSON.stringify({ method, args })}\n`);
    const { value } = await this.#lines.next();
    return JSON.parse(String(value)) as { value?: unknown; code?: string };
  }

  async must(method: Verb, ...args: unknown[]): Promise<void> {
    assert.deepEqual(
      { method, args, code: (await this.call(method, ...args)).code },
      { method, args, code: undefined },
    );
  }
}

const lease = (group: string, epoch: number, ms: number) => {
  const now = bootMs();
  return { group, epoch, deadlineMs: now + ms, fireAtMs: now + ms - 50 };
};

async function fired(reader: GuardClient, group: string): Promise<GuardGroup & { state: 'fired' }> {
  return until(`${group} fires and is clean`, async () => {
    const found = (await reader.state()).groups.get(group);
    return found?.state === 'fired' && found.clean && found;
  });
}

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

describe('the guard', { skip: missing(), timeout: 120_000 }, () => {
  before(() => {
    execFileSync('sh', ['-c', `cc -O2 -std=gnu11 -Wall -Wextra -Werror -o ${binary} ${here}/*.c`]);
    writeFileSync(inLan, `#!/bin/sh\nexec nsenter --net=/run/netns/${lan} ${binary} "$@"\n`, { mode: 0o755 });
    ip('netns', 'add', lan);
    ip('netns', 'add', neighbour);
    lanIp('link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan1', 'netns', neighbour);
    for (const run of [lanIp, neighbourIp]) run('link', 'set', 'lo', 'up');
    lanIp('link', 'set', 'lan0', 'up');
    neighbourIp('link', 'set', 'lan1', 'up');
    lanIp('addr', 'add', '192.0.2.1/24', 'dev', 'lan0');
    neighbourIp('addr', 'add', '192.0.2.2/24', 'dev', 'lan1');
    neighbourIp('addr', 'add', '2001:db8::2/64', 'dev', 'lan1', 'nodad');
    mkdirSync(cgroup);
  });

  after(() => {
    for (const name of [lan, neighbour]) if (existsSync(`/run/netns/${name}`)) ip('netns', 'del', name);
    if (existsSync(cgroup)) rmdirSync(cgroup);
    rmSync(root, { recursive: true, force: true });
  });

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

    const group = await fired(reader, 'db');
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
    await fired(reader, 'db');
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

  it('removes an address that somebody puts back after the firing', async (t) => {
    const { dir, reader } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 200));
    await agent.must('hold', 'db', V4);
    await fired(reader, 'db');
    add({ ...V4, address: '192.0.2.10/24' }); // another prefix length is no way round it
    await until('it is gone again', () => addressOf(V4) === undefined);
    // Also when the minute of close attention is over: the change itself is noticed.
    const later = bootMs() + 600;
    await until('time passes', () => bootMs() > later);
    add(V4);
    await until('it is gone again', () => addressOf(V4) === undefined);
  });

  it('lets the kernel remove the addresses when the guard itself is gone', async (t) => {
    const { dir, pid } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 60_000));
    for (const vip of [V4, V6]) {
      await agent.must('hold', 'db', vip);
      add(vip);
      assert(Number(addressOf(vip)?.valid_life_time) > 1e9, 'for ever at first');
    }
    await agent.must('pet', lease('db', 1, 90_000));
    for (const vip of [V4, V6]) {
      const found = addressOf(vip);
      assert(Number(found?.valid_life_time) <= 90 && Number(found?.valid_life_time) >= 88, `${found?.valid_life_time}`);
      assert.equal(`${found?.local}/${found?.prefixlen}`, vip.address);
      assert.deepEqual([found?.noprefixroute, found?.nodad], [true, vip === V6 ? true : undefined]);
    }
    let last = lease('db', 2, 2_000);
    await agent.must('arm', last);
    await until('the lifetime follows', async () => {
      last = lease('db', 2, 2_000);
      await agent.must('pet', last);
      return [V4, V6].every((vip) => Number(addressOf(vip)?.valid_life_time) <= 2);
    });
    process.kill(pid, 'SIGKILL');
    assert.equal(await agent.exited, '9', 'the agent is told');
    await until('the kernel removes them', () => addressOf(V4) === undefined && addressOf(V6) === undefined);
    t.diagnostic(`gone ${bootMs() - last.deadlineMs} ms after the last deadline`);
  });

  it('never lets an address lapse under a lease of less than two seconds', async (t) => {
    const { dir } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 1_800));
    await agent.must('hold', 'db', V4);
    add(V4);
    const end = bootMs() + 4_000;
    let next = 0;
    await until('the time to pass', async () => {
      if (bootMs() >= next) {
        await agent.must('pet', lease('db', 1, 1_800));
        next = bootMs() + 350;
      }
      assert(addressOf(V4), 'the address is there all the time');
      return bootMs() > end;
    });
  });

  it('nor where answers take so long that every pet leaves less than a second, and some are missing', async (t) => {
    const { dir } = await guard(t);
    const agent = new Agent(t, dir);
    const left = () => ({ ...lease('db', 1, 1_500), fireAtMs: bootMs() + 990 });
    await agent.must('hello');
    await agent.must('arm', left());
    await agent.must('hold', 'db', V4);
    add(V4);
    const end = bootMs() + 4_000;
    let next = 0;
    let pets = 0;
    await until('the time to pass', async () => {
      if (bootMs() >= next) {
        await agent.must('pet', left());
        pets += 1;
        next = bootMs() + (pets % 3 === 0 ? 650 : 440);
      }
      assert(addressOf(V4), 'the address is there all the time');
      return bootMs() > end;
    });
  });

  it('does not bring an absent address into being by a pet', async (t) => {
    const { dir } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 10_000));
    await agent.must('hold', 'db', V4);
    await agent.must('pet', lease('db', 1, 20_000));
    assert.equal(addressOf(V4), undefined);
  });

  it('corrects the neighbours with an announcement, IPv4 and IPv6', async (t) => {
    const { dir } = await guard(t);
    const client = await GuardClient.connect(dir);
    t.after(() => client.close());
    await client.hello();
    await assert.rejects(client.announce('lan0', '192.0.2.10'), { code: 'absent' });
    await assert.rejects(client.announce('lo', '127.0.0.1'), { code: 'link' });
    const links = JSON.parse(lanIp('-j', 'link', 'show', 'lan0')) as { address: string }[];
    for (const vip of [V4, V6]) {
      const address = vip.address.split('/')[0] ?? '';
      add(vip);
      neighbourIp('neigh', 'replace', address, 'lladdr', '02:00:00:00:00:99', 'dev', 'lan1', 'nud', 'stale');
      await client.announce('lan0', address);
      await until('the neighbour has learned', () =>
        neighbourIp('neigh', 'show', address).includes(links[0]?.address ?? '?'),
      );
    }
  });

  it('finds who has an address, and that nobody has it', async (t) => {
    const { dir } = await guard(t);
    const client = await GuardClient.connect(dir);
    t.after(() => client.close());
    await client.hello();
    const links = JSON.parse(neighbourIp('-j', 'link', 'show', 'lan1')) as { address: string }[];
    const answers = await Promise.all([
      client.probe('lan0', '192.0.2.2', 1_000),
      client.probe('lan0', '2001:db8::2', 1_000),
      client.probe('lan0', '192.0.2.77', 200),
      client.probe('lan0', '2001:db8::77', 200),
      client.probe('lan0', '192.0.2.77', 200), // the same question again joins the first
      client.probe('lan0', '192.0.2.1', 100), // our own frames do not count
    ]);
    const taken = { taken: true, mac: links[0]?.address };
    const free = { taken: false };
    assert.deepEqual(answers, [taken, taken, free, free, free, free]);
    await assert.rejects(client.probe('nowhere', '192.0.2.2', 100), { code: 'link' });
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
