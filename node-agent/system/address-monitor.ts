import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Log } from './log.ts';

/** What `ip -o monitor address link` said in one line, as far as anyone here cares. */
export type MonitorEvent =
  | { readonly kind: 'deleted'; readonly interface: string; readonly address: string }
  | { readonly kind: 'dadfailed'; readonly interface: string; readonly address: string }
  | { readonly kind: 'link'; readonly interface: string; readonly up: boolean };

/**
 * Reads one line of plain text (`-j` is ignored by the monitor of iproute2 6.1). The refreshes of a lifetime, one a second for
 * each address, are recognised first and cost one comparison and two searches.
 */
function parseMonitorLine(line: string): MonitorEvent | undefined {
  const deleted = line.startsWith('Deleted ');
  const isLink = line.includes(': <');
  if (!deleted && !isLink && !line.includes(' dadfailed')) return undefined;
  if (isLink) {
    const link = /^(?:Deleted )?\d+: ([^\s@:]+)(?:@\S+)?: <([^>]*)>/.exec(line);
    if (link?.[1] === undefined) return undefined;
    return { kind: 'link', interface: link[1], up: !deleted && linkIsUp((link[2] ?? '').split(',')) };
  }
  const address = /^(?:Deleted )?\d+: (\S+)\s+inet6? ([0-9a-fA-F.:]+)/.exec(line);
  if (address?.[1] === undefined || address[2] === undefined) return undefined;
  return { kind: deleted ? 'deleted' : 'dadfailed', interface: address[1], address: address[2] };
}

/** Set up by the administrator and with a carrier, by the flags that `ip` prints. */
export function linkIsUp(flags: readonly string[]): boolean {
  return flags.includes('UP') && !flags.includes('NO-CARRIER');
}

export interface AddressListener {
  readonly interface: string;
  readonly address: string;
  /** `lost`: events may have been missed, so look. */
  readonly notify: (event: 'deleted' | 'dadfailed' | 'link up' | 'link down' | 'lost') => void;
}

const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 5_000;
/** After running this long a monitor counts as sound and the next restart is quick again. */
const SOUND_AFTER_MS = 10_000;

/**
 * The one `ip monitor` child of the whole agent, shared by everybody who watches an address. It runs while somebody listens,
 * is started again when it dies, and never keeps the agent's process alive.
 */
export class AddressMonitor {
  readonly #ip: string;
  readonly #log: Log;
  readonly #listeners = new Set<AddressListener>();
  readonly #linkUp = new Map<string, boolean>();
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #restartMs = FIRST_RESTART_MS;

  constructor(ip: string, log: Log) {
    this.#ip = ip;
    this.#log = log;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  listen(listener: AddressListener): () => void {
    this.#listeners.add(listener);
    if (this.#child === undefined && this.#restart === undefined) this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  #start(): void {
    const startedAt = performance.now();
    const child = spawn(this.#ip, ['-o', 'monitor', 'address', 'link'], {
      env: { LC_ALL: 'C' },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    child.unref();
    for (const stream of [child.stdout, child.stderr])
      if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = parseMonitorLine(line);
      if (event !== undefined) this.#dispatch(event);
    });
    // The kernel's buffer overflowed: `ip` says so here and goes on, with events missing.
    child.stderr.on('data', () => this.#tellAll('lost'));
    let over = false;
    const ended = (why: string) => {
      if (over || this.#child !== child) return;
      over = true;
      this.#child = undefined;
      if (performance.now() - startedAt > SOUND_AFTER_MS) this.#restartMs = FIRST_RESTART_MS;
      this.#log.warn(`ip monitor ended (${why}); it is started again in ${this.#restartMs} ms`);
      this.#restart = setTimeout(() => {
        this.#restart = undefined;
        this.#start();
        this.#tellAll('lost');
      }, this.#restartMs);
      this.#restart.unref();
      this.#restartMs = Math.min(this.#restartMs * 2, LAST_RESTART_MS);
    };
    child.on('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    child.on('error', (error) => ended(error.message));
  }

  #stop(): void {
    clearTimeout(this.#restart);
    this.#restart = undefined;
    const child = this.#child;
    this.#child = undefined;
    this.#linkUp.clear();
    child?.kill('SIGKILL');
  }

  #dispatch(event: MonitorEvent): void {
    if (event.kind === 'link') {
      const before = this.#linkUp.get(event.interface) ?? true;
      if (before === event.up) return;
      this.#linkUp.set(event.interface, event.up);
      this.#tell((listener) => listener.interface === event.interface, event.up ? 'link up' : 'link down');
      return;
    }
    const { kind, address } = event;
    this.#tell((listener) => listener.interface === event.interface && listener.address === address, kind);
  }

  #tellAll(what: 'lost'): void {
    this.#tell(() => true, what);
  }

  #tell(whom: (listener: AddressListener) => boolean, what: Parameters<AddressListener['notify']>[0]): void {
    for (const listener of [...this.#listeners]) if (whom(listener)) listener.notify(what);
  }
}
