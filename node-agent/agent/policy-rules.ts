/**
 * What the words of a policy mean. Each rule takes what the policy lists and what a declaration asks for; all are pure.
 * The parameters of a program are as good as a command line, so that what is not plainly harmless is refused.
 */
import ipaddr from 'ipaddr.js';
import { parseVipAddress } from '../resources/index.ts';

/** @returns why a value must not be matched by a glob: only plain characters, and no way up. A literal in the policy may have any. */
export function valueDanger(value: string): string | undefined {
  const bad = /[^A-Za-z0-9_./:@%+=,-]/.exec(value);
  if (bad !== null)
    return `${JSON.stringify(bad[0])} in a value is only taken when the policy lists exactly that value`;
  if (value.split('/').some((segment) => segment === '..' || segment === '.'))
    return 'a path with . or .. in it could lead anywhere';
  return undefined;
}

/** `*` stands for anything within one segment of a path. A pattern with `*` is never a literal. */
export function matches(pattern: string, value: string): boolean {
  if (!pattern.includes('*')) return pattern === value;
  if (valueDanger(value) !== undefined) return false;
  // Nobody who writes `*` means an option.
  if (pattern.startsWith('*') && value.startsWith('-')) return false;
  const expression = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
  return new RegExp(`^${expression.join('[^/]*')}$`).test(value);
}

/** @returns what is wrong with a pattern as an entry of the policy. */
export function patternProblem(pattern: string): string | undefined {
  if (pattern.includes('**')) return '** is not known; * stands for one segment of a path, so list each level';
  if (/[\0\n\r]/.test(pattern)) return 'a line end or a NUL cannot be in a value';
  if (pattern.includes('*') && pattern.split('/').includes('..')) return '.. cannot be in a path with *';
  return undefined;
}

export interface Network {
  readonly text: string;
  readonly address: ipaddr.IPv4 | ipaddr.IPv6;
  readonly length: number;
}

/** Reads `192.0.2.0/24`, or a single address. */
export function parseNetwork(text: string): Network | { readonly problem: string } {
  const match = /^([0-9a-fA-F.:]+?)(?:\/(\d{1,3}))?$/.exec(text);
  const problem = { problem: `${JSON.stringify(text)} is not a network such as 192.0.2.0/24 or 2001:db8::/64` };
  if (match?.[1] === undefined) return problem;
  const six = match[1].includes(':');
  if (six ? !ipaddr.IPv6.isValid(match[1]) || match[1].includes('.') : !ipaddr.IPv4.isValidFourPartDecimal(match[1]))
    return problem;
  const address = ipaddr.parse(match[1]);
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress())
    return { problem: `${text} is an IPv4 address written as IPv6; write it as IPv4` };
  const length = match[2] === undefined ? (six ? 128 : 32) : Number(match[2]);
  if (length > (six ? 128 : 32)) return problem;
  return { text, address, length };
}

/** The network that an address with a prefix length is in: `192.0.2.10/24` is in `192.0.2.0/24`. */
export function networkOf(network: Network): string {
  const family = network.address instanceof ipaddr.IPv6 ? ipaddr.IPv6 : ipaddr.IPv4;
  return `${family.networkAddressFromCIDR(`${network.address}/${network.length}`)}/${network.length}`;
}

/**
 * An address must lie in a listed network. Its declared prefix length may not reach beyond that network or a subnet that the node
 * is part of anyway, because with the address may come a route.
 */
export function vipProblem(
  declared: string,
  networks: readonly Network[],
  ownSubnets: readonly string[],
): { readonly problem: string } | { readonly by: string } {
  const vip = parseVipAddress(declared);
  if ('problem' in vip) return vip;
  const address = ipaddr.parse(vip.address);
  const holds = (network: Network) =>
    network.address.kind() === address.kind() && address.match(network.address, network.length);
  const found = networks.filter(holds);
  const first = found[0];
  if (first === undefined)
    return {
      problem: `${vip.address} is in none of ${networks.map((network) => network.text).join(', ') || 'no networks'}`,
    };
  const own = ownSubnets.map(parseNetwork).filter((network) => 'text' in network);
  const covering = [...found, ...own.filter(holds)].find((network) => network.length <= vip.prefixLength);
  if (covering === undefined)
    return { problem: `/${vip.prefixLength} reaches beyond ${first.text} and beyond every subnet of this node` };
  return { by: first.text };
}

