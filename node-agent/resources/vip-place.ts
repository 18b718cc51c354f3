import ipaddr from 'ipaddr.js';
import { fullLength, type NetworkInterface } from '../system/index.ts';
import type { Severity } from './resource.ts';

/** A virtual address as it was declared, checked and in the kernel's spelling. */
export interface VipAddress {
  readonly address: string;
  readonly prefixLength: number;
}

/** Where an address goes, and with which prefix length. */
export interface Place {
  readonly interface: string;
  readonly prefixLength: number;
  /** Other hosts of the segment can be asked and told about the address. */
  readonly neighbours: boolean;
}

export interface NoPlace {
  readonly problem: string;
  readonly severity: Severity;
}

/** @returns the address, or why it is none that a cluster can move. */
export function parseVipAddress(text: string): VipAddress | { readonly problem: string } {
  const refuse = (why: string) => ({ problem: `vip ${JSON.stringify(text)}: ${why}` });
  const match = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(text);
  if (match?.[1] === undefined) return refuse('not an address with a prefix length, such as 192.0.2.10/24');
  const prefixLength = Number(match[2]);
  const six = match[1].includes(':');
  if (six ? !ipaddr.IPv6.isValid(match[1]) : !ipaddr.IPv4.isValidFourPartDecimal(match[1]))
    return refuse(`${match[1]} is not an IP address`);
  if (prefixLength < 1 || prefixLength > (six ? 128 : 32))
    return refuse(`a prefix length of ${prefixLength} does not exist`);
  const address = ipaddr.parse(match[1]);
  const range = address.range();
  const moveable = ['unicast', 'private', 'uniqueLocal', 'carrierGradeNat', 'reserved', 'linkLocal', 'benchmarking'];
  // Documentation addresses count as reserved; 6to4, Teredo and mapped IPv4 would smuggle another address in.
  if (!moveable.includes(range)) return refuse(`${match[1]} is a ${range} address`);
  if (six && match[1].includes('.')) return refuse('write an IPv6 address without an IPv4 part');
  return { address: address.toString(), prefixLength };
}

function contains(network: string, prefixLength: number, address: string): boolean {
  const a = ipaddr.parse(address);
  const n = ipaddr.parse(network);
  return a.kind() === n.kind() && a.match(n, prefixLength);
}

/** @returns the interfaces, loopback ones excepted, that carry the address now (LVS real servers keep it on `lo`, where it is harmless). */
export function holdersOf(interfaces: readonly NetworkInterface[], address: string) {
  return interfaces
    .filter((link) => !link.loopback)
    .flatMap((link) =>
      link.addresses
        .filter((entry) => entry.address === address)
        .map((entry) => ({ interface: link.name, up: link.up, neighbours: link.neighbours, entry })),
    );
}

/**
 * Chooses the interface, by name or by the subnet, among those that are up. With another address of the subnet there the new one
 * becomes a single one (/32, /128): it then never is the primary address whose deletion takes others along, and adds no route.
 */
export function choosePlace(
  interfaces: readonly NetworkInterface[],
  vip: VipAddress,
  wanted: string | undefined,
): Place | NoPlace {
  const others = (link: NetworkInterface) => link.addresses.filter((entry) => entry.address !== vip.address);
  // The interface's own view of its network counts first; the declared one only where that finds nothing.
  const covers = (link: NetworkInterface) =>
    others(link).some(
      (entry) =>
        entry.prefixLength < fullLength(entry.address) && contains(entry.address, entry.prefixLength, vip.address),
    );
  const inside = (link: NetworkInterface) =>
    others(link).some((entry) => contains(vip.address, vip.prefixLength, entry.address));
  const place = (link: NetworkInterface): Place => ({
    interface: link.name,
    prefixLength: covers(link) || inside(link) ? fullLength(vip.address) : vip.prefixLength,
    neighbours: link.neighbours,
  });

  if (wanted !== undefined) {
    const link = interfaces.find((candidate) => candidate.name === wanted);
    if (link === undefined)
      return {
        severity: 'soft',
        problem: `there is no interface ${wanted} for ${vip.address}; seen: ${describe(interfaces)}`,
      };
    if (!link.up) return { severity: 'soft', problem: `the link of ${wanted} is down, ${vip.address} cannot be there` };
    return place(link);
  }
  const usable = interfaces.filter((link) => link.up && !link.loopback);
  let candidates = usable.filter(covers);
  if (candidates.length === 0) candidates = usable.filter(inside);
  const [only, second] = candidates;
  if (only === undefined) {
    const problem = `no interface that is up has an address in the subnet of ${vip.address}/${vip.prefixLength}; seen: ${describe(interfaces)}`;
    return { severity: 'soft', problem };
  }
  if (second !== undefined) {
    const names = candidates.map((link) => link.name).join(' and ');
    return {
      severity: 'hard',
      problem: `${names} are both in the subnet of ${vip.address}/${vip.prefixLength}; name one with interface:`,
    };
  }
  return place(only);
}

function describe(interfaces: readonly NetworkInterface[]): string {
  const seen = interfaces
    .filter((link) => !link.loopback)
    .map((link) => {
      const list = link.addresses.map((entry) => `${entry.address}/${entry.prefixLength}`).join(', ');
      return `${link.name} (${link.up ? '' : 'down, '}${list || 'no address'})`;
    });
  return seen.join('; ') || 'no interface but loopback';
}
