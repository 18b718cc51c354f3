/**
 * The agent's side of the guard (protocol.md, Fuse): one connection, requests answered in order, so that any number of
 * them may be on their way at once.
 */
import { spawn } from 'node:child_process';
import { on } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Holding } from '../resources/resource.ts';
import { escapeOctal } from '../system/index.ts';
import { type GuardReset, type ResetReport, resetOf, resetReport } from './guard-reset.ts';
import { type GuardPromise, type GuardState, type GuardVoters, parseGuardState, textOfVoters } from './guard-state.ts';

/** Longest request, its newline included; the guard ends the connection of a longer one. */
const LINE_BYTES = 2_048;
/** A guard that does not answer for so long cannot be relied on: the connection is given up. It answers within a millisecond. */
const ANSWER_MS = 2_000;
const CONNECT_MS = 5_000;
/** The longest line that is awaited from the guard; beyond it, it is not the guard. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Refused by the guard: `syntax` malformed · `version` · `agent` not the agent's connection · `already` set or running ·
 * `unknown` group · `epoch` another one is recorded · `late` the instant to fire has passed · `range` impossible times ·
 * `fired` and not disarmed · `armed` or fired here · `held` really still there · `full` a limit · `absent` address · `tentative` address ·
 * `link` no such Ethernet interface · `send` the frame did not go out · `cgroup`, `mount` not one that can be held · `watchdog` it cannot
 * be armed as asked.
 * By this side: `start` it could not be started · `lost` the connection has ended · `timeout`.
 */
export type GuardErrorCode =
  | ('syntax' | 'version' | 'agent' | 'already' | 'unknown' | 'epoch' | 'late' | 'range' | 'fired' | 'held' | 'full')
  | ('armed' | 'absent' | 'tentative' | 'link' | 'send' | 'cgroup' | 'mount' | 'watchdog')
  | ('start' | 'lost' | 'timeout');

export class GuardError extends Error {
  readonly code: GuardErrorCode;
  constructor(code: GuardErrorCode, message: string) {
    super(message);
    this.name = 'GuardError';
    this.code = code;
  }
}

/** The lease of a group, in the guard's terms. CLOCK_BOOTTIME, ms; fractions are cut off, which is the safe side. */
export interface GuardLease {
  readonly group: string;
  readonly epoch: number;
  /** The group may be relied on until then. */
  readonly deadlineMs: number;
  /** The guard acts then, not after the deadline (`fuseInstant` in schemas/limits.ts); the addresses get it as their lifetime. */
  readonly fireAtMs: number;
}

export type ProbeAnswer = { readonly taken: false } | { readonly taken: true; readonly mac: string };

export interface GuardOptions {
  /** The guard's executable, started if none runs for the state directory. Without it an absent guard is an error. */
  readonly spawn?: string;
  /** What the guard is started with besides its state directory: `--reset=…`. One that runs already goes on as it was started. */
  readonly arguments?: readonly string[];
  /** How long connecting, with the start of the guard, may take. */
  readonly timeoutMs?: number;
  /** Called once when the connection ends without `close()`: every promise of the guard is then void, unless it can be reached again. */
  readonly onLost?: (reason: GuardError) => void;
}

interface Pending {
  readonly multiline: string[] | undefined;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (lines: readonly string[]) => void;
  readonly reject: (error: GuardError) => void;
}

