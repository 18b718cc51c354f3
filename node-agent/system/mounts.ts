/**
 * What is mounted where, as the kernel tells it (proc(5), /proc/PID/mountinfo), and the programs that change it. Devices are told
 * apart by their numbers: a device has many names, and a name may lead to another device tomorrow.
 */
import { constants, existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { errnoOf } from './errors.ts';
import { type RunResult, run } from './process.ts';

export interface MountEntry {
  readonly id: number;
  readonly parent: number;
  /** `major:minor` of the file system; for those this product mounts it is that of their block device. */
  readonly device: string;
  /** Which directory of the file system is mounted; not `/` for a bind mount of a part of it. */
  readonly root: string;
  readonly mountPoint: string;
  /** Of this mount. */
  readonly options: readonly string[];
  readonly fstype: string;
  readonly source: string;
  /** Of the file system. */
  readonly superOptions: readonly string[];
}

/** Reads the text of a mountinfo file. Lines that are cut short are left out. A mount comes after the one that it is on. */
export function parseMountinfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ', 2);
    const [id, parent, device, root, mountPoint, options] = before.split(' ');
    const [fstype, source, superOptions] = after.split(' ');
    if (device === undefined || root === undefined || mountPoint === undefined || options === undefined) return [];
    if (fstype === undefined || source === undefined || superOptions === undefined) return [];
    return [
      {
        id: Number(id),
        parent: Number(parent),
        device,
        root: unescapeOctal(root),
        mountPoint: unescapeOctal(mountPoint),
        options: options.split(','),
        fstype: unescapeOctal(fstype),
        source: unescapeOctal(source),
        superOptions: superOptions.split(','),
      },
    ];
  });
}

