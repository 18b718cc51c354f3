import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { MAX_OUTPUT_BYTES } from '../../schemas/limits.ts';
import { Cgroup } from './cgroup.ts';
import { errnoOf, textOf } from './errors.ts';
import { Tail } from './tail.ts';

export interface RunOptions {
  /** The whole environment: nothing is inherited, so no LD_PRELOAD and no NODE_OPTIONS of whoever started the agent. */
  readonly env: Readonly<Record<string, string>>;
  /** Directory of an existing cgroup v2: the process is in it before it executes anything of its own. */
  readonly cgroup?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Bytes of output that are kept; the end of it is kept. */
  readonly outputLimit?: number;
  /** Collect standard output apart from `output`, up to so many bytes (its end is kept, see `truncated`). */
  readonly stdoutLimit?: number;
  readonly cwd?: string;
}

export interface RunResult {
  /** Exit code; null when a signal ended it, when it never started, or when it could not be killed. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The end of what it wrote: standard error, and standard output unless `stdoutLimit` was given. */
  readonly output: string;
  /** Only with `stdoutLimit`. */
  readonly stdout: string;
  /** Something of `stdout` was dropped. */
  readonly truncated: boolean;
  readonly timedOut: boolean;
  /** The signal was aborted before it ended. */
  readonly aborted: boolean;
  /** Why it could not be started at all. */
  readonly notStarted?: string;
  /** It got SIGKILL and did not end within a second (a process that hangs in the kernel). */
  readonly unkillable: boolean;
  readonly durationMs: number;
}

/**
 * Fixed text: the cgroup and the command come in as arguments, so that no value is ever parsed as shell. A daemon that an OCF start leaves behind
 * does not inherit the protection of this process from the out-of-memory killer.
 */
const ENTER_CGROUP =
  'echo $$ 2>/dev/null > "$1/cgroup.procs" || { echo "$2" >&2; exit 254; }; { echo 0 > /proc/self/oom_score_adj; } 2>/dev/null; shift 2; exec "$@"';
const NO_CGROUP = 'holdfast: the cgroup cannot be entered';
const KILL_WAIT_MS = 1_000;

/**
 * Runs a program to its own end, which is not the end of its output: a daemon that an OCF start leaves behind keeps the
 * pipe open for ever. At the time-out or when the signal is aborted everything it started is killed: the whole cgroup
 * when one is given, its process group in any case. Never rejects because of what the program does.
 *
 * After its end nobody reads the pipe any more; a daemon that still writes there gets EPIPE (Pacemaker does the same).
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  const startedAt = performance.now();
  const output = new Tail(options.outputLimit ?? MAX_OUTPUT_BYTES);
  const stdout = new Tail(options.stdoutLimit ?? 0);
  const result = (part: Partial<RunResult>): RunResult => ({
    code: null,
    signal: null,
    output: output.text(),
    stdout: stdout.text(),
    truncated: stdout.truncated,
    timedOut: false,
    aborted: false,
    unkillable: false,
    durationMs: Math.round(performance.now() - startedAt),
    ...part,
  });
  if (!argv[0].startsWith('/')) return result({ notStarted: `${argv[0]} is not an absolute path` });
  const aborted = () => options.signal?.aborted === true;
  if (aborted()) return result({ aborted: true });

  const command: readonly [string, ...string[]] =
    options.cgroup === undefined ? argv : ['/bin/sh', '-c', ENTER_CGROUP, 'sh', options.cgroup, NO_CGROUP, ...argv];
  if (!existsSync(argv[0])) return result({ notStarted: `${argv[0]} does not exist` });

  await turn();
  if (aborted()) return result({ aborted: true });
  let ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; notStarted?: string }>;
  let child: ReturnType<typeof start>;
  try {
    child = start(command, options);
    ended = endOf(child);
  } catch (error) {
    return result({ notStarted: `${argv[0]}: ${textOf(error)}` });
  }
  child.stderr.on('data', (chunk: Buffer) => output.add(chunk));
  child.stdout.on('data', (chunk: Buffer) => (options.stdoutLimit === undefined ? output : stdout).add(chunk));

  const stopper = stopAt(options.timeoutMs, options.signal);
  const first = await Promise.race([ended, stopper.stopped]);
  stopper.clear();

  if (first === 'timed out' || first === 'aborted') {
    const cause = { timedOut: first === 'timed out', aborted: first === 'aborted' };
    const [end] = await Promise.all([endedWithin(ended, KILL_WAIT_MS), killAll(child.pid, options.cgroup)]);
    await drain(child.stdout, child.stderr);
    if (end === undefined) {
      child.unref();
      return result({ ...cause, unkillable: true });
    }
    return result({ ...cause, ...end });
  }
  await drain(child.stdout, child.stderr);
  if (options.cgroup !== undefined && first.code === 254 && output.text().trim() === NO_CGROUP)
    return result({ notStarted: `${argv[0]}: cannot enter the cgroup ${options.cgroup}` });
  return result(first);
}

let lastTurn: Promise<void> = Promise.resolve();

/**
 * To start a process holds this one up for some milliseconds. When many are to start at once, everything else (renewals, the guard)
 * gets its turn between any two of them.
 */
function turn(): Promise<void> {
  const mine = lastTurn;
  lastTurn = mine.then(() => new Promise((resolve) => setImmediate(resolve)));
  return mine;
}

function start(command: readonly [string, ...string[]], options: RunOptions) {
  return spawn(command[0], command.slice(1), {
    env: { ...options.env },
    cwd: options.cwd ?? '/',
    detached: true, // its own process group and session
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: false,
  });
}

function endOf(
  child: ReturnType<typeof start>,
): Promise<{ code: number | null; signal: NodeJS.Signals | null; notStarted?: string }> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.on('error', (error) => {
      // Also emitted for a kill that failed; then the end comes from 'exit'.
      if (child.pid === undefined) resolve({ code: null, signal: null, notStarted: error.message });
    });
  });
}

function stopAt(timeoutMs: number, signal: AbortSignal | undefined) {
  const { promise, resolve } = Promise.withResolvers<'timed out' | 'aborted'>();
  const timer = setTimeout(() => resolve('timed out'), timeoutMs);
  const abort = () => resolve('aborted');
  signal?.addEventListener('abort', abort, { once: true });
  const clear = () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  };
  return { stopped: promise, clear };
}

async function endedWithin<T>(ended: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), ms);
  const first = await Promise.race([ended, promise]);
  clearTimeout(timer);
  return first;
}

async function killAll(pid: number | undefined, cgroup: string | undefined): Promise<void> {
  if (pid !== undefined) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH' && errnoOf(error) !== 'EPERM') throw error; // gone, or not ours to kill
    }
  }
  if (cgroup !== undefined) await new Cgroup(cgroup).kill();
}

/**
 * What the program wrote before it ended lies in the pipe already. One whole turn of the event loop reads it (libuv takes
 * up to 2 MiB in a turn, a pipe holds 64 KiB); the first immediate only ends the turn that is under way.
 */
async function drain(...streams: readonly Readable[]): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
  for (const stream of streams) stream.destroy();
}
