import { mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MOUNT_TERM_MS, OPERATION_TIMES } from '../../schemas/limits.ts';
import {
  deviceClaim,
  deviceHolders,
  errnoOf,
  findDevice,
  type GroupCgroup,
  type MountEntry,
  type MountTool,
  mountToolPath,
  otherNamespaces,
  readDevice,
  readMounts,
  runMountTool,
  textOf,
  topAt,
} from '../system/index.ts';
import { type MountDeclaration, resourceId } from './declaration.ts';
import { extState, needsCheck, SUPERBLOCK_BYTES, typeFits } from './mount-check.ts';
import { inOperation, lastLine, releaseMount } from './mount-release.ts';
import type { ResourceContext } from './ports.ts';
import type { Holding, OperationTimes, Outcome, Probe, Resource, Severity } from './resource.ts';

const NEEDED = { mount: 'mount', umount: 'mount', blkid: 'util-linux' } as const;

/** The device as it is now, or as it was when it was last seen. */
interface KnownDevice {
  readonly number: string;
  readonly path: string;
}

/** A file system that moves between nodes. */
export class MountResource implements Resource {
  readonly id: string;
  readonly type = 'mount';
  readonly times: OperationTimes;
  readonly #declared: MountDeclaration;
  readonly #context: ResourceContext;
  readonly #group: GroupCgroup;
  #device: KnownDevice | undefined;
  /** What `holdings` answered last: the guard was told just that. */
  #planned: string | undefined;
  /** It was mounted by us, or seen to run: then all of it is ours to unmount, bind mounts of it included. */
  #owned = false;

  private constructor(declaration: MountDeclaration, context: ResourceContext, group: GroupCgroup) {
    this.id = resourceId(declaration);
    this.times = { ...OPERATION_TIMES.mount, ...declaration.timeouts };
    this.#declared = declaration;
    this.#context = context;
    this.#group = group;
  }

  /** @returns the resource, or why this node cannot run it. A device that is not there yet is no reason: DRBD may bring it. */
  static async create(
    declaration: MountDeclaration,
    context: ResourceContext,
  ): Promise<MountResource | { readonly problem: string }> {
    const { directory } = declaration;
    if (context.cgroups === undefined)
      return {
        problem: `mount ${directory}: no cgroup v2 to mount it in, so that a mount under way could not be ended`,
      };
    for (const [tool, from] of Object.entries(NEEDED) as [keyof typeof NEEDED, string][])
      if (mountToolPath(tool) === undefined)
        return { problem: `mount ${directory}: ${tool} is not installed (apt-get install ${from})` };
    return new MountResource(declaration, context, context.cgroups.group(context.group));
  }

