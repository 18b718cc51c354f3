/**
 * Which processes use a file system: working directory, root, program, open and mapped files, bound sockets. Found by the number of
 * the device behind each, not by names, so that a process that merely names a path, or uses another file system of the same
 * node, is never taken for one (resource-agents issues 1304 and 1944 are what happens otherwise).
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { errnoOf } from './errors.ts';
import { deviceNumber, isGone, liesOn, type MountEntry, processes, readMounts } from './mounts.ts';

export interface MountUser {
  readonly pid: number;
  /** When it was started, in the kernel's ticks: tells it from a later process with the same id. */
  readonly startTicks: string;
  readonly name: string;
  /** What of the file system it uses, for messages: `its working directory /srv/mysql`. */
  readonly what: string;
  /** It must not be signalled: the node's first process, this agent, its guard. */
  readonly spared: boolean;
}

export interface UsedMounts {
  /** File systems whose every user counts. */
  readonly devices: ReadonlySet<string>;
  /** Where those are mounted: sockets are found by their names. */
  readonly mountPoints: readonly string[];
  /**
   * Places where another file system is mounted on one of these. Only what is reached through such a place counts: the file system
   * itself may be in use all over the node (a bind mount of `/`).
   */
  readonly nested: readonly string[];
}

const KERNEL_THREAD = 0x0020_0000; // PF_KTHREAD
/** Looking at a file of one of these may wait for a server that is gone. None is on a block device, so none can be ours. */
const MAY_HANG = /^(?:nfs4?|cifs|smb3|ceph|9p|afs|glusterfs|lustre|gpfs|fuse(?:\..*)?)$/;
const MAPS_MS = 200;
/** Reading the maps of a process can wait for a lock that it holds while it hangs itself. One such is enough. */
let hungReads = 0;

/** All users that can be seen, first those that are found quickly. Yields to other work between processes. */
export async function mountUsers(used: UsedMounts): Promise<MountUser[]> {
  const found: MountUser[] = [];
  const look = new Look(used);
  for (const deep of [false, true]) {
    for (const pid of processes()) {
      const user = await look.at(pid, deep);
      if (user !== undefined) found.push(user);
      await new Promise(setImmediate);
    }
    // Threads with a working directory or files of their own are rare and looking for them is dear.
    if (found.length > 0) break;
  }
  return found;
}

