/** Reads what the judgements of addresses need: interfaces, settings, files that name an address, and the neighbours' answers. */
import { join } from 'node:path';
import { type Place, parseVipAddress } from '../resources/index.ts';
import { Addresses, namesIn, textAt } from '../system/index.ts';
import { type AddressFacts, type NetworkFacts, type Owner, placeOf } from './addresses.ts';
import type { Wanted } from './declared.ts';
import { askNeighbours } from './neighbours.ts';
import type { ReadSetting } from './network-settings.ts';

export interface NetworkReading {
  readonly network: NetworkFacts;
  readonly facts: readonly AddressFacts[];
  readonly places: readonly { readonly wanted: Wanted<'vip'>; readonly place: Place }[];
}

/** @throws when iproute2 is missing or fails. */
export async function readNetwork(
  vips: readonly Wanted<'vip'>[],
  guardPath: string,
  ownerOf: (group: string) => Owner,
): Promise<NetworkReading> {
  const interfaces = await new Addresses().read();
  const macs = new Set(namesIn('/sys/class/net').flatMap((name) => textAt(`/sys/class/net/${name}/address`) ?? []));
  const network = { interfaces, macs };
  const places = vips.flatMap((wanted) => {
    const place = placeOf(network, wanted);
    return place === undefined ? [] : [{ wanted, place }];
  });
  const askable = places.filter(({ place }) => place.neighbours);
  const answers = await askNeighbours(
    guardPath,
    askable.map(({ wanted, place }) => ({ interface: place.interface, address: bare(wanted) })),
  );
  const facts = vips.map((wanted) => ({
    wanted,
    asked: answers[askable.findIndex((one) => one.wanted === wanted)],
    owner: ownerOf(wanted.group),
    named: filesNaming(bare(wanted)),
  }));
  return { network, facts, places };
}

/** As the kernel writes it. */
function bare({ resource }: Wanted<'vip'>): string {
  const vip = parseVipAddress(resource.address);
  return 'problem' in vip ? resource.address : vip.address;
}

export const readSetting: ReadSetting = (family, scope, key) => {
  const text = textAt(`/proc/sys/net/ipv${family}/conf/${scope}/${key}`);
  return text === undefined ? undefined : Number(text);
};

const NETWORK_FILES = ['/etc/network/interfaces', '/etc/keepalived/keepalived.conf'];
const NETWORK_DIRECTORIES = [
  '/etc/network/interfaces.d',
  '/etc/systemd/network',
  '/etc/netplan',
  '/etc/NetworkManager/system-connections',
];

/** Lines of the node's network configuration in which the address stands as a whole word, comments left out. */
function filesNaming(address: string): { path: string; line: number }[] {
  const word = new RegExp(`(?:^|[^0-9a-fA-F.:])${address.replaceAll('.', '\\.')}(?:[^0-9a-fA-F.:]|$)`, 'i');
  const files = [
    ...NETWORK_FILES,
    ...NETWORK_DIRECTORIES.flatMap((directory) => namesIn(directory).map((name) => join(directory, name))),
  ];
  return files.flatMap((path) => {
    const lines = (textAt(path) ?? '').split('\n');
    const at = lines.findIndex((line) => !/^\s*[#;!]/.test(line) && word.test(line));
    return at === -1 ? [] : [{ path, line: at + 1 }];
  });
}
