import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { declarationSchema } from './config.ts';
import { parseDocument } from './document.ts';
import { LEASE_PROFILES, MAX_BODY_BYTES } from './limits.ts';

/** A document that is right but for the lines given: they replace what stands after `cluster` and `nodes`. */
const withGroups = (lines: string) => `cluster: shop\nnodes: [alice, bob]\ngroups:\n${lines}`;
const withResource = (resource: string) =>
  withGroups(`  db:\n    resources:\n      - ${resource.replaceAll('\n', '\n        ')}\n`);

interface Bad {
  what: string;
  text: string;
  line: number;
  path?: string;
  column?: number;
  detail: RegExp;
  suggestion?: string;
}

const syntax: Bad[] = [
  { what: 'an empty document', text: '', line: 1, detail: /empty.*`cluster` and `nodes`/ },
  { what: 'comments only', text: '# nothing\n', line: 1, detail: /empty/ },
  { what: 'text instead of a mapping', text: 'hello', line: 1, detail: /must be a mapping with cluster, nodes/ },
  { what: 'a list instead of a mapping', text: '- a\n- b\n', line: 1, detail: /must be a mapping.*not a list/ },
  {
    what: 'a key twice',
    text: 'cluster: shop\nnodes: [a]\ncluster: shap\n',
    line: 3,
    column: 1,
    detail: /stands twice/,
  },
  { what: 'a list that is not closed', text: 'cluster: shop\nnodes: [a,\n', line: 3, detail: /not YAML/ },
  { what: 'a tab as indentation', text: 'cluster: shop\nnodes:\n\t- a\n', line: 3, detail: /tab.*use spaces/ },
  { what: 'wrong indentation', text: 'cluster: shop\n  nodes: [a]\n', line: 1, detail: /indented as its neighbours/ },
  { what: 'two documents', text: 'cluster: a\n---\ncluster: b\n', line: 2, detail: /one document/ },
  { what: 'a tag', text: 'cluster: !!js/function x\nnodes: [a]\n', line: 1, column: 10, detail: /tags/ },
  { what: 'a key that is a list', text: '? [a, b]\n: 1\n', line: 1, detail: /key must be plain text/ },
  { what: 'YAML 1.1', text: '%YAML 1.1\n---\ncluster: no\nnodes: [a]\n', line: 1, detail: /YAML 1\.2/ },
  {
    what: 'an alias without an anchor',
    text: 'cluster: shop\nnodes: *all\n',
    line: 2,
    column: 8,
    detail: /alias \*all has no anchor &all/,
  },
  {
    what: 'an alias bomb',
    text: `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefghi'].map((key, i) => `${key}: &${key} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`).join('\n')}`,
    line: 2,
    detail: /aliases stand for more than 100/,
  },
];

const fields: Bad[] = [
  { what: 'no cluster', text: 'nodes: [a]\n', line: 1, path: 'cluster', detail: /no `cluster`/ },
  { what: 'no nodes', text: 'cluster: shop\n', line: 1, path: 'nodes', detail: /no `nodes`/ },
  {
    what: 'a cluster name in capitals',
    text: 'cluster: Shop\nnodes: [a]\n',
    line: 1,
    column: 10,
    path: 'cluster',
    detail: /“Shop”: lower-case/,
  },
  {
    what: 'a mistyped top-level key',
    text: 'cluster: shop\nnodes: [a]\ngruops: {}\n',
    line: 3,
    column: 1,
    path: 'gruops',
    detail: /unknown key `gruops`.*cluster, nodes, lease and groups/,
    suggestion: 'groups',
  },
  {
    what: 'a number as a node',
    text: 'cluster: shop\nnodes: [a, 12]\n',
    line: 2,
    column: 12,
    path: 'nodes[1]',
    detail: /must be text.*12 as the number 12; quote it/,
    suggestion: '"12"',
  },
  {
    what: 'one node without a list',
    text: 'cluster: shop\nnodes: alice\n',
    line: 2,
    path: 'nodes',
    detail: /must be a list, not “alice”/,
    suggestion: '[alice]',
  },
  {
    what: 'nodes left empty',
    text: 'cluster: shop\nnodes:\n',
    line: 2,
    path: 'nodes',
    detail: /`nodes` is empty.*list/,
  },
  { what: 'no node at all', text: 'cluster: shop\nnodes: []\n', line: 2, path: 'nodes', detail: /at least one node/ },
  {
    what: 'seventeen nodes',
    text: `cluster: shop\nnodes: [${Array.from({ length: 17 }, (_, i) => `n${i}`).join(', ')}]\n`,
    line: 2,
    path: 'nodes',
    detail: /at most 16 nodes/,
  },
  {
    what: 'a node twice',
    text: 'cluster: shop\nnodes: [alice, bob, alice]\n',
    line: 2,
    column: 21,
    path: 'nodes[2]',
    detail: /`alice` stands twice in nodes/,
  },
  {
    what: 'a node named as every object’s own property',
    text: 'cluster: shop\nnodes: [constructor]\n',
    line: 2,
    path: 'nodes[0]',
    detail: /`constructor` is reserved/,
  },
  {
    what: 'groups left empty',
    text: 'cluster: shop\nnodes: [a]\ngroups:\n',
    line: 3,
    path: 'groups',
    detail: /`groups` is empty; it must be a mapping/,
  },
  {
    what: '__proto__ as a group',
    text: withGroups('  __proto__: { resources: [ { vip: 192.0.2.1/24 } ] }\n'),
    line: 4,
    detail: /`__proto__` cannot be a key/,
  },
];

