/**
 * A host: namespaces that together look like a machine of its own. Its processes are reached by their pids out here,
 * its files through /proc/PID/root, and it ends, with everything in it, when its PID 1 is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chmod, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { cgroupProcesses, makeCgroup, removeCgroup } from './cgroup.ts';
import type { Finished } from './command.ts';
import { type Device, type HostFiles, layOut, mountPlan, onUpper } from './host-files.ts';
import { resolveInside } from './inside.ts';
import { type Cable, type Direction, type LinkName, letGo, type Network, networks, readyPid } from './network.ts';
import { signalAll } from './signals.ts';
import { systemdBooted, systemdEnv, systemdInit } from './systemd.ts';
import { Unit, type UnitOptions } from './unit.ts';
import { until, within } from './until.ts';

export interface HostOptions extends HostFiles {
  labHost: string;
  network: Network;
  links: readonly LinkName[];
  /** Last part of the host's addresses: 11 is 192.0.2.11 and 2001:db8:10::11. */
  number: number;
  /** The host's cgroup, as a directory out here. */
  cgroup: string;
}

export type HostState =
  | { is: 'off' }
  | {
      is: 'on' /** Counts up from 1. */;
      boot: number /** Pid of the host's PID 1, as seen out here. */;
      initPid: number;
    };

export interface ProcessOptions {
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Cgroup below the host's own; made when missing. `session` when left out. */
  cgroup?: string;
}

export interface ExecOptions extends ProcessOptions {
  input?: string;
  /** After this the program is killed and a `DeadlineError` thrown; 60 s when left out. */
  deadlineMs?: number;
}

export interface SpawnOptions extends ProcessOptions {
  /** A path out here, appended to with standard output and error; discarded when left out. */
  logFile?: string;
  /** Called with each line of standard output, instead of the log file. */
  onLine?: (line: string) => void;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A program running in a host. */
export interface HostProcess {
  /** As seen out here, so that a test may stop or kill it. */
  readonly pid: number;
  readonly argv: readonly string[];
  readonly exited: Promise<Exit>;
  readonly running: boolean;
  /** Sends a signal to this process only; does nothing when it has ended. */
  kill(signal: NodeJS.Signals): void;
}

type Stdio = [stdin: 'ignore' | 'pipe', stdout: number | 'ignore' | 'pipe', stderr: number | 'ignore'];

const baseEnv = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
};

export class Host {
  readonly name: string;
  readonly number: number;
  readonly links: readonly LinkName[];
  readonly cgroup: string;
  readonly #options: HostOptions;
  readonly #units = new Map<string, Unit>();
  readonly #devices: Device[] = [];
  readonly #entered = new Set<ChildProcess>();
  readonly #bootListeners = new Set<(host: Host) => Promise<void>>();
  readonly #powerCutHooks = new Set<(host: Host) => Promise<void>>();
  #state: HostState = { is: 'off' };
  #outer: ChildProcess | undefined;
  #cables: Cable[] = [];
  #boots = 0;
  #outputs = 0;

  private constructor(options: HostOptions) {
    this.#options = options;
    this.name = options.hostname;
    this.number = options.number;
    this.links = options.links;
    this.cgroup = options.cgroup;
  }

  /** Lays out the disk of a host that is off. */
  static async create(options: HostOptions): Promise<Host> {
    await mkdir(options.dir);
    await layOut(options);
    return new Host(options);
  }

  get state(): HostState {
    return this.#state;
  }

