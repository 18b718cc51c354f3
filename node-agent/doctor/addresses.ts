/** Can a virtual address be put here, and does nobody else have it? */
import { choosePlace, holdersOf, type Place, parseVipAddress } from '../resources/index.ts';
import type { NetworkInterface } from '../system/index.ts';
import type { Wanted } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

/** Who may have the address by right, as far as that is known here. */
export type Owner =
  | { readonly is: 'nobody' }
  | { readonly is: 'node'; readonly node: string; readonly running: boolean }
  | { readonly is: 'unknown'; readonly why: string };

/** What the neighbours answered; undefined: they were not asked, because there was no place to ask from. */
export type Asked =
  | { readonly taken: false }
  | { readonly taken: true; readonly mac: string }
  | { readonly notAsked: string }
  | undefined;

export interface AddressFacts {
  readonly wanted: Wanted<'vip'>;
  readonly asked: Asked;
  readonly owner: Owner;
  /** Files of the node's network configuration that name the address. */
  readonly named: readonly { readonly path: string; readonly line: number }[];
}

export interface NetworkFacts {
  readonly interfaces: readonly NetworkInterface[];
  /** Hardware addresses of this machine. */
  readonly macs: ReadonlySet<string>;
}

const { ok, warning, error, unknown } = sayer('addresses');

/** Where the address would be put, or is; undefined where {@link addressFindings} says why there is no place. */
export function placeOf({ interfaces }: NetworkFacts, { resource }: Wanted<'vip'>): Place | undefined {
  const vip = parseVipAddress(resource.address);
  if ('problem' in vip) return undefined;
  const place = choosePlace(interfaces, vip, resource.interface);
  return 'problem' in place ? undefined : place;
}

export function addressFindings(network: NetworkFacts, facts: readonly AddressFacts[]): Finding[] {
  return facts.flatMap((one) => [...placeFindings(network, one), ...namedFindings(one)]);
}

function placeFindings({ interfaces, macs }: NetworkFacts, facts: AddressFacts): Finding[] {
  const { subject, resource } = facts.wanted;
  const vip = parseVipAddress(resource.address);
  if ('problem' in vip) return [error(subject, vip.problem, 'correct it in the document')];
  const { address } = vip;
  const holders = holdersOf(interfaces, address);
  const permanent = holders.find(({ entry }) => !entry.finite);
  if (permanent !== undefined)
    return [
      error(
        subject,
        `${address} is configured on ${permanent.interface} for good: it is this node's own address, or was added by hand`,
        `ip address delete ${address}/${permanent.entry.prefixLength} dev ${permanent.interface}`,
      ),
    ];
  const place = choosePlace(interfaces, vip, resource.interface);
  if ('problem' in place)
    return [
      error(
        subject,
        place.problem,
        place.severity === 'hard'
          ? `name the interface in the document: vip: { address: "${resource.address}", interface: … }`
          : `give an interface an address of the subnet, or name it in the document: vip: { address: "${resource.address}", interface: … }`,
      ),
    ];
  const stray = holders.find((holder) => holder.interface !== place.interface);
  if (stray !== undefined)
    return [
      error(
        subject,
        `${address} is on ${stray.interface}, where Holdfast did not put it (it belongs on ${place.interface})`,
        `ip address delete ${address}/${stray.entry.prefixLength} dev ${stray.interface}`,
      ),
    ];
  return [conflictFinding(facts, place, address, holders.length > 0, macs)];
}

function conflictFinding(
  { wanted: { subject }, asked, owner }: AddressFacts,
  place: Place,
  address: string,
  here: boolean,
  macs: ReadonlySet<string>,
): Finding {
  const on = place.interface;
  if (!place.neighbours) return ok(subject, `${address} goes to ${on}, where there are no neighbours to ask`);
  if (asked === undefined || 'notAsked' in asked)
    return unknown(
      subject,
      `whether somebody else has ${address} was not asked: ${asked?.notAsked ?? 'no place to ask from'}`,
    );
  if (asked.taken && !macs.has(asked.mac)) return takenFinding(subject, address, on, asked.mac, here, owner);
  if (here) return ok(subject, `${address} is on ${on} here, and nobody else answers for it`);
  if (owner.is === 'node' && owner.running)
    return warning(
      subject,
      `${owner.node} runs the group, yet nobody answers for ${address} on ${on}: this node and ${owner.node} do not reach each other there`,
      `look at the cables, the switch and the VLAN between ${on} and ${owner.node}: ping ${address}`,
    );
  return ok(subject, `nobody answers for ${address} on ${on}`);
}

function takenFinding(subject: string, address: string, on: string, mac: string, here: boolean, owner: Owner): Finding {
  const conflict = (what: string) =>
    error(
      subject,
      what,
      `on the machine with the hardware address ${mac}: ip address delete ${address} from its interface, and take it out of its network configuration`,
    );
  if (here) return conflict(`${address} is on ${on} here, and ${mac} answers for it too`);
  switch (owner.is) {
    case 'nobody':
      return conflict(`${address} is in use on the segment of ${on} by ${mac}, and no node runs the group`);
    case 'node':
      return ok(subject, `${mac} answers for ${address} on ${on}, while ${owner.node} runs the group`);
    case 'unknown':
      return unknown(
        subject,
        `${mac} answers for ${address} on ${on}; whether that is the node that runs the group cannot be told: ${owner.why}`,
        'give a token, so that the coordinator can be asked: --token-file FILE',
      );
    default:
      return owner satisfies never;
  }
}

function namedFindings({ wanted, named }: AddressFacts): Finding[] {
  return named.map(({ path, line }) =>
    warning(
      wanted.subject,
      `${path}:${line} names ${wanted.resource.address.split('/', 1)[0]}: what reads it may add the address without a lease`,
      `take it out of ${path}`,
    ),
  );
}
