import { test } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Webhook } from '../../schemas/webhook.ts';
import { type ClusterFacts, clusterFindings } from './cluster.ts';
import { expectFindings } from './testing.ts';

type Expected = readonly [RegExp, RegExp?];

const at = '2026-11-22T11:00:00.000Z';
const ready: Status['nodes'][string] = {
  state: 'ready',
  lastSeenMs: 300,
  joined: true,
  agentVersion: '0.1.0',
  refusals: [],
};
const lost: Status['nodes'][string] = { ...ready, state: 'lost', lastSeenMs: 47_000 };
type Candidate = Status['groups'][string]['candidates'][number];
const eligible = (node: string): Candidate => ({ node, eligible: true, chosen: false, reasons: [] });
const not = (node: string, reason: Candidate['reasons'][number]): Candidate => ({
  node,
  eligible: false,
  chosen: false,
  reasons: [reason],
});
const running: Status['groups'][string] = {
  state: 'running',
  owner: 'alice',
  epoch: 3,
  since: at,
  resources: [],
  candidates: [eligible('alice'), eligible('bob')],
};
const paused = { since: at, until: '2026-11-22T12:00:00.000Z', reason: 'new disk' };
const sound: Status = {
  schema: 'holdfast/status/v1',
  cluster: 'shop',
  at,
  revision: 4,
  groups: { web: running },
  nodes: { alice: ready, bob: ready },
};

const find = (differs: Partial<Status>, facts: Partial<ClusterFacts> = {}) =>
  clusterFindings({ status: { ...sound, ...differs }, timing: LEASE_PROFILES.default, events: [], ...facts });

test('a sound cluster has nothing but what is in order', () =>
  expectFindings(find({}), [
    [/^ok revision 4: is in force on every node that reports/],
    [/^ok alice: is ready/],
    [/^ok bob: is ready/],
    [/^ok agents: all are 0\.1\.0/],
    [/^ok web: is running; alice, bob could run it/],
    [/^ok lease: of 4000 ms/],
  ]));

test('a webhook that does not arrive is named, one that was disabled more loudly', () => {
  const webhook: Webhook = {
    id: 'wh_1',
    url: 'https://hooks.example.org/…',
    format: 'standard',
    events: ['*'],
    allowPrivate: false,
    createdAt: at,
    state: 'active',
    pending: 0,
    dropped: 0,
    nextAttemptAt: null,
    last: { at, ok: true, detail: 'answered 204' },
  };
  const found = find(
    {},
    {
      webhooks: [
        webhook,
        { ...webhook, id: 'wh_2', pending: 3, last: { at, ok: false, detail: 'answered 503' } },
        { ...webhook, id: 'wh_3', state: 'disabled', reason: 'the receiver answered 410', pending: 1 },
      ],
    },
  ).filter(({ check }) => check === 'webhooks');
  expectFindings(found, [
    [/^ok wh_1: https:\/\/hooks\.example\.org\/… is told/],
    [/^warning wh_2: .* was not told: answered 503; 3 notices wait/, /^holdfast webhook deliveries wh_2$/],
    [/^error wh_3: .* is told nothing any more: the receiver answered 410; 1 notice wait/, /webhook enable wh_3$/],
  ]);
});

test('what requires the uplink, is about to change, or has one node is in order as it is', () => {
  for (const differs of [
    { survives: false, requires: 'uplink' as const },
    { survives: false, settling: true as const },
    { takeover: false, settling: true as const, voters: ['alice'] },
  ]) {
    const outage = { survives: true, takeover: true, voters: ['alice', 'bob'], reason: 'x', ...differs };
    const found = find({ groups: { web: { ...running, outage } } });
    expectFindings(
      found.filter(({ level }) => level !== 'ok'),
      [],
    );
  }
  const alone = { survives: true, takeover: false, voters: ['alice'] };
  const single = find({ groups: { web: { ...running, candidates: [eligible('alice')], outage: alone } } });
  expectFindings(
    single.filter(({ level }) => level !== 'ok'),
    [],
  );
});

