import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ResourceDeclaration } from '../resources/index.ts';
import { notRoot } from '../system/testing.ts';
import { Policy, PolicyError, renderPolicy } from './policy.ts';
import { parsePolicy } from './policy-file.ts';

const defaults = { subnets: ['198.51.100.0/24', '2001:db8:1::/64'], drbd: ['own'] };
const TEXT = `# of the test
allow:
  vip: ["192.0.2.0/24", "2001:db8::/64", 203.0.113.7/32]
  drbd: [r0]
  mount: ["/srv/*", /var/lib/mysql]
  service: [mariadb.service, "app@*.service", nginx]
  ocf:
    "heartbeat:nginx":
      configfile: ["/etc/nginx/*", /opt/n/nginx.conf]
      port: [80, 8080]
      options: ["-c 'a b' & c"]
      status: "on"
      name: "*"
    ocf:heartbeat:mysql: { datadir: ["/srv/*/data"], additional_parameters: ["--bind-address=0.0.0.0", "--port=*"] }
    heartbeat:Dummy: {}
`;
const policy = new Policy(parsePolicy(TEXT, 'policy.yaml'), defaults);
const nginx = (params: Record<string, string>): ResourceDeclaration => ({
  type: 'ocf',
  agent: 'heartbeat:nginx',
  params,
});
const mysql = (params: Record<string, string>): ResourceDeclaration => ({
  type: 'ocf',
  agent: 'heartbeat:mysql',
  params,
});
const vip = (address: string): ResourceDeclaration => ({ type: 'vip', address });
const unit = (name: string): ResourceDeclaration => ({ type: 'service', unit: name });
const mount = (directory: string, device = '/dev/drbd0', fstype = 'ext4', options?: string): ResourceDeclaration => ({
  type: 'mount',
  device,
  directory,
  fstype,
  ...(options === undefined ? {} : { options }),
});

const allowed: readonly (readonly [ResourceDeclaration, number])[] = [
  [vip('192.0.2.10/24'), 3],
  [vip('192.0.2.10/32'), 3],
  [vip('2001:DB8::10/64'), 3],
  [vip('203.0.113.7/32'), 3],
  [{ type: 'drbd', resource: 'r0' }, 4],
  [mount('/srv/mysql'), 5],
  [mount('/var/lib/mysql', '/dev/disk/by-uuid/0a-b', 'xfs', 'noatime,commit=5,subvol=a/b'), 5],
  [unit('mariadb.service'), 6],
  [unit('app@one.service'), 6],
  [unit('nginx.service'), 6],
  [nginx({}), 8],
  [nginx({ configfile: '/etc/nginx/nginx.conf', port: '80' }), 8],
  [nginx({ configfile: '/opt/n/nginx.conf', status: 'on' }), 8],
  [nginx({ options: "-c 'a b' & c" }), 8],
  [{ type: 'ocf', agent: 'ocf:heartbeat:nginx', params: { port: '8080' } }, 8],
  [mysql({ datadir: '/srv/one/data', additional_parameters: '--bind-address=0.0.0.0' }), 14],
  [mysql({ additional_parameters: '--port=3307' }), 14],
  [nginx({ name: 'web' }), 8],
  [{ type: 'ocf', agent: 'heartbeat:Dummy', params: {} }, 15],
];

for (const [declaration, line] of allowed)
  test(`allowed by line ${line}: ${JSON.stringify(declaration)}`, () => {
    assert.deepEqual(policy.check(declaration), { allowed: true, line });
  });

