import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_POLICY, declarationSchema, NO_RULES } from './config.ts';
import { parseDocument } from './document.ts';
import { withGroups, withResource } from './document-testing.ts';
import { LEASE_PROFILES, MAX_BODY_BYTES } from './limits.ts';

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
