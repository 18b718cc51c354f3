/**
 * For tests: a machine on paper. What the agent would execute, ask of systemd, write outside of its state directory or kill is noted where
 * the product hands it to Node, and not done; all of the product above that is real. Programs answer as if they had done what they
 * were told, so that groups really come up.
 */
import childProcess from 'node:child_process';
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { dumpXml, events84 } from '../resources/drbd-testing.ts';
import { DbusConnection, type DbusOptions } from '../system/dbus.ts';
import type { DbusCall, DbusMessage, DbusValue } from '../system/dbus-message.ts';

export type Noted =
  | {
      readonly kind: 'run';
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly shell: unknown;
    }
  | { readonly kind: 'systemd'; readonly call: DbusCall }
  | { readonly kind: 'write'; readonly path: string }
  | { readonly kind: 'kill'; readonly pid: number };

type Given = (...given: unknown[]) => unknown;

// the real ones, which the names of an import would not stay
const { mkdirSync, rmSync, writeFileSync } = fs;

/** What lies on paper: the rest of the file system is the real one. */
const ON_PAPER =
  /^\/(?:usr\/lib\/ocf|run\/systemd\/system|run\/resource-agents|sys\/fs\/cgroup|usr\/sbin|usr\/bin|sbin|bin|dev|srv|proc\/drbd)(?:\/|$)/;
const PROGRAMS = ['ip', 'mount', 'umount', 'losetup', 'swapoff', 'blkid', 'e2fsck', 'drbdadm', 'drbdsetup'];
/** `provider/type` */
export const AGENTS = ['heartbeat/paper', 'heartbeat/other', 'paper/bare'];
export const DEVICES = ['/dev/paper0', '/dev/paper1'];
/** Of the first device; no machine has it. */
const DEVICE_MAJOR = 4_000;
/** No process of a real machine has such an id. */
const FIRST_PID = 2 ** 23;
const CGROUP_ROOT = '/sys/fs/cgroup/';
export const OWN_CGROUP = '/sys/fs/cgroup/paper';

const METADATA = `<?xml version="1.0"?><resource-agent name="paper"><parameters>
${['configfile', 'port', 'note', 'httpd', 'LD_PRELOAD', 'a'].map((name) => `<parameter name="${name}"><content type="string"/></parameter>`).join('\n')}
</parameters><actions><action name="start" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/></actions></resource-agent>`;

const LINKS = [
  { ifname: 'lo', flags: ['LOOPBACK', 'UP', 'LOWER_UP'], own: [['inet', '127.0.0.1', 8]] },
  {
    ifname: 'eth0',
    flags: ['BROADCAST', 'UP', 'LOWER_UP'],
    own: [
      ['inet', '192.0.2.1', 24],
      ['inet6', '2001:db8:7::1', 64],
    ],
  },
  { ifname: 'eth1', flags: ['BROADCAST', 'UP', 'LOWER_UP'], own: [['inet', '10.9.0.1', 16]] },
] as const;
export const INTERFACES: readonly string[] = LINKS.map(({ ifname }) => ifname);

class PaperProcess extends EventEmitter {
  readonly pid: number;
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  #over = false;

  constructor(pid: number) {
    super();
    this.pid = pid;
  }

  end(code: number | null, signal: string | null, text = ''): void {
    if (this.#over) return;
    this.#over = true;
    this.stdout.write(text);
    setImmediate(() => this.emit('exit', code, signal));
  }

  kill(): boolean {
    this.end(null, 'SIGKILL');
    return true;
  }

  ref(): void {}

  unref(): void {}
}

export class PaperMachine {
  readonly root: string;
  readonly #note: (noted: Noted) => void;
  readonly #processes = new Map<number, PaperProcess>();
  readonly #addresses = new Map<string, { readonly link: string; readonly family: string; readonly length: number }>();
  readonly #ocf = new Set<string>();
  readonly #units = new Set<string>();
  readonly #mounts = new Map<string, string>();
  readonly #restore: (() => void)[] = [];
  #primary = false;
  #lastPid = FIRST_PID;
  #lastJob = 0;
  #bus: Server | undefined;

