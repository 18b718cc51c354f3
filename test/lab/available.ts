import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync, statfsSync } from 'node:fs';
import { cgroupMount } from './cgroup.ts';
import { cacheDir, labsDir } from './paths.ts';

/** Programs of the machine that the lab itself starts, and the Debian package each comes from. */
const programs = {
  ip: 'iproute2',
  tc: 'iproute2',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  cc: 'gcc libc6-dev',
  dpkg: 'dpkg',
  'apt-get': 'apt',
};

const overlayMagic = 0x794c7630;

let answer: { reason: string | undefined } | undefined;

/** Why no laboratory can be made on this machine, in words for a skipped test; undefined when it can. */
export function labUnavailable(): string | undefined {
  answer ??= { reason: findReason() };
  return answer.reason;
}

function findReason(): string | undefined {
  if (process.platform !== 'linux') return `the laboratory needs Linux namespaces, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'the laboratory needs root';
  for (const [program, from] of Object.entries(programs)) {
    if (!onPath(program)) return `the laboratory needs ${program} (apt-get install ${from})`;
  }
  if (
    !/\toverlay$/m.test(readFileSync('/proc/filesystems', 'utf8')) &&
    spawnSync('modprobe', ['overlay']).status !== 0
  ) {
    return 'the laboratory needs overlayfs, which this kernel does not have';
  }
  const cgroup = cgroupMount();
  if (cgroup === undefined) return 'the laboratory needs cgroup version 2, which is not mounted here';
  try {
    accessSync(cgroup, constants.W_OK);
  } catch {
    return `the laboratory needs to make control groups, and ${cgroup} is read-only`;
  }
  if (/^\/(usr|etc|var)\//.test(cacheDir)) {
    return `the laboratory cannot overlay /usr, /etc and /var with packages from ${cacheDir}; set HOLDFAST_LAB_CACHE`;
  }
  if (statfsSync(labsDir).type === overlayMagic) {
    return `the laboratory cannot keep hosts' disks in ${labsDir}, which is an overlay itself; set HOLDFAST_LAB_DIR`;
  }
  const args = [
    '--net',
    '--mount',
    '--pid',
    '--uts',
    '--ipc',
    '--cgroup',
    '--fork',
    '--',
    'ip',
    'link',
    'add',
    'veth-a',
    'type',
    'veth',
    'peer',
    'name',
    'veth-b',
  ];
  const trial = spawnSync('unshare', args, { encoding: 'utf8' });
  if (trial.status !== 0) return `the laboratory needs namespaces and veth devices: ${trial.stderr.trim()}`;
  return undefined;
}

function onPath(program: string): boolean {
  const dirs = `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`.split(':');
  return dirs.some((dir) => {
    try {
      accessSync(`${dir}/${program}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
