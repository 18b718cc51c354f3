import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_POLICY, declarationSchema, NO_RULES } from './config.ts';
import { parseDocument } from './document.ts';
import { type Bad, missedIn, withGroups, withResource } from './document-testing.ts';
import { LEASE_PROFILES, MAX_BODY_BYTES } from './limits.ts';

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
    detail: /must be a list or a mapping, not “alice”/,
    suggestion: '[alice]',
  },
  {
    what: 'nodes left empty',
    text: 'cluster: shop\nnodes:\n',
    line: 2,
    path: 'nodes',
    detail: /`nodes` is empty; it must be a list or a mapping/,
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
    what: 'a label without a value',
    text: 'cluster: shop\nnodes:\n  alice: { labels: [ssd] }\n',
    line: 3,
    column: 21,
    path: 'nodes.alice.labels[0]',
    detail: /“ssd”: write a label as key=value/,
  },
  {
    what: 'labels as a mapping',
    text: 'cluster: shop\nnodes:\n  alice: { labels: { disk: ssd } }\n',
    line: 3,
    path: 'nodes.alice.labels',
    detail: /must be a list, not a mapping/,
    suggestion: '[disk=ssd]',
  },
  {
    what: 'a label twice',
    text: 'cluster: shop\nnodes:\n  alice: { labels: [disk=ssd, disk=ssd] }\n',
    line: 3,
    path: 'nodes.alice.labels[1]',
    detail: /`disk=ssd` stands twice/,
  },
  {
    what: 'a mistyped key of a node',
    text: 'cluster: shop\nnodes:\n  alice: { lables: [disk=ssd] }\n',
    line: 3,
    column: 12,
    path: 'nodes.alice.lables',
    detail: /unknown key `lables`; nodes\.alice knows labels/,
    suggestion: 'labels',
  },
  {
    what: 'a node’s name in capitals, as a key',
    text: 'cluster: shop\nnodes:\n  Alice:\n',
    line: 3,
    path: 'nodes.Alice',
    detail: /“Alice” is no name here: lower-case/,
  },
  {
    what: 'a label instead of a mapping',
    text: 'cluster: shop\nnodes:\n  alice: disk=ssd\n',
    line: 3,
    path: 'nodes.alice',
    detail: /must be .*a mapping with labels, not “disk=ssd”/,
  },
  {
    what: 'a node with labels in a list',
    text: 'cluster: shop\nnodes:\n  - alice: { labels: [disk=ssd] }\n',
    line: 3,
    path: 'nodes[0]',
    detail: /a bare name; to give nodes labels, write `nodes` without dashes/,
  },
  {
    what: 'a mapping without a node',
    text: 'cluster: shop\nnodes: {}\n',
    line: 2,
    path: 'nodes',
    detail: /at least one node/,
  },
  {
    what: 'seventeen nodes in a mapping',
    text: `cluster: shop\nnodes: { ${Array.from({ length: 17 }, (_, i) => `n${i}:`).join(', ')} }\n`,
    line: 2,
    path: 'nodes',
    detail: /at most 16 nodes/,
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

for (const [title, table] of Object.entries({ syntax, fields, lease, groups }))
  describe(`a document is refused: ${title}`, () => {
    for (const bad of table)
      it(`${bad.what}, with line, reason and the nearest word`, () => assert.equal(missedIn(bad), undefined));
  });

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
        labels: {},
        timing: LEASE_PROFILES.default,
        groups: {
          db: {
            ...NO_RULES,
            name: 'db',
            on: ['bob', 'alice'],
            resources: [
              { type: 'vip', address: '192.0.2.10/24', id: 'vip-192.0.2.10', times: {}, policy: DEFAULT_POLICY },
              {
                type: 'vip',
                address: '2001:db8::10/64',
                interface: 'eth0',
                id: 'vip-2001-db8--10',
                times: {},
                policy: DEFAULT_POLICY,
              },
              {
                type: 'ocf',
                agent: 'heartbeat:nginx',
                params: { configfile: '/etc/nginx/nginx.conf' },
                id: 'nginx',
                times: { startMs: 20_000, stopMs: 60_000, monitorIntervalMs: 10_000 },
                policy: DEFAULT_POLICY,
              },
              { type: 'ocf', agent: 'heartbeat:nginx', params: {}, id: 'nginx-2', times: {}, policy: DEFAULT_POLICY },
            ],
          },
          web: {
            ...NO_RULES,
            name: 'web',
            on: ['alice', 'bob', 'carol'],
            resources: [{ type: 'vip', address: '192.0.2.11/24', id: 'front', times: {}, policy: DEFAULT_POLICY }],
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
        policy: DEFAULT_POLICY,
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
        policy: DEFAULT_POLICY,
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
        policy: DEFAULT_POLICY,
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