/** What is not in order of a cluster that differs from the sound one. */
const table: readonly (readonly [string, Partial<Status>, ...Expected[]])[] = [
  [
    'nothing configured',
    { revision: 0, groups: {}, nodes: {} },
    [/^warning shop: nothing is configured/, /^holdfast apply FILE$/],
  ],
  [
    'a node that has not joined',
    { nodes: { ...sound.nodes, carol: { ...lost, joined: false, agentVersion: null } } },
    [/^warning carol: .*has not joined/, /^holdfast node token create --node carol/],
  ],
  [
    'a node that was removed and is still named',
    { nodes: { ...sound.nodes, carol: { ...lost, state: 'removed', joined: false } } },
    [/^warning carol: was removed/, /holdfast apply FILE/],
  ],
  [
    'a node that was never started',
    { nodes: { ...sound.nodes, carol: { ...lost, agentVersion: null, lastSeenMs: null } } },
    [/^warning carol: .*never started/, /^on carol: systemctl enable --now holdfast/],
  ],
  [
    'a lost node',
    { nodes: { ...sound.nodes, carol: lost } },
    [/^error carol: has not reported for 47 s/, /holdfast node remove carol$/],
  ],
  [
    'a node that was declared dead',
    { nodes: { ...sound.nodes, carol: { ...lost, note: 'declared dead' } } },
    [/^error carol: declared dead/, /^on carol: systemctl/],
  ],
  [
    'a node that refuses',
    {
      nodes: {
        ...sound.nodes,
        bob: {
          ...ready,
          refusals: [{ group: 'web', resource: 'nginx', reason: '/var/lib/holdfast/policy.yaml:7: no' }],
        },
      },
    },
    [/^error bob: refuses web\/nginx: .*policy\.yaml:7/, /^holdfast doctor, on bob$/],
  ],
  [
    'agents of different versions',
    { nodes: { alice: { ...ready, agentVersion: '0.10.0' }, bob: { ...ready, agentVersion: '0.9.0' } } },
    [/^warning bob: has agent 0\.9\.0, others 0\.10\.0/, /^on bob: replace dist/],
  ],
  [
    'restored data',
    { restored: { since: at, waitingFor: ['bob'] } },
    [/^error shop: .*restored.*waiting for bob/, /confirm-history$/],
  ],
  [
    'a failed group',
    { groups: { web: { ...running, state: 'failed', owner: null, reason: 'nginx failed' } } },
    [/^error web: has failed: nginx failed/, /why web.*group cleanup web$/],
  ],
  [
    'a waiting group',
    { groups: { web: { ...running, state: 'waiting', owner: null, reason: 'no node' } } },
    [/^error web: is waiting: no node/, /why web/],
  ],
  [
    'a degraded group',
    { groups: { web: { ...running, state: 'degraded' } } },
    [/^warning web: runs degraded/, /status web/],
  ],
  [
    'a group without a second node',
    { groups: { web: { ...running, candidates: [eligible('alice'), not('bob', { rule: 'standby' })] } } },
    [/^warning web: only alice could run it.*bob is in standby/, /why web/],
  ],
  [
    'a group whose owner is its only voter, whatever speaks for the other nodes',
    {
      groups: {
        web: {
          ...running,
          outage: {
            survives: true,
            takeover: false,
            voters: ['alice'],
            reason: 'alice is its only voter (bob is lost)',
          },
        },
      },
    },
    [/^warning web: has no automatic takeover: alice is its only voter/, /holdfast why web$/],
  ],
  [
    'a group that an outage of the coordinator would stop',
    {
      groups: {
        web: {
          ...running,
          outage: { survives: false, takeover: true, voters: ['alice', 'bob'], reason: 'bob has not promised' },
        },
      },
    },
    [
      /^warning web: would be stopped by an outage of the coordinator: bob has not promised/,
      /^holdfast doctor, on each of its voters \(alice, bob\)$/,
    ],
  ],
  [
    'a node that listens for no peers',
    {
      nodes: {
        alice: { ...ready, listens: { addresses: ['192.0.2.1'], port: 7480 } },
        bob: { ...ready, listens: null },
      },
    },
    [/^warning bob: listens for no other nodes/, /^on bob: holdfast doctor$/],
  ],
  [
    'a group that is paused, and nothing more of it',
    { groups: { web: { ...running, paused, candidates: [eligible('alice'), not('bob', { rule: 'standby' })] } } },
    [/^warning web: is paused until .*2026.* \(new disk\): nobody takes it over/, /group resume web$/],
  ],
  [
    'a node in maintenance, and nothing of what it runs',
    {
      groups: { web: { ...running, candidates: [eligible('alice'), not('bob', { rule: 'standby' })] } },
      nodes: { alice: { ...ready, maintenance: paused }, bob: ready },
    },
    [/^warning alice: is in maintenance until .* \(new disk\): nobody takes over what it runs/, /node ready alice$/],
  ],
  [
    'a node behind the configuration',
    {
      groups: {
        web: {
          ...running,
          candidates: [eligible('alice'), not('bob', { rule: 'outdated-config', revision: 3, wanted: 4 })],
        },
      },
    },
    [/^warning bob: works by revision 3, not yet 4/, /holdfast doctor, on bob/],
    [/^warning web: only alice/, /why web/],
  ],
  [
    'a configuration that is in force nowhere',
    {
      groups: {
        web: {
          ...running,
          state: 'waiting',
          owner: null,
          candidates: [
            not('alice', { rule: 'outdated-config', revision: 3, wanted: 4 }),
            not('bob', { rule: 'outdated-config', revision: 3, wanted: 4 }),
          ],
        },
      },
    },
    [/^error revision 4: is not yet in force anywhere: alice works by 3, bob works by 3/, /on alice$/],
    [/^error web: is waiting/, /why web/],
  ],
];
for (const [what, differs, ...expected] of table)
  test(`${what} is named`, () =>
    expectFindings(
      find(differs).filter(({ level }) => level !== 'ok'),
      expected,
    ));

