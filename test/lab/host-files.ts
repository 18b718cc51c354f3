/** What a host's file system looks like: the machine's root under the lab's packages under a layer of the host's own. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { repoRoot } from './paths.ts';
import { systemdFiles, systemdPlan } from './systemd.ts';

/** Directories that are bound from the machine's disk, so that their content can be read there while the host is off. */
const diskDirs = ['/var/lib/holdfast', '/srv', '/var/log', '/var/tmp', '/root'] as const;

/**
 * Overlay mounts of a host. The root has only the machine below it; where packages put files they are a layer between.
 * (One overlay for all is refused with ELOOP: the packages' directory is itself below the machine's root.)
 */
const overlays = ['/', '/usr', '/etc', '/var'] as const;

export interface HostFiles {
  /** The host's own directory on the machine. */
  dir: string;
  packagesRoot: string;
  hostname: string;
  /** name → addresses, for /etc/hosts. */
  names: ReadonlyMap<string, readonly string[]>;
  /** What its PID 1 is: a program that only reaps, or systemd. */
  init: 'reaper' | 'systemd';
}

/** Lays out a new host's disk. Called once; a boot changes nothing here, so what a host wrote is still there. */
export async function layOut(files: HostFiles): Promise<void> {
  for (const dir of diskDirs) await mkdir(join(files.dir, 'disk', dir), { recursive: true });
  await chmod(join(files.dir, 'disk/var/tmp'), 0o1777);
  await chmod(join(files.dir, 'disk/root'), 0o700);
  for (const dir of ['root', 'output']) await mkdir(join(files.dir, dir));
  for (const mount of overlays) {
    await mkdir(layerDir(files, mount, 'upper'), { recursive: true });
    await mkdir(layerDir(files, mount, 'work'), { recursive: true });
  }
  const write = async (path: string, text: string) => {
    const target = onUpper(files, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text);
  };
  const hosts = [...files.names].flatMap(([name, addresses]) => addresses.map((address) => `${address} ${name}`));
  await write('/etc/hostname', `${files.hostname}\n`);
  await write('/etc/hosts', ['127.0.0.1 localhost', '::1 localhost', ...hosts, ''].join('\n'));
  await write('/etc/resolv.conf', '');
  await write('/etc/machine-id', `${createHash('md5').update(files.dir).digest('hex')}\n`);
  const accounts = addAccounts(readFileSync('/etc/passwd', 'utf8'), readFileSync('/etc/group', 'utf8'));
  await write('/etc/passwd', accounts.passwd);
  await write('/etc/group', accounts.group);
  await mkdir(onUpper(files, '/etc/mysql'), { recursive: true });
  if (!existsSync('/etc/mysql/my.cnf')) await symlink('mariadb.cnf', onUpper(files, '/etc/mysql/my.cnf'));
  for (const dir of ['nginx', 'mysql']) await mkdir(join(files.dir, 'disk/var/log', dir), { recursive: true });
  if (files.init !== 'systemd') return;
  for (const [path, text] of systemdFiles(files.packagesRoot)) {
    if (text !== null) await write(path, text);
    else {
      await mkdir(dirname(onUpper(files, path)), { recursive: true });
      await symlink('/dev/null', onUpper(files, path));
    }
  }
}

/** The users that the packages' maintainer scripts would have made. */
function addAccounts(passwd: string, group: string): { passwd: string; group: string } {
  const used = new Set(
    [...passwd.matchAll(/^[^:]*:[^:]*:(\d+)/gm), ...group.matchAll(/^[^:]*:[^:]*:(\d+)/gm)].map((m) => m[1]),
  );
  for (const name of ['mysql', 'www-data']) {
    if (new RegExp(`^${name}:`, 'm').test(passwd)) continue;
    let id = 999;
    while (used.has(String(id))) id--;
    used.add(String(id));
    passwd += `${name}:x:${id}:${id}::/nonexistent:/bin/false\n`;
    if (!new RegExp(`^${name}:`, 'm').test(group)) group += `${name}:x:${id}:\n`;
  }
  return { passwd, group };
}

