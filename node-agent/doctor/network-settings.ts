/**
 * Settings of the kernel that a virtual address depends on, and no others. Addresses are announced by the guard's own frames and asked
 * for by its own probes, and IPv6 ones are added without duplicate address detection, so that `arp_notify`, `ndisc_notify`,
 * `arp_announce`, `accept_dad` and `arp_accept` do not matter here. Source: Documentation/networking/ip-sysctl.rst.
 */
import type { Place } from '../resources/index.ts';
import type { Wanted } from './declared.ts';
import { type Finding, type Level, sayer } from './finding.ts';
import { setSysctls } from './sysctl.ts';

interface Setting {
  readonly family: 4 | 6;
  readonly key: string;
  /** How the kernel joins the value of `all` with that of the interface. */
  readonly joined: 'max' | 'or' | 'interface';
  readonly bad: (value: number) => boolean;
  readonly set: number;
  readonly level: Extract<Level, 'warning' | 'error'>;
  /** Only where the address is not a single one (/32): the first address of its subnet on the interface. */
  readonly firstOfSubnet?: true;
  readonly why: (address: string, on: string) => string;
}

const SETTINGS: readonly Setting[] = [
  {
    family: 4,
    key: 'arp_ignore',
    joined: 'max',
    bad: (value) => value === 8,
    set: 0,
    level: 'error',
    why: (address, on) => `${on} answers no ARP request at all: nobody would find ${address}`,
  },
  {
    family: 4,
    key: 'drop_gratuitous_arp',
    joined: 'or',
    bad: (value) => value !== 0,
    set: 0,
    level: 'warning',
    why: (address, on) =>
      `announcements are dropped on ${on}: after a takeover this node would go on sending to the old place of ${address}`,
  },
  {
    family: 4,
    key: 'promote_secondaries',
    joined: 'or',
    bad: (value) => value === 0,
    set: 1,
    level: 'warning',
    firstOfSubnet: true,
    why: (address, on) =>
      `${address} would be the first address of its subnet on ${on}: later ones of the subnet go when it goes`,
  },
  {
    family: 6,
    key: 'disable_ipv6',
    joined: 'interface',
    bad: (value) => value !== 0,
    set: 0,
    level: 'error',
    why: (address, on) => `IPv6 is switched off on ${on}: ${address} cannot be added`,
  },
  {
    family: 6,
    key: 'drop_unsolicited_na',
    joined: 'interface',
    bad: (value) => value !== 0,
    set: 0,
    level: 'warning',
    why: (address, on) =>
      `announcements are dropped on ${on}: after a takeover this node would go on sending to the old place of ${address}`,
  },
];

/** A value of `net.ipv4.conf` or `net.ipv6.conf`; undefined where the kernel has no such setting. */
export type ReadSetting = (family: 4 | 6, scope: string, key: string) => number | undefined;

const say = sayer('network-settings');

/** @param places where each address would be put; an address without a place is left out. */
export function networkSettingFindings(
  places: readonly { readonly wanted: Wanted<'vip'>; readonly place: Place }[],
  read: ReadSetting,
): Finding[] {
  const found = places.flatMap(({ wanted, place }) => {
    const [address = ''] = wanted.resource.address.split('/');
    const family = address.includes(':') ? 6 : 4;
    return SETTINGS.flatMap((setting) => {
      if (setting.family !== family || (setting.firstOfSubnet === true && place.prefixLength >= 32)) return [];
      const scopes = setting.joined === 'interface' ? [place.interface] : ['all', place.interface];
      const values = scopes.flatMap((scope) => {
        const value = read(family, scope, setting.key);
        return value === undefined ? [] : [{ scope, value }];
      });
      if (values.length === 0 || !setting.bad(Math.max(...values.map(({ value }) => value)))) return [];
      const wrong = setting.set === 0 ? values.filter(({ value }) => setting.bad(value)) : values.slice(-1);
      const names = wrong.map(({ scope }) => `${sysctlName(family, scope, setting.key)}=${setting.set}`);
      const [first] = wrong;
      const detail = `${sysctlName(family, first?.scope ?? place.interface, setting.key)} is ${first?.value}: ${setting.why(address, place.interface)}`;
      return [say[setting.level](wanted.subject, detail, setSysctls(names))];
    });
  });
  if (found.length > 0 || places.length === 0) return found;
  return [say.ok('sysctl', 'the settings that virtual addresses depend on are as they should be')];
}

/** A dot in the name of an interface is written as a slash (sysctl(8)). */
function sysctlName(family: 4 | 6, scope: string, key: string): string {
  return `net.ipv${family}.conf.${scope.replaceAll('.', '/')}.${key}`;
}