  /** The device by its number, and where it goes. None where a start would fail anyway: no device, or one that is mounted elsewhere. */
  async holdings(): Promise<readonly Holding[]> {
    const mounts = readMounts();
    const device = this.#find(mounts);
    this.#planned = undefined;
    if (device === undefined) return [];
    if (!this.#owned && this.#at(mounts, device.number) === undefined && mountedAt(device.number) !== undefined)
      return [];
    this.#planned = device.number;
    return [{ kind: 'mount', path: this.#declared.directory, device: device.number }];
  }

  probe(options: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    return this.#probe(options).catch((error: unknown) => failedProbe('soft', textOf(error)));
  }

  async #probe({ recurring }: { readonly recurring: boolean }): Promise<Probe> {
    const { directory, fstype, device: name } = this.#declared;
    const mounts = readMounts();
    const here = topAt(mounts, directory);
    if (here === undefined) {
      const device = this.#device;
      const where = recurring && this.#owned && device !== undefined ? mountedAt(device.number) : undefined;
      return where === undefined
        ? { state: 'stopped' }
        : failedProbe('soft', `${directory} is not mounted any more, but ${name} still is at ${where}`);
    }
    const device = this.#find(mounts);
    if (here.device !== device?.number) {
      const below = device !== undefined && this.#at(mounts, device.number) !== undefined;
      const what = `${here.source} (${here.fstype}, device ${here.device})`;
      return failedProbe(
        'hard',
        below
          ? `${what} is mounted over ${name} at ${directory}; unmount it: umount ${directory}`
          : `${what} is mounted at ${directory}, not ${name}; unmount it: umount ${directory}`,
      );
    }
    if (here.fstype !== fstype)
      return failedProbe('hard', `${name} is mounted at ${directory} as ${here.fstype}, not as ${fstype}`);
    const broken = this.#broken(here) ?? (await unreadable(directory));
    if (broken !== undefined) return failedProbe('soft', broken);
    this.#owned = true;
    const gone = findDevice(name).is === 'missing';
    return gone ? { state: 'running', note: `the device ${name} has gone from /dev` } : { state: 'running' };
  }

  /**
   * Why a mounted file system is of no use. An ext4 that has met an error says `ro`, or since Linux 6.15 `emergency_ro` with the
   * mount still looking writable; one that was shut down under it says `shutdown`.
   */
  #broken({ options, superOptions }: MountEntry): string | undefined {
    const { directory } = this.#declared;
    if (superOptions.includes('shutdown')) return `${directory} was shut down by the kernel after errors; see dmesg`;
    if (superOptions.includes('emergency_ro'))
      return `${directory} was made read-only by the kernel after errors; see dmesg`;
    if (this.#readOnly()) return undefined;
    if (superOptions.includes('ro') || options.includes('ro'))
      return `${directory} is mounted read-only; the kernel does that after errors, see dmesg`;
    return undefined;
  }

  start(signal: AbortSignal): Promise<Outcome> {
    return this.#start(signal).catch((error: unknown) => fail('soft', textOf(error)));
  }

  async #start(signal: AbortSignal): Promise<Outcome> {
    const { device: name, directory, fstype } = this.#declared;
    const found = findDevice(name);
    if (found.is === 'missing') return fail('soft', `the device ${name} is not there`);
    if (found.is === 'other') return fail('hard', found.what);
    if (this.#planned !== undefined && this.#planned !== found.number)
      return fail('soft', `the device ${name} was ${this.#planned} a moment ago and is ${found.number} now`);
    this.#device = found;

    const mounts = readMounts();
    const here = topAt(mounts, directory);
    if (here?.device === found.number) return this.#verified(found.number);
    if (here !== undefined)
      return fail(
        'hard',
        `${here.source} (${here.fstype}) is mounted at ${directory} already; unmount it: umount ${directory}`,
      );
    const where = mountedAt(found.number);
    if (where !== undefined)
      return fail(
        'hard',
        `${name} is mounted already at ${where}, where Holdfast did not put it; it was not mounted again`,
      );
    if ((await deviceClaim(found.path)) === 'claimed') {
      const holders = deviceHolders(found.number);
      const by = holders.length === 0 ? 'the kernel' : holders.join(', ');
      return fail(
        'soft',
        `${name} is in use by ${by}: a mount that no process shows, a volume manager, or an unmount that has not ended`,
      );
    }

    const place = await this.#preparePlace();
    if (place !== undefined) return place;
    const content = await this.#checkContent(found.path, signal);
    if (content !== undefined) return content;
    if (signal.aborted) return fail('soft', `${directory} was not mounted: the start was called off`);

    const options = this.#declared.options === undefined ? [] : ['-o', this.#declared.options];
    // -i: no helper programs. -w: a device that cannot be written to is an error, not a reason to mount it read-only.
    const access = this.#readOnly() ? [] : ['-w'];
    const mounted = await this.#run(
      'mount',
      ['-i', ...access, '-t', fstype, ...options, '--', found.path, directory],
      signal,
    );
    const verified = await this.#verified(found.number);
    if (verified.ok || this.#at(readMounts(), found.number) !== undefined) return verified;
    if (mounted.aborted || mounted.timedOut)
      return fail('soft', `${directory} was not mounted: the start was called off`);
    return fail('soft', `mount: ${mounted.code === 0 ? verified.reason : lastLine(mounted)}`, mounted.output);
  }

  /** Looks whether it is really there and as declared. */
  async #verified(number: string): Promise<Outcome> {
    const { directory, fstype } = this.#declared;
    const here = topAt(readMounts(), directory);
    if (here?.device !== number) return fail('soft', `${directory} is not mounted after the mount`);
    this.#owned = true;
    if (here.fstype !== fstype) return fail('hard', `${directory} is mounted as ${here.fstype}, not as ${fstype}`);
    const broken = this.#broken(here) ?? (await unreadable(directory));
    return broken === undefined ? { ok: true } : fail('soft', broken);
  }

  /** The mount point is made where it is missing, as heartbeat:Filesystem does; a link in its path could lead to any directory. */
  async #preparePlace(): Promise<Outcome | undefined> {
    const { directory } = this.#declared;
    const nearest = await nearestDirectory(directory);
    if ('problem' in nearest) return fail('hard', nearest.problem);
    if (nearest.path !== directory) {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      this.#context.log.info(`${this.id}: made the missing mount point ${directory}`);
    } else if ((await readdir(directory)).length > 0) {
      this.#context.log.warn(
        `${this.id}: ${directory} is not empty; what is in it is hidden while the file system is mounted`,
      );
    }
    return undefined;
  }

  /** Refuses what is not the declared file system, and has it checked where its policy says so. */
  async #checkContent(path: string, signal: AbortSignal): Promise<Outcome | undefined> {
    const { device: name, fstype } = this.#declared;
    let start: Buffer;
    try {
      start = await readDevice(path, SUPERBLOCK_BYTES);
    } catch (error) {
      return fail('soft', `${name} cannot be read: ${textOf(error)}`);
    }
    const probed = await this.#run('blkid', ['-p', '-o', 'value', '-s', 'TYPE', '--', path], signal);
    if (probed.aborted) return fail('soft', 'the start was called off');
    const found = probed.stdout.trim();
    if (probed.code === 2)
      return fail('hard', `${name} has no file system on it (blkid finds none), ${fstype} was expected`);
    if (probed.code === 0 && !typeFits(fstype, found))
      return fail('hard', `${name} has ${found === '' ? 'something else' : `a ${found}`} on it (blkid), not ${fstype}`);
    const state = extState(start);
    if (this.#declared.fsck === 'never' || this.#readOnly() || state === undefined || !needsCheck(state))
      return undefined;
    return this.#check(path, signal);
  }

  /** As at boot: mends what can be mended without a decision (e2fsck -p), and stops where a person has to look. */
  async #check(path: string, signal: AbortSignal): Promise<Outcome | undefined> {
    const { device: name } = this.#declared;
    if (mountToolPath('e2fsck') === undefined)
      return fail('hard', `${name} is not clean and e2fsck is not installed to check it (apt-get install e2fsprogs)`);
    this.#context.log.warn(`${this.id}: ${name} is not clean; it is checked before the mount (e2fsck -p)`);
    const checked = await this.#run('e2fsck', ['-p', path], signal);
    if (checked.aborted || checked.timedOut)
      return fail(
        'soft',
        `the check of ${name} did not end in time; give it more (timeouts: { start: … })`,
        checked.output,
      );
    // e2fsck(8): 1 errors corrected, 2 corrected and the system should be rebooted (a mounted root only).
    if (checked.code === 0 || checked.code === 1 || checked.code === 2) return undefined;
    return fail(
      'hard',
      `${name} is damaged beyond what is mended unasked; check it by hand: e2fsck ${name}`,
      checked.output,
    );
  }

  stop(signal: AbortSignal): Promise<Outcome> {
    return this.#release(Math.min(MOUNT_TERM_MS, this.times.stopMs / 2), signal);
  }

  /** Kills who uses it at once. What cannot be unmounted then stays, and is reported so: a lazy unmount would leave the writers. */
  forceStop(signal: AbortSignal): Promise<Outcome> {
    return this.#release(0, signal);
  }

  async #release(termMs: number, signal: AbortSignal): Promise<Outcome> {
    try {
      const mounts = readMounts();
      const device = this.#find(mounts);
      // What was never here, and what somebody else has mounted somewhere, is not ours to take down.
      if (device === undefined || (!this.#owned && this.#at(mounts, device.number) === undefined)) return { ok: true };
      const { log } = this.#context;
      const released = await releaseMount({
        number: device.number,
        device: device.path,
        termMs,
        group: this.#group,
        log,
        id: this.id,
        signal,
      });
      if (released.ok) this.#owned = false;
      return released;
    } catch (error) {
      return fail('soft', textOf(error));
    }
  }

  /**
   * The kernel tells a change of mounts only by poll(2) on a file, for which Node has no call; a `findmnt --poll` beside the agent
   * would cost as much memory as the guard. What uses the file system notices first anyway, so the monitor has to do.
   */
  watch(): () => void {
    return () => undefined;
  }

  #readOnly(): boolean {
    return this.#declared.options?.split(',').includes('ro') ?? false;
  }

  /** The device as it is; else as it was; else, for what an agent before this one has mounted, what is mounted under its name. */
  #find(mounts: readonly MountEntry[]): KnownDevice | undefined {
    const { device: name, directory } = this.#declared;
    const found = findDevice(name);
    if (found.is === 'device' && !(this.#owned && this.#device !== undefined)) this.#device = found;
    if (this.#device !== undefined) return this.#device;
    const here = mounts.find((entry) => entry.mountPoint === directory && entry.source === name);
    return here === undefined ? undefined : { number: here.device, path: name };
  }

  #at(mounts: readonly MountEntry[], number: string): MountEntry | undefined {
    return mounts.find((entry) => entry.device === number && entry.mountPoint === this.#declared.directory);
  }

  #run(tool: MountTool, args: readonly string[], signal: AbortSignal) {
    return inOperation(this.#group, (cgroup) =>
      runMountTool(tool, args, { cgroup, timeoutMs: this.times.startMs, signal }),
    );
  }
}

