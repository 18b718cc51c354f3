import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Bad, missedIn, withGroups, withResource } from './document-testing.ts';

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
  {
    what: 'every DRBD resource at once',
    text: withResource('drbd: all'),
    line: 6,
    path: 'groups.db.resources[0].drbd',
    detail: /name each DRBD resource/,
  },
  {
    what: 'a path instead of the name of a DRBD resource',
    text: withResource('drbd: /dev/drbd0'),
    line: 6,
    path: 'groups.db.resources[0].drbd',
    detail: /the name of one DRBD resource, as `drbdadm sh-resources` lists them/,
  },
  {
    what: 'a DRBD resource in two groups',
    text: withGroups('  db:\n    resources: [{ drbd: r0 }]\n  web:\n    resources: [{ drbd: { resource: r0 } }]\n'),
    line: 7,
    path: 'groups.web.resources[0].drbd.resource',
    detail: /the DRBD resource r0 is already that of groups\.db\.resources\[0\]/,
  },
  {
    what: 'a resource without a kind',
    text: withResource('id: x'),
    line: 6,
    detail: /no kind; it needs vip, drbd, mount, service or ocf/,
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
    detail: /`port` is empty; it must be text, a number or true or false/,
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
    detail: /must be shared-disk-without-watchdog/,
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

for (const [title, table] of Object.entries({ resources, addresses, mounts }))
  describe(`a document is refused: ${title}`, () => {
    for (const bad of table)
      it(`${bad.what}, with line, reason and the nearest word`, () => assert.equal(missedIn(bad), undefined));
  });
