/** Judgements of what the declared resources need: programs, units, file systems. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wanted } from './declared.ts';
import { type MountFacts, mountFindings } from './mounts.ts';
import { type AgentFacts, type PackageFacts, packageFindings } from './packages.ts';
import { parseFstab, unitStemOf } from './read-resources.ts';
import { declaredBy, expectFindings, origin, unitState } from './testing.ts';
import { unitFindings } from './units.ts';

const declared = declaredBy([
  'vip: 192.0.2.10/24',
  'mount: /dev/sdb1 /srv/www ext4',
  'service: nginx',
  'ocf: { agent: "heartbeat:mysql", params: { datadir: /srv/mysql } }',
]);
const [ocf] = wanted(declared, 'ocf');
const [service] = wanted(declared, 'service');
const [mount] = wanted(declared, 'mount');
assert.ok(ocf !== undefined && service !== undefined && mount !== undefined);

const installed: PackageFacts = {
  missingTools: new Set(),
  vips: wanted(declared, 'vip'),
  mounts: wanted(declared, 'mount'),
  fileSystems: new Set(['ext4']),
  kernel: '6.1.0',
  agents: [{ wanted: ocf, programs: [] }],
};
const agent = (facts: Partial<AgentFacts>): PackageFacts => ({
  ...installed,
  agents: [{ wanted: ocf, programs: [], ...facts }],
});

const packageTable: readonly (readonly [string, PackageFacts, ...(readonly [RegExp, RegExp?])[]])[] = [
  ['everything is installed', installed, [/^ok programs/]],
  [
    'no ip command',
    { ...installed, missingTools: new Set(['ip']) },
    [/^error ip: .*web\/vip-192\.0\.2\.10 need/, /^apt-get install iproute2$/],
  ],
  [
    'no tools for file systems',
    { ...installed, missingTools: new Set(['blkid', 'e2fsck', 'losetup']) },
    [/^error blkid/, /^apt-get install util-linux$/],
    [/^warning losetup: .*loop device/, /^apt-get install mount$/],
    [/^warning e2fsck: .*could not be mended/, /^apt-get install e2fsprogs$/],
  ],
  [
    'no tools, and no mount that needs them',
    { ...installed, mounts: [], missingTools: new Set(['blkid', 'e2fsck']) },
    [/^ok/],
  ],
  [
    'a file system that the kernel does not have',
    { ...installed, fileSystems: new Set() },
    [/^error web\/mount-srv-www: the kernel 6\.1\.0 has no ext4/, /linux-image/],
  ],
  ['modules that cannot be listed', { ...installed, fileSystems: undefined }, [/^ok/]],
  [
    'an agent that is missing',
    agent({ problem: 'the agent heartbeat:mysql is not installed', missing: true }),
    [/^error web\/mysql: .*not installed/, /^apt-get install resource-agents$/],
  ],
  [
    'an agent that others may write',
    agent({ problem: '/x can be written by others than root; chmod go-w /x' }),
    [/^error/, /^chmod go-w \/x$/],
  ],
  [
    'wrong parameters',
    agent({ parameters: 'mysql has no parameter dtadir; did you mean datadir?' }),
    [/^error web\/mysql: mysql has no parameter dtadir/, /holdfast apply/],
  ],
  [
    'an agent that was not asked',
    agent({ notAsked: 'the policy does not allow it' }),
    [/^unknown web\/mysql: .*could not be checked/],
  ],
  [
    'a program of an agent that is missing',
    agent({
      programs: [
        { name: '/usr/bin/mysqld_safe', found: false, package: 'mariadb-server' },
        { name: 'mysql', found: true, package: 'mariadb-client' },
      ],
    }),
    [/^error web\/mysql: heartbeat:mysql runs \/usr\/bin\/mysqld_safe/, /^apt-get install mariadb-server$/],
  ],
];
for (const [what, facts, ...expected] of packageTable)
  test(`packages: ${what}`, () => expectFindings(packageFindings(facts), expected));

const unit = 'nginx.service';
const unitTable: readonly (readonly [string, Parameters<typeof unitState>[1], readonly string[], RegExp, RegExp?])[] = [
  ['one that only a lease starts', {}, [], /^ok web\/nginx/],
  [
    'a missing one',
    { load: 'not-found' },
    [],
    /^error .*does not exist/,
    /^apt-get install nginx && systemctl disable --now nginx\.service$/,
  ],
  ['a masked one', { load: 'masked' }, [], /^error .*masked/, /^systemctl unmask nginx\.service$/],
  [
    'one with wrong files',
    { load: 'bad-setting', loadError: 'x' },
    [],
    /^error .*cannot be loaded \(bad-setting: x\)/,
    /^systemd-analyze verify/,
  ],
  ['an enabled one', { file: 'enabled' }, [], /^error .*enabled at boot/, /^systemctl disable nginx\.service$/],
  [
    'one that a target wants',
    { wantedBy: ['multi-user.target'] },
    [],
    /^error .*started by multi-user\.target/,
    /remove it from multi-user\.target/,
  ],
  [
    'an alias',
    { id: 'web.service' },
    [],
    /^error .*another name of web\.service/,
    /write `service: web\.service` for web\/nginx/,
  ],
  ['one that is over at once', { type: 'oneshot' }, [], /^error .*oneshot/, /add it/],
  [
    'one with an active socket',
    { triggeredBy: ['nginx.socket'] },
    ['nginx.socket'],
    /^error .*started by nginx\.socket/,
    /^systemctl disable --now nginx\.socket$/,
  ],
];
for (const [what, state, activators, text, fix] of unitTable)
  test(`units: ${what}`, () =>
    expectFindings(unitFindings([{ wanted: service, state: unitState(unit, state), activators }]), [
      fix === undefined ? [text] : [text, fix],
    ]));

test('units: without systemd nothing is claimed', () =>
  expectFindings(
    unitFindings([{ wanted: service, state: { unreadable: 'systemd does not run here' }, activators: [] }]),
    [[/^unknown web\/nginx: nginx\.service was not looked at: systemd does not run here/]],
  ));

const sound: MountFacts = {
  wanted: mount,
  device: { is: 'device', number: '8:17', path: '/dev/sdb1' },
  content: { type: 'ext4' },
  ext: { clean: true, errors: false, journal: true },
  mounted: undefined,
  covered: undefined,
  fstab: [],
  units: new Map(),
};
const line = (options: string) => [{ line: 4, spec: 'UUID=x', directory: '/srv/www', options: options.split(',') }];
const mountTable: readonly (readonly [string, Partial<MountFacts>, ...(readonly [RegExp, RegExp?])[]])[] = [
  ['as declared', {}, [/^ok web\/mount-srv-www/]],
  ['mounted in its place', { mounted: 'in place' }, [/^ok/]],
  ['ext3 may be mounted as ext4', { content: { type: 'ext3' } }, [/^ok/]],
  [
    'no device',
    { device: { is: 'missing' }, content: undefined, ext: undefined },
    [/^error .*\/dev\/sdb1 is not there/, /lsblk/],
  ],
  [
    'a device that is none',
    { device: { is: 'other', what: '/dev/x is no block device' }, content: undefined },
    [/^error .*no block device/, /name a block device/],
  ],
  ['an empty device', { content: { nothing: true } }, [/^error .*has no file system/, /mkfs\.ext4 \/dev\/sdb1$/]],
  ['another type', { content: { type: 'xfs' } }, [/^error .*has a xfs on it, not ext4/, /write xfs/]],
  [
    'one that cannot be read',
    { content: { unreadable: 'No medium found' } },
    [/^unknown .*could not be read: No medium found/],
  ],
  ['mounted elsewhere', { mounted: { elsewhere: '/mnt' } }, [/^error .*mounted already at \/mnt/, /^umount \/mnt$/]],
  [
    'mounted elsewhere, by a name of two words',
    { mounted: { elsewhere: '/mnt/my disk' } },
    [/^error/, /^umount '\/mnt\/my disk'$/],
  ],
  [
    'mounted in a container',
    { mounted: { elsewhere: '/srv in the mount namespace of process 7' } },
    [/^error/, /^nsenter --target 7 --mount umount \/srv$/],
  ],
  [
    'an empty device by a label of two words',
    {
      wanted: { ...mount, resource: { ...mount.resource, device: '/dev/disk/by-label/my\\x20disk' } },
      content: { nothing: true },
    },
    [/^error/, /mkfs\.ext4 '\/dev\/disk\/by-label\/my\\x20disk'$/],
  ],
  [
    'an enabled unit whose name a shell would change',
    { units: new Map([['srv-my\\x2ddata.mount', { ...origin, file: 'enabled', wantedBy: ['multi-user.target'] }]]) },
    [/^error/, /^systemctl disable 'srv-my\\x2ddata\.mount'$/],
  ],
  [
    'something else on the mount point',
    { covered: '/dev/sdc1 (xfs)' },
    [/^error .*\/dev\/sdc1 \(xfs\) is mounted at \/srv\/www/, /^umount \/srv\/www$/],
  ],
  [
    'a line in fstab',
    { fstab: line('defaults') },
    [/^error .*\/etc\/fstab:4 mounts UUID=x/, /^sed -i '4d' \/etc\/fstab && systemctl daemon-reload$/],
  ],
  ['a line in fstab that mounts nothing by itself', { fstab: line('noauto,noatime') }, [/^ok/]],
  [
    'a line in fstab that mounts at the first access',
    { fstab: line('noauto,x-systemd.automount') },
    [/^error/, /^sed/],
  ],
  [
    'a unit that was made of that line',
    {
      fstab: line('defaults'),
      units: new Map([['srv-www.mount', { ...origin, file: 'generated', wantedBy: ['local-fs.target'] }]]),
    },
    [/^error .*fstab/, /^sed/],
  ],
  [
    'an enabled mount unit',
    { units: new Map([['srv-www.mount', { ...origin, file: 'enabled', wantedBy: ['multi-user.target'] }]]) },
    [/^error .*srv-www\.mount is started at boot by multi-user\.target/, /^systemctl disable srv-www\.mount$/],
  ],
  [
    'the unit that systemd makes of what is mounted',
    {
      mounted: 'in place',
      units: new Map([['srv-www.mount', { ...origin, file: '', active: 'active', wantedBy: ['local-fs.target'] }]]),
    },
    [/^ok/],
  ],
  [
    'an active automount',
    { units: new Map([['srv-www.automount', { ...origin, active: 'active' }]]) },
    [/^error .*at the first access/, /^systemctl disable --now srv-www\.automount$/],
  ],
  ['units that could not be asked for', { units: { unreadable: 'no answer' } }, [/^unknown .*no answer/]],
];
for (const [what, differs, ...expected] of mountTable)
  test(`mounts: ${what}`, () => expectFindings(mountFindings([{ ...sound, ...differs }]), expected));

test('mounts: damage is a warning only where the document has it mounted all the same', () => {
  const damaged = { clean: false, errors: true, journal: true };
  expectFindings(mountFindings([{ ...sound, ext: damaged }]), [[/^ok/]]);
  const [never] = wanted(
    declaredBy(['mount: { device: /dev/sdb1, directory: /srv/www, fstype: ext4, fsck: never }']),
    'mount',
  );
  assert.ok(never !== undefined);
  expectFindings(mountFindings([{ ...sound, wanted: never, ext: damaged }]), [
    [/^warning .*not clean/, /e2fsck -p \/dev\/sdb1$/],
  ]);
});

test('fstab: comments, blanks and escaped paths', () => {
  assert.deepEqual(
    parseFstab('# a comment\n\n  /dev/sdb1\t/srv/my\\040data ext4 defaults,noauto 0 2\nproc /proc proc\n'),
    [
      { line: 3, spec: '/dev/sdb1', directory: '/srv/my data', options: ['defaults', 'noauto'] },
      { line: 4, spec: 'proc', directory: '/proc', options: [''] },
    ],
  );
});

for (const [directory, stem] of [
  ['/srv/www', 'srv-www'],
  ['/srv/my-data', 'srv-my\\x2ddata'],
  ['/srv/.hidden/a.b', 'srv-.hidden-a.b'],
  ['/', '-'],
] as const)
  test(`the mount unit of ${directory} is ${stem}.mount`, () => assert.equal(unitStemOf(directory), stem));
