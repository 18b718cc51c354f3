/** What is wrong in a document or on a command line is refused with its place and its reason, and nothing that runs is touched. */
import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MAX_BODY_BYTES } from '../../schemas/limits.ts';
import {
  assertNeverTwo,
  assertNothingForgotten,
  Client,
  Cluster,
  documentOf,
  labUnavailable,
  type Memory,
  memoryOf,
  resources,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];
const good = documentOf(names, [resources.vip, resources.nginx]);
const file = '/srv/another.yaml';

/** A document of which one line is wrong: what is wrong, the document, the line, and what the message says. */
type Wrong = readonly [what: string, document: string, line: number, says: RegExp];

const withLine = (search: string, replacement: string) => {
  ok(good.includes(search), search);
  return good.replace(search, replacement);
};
const resource = (line: string) => documentOf(names, [resources.vip, `      - ${line}`]);

/** A second group that names what the first one has. */
const twoGroups = (first: string, second = first) =>
  `${documentOf(names, [`      - ${first}`])}  other:\n    resources:\n      - ${second}\n`;

const wrong: readonly Wrong[] = [
  ['an unknown key', withLine('groups:', 'grups:'), 3, /unknown key `grups`.*did you mean `groups`\?/],
  ['an unknown key of a group', withLine('    on:', '    onn:'), 5, /unknown key `onn`.*did you mean `on`\?/],
  ['an unknown kind of resource', withLine('- vip:', '- vpi:'), 7, /unknown key `vpi`.*did you mean `vip`\?/],
  ['a DRBD resource by its device', resource('drbd: /dev/drbd0'), 8, /the name of one DRBD resource/],
  [
    'a wrong type',
    withLine('nodes: [alice, bob, carol]', 'nodes: alice'),
    2,
    /must be a list or a mapping, not “alice”.*did you mean `\[alice\]`\?/,
  ],
  [
    'a node that does not exist',
    withLine('    on: [alice', '    on: [alise'),
    5,
    /there is no node `alise`.*did you mean `alice`\?/,
  ],
  ['a node named twice', withLine('nodes: [alice, bob', 'nodes: [alice, alice, bob'), 2, /`alice` stands twice/],
  [
    'an address without its prefix',
    withLine(`${VIP}/24`, VIP),
    7,
    /has no prefix length.*did you mean `192\.0\.2\.10\/24`\?/,
  ],
  ['an address that is none', withLine(VIP, '192.0.2.300'), 7, /“192\.0\.2\.300” is not an IPv4 address/],
  ['the address of the network', withLine(`${VIP}/24`, '192.0.2.0/24'), 7, /is the network itself/],
  [
    'an address used twice',
    documentOf(names, [resources.vip, resources.vip]),
    8,
    /192\.0\.2\.10 is already that of groups\.web\.resources\[0\]/,
  ],
  [
    'an address of two groups',
    twoGroups('vip: 192.0.2.11/24', 'vip: { address: 192.0.2.11/32, interface: eth0 }'),
    10,
    /192\.0\.2\.11 is already that of groups\.web\.resources\[0\]/,
  ],
  [
    'a device of two groups',
    twoGroups('mount: /dev/sdb1 /srv/one ext4', 'mount: /dev/sdb1 /srv/two ext4'),
    10,
    /the device \/dev\/sdb1 is already that of groups\.web\.resources\[0\]/,
  ],
  [
    'a mount point of two groups',
    twoGroups('mount: /dev/sdb1 /srv/one ext4', 'mount: /dev/sdc1 /srv/one ext4'),
    10,
    /the directory \/srv\/one is already that of groups\.web\.resources\[0\]/,
  ],
  [
    'a mount point inside that of another group',
    twoGroups('mount: /dev/sdb1 /srv/one ext4', 'mount: /dev/sdc1 /srv/one/inside ext4'),
    10,
    /lies in \/srv\/one of groups\.web\.resources\[0\], another group: put both into one group/,
  ],
  [
    'a unit of two groups',
    twoGroups('service: nginx', 'service: nginx.service'),
    10,
    /the unit nginx\.service is already that of groups\.web\.resources\[0\]/,
  ],
  [
    'a circle of groups that come after each other',
    `${good}    after: other\n  other: { after: web, resources: [{ vip: 192.0.2.11/24 }] }\n`,
    10,
    /these wait for each other for ever: other after web after other/,
  ],
  [
    'two kinds in one resource',
    resource('{ vip: 192.0.2.11/24, ocf: { agent: "a:b" } }'),
    8,
    /one resource is one thing/,
  ],
  ['a resource without a kind', resource('{ id: empty }'), 8, /the resource has no kind/],
  ['an OCF agent without a provider', resource('ocf: { agent: nginx }'), 8, /provider:type/],
  ['a parameter that is a list', resource('ocf: { agent: "heartbeat:nginx", params: { port: [80] } }'), 8, /must be/],
  ['a duration without its unit', resource('{ vip: 192.0.2.11/24, interval: 5 }'), 8, /a duration with its unit/],
  [
    'an unknown lease profile',
    withLine('groups:', 'lease: fats\ngroups:'),
    3,
    /default, fast or wan.*did you mean `fast`\?/,
  ],
  [
    'a lease whose times do not fit',
    withLine('groups:', 'lease: { ttl: 2s, renew: 1s }\ngroups:'),
    3,
    /renew 1000 \+ 2 retries × 500 \+ stop 700 = 2700 ms does not fit into ttl 2000 ms.*did you mean `fast`\?/,
  ],
  ['a name that is none', withLine('  web:', '  Web Shop:'), 4, /“Web Shop” is no name here/],
  ['no nodes at all', withLine('nodes: [alice, bob, carol]', '#'), 1, /the document has no `nodes`, which it needs/],
  [
    'another cluster’s document',
    withLine('cluster: lab', 'cluster: shop'),
    1,
    /for cluster shop, this is cluster lab.*did you mean `lab`\?/,
  ],
  ['a key that stands twice', withLine('groups:', 'cluster: lab\ngroups:'), 3, /this key stands twice/],
  ['a tab for an indent', withLine('    on:', '\ton:'), 5, /a tab cannot indent YAML/],
  ['a bracket that is not closed', withLine('carol]\ngroups', 'carol\ngroups'), 3, /not YAML/],
  [
    'an alias without an anchor',
    withLine('nodes: [alice, bob, carol]', 'nodes: *all'),
    2,
    /the alias \*all has no anchor &all/,
  ],
  ['a tag', withLine('cluster: lab', 'cluster: !!js/function lab'), 1, /tags .* are not used here/],
  ['two documents in one file', `${good}---\n${good}`, 9, /a second document begins here/],
  ['a text that is no mapping', 'just words\n', 1, /must be a mapping/],
  ['nothing at all', '\n', 1, /the document is empty/],
];