/** Sends a signal unless the process has ended since it was found. @returns whether it was there. */
export function signalUser(user: MountUser, signal: 'SIGTERM' | 'SIGKILL'): boolean {
  if (user.spared || statOf(user.pid)?.startTicks !== user.startTicks) return false;
  try {
    process.kill(user.pid, signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

export function describeUser({ name, pid, what }: MountUser): string {
  return `${name} (${pid}, ${what})`;
}

class Look {
  readonly #used: UsedMounts;
  /** By mount namespace: where file systems are mounted whose files may hang whoever looks at them. */
  readonly #hanging = new Map<string, readonly string[]>();
  /** By network namespace: sockets bound to a name on the mounts. */
  readonly #sockets = new Map<string, ReadonlySet<string>>();

  constructor(used: UsedMounts) {
    this.#used = used;
  }

  async at(pid: number, deep: boolean): Promise<MountUser | undefined> {
    try {
      const stat = statOf(pid);
      if (stat === undefined || (stat.flags & KERNEL_THREAD) !== 0 || /[ZX]/.test(stat.state)) return undefined;
      const what =
        this.#links(`/proc/${pid}`, pid) ?? (await this.#maps(pid)) ?? (deep ? this.#threads(pid) : undefined);
      if (what === undefined) return undefined;
      return { pid, name: stat.name, startTicks: stat.startTicks, what, spared: isSpared(pid, stat.name) };
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  #links(directory: string, pid: number): string | undefined {
    const named = { cwd: 'its working directory', root: 'its root', exe: 'its program' } as const;
    for (const [name, what] of Object.entries(named)) {
      const target = this.#uses(`${directory}/${name}`, pid);
      if (target !== undefined) return `${what} ${target}`;
    }
    for (const fd of list(`${directory}/fd`)) {
      const target = this.#uses(`${directory}/fd/${fd}`, pid);
      if (target !== undefined) return `its open file ${target}`;
    }
    return undefined;
  }

  #threads(pid: number): string | undefined {
    for (const thread of list(`/proc/${pid}/task`)) {
      const what = thread === String(pid) ? undefined : this.#links(`/proc/${pid}/task/${thread}`, pid);
      if (what !== undefined) return `${what} in a thread`;
    }
    return undefined;
  }

  /** @returns what the link leads to, if that is on the mounts. */
  #uses(link: string, pid: number): string | undefined {
    let target = '';
    try {
      target = readlinkSync(link);
      if (target.startsWith('socket:'))
        return this.#boundSockets(pid).has(target.slice(8, -1)) ? 'a socket' : undefined;
      if (!target.startsWith('/')) return undefined;
      if (liesOn(target, this.#used.nested)) return target;
      if (liesOn(target, this.#hangingAt(pid))) return undefined;
      return this.#used.devices.has(deviceNumber(statSync(link).dev)) ? target : undefined;
    } catch (error) {
      if (isGone(error)) return undefined;
      // A file system that has shut down after errors answers nothing: then the name has to do.
      if (errnoOf(error) === 'EIO') return liesOn(target, this.#used.mountPoints) ? target : undefined;
      if (['ESTALE', 'ENOTCONN', 'ETIMEDOUT', 'EHOSTDOWN'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
  }

  /** Mapped files, also those that are not open any more. The fourth column is the device of the file, in hexadecimal. */
  async #maps(pid: number): Promise<string | undefined> {
    if (hungReads > 0) return undefined;
    const text = await bounded(readFile(`/proc/${pid}/maps`, 'utf8'));
    for (const line of text?.split('\n') ?? []) {
      const [, , , device = '0:0', , ...path] = line.split(/ +/);
      const [major = '0', minor = '0'] = device.split(':');
      const number = `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}`;
      if (this.#used.devices.has(number)) return `its mapped file ${path.join(' ')}`;
    }
    return undefined;
  }

  #hangingAt(pid: number): readonly string[] {
    const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
    const known = this.#hanging.get(namespace);
    if (known !== undefined) return known;
    const hangs = (entry: MountEntry) => MAY_HANG.test(entry.fstype);
    const places = readMounts(pid).filter(hangs);
    const directories = places.map(({ mountPoint }) => mountPoint);
    this.#hanging.set(namespace, directories);
    return directories;
  }

  /** proc(5), /proc/net/unix: the seventh column is the inode, the rest the name. A relative name cannot be placed. */
  #boundSockets(pid: number): ReadonlySet<string> {
    const namespace = readlinkSync(`/proc/${pid}/ns/net`);
    const known = this.#sockets.get(namespace);
    if (known !== undefined) return known;
    const places = [...this.#used.mountPoints, ...this.#used.nested];
    const bound = new Set<string>();
    for (const line of readFileSync(`/proc/${pid}/net/unix`, 'utf8').split('\n')) {
      const [, inode, name] = /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+) (\/.*)$/.exec(line) ?? [];
      if (inode !== undefined && name !== undefined && liesOn(name, places)) bound.add(inode);
    }
    this.#sockets.set(namespace, bound);
    return bound;
  }
}

/** The kernel calls the guard by its file's name; only root's process of that name is it. */
function isSpared(pid: number, name: string): boolean {
  return pid === 1 || pid === process.pid || (name === 'holdfast-guard' && statSync(`/proc/${pid}`).uid === 0);
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** proc(5), /proc/PID/stat: the name stands in brackets and may hold any letter, brackets included. */
function statOf(pid: number) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state = '', , , , , , flags = '0'] = rest;
    const name = text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'));
    return { name, state, flags: Number(flags), startTicks: rest[19] ?? '' };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

async function bounded(reading: Promise<string>): Promise<string | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => {
    hungReads += 1;
    const ended = () => {
      hungReads -= 1;
    };
    reading.then(ended, ended);
    resolve(undefined);
  }, MAPS_MS);
  const whole = reading.catch((error: unknown) => {
    if (isGone(error)) return undefined;
    throw error;
  });
  const text = await Promise.race([whole, late]);
  clearTimeout(timer);
  return text;
}
