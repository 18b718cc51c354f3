/** Judgements of virtual addresses, and of the settings that they depend on. */
import { test } from 'node:test';
import type { NetworkInterface } from '../system/index.ts';
import { type AddressFacts, addressFindings, type NetworkFacts, type Owner, placeOf } from './addresses.ts';
import { wanted } from './declared.ts';
import { networkSettingFindings } from './network-settings.ts';
import { declaredBy, expectFindings } from './testing.ts';

const [vip] = wanted(declaredBy(['vip: 192.0.2.10/24']), 'vip');
const [vip6] = wanted(declaredBy(['vip: "2001:db8::10/64"']), 'vip');
if (vip === undefined || vip6 === undefined) throw new Error('the documents of the test have no address');

const address = (text: string, prefixLength: number, finite = false) => ({
  family: text.includes(':') ? (6 as const) : (4 as const),
  address: text,
  prefixLength,
  tentative: false,
  dadFailed: false,
  finite,
});
const link = (name: string, ...addresses: NetworkInterface['addresses']): NetworkInterface => ({
  name,
  up: true,
  loopback: false,
  neighbours: true,
  addresses,
});
const own = address('192.0.2.11', 24);
const network = (...interfaces: NetworkInterface[]): NetworkFacts => ({
  interfaces,
  macs: new Set(['02:00:00:00:00:01']),
});
const eth0 = network(link('eth0', own));
const here = network(link('eth0', own, address('192.0.2.10', 32, true)));

const nobody: Owner = { is: 'nobody' };
const bob: Owner = { is: 'node', node: 'bob', running: true };
const unclear: Owner = { is: 'unknown', why: 'the coordinator was not asked' };
const stranger = { taken: true, mac: '02:aa:00:00:00:99' } as const;
const free = { taken: false } as const;

const table: readonly (readonly [string, NetworkFacts, Partial<AddressFacts>, RegExp, RegExp?])[] = [
  ['free', eth0, {}, /^ok web\/vip-192\.0\.2\.10: nobody answers for 192\.0\.2\.10 on eth0/],
  [
    'taken while no node runs the group',
    eth0,
    { asked: stranger },
    /^error .*in use on the segment of eth0 by 02:aa:00:00:00:99/,
    /hardware address 02:aa:00:00:00:99/,
  ],
  [
    'taken by the node that runs the group',
    eth0,
    { asked: stranger, owner: bob },
    /^ok .*02:aa.* answers.*while bob runs the group/,
  ],
  [
    'taken, and nobody knows by whom',
    eth0,
    { asked: stranger, owner: unclear },
    /^unknown .*cannot be told: the coordinator was not asked/,
    /--token-file/,
  ],
  ['taken by another interface of this machine', eth0, { asked: { taken: true, mac: '02:00:00:00:00:01' } }, /^ok/],
  ['here, by right', here, {}, /^ok .*is on eth0 here, and nobody else/],
  [
    'here, and at a stranger’s too',
    here,
    { asked: stranger },
    /^error .*answers for it too/,
    /ip address delete 192\.0\.2\.10/,
  ],
  ['not asked for', eth0, { asked: { notAsked: 'no guard' } }, /^unknown .*was not asked: no guard/],
  [
    'run by another node that cannot be heard',
    eth0,
    { owner: bob },
    /^warning .*bob runs the group, yet nobody answers/,
    /ping 192\.0\.2\.10/,
  ],
  ['run by another node that is still starting', eth0, { owner: { ...bob, running: false } }, /^ok/],
  [
    'configured for good',
    network(link('eth0', own, address('192.0.2.10', 24))),
    {},
    /^error .*configured on eth0 for good/,
    /^ip address delete 192\.0\.2\.10\/24 dev eth0$/,
  ],
  [
    'on another interface',
    network(link('eth0', own), link('eth1', address('192.0.2.10', 32, true))),
    {},
    /^error .*is on eth1, where Holdfast did not put it/,
    /dev eth1$/,
  ],
  [
    'without an interface in its subnet',
    network(link('eth0', address('198.51.100.1', 24))),
    { asked: undefined },
    /^error .*no interface that is up has an address in the subnet/,
    /give an interface an address/,
  ],
  [
    'with two interfaces in its subnet',
    network(link('eth0', own), link('eth1', address('192.0.2.12', 24))),
    { asked: undefined },
    /^error .*both in the subnet/,
    /interface: …/,
  ],
  [
    'on an interface without neighbours',
    network({ ...link('dummy0', own), neighbours: false }),
    { asked: undefined },
    /^ok .*no neighbours to ask/,
  ],
];
for (const [what, facts, differs, text, fix] of table)
  test(`an address that is ${what}`, () =>
    expectFindings(addressFindings(facts, [{ wanted: vip, asked: free, owner: nobody, named: [], ...differs }]), [
      fix === undefined ? [text] : [text, fix],
    ]));

