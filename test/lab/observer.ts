/**
 * Watches hosts from outside and trusts nothing they say. Two processes: one receives every address change from the
 * kernel, so no overlap is too short for it; the other looks at addresses, processes and mounts every few milliseconds,
 * which checks the first one and sees what has no events.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Host } from './host.ts';
import { nativeProgram } from './native.ts';
import { endChild } from './network.ts';
import { type Overlap, Timeline } from './timeline.ts';
import { monotonicMs, until } from './until.ts';

export interface ObserverOptions {
  /** Pause between two samples; 10 when left out, which takes about 6 % of a core. */
  everyMs?: number;
  /** Names (`comm`, at most 15 characters) of processes to look for. */
  processes?: readonly string[];
  /** Mount points that begin with this are looked at; none when left out. */
  mounts?: string;
}

type Report =
  | { kind: 'on'; host: string; t: number }
  | { kind: 'known'; host: string; t: number }
  | { kind: 'off'; host: string; t: number; before: number }
  | { kind: 'lost'; host: string; t: number }
  | { kind: 'sync'; token: number }
  | { kind: 'tick'; samples: number; t: number }
  | {
      kind: 'address';
      host: string;
      change: 'add' | 'remove';
      address: string;
      link: number;
      usable: boolean;
      t: number;
      after: number;
    }
  | {
      kind: 'sample';
      host: string;
      addresses: string[];
      processes: Record<string, number>;
      mounts: string[];
      t: number;
      before: number;
    };

export class Observer {
  readonly #events = new Timeline('events');
  readonly #samples = new Timeline('samples');
  readonly #watchers: ChildProcess[] = [];
  /** host, address → interfaces that have it; a host may have one address on two. */
  readonly #links = new Map<string, Set<number>>();
  /** host → how often each watcher was told of it and has taken it up. */
  readonly #known = new Map<string, number>();
  readonly #synced = new Map<ChildProcess, number>();
  #tokens = 0;
  #sampleCount = 0;
  #problem: string | undefined;
  #closed = false;

  private constructor() {}

  static async start(options: ObserverOptions = {}): Promise<Observer> {
    const observer = new Observer();
    const program = await nativeProgram('lab-observer');
    observer.#watch(program, ['events']);
    const { everyMs = 10, processes = [], mounts = '' } = options;
    observer.#watch(program, ['samples', String(everyMs), processes.join(','), mounts]);
    return observer;
  }