const refused: readonly (readonly [ResourceDeclaration, RegExp])[] = [
  // Programs and their options as parameters.
  [nginx({ httpd: '/tmp/x' }), /may not be given the parameter httpd/],
  [nginx({ external_monitor30_cmd: 'id' }), /may not be given the parameter/],
  [mysql({ datadir: '/srv/one/data', user: 'root' }), /parameter user/],
  [mysql({ additional_parameters: '& id > /tmp/x &' }), /exactly that value/],
  [mysql({ additional_parameters: '--port=1 --x' }), /exactly that value/],
  [mysql({ additional_parameters: '--port=$(id)' }), /exactly that value/],
  [mysql({ additional_parameters: '--port=*' }), /exactly that value/],
  [mysql({ additional_parameters: '--port=1\n--x' }), /line end or a NUL/],
  // Values around a glob.
  [nginx({ configfile: '/etc/nginx/../shadow' }), /could lead anywhere/],
  [nginx({ configfile: '/etc/nginx/..' }), /could lead anywhere/],
  [nginx({ configfile: '/etc/nginx/.' }), /could lead anywhere/],
  [nginx({ configfile: '/etc/nginx/a/b' }), /allowed are/],
  [nginx({ configfile: '/etc/nginx' }), /allowed are/],
  [nginx({ configfile: '/etc/nginxX/y' }), /allowed are/],
  [nginx({ configfile: 'x/etc/nginx/y' }), /allowed are/],
  [nginx({ configfile: '/etc/nginx/a\n/etc/x' }), /line end/],
  [nginx({ configfile: '/etc/nginx/a\0' }), /NUL/],
  [nginx({ configfile: '/etc/nginx/a b' }), /exactly that value/],
  [nginx({ configfile: '/etc/nginx/$HOME' }), /exactly that value/],
  [nginx({ configfile: '/etc/nginx/`id`' }), /exactly that value/],
  [nginx({ configfile: '/etc/nginx/a;b' }), /exactly that value/],
  [nginx({ configfile: '/etc/nginx/*' }), /exactly that value/],
  [nginx({ configfile: '/etc/nginx/\u202e' }), /exactly that value/],
  [nginx({ name: '-x' }), /allowed are/],
  [nginx({ name: 'a/b' }), /allowed are/],
  [nginx({ configfile: '' }), /allowed are/],
  [nginx({ port: '080' }), /allowed are/],
  [nginx({ options: "-c 'a b' & d" }), /exactly that value/],
  [nginx({ status: 'true' }), /allowed are on/],
  [mysql({ datadir: '/srv/a/b/data' }), /allowed are/],
  [mysql({ datadir: '/srv/../data' }), /could lead anywhere/],
  // Names.
  [nginx({ 'configfile=1\nLD_PRELOAD': '/x' }), /cannot be the name/],
  [nginx({ CRM_meta_timeout: '1' }), /may not be given/],
  ...['-o', '', 'a b', 'port;id', '$(id)', '`id`', 'port\n', 'port\0', 'port=1', '1port'].map(
    (name) => [nginx({ [name]: '80' }), /cannot be the name/] as const,
  ),
  [nginx({ configfile: '-o' }), /allowed are/],
  [nginx({ configfile: '; reboot' }), /exactly that value/],
  [nginx({ port: '80\r' }), /line end/],
  [{ type: 'ocf', agent: '-x:nginx', params: {} }, /not an agent name/],
  [{ type: 'ocf', agent: 'heartbeat:-x', params: {} }, /not an agent name/],
  [{ type: 'ocf', agent: 'heartbeat:nginx\0', params: {} }, /not an agent name/],
  [{ type: 'ocf', agent: 'heartbeat:nginx;id', params: {} }, /not an agent name/],
  [{ type: 'ocf', agent: 'heartbeat:anything', params: {} }, /agent heartbeat:anything is not allowed/],
  [{ type: 'ocf', agent: 'heartbeat:../heartbeat/nginx', params: {} }, /not an agent name/],
  [{ type: 'ocf', agent: 'heartbeat:NGINX', params: {} }, /not allowed/],
  [{ type: 'ocf', agent: 'nginx', params: {} }, /not an agent name/],
  // Addresses.
  [vip('192.0.3.10/24'), /is in none of/],
  [vip('198.51.100.10/24'), /is in none of/],
  [vip('192.0.2.10/8'), /reaches beyond/],
  [vip('192.0.2.10/23'), /reaches beyond/],
  [vip('203.0.113.7/24'), /reaches beyond/],
  [vip('192.0.2.10'), /prefix length/],
  [vip('192.0.2.010/24'), /is not an IP address/],
  [vip('192.0.522/24'), /is not an IP address/],
  [vip('3221225994/24'), /is not an IP address/],
  [vip('0xc0.0.2.1/24'), /not an address/],
  [vip('::ffff:192.0.2.10/120'), /ipv4Mapped|IPv4/],
  [vip('::ffff:c000:20a/120'), /ipv4Mapped/],
  [vip('2002:c000:20a::1/64'), /6to4/],
  [vip('2001:db8::10%eth0/64'), /not an address/],
  [vip('2001:db8:0:1::10/64'), /is in none of/],
  [vip('127.0.0.1/8'), /loopback/],
  [vip('224.0.0.18/32'), /multicast/],
  [vip('0.0.0.0/0'), /prefix length of 0/],
  [vip('255.255.255.255/32'), /broadcast/],
  [vip('192.0.2.10/24 dev lo'), /not an address/],
  [vip('-4'), /not an address/],
  [vip('192.0.2.10/24\n'), /not an address/],
  [vip('192.0.2.10/24\0'), /not an address/],
  [vip('192.0.2.10/$(id)'), /not an address/],
  [vip('192.0.2.10/+24'), /not an address/],
  // Units.
  // The name that is judged is the one that systemd is told.
  [unit('mariadb'), /not allowed/],
  [unit('app@one'), /not allowed/],
  [unit('*.service'), /not allowed/],
  [unit('poweroff.target'), /not allowed/],
  [unit('poweroff.service'), /not allowed/],
  [unit('app@.service'), /not allowed/],
  [unit('app@*.service'), /not allowed/],
  [unit('app@a b.service'), /not allowed/],
  [unit('app@../x.service'), /not allowed/],
  [unit('app.service'), /not allowed/],
  [unit('-H root@host mariadb.service'), /not allowed/],
  [unit('mariadb.service poweroff.service'), /not allowed/],
  [unit('mariadb.service\n'), /not allowed/],
  ...['--all', '-mariadb.service', 'mariadb.service;id', '$(id).service', 'mariadb.service\0', 'app@$(id).service'].map(
    (name) => [unit(name), /not allowed/] as const,
  ),
  // Mounts.
  [mount('/srv/a/b'), /not allowed/],
  [mount('/srv'), /not allowed/],
  [mount('/srv/../etc'), /plain absolute path/],
  [mount('/srv/..'), /plain absolute path/],
  [mount('/srv/a/'), /plain absolute path/],
  [mount('/srv//a'), /plain absolute path/],
  [mount('/srv/a b'), /plain absolute path/],
  [mount('srv/a'), /plain absolute path/],
  [mount('/etc'), /not allowed/],
  [mount('/srv/a', '/dev/../etc'), /not a block device under/],
  [mount('/srv/a', '/tmp/image'), /not a block device under/],
  [mount('/srv/a', '/dev/shm/image'), /not a block device under/],
  [mount('/srv/a', '/dev/fd/3'), /not a block device under/],
  [mount('/srv/a', '/dev'), /not a block device under/],
  [mount('/srv/a', 'LABEL=x'), /not a block device under/],
  [mount('/srv/a', '/dev/sda1', 'fuse.sshfs'), /file system/],
  [mount('/srv/a', '/dev/sda1', 'ext4 -o x'), /file system/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'loop'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'noatime,bind'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'ro,helper=x'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'X-mount.mkdir'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'ro;id'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'ro,'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', '-o'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'ro,-t,tmpfs'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'ro\nbind'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'data=$(id)'), /mount option/],
  [mount('/srv/a', '/dev/sda1', 'ext4', 'ro\0'), /mount option/],
  [mount('/srv/a', '/dev/sda1', '-o'), /file system/],
  [mount('/srv/a', '/dev/sda1', 'ext4\0'), /file system/],
  [mount('/srv/a', '-a'), /not a block device under/],
  [mount('/srv/a', '/dev/sda1 -o bind'), /not a block device under/],
  [mount('/srv/a', '/dev/$(id)'), /not a block device under/],
  [mount('/srv/a', '/dev/sda1\0'), /not a block device under/],
  [mount('--bind'), /plain absolute path/],
  [mount('/srv/a\n/etc'), /plain absolute path/],
  [mount('/srv/`id`'), /plain absolute path/],
  [mount('/srv/a;b'), /plain absolute path/],
  // Others.
  [{ type: 'drbd', resource: 'own' }, /not allowed/],
  [{ type: 'drbd', resource: 'all' }, /not allowed/],
  ...['--force', 'r0 --force', 'r0\n', 'r0\0', 'r0;id', '$(id)', 'r0/0', 'R0', ''].map(
    (resource) => [{ type: 'drbd', resource } as const, /not allowed/] as const,
  ),
  [JSON.parse('{"type":"exec","command":"id"}'), /unknown type of resource "exec"/],
];

for (const [declaration, reason] of refused)
  test(`refused: ${JSON.stringify(declaration)}`, () => {
    const verdict = policy.check(declaration);
    assert.ok(!verdict.allowed);
    assert.match(verdict.reason, reason);
  });

test('a refusal names the line that decided', () => {
  assert.equal(policy.check(nginx({ httpd: '/tmp/x' })).line, 8);
  assert.equal(policy.check(nginx({ configfile: '/etc/passwd' })).line, 9);
  assert.equal(policy.check(vip('10.0.0.1/24')).line, 3);
});

test('without a file: the subnets of the node, its DRBD resources, and nothing else', async () => {
  const none = await Policy.load('/nonexistent/policy.yaml', defaults);
  assert.deepEqual(none.check(vip('198.51.100.10/24')), { allowed: true });
  assert.deepEqual(none.check(vip('2001:db8:1::a/64')), { allowed: true });
  assert.deepEqual(none.check({ type: 'drbd', resource: 'own' }), { allowed: true });
  for (const declaration of [
    vip('192.0.2.10/24'),
    unit('nginx.service'),
    mount('/srv/a'),
    nginx({}),
    { type: 'drbd', resource: 'r0' } as const,
  ])
    assert.ok(!none.check(declaration).allowed, JSON.stringify(declaration));
  const empty = new Policy(parsePolicy('allow:\n  vip: []\n  ocf:\n', 'p'), defaults);
  assert.ok(!empty.check(vip('198.51.100.10/24')).allowed);
});

test('a prefix may be as wide as a subnet of the node though the policy names a single address', () => {
  const single = new Policy(parsePolicy('allow: { vip: [198.51.100.7] }', 'p'), defaults);
  assert.ok(single.check(vip('198.51.100.7/24')).allowed);
  assert.ok(!single.check(vip('198.51.100.8/24')).allowed);
  assert.ok(!single.check(vip('198.51.100.7/16')).allowed);
});

const broken: readonly (readonly [string, number, RegExp])[] = [
  ['alow:\n  vip: []', 1, /unknown key alow; did you mean allow\?/],
  ['allow:\n  services: [a]', 2, /unknown key services; did you mean service\?/],
  ['allow:\n  exec: [a]', 2, /known are vip, drbd, mount, service, ocf/],
  ['allow:\n  vip: ["192.0.2.0/33"]', 2, /is not a network/],
  ['allow:\n  vip:\n    - 192.0.2.0/24\n    - ::ffff:1.2.3.4/120', 4, /is not a network/],
  ['allow:\n  vip: ["::ffff:102:304/120"]', 2, /written as IPv6/],
  ['allow:\n  service: ["*.service"]', 2, /may only stand for the instance/],
  ['allow:\n  service: ["*"]', 2, /may only stand for the instance/],
  ['allow:\n  service: ["a*@x.service"]', 2, /may only stand for the instance/],
  ['allow:\n  service: [reboot.target]', 2, /is not the name of a service/],
  ['allow:\n  mount: ["/srv/**"]', 2, /list each level/],
  ['allow:\n  mount: ["/srv/../*"]', 2, /plain absolute path/],
  ['allow:\n  drbd: ["*"]', 2, /DRBD resource/],
  ['allow:\n  ocf:\n    nginx: {}', 3, /not an agent name/],
  ['allow:\n  ocf: [heartbeat:nginx]', 2, /must be a map/],
  ['allow:\n  ocf:\n    heartbeat:nginx:\n      "a b": [x]', 4, /name of a parameter/],
  ['allow:\n  ocf:\n    heartbeat:nginx:\n      a: ["/x/**"]', 4, /list each level/],
  ['allow:\n  ocf:\n    heartbeat:nginx: {}\n    ocf:heartbeat:nginx: {}', 4, /listed twice/],
  ['allow:\n  ocf:\n    heartbeat:nginx: { a: { b: c } }', 3, /single value/],
  ['allow:\n  vip: []\n  vip: []', 3, /this key is there already/],
  ['allow:\n  vip: [\n', 3, /./],
  ['- allow', 1, /must be a map/],
];

for (const [text, line, reason] of broken)
  test(`an error in line ${line}: ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parsePolicy(text, '/x/policy.yaml'),
      (error: unknown) => {
        assert.ok(error instanceof PolicyError);
        assert.match(error.message, reason);
        assert.equal(error.line, line);
        assert.ok(error.message.startsWith(`/x/policy.yaml:${line}: `));
        return true;
      },
    );
  });

test('a file that others could have written is refused with the reason', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-policy-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'policy.yaml');
  writeFileSync(path, TEXT, { mode: 0o644 });
  assert.ok((await Policy.load(path, defaults)).check(unit('nginx.service')).allowed);
  for (const mode of [0o664, 0o646]) {
    chmodSync(path, mode);
    await assert.rejects(Policy.load(path, defaults), /refused: .*can be written by group or others; chmod go-w/);
  }
  chmodSync(path, 0o600);
  chmodSync(directory, 0o777);
  await assert.rejects(Policy.load(path, defaults), /can be written by group or others/);
  chmodSync(directory, 0o700);
  symlinkSync(path, join(directory, 'link.yaml'));
  await assert.rejects(Policy.load(join(directory, 'link.yaml'), defaults), /symbolic link/);
  await assert.rejects(Policy.load(directory, defaults), /not a regular file/);
});

test('a file of another user is refused', { skip: notRoot }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-policy-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'policy.yaml'), TEXT, { mode: 0o600 });
  chownSync(join(directory, 'policy.yaml'), 65534, 65534);
  await assert.rejects(Policy.load(join(directory, 'policy.yaml'), defaults), /belongs to uid 65534; chown root/);
});

test('join writes a commented policy that allows what it was told, and that can be read back', () => {
  const text = renderPolicy([
    'vip=192.0.2.0/24',
    'service=mariadb.service',
    'mount=/srv/*',
    'ocf=heartbeat:nginx:configfile=/etc/nginx/*',
    'ocf=ocf:heartbeat:nginx:port=80',
    'ocf=heartbeat:mysql:additional_parameters=--a=b:c "d" & e',
    'ocf=heartbeat:Dummy',
  ]);
  assert.match(text, /^# What Holdfast may run/);
  const read = new Policy(parsePolicy(text, 'p'), defaults);
  for (const declaration of [
    vip('192.0.2.9/24'),
    unit('mariadb.service'),
    mount('/srv/x'),
    nginx({ configfile: '/etc/nginx/a', port: '80' }),
    mysql({ additional_parameters: '--a=b:c "d" & e' }),
    { type: 'ocf', agent: 'heartbeat:Dummy', params: {} } as const,
    { type: 'drbd', resource: 'own' } as const,
  ])
    assert.ok(read.check(declaration).allowed, JSON.stringify(declaration));
  const empty = new Policy(parsePolicy(renderPolicy([]), 'p'), defaults);
  assert.ok(empty.check(vip('198.51.100.1/24')).allowed);
  assert.ok(!empty.check(unit('mariadb.service')).allowed);
});

test('a written policy names the kinds that there are, and takes DRBD resources by name', () => {
  const text = renderPolicy(['drbd=r0', 'mount=/srv/*']);
  for (const kind of ['vip', 'drbd', 'mount', 'service', 'ocf'])
    assert.match(text, new RegExp(`^  (# )?${kind}:`, 'm'));
  const read = new Policy(parsePolicy(text, 'p'), defaults);
  assert.ok(read.check({ type: 'drbd', resource: 'r0' }).allowed);
  assert.ok(!read.check({ type: 'drbd', resource: 'own' }).allowed, 'what is written takes the place of the default');
});

test('an --allow that cannot be taken is named, with what would be right', () => {
  const table: Record<string, RegExp> = {
    'srvice=a': /--allow srvice=a: unknown key srvice; did you mean service\?/,
    nothing: /write one of vip=…/,
    'service=*.service': /may only stand/,
    'vip=192.0.2.0/99': /not a network/,
    'ocf=nginx': /provider:type:parameter=value/,
    'ocf=heartbeat:nginx:config file=/x': /name of a parameter/,
    'ocf=heartbeat:nginx:configfile=/etc/**': /list each level/,
    'mount=/srv/../etc': /plain absolute path/,
  };
  for (const [option, reason] of Object.entries(table)) assert.throws(() => renderPolicy([option]), reason, option);
});

test('the lines that a configuration needs allow it when they replace those of the file, and take nothing away', () => {
  const wanted = [
    vip('10.1.2.3/16'),
    unit('redis.service'),
    nginx({ httpd: '/usr/sbin/nginx' }),
    mount('/data/a'),
    vip('192.0.2.10/24'),
  ];
  const lines = policy.linesNeeded(wanted);
  assert.equal(lines[0], 'allow:');
  const mended = new Policy(parsePolicy(lines.join('\n'), 'p'), defaults);
  for (const declaration of wanted) assert.ok(mended.check(declaration).allowed, JSON.stringify(declaration));
  for (const declaration of [vip('2001:db8::1/64'), unit('app@x.service'), nginx({ port: '80' }), mount('/srv/a')])
    assert.ok(mended.check(declaration).allowed, JSON.stringify(declaration));
  assert.ok(!lines.some((line) => line.includes('drbd')));
  assert.deepEqual(policy.linesNeeded([vip('192.0.2.10/24'), unit('nginx.service')]), []);
});

test('a vip line that is needed keeps the subnets of the node', () => {
  const none = new Policy(parsePolicy('', 'p'), defaults);
  assert.deepEqual(none.linesNeeded([vip('10.1.2.3/16')]), [
    'allow:',
    '  vip: ["198.51.100.0/24", "2001:db8:1::/64", "10.1.0.0/16"]',
  ]);
});

test('what no line can allow is a comment', () => {
  const lines = policy.linesNeeded([
    mount('/srv/a', '/tmp/x'),
    unit('*.service'),
    vip('127.0.0.1/8'),
    nginx({ configfile: 'a\nb' }),
  ]);
  assert.equal(lines.length, 4);
  for (const line of lines) assert.match(line, /^# no line can allow this: /);
});