const lease: Bad[] = [
  {
    what: 'a mistyped profile',
    text: 'cluster: shop\nnodes: [a]\nlease: fsat\n',
    line: 3,
    column: 8,
    path: 'lease',
    detail: /one of default, fast or wan, not “fsat”/,
    suggestion: 'fast',
  },
  {
    what: 'a list as lease',
    text: 'cluster: shop\nnodes: [a]\nlease: [fast]\n',
    line: 3,
    path: 'lease',
    detail: /must be one of default, fast, wan or a mapping with ttl and renew, not a list/,
  },
  {
    what: 'a mistyped key of the lease',
    text: 'cluster: shop\nnodes: [a]\nlease: { ttl: 5s, renwe: 1s }\n',
    line: 3,
    column: 19,
    path: 'lease.renwe',
    detail: /unknown key `renwe`/,
    suggestion: 'renew',
  },
  {
    what: 'a lease without renew',
    text: 'cluster: shop\nnodes: [a]\nlease:\n  ttl: 5s\n',
    line: 3,
    path: 'lease.renew',
    detail: /lease has no `renew`/,
  },
  {
    what: 'a time without its unit',
    text: 'cluster: shop\nnodes: [a]\nlease: { ttl: 5, renew: 1s }\n',
    line: 3,
    column: 15,
    path: 'lease.ttl',
    detail: /duration with its unit.*not the number 5/,
    suggestion: '5s',
  },
  {
    what: 'a lease too short for its renewals',
    text: 'cluster: shop\nnodes: [a]\nlease: { ttl: 4s, renew: 3s }\n',
    line: 3,
    path: 'lease',
    detail: /renew 3000 \+ 2 retries × 1500 \+ stop 1400 = 7400 ms does not fit into ttl 4000/,
    suggestion: 'default',
  },
  {
    what: 'a lease below the shortest',
    text: 'cluster: shop\nnodes: [a]\nlease: { ttl: 1s, renew: 300ms }\n',
    line: 3,
    path: 'lease',
    detail: /outside 1500\.\.120000 ms/,
    suggestion: 'fast',
  },
];