interface Probe {
  readonly promise: Promise<ProbeAnswer>;
  readonly resolve: (answer: ProbeAnswer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * @example
 * const guard = await GuardClient.connect(stateDir, { spawn: 'dist/holdfast-guard', onLost: stopEverything });
 * await guard.hello();
 * await guard.arm({ group: 'db', epoch: 7, deadlineMs, fireAtMs }, { version: 1, names: ['alice', 'bob'] });
 * await guard.hold('db', { kind: 'vip', interface: 'eth0', address: '192.0.2.10/32' });   // and only now add it
 */
export class GuardClient {
  readonly #socket: Socket;
  readonly #onLost: ((reason: GuardError) => void) | undefined;
  readonly #pending: Pending[] = [];
  readonly #probes = new Map<string, Probe>();
  #unread: Buffer = Buffer.alloc(0);
  #ended: GuardError | undefined;

  private constructor(socket: Socket, onLost: ((reason: GuardError) => void) | undefined) {
    this.#socket = socket;
    this.#onLost = onLost;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#end(new GuardError('lost', `connection to the guard: ${error.message}`)));
    socket.on('close', () => this.#end(new GuardError('lost', 'the guard has ended the connection')));
  }

  /**
   * Connects to the guard of a state directory. Any number of readers may; `hello` makes this one the agent's.
   * @throws GuardError `start` if it cannot be started or reached, `timeout` if that takes too long.
   */
  static async connect(stateDir: string, options: GuardOptions = {}): Promise<GuardClient> {
    const path = join(stateDir, 'guard.sock');
    const signal = AbortSignal.timeout(options.timeoutMs ?? CONNECT_MS);
    if (!existsSync(stateDir)) throw new GuardError('start', `the state directory ${stateDir} does not exist`);
    // The watch begins before the first attempt: a guard that another process is starting appears under it.
    const watcher = watch(stateDir);
    const changes = on(watcher, 'change', { signal });
    try {
      let socket = await open(path);
      if (socket === undefined && options.spawn !== undefined) {
        await start(options.spawn, ['--state-dir', stateDir, ...(options.arguments ?? [])], signal);
        socket = await open(path);
      } else if (socket === undefined) {
        throw new GuardError('start', `no guard runs for ${stateDir}; the agent starts it`);
      }
      while (socket === undefined) {
        await changes.next();
        socket = await open(path);
      }
      return new GuardClient(socket, options.onLost);
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new GuardError('timeout', `the guard for ${stateDir} did not listen in time`);
    } finally {
      await changes.return?.();
      watcher.close();
    }
  }

  /** Whether requests still have an effect. */
  get connected(): boolean {
    return this.#ended === undefined;
  }

  /** Ends this connection; what is armed stays armed. `onLost` is not called. */
  close(): void {
    this.#ended ??= new GuardError('lost', 'the connection to the guard was closed here');
    this.#socket.destroy();
    this.#rejectAll(this.#ended);
  }

  /**
   * Makes this the agent's connection; that of an agent before is ended. From now on this process is killed when a group fires.
   * @returns the guard's pid and start (CLOCK_BOOTTIME, ms), which protections it could not have (`no-memory-lock`, `no-realtime`,
   * `no-oom-protection`), and what its last word is; a guard from before it had any has none.
   */
  async hello(): Promise<{
    readonly pid: number;
    readonly startedAtMs: number;
    readonly weaknesses: readonly string[];
    readonly reset: GuardReset;
  }> {
    const [pid, startedAtMs, flags = '-', reset] = await this.#request('hello 1');
    const weaknesses = flags === '-' ? [] : flags.split(',');
    return { pid: Number(pid), startedAtMs: Number(startedAtMs), weaknesses, reset: resetOf(reset) };
  }

  /**
   * What the next lease is armed with: W of the watchdog, in whole seconds, and δ (I2). The device itself is only looked at when a lease is armed.
   * @throws GuardError `range`.
   */
  async setReset(timeoutSeconds: number, latencyMs: number): Promise<void> {
    await this.#request(`reset ${timeoutSeconds} ${Math.ceil(latencyMs)}`);
  }

  /** How the last word stands now. Needs no `hello`. @throws GuardError `syntax` from a guard that has none. */
  async resetReport(): Promise<ResetReport> {
    return resetReport(await this.#request('reset'));
  }

  /** Everything the guard remembers. Needs no `hello`. */
  async state(): Promise<GuardState> {
    return parseGuardState(await this.#send('state', []));
  }

  /** Once in a guard's life. @throws GuardError `already` when one is set: then this agent is that incarnation (protocol.md, State). */
  async setIncarnation(id: string): Promise<void> {
    await this.#request(`incarnation ${id}`);
  }

  /** Keeps a value for the agent's successor; an empty one deletes it. One line of printable ASCII. */
  async note(key: string, value: string): Promise<void> {
    await this.#request(`note ${key} ${value}`);
  }

  /**
   * Before deciding to start (O4). A higher epoch replaces a lease, the same one extends it and sets the voters. A promise for the
   * group is forgotten: the caller has seen to it that it is over or void (P2).
   * @returns the times that now count.
   * @throws GuardError `epoch`, `late`, `range`, `fired`, `full`, `watchdog`.
   */
  arm(lease: GuardLease, voters: GuardVoters): Promise<{ deadlineMs: number; fireAtMs: number }> {
    return this.#lease('arm', lease, ` ${textOfVoters(voters)}`);
  }

  /**
   * Remembers, before it is answered, that this node promised a group to its owner (P1); one promise per group, until its time is over
   * or the group is armed here. The same epoch makes it last longer, never shorter; a higher one replaces it. A fraction of a
   * millisecond is rounded up: other than a lease, a promise is on the safe side when it ends late.
   * @throws GuardError `armed`, `epoch` one of a higher epoch runs, `late`, `range`, `full`.
   */
  async promise({ group, epoch, untilMs, owner }: GuardPromise & { readonly group: string }): Promise<void> {
    await this.#request(`promise ${group} ${epoch} ${Math.ceil(untilMs)} ${owner}`);
  }

  /**
   * Extends an armed lease, and the lifetime of the addresses it holds; never shortens it.
   * @returns the times that now count.
   * @throws GuardError `unknown`, `epoch`, `late`, `range`, `fired`.
   */
  pet(lease: GuardLease): Promise<{ deadlineMs: number; fireAtMs: number }> {
    return this.#lease('pet', lease, '');
  }

  /** Registers what the agent is about to make exclusive; before it acts. Again is fine. @throws GuardError `unknown`, `late`, `fired`, `cgroup`, `mount`, `full`. */
  async hold(group: string, holding: Holding): Promise<void> {
    await this.#request(`hold ${group} ${textOf(holding)}`);
  }

  /** Forgets what was released. @throws GuardError `held` if it is really still there. */
  async unhold(group: string, holding: Holding): Promise<void> {
    await this.#request(`unhold ${group} ${textOf(holding)}`);
  }

  /** Forgets the group, armed or fired. @throws GuardError `held` if anything it registered is really still there. */
  async disarm(group: string, epoch: number): Promise<void> {
    await this.#request(`disarm ${group} ${epoch}`);
  }

  /** Tells the neighbours, once, that the address (without prefix) is here. @throws GuardError `absent`, `tentative`, `link`, `send`. */
  async announce(interfaceName: string, address: string): Promise<void> {
    await this.#request(`announce ${interfaceName} ${address}`);
  }

  /** Asks the neighbours who has the address (without prefix) and listens for 20 to 10,000 ms. @throws GuardError `link`, `send`, `full`. */
  probe(interfaceName: string, address: string, timeoutMs: number): Promise<ProbeAnswer> {
    const key = `${interfaceName} ${address}`;
    const running = this.#probes.get(key);
    if (running !== undefined) return running.promise;
    const { promise, resolve, reject } = Promise.withResolvers<ProbeAnswer>();
    this.#probes.set(key, { promise, resolve, reject });
    this.#request(`probe ${key} ${Math.floor(timeoutMs)}`).catch((error: Error) => {
      this.#probes.delete(key);
      reject(error);
    });
    return promise;
  }

  async #lease(
    verb: 'arm' | 'pet',
    lease: GuardLease,
    rest: string,
  ): Promise<{ deadlineMs: number; fireAtMs: number }> {
    const times = `${Math.floor(lease.deadlineMs)} ${Math.floor(lease.fireAtMs)}`;
    const [deadlineMs, fireAtMs] = await this.#request(`${verb} ${lease.group} ${lease.epoch} ${times}${rest}`);
    return { deadlineMs: Number(deadlineMs), fireAtMs: Number(fireAtMs) };
  }

  /** @returns the fields after `ok`. */
  async #request(line: string): Promise<readonly string[]> {
    const [answer = ''] = await this.#send(line, undefined);
    return answer.split(' ').slice(1);
  }

  #send(line: string, multiline: string[] | undefined): Promise<readonly string[]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    // Checked here too, so that no value can smuggle in a second request.
    if (!/^[ -~]+$/.test(line) || line.length >= LINE_BYTES)
      return Promise.reject(new GuardError('syntax', `not a request for the guard: ${JSON.stringify(line)}`));
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
    const timer = setTimeout(() => {
      this.#end(new GuardError('timeout', `the guard did not answer within ${ANSWER_MS} ms`));
    }, ANSWER_MS);
    this.#pending.push({ multiline, timer, resolve, reject });
    this.#socket.write(`${line}\n`);
    return promise;
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    let start = 0;
    for (let end = this.#unread.indexOf(10); end !== -1; end = this.#unread.indexOf(10, start)) {
      this.#line(this.#unread.toString('latin1', start, end));
      start = end + 1;
    }
    this.#unread = this.#unread.subarray(start);
    if (this.#unread.length > MAX_ANSWER_BYTES)
      this.#end(new GuardError('lost', 'what answers on the socket of the guard is not the guard'));
  }

  #line(line: string): void {
    if (line.startsWith('event ')) {
      this.#event(line.split(' ').slice(1));
      return;
    }
    const current = this.#pending[0];
    if (current === undefined) {
      this.#end(new GuardError('lost', `the guard answered what was not asked: ${line}`));
      return;
    }
    const refused = line.startsWith('error ');
    if (current.multiline !== undefined && !refused && line !== 'end') {
      current.multiline.push(line);
      return;
    }
    this.#pending.shift();
    clearTimeout(current.timer);
    if (!refused) {
      current.resolve(current.multiline ?? [line]);
      return;
    }
    const [, code = '', ...text] = line.split(' ');
    current.reject(new GuardError(code as GuardErrorCode, `the guard refused (${code}): ${text.join(' ')}`));
  }