/** A unit's full name: `mariadb` is `mariadb.service`. */
export function unitName(unit: string): string {
  return /\.[a-z]+$/.test(unit) ? unit : `${unit}.service`;
}

/** @returns what is wrong with a unit as an entry of the policy: an exact service, or all instances of one template. */
export function unitEntryProblem(unit: string): string | undefined {
  const name = unitName(unit);
  if (/^[A-Za-z0-9_][A-Za-z0-9:_.\\-]*(?:@(?:\*|[A-Za-z0-9:_.\\-]+))?\.service$/.test(name)) return undefined;
  if (name.includes('*'))
    return `${JSON.stringify(unit)}: * may only stand for the instance of a template, as in app@*.service`;
  return `${JSON.stringify(unit)} is not the name of a service unit`;
}

/** @param name as it is declared, which is what systemd will be told: an entry may be short, a declaration may not. */
export function unitMatches(entry: string, name: string): boolean {
  if (!/^[A-Za-z0-9_][A-Za-z0-9:_.\\-]*(?:@[A-Za-z0-9:_.\\-]+)?\.service$/.test(name)) return false;
  const listed = unitName(entry);
  if (!listed.endsWith('@*.service')) return listed === name;
  const template = listed.slice(0, -'*.service'.length);
  return name.startsWith(template) && name.length > template.length + '.service'.length;
}

const FILE_SYSTEMS = new Set(
  'bcachefs btrfs erofs exfat ext2 ext3 ext4 f2fs gfs2 jfs nilfs2 ntfs3 ocfs2 squashfs vfat xfs'.split(' '),
);
/** They mount something else than was asked for, or run a helper program. */
const REFUSED_OPTIONS = new Set(
  'bind rbind move remount loop offset sizelimit helper uhelper shared rshared slave rslave private rprivate unbindable user users owner group'.split(
    ' ',
  ),
);
/** Below /dev, but no block devices: anybody may put a file there, or they lead elsewhere. */
const REFUSED_DEVICES = /^\/dev\/(?:shm|fd|mqueue|pts|std(?:in|out|err)|core|char|hugepages|net)(?:\/|$)/;

function isPlainPath(path: string): boolean {
  return path.startsWith('/') && !path.endsWith('/') && !path.includes('//') && valueDanger(path) === undefined;
}

/** @returns what is wrong with a mount whatever the policy lists. */
export function mountDanger(mount: {
  device: string;
  directory: string;
  fstype: string;
  options?: string;
}): string | undefined {
  if (!isPlainPath(mount.directory)) return `${JSON.stringify(mount.directory)} is not a plain absolute path`;
  if (!isPlainPath(mount.device) || !mount.device.startsWith('/dev/') || REFUSED_DEVICES.test(mount.device))
    return `${JSON.stringify(mount.device)} is not a block device under /dev (for a label use /dev/disk/by-label/…)`;
  if (!FILE_SYSTEMS.has(mount.fstype))
    return `file system ${JSON.stringify(mount.fstype)} is none of ${[...FILE_SYSTEMS].join(', ')}`;
  if (mount.options === undefined || mount.options === '') return undefined;
  for (const option of mount.options.split(',')) {
    const name = option.split('=', 1)[0] ?? '';
    if (
      !/^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:=[A-Za-z0-9_.:/-]*)?$/.test(option) ||
      REFUSED_OPTIONS.has(name) ||
      /^x-/i.test(name)
    )
      return `the mount option ${JSON.stringify(option)} is not allowed`;
  }
  return undefined;
}

/** @returns what is wrong with a mount point as an entry of the policy. */
export function directoryEntryProblem(directory: string): string | undefined {
  return isPlainPath(directory.replaceAll('*', 'x'))
    ? patternProblem(directory)
    : `${JSON.stringify(directory)} is not a plain absolute path`;
}

export function drbdEntryProblem(resource: string): string | undefined {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(resource)
    ? undefined
    : `${JSON.stringify(resource)} is not the name of a DRBD resource`;
}