describe('a document that is refused leaves the one in force, and everything that runs, as it was', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let memory: Memory;
  before(async () => {
    cluster = await Cluster.start();
    await cluster.settled('running');
    await cluster.healthy();
    client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    memory = await memoryOf(cluster);
  });
  after(async () => {
    await cluster.close();
  });

  const apply = async (text: string) => {
    await cluster.lab.arbiter.writeFile(file, text);
    return await cluster.product.cli(['apply', file, '--yes']);
  };

  for (const [what, document, line, says] of wrong) {
    test(`${what}: exit code 65, with the line and the reason`, async () => {
      const { code, stdout, stderr } = await apply(document);
      equal(code, 65, stderr);
      equal(stdout, '');
      match(stderr, /is refused; the configuration in force stays as it is/);
      const [place] = stderr.split('\n').filter((text) => text.startsWith(`${file}:${line}:`) && says.test(text));
      ok(place !== undefined, `no line of this begins with ${file}:${line}: and matches ${says}:\n${stderr}`);
    });
  }

  test('several mistakes are told in one go, in the order of their lines', async () => {
    const { code, stderr } = await apply(good.replace('cluster:', 'clutser:').replace('- vip:', '- vpi:'));
    equal(code, 65);
    const lines = [...stderr.matchAll(/^\/srv\/another\.yaml:(\d+):/gm)].map(([, line]) => Number(line));
    ok(lines.length >= 2, stderr);
    deepEqual(
      lines,
      lines.toSorted((a, b) => a - b),
    );
    match(stderr, /did you mean `cluster`/);
    match(stderr, /did you mean `vip`/);
  });

  test('a document larger than what is read is refused, by the file and over the wire', async () => {
    const { code, stderr } = await apply(`${good}#${'x'.repeat(MAX_BODY_BYTES)}\n`);
    equal(code, 65, stderr);
    match(stderr, /too large \(at most \d+ bytes\); the configuration in force stays as it is/);
    const raw = await cluster.product.api('PUT', '/v1/clusters/lab/config', `#${'x'.repeat(MAX_BODY_BYTES)}`, {
      'content-type': 'application/yaml',
      'if-match': `"rev-${memory.revision}"`,
    });
    equal(raw.status, 413);
    equal(raw.body.code, 'body-too-large');
  });

  test('of two who apply at once, the second is told to look again; a write without a revision is refused', async () => {
    const put = (tag: string | undefined) =>
      cluster.product.api('PUT', '/v1/clusters/lab/config', `${good}# ${tag}\n`, {
        'content-type': 'application/yaml',
        ...(tag === undefined ? {} : { 'if-match': tag }),
      });
    const stale = await put(`"rev-${memory.revision - 1}"`);
    deepEqual([stale.status, stale.body.code], [412, 'revision-mismatch']);
    match(stale.body.detail, /read it again and repeat/);
    deepEqual((await put(undefined)).body.code, 'if-match-required');
    const both = await Promise.all([1, 2].map(() => put(`"rev-${memory.revision}"`)));
    deepEqual(both.map(({ status }) => status).toSorted(), [200, 412], 'one of them wins');
    const commands = await Promise.all(
      [1, 2].map(async (number) => {
        const path = `/srv/applier-${number}.yaml`;
        await cluster.lab.arbiter.writeFile(path, `${good}# by applier ${number}\n`);
        return await cluster.product.cli(['apply', path]);
      }),
    );
    const lost = commands.filter(({ code }) => code !== 0);
    ok(lost.length < commands.length, 'one of them wins');
    for (const { code, stderr } of lost) {
      equal(code, 75, stderr);
      match(stderr, /Next: look at the new configuration \(`holdfast config get`\) and run the command again/);
    }
    equal((await cluster.status()).revision, memory.revision + 1 + commands.length - lost.length);
    await apply(good);
  });

  test('a file that is not there, and one that cannot be read, are usage errors that name it', async () => {
    const { code, stderr } = await cluster.product.cli(['apply', '/srv/nowhere.yaml']);
    equal(code, 64);
    match(stderr, /cannot read \/srv\/nowhere\.yaml: there is no such file/);
    equal((await cluster.product.cli(['apply', '/srv'])).code, 64);
  });

  const misused: readonly (readonly [args: string, says: RegExp])[] = [
    ['stauts', /unknown command 'stauts'[\s\S]*Did you mean status\?/],
    ['status --jsn', /unknown option '--jsn'[\s\S]*Did you mean --json\?/],
    ['group stop web --foo', /unknown option '--foo'/],
    ['group halt web', /unknown command 'halt'/],
    ['move web --too bob', /unknown option '--too'[\s\S]*Did you mean --to\?/],
    ['move', /missing required argument 'group'/],
    ['move web extra', /too many arguments/],
    ['apply /srv/another.yaml --yess', /Did you mean --yes\?/],
    ['node remove alice --forse', /Did you mean --force\?/],
    ['group stop web --wait soon', /“soon” is not a duration/],
    ['confirm-dead alice --accept-risk', /argument missing/],
    ['--cluster', /argument missing/],
  ];
  test('an unknown flag, command or value ends with 64 and does nothing', async () => {
    for (const [args, says] of misused) {
      const { code, stdout, stderr } = await cluster.product.cli(args.split(' '));
      equal(code, 64, `${args}: ${stderr}`);
      equal(stdout, '', args);
      match(stderr, says);
      match(stderr, /^Next: /m, args);
      doesNotMatch(stderr, /^\s+at /m, args);
    }
  });

  test('after all of it the same configuration is in force and the client was never left without an answer', async () => {
    await until(() => client.answers.length > 0, { deadlineMs: 5_000, what: 'answers' });
    deepEqual(client.failures, []);
    equal(await cluster.product.mustCli(['config', 'get']), `${good.trimEnd()}\n`);
    const status = await cluster.status();
    deepEqual([status.groups.web?.state, status.groups.web?.epoch], ['running', memory.epochs.web]);
    await assertNothingForgotten(cluster, memory);
    await assertNeverTwo(cluster);
  });
});