const groups: Bad[] = [
  {
    what: 'a mistyped node in `on`',
    text: withGroups('  db:\n    on: [alice, bbo]\n    resources: [{ vip: 192.0.2.10/24 }]\n'),
    line: 5,
    column: 17,
    path: 'groups.db.on[1]',
    detail: /no node `bbo`; nodes: alice, bob/,
    suggestion: 'bob',
  },
  {
    what: 'a node twice in `on`',
    text: withGroups('  db:\n    on:\n      - alice\n      - alice\n    resources: [{ vip: 192.0.2.10/24 }]\n'),
    line: 7,
    path: 'groups.db.on[1]',
    detail: /`alice` stands twice in `on`/,
  },
  {
    what: 'an empty `on`',
    text: withGroups('  db:\n    on: []\n    resources: [{ vip: 192.0.2.10/24 }]\n'),
    line: 5,
    path: 'groups.db.on',
    detail: /leave `on` out for every node/,
  },
  {
    what: 'no resources',
    text: withGroups('  db:\n    on: [alice]\n'),
    line: 4,
    path: 'groups.db.resources',
    detail: /groups\.db has no `resources`/,
  },
  {
    what: 'an empty list of resources',
    text: withGroups('  db:\n    resources: []\n'),
    line: 5,
    path: 'groups.db.resources',
    detail: /at least one resource/,
  },
  {
    what: 'a mistyped key of a group',
    text: withGroups('  db:\n    resuorces: []\n'),
    line: 5,
    column: 5,
    path: 'groups.db.resuorces',
    detail: /unknown key `resuorces`/,
    suggestion: 'resources',
  },
  {
    what: 'a placement word of a later version',
    text: withGroups('  db:\n    prefer: alice\n    resources: [{ vip: 192.0.2.10/24 }]\n'),
    line: 5,
    path: 'groups.db.prefer',
    detail: /`prefer` is planned; this version knows on and resources here/,
  },
  {
    what: 'a group name in capitals, with a mistake inside',
    text: withGroups('  DB:\n    resources: []\n'),
    line: 4,
    column: 3,
    path: 'groups.DB',
    detail: /“DB” is no name here: lower-case/,
  },
  {
    what: '201 groups',
    text: withGroups(
      Array.from(
        { length: 201 },
        (_, i) => `  g${i}: { resources: [{ vip: 10.0.${i >> 7}.${(i & 127) + 1}/16 }] }\n`,
      ).join(''),
    ),
    line: 3,
    path: 'groups',
    detail: /201 groups; at most 200/,
  },
  {
    what: 'the same address in two groups',
    text: withGroups('  a: { resources: [{ vip: 192.0.2.10/24 }] }\n  b: { resources: [{ vip: 192.0.2.10/25 }] }\n'),
    line: 5,
    path: 'groups.b.resources[0].vip',
    detail: /192\.0\.2\.10 is already that of groups\.a\.resources\[0\]/,
  },
  {
    what: 'the same address twice in another spelling',
    text: withGroups(
      '  a:\n    resources:\n      - vip: 2001:db8::10/64\n      - vip: { address: "2001:DB8:0:0::10/64" }\n',
    ),
    line: 7,
    path: 'groups.a.resources[1].vip.address',
    detail: /2001:db8::10 is already that of groups\.a\.resources\[0\]/,
  },
];