test('a group that follows another, or waits for a person, lacks no second node: what it waits for is said', () => {
  const candidates = (reason: Candidate['reasons'][number]) => [eligible('alice'), not('bob', reason)];
  const findings = find({
    groups: {
      web: { ...running, candidates: candidates({ rule: 'not-with', group: 'db', owner: 'alice' }) },
      app: { ...running, candidates: candidates({ rule: 'manual-failover' }) },
    },
  });
  expectFindings(
    findings.filter(({ subject }) => ['web', 'app'].includes(subject)),
    [[/^ok web: is running; bob is not where db runs \(alice\)$/], [/^ok app: is running; bob takes it only by/]],
  );
  const apart = find({
    groups: { web: { ...running, candidates: candidates({ rule: 'not-apart', group: 'db' }) } },
  }).filter(({ subject }) => subject === 'web');
  expectFindings(apart, [[/^warning web: only alice could run it/, /why web/]]);
});

test('a group that is meant for one node, one stopped on purpose and a node in standby are in order, and said', () => {
  const findings = find({
    groups: { web: { ...running, candidates: [eligible('alice')] }, db: { ...running, state: 'stopped', owner: null } },
    nodes: { alice: ready, bob: { ...ready, state: 'standby' } },
  });
  expectFindings(
    findings.filter(({ subject }) => ['web', 'db', 'bob'].includes(subject)),
    [[/^ok bob: is in standby/], [/^ok web: .*alice alone.*there is no takeover/], [/^ok db: is stopped on purpose/]],
  );
});

test('leases that ran out on nodes that were up within a day speak for a longer one; older ones do not', () => {
  const events = [
    { at: '2026-11-20T11:00:00.000Z', kind: 'agent.lease-lost', node: 'carol' },
    { at: '2026-11-22T02:00:00.000Z', kind: 'agent.lease-lost', node: 'alice' },
    { at: '2026-11-22T03:00:00.000Z', kind: 'agent.fuse-fired', node: 'alice' },
    { at: '2026-11-22T03:00:00.000Z', kind: 'node.lost', node: 'bob' },
  ];
  const about = (facts: Partial<ClusterFacts>) => find({}, facts).filter(({ check }) => check === 'timing');
  expectFindings(about({ events }), [[/^warning lease: of 4000 ms ran out.*: alice 2×$/, /lease: wan/]]);
  expectFindings(about({ events, timing: LEASE_PROFILES.wan }), [
    [/^warning lease: of 15000 ms/, /^look at load and network of those nodes \(holdfast events --since 24h\)$/],
  ]);
  expectFindings(about({ events, timing: undefined }), []);
});