  #watch(program: string, args: string[]): void {
    const watcher = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#watchers.push(watcher);
    watcher.unref();
    for (const stream of [watcher.stdin, watcher.stdout])
      if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
    watcher.stdin.on('error', () => {
      // It ended; the exit handler below says so to whoever asks for results.
    });
    watcher.once('exit', (code, signal) => {
      if (!this.#closed) this.#problem = `the ${args[0]} watcher ended (${signal ?? code})`;
    });
    createInterface(watcher.stdout).on('line', (line) => this.#take(watcher, JSON.parse(line)));
  }

  #take(watcher: ChildProcess, report: Report): void {
    switch (report.kind) {
      case 'on':
      case 'known':
        if ((report.kind === 'known') === (watcher === this.#watchers[0])) {
          this.#known.set(report.host, (this.#known.get(report.host) ?? 0) + 1);
        }
        return;
      case 'off':
        for (const key of this.#links.keys())
          if (watcher === this.#watchers[0] && key.startsWith(`${report.host} `)) this.#links.delete(key);
        (watcher === this.#watchers[0] ? this.#events : this.#samples).endedAll(report.host, report.t, report.before);
        return;
      case 'lost':
        this.#problem = `the kernel dropped address events of ${report.host}`;
        return;
      case 'sync':
        this.#synced.set(watcher, report.token);
        return;
      case 'tick':
        this.#sampleCount = report.samples;
        return;
      case 'address':
        this.#takeAddress(report);
        return;
      case 'sample':
        this.#takeSample(report);
        return;
      default:
        report satisfies never;
    }
  }

  #takeAddress({ host, address, change, link, usable, t, after }: Extract<Report, { kind: 'address' }>): void {
    const key = `${host} ${address}`;
    const links = this.#links.get(key) ?? new Set<number>();
    this.#links.set(key, links);
    if (change === 'add' && usable) links.add(link);
    else links.delete(link);
    if (links.size > 0) this.#events.began(`address ${address}`, host, t, after);
    else this.#events.ended(`address ${address}`, host, t, after);
  }

  #takeSample({ host, addresses, processes, mounts, t, before }: Extract<Report, { kind: 'sample' }>): void {
    const now = new Set([
      ...addresses.map((address) => `address ${address}`),
      ...Object.keys(processes).map((comm) => `process ${comm}`),
      ...mounts.map((mount) => `mount ${mount}`),
    ]);
    for (const subject of now) this.#samples.began(subject, host, t, before);
    for (const subject of this.#samples.subjects())
      if (!now.has(subject)) this.#samples.ended(subject, host, t, before);
  }

  /** Watches a host from now on, through all its boots. */
  async add(host: Host): Promise<void> {
    await host.onBoot(async ({ name, initPid, cgroup }) => {
      if (this.#closed) return;
      const goal = (this.#known.get(name) ?? 0) + this.#watchers.length;
      for (const watcher of this.#watchers) watcher.stdin?.write(`add ${name} ${initPid} ${cgroup}\n`);
      await until(() => (this.#known.get(name) ?? 0) >= goal, {
        deadlineMs: 5000,
        everyMs: 1,
        what: `the observer to see ${name}`,
      });
    });
  }

  /** Living hosts that have the address now, as told by the kernel's events. */
  holders(address: string): string[] {
    return this.#events.holders(`address ${address}`);
  }

  /** Living hosts on which such a process runs now. It must be among the `processes` of the options. */
  runners(comm: string): string[] {
    return this.#samples.holders(`process ${comm}`);
  }

  /** Times at which two living hosts had an address: the given one, or any but the loopback's. Empty is what a test wants. */
  async overlaps({ address, sinceMs = 0 }: { address?: string; sinceMs?: number } = {}): Promise<Overlap[]> {
    return await this.#overlaps('address', address, sinceMs);
  }

  /** Samples in which two living hosts ran a process of that name. */
  async processOverlaps(comm: string, sinceMs = 0): Promise<Overlap[]> {
    return await this.#overlaps('process', comm, sinceMs);
  }

  /** Samples in which two living hosts had that mount point mounted. */
  async mountOverlaps(path: string, sinceMs = 0): Promise<Overlap[]> {
    return await this.#overlaps('mount', path, sinceMs);
  }

  async #overlaps(
    kind: 'address' | 'process' | 'mount',
    which: string | undefined,
    sinceMs: number,
  ): Promise<Overlap[]> {
    await this.settle();
    const nowMs = monotonicMs();
    const own = (subject: string) =>
      which === undefined ? !/ (127\.|::1$|fe80:)/.test(subject) : subject === `${kind} ${which}`;
    return [this.#events, this.#samples].flatMap((timeline) =>
      timeline
        .subjects()
        .filter((subject) => subject.startsWith(`${kind} `) && own(subject))
        .flatMap((subject) => timeline.overlaps(subject, nowMs))
        .filter((overlap) => overlap.certain || overlap.source === 'events')
        .filter((overlap) => overlap.toMs > sinceMs)
        .map((overlap) => ({ ...overlap, subject: overlap.subject.slice(kind.length + 1) })),
    );
  }

  /** Who held an address from when to when, in order; `toMs` is Infinity while it lasts. */
  async holdings(address: string): Promise<{ host: string; fromMs: number; toMs: number }[]> {
    await this.settle();
    return this.#events.holdings(`address ${address}`).map(({ host, from, to }) => ({ host, fromMs: from, toMs: to }));
  }

  /** The same in words, for a test's message when it fails. */
  async history(address: string): Promise<string[]> {
    return (await this.holdings(address)).map(
      ({ host, fromMs, toMs }) => `${host}: ${fromMs.toFixed(1)} to ${Number.isFinite(toMs) ? toMs.toFixed(1) : 'now'}`,
    );
  }

  /** How many rounds of samples were taken, to the second. */
  get sampleCount(): number {
    return this.#sampleCount;
  }

  /** Resolves when everything that happened before the call is known here. Throws if the observation has a hole. */
  async settle(): Promise<void> {
    const token = ++this.#tokens;
    for (const watcher of this.#watchers) watcher.stdin?.write(`sync ${token}\n`);
    const heard = () => this.#problem !== undefined || this.#watchers.every((w) => (this.#synced.get(w) ?? 0) >= token);
    await until(heard, { deadlineMs: 5000, everyMs: 1, what: 'the observer' });
    if (this.#problem !== undefined) throw new Error(`the observation has a hole: ${this.#problem}`);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#watchers.map((watcher) => endChild(watcher, 'the observer to end')));
  }
}