/** The kernel writes blank, tab, line feed and backslash in a path as `\040`. Bytes that are no UTF-8 cannot come back whole. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** As mountinfo has it: no field ends in the middle of a path. */
export function escapeOctal(path: string): string {
  return path.replace(/[\\ \t\n]/g, (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** @returns what is mounted in this process's mount namespace, or in that of another; nothing if that process is gone. */
export function readMounts(pid: number | 'self' = 'self'): MountEntry[] {
  try {
    return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
  } catch (error) {
    if (pid !== 'self' && isGone(error)) return [];
    throw error;
  }
}

/** @returns the mounts of a file system and everything that is mounted upon one of them, in an order in which the last goes first. */
export function mountsWithAllUpon(mounts: readonly MountEntry[], device: string): MountEntry[] {
  const byId = new Map(mounts.map((entry) => [entry.id, entry]));
  const found = mounts.flatMap((entry) => {
    let upon = false;
    let depth = 0;
    // The depth is bounded: what is read while it changes may be a circle.
    for (let at: MountEntry | undefined = entry; at !== undefined && depth <= mounts.length; at = byId.get(at.parent)) {
      upon ||= at.device === device;
      depth += 1;
    }
    return upon ? [{ entry, depth }] : [];
  });
  return found.toSorted((a, b) => a.depth - b.depth).map(({ entry }) => entry);
}

/** @returns what one finds at a mount point: of several mounts there, the one that is on top. */
export function topAt(mounts: readonly MountEntry[], mountPoint: string): MountEntry | undefined {
  const here = mounts.filter((entry) => entry.mountPoint === mountPoint);
  return here.findLast((entry) => !here.some(({ parent }) => parent === entry.id));
}

/** One process of each mount namespace but our own, as far as processes of it can be seen. */
export function otherNamespaces(): number[] {
  const seen = new Set([readlinkSync('/proc/self/ns/mnt')]);
  return processes().filter((pid) => {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      return !seen.has(namespace) && seen.add(namespace);
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
  });
}

/** Ids of all processes that this one can see. */
export function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** What reading about a process says when it has just ended, or is not to be looked into. */
export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL', 'ENAMETOOLONG'].includes(errnoOf(error) ?? '');
}

/** `major:minor` of a number as stat(2) gives it (the encoding is that of the GNU C library). */
export function deviceNumber(dev: number): string {
  const major = (dev >>> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

export type FoundDevice =
  | { readonly is: 'device'; readonly number: string /** Links followed. */; readonly path: string }
  | { readonly is: 'missing' }
  | { readonly is: 'other'; readonly what: string };

/** Follows links to the block device that a path names now. */
export function findDevice(path: string): FoundDevice {
  try {
    const real = realpathSync(path);
    const found = statSync(real);
    if (!found.isBlockDevice()) return { is: 'other', what: `${real} is no block device` };
    if (!real.startsWith('/dev/')) return { is: 'other', what: `${path} leads to ${real}, which is not under /dev` };
    return { is: 'device', number: deviceNumber(found.rdev), path: real };
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV') return { is: 'missing' };
    return { is: 'other', what: `${path} cannot be looked at (${code ?? String(error)})` };
  }
}

/**
 * Does something of the kernel hold the block device for itself: a mounted file system in whatever namespace, also one that is
 * being written out after its last unmount, a volume manager, DRBD? Asked by opening it exclusively, which changes nothing.
 */
export async function deviceClaim(path: string): Promise<'free' | 'claimed' | { readonly cannotTell: string }> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_EXCL | constants.O_NONBLOCK);
    await file.close();
    return 'free';
  } catch (error) {
    const code = errnoOf(error);
    return code === 'EBUSY' ? 'claimed' : { cannotTell: code ?? String(error) };
  }
}

/** Devices that are made out of this one (device mapper, RAID, DRBD), by name. */
export function deviceHolders(number: string): string[] {
  try {
    return readdirSync(`/sys/dev/block/${number}/holders`);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** @returns the first bytes of a block device. @throws when it cannot be read. */
export async function readDevice(path: string, length: number): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await file.read(buffer, 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A loop device whose file seems to lie below one of these directories: the kernel shows a path that another mount namespace may have too. */
export interface LoopOnMount {
  readonly path: string;
  readonly number: string;
  readonly file: string;
}

export function loopsOn(mountPoints: readonly string[]): LoopOnMount[] {
  const found: LoopOnMount[] = [];
  for (const name of readdirSync('/sys/block').filter((block) => block.startsWith('loop'))) {
    try {
      const file = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').replace(/ \(deleted\)\n?$|\n$/, '');
      if (!liesOn(file, mountPoints)) continue;
      const number = readFileSync(`/sys/block/${name}/dev`, 'utf8').trim();
      found.push({ path: `/dev/${name}`, number, file });
    } catch (error) {
      if (!isGone(error) && errnoOf(error) !== 'ENXIO') throw error; // no file behind it
    }
  }
  return found;
}

/** Swap files in use that lie below one of these directories. */
export function swapsOn(mountPoints: readonly string[]): string[] {
  const lines = readFileSync('/proc/swaps', 'utf8').split('\n').slice(1);
  return lines.map((line) => unescapeOctal(line.split(/\s+/, 1)[0] ?? '')).filter((file) => liesOn(file, mountPoints));
}

export function liesOn(path: string, mountPoints: readonly string[]): boolean {
  return mountPoints.some((directory) => path === directory || path.startsWith(`${directory}/`));
}

/** The programs of Debian's packages `mount`, `util-linux` and `e2fsprogs`, each with all its arguments but the last ones. */
const TOOLS = {
  mount: ['/usr/bin/mount', '/bin/mount'],
  umount: ['/usr/bin/umount', '/bin/umount'],
  losetup: ['/usr/sbin/losetup', '/sbin/losetup'],
  swapoff: ['/usr/sbin/swapoff', '/sbin/swapoff'],
  blkid: ['/usr/sbin/blkid', '/sbin/blkid'],
  e2fsck: ['/usr/sbin/e2fsck', '/sbin/e2fsck'],
} as const;
export type MountTool = keyof typeof TOOLS;

export function mountToolPath(tool: MountTool): string | undefined {
  return TOOLS[tool].find((path) => existsSync(path));
}

/** Runs one of the programs in a cgroup, with exactly these arguments and no environment to speak of. */
export function runMountTool(
  tool: MountTool,
  args: readonly string[],
  options: { readonly cgroup: string; readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<RunResult> {
  const path = mountToolPath(tool) ?? TOOLS[tool][0];
  const env = { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
  return run([path, ...args], { ...options, env, stdoutLimit: 4_096 });
}
