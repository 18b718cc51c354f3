/**
 * Letting go of a file system, whoever uses it. An unmount that is refused names nobody, so the users are looked for, told to end
 * (SIGTERM), and after a while ended (SIGKILL): those of this file system, and no others.
 *
 * Never a lazy unmount: it takes the name away and leaves the writers, so that the file system looks released and is not.
 */
import { MOUNT_RETRY_MS, MOUNT_UNEXPLAINED_MS } from '../../schemas/limits.ts';
import {
  describeUser,
  deviceClaim,
  deviceHolders,
  type GroupCgroup,
  type Log,
  loopsOn,
  type MountTool,
  type MountUser,
  mountsWithAllUpon,
  mountUsers,
  otherNamespaces,
  type RunResult,
  readMounts,
  runMountTool,
  signalUser,
  swapsOn,
} from '../system/index.ts';
import type { Outcome } from './resource.ts';

export interface Releasing {
  /** `major:minor`. */
  readonly number: string;
  /** The block device's path, links followed. */
  readonly device: string;
  /** How long users have from SIGTERM to SIGKILL; 0: SIGKILL at once. */
  readonly termMs: number;
  readonly group: GroupCgroup;
  readonly log: Log;
  /** Names the resource in the log. */
  readonly id: string;
  /** Ends the tries. */
  readonly signal: AbortSignal;
}

/** Loop devices on a loop device on a loop device …: deeper than this nobody builds. */
const MAX_LAYERS = 4;
const TOOL_MS = 120_000;

/**
 * Unmounts the file system everywhere: what is mounted on it first, bind mounts of it, its mounts in other mount namespaces, and
 * takes down loop devices and swap files that lie on it.
 * @returns ok only when the kernel itself says that nothing has the block device any more.
 */
export async function releaseMount(releasing: Releasing): Promise<Outcome> {
  const attempt = new Attempt(releasing);
  const root = mountsWithAllUpon(readMounts(), releasing.number).find(({ mountPoint }) => mountPoint === '/');
  if (root !== undefined)
    return { ok: false, severity: 'hard', reason: `${releasing.device} has the root of this node; it is left alone` };
  for (;;) {
    if (await attempt.dismantle()) return { ok: true };
    if (releasing.signal.aborted) return fail(attempt.problem());
    if (!(await attempt.moveUsers())) return fail(attempt.problem());
    await pause(MOUNT_RETRY_MS, releasing.signal);
  }
}

class Attempt {
  readonly #releasing: Releasing;
  /** When each user got SIGTERM. */
  readonly #termed = new Map<string, number>();
  readonly #killed = new Set<string>();
  readonly #devices: Set<string>;
  #mountPoints: string[] = [];
  #nested: string[] = [];
  #users: readonly MountUser[] = [];
  #unexplainedSince: number | undefined;
  /** What the last program that failed said. */
  #said = '';

  constructor(releasing: Releasing) {
    this.#releasing = releasing;
    this.#devices = new Set([releasing.number]);
  }

  /** Takes down what can be taken down now. @returns whether the device is free. */
  async dismantle(): Promise<boolean> {
    const { number, signal } = this.#releasing;
    this.#mountPoints = [];
    this.#nested = [];
    this.#said = '';
    await this.#unmountAll(number, 0);
    if (signal.aborted) return this.#isFree();
    if (!readMounts().some((entry) => entry.device === number)) await this.#unmountElsewhere();
    return this.#isFree();
  }