const resources: Bad[] = [
  {
    what: 'a mistyped kind',
    text: withResource('vpi: 192.0.2.10/24'),
    line: 6,
    column: 9,
    path: 'groups.db.resources[0].vpi',
    detail: /unknown key `vpi`/,
    suggestion: 'vip',
  },
  ...['drbd: r0'].map((resource) => ({
    what: `a kind of a later version, ${resource}`,
    text: withResource(resource),
    line: 6,
    detail: /planned; this version knows vip, mount, service and ocf only/,
  })),
  {
    what: 'a resource without a kind',
    text: withResource('id: x'),
    line: 6,
    detail: /no kind; it needs vip, mount, service or ocf/,
  },
  {
    what: 'two kinds in one resource',
    text: withResource('vip: 192.0.2.10/24\nocf: { agent: heartbeat:nginx }'),
    line: 7,
    column: 9,
    path: 'groups.db.resources[0].ocf',
    detail: /not vip and ocf; make each its own list item/,
  },
  {
    what: 'the interface beside the address',
    text: withResource('vip: 192.0.2.10/24\ninterface: eth0'),
    line: 7,
    path: 'groups.db.resources[0].interface',
    detail: /`interface` belongs inside `vip`/,
  },
  {
    what: 'a mistyped key inside vip',
    text: withResource('vip: { address: 192.0.2.10/24, intreface: eth0 }'),
    line: 6,
    path: 'groups.db.resources[0].vip.intreface',
    detail: /unknown key `intreface`/,
    suggestion: 'interface',
  },
  {
    what: 'a number as address',
    text: withResource('vip: 10'),
    line: 6,
    path: 'groups.db.resources[0].vip',
    detail: /must be text or a mapping with address and interface, not the number 10/,
  },
  {
    what: 'an interface name that is an option',
    text: withResource('vip: { address: 192.0.2.10/24, interface: --help }'),
    line: 6,
    path: 'groups.db.resources[0].vip.interface',
    detail: /“--help” is not the name of a network interface/,
  },
  {
    what: 'an interface name that is too long',
    text: withResource('vip: { address: 192.0.2.10/24, interface: abcdefghijklmnop }'),
    line: 6,
    detail: /at most 15 characters/,
  },
  {
    what: 'an id that is another’s',
    text: withResource('vip: 192.0.2.10/24\n  id: x')
      .replace('  id', 'id')
      .concat('      - vip: 192.0.2.11/24\n        id: x\n'),
    line: 9,
    path: 'groups.db.resources[1].id',
    detail: /the id `x` is already that of groups\.db\.resources\[0\]/,
    suggestion: 'x-2',
  },
  {
    what: 'a unit by its path',
    text: withResource('service: /lib/systemd/system/mariadb.service'),
    line: 6,
    column: 18,
    path: 'groups.db.resources[0].service',
    detail: /is a path; write the name/,
    suggestion: 'mariadb.service',
  },
  {
    what: 'a socket as service',
    text: withResource('service: ssh.socket'),
    line: 6,
    detail: /is a socket; only service/,
  },
  { what: 'a template', text: withResource('service: app@'), line: 6, detail: /template.* for example app@1\.service/ },
  {
    what: 'a unit that looks like an option',
    text: withResource('service: { unit: "-H.service" }'),
    line: 6,
    path: 'groups.db.resources[0].service.unit',
    detail: /not the name of a service unit/,
  },
  {
    what: 'two units in one',
    text: withResource('service: mariadb nginx'),
    line: 6,
    detail: /not the name of a service/,
  },
  { what: 'a pattern as unit', text: withResource('service: "app@*"'), line: 6, detail: /not the name of a service/ },
  {
    what: 'a long unit',
    text: withResource(`service: ${'a'.repeat(250)}`),
    line: 6,
    detail: /not the name of a service/,
  },
  {
    what: 'the same unit in two groups, in two spellings',
    text: withGroups(
      '  a: { resources: [{ service: mariadb }] }\n  b: { resources: [{ service: { unit: mariadb.service } }] }\n',
    ),
    line: 5,
    path: 'groups.b.resources[0].service.unit',
    detail: /the unit mariadb\.service is already that of groups\.a\.resources\[0\]/,
  },
  {
    what: 'an OCF agent without its provider',
    text: withResource('ocf: { agent: nginx }'),
    line: 6,
    column: 23,
    path: 'groups.db.resources[0].ocf.agent',
    detail: /provider:type, for example heartbeat:nginx/,
  },
  {
    what: 'an OCF agent without braces',
    text: withResource('ocf: "heartbeat:nginx"'),
    line: 6,
    detail: /must be a mapping with agent and params, not “heartbeat:nginx”/,
  },
  {
    what: 'a list as parameter',
    text: withResource('ocf: { agent: "heartbeat:nginx", params: { port: [80] } }'),
    line: 6,
    path: 'groups.db.resources[0].ocf.params.port',
    detail: /not a list/,
  },
  {
    what: 'a parameter without a value',
    text: withResource('ocf:\n  agent: heartbeat:nginx\n  params:\n    port:'),
    line: 9,
    path: 'groups.db.resources[0].ocf.params.port',
    detail: /not empty/,
  },
  {
    what: 'a parameter name with a hyphen',
    text: withResource('ocf: { agent: "heartbeat:nginx", params: { "a-b": 1 } }'),
    line: 6,
    path: 'groups.db.resources[0].ocf.params.a-b',
    detail: /“a-b” is no name here: not a parameter name/,
  },
  {
    what: 'a line break in a parameter',
    text: withResource('ocf: { agent: "heartbeat:nginx", params: { x: "a\\nb" } }'),
    line: 6,
    detail: /no control characters or line breaks/,
  },
  {
    what: 'a time-out of nothing',
    text: withResource('vip: 192.0.2.10/24\ntimeouts: { start: 0s }'),
    line: 7,
    path: 'groups.db.resources[0].timeouts.start',
    detail: /from 1ms to 24h, not 0s/,
  },
  {
    what: 'a monitor at every turn',
    text: withResource('vip: 192.0.2.10/24\ninterval: 5ms'),
    line: 7,
    path: 'groups.db.resources[0].interval',
    detail: /from 0\.1s to 24h/,
  },
];