  private constructor(root: string, note: (noted: Noted) => void) {
    this.root = root;
    this.#note = note;
  }

  /** @param root an empty directory. From now on nothing in this process starts a program, until `remove`. */
  static async install(root: string, note: (noted: Noted) => void): Promise<PaperMachine> {
    const machine = new PaperMachine(root, note);
    machine.#furnish();
    await machine.#takeSystemd();
    machine.#takeFiles();
    machine.#take(childProcess, 'spawn', (_real, command, args, options) =>
      machine.#spawn([String(command), ...(args as string[])], options as { env: Record<string, string> }),
    );
    machine.#take(process, 'kill', (_real, pid) => machine.#kill(Number(pid)));
    syncBuiltinESMExports();
    return machine;
  }

  remove(): void {
    for (const undo of this.#restore.toReversed()) undo();
    syncBuiltinESMExports();
    this.#bus?.close();
  }

  #furnish(): void {
    const file = (path: string, text = '', mode = 0o755) => {
      mkdirSync(join(this.root, dirname(path)), { recursive: true, mode: 0o755 });
      writeFileSync(join(this.root, path), text, { mode });
    };
    for (const program of PROGRAMS) for (const place of ['/usr/sbin', '/usr/bin']) file(`${place}/${program}`);
    for (const agent of AGENTS) file(`/usr/lib/ocf/resource.d/${agent}`);
    for (const device of DEVICES) file(device, '\0'.repeat(4_096));
    file('/proc/drbd', 'version: 8.4.11 (api:1/proto:86-101)\n', 0o644);
    file('/srv/data/.keep');
    mkdirSync(join(this.root, OWN_CGROUP), { recursive: true });
  }