  async #unmountAll(number: string, layer: number): Promise<void> {
    const upon = mountsWithAllUpon(readMounts(), number);
    if (upon.length === 0) return;
    this.#devices.add(number);
    const own = upon.filter((entry) => entry.device === number).map((entry) => entry.mountPoint);
    this.#mountPoints.push(...own);
    this.#nested.push(...upon.filter((entry) => entry.device !== number).map((entry) => entry.mountPoint));
    for (const file of swapsOn(own)) await this.#run('swapoff', ['--', file]);
    for (const loop of layer < MAX_LAYERS ? loopsOn(own) : []) {
      if (!(await this.#liesOn(loop.path, number))) continue;
      await this.#unmountAll(loop.number, layer + 1);
      await this.#run('losetup', ['-d', loop.path]);
    }
    for (const entry of upon.toReversed()) {
      if (this.#releasing.signal.aborted) return;
      if (readMounts().some(({ id }) => id === entry.id)) await this.#run('umount', ['-i', '--', entry.mountPoint]);
    }
  }

  /** A service with a private view of the file system keeps a mount of its own, which an unmount here does not always reach. */
  async #unmountElsewhere(): Promise<void> {
    for (const pid of otherNamespaces())
      for (const entry of mountsWithAllUpon(readMounts(pid), this.#releasing.number).toReversed()) {
        if (this.#releasing.signal.aborted) return;
        if (entry.device === this.#releasing.number) this.#mountPoints.push(entry.mountPoint);
        await this.#run('umount', ['-i', '-N', `/proc/${pid}/ns/mnt`, '--', entry.mountPoint]);
      }
  }

  async #isFree(): Promise<boolean> {
    const { number, device } = this.#releasing;
    const isOn = (pid: number | 'self') => readMounts(pid).some((entry) => entry.device === number);
    if (isOn('self') || otherNamespaces().some(isOn)) return false;
    const claim = await deviceClaim(device);
    if (claim === 'claimed') {
      const holders = deviceHolders(number);
      this.#said ||=
        holders.length === 0
          ? `it is mounted nowhere, but the kernel still has ${device}: it is being written out, or something keeps it`
          : `${holders.join(', ')} has been made of it`;
      return false;
    }
    // A device that cannot be opened (it is gone, or DRBD has it as secondary) has no file system in use.
    return true;
  }

  /** Signals who uses it. @returns whether there is a point in trying again. */
  async moveUsers(): Promise<boolean> {
    const { termMs, log, id } = this.#releasing;
    this.#users = await mountUsers({ devices: this.#devices, mountPoints: this.#mountPoints, nested: this.#nested });
    const now = performance.now();
    for (const user of this.#users) {
      if (user.spared) continue;
      const key = `${user.pid} ${user.startTicks}`;
      const termedAt = this.#termed.get(key);
      const signal = termMs === 0 || (termedAt !== undefined && now - termedAt >= termMs) ? 'SIGKILL' : 'SIGTERM';
      if (signal === 'SIGTERM' ? termedAt !== undefined : this.#killed.has(key)) continue;
      if (!signalUser(user, signal)) continue;
      log.warn(`${id}: ${signal} to ${describeUser(user)}: it keeps the file system from being unmounted`);
      if (signal === 'SIGTERM') this.#termed.set(key, now);
      else this.#killed.add(key);
    }
    if (this.#users.length > 0) {
      this.#unexplainedSince = undefined;
      return this.#users.some((user) => !user.spared);
    }
    this.#unexplainedSince ??= now;
    return now - this.#unexplainedSince < MOUNT_UNEXPLAINED_MS;
  }

  problem(): string {
    const where = this.#mountPoints.length === 0 ? this.#releasing.device : this.#mountPoints.join(', ');
    if (this.#users.length > 0) {
      const names = this.#users.map(
        (user) => `${describeUser(user)}${user.spared ? ', which is never signalled' : ''}`,
      );
      return `${where} is still used by ${names.join('; ')}`;
    }
    const why = this.#said || 'it is still there after the unmount';
    return `${where} cannot be unmounted: ${why}; no process was found that uses it (an NFS export or an overlay mount shows in no process)`;
  }

  /** Asks the loop device itself on which file system its file is. */
  async #liesOn(loop: string, number: string): Promise<boolean> {
    const listed = await this.#run('losetup', ['--list', '--noheadings', '-O', 'BACK-MAJ:MIN', loop]);
    return listed.stdout.trim() === number;
  }

  async #run(tool: MountTool, args: readonly string[]): Promise<RunResult> {
    const { group, signal } = this.#releasing;
    const result = await inOperation(group, (cgroup) =>
      runMountTool(tool, args, { cgroup, timeoutMs: TOOL_MS, signal }),
    );
    if (result.code !== 0 && !result.aborted) this.#said = lastLine(result);
    return result;
  }
}

/** Gives the work a cgroup of its own, so that the guard can end it, and removes that afterwards. */
export async function inOperation<T>(group: GroupCgroup, work: (cgroup: string) => Promise<T>): Promise<T> {
  const cgroup = group.operation();
  try {
    return await work(cgroup.path);
  } finally {
    cgroup.remove();
  }
}

/** What a program said last, or how it ended. */
export function lastLine(result: RunResult): string {
  if (result.notStarted !== undefined) return result.notStarted;
  const said = result.output
    .trim()
    .split('\n')
    .filter((line) => !/^\s*dmesg\(1\)/.test(line))
    .at(-1)
    ?.trim();
  return said || `it ended with ${result.signal ?? `exit code ${result.code}`}`;
}

/** There is no event for the end of a process that is not a child: looking again is all there is. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

function fail(reason: string): Outcome {
  return { ok: false, severity: 'soft', reason };
}