/** Where a device is mounted, in this mount namespace or another. */
export function mountedAt(number: string): string | undefined {
  const own = readMounts().find((entry) => entry.device === number);
  if (own !== undefined) return own.mountPoint;
  for (const pid of otherNamespaces()) {
    const other = readMounts(pid).find((entry) => entry.device === number);
    if (other !== undefined) return `${other.mountPoint} in the mount namespace of process ${pid}`;
  }
  return undefined;
}

/** The directory itself, or the nearest one above it that exists; or why nothing can be mounted there. */
async function nearestDirectory(directory: string): Promise<{ readonly path: string } | { readonly problem: string }> {
  for (let path = directory; ; path = dirname(path)) {
    try {
      const real = await realpath(path);
      if (real !== path) return { problem: `${path} is a link to ${real}; name that directory itself` };
      if (!(await stat(path)).isDirectory()) return { problem: `${path} is no directory` };
      return { path };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
}

/** The directory at the root of a mounted file system is in memory: asking for it waits for no disk. */
async function unreadable(directory: string): Promise<string | undefined> {
  try {
    await stat(directory);
    return undefined;
  } catch (error) {
    return `${directory} does not answer: ${textOf(error)}`;
  }
}

function failedProbe(severity: Severity, reason: string): Probe {
  return { state: 'failed', severity, reason };
}

function fail(severity: Severity, reason: string, output?: string): Outcome & { readonly ok: false } {
  return { ok: false, severity, reason, ...(output === undefined || output.trim() === '' ? {} : { output }) };
}
