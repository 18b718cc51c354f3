import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const FIRST_RESTART_MS = 200;
const LAST_RESTART_MS = 10_000;
/** After running this long it counts as sound, and the next restart is quick again. */
const SOUND_AFTER_MS = 10_000;

export interface FollowOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly onLine: (line: string) => void;
  /** It begins anew: what it told before may be over. */
  readonly onStart: () => void;
  /** It ended, with what it wrote last; it is started again. */
  readonly onEnd: (why: string) => void;
}

/**
 * A program that tells what happens, a line each, for as long as somebody listens. Started again when it ends, with a growing pause; it
 * never keeps the agent's process alive.
 * @returns a function that ends it.
 */
export function followLines(argv: readonly [string, ...string[]], options: FollowOptions): () => void {
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = FIRST_RESTART_MS;
  let over = false;
  const start = () => {
    const startedAt = performance.now();
    const mine = spawn(argv[0], argv.slice(1), {
      env: { ...options.env },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    child = mine;
    mine.unref();
    for (const stream of [mine.stdout, mine.stderr])
      if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
    options.onStart();
    let said = '';
    mine.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString('utf8')}`.slice(-500);
    });
    createInterface({ input: mine.stdout }).on('line', (line) => {
      if (child === mine) options.onLine(line);
    });
    const ended = (how: string) => {
      if (over || child !== mine) return;
      child = undefined;
      if (performance.now() - startedAt > SOUND_AFTER_MS) pauseMs = FIRST_RESTART_MS;
      options.onEnd(said.trim().split('\n').at(-1)?.trim() || how);
      timer = setTimeout(start, pauseMs);
      timer.unref();
      pauseMs = Math.min(pauseMs * 2, LAST_RESTART_MS);
    };
    mine.on('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    mine.on('error', (error) => ended(error.message));
  };
  start();
  return () => {
    over = true;
    clearTimeout(timer);
    child?.kill('SIGKILL');
    child = undefined;
  };
}