const addresses: Bad[] = (
  [
    ['192.0.2.10', /no prefix length.*192\.0\.2\.10\/24/, '192.0.2.10/24'],
    ['"2001:db8::10"', /no prefix length/, '2001:db8::10/64'],
    ['192.0.2.10/33', /from 1 to 32, not “33”/],
    ['192.0.2.10/', /from 1 to 32/],
    ['192.0.2.10/255.255.255.0', /not “255\.255\.255\.0”/],
    ['192.0.2.0/24', /is the network itself/],
    ['192.0.2.255/24', /broadcast address of its subnet/],
    ['255.255.255.255/32', /is the broadcast address/],
    ['127.0.0.1/8', /loopback/],
    ['"::1/128"', /loopback/],
    ['0.0.0.0/0', /unspecified/],
    ['224.0.0.18/24', /multicast/],
    ['"ff02::1/64"', /multicast/],
    ['169.254.1.1/16', /link-local/],
    ['"fe80::1/64"', /link-local/],
    ['"fe80::1%eth0/64"', /names a zone/],
    ['240.0.0.1/24', /reserved range/],
    ['"::ffff:192.0.2.10/120"', /IPv6 clothing/, '192.0.2.10/24'],
    ['"2001:db8::/64"', /anycast/],
    ['"2001:db8::g/64"', /not an IPv6 address/],
    ['192.0.2/24', /four numbers/],
    ['192.0.02.1/24', /leading zeros/],
    ['0x7f000001/8', /not an IP address/],
    ['www.example.org/24', /names are not looked up/],
  ] as [string, RegExp, string?][]
).map(([address, detail, suggestion]) => ({
  what: `the address ${address}`,
  text: withResource(`vip: ${address}`),
  line: 6,
  column: 14,
  path: 'groups.db.resources[0].vip',
  detail,
  ...(suggestion === undefined ? {} : { suggestion }),
}));

