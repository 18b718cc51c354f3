/**
 * systemd as the agent needs it: a unit's state, start, stop and kill, and news the moment a unit changes. One connection for all
 * units, made when first needed and made anew when systemd re-executes itself.
 * Source: org.freedesktop.systemd1(5).
 */

import { DbusConnection, DbusError } from './dbus.ts';
import type { DbusCall, DbusMessage, DbusValue } from './dbus-message.ts';
import { textOf } from './errors.ts';
import { type Log, silent } from './log.ts';

export interface SystemdSocket {
  readonly path: string;
  readonly bus: boolean;
}

/** Tried in this order. The first is systemctl's own way as root: it works without a bus daemon, and while that one restarts. */
const SOCKETS: readonly SystemdSocket[] = [
  { path: '/run/systemd/private', bus: false },
  { path: '/run/dbus/system_bus_socket', bus: true },
];

/** An answer takes a millisecond; a daemon-reload of a big machine holds everything up for a second or two. */
const CALL_MS = 10_000;
const RELOAD_MS = 60_000;
const CONNECT_MS = 2_000;
/** systemd is back from re-executing itself within this time; longer, and calls fail. */
const AWAY_MS = 5_000;
const RECONNECT_FIRST_MS = 20;
const RECONNECT_LAST_MS = 1_000;
/** Reloads that are asked for within this time are one. */
const RELOAD_GATHER_MS = 20;

const MANAGER = { path: '/org/freedesktop/systemd1', interface: 'org.freedesktop.systemd1.Manager' } as const;
const UNIT = 'org.freedesktop.systemd1.Unit';
const SERVICE = 'org.freedesktop.systemd1.Service';

/** What changes from moment to moment. */
export interface Activity {
  /** active, reloading, inactive, failed, activating, deactivating, maintenance. */
  readonly active: string;
  readonly sub: string;
  /** A job of it is queued or runs. */
  readonly job: boolean;
}

/** How a unit of any kind comes up: by its own files, and by what pulls it in. */
export interface UnitOrigin extends Activity {
  /** loaded, not-found, masked, bad-setting, error, … */
  readonly load: string;
  /** enabled, disabled, static, masked, generated (from /etc/fstab), …; empty where it has no file. */
  readonly file: string;
  /** Units that start it when they start. */
  readonly wantedBy: readonly string[];
  readonly triggeredBy: readonly string[];
}

/** What systemd says about a service unit, in its own words. */
export interface UnitState extends UnitOrigin {
  readonly id: string;
  readonly loadError: string;
  readonly conditions: boolean;
  readonly dropIns: readonly string[];
  readonly before: readonly string[];
  readonly type: string;
  readonly restart: string;
  /** success, protocol, timeout, exit-code, signal, core-dump, watchdog, start-limit-hit, resources, oom-kill. */
  readonly result: string;
  readonly mainPid: number;
  /** How the last main process ended. */
  readonly exit: {
    readonly how: 'exited' | 'killed' | 'dumped' | 'unknown';
    readonly status: number;
    readonly pid: number;
  };
  readonly remainAfterExit: boolean;
  readonly statusText: string;
  /** Below the mount point of cgroup v2; empty while it has none. */
  readonly controlGroup: string;
  readonly slice: string;
  /** Infinity: none. */
  readonly startTimeoutMs: number;
  readonly stopTimeoutMs: number;
}

/** What is set for a service that others depend on to live: the agent's own. */
export interface Supervision {
  readonly load: string;
  readonly file: string;
  readonly restart: string;
  readonly restartMs: number;
  readonly killMode: string;
  readonly delegate: boolean;
}

/** How a job of systemd ended: done, failed, timeout, dependency, canceled, skipped, assert, …; `lost` when systemd forgot it (re-executed). */
export type JobResult = string;

/** What a unit has come to; or that changes may have been missed. */
export type UnitNews = Activity | 'lost';

interface Listener {
  readonly path: string;
  readonly heard: (news: UnitNews) => void;
}

export interface SystemdOptions {
  readonly sockets?: readonly SystemdSocket[];
  readonly log?: Log;
}

export class Systemd {
  readonly #sockets: readonly SystemdSocket[];
  readonly #log: Log;
  readonly #listeners = new Set<Listener>();
  readonly #jobs = new Map<string, (result: JobResult) => void>();
  readonly #gatherers = new Set<(path: string, result: JobResult) => void>();
  #connection: DbusConnection | undefined;
  #connecting: Promise<DbusConnection> | undefined;
  #reloading: Promise<void> | undefined;
  #bus = false;
  #closed = false;

  constructor(options: SystemdOptions = {}) {
    this.#sockets = options.sockets ?? SOCKETS;
    this.#log = options.log ?? silent;
  }

