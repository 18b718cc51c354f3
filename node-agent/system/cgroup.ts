/**
 * Control groups: how everything that belongs to a group is found and killed, also what forked away, also by the guard
 * after the agent is gone.
 *
 *     <own cgroup>/holdfast-groups/<group>/<resource>     daemons that a resource's start left running
 *     <own cgroup>/holdfast-groups/<group>/.ops/<n>       one running operation (stop, monitor, probe, ip) each
 *
 * Source: Documentation/admin-guide/cgroup-v2.rst (cgroup.events, cgroup.kill). Under systemd the unit needs Delegate=yes.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from './errors.ts';

const GROUPS = 'holdfast-groups';
/** How long processes that got SIGKILL are waited for; one in uninterruptible sleep may take for ever. */
const KILL_WAIT_MS = 1_000;

/** @returns where cgroup v2 is mounted (`/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid system), with the part of the tree that is mounted there. */
export function findCgroup2Mount(mountinfo: string): { mountPoint: string; root: string } | undefined {
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ', 2);
    if (before === undefined || after?.split(' ', 1)[0] !== 'cgroup2') continue;
    const fields = before.split(' ');
    const root = fields[3];
    const mountPoint = fields[4];
    if (root !== undefined && mountPoint !== undefined)
      return { root: unescape8(root), mountPoint: unescape8(mountPoint) };
  }
  return undefined;
}

function unescape8(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/**
 * The directory of the cgroup that a process is in, made from its /proc/PID/mountinfo and /proc/PID/cgroup. An agent that was
 * itself started below `holdfast-groups` gets the cgroup above it: trees are not nested.
 */
export function ownCgroup(mountinfo: string, cgroup: string): string | undefined {
  const mount = findCgroup2Mount(mountinfo);
  const line = cgroup.split('\n').find((text) => text.startsWith('0::'));
  if (mount === undefined || line === undefined) return undefined;
  let path = line.slice(3);
  if (mount.root !== '/' && (path === mount.root || path.startsWith(`${mount.root}/`)))
    path = path.slice(mount.root.length);
  const segments = path.split('/').filter((segment) => segment !== '');
  const nested = segments.indexOf(GROUPS);
  return join(mount.mountPoint, ...(nested === -1 ? segments : segments.slice(0, nested)));
}

/** The cgroup that systemd names by its path below the root, e.g. `/system.slice/nginx.service`. @returns undefined without cgroup v2. */
export function cgroupAt(controlGroup: string): Cgroup | undefined {
  const path = ownCgroup(readFileSync('/proc/self/mountinfo', 'utf8'), `0::${controlGroup}`);
  return path === undefined ? undefined : new Cgroup(path);
}

/** A name as one directory that can be neither an interface file of the kernel (`cgroup.procs`, `cpu.stat`) nor `.ops` nor a way out. */
export function cgroupName(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9._:@-]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
  return safe.replace(/^(|cgroup|cpu|cpuset|dmem|hugetlb|io|irq|memory|misc|perf_event|pids|rdma)\./, '$1%2e');
}

/** All groups of this agent. */
export class Cgroups {
  readonly root: string;

  /** @param root directory in a cgroup v2 tree below which the groups are made; created when it is first needed. */
  constructor(root: string) {
    this.root = root;
  }

  /** Is there a hierarchy of cgroup v2? Makes nothing. */
  static mounted(): boolean {
    return findCgroup2Mount(readFileSync('/proc/self/mountinfo', 'utf8')) !== undefined;
  }

  /** The tree below the agent's own cgroup; or why there can be none. */
  static locate(): Cgroups | { readonly problem: string } {
    const own = ownCgroup(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'));
    if (own === undefined) return { problem: 'no cgroup v2 hierarchy is mounted (mount -t cgroup2)' };
    const root = join(own, GROUPS);
    try {
      mkdirSync(root, { recursive: true });
    } catch (error) {
      return {
        problem: `cannot create ${root} (${errnoOf(error)}); the unit needs Delegate=yes, a container a writable cgroup`,
      };
    }
    return new Cgroups(root);
  }

  /** Everything that this agent's groups run. */
  all(): GroupCgroup {
    return new GroupCgroup(this.root);
  }

  group(name: string): GroupCgroup {
    return new GroupCgroup(join(this.root, cgroupName(name)));
  }
}

/** Of the whole process: no two operations ever share a cgroup, or the end of one would be the end of the other. */
let operations = 0;

/** Cgroups of operations that are under way: still empty when just made, and not to be tidied away then. */
const underWay = new Set<string>();

/** Everything that one group runs: killing this cgroup kills its daemons and its operations. */
export class GroupCgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Makes the cgroup of the whole group, so that it can be killed as one. */
  create(): void {
    mkdirSync(this.path, { recursive: true });
  }

  /** Where the daemons of a resource live, from its start to its end. */
  resource(id: string): Cgroup {
    return new Cgroup(join(this.path, cgroupName(id)));
  }