/** The mounts of a booting host, in the language of `native/lab-host.c`. */
export function mountPlan(files: HostFiles, devices: readonly Device[]): string {
  const root = join(files.dir, 'root');
  const plan: string[][] = [];
  for (const mount of overlays) {
    const packages = join(files.packagesRoot, mount);
    const lower = mount !== '/' && existsSync(packages) ? `${packages}:${mount}` : mount;
    const own = `upperdir=${layerDir(files, mount, 'upper')},workdir=${layerDir(files, mount, 'work')}`;
    plan.push(['mount', 'overlay', 'overlay', join(root, mount), `lowerdir=${lower},${own}`]);
  }
  plan.push(['mount', 'proc', 'proc', join(root, 'proc'), '']);
  plan.push(['mount', 'sysfs', 'sysfs', join(root, 'sys'), '']);
  plan.push(['bind', join(root, 'sys'), join(root, 'sys'), 'ro']); // /sys/power and the like belong to the machine
  plan.push(['mount', 'cgroup2', 'cgroup2', join(root, 'sys/fs/cgroup'), '']);
  plan.push(['mount', 'tmpfs', 'tmpfs', join(root, 'run'), 'mode=0755']);
  plan.push(['mount', 'tmpfs', 'tmpfs', join(root, 'tmp'), 'mode=1777']);
  for (const dir of ['lock', 'resource-agents']) plan.push(['dir', join(root, 'run', dir)]);
  for (const dir of diskDirs)
    plan.push(['dir', join(root, dir)], ['bind', join(files.dir, 'disk', dir), join(root, dir), 'rw']);
  for (const dir of seenByHosts()) {
    plan.push(['dir', join(root, dir)], ['bind', dir, join(root, dir), 'ro']);
  }
  plan.push(...devicePlan(root, devices));
  if (existsSync('/proc/sysrq-trigger')) plan.push(['bind', '/dev/null', join(root, 'proc/sysrq-trigger'), 'rw']);
  if (files.init === 'systemd') plan.push(...systemdPlan(root));
  plan.push(['pivot', root], ...sysctlPlan());
  for (const fields of plan) {
    if (fields.some((field) => /[\t\n]/.test(field)))
      throw new Error(`a tab or newline in a path: ${fields.join(' ')}`);
  }
  return plan.map((fields) => `${fields.join('\t')}\n`).join('');
}

/** What a host sees although it may lie where the host has a directory of its own: the repository, and a Node from a home. */
function seenByHosts(): string[] {
  const node = dirname(process.execPath);
  return node.startsWith('/usr/') || node.startsWith(`${repoRoot}/`) ? [repoRoot] : [repoRoot, node];
}

/** A block or character device that a host gets beside the harmless ones, for instance a loop device with its disk. */
export interface Device {
  name: string;
  type: 'b' | 'c';
  major: number;
  minor: number;
}

const harmlessDevices: readonly Device[] = [
  { name: 'null', type: 'c', major: 1, minor: 3 },
  { name: 'zero', type: 'c', major: 1, minor: 5 },
  { name: 'full', type: 'c', major: 1, minor: 7 },
  { name: 'random', type: 'c', major: 1, minor: 8 },
  { name: 'urandom', type: 'c', major: 1, minor: 9 },
  { name: 'tty', type: 'c', major: 5, minor: 0 },
];

/** A /dev of its own: no watchdog, no disk of the machine, nothing that could reset or harm it. */
function devicePlan(root: string, devices: readonly Device[]): string[][] {
  const dev = join(root, 'dev');
  const links = { fd: '/proc/self/fd', stdin: 'fd/0', stdout: 'fd/1', stderr: 'fd/2', ptmx: 'pts/ptmx' };
  return [
    ['mount', 'tmpfs', 'tmpfs', dev, 'mode=0755'],
    ['dir', join(dev, 'pts')],
    ['dir', join(dev, 'shm')],
    ['mount', 'devpts', 'devpts', join(dev, 'pts'), 'newinstance,ptmxmode=0666,mode=0620,gid=5'],
    ['mount', 'tmpfs', 'tmpfs', join(dev, 'shm'), 'mode=1777'],
    ...Object.entries(links).map(([name, target]) => ['link', target, join(dev, name)]),
    ...[...harmlessDevices, ...devices].map((d) => [
      'node',
      join(dev, d.name),
      d.type,
      String(d.major),
      String(d.minor),
    ]),
  ];
}

/** A new network namespace takes IPv4 settings from the machine as it is; a host begins with the kernel's own. */
function sysctlPlan(): string[][] {
  const defaults = {
    promote_secondaries: 0,
    rp_filter: 0,
    arp_ignore: 0,
    arp_announce: 0,
    arp_notify: 0,
    accept_local: 0,
  };
  return Object.entries(defaults).flatMap(([name, value]) =>
    ['all', 'default'].map((scope) => ['write', `/proc/sys/net/ipv4/conf/${scope}/${name}`, `${value}`]),
  );
}

function layerDir(files: HostFiles, mount: string, kind: 'upper' | 'work'): string {
  return join(files.dir, 'layers', mount === '/' ? 'root' : mount.slice(1), kind);
}

/** Where a path of a host that is off is on the machine. */
export function onUpper(files: HostFiles, path: string): string {
  const disk = diskDirs.find((dir) => path === dir || path.startsWith(`${dir}/`));
  if (disk !== undefined) return join(files.dir, 'disk', path);
  const mount = overlays.findLast((dir) => dir === '/' || path === dir || path.startsWith(`${dir}/`)) ?? '/';
  return join(layerDir(files, mount, 'upper'), mount === '/' ? path : path.slice(mount.length));
}