  /** The connection ends; it would be made anew for the next call. */
  close(): void {
    this.#closed = true;
    this.#connection?.close();
    this.#connection = undefined;
  }

  /**
   * Reads a unit, loading its files if systemd has not. A name without files gives `load: 'not-found'`.
   * @throws {DbusError} when systemd does not answer.
   */
  async unit(name: string): Promise<UnitState> {
    const [unit, service] = await Promise.all([
      this.#properties(objectPath(name), UNIT),
      this.#properties(objectPath(name), SERVICE),
    ]);
    return stateOf(unit, service);
  }

  /** Only what changes from moment to moment. */
  async activity(name: string): Promise<Activity> {
    return activityOf(await this.#properties(objectPath(name), UNIT));
  }

  /** What there is to know of a unit that need not be a service: a mount, an automount. */
  async origin(name: string): Promise<UnitOrigin> {
    return originOf(await this.#properties(objectPath(name), UNIT));
  }

  async supervision(name: string): Promise<Supervision> {
    const [unit, service] = await Promise.all([
      this.#properties(objectPath(name), UNIT),
      this.#properties(objectPath(name), SERVICE),
    ]);
    return {
      load: text(unit, 'LoadState'),
      file: text(unit, 'UnitFileState'),
      restart: text(service, 'Restart'),
      restartMs: milliseconds(service, 'RestartUSec'),
      killMode: text(service, 'KillMode'),
      delegate: service.get('Delegate') === true,
    };
  }

  /** Is the whole machine going down? */
  async isStopping(): Promise<boolean> {
    const call = { path: MANAGER.path, interface: 'org.freedesktop.DBus.Properties', member: 'Get', signature: 'ss' };
    const [state] = await this.#call({ ...call, body: [MANAGER.interface, 'SystemState'] });
    return state === 'stopping';
  }

  /**
   * Starts or stops a unit. @returns the job's own promise once systemd has taken it: it settles when the job is over.
   * @throws {DbusError} when systemd refuses it.
   */
  async enqueue(
    what: 'StartUnit' | 'StopUnit',
    name: string,
    mode: 'replace' | 'ignore-dependencies' = 'replace',
  ): Promise<{ readonly ended: Promise<JobResult> }> {
    const gathered = new Map<string, JobResult>();
    const { promise, resolve } = Promise.withResolvers<JobResult>();
    // The job may be over before its name is known here.
    const gather = (path: string, result: JobResult) => gathered.set(path, result);
    this.#gatherers.add(gather);
    try {
      const [path] = await this.#call({ ...MANAGER, member: what, signature: 'ss', body: [name, mode] });
      const early = gathered.get(String(path));
      if (early !== undefined) resolve(early);
      else this.#jobs.set(String(path), resolve);
      return { ended: promise };
    } finally {
      this.#gatherers.delete(gather);
    }
  }

  /** Sends a signal to every process of the unit. @throws {DbusError} also when there is none. */
  async kill(name: string, signal: number): Promise<void> {
    await this.#call({ ...MANAGER, member: 'KillUnit', signature: 'ssi', body: [name, 'all', signal] });
  }

  /** Whatever was ordered of the unit and is not done is not waited for any more, by nobody; its processes are left as they are. */
  async cancelJob(name: string): Promise<void> {
    const job = (await this.#properties(objectPath(name), UNIT)).get('Job');
    const [id] = Array.isArray(job) ? job : [];
    if (typeof id !== 'number' || id === 0) return;
    await this.#call({ ...MANAGER, member: 'CancelJob', signature: 'u', body: [id] }).catch((error: unknown) => {
      // it was over just then
      if (!(error instanceof DbusError) || error.code !== 'org.freedesktop.systemd1.NoSuchJob') throw error;
    });
  }

  /** Forgets a failure and the count of starts that limits them. */
  async resetFailed(name: string): Promise<void> {
    const asked = this.#call({ ...MANAGER, member: 'ResetFailedUnit', signature: 's', body: [name] });
    await asked.catch((error: unknown) => {
      // Nothing is kept of a unit that is down and did not fail.
      if (!(error instanceof DbusError) || error.code !== 'org.freedesktop.systemd1.NoSuchUnit') throw error;
    });
  }

  /** Reads all unit files anew (`systemctl daemon-reload`). Several that are asked for together are one. */
  reload(): Promise<void> {
    this.#reloading ??= new Promise<void>((resolve) => setTimeout(resolve, RELOAD_GATHER_MS)).then(async () => {
      this.#reloading = undefined;
      await this.#call({ ...MANAGER, member: 'Reload' }, RELOAD_MS);
    });
    return this.#reloading;
  }

  /** Calls back at every change of the unit. @returns a function that ends it. */
  watch(name: string, heard: (news: UnitNews) => void): () => void {
    const listener: Listener = { path: objectPath(name), heard };
    this.#listeners.add(listener);
    this.#connected().then(
      (connection) => this.#match(connection, listener.path),
      () => this.#listeners.has(listener) && this.#reconnectSoon(RECONNECT_FIRST_MS),
    );
    return () => this.#listeners.delete(listener);
  }

  /** On a bus the match stays until the connection ends: a few dozen bytes for each unit that was ever watched. */
  #match(connection: DbusConnection, path: string): void {
    connection
      .match(`type='signal',sender='org.freedesktop.systemd1',path='${path}'`, CALL_MS)
      .catch((error: unknown) => {
        this.#log.warn(`systemd: no news of ${path}: ${textOf(error)}`);
      });
  }

  /** Asked again where systemd went away in between: everything that is asked here may be asked twice. */
  async #call(call: DbusCall, timeoutMs = CALL_MS): Promise<readonly DbusValue[]> {
    const ask = async () => (await this.#connected()).call({ ...call, ...this.#address() }, timeoutMs);
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof DbusError) || error.code !== 'lost' || this.#closed) throw error;
    }
    return ask();
  }

  /**
   * All properties of an interface in one answer: those of one moment. (Asking for the few that matter one by one is dearer: systemd
   * forgets a unit that is down at once and reads its files again for every question.)
   */
  async #properties(path: string, interfaceName: string): Promise<Properties> {
    const call = { path, interface: 'org.freedesktop.DBus.Properties', member: 'GetAll', signature: 's' };
    const [all] = await this.#call({ ...call, body: [interfaceName] });
    return new Map(Array.isArray(all) ? all.filter(isPair) : []);
  }

  #address(): { destination?: string } {
    return this.#bus ? { destination: 'org.freedesktop.systemd1' } : {};
  }

  /** Waits out a systemd that re-executes itself. @throws {DbusError} */
  #connected(): Promise<DbusConnection> {
    if (this.#connection?.connected === true) return Promise.resolve(this.#connection);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<DbusConnection> {
    const giveUpAt = performance.now() + AWAY_MS;
    for (let pauseMs = RECONNECT_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RECONNECT_LAST_MS)) {
      try {
        return await this.#open();
      } catch (error) {
        if (!(error instanceof DbusError)) throw error;
        if (performance.now() + pauseMs > giveUpAt)
          throw new DbusError('lost', `systemd does not answer: ${error.message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #open(): Promise<DbusConnection> {
    let first: unknown;
    for (const { path, bus } of this.#sockets) {
      try {
        let own: DbusConnection | undefined;
        own = await DbusConnection.open(path, {
          bus,
          timeoutMs: CONNECT_MS,
          onSignal: (signal) => this.#onSignal(signal),
          onLost: (reason) => this.#onLost(own, reason),
        });
        this.#bus = bus;
        this.#connection = own;
        this.#closed = false;
        if (bus) {
          await own.match(`type='signal',sender='org.freedesktop.systemd1',member='JobRemoved'`, CALL_MS);
          await own.call({ ...MANAGER, ...this.#address(), member: 'Subscribe' }, CALL_MS);
        }
        for (const unit of new Set([...this.#listeners].map((listener) => listener.path))) this.#match(own, unit);
        return own;
      } catch (error) {
        first ??= error;
      }
    }
    throw first ?? new DbusError('lost', 'there is no socket of systemd');
  }

  #onSignal(signal: DbusMessage): void {
    if (signal.member === 'JobRemoved') {
      const [, path, , result] = signal.body();
      const job = String(path);
      for (const gather of this.#gatherers) gather(job, String(result));
      this.#jobs.get(job)?.(String(result));
      this.#jobs.delete(job);
      return;
    }
    const listeners = [...this.#listeners].filter((listener) => listener.path === signal.path);
    if (signal.member !== 'PropertiesChanged' || listeners.length === 0) return;
    const [interfaceName, changed] = signal.body();
    if (interfaceName !== UNIT || !Array.isArray(changed)) return;
    // systemd tells all of a unit's properties that may change, whether they did or not.
    const activity = activityOf(new Map(changed.filter(isPair)));
    for (const listener of listeners) listener.heard(activity);
  }

  /** Jobs that were waited for may be over by now, units may have changed: whoever waits looks for himself. */
  #onLost(connection: DbusConnection | undefined, reason: DbusError): void {
    if (this.#connection !== connection || this.#closed) return;
    this.#connection = undefined;
    this.#log.warn(`systemd: ${reason.message}`);
    for (const resolve of this.#jobs.values()) resolve('lost');
    this.#jobs.clear();
    if (this.#listeners.size > 0) this.#reconnectSoon(RECONNECT_FIRST_MS);
  }

  /** Nobody is listened to without a connection, so it is made again for as long as somebody listens. */
  #reconnectSoon(afterMs: number): void {
    const timer = setTimeout(() => {
      if (this.#listeners.size === 0 || this.#closed) return;
      this.#connected().then(
        () => {
          for (const listener of [...this.#listeners]) listener.heard('lost');
        },
        () => this.#reconnectSoon(RECONNECT_LAST_MS),
      );
    }, afterMs);
    timer.unref();
  }
}

/** The object of a unit: everything but letters and digits is written as `_` and its code. */
export function objectPath(unit: string): string {
  const label = [...Buffer.from(unit)].map((byte, index) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z]/.test(character) || (index > 0 && /[0-9]/.test(character))
      ? character
      : `_${byte.toString(16).padStart(2, '0')}`;
  });
  return `/org/freedesktop/systemd1/unit/${label.join('')}`;
}

/**
 * Where systemd runs a unit: below the unit's slice, whose name spells its parents out (`a-b.slice` is in `a.slice`), with a `_` before
 * names that the kernel or systemd could mistake for files of their own.
 */
export function controlGroupOf(slice: string, unit: string): string {
  const parts = slice === '-.slice' ? [] : slice.replace(/\.slice$/, '').split('-');
  const slices = parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`);
  const reserved = /^(?:[_.]|(?:cgroup|cpu|cpuacct|cpuset|io|blkio|memory|devices|pids|bpf-[a-z-]+)\.)/;
  return `/${[...slices, unit].map((name) => (reserved.test(name) ? `_${name}` : name)).join('/')}`;
}

type Properties = ReadonlyMap<string, DbusValue>;

function text(properties: Properties, name: string): string {
  const value = properties.get(name);
  return typeof value === 'string' ? value : '';
}

function number(properties: Properties, name: string): number {
  const value = properties.get(name);
  return typeof value === 'number' ? value : 0;
}

function list(properties: Properties, name: string): readonly string[] {
  const value = properties.get(name);
  return Array.isArray(value) ? value.map(String) : [];
}

function milliseconds(properties: Properties, name: string): number {
  const value = properties.get(name);
  if (typeof value !== 'bigint' || value >= 0xffff_ffff_ffff_ffffn) return Number.POSITIVE_INFINITY;
  return Number(value / 1_000n);
}

function isPair(value: DbusValue): value is [string, DbusValue] {
  return Array.isArray(value) && typeof value[0] === 'string';
}

function activityOf(unit: Properties): Activity {
  const job = unit.get('Job');
  return { active: text(unit, 'ActiveState'), sub: text(unit, 'SubState'), job: Array.isArray(job) && job[0] !== 0 };
}

function originOf(unit: Properties): UnitOrigin {
  return {
    ...activityOf(unit),
    load: text(unit, 'LoadState'),
    file: text(unit, 'UnitFileState'),
    wantedBy: [...list(unit, 'WantedBy'), ...list(unit, 'RequiredBy'), ...list(unit, 'UpheldBy')],
    triggeredBy: list(unit, 'TriggeredBy'),
  };
}

/** CLD_* of waitid(2). */
const HOW = { 1: 'exited', 2: 'killed', 3: 'dumped' } as const;

function stateOf(unit: Properties, service: Properties): UnitState {
  const loadError = unit.get('LoadError');
  const how = number(service, 'ExecMainCode');
  return {
    ...originOf(unit),
    id: text(unit, 'Id'),
    loadError: Array.isArray(loadError) ? String(loadError[1] ?? '') : '',
    conditions: unit.get('ConditionResult') === true && unit.get('AssertResult') === true,
    dropIns: list(unit, 'DropInPaths'),
    before: list(unit, 'Before'),
    type: text(service, 'Type'),
    restart: text(service, 'Restart'),
    result: text(service, 'Result'),
    mainPid: number(service, 'MainPID'),
    exit: {
      how: how === 1 || how === 2 || how === 3 ? HOW[how] : 'unknown',
      status: number(service, 'ExecMainStatus'),
      pid: number(service, 'ExecMainPID'),
    },
    remainAfterExit: service.get('RemainAfterExit') === true,
    statusText: text(service, 'StatusText'),
    controlGroup: text(service, 'ControlGroup'),
    slice: text(service, 'Slice'),
    startTimeoutMs: milliseconds(service, 'TimeoutStartUSec'),
    stopTimeoutMs: milliseconds(service, 'TimeoutStopUSec'),
  };
}