const mountParts: Bad[] = (
  [
    ['/dev/drbd0 /srv/mysql', /too short for a mount: write `device directory fstype/],
    ['/dev/drbd0 /srv/mysql ext4 noatime 0 2', /more than four fields.*\/etc\/fstab/],
    ['/srv/disk.img /srv/mysql ext4', /no block device: devices are only taken from \/dev/],
    ['/dev/shm/x /srv/mysql ext4', /no block device/],
    ['/dev/../etc/passwd /srv/mysql ext4', /device.* has \. or \.\. in it/],
    ['drbd0 /srv/mysql ext4', /device “drbd0” is not an absolute path/],
    ['/dev//drbd0 /srv/mysql ext4', /not written plainly/, '/dev/drbd0'],
    ['UUID=0a-b /srv/mysql ext4', /by its path/, '/dev/disk/by-uuid/0a-b'],
    ['LABEL=data /srv/mysql ext4', /by its path/, '/dev/disk/by-label/data'],
    ['/dev/drbd0 srv/mysql ext4', /directory “srv\/mysql” is not an absolute path/],
    ['/dev/drbd0 /srv/../etc ext4', /has \. or \.\. in it/],
    ['/dev/drbd0 /srv/mysql/ ext4', /not written plainly/, '/srv/mysql'],
    ['/dev/drbd0 / ext4', /\/ is a directory of the system/],
    ['/dev/drbd0 /etc/mysql ext4', /\/etc\/mysql is a directory of the system/],
    ['/dev/drbd0 /var/lib ext4', /\/var\/lib is a directory of the system/],
    ['/dev/drbd0 /usr/lib/x ext4', /is a directory of the system/],
    ['/dev/drbd0 /usr/local ext4', /is a directory of the system/],
    ['/dev/drbd0 /var/lib/holdfast/x ext4', /is a directory of the system/],
    ['/dev/drbd0 /dev/x ext4', /is a directory of the system/],
    ['/dev/drbd0 /srv/mysql etx4', /known are ext4, ext3/, 'ext4'],
    ['/dev/drbd0 /srv/mysql btrfs', /btrfs.*device number/],
    ['/dev/drbd0 /srv/mysql nfs4', /not mounted from a block device/],
    ['/dev/drbd0 /srv/mysql ext4 noatime,bind', /option `bind` is not taken/],
    ['/dev/drbd0 /srv/mysql ext4 x-mount.mkdir', /is not taken/],
    ['/dev/drbd0 /srv/mysql ext4 ro;id', /“ro;id” is not a mount option/],
    ['/dev/drbd0 /srv/mysql ext4 ro,', /“” is not a mount option/],
  ] as [string, RegExp, string?][]
).map(([written, detail, suggestion]) => ({
  what: `the mount ${written}`,
  text: withResource(`mount: ${written}`),
  line: 6,
  column: 16,
  path: 'groups.db.resources[0].mount',
  detail,
  ...(suggestion === undefined ? {} : { suggestion }),
}));

const mapped = (more: string) => withResource(`mount: { device: /dev/sdb1, directory: /srv/a, fstype: ext4${more} }`);
const mounts: Bad[] = [
  ...mountParts,
  {
    what: 'a device as a part of its own',
    text: withResource('mount:\n  device: /tmp/x\n  directory: /srv/a\n  fstype: ext4'),
    line: 7,
    path: 'groups.db.resources[0].mount.device',
    detail: /no block device/,
  },
  {
    what: 'a mount without its type',
    text: withResource('mount: { device: /dev/sdb1, directory: /srv/a }'),
    line: 6,
    path: 'groups.db.resources[0].mount.fstype',
    detail: /mount has no `fstype`/,
  },
  {
    what: 'a mistyped key of a mount',
    text: mapped(', fcsk: never'),
    line: 6,
    path: 'groups.db.resources[0].mount.fcsk',
    detail: /unknown key `fcsk`/,
    suggestion: 'fsck',
  },
  {
    what: 'a check by force',
    text: mapped(', fsck: force'),
    line: 6,
    path: 'groups.db.resources[0].mount.fsck',
    detail: /one of auto or never, not “force”/,
  },
  {
    what: 'a list as a mount',
    text: withResource('mount: [/dev/sdb1, /srv/a, ext4]'),
    line: 6,
    path: 'groups.db.resources[0].mount',
    detail: /must be text or a mapping with device, directory, fstype.*not a list/,
  },
  {
    what: 'a shared disk without the fence that it needs',
    text: mapped(', disk: shared'),
    line: 6,
    path: 'groups.db.resources[0].mount.disk',
    detail: /needs a watchdog.*this version has none.*`acceptRisk: shared-disk-without-watchdog`/,
  },
  {
    what: 'a risk that is none',
    text: mapped(', acceptRisk: shared-disk-without-watchdog'),
    line: 6,
    path: 'groups.db.resources[0].mount.acceptRisk',
    detail: /for `disk: shared` only/,
  },
  {
    what: 'an unknown risk',
    text: mapped(', disk: shared, acceptRisk: all'),
    line: 6,
    path: 'groups.db.resources[0].mount.acceptRisk',
    detail: /must be one of shared-disk-without-watchdog/,
  },
  ...(
    [
      ['/dev/b /srv/a', '/dev/c /srv/a', /the directory \/srv\/a is already that of groups\.db\.resources\[0\]/],
      ['/dev/b /srv/a', '/dev/b /srv/c', /the device \/dev\/b is already that of groups\.db\.resources\[0\]/],
    ] as const
  ).flatMap(([first, second, detail]) => [
    {
      what: `${first} and ${second} in one group`,
      text: withResource(`mount: ${first} ext4`).concat(`      - mount: ${second} ext4\n`),
      line: 7,
      detail,
    },
    {
      what: `${first} and ${second} in two groups`,
      text: withResource(`mount: ${first} ext4`).concat(`  web: { resources: [ { mount: ${second} ext4 } ] }\n`),
      line: 7,
      detail,
    },
  ]),
  {
    what: 'a mount inside that of another group',
    text: withResource('mount: /dev/b /srv/a ext4').concat('  web: { resources: [{ mount: /dev/c /srv/a/b ext4 }] }\n'),
    line: 7,
    detail: /lies in \/srv\/a of groups\.db\.resources\[0\], another group: put both into one group/,
  },
  {
    what: 'a mount around that of another group',
    text: withResource('mount: /dev/b /srv/a/b ext4').concat('  web: { resources: [{ mount: /dev/c /srv/a ext4 }] }\n'),
    line: 7,
    detail: /another group, lies in \/srv\/a: put both/,
  },
  {
    what: 'a mount that hides one before it',
    text: withResource('mount: /dev/b /srv/a/b ext4').concat('      - mount: /dev/c /srv/a ext4\n'),
    line: 7,
    detail: /would hide \/srv\/a\/b.*put the outer one first/,
  },
];

for (const [title, table] of Object.entries({ syntax, fields, lease, groups, resources, addresses, mounts })) {
  describe(`a document is refused: ${title}`, () => {
    for (const bad of table) {
      it(`${bad.what}, with line, reason and the nearest word`, () => {
        const result = parseDocument(bad.text);
        assert.ok(!result.ok, 'was accepted');
        const [first] = result.errors.filter((error) => bad.detail.test(error.detail));
        assert.ok(first, `no such problem in ${JSON.stringify(result.errors, null, 1)}`);
        assert.equal(first.line, bad.line, JSON.stringify(first));
        if (bad.column !== undefined) assert.equal(first.column, bad.column, JSON.stringify(first));
        if (bad.path !== undefined) assert.equal(first.path, bad.path);
        assert.equal(first.suggestion, bad.suggestion);
      });
    }
  });
}

describe('a document that is right', () => {
  it('becomes a configuration with every default filled in', () => {
    const result = parseDocument(`cluster: shop
nodes: [alice, bob, carol]
groups:
  db:
    on: [bob, alice]
    resources:
      - vip: 192.0.2.10/24
      - vip: { address: "2001:DB8:0::10/64", interface: eth0 }
      - ocf: { agent: "heartbeat:nginx", params: { configfile: /etc/nginx/nginx.conf } }
        timeouts: { start: 20s, stop: 1m }
        interval: 10s
      - ocf: { agent: "heartbeat:nginx" }
  web:
    resources:
      - { id: front, vip: 192.0.2.11/24 }
`);
    assert.deepEqual(result, {
      ok: true,
      config: {
        cluster: 'shop',
        nodes: ['alice', 'bob', 'carol'],
        timing: LEASE_PROFILES.default,
        groups: {
          db: {
            name: 'db',
            on: ['bob', 'alice'],
            resources: [
              { type: 'vip', address: '192.0.2.10/24', id: 'vip-192.0.2.10', times: {} },
              { type: 'vip', address: '2001:db8::10/64', interface: 'eth0', id: 'vip-2001-db8--10', times: {} },
              {
                type: 'ocf',
                agent: 'heartbeat:nginx',
                params: { configfile: '/etc/nginx/nginx.conf' },
                id: 'nginx',
                times: { startMs: 20_000, stopMs: 60_000, monitorIntervalMs: 10_000 },
              },
              { type: 'ocf', agent: 'heartbeat:nginx', params: {}, id: 'nginx-2', times: {} },
            ],
          },
          web: {
            name: 'web',
            on: ['alice', 'bob', 'carol'],
            resources: [{ type: 'vip', address: '192.0.2.11/24', id: 'front', times: {} }],
          },
        },
      },
    });
  });

  it('keeps the digits of parameters as they were written', () => {
    const result = parseDocument(
      withResource('ocf: { agent: "x:y", params: { a: 0080, b: 1.10, c: 1e3, d: true, e: 0x10, f: no } }'),
    );
    assert.ok(result.ok);
    const [resource] = result.config.groups.db?.resources ?? [];
    assert.ok(resource?.type === 'ocf');
    assert.deepEqual(resource.params, { a: '0080', b: '1.10', c: '1e3', d: 'true', e: '0x10', f: 'no' });
  });

  it('takes a mount on one line or as a mapping, and fills in what a careful operator would have chosen', () => {
    const result = parseDocument(
      withResource('mount: /dev/drbd0   /srv/MySQL ext4').concat(
        '      - mount: /dev/disk/by-id/wwn-0x5-part1 /srv/MySQL/log_2 xfs noatime,logbsize=32k\n',
        '      - mount: { device: /dev/sdc1, directory: /var/lib/x, fstype: ext4, fsck: never, disk: shared, acceptRisk: shared-disk-without-watchdog }\n',
      ),
    );
    assert.deepEqual(result.ok && result.config.groups.db?.resources, [
      {
        type: 'mount',
        device: '/dev/drbd0',
        directory: '/srv/MySQL',
        fstype: 'ext4',
        fsck: 'auto',
        disk: 'local',
        id: 'mount-srv-mysql',
        times: {},
      },
      {
        type: 'mount',
        device: '/dev/disk/by-id/wwn-0x5-part1',
        directory: '/srv/MySQL/log_2',
        fstype: 'xfs',
        options: 'noatime,logbsize=32k',
        fsck: 'auto',
        disk: 'local',
        id: 'mount-srv-mysql-log_2',
        times: {},
      },
      {
        type: 'mount',
        device: '/dev/sdc1',
        directory: '/var/lib/x',
        fstype: 'ext4',
        fsck: 'never',
        disk: 'shared',
        id: 'mount-var-lib-x',
        times: {},
      },
    ]);
    const { config } = result.ok ? result : { config: undefined };
    for (const resource of config?.groups.db?.resources ?? []) assert.ok(declarationSchema.safeParse(resource).success);
  });

  it('names a unit in full, whatever the spelling, and the resource after it', () => {
    const written = ['mariadb', 'nginx.service', '{ unit: "App@Blue_1" }', String.raw`dev-sd\x2da`];
    const result = parseDocument(
      withGroups(`  g:\n    resources:\n${written.map((unit) => `      - service: ${unit}\n`).join('')}`),
    );
    assert.ok(result.ok);
    assert.deepEqual(
      result.config.groups.g?.resources.map((resource) => [resource.id, resource.type === 'service' && resource.unit]),
      [
        ['mariadb', 'mariadb.service'],
        ['nginx', 'nginx.service'],
        ['app-blue_1', 'App@Blue_1.service'],
        ['dev-sd-x2da', String.raw`dev-sd\x2da.service`],
      ],
    );
  });

  it('may be JSON', () => {
    assert.ok(parseDocument('{"cluster": "shop", "nodes": ["a"], "groups": {}}').ok);
  });

  it('may hold no group yet, and name its lists by anchors', () => {
    assert.ok(parseDocument('cluster: shop\nnodes: [a]\n').ok);
    assert.ok(
      parseDocument('cluster: shop\nnodes: &n [a]\ngroups: { g: { on: *n, resources: [{ vip: 192.0.2.1/31 }] } }\n').ok,
    );
  });

  it('never gives a generated id to two resources, nor one that the writer has used', () => {
    const result = parseDocument(
      withResource('ocf: { agent: "a:nginx" }').concat('      - ocf: { agent: "b:_Nginx-" }\n        id: nginx\n'),
    );
    assert.ok(result.ok);
    assert.deepEqual(
      result.config.groups.db?.resources.map((resource) => resource.id),
      ['nginx-2', 'nginx'],
    );
  });

  it('takes every profile and a timing of its own', () => {
    for (const profile of ['fast', 'default', 'wan'] as const) {
      const result = parseDocument(`cluster: shop\nnodes: [a]\nlease: ${profile}\n`);
      assert.ok(result.ok);
      assert.deepEqual(result.config.timing, LEASE_PROFILES[profile]);
    }
    const own = parseDocument('cluster: shop\nnodes: [a]\nlease: { ttl: 6s, renew: 1500ms }\n');
    assert.ok(own.ok);
    assert.equal(own.config.timing.leaseMs, 6_000);
  });
});

describe('a document meant to do harm', () => {
  it('is refused when it is nested a hundred thousand levels deep', () => {
    const result = parseDocument('['.repeat(100_000));
    assert.equal(result.ok, false);
    assert.ok(!result.ok && result.errors.length > 0 && result.errors.length <= 100);
  });

  it('is refused above the size limit, counted in bytes', () => {
    const result = parseDocument(`# ${'é'.repeat(MAX_BODY_BYTES / 2)}\ncluster: shop\nnodes: [a]\n`);
    assert.ok(!result.ok);
    assert.match(result.errors[0]?.detail ?? '', /larger than 256 KiB/);
  });

  it('reports problems of every group at once, in the order of their lines', () => {
    const result = parseDocument(
      withGroups(
        '  a: { on: [nobody], resources: [{ vip: 192.0.2.0/24 }] }\n  b: { resources: [{ vpi: x }] }\n  c: { resources: 5 }\n',
      ),
    );
    assert.ok(!result.ok);
    assert.deepEqual(
      result.errors.map(({ line, path }) => [line, path]),
      [
        [4, 'groups.a.on[0]'],
        [4, 'groups.a.resources[0].vip'],
        [5, 'groups.b.resources[0].vpi'],
        [6, 'groups.c.resources'],
      ],
    );
  });
});
