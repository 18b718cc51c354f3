/** Is the device there with the declared file system on it, and does nothing but a lease mount it? */
import type { ExtState } from '../resources/index.ts';
import { needsCheck, typeFits } from '../resources/index.ts';
import { type FoundDevice, shellWord, type UnitOrigin } from '../system/index.ts';
import type { Wanted } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

/** A line of /etc/fstab. */
export interface FstabEntry {
  readonly line: number;
  readonly spec: string;
  readonly directory: string;
  readonly options: readonly string[];
}

export interface MountFacts {
  readonly wanted: Wanted<'mount'>;
  readonly device: FoundDevice;
  /** What blkid finds on the device. */
  readonly content:
    | { readonly type: string }
    | { readonly nothing: true }
    | { readonly unreadable: string }
    | undefined;
  readonly ext: ExtState | undefined;
  /** It is mounted where it belongs, or elsewhere (said in words), or not at all. */
  readonly mounted: 'in place' | { readonly elsewhere: string } | undefined;
  /** What else is mounted on the mount point. */
  readonly covered: string | undefined;
  readonly fstab: readonly FstabEntry[];
  /** Its mount and automount units, by name; why systemd could not be asked. */
  readonly units: ReadonlyMap<string, UnitOrigin> | { readonly unreadable: string };
}

const { ok, warning, error, unknown } = sayer('mounts');

export function mountFindings(facts: readonly MountFacts[]): Finding[] {
  return facts.flatMap((one) => {
    const found = [...contentFindings(one), ...otherMountFindings(one), ...fstabFindings(one), ...unitFindings(one)];
    const { subject, resource } = one.wanted;
    return found.length > 0
      ? found
      : [ok(subject, `${resource.device} has the declared ${resource.fstype}, and nothing else mounts it`)];
  });
}

function contentFindings({ wanted, device, content, ext }: MountFacts): Finding[] {
  const { subject, resource } = wanted;
  if (device.is === 'missing')
    return [
      error(
        subject,
        `the device ${resource.device} is not there`,
        `attach it, or correct the name in the document; what there is: lsblk -o NAME,FSTYPE,LABEL,PATH`,
      ),
    ];
  if (device.is === 'other') return [error(subject, device.what, 'name a block device under /dev in the document')];
  if (content === undefined) return [];
  if ('unreadable' in content)
    return [unknown(subject, `what is on ${resource.device} could not be read: ${content.unreadable}`)];
  if ('nothing' in content)
    return [
      error(
        subject,
        `${resource.device} has no file system on it, ${resource.fstype} was expected`,
        `where nothing is lost by it, and on one node only if the disk is shared or mirrored: mkfs.${resource.fstype} ${shellWord(resource.device)}`,
      ),
    ];
  if (!typeFits(resource.fstype, content.type))
    return [
      error(
        subject,
        `${resource.device} has ${content.type === '' ? 'something else' : `a ${content.type}`} on it, not ${resource.fstype}`,
        `write ${content.type || 'the right type'} in the document, or name the right device`,
      ),
    ];
  if (ext !== undefined && needsCheck(ext) && resource.fsck === 'never')
    return [
      warning(
        subject,
        `${resource.device} is not clean and \`fsck: never\` mounts it as it is`,
        `while it is unmounted everywhere: e2fsck -p ${shellWord(resource.device)}`,
      ),
    ];
  return [];
}

function otherMountFindings({ wanted, mounted, covered }: MountFacts): Finding[] {
  const { subject, resource } = wanted;
  const found: Finding[] = [];
  if (typeof mounted === 'object')
    found.push(
      error(
        subject,
        `${resource.device} is mounted already at ${mounted.elsewhere}, where Holdfast did not put it`,
        unmountElsewhere(mounted.elsewhere),
      ),
    );
  if (covered !== undefined)
    found.push(
      error(subject, `${covered} is mounted at ${resource.directory}`, `umount ${shellWord(resource.directory)}`),
    );
  return found;
}

/** As `mountedAt` says it. A name may have spaces, and in another mount namespace it is another directory. */
function unmountElsewhere(where: string): string {
  const [, place = where, pid] = /^(.*?)(?: in the mount namespace of process (\d+))?$/s.exec(where) ?? [];
  return `${pid === undefined ? '' : `nsenter --target ${pid} --mount `}umount ${shellWord(place)}`;
}

/** `noauto` keeps a line from being mounted at boot, unless it asks to be mounted at the first access. */
function fstabFindings({ wanted, fstab }: MountFacts): Finding[] {
  return fstab
    .filter(({ options }) => !options.includes('noauto') || options.includes('x-systemd.automount'))
    .map(({ line, spec, directory }) =>
      error(
        wanted.subject,
        `/etc/fstab:${line} mounts ${spec} at ${directory} at boot, without a lease`,
        `sed -i '${line}d' /etc/fstab && systemctl daemon-reload`,
      ),
    );
}

function unitFindings({ wanted, units, fstab }: MountFacts): Finding[] {
  const { subject } = wanted;
  if ('unreadable' in units)
    return [unknown(subject, `mount units of systemd were not looked at: ${units.unreadable}`)];
  return [...units].flatMap(([name, unit]) => {
    // what /etc/fstab has made goes with its line
    if (unit.load !== 'loaded' || (unit.file === 'generated' && fstab.length > 0)) return [];
    if (name.endsWith('.automount') && unit.active === 'active')
      return [
        error(
          subject,
          `${name} mounts it at the first access, without a lease`,
          `systemctl disable --now ${shellWord(name)}`,
        ),
      ];
    const by = unit.wantedBy.filter((target) => target.endsWith('.target') && unit.file !== '');
    if (unit.file.startsWith('enabled') || by.length > 0)
      return [
        error(
          subject,
          `${name} is started at boot${by.length === 0 ? '' : ` by ${by.join(', ')}`}, without a lease`,
          `systemctl disable ${shellWord(name)}`,
        ),
      ];
    return [];
  });
}
