/**
 * The disk and the kernel that all test machines start from: Debian 12 with its cloud kernel, made out of packages by mmdebstrap.
 *
 * Two steps, each kept until what it is made of changes: the Debian tree (a minute), and the image (seconds). The image has a second
 * disk with the file system of a fresh database, which the machines replicate by DRBD.
 */
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../lab/index.ts';
import { cacheDir } from './paths.ts';
import type { Tools } from './tools.ts';

const SUITE = 'bookworm';
const PACKAGES: readonly string[] = [
  ...['systemd', 'systemd-sysv', 'dbus', 'udev', 'kmod', 'init-system-helpers', 'busybox-static'],
  ...['iproute2', 'iputils-ping', 'iputils-arping', 'openssh-server', 'procps', 'psmisc', 'curl', 'e2fsprogs'],
  ...['drbd-utils', 'resource-agents', 'mariadb-server', 'nginx', 'libstdc++6', 'libgcc-s1', 'ca-certificates'],
];
/** Not read by any program: a third of the tree. */
const LEFT_OUT = ['/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*'];
const ROOT_SIZE = '1600M';
export const DATA_SIZE = '192M';
/** DRBD keeps its own data at the end of the disk. */
const DATA_FILES_SIZE = '190M';

const sourceDir = join(import.meta.dirname, 'image');

/** `cloud` is small and has DRBD; `hardware` has the driver of a watchdog that is a device of the machine, and little else. */
const KERNELS = ['cloud', 'hardware'] as const;
export type KernelName = (typeof KERNELS)[number];

export interface Kernel {
  readonly image: string;
  readonly initramfs: string;
}

export interface Image {
  readonly kernels: Readonly<Record<KernelName, Kernel>>;
  /** Each machine has a copy of its own of both disks. */
  readonly rootDisk: string;
  readonly dataDisk: string;
  /** Private key that opens every machine. */
  readonly sshKey: string;
}

/** Instant when nothing changed since the last time. Reports progress on standard error. */
export async function prepareImage(tools: Tools): Promise<Image> {
  await mkdir(cacheDir, { recursive: true });
  const tree = `debian-${await digest([JSON.stringify([SUITE, PACKAGES, LEFT_OUT])], ['kernel.sh'])}.tar`;
  const sizes = JSON.stringify([tree, ROOT_SIZE, DATA_SIZE, DATA_FILES_SIZE]);
  const name = `image-${await digest([sizes], ['customise.sh', 'initramfs.sh', 'init', ...(await listed('root'))])}`;
  const dir = join(cacheDir, name);
  if (!(await exists(dir))) {
    if (!(await exists(join(cacheDir, tree)))) await makeTree(tools, join(cacheDir, tree));
    await makeImage(tools, join(cacheDir, tree), dir);
    for (const old of await readdir(cacheDir))
      if (/^(image|debian)-[0-9a-f]{12}(\.tar)?$/.test(old) && old !== name && old !== tree)
        await rm(join(cacheDir, old), { recursive: true });
  }
  const kernel = (which: KernelName): Kernel => ({
    image: join(dir, `vmlinuz-${which}`),
    initramfs: join(dir, `initramfs-${which}`),
  });
  return {
    kernels: { cloud: kernel('cloud'), hardware: kernel('hardware') },
    rootDisk: join(dir, 'root.ext4'),
    dataDisk: join(dir, 'data.ext4'),
    sshKey: join(dir, 'ssh-key'),
  };
}

async function makeTree(tools: Tools, file: string): Promise<void> {
  progress(`installing Debian ${SUITE} with ${PACKAGES.length} packages into ${file}`);
  // its name says the format, so the ending stays
  const building = file.replace(/\.tar$/, `.${process.pid}.tar`);
  const options = LEFT_OUT.map((path) => `--dpkgopt=path-exclude=${path}`);
  options.push('--quiet', '--mode=root', '--variant=minbase', '--aptopt=APT::Install-Recommends "false"');
  options.push(`--include=${PACKAGES.join(',')}`, `--customize-hook=${join(sourceDir, 'kernel.sh')}`);
  await mustRun([tools.path('mmdebstrap'), ...options, SUITE, building], { env: tools.env });
  await rename(building, file);
}

async function makeImage(tools: Tools, tree: string, dir: string): Promise<void> {
  progress(`making the image ${dir}`);
  const { env } = tools;
  const building = `${dir}.${process.pid}`;
  await rm(building, { recursive: true, force: true });
  const root = join(building, 'root');
  await mkdir(root, { recursive: true });
  await mustRun(['tar', '--numeric-owner', '-xf', tree, '-C', root], { env });
  const key = join(building, 'ssh-key');
  await mustRun([tools.path('ssh-keygen'), '-q', '-t', 'ed25519', '-N', '', '-C', 'vm', '-f', key], { env });
  await mustRun([join(sourceDir, 'customise.sh'), root, join(sourceDir, 'root'), `${key}.pub`], { env });
  for (const kernel of KERNELS) {
    const initramfs = join(building, `initramfs-${kernel}`);
    await mustRun([join(sourceDir, 'initramfs.sh'), root, join(sourceDir, 'init'), kernel, initramfs], { env });
    await rename(join(root, `boot/vmlinuz-${kernel}`), join(building, `vmlinuz-${kernel}`));
  }
  const mkfs = [tools.path('mke2fs'), '-q', '-t', 'ext4', '-E', 'lazy_itable_init=1'];
  const data = join(building, 'data.ext4');
  await mustRun([...mkfs, '-d', join(root, 'srv/template'), data, DATA_FILES_SIZE], { env });
  await mustRun(['truncate', '-s', DATA_SIZE, data], { env });
  await rm(join(root, 'srv/template'), { recursive: true });
  await mustRun([...mkfs, '-d', root, join(building, 'root.ext4'), ROOT_SIZE], { env });
  await rm(root, { recursive: true });
  await rename(building, dir);
}

/** Files below the source directory, as paths in it, in a fixed order. */
async function listed(below: string): Promise<string[]> {
  const entries = await readdir(join(sourceDir, below), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(sourceDir.length + 1))
    .toSorted();
}

async function digest(texts: readonly string[], files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([texts, files]));
  for (const file of files) hash.update(await readFile(join(sourceDir, file)));
  return hash.digest('hex').slice(0, 12);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

function progress(text: string): void {
  process.stderr.write(`vm: ${text}\n`);
}