  #take(module: object, name: string, instead: (real: Given, ...given: unknown[]) => unknown): void {
    const real: Given = Reflect.get(module, name);
    Reflect.set(module, name, (...given: unknown[]) => instead(real.bind(module), ...given));
    this.#restore.push(() => Reflect.set(module, name, real));
  }

  // ---- files ----

  #takeFiles(): void {
    const at = (path: unknown) => (typeof path === 'string' && ON_PAPER.test(path) ? join(this.root, path) : path);
    const write = (path: unknown) => this.#note({ kind: 'write', path: String(path) });
    for (const name of ['existsSync', 'readdirSync', 'watch'])
      this.#take(fs, name, (real, path, ...rest) => real(at(path), ...rest));
    for (const name of ['readdir', 'stat'])
      this.#take(fsPromises, name, (real, path, ...rest) => real(at(path), ...rest));
    this.#take(fs, 'readFileSync', (real, path, ...rest) => this.#proc(path) ?? real(at(path), ...rest));
    for (const name of ['writeFileSync', 'rmSync'])
      this.#take(fs, name, (real, path, ...rest) => {
        write(path);
        return real(at(path), ...rest);
      });
    this.#take(fs, 'renameSync', (real, from, to) => {
      write(to);
      return real(at(from), at(to));
    });
    this.#take(fs, 'mkdirSync', (real, path, ...rest) => {
      write(path);
      const made = real(at(path), ...rest);
      if (String(path).startsWith(CGROUP_ROOT)) this.#cgroup(join(this.root, String(path)));
      return made;
    });
    this.#take(fs, 'rmdirSync', (real, path) => {
      write(path);
      if (String(path).startsWith(CGROUP_ROOT)) rmSync(join(this.root, String(path), 'cgroup.events'), { force: true });
      return real(at(path));
    });
    this.#take(fs, 'realpathSync', (real, path, ...rest) => this.#unpaper(real(at(path), ...rest)));
    this.#take(fs, 'statSync', (real, path, ...rest) => {
      const device = DEVICES.indexOf(String(path));
      const stats = real(at(path), ...rest) as object;
      if (device === -1) return stats;
      return Object.assign(stats, { isBlockDevice: () => true, rdev: (DEVICE_MAJOR << 8) | device });
    });
    this.#take(fsPromises, 'realpath', async (real, path, ...rest) => this.#unpaper(await real(at(path), ...rest)));
    this.#take(fsPromises, 'mkdir', (real, path, ...rest) => {
      write(path);
      return real(at(path), ...rest);
    });
    this.#take(fsPromises, 'open', (real, path, flags, ...rest) => {
      if (typeof flags === 'number' && (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0) write(path);
      return real(at(path), flags, ...rest);
    });
  }

  #cgroup(path: string): void {
    writeFileSync(join(path, 'cgroup.events'), 'populated 0\n');
  }

  #unpaper(path: unknown): unknown {
    return typeof path === 'string' && path.startsWith(`${this.root}/`) ? path.slice(this.root.length) : path;
  }

  #proc(path: unknown): string | undefined {
    if (path === '/proc/self/cgroup') return `0::/${OWN_CGROUP.slice(CGROUP_ROOT.length)}\n`;
    if (path !== '/proc/self/mountinfo') return undefined;
    const lines = [...this.#mounts].map(
      ([directory, device], index) =>
        `${50 + index} 1 ${DEVICE_MAJOR & 0xfff}:${DEVICES.indexOf(device)} / ${directory} rw - ext4 ${device} rw`,
    );
    return ['1 0 0:1 / / rw - rootfs rootfs rw', `2 1 0:2 / ${CGROUP_ROOT.slice(0, -1)} rw - cgroup2 cgroup2 rw`]
      .concat(lines)
      .join('\n');
  }

  // ---- programs ----

  #spawn(argv: readonly string[], options: { env: Record<string, string>; shell?: unknown }): PaperProcess {
    this.#note({ kind: 'run', argv, env: options.env, shell: options.shell });
    const process_ = new PaperProcess(++this.#lastPid);
    this.#processes.set(process_.pid, process_);
    process_.once('exit', () => this.#processes.delete(process_.pid));
    const answer = this.#answer(programOf(argv), options.env);
    if (answer !== undefined) setImmediate(() => process_.end(answer.code, null, answer.text));
    return process_;
  }

  #kill(pid: number): boolean {
    this.#note({ kind: 'kill', pid });
    this.#processes.get(Math.abs(pid))?.kill();
    return true;
  }

  /** @returns undefined for a program that goes on. */
  #answer(
    [path = '', ...args]: readonly string[],
    env: Readonly<Record<string, string>>,
  ): { readonly code: number; readonly text: string } | undefined {
    const done = (text = '', code = 0) => ({ code, text });
    switch (path.split('/').at(-1)) {
      case 'ip':
        return args.includes('monitor') ? undefined : done(this.#ip(args));
      case 'drbdadm':
        if (args[0] === 'primary' || args[0] === 'secondary') this.#primary = args[0] === 'primary';
        return done(args.includes('dump-xml') ? dumpXml({ hosts: [hostname(), 'another'] }) : '');
      case 'drbdsetup':
        if (args[0] === 'secondary') this.#primary = false;
        if (args[0] !== 'events2') return done();
        if (!args.includes('--now')) return undefined;
        return done(`${events84({ role: this.#primary ? 'Primary' : 'Secondary' }).join('\n')}\n`);
      case 'blkid':
        return done('ext4\n');
      case 'mount':
        this.#mounts.set(args.at(-1) ?? '', args.at(-2) ?? '');
        return done();
      case 'umount':
        this.#mounts.delete(args.at(-1) ?? '');
        return done();
      default:
        return this.#act(args[0] ?? '', `${path} ${env.OCF_RESOURCE_INSTANCE}`);
    }
  }

  #act(action: string, resource: string): { readonly code: number; readonly text: string } {
    if (action === 'meta-data') return { code: 0, text: METADATA };
    if (action === 'start') this.#ocf.add(resource);
    if (action === 'stop') this.#ocf.delete(resource);
    return { code: action === 'monitor' && !this.#ocf.has(resource) ? 7 : 0, text: '' };
  }

  #ip(args: readonly string[]): string {
    const [verb, what = '', third = '', link = ''] = args.slice(args.indexOf('address') + 1);
    const [name = '', length = ''] = what.split('/');
    if (verb === 'show') return this.#shown(what === 'to' ? third.split('/')[0] : undefined);
    if (verb === 'delete') this.#addresses.delete(name);
    else this.#addresses.set(name, { link, family: name.includes(':') ? 'inet6' : 'inet', length: Number(length) });
    return '';
  }

  #shown(only: string | undefined): string {
    const links = LINKS.map(({ ifname, flags, own }) => ({
      ifname,
      flags,
      addr_info: [
        ...own.map(([family, local, prefixlen]) => ({ family, local, prefixlen, valid_life_time: 0xffff_ffff })),
        ...[...this.#addresses]
          .filter(([, { link }]) => link === ifname)
          .map(([local, { family, length }]) => ({ family, local, prefixlen: length, valid_life_time: 4 })),
      ].filter(({ local }) => only === undefined || local === only),
    }));
    return JSON.stringify(links.filter(({ addr_info }) => only === undefined || addr_info.length > 0));
  }

  // ---- systemd ----

  async #takeSystemd(): Promise<void> {
    const path = join(this.root, 'bus');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.write('OK 0123\r\n'));
      socket.unref();
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    server.unref();
    this.#bus = server;
    const { open } = DbusConnection;
    const { call } = DbusConnection.prototype;
    let told: DbusOptions['onSignal'] = () => undefined;
    DbusConnection.open = (_path, options) => {
      told = options.onSignal;
      return open.call(DbusConnection, path, { ...options, bus: false });
    };
    DbusConnection.prototype.call = (asked) => {
      this.#note({ kind: 'systemd', call: asked });
      return Promise.resolve(this.#asked(asked, (signal) => setImmediate(() => told(signal))));
    };
    this.#restore.push(() => {
      DbusConnection.open = open;
      DbusConnection.prototype.call = call;
    });
  }

  #asked(call: DbusCall, tell: (signal: DbusMessage) => void): readonly DbusValue[] {
    const unit = String(call.body?.[0] ?? '');
    switch (call.member) {
      case 'GetAll': {
        const name = unitAt(call.path);
        return [String(call.body?.[0]).endsWith('.Unit') ? this.#unit(name) : SERVICE];
      }
      case 'Get':
        return ['running'];
      case 'StartUnit':
      case 'StopUnit': {
        if (call.member === 'StartUnit') this.#units.add(unit);
        else this.#units.delete(unit);
        const job = `/org/freedesktop/systemd1/job/${++this.#lastJob}`;
        tell(signalOf('JobRemoved', '', [this.#lastJob, job, unit, 'done']));
        return [job];
      }
      default:
        return [];
    }
  }

  #unit(name: string): DbusValue {
    const up = this.#units.has(name);
    return [
      ['Id', name],
      ['LoadState', 'loaded'],
      ['ActiveState', up ? 'active' : 'inactive'],
      ['SubState', up ? 'running' : 'dead'],
      ['Job', [0, '/']],
      ['UnitFileState', 'disabled'],
      ['ConditionResult', true],
      ['AssertResult', true],
      ['DropInPaths', [`/run/systemd/system/${name}.d/zz-holdfast.conf`]],
    ];
  }
}

const SERVICE: DbusValue = [
  ['Type', 'simple'],
  ['Restart', 'no'],
  ['Result', 'success'],
  ['Slice', 'system.slice'],
  ['TimeoutStartUSec', 90_000_000n],
  ['TimeoutStopUSec', 90_000_000n],
];

/** What is executed in the end, behind the shell that only enters a cgroup. */
export function programOf(argv: readonly string[]): readonly string[] {
  return argv[0] === '/bin/sh' && argv[1] === '-c' ? argv.slice(6) : argv;
}

/** The unit whose object this is. */
export function unitAt(path: string): string {
  const label = path.split('/').at(-1) ?? '';
  return label.replace(/_([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

function signalOf(member: string, path: string, values: readonly DbusValue[]): DbusMessage {
  const nothing = { serial: 0, replySerial: 0, interface: '', errorName: '', sender: '' };
  return { kind: 'signal', member, path, ...nothing, body: () => values };
}