test('a file of the network configuration that names the address is a warning beside the answer', () => {
  const named = [{ path: '/etc/network/interfaces', line: 7 }];
  expectFindings(addressFindings(eth0, [{ wanted: vip, asked: free, owner: nobody, named }]), [
    [/^ok/],
    [/^warning .*\/etc\/network\/interfaces:7 names 192\.0\.2\.10/, /take it out/],
  ]);
});

const settingTable: readonly (readonly [
  string,
  typeof vip,
  NetworkFacts,
  Readonly<Record<string, number>>,
  RegExp,
  RegExp?,
])[] = [
  ['as the kernel has them', vip, eth0, {}, /^ok sysctl/],
  [
    'arp_ignore=8',
    vip,
    eth0,
    { 'all.arp_ignore': 8 },
    /^error .*net\.ipv4\.conf\.all\.arp_ignore is 8: eth0 answers no ARP/,
    /^sysctl -w net\.ipv4\.conf\.all\.arp_ignore=0 && printf/,
  ],
  [
    'arp_ignore=1 and 2, which answer for what is on the interface',
    vip,
    eth0,
    { 'all.arp_ignore': 1, 'eth0.arp_ignore': 2 },
    /^ok/,
  ],
  [
    'dropped announcements',
    vip,
    eth0,
    { 'all.drop_gratuitous_arp': 1, 'eth0.drop_gratuitous_arp': 1 },
    /^warning .*old place of 192\.0\.2\.10/,
    /all\.drop_gratuitous_arp=0 net\.ipv4\.conf\.eth0\.drop_gratuitous_arp=0 && printf/,
  ],
  [
    'no promotion, where the address is a single one',
    vip,
    eth0,
    { 'all.promote_secondaries': 0, 'eth0.promote_secondaries': 0 },
    /^ok/,
  ],
  [
    'no IPv6 on the interface',
    vip6,
    network(link('eth0', address('2001:db8::1', 64))),
    { 'eth0.disable_ipv6': 1 },
    /^error .*IPv6 is switched off on eth0/,
    /^sysctl -w net\.ipv6\.conf\.eth0\.disable_ipv6=0 && printf .* >>\/etc\/sysctl\.d\/90-holdfast\.conf$/,
  ],
];
for (const [what, one, facts, values, text, fix] of settingTable)
  test(`settings: ${what}`, () => {
    const place = placeOf(facts, one);
    if (place === undefined) throw new Error('the address of the test has no place');
    const read = (_: 4 | 6, scope: string, key: string) =>
      values[`${scope}.${key}`] ?? (key === 'promote_secondaries' ? 1 : 0);
    expectFindings(networkSettingFindings([{ wanted: one, place }], read), [fix === undefined ? [text] : [text, fix]]);
  });

test('settings: without promotion, the first address of its subnet takes later ones along', () => {
  const place = { interface: 'eth0.5', prefixLength: 24, neighbours: true };
  expectFindings(
    networkSettingFindings([{ wanted: vip, place }], () => 0),
    [
      [
        /^warning .*net\.ipv4\.conf\.all\.promote_secondaries is|^warning .*promote_secondaries is 0/,
        /^sysctl -w net\.ipv4\.conf\.eth0\/5\.promote_secondaries=1 && printf/,
      ],
    ],
  );
});
