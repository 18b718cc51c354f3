/**
 * A disk that several hosts of a laboratory reach, as they would one of a storage network or two halves of a DRBD mirror that is in
 * step: one image file, and over it one loop device per host. (One loop device for all would have one superblock in the kernel, and
 * two hosts that mount it at once would not be noticed.)
 */
import { existsSync } from 'node:fs';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { mustRun, run } from './command.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { nativeProgram } from './native.ts';
import { until } from './until.ts';

export interface DiskOptions {
  /** Its name below /dev on every host; `shared0` when left out. */
  name?: string;
  sizeMb?: number;
  /** Arguments of mkfs.ext4 beside the image. */
  mkfs?: readonly string[];
}

export class SharedDisk {
  /** As the hosts see it. */
  readonly device: string;
  readonly image: string;
  /** By host. */
  readonly #loops = new Map<string, string>();

  private constructor(device: string, image: string) {
    this.device = device;
    this.image = image;
  }

  /** Makes a disk with an empty ext4, seen by all machines of the cluster. It ends with the laboratory. */
  static async create(lab: Lab, options: DiskOptions = {}): Promise<SharedDisk> {
    const name = options.name ?? 'shared0';
    const disk = new SharedDisk(`/dev/${name}`, join(lab.dir, `${name}.img`));
    await writeFile(disk.image, '');
    await truncate(disk.image, (options.sizeMb ?? 256) << 20);
    await mustRun(['mkfs.ext4', '-q', '-F', ...(options.mkfs ?? []), disk.image]);
    const cut = await nativeProgram('lab-disk');
    lab.onClose(async () => await detachLoopsOf(disk.image));
    for (const host of lab.hosts.values()) await disk.#attach(host, name, cut);
    return disk;
  }

  async #attach(host: Host, name: string, cut: string): Promise<void> {
    const loop = (await mustRun(['losetup', '--find', '--show', this.image])).trim();
    this.#loops.set(host.name, loop);
    const number = await this.numberOn(host);
    const [major = 0, minor = 0] = number.split(':').map(Number);
    host.addDevice({ name, type: 'b', major, minor });
    if (host.state.is === 'on') await host.mustExec(['mknod', this.device, 'b', String(major), String(minor)]);
    host.onPowerCut(async () => {
      for (const place of await mountPoints(host, number)) await mustRun([cut, 'cut', place]);
    });
  }

  /** `major:minor` of the disk on this host. */
  async numberOn(host: Host): Promise<string> {
    const loop = this.#loops.get(host.name);
    if (loop === undefined) throw new Error(`${host.name} does not reach ${this.device}`);
    return (await readFile(`/sys/block/${basename(loop)}/dev`, 'utf8')).trim();
  }

  /** Does this host's kernel have the file system in use, in whatever namespace? */
  inUseOn(host: Host): boolean {
    const loop = this.#loops.get(host.name);
    return loop !== undefined && existsSync(`/sys/fs/ext4/${basename(loop)}`);
  }

  /** Names of the hosts that have the file system in use: more than one would damage it. */
  users(): string[] {
    return [...this.#loops.keys()].filter((name) =>
      existsSync(`/sys/fs/ext4/${basename(this.#loops.get(name) ?? '')}`),
    );
  }

  /** Mounts it on a host for a moment, to put something on it. */
  async fill(host: Host, directory: string, work: () => Promise<void>): Promise<void> {
    await host.mustExec(['mkdir', '-p', directory]);
    await host.mustExec(['mount', this.device, directory]);
    try {
      await work();
    } finally {
      await host.mustExec(['umount', directory]);
    }
    await until(() => !this.inUseOn(host), { deadlineMs: 10_000, what: `${this.device} to be free on ${host.name}` });
  }
}

/** Where the machine finds the mount points of a device in a running host. */
async function mountPoints(host: Host, number: string): Promise<string[]> {
  const text = await readFile(`/proc/${host.initPid}/mountinfo`, 'utf8');
  const places = [...text.matchAll(new RegExp(`^\\d+ \\d+ ${number} \\S+ (\\S+) `, 'gm'))].map(
    ([, place = '']) => place,
  );
  return places.map((place) => join('/proc', String(host.initPid), 'root', place));
}

/**
 * Detaches every loop device over a file whose path begins so. Loop devices belong to the whole machine and outlive the process that
 * made them, and the file.
 */
export async function detachLoopsOf(path: string): Promise<void> {
  for (const name of (await readdir('/sys/block')).filter((block) => block.startsWith('loop'))) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (file.startsWith(path)) await run(['losetup', '-d', `/dev/${name}`]);
  }
}

/** Why no disks can be made here; undefined when they can. */
export async function disksUnavailable(): Promise<string | undefined> {
  for (const [program, from] of [
    ['mkfs.ext4', 'e2fsprogs'],
    ['losetup', 'mount'],
  ] as const)
    if ((await run(['sh', '-c', `command -v ${program}`])).code !== 0)
      return `disks of the laboratory need ${program} (apt-get install ${from})`;
  const free = await run(['losetup', '--find']);
  return free.code === 0 ? undefined : `disks of the laboratory need loop devices: ${free.stderr.trim()}`;
}
