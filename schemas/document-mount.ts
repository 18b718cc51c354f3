/** Which file systems may be mounted where. Used on a `mount` as it stands in the document; the node's policy narrows it further. */
import { MOUNT_FILE_SYSTEMS } from './config.ts';
import { nearest } from './names.ts';

export interface MountFields {
  readonly device: string;
  readonly directory: string;
  readonly fstype: string;
  readonly options?: string | undefined;
}

export interface MountProblem {
  readonly part: keyof MountFields;
  readonly detail: string;
  readonly suggestion?: string;
}

/** Takes `device directory fstype [options]` apart. @returns the fields, or what is wrong with the line as a whole. */
export function readMountLine(text: string): MountFields | { readonly detail: string } {
  const [device, directory, fstype, options, ...more] = text.trim().split(/\s+/);
  const form = '`device directory fstype [options]`, for example `/dev/drbd0 /srv/mysql ext4`';
  if (device === undefined || directory === undefined || fstype === undefined)
    return { detail: `“${text}” is too short for a mount: write ${form}` };
  if (more.length > 0)
    return { detail: `“${text}” has more than four fields (no dump and pass numbers as in /etc/fstab): write ${form}` };
  return { device, directory, fstype, ...(options === undefined ? {} : { options }) };
}

/** @returns everything that is wrong with a mount, each with the part that it is about. */
export function mountProblems(mount: MountFields): MountProblem[] {
  const found: (MountProblem | undefined)[] = [
    deviceProblem(mount.device),
    directoryProblem(mount.directory),
    typeProblem(mount.fstype),
    mount.options === undefined ? undefined : optionsProblem(mount.options),
  ];
  return found.filter((problem) => problem !== undefined);
}

/** Is one mount point below the other? */
export function isBelow(directory: string, above: string): boolean {
  return directory.startsWith(`${above}/`);
}

/** Letters that need no quoting anywhere, and no way up: what a node's policy takes. */
function pathProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'is not an absolute path';
  const bad = /[^A-Za-z0-9_./:@%+=,-]/.exec(path);
  if (bad !== null)
    return `has ${JSON.stringify(bad[0])} in it; letters, digits and _ . / : @ % + = , - can be in a path`;
  if (path.split('/').some((segment) => segment === '..' || segment === '.')) return 'has . or .. in it';
  if (path.length > MAX_PATH_LENGTH) return `is longer than ${MAX_PATH_LENGTH} characters`;
  return undefined;
}

/** The guard takes a mount point in one line of its protocol. */
const MAX_PATH_LENGTH = 255;

const normalised = (path: string) => path.replaceAll(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');

/** Below /dev, but no block devices. */
const NO_DEVICES = /^\/dev\/(?:shm|fd|mqueue|pts|std(?:in|out|err)|core|char|hugepages|net)(?:\/|$)/;

function deviceProblem(device: string): MountProblem | undefined {
  const problem = (detail: string, suggestion?: string): MountProblem => ({
    part: 'device',
    detail,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
  const tag = /^(UUID|LABEL|PARTUUID|PARTLABEL|ID)=(.+)$/.exec(device);
  if (tag !== null) {
    const path = `/dev/disk/by-${tag[1]?.toLowerCase()}/${tag[2]}`;
    return problem(`${device}: name the device by its path, ${path}`, path);
  }
  const path = pathProblem(device);
  if (path !== undefined) return problem(`the device “${device}” ${path}`);
  if (normalised(device) !== device)
    return problem(`the device “${device}” is not written plainly`, normalised(device));
  if (!device.startsWith('/dev/') || NO_DEVICES.test(device))
    return problem(`“${device}” is no block device: devices are only taken from /dev`);
  return undefined;
}

/** Directories of the system itself: what is mounted over one of them hides it from everything that runs. */
const SYSTEM = /^\/(?:bin|boot|dev|etc|lib|lib32|lib64|libx32|proc|run|sbin|sys)(?:\/|$)/;
const SYSTEM_ITSELF = new Set(
  '/ /root /tmp /usr /var /var/cache /var/lib /var/local /var/lock /var/log /var/run /var/spool /var/tmp'.split(' '),
);
const SYSTEM_BELOW = /^\/(?:usr\/(?!local\/.)|var\/lib\/(?:holdfast|dpkg|systemd)(?:\/|$)|var\/run\/|var\/lock\/)/;

function directoryProblem(directory: string): MountProblem | undefined {
  const path = pathProblem(directory);
  if (path !== undefined) return { part: 'directory', detail: `the directory “${directory}” ${path}` };
  const plain = normalised(directory);
  if (SYSTEM.test(plain) || SYSTEM_ITSELF.has(plain) || SYSTEM_BELOW.test(plain))
    return {
      part: 'directory',
      detail: `${plain} is a directory of the system; mount below /srv, /mnt, /home, /opt or a directory of /var/lib`,
    };
  if (plain !== directory)
    return { part: 'directory', detail: `the directory “${directory}” is not written plainly`, suggestion: plain };
  return undefined;
}

/** Why a well-known file system is not among those that can be mounted. */
const NOT_MOUNTED: Readonly<Record<string, string>> = {
  btrfs: 'its device number is not that of its disk, so whether it is in use could not be told',
  bcachefs: 'its device number is not that of its disk, so whether it is in use could not be told',
  zfs: 'it is not mounted from a block device',
  gfs2: 'it is mounted on all nodes at once, which is no work for a lease',
  ocfs2: 'it is mounted on all nodes at once, which is no work for a lease',
  nfs: 'it is not mounted from a block device',
  nfs4: 'it is not mounted from a block device',
  cifs: 'it is not mounted from a block device',
};

function typeProblem(fstype: string): MountProblem | undefined {
  if (MOUNT_FILE_SYSTEMS.some((known) => known === fstype)) return undefined;
  const why = NOT_MOUNTED[fstype];
  const near = why === undefined ? nearest(fstype, MOUNT_FILE_SYSTEMS) : undefined;
  return {
    part: 'fstype',
    detail: `file system “${fstype}” cannot be run${why === undefined ? '' : `: ${why}`}; known are ${MOUNT_FILE_SYSTEMS.join(', ')}`,
    ...(near === undefined ? {} : { suggestion: near }),
  };
}

/** They mount something else than was asked for, run a helper program, or change who may unmount. */
const REFUSED_OPTIONS = new Set(
  'bind rbind move remount loop offset sizelimit helper uhelper shared rshared slave rslave private rprivate unbindable user users owner group'.split(
    ' ',
  ),
);

function optionsProblem(options: string): MountProblem | undefined {
  for (const option of options.split(',')) {
    const name = option.split('=', 1)[0] ?? '';
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:=[A-Za-z0-9_.:/-]*)?$/.test(option))
      return {
        part: 'options',
        detail: `“${option}” is not a mount option; write them as in /etc/fstab: noatime,commit=5`,
      };
    if (REFUSED_OPTIONS.has(name) || /^x-/i.test(name))
      return {
        part: 'options',
        detail: `the mount option \`${option}\` is not taken: it would mount something else, or let others unmount`,
      };
  }
  return undefined;
}