  #event([kind, interfaceName, address, answer, mac]: readonly string[]): void {
    const key = `${interfaceName} ${address}`;
    const probe = this.#probes.get(key);
    if (kind !== 'probed' || probe === undefined) return; // an event of a newer guard
    this.#probes.delete(key);
    probe.resolve(answer === 'taken' && mac !== undefined ? { taken: true, mac } : { taken: false });
  }

  #end(reason: GuardError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#socket.destroy();
    this.#rejectAll(reason);
    this.#onLost?.(reason);
  }

  #rejectAll(reason: GuardError): void {
    for (const { timer, reject } of this.#pending.splice(0)) {
      clearTimeout(timer);
      reject(reason);
    }
    for (const { reject } of this.#probes.values()) reject(reason);
    this.#probes.clear();
  }
}

function textOf(holding: Holding): string {
  switch (holding.kind) {
    case 'vip':
      return `vip ${holding.interface} ${holding.address}`;
    case 'cgroup':
      return `cgroup ${holding.path}`;
    case 'mount':
      return `mount ${holding.device} ${escapeOctal(holding.path)}`;
    case 'drbd':
      return `drbd ${holding.resource}`;
    default:
      return holding satisfies never;
  }
}

/** @returns undefined if nobody listens there. */
function open(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(new GuardError('start', `cannot connect to the guard: ${error.message}`));
    });
  });
}

/** Returns when a guard listens, or another process is about to have one listen (exit code 75). */
function start(program: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new GuardError('start', `cannot start the guard ${program}: ${why}`));
    const child = spawn(program, [...args], { stdio: ['ignore', 'ignore', 'pipe'], signal });
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = `${output}${text}`.slice(-1_000);
    });
    child.once('error', (error) => fail(error.message));
    child.once('close', (code) => {
      if (code === 0 || code === 75) resolve();
      else fail(`exit code ${code}: ${output.trim()}`);
    });
  });
}