  /** Pid of the host's PID 1 out here. Throws when the host is off. */
  get initPid(): number {
    if (this.#state.is === 'off') throw new Error(`host ${this.name} is off`);
    return this.#state.initPid;
  }

  /** The host's own address on a link. Throws if it has no such link. */
  address(link: LinkName, family: 'ipv4' | 'ipv6' = 'ipv4'): string {
    if (!this.links.includes(link)) throw new Error(`host ${this.name} has no ${link}`);
    return `${networks[link][family]}${this.number}`;
  }

  /** Switches the host on: network plugged in, observers told, then the enabled units started. */
  async boot(): Promise<void> {
    if (this.#state.is === 'on') throw new Error(`host ${this.name} is on already`);
    for (const name of ['init.scope', 'session', 'system.slice']) await makeCgroup(join(this.cgroup, name));
    const { labHost, network, links, number } = this.#options;
    const plan = mountPlan(this.#options, this.#devices);
    const systemd = this.#options.init === 'systemd';
    const outer = spawn(labHost, ['boot', this.cgroup, this.name, ...(systemd ? systemdInit : [])], {
      stdio: 'pipe',
      ...(systemd ? { env: systemdEnv } : {}),
    });
    outer.stdin.on('error', () => {
      // It ended before it read its plan; readyPid reports what it said.
    });
    outer.stdin.end(plan);
    this.#outer = outer;
    outer.once('exit', () => {
      if (this.#outer === outer) this.#state = { is: 'off' };
    });
    const initPid = await readyPid(outer, `host ${this.name}`);
    letGo(outer);
    if (!systemd) await writeFile(join(this.cgroup, 'init.scope/cgroup.procs'), String(initPid));
    this.#state = { is: 'on', boot: ++this.#boots, initPid };
    this.#cables = await network.connect(initPid, number, links);
    if (systemd) await systemdBooted(this);
    for (const listener of this.#bootListeners) await listener(this);
    for (const unit of this.#units.values()) if (unit.enabled) await unit.start();
  }

  /**
   * Pulls the plug: cables first, so that nothing a dying process sends gets out, then the power-cut hooks, then every
   * process at once. Resolves when all are gone. Files are kept; without a hook, also those nobody had synced.
   */
  async powerCut(): Promise<void> {
    if (this.#state.is === 'off') return;
    // a unit must not be started again on a host that is just dying; the next boot starts those that are enabled
    for (const unit of this.#units.values()) unit.hold();
    await this.#options.network.cut(this.#cables, 'both');
    try {
      for (const hook of this.#powerCutHooks) await hook(this);
    } finally {
      await this.#kill();
    }
  }

  /** Switches off in order: SIGTERM to all units and processes, and after `graceMs` (10 s) the plug. */
  async shutdown(graceMs = 10_000): Promise<void> {
    if (this.#state.is === 'off') return;
    const init = this.initPid;
    for (const unit of this.#units.values()) unit.hold();
    signalAll(
      this.processes().filter((pid) => pid !== init),
      'SIGTERM',
    );
    await until(() => this.processes().every((pid) => pid === init), { deadlineMs: graceMs, what: 'a shutdown' }).catch(
      (error) => {
        process.stderr.write(`lab: ${this.name}: ${error instanceof Error ? error.message : error}; switched off\n`);
      },
    );
    await this.#kill();
  }

  /** Shutdown in order, then boot. */
  async reboot(): Promise<void> {
    await this.shutdown();
    await this.boot();
  }

  async #kill(): Promise<void> {
    const outer = this.#outer;
    if (outer === undefined) return;
    this.#outer = undefined;
    const ends = [outer, ...this.#entered].map(
      (child) => new Promise((resolve) => (hasEnded(child) ? resolve(undefined) : child.once('exit', resolve))),
    );
    if (this.#state.is === 'on') signalAll([this.#state.initPid], 'SIGKILL');
    else outer.kill('SIGTERM');
    await within(Promise.all(ends), { deadlineMs: 10_000, what: `the processes of ${this.name} to die` });
    this.#state = { is: 'off' };
    if (this.#cables.length > 0) await this.#options.network.remove(this.#cables);
    this.#cables = [];
    await removeCgroup(this.cgroup);
  }

  /** Ends the host for good. */
  async close(): Promise<void> {
    for (const unit of this.#units.values()) unit.hold();
    await this.#kill();
    await removeCgroup(this.cgroup);
  }

  /** Cuts one link, or both when none is named. The other one is left alone. */
  async cut(link?: LinkName, direction: Direction = 'both'): Promise<void> {
    await this.#options.network.cut(this.#cablesOf(link), direction);
  }

  /** Makes what leaves the host by this link, or by both, slow and lossy (see `Network.impair`). */
  async impair(link?: LinkName): Promise<void> {
    await this.#options.network.impair(this.#cablesOf(link));
  }

  /** Undoes `cut` and `impair`. */
  async mend(link?: LinkName): Promise<void> {
    await this.#options.network.mend(this.#cablesOf(link));
  }

  #cablesOf(link: LinkName | undefined): Cable[] {
    const cables = this.#cables.filter((cable) => link === undefined || cable.link === link);
    if (cables.length === 0) throw new Error(`host ${this.name} is off or has no ${link ?? 'link'}`);
    return cables;
  }

  /** Runs a program to its end. Its output goes through files, so a daemon it leaves behind does not hold this up. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    const base = join(this.#options.dir, 'output', String(++this.#outputs));
    const files = [`${base}.stdout`, `${base}.stderr`] as const;
    const [stdout, stderr] = [openSync(files[0], 'a'), openSync(files[1], 'a')];
    try {
      const started = await this.#enter(argv, ['pipe', stdout, stderr], options);
      started.child.stdin?.on('error', () => {
        // The program does not read its input; its exit code tells the story.
      });
      started.child.stdin?.end(options.input ?? '');
      const deadlineMs = options.deadlineMs ?? 60_000;
      const what = `"${argv.join(' ')}" on ${this.name}`;
      const exit = await within(started.process.exited, { deadlineMs, what }).finally(() =>
        started.process.kill('SIGKILL'),
      );
      return { ...exit, stdout: await readFile(files[0], 'utf8'), stderr: await readFile(files[1], 'utf8') };
    } finally {
      closeSync(stdout);
      closeSync(stderr);
      await Promise.all(files.map((file) => unlink(file)));
    }
  }

  /** As `exec`, but anything other than exit code 0 throws, with what the program said. Returns its standard output. */
  async mustExec(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    const done = await this.exec(argv, options);
    if (done.code !== 0) {
      const said = (done.stderr || done.stdout).trim();
      throw new Error(`on ${this.name}: ${argv.join(' ')} failed (${done.signal ?? done.code}): ${said}`);
    }
    return done.stdout;
  }

  /** Starts a program and leaves it running; it ends with the host at the latest. */
  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<HostProcess> {
    const log = openSync(options.logFile ?? '/dev/null', 'a');
    try {
      const started = await this.#enter(argv, ['ignore', options.onLine ? 'pipe' : log, log], options);
      const { stdout } = started.child;
      if (stdout && options.onLine) createInterface(stdout).on('line', options.onLine);
      return started.process;
    } finally {
      closeSync(log);
    }
  }

  async #enter(argv: readonly string[], stdio: Stdio, options: ProcessOptions) {
    const cgroup = join(this.cgroup, options.cgroup ?? 'session');
    const initPid = this.initPid;
    if (options.cgroup !== undefined) await makeCgroup(cgroup);
    const args = ['enter', String(initPid), cgroup, options.cwd ?? '/', ...argv];
    const child = spawn(this.#options.labHost, args, {
      env: { ...baseEnv, ...options.env },
      stdio: [...stdio, 'pipe'],
    });
    this.#entered.add(child);
    const exited = new Promise<Exit>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        this.#entered.delete(child);
        resolve({ code, signal });
      });
    });
    const pid = await pidFrom(child, exited, `${argv[0]} on ${this.name}`);
    const process_: HostProcess = {
      pid,
      argv,
      exited,
      get running() {
        return !hasEnded(child);
      },
      kill(signal) {
        if (!hasEnded(child)) signalAll([pid], signal);
      },
    };
    return { child, process: process_ };
  }

  /** Declares a program that runs as a unit of the host's service manager would. Not started yet. */
  unit(name: string, argv: readonly string[], options: UnitOptions = {}): Unit {
    if (this.#units.has(name)) throw new Error(`host ${this.name} has a unit ${name} already`);
    const unit = new Unit(this, name, argv, { logFile: join(this.#options.dir, `${name}.log`), ...options });
    this.#units.set(name, unit);
    return unit;
  }

  get units(): readonly Unit[] {
    return [...this.#units.values()];
  }

  /** Pids out here of everything that runs in the host, its PID 1 included. */
  processes(): number[] {
    return this.#state.is === 'off' ? [] : cgroupProcesses(this.cgroup);
  }

  /**
   * Where a path of this host is on the machine: in the running host, or on its disk while it is off. Symbolic links are
   * followed inside the host, so that /var/run is the host's /run and never the machine's.
   */
  async path(path: string): Promise<string> {
    if (this.#state.is === 'off') return onUpper(this.#options, path);
    return await resolveInside(join('/proc', String(this.#state.initPid), 'root'), path);
  }

  async readFile(path: string): Promise<string> {
    return await readFile(await this.path(path), 'utf8');
  }

  /** Writes a file, making its directory; readable by all unless `mode` says otherwise. */
  async writeFile(path: string, content: string, mode = 0o644): Promise<void> {
    const target = await this.path(path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
    await chmod(target, mode);
  }

  /** Calls back at each boot, before units start; at once if the host is on. The boot waits for it. */
  async onBoot(listener: (host: Host) => Promise<void>): Promise<void> {
    this.#bootListeners.add(listener);
    if (this.#state.is === 'on') await listener(this);
  }

  /**
   * Calls back between the pulled cables and the kill. This is the place for EXT4_IOC_SHUTDOWN (0x8004587d, argument 2:
   * do not flush the log) on a file system of a loop device: the kernel writes out a dying namespace's file systems
   * otherwise, and data that was never synced would survive the "power cut".
   */
  onPowerCut(hook: (host: Host) => Promise<void>): void {
    this.#powerCutHooks.add(hook);
  }

  /** A device node that the host has from its next boot on, for instance its loop device. */
  addDevice(device: Device): void {
    this.#devices.push(device);
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function pidFrom(child: ChildProcess, exited: Promise<Exit>, what: string): Promise<number> {
  const pipe = child.stdio[3];
  if (pipe === null || pipe === undefined || !('setEncoding' in pipe)) throw new Error('no pipe for the pid');
  let text = '';
  const pid = new Promise<number>((resolve) => {
    pipe.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      if (text.endsWith('\n')) resolve(Number(text));
    });
  });
  const early = exited.then(async ({ code, signal }) => {
    if (text.endsWith('\n')) return await pid;
    throw new Error(`${what} did not start (${signal ?? code})`);
  });
  return await within(Promise.race([pid, early]), { deadlineMs: 10_000, what: `${what} to start` });
}
