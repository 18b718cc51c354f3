/**
 * Programs that make and run virtual machines. Those that this machine lacks are unpacked beside, as the packages of the laboratory
 * are: nothing is installed.
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { mustRun, preparePackages, run } from '../lab/index.ts';

const packages: readonly string[] = [
  'qemu-system-x86',
  'mmdebstrap',
  'e2fsprogs',
  'openssh-client',
  'iputils-arping',
  'zstd',
];
const systemDirs = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** What the networks are made of; every Debian has them. */
const required = ['ip', 'nsenter', 'unshare', 'setpriv', 'apt-get', 'dpkg', 'chroot', 'tar', 'cc'];

export type ToolName = 'qemu-system-x86_64' | 'mmdebstrap' | 'mke2fs' | 'ssh' | 'ssh-keygen' | 'arping';

export interface Tools {
  /** The path of a program. */
  path(name: ToolName): string;
  /** For programs that start each other. */
  readonly env: NodeJS.ProcessEnv;
  /** For programs with libraries that this machine may lack. */
  readonly qemuEnv: NodeJS.ProcessEnv;
}

/** Downloads what is missing, the first time. Throws with the reason when it cannot. */
export async function prepareTools(): Promise<Tools> {
  const root = await preparePackages(packages);
  const unpacked = ['usr/sbin', 'usr/bin'].map((dir) => join(root, dir));
  const dirs = [...systemDirs, ...unpacked];
  const env = { ...process.env, LC_ALL: 'C.UTF-8', PATH: dirs.join(':') };
  const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib'].map((dir) => join(root, dir)).join(':');
  const tools: Tools = {
    path: (name) => find(name, dirs) ?? missing(name),
    env,
    qemuEnv: { ...env, LD_LIBRARY_PATH: libraries, QEMU_MODULE_DIR: join(root, 'usr/lib/x86_64-linux-gnu/qemu') },
  };
  for (const name of ['mmdebstrap', 'mke2fs', 'ssh', 'ssh-keygen', 'arping'] as const) tools.path(name);
  await mustRun([tools.path('qemu-system-x86_64'), '--version'], { env: tools.qemuEnv });
  return tools;
}

let answer: Promise<string | undefined> | undefined;

/** Why no virtual machine can run here, in words for a skipped test; undefined when it can. */
export function vmUnavailable(): Promise<string | undefined> {
  answer ??= findReason();
  return answer;
}

async function findReason(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `the virtual machines are amd64 on Linux, this is ${process.arch} on ${process.platform}`;
  if (process.getuid?.() !== 0) return 'the virtual machines need root, for their network';
  for (const name of required)
    if (find(name, systemDirs) === undefined)
      return `the virtual machines need ${name}, which this machine does not have`;
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'the virtual machines need /dev/net/tun (modprobe tun)';
  }
  const trial = await run(['unshare', '--net', 'ip', 'tuntap', 'add', 'dev', 'trial', 'mode', 'tap']);
  if (trial.code !== 0) return `no network namespace with a tap can be made here: ${trial.stderr.trim()}`;
  try {
    await prepareTools();
  } catch (error) {
    return `QEMU and mmdebstrap cannot be had: ${error instanceof Error ? error.message : String(error)}`;
  }
  return undefined;
}

function find(name: string, dirs: readonly string[]): string | undefined {
  return dirs
    .map((dir) => join(dir, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function missing(name: string): never {
  throw new Error(`${name} is neither installed nor in any of: ${packages.join(', ')}`);
}