  /** A cgroup for one operation, made at once. Empty ones of operations that left something behind for a while are removed in passing. */
  operation(): Cgroup {
    const directory = join(this.path, '.ops');
    for (const name of subgroups(directory)) {
      const path = join(directory, name);
      if (!underWay.has(path)) removeIfEmpty(path);
    }
    operations += 1;
    const operation = new Cgroup(join(directory, `${process.pid}-${operations}`));
    underWay.add(operation.path);
    operation.create();
    return operation;
  }

  /** Ends what another agent's operations have left running; daemons stay. */
  async killOperations(): Promise<boolean> {
    return await killCgroup(join(this.path, '.ops'));
  }

  populated(): boolean {
    return cgroupPopulated(this.path);
  }

  /** @returns whether everything is gone. */
  kill(): Promise<boolean> {
    return killCgroup(this.path);
  }

  /** Removes the directories that hold no process. @returns whether none is left. */
  remove(): boolean {
    return removeIfEmpty(this.path);
  }
}

export class Cgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** @throws when the kernel refuses; a cgroup that exists already is fine. */
  create(): void {
    mkdirSync(this.path, { recursive: true });
  }

  /** Is there a process in it or below? A cgroup that does not exist has none. */
  populated(): boolean {
    return cgroupPopulated(this.path);
  }

  /** SIGKILLs everything in it. @returns whether it was seen empty within a second. */
  kill(): Promise<boolean> {
    return killCgroup(this.path);
  }

  /** SIGKILLs everything in it and does not wait: for one that somebody else (systemd) may put new processes into meanwhile. */
  killNow(): void {
    if (!cgroupPopulated(this.path)) return;
    if (!writeKill(this.path)) signalAll(this.path);
  }

  /** @returns whether it became empty within the time. */
  waitEmpty(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    return waitEmpty(this.path, timeoutMs, signal);
  }

  /** Calls back when the last process of the cgroup is gone; now and then once too often. @returns a function that ends the watch. */
  watchEmpty(emptied: () => void): () => void {
    return watchEmpty(this.path, emptied);
  }

  /** Names of the processes in it, for messages. */
  processNames(): string[] {
    return processesBelow(this.path).map((pid) => {
      try {
        return `${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()} (${pid})`;
      } catch {
        return String(pid); // It ended in the meantime.
      }
    });
  }

  /** @returns whether it is gone; a cgroup with processes stays. */
  remove(): boolean {
    underWay.delete(this.path);
    return removeIfEmpty(this.path);
  }
}

function cgroupPopulated(path: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ENODEV';
}

function subgroups(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function processesBelow(path: string): number[] {
  const found: number[] = [];
  try {
    for (const line of readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n'))
      if (Number(line) > 0) found.push(Number(line));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  for (const name of subgroups(path)) found.push(...processesBelow(join(path, name)));
  return found;
}

async function killCgroup(path: string): Promise<boolean> {
  if (!cgroupPopulated(path)) return true;
  return writeKill(path) ? waitEmpty(path, KILL_WAIT_MS) : killOneByOne(path);
}

/** @returns false where the kernel does not know it (before 5.14). */
function writeKill(path: string): boolean {
  if (!existsSync(join(path, 'cgroup.kill'))) return false;
  try {
    writeFileSync(join(path, 'cgroup.kill'), '1');
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return true;
}

function signalAll(path: string): void {
  for (const pid of processesBelow(path)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }
}

/** For kernels before 5.14. Repeated, because a process may fork between the reading and the signal. */
export async function killOneByOne(path: string): Promise<boolean> {
  for (let waited = 0; waited < KILL_WAIT_MS; waited += 20) {
    signalAll(path);
    if (await waitEmpty(path, 20)) return true;
  }
  return !cgroupPopulated(path);
}

/** The kernel merges events less than 10 ms apart, so that a short life shows as one event that finds the cgroup empty: each such is told. */
function watchEmpty(path: string, emptied: () => void): () => void {
  const populatedBefore = cgroupPopulated(path);
  const look = () => {
    if (!cgroupPopulated(path)) emptied();
  };
  const watcher = watch(join(path, 'cgroup.events'), { persistent: false }, look);
  watcher.on('error', look);
  if (populatedBefore) look(); // Between the first look and the watch something may have happened.
  return () => watcher.close();
}

function waitEmpty(path: string, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  if (!cgroupPopulated(path)) return Promise.resolve(true);
  return new Promise((resolve) => {
    let end: () => void = () => undefined;
    let settled = false;
    const settle = () => {
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', settle);
      end();
      resolve(!cgroupPopulated(path));
    };
    const timer = setTimeout(settle, timeoutMs);
    signal?.addEventListener('abort', settle);
    try {
      end = watchEmpty(path, settle);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    if (settled) end();
    else if (signal?.aborted === true || !cgroupPopulated(path)) settle();
  });
}

function removeIfEmpty(path: string): boolean {
  for (const name of subgroups(path)) removeIfEmpty(join(path, name));
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    if (isGone(error)) return true;
    if (errnoOf(error) === 'EBUSY' || errnoOf(error) === 'ENOTEMPTY') return false;
    throw error;
  }
}
