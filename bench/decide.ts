/**
 * `npm run bench:decide`: how long it takes to decide where everything runs, for 3 nodes with 20 groups and for 32 nodes with 1000.
 * Ours are the pure functions that the coordinator calls; the peer is Pacemaker's scheduler (crm_simulate, one pass, nothing carried out)
 * on a CIB that says the same: every group one address, allowed on every node, best on two of them, stay put.
 *
 * A document may name 16 nodes and 200 groups at most, so the state of the larger cluster is made directly.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, DEFAULT_POLICY, NO_RULES } from '../schemas/config.ts';
import { LEASE_PROFILES } from '../schemas/limits.ts';
import { type Host, Lab, labUnavailable, monotonicMs } from '../test/lab/index.ts';
import { type ClusterState, decide, emptyState, statusOf } from '../worker/decide/index.ts';
import { chosen, rank } from '../worker/decide/placement.ts';
import { newNode } from '../worker/decide/records.ts';
import type { GroupRecord, NodeLive, NodeRecord } from '../worker/decide/state.ts';
import { benchOptions } from './lib/options.ts';
import { peerPackages } from './lib/peer-packages.ts';
import { circumstances, progress, record } from './lib/record.ts';
import { figure, type Summary, summarize, table } from './lib/summary.ts';

interface Size {
  readonly nodes: number;
  readonly groups: number;
}

const sizes: readonly Size[] = [
  { nodes: 3, groups: 20 },
  { nodes: 32, groups: 1_000 },
];

/** `stopped`: all must be placed. `running`: all run where they should. `lost`: the same, and the first node has fallen silent. */
const situations = ['stopped', 'running', 'lost'] as const;
type Situation = (typeof situations)[number];

const now = 1_800_000_000_000;
const nodeName = (index: number) => `n${index + 1}`;
const groupName = (index: number) => `g${index}`;
const address = (group: number) => `10.1.${Math.floor(group / 250)}.${(group % 250) + 1}`;

/** Best first: the same two nodes that the CIB prefers, then the others. */
function preference(group: number, nodes: number): string[] {
  return Array.from({ length: nodes }, (_, index) => nodeName((group + index) % nodes));
}

function configOf({ nodes, groups }: Size): Config {
  const names = Array.from({ length: nodes }, (_, index) => nodeName(index));
  const entries = Array.from({ length: groups }, (_, group) => {
    const name = groupName(group);
    const vip = {
      type: 'vip' as const,
      id: `vip-${name}`,
      address: `${address(group)}/24`,
      times: {},
      policy: DEFAULT_POLICY,
    };
    return [name, { name, on: preference(group, nodes), resources: [vip], ...NO_RULES }] as const;
  });
  return {
    cluster: 'bench',
    nodes: names,
    labels: {},
    timing: LEASE_PROFILES.default,
    groups: Object.fromEntries(entries),
  };
}

function nodeRecord(name: string): NodeRecord {
  return { ...newNode(name, '', now - 86_400_000), agentVersion: 'bench' };
}

function groupRecord(group: number, { nodes }: Size, situation: Situation): GroupRecord {
  const owner = nodeName(group % nodes);
  const held = situation !== 'stopped';
  return {
    name: groupName(group),
    desired: 'started',
    lease: held
      ? {
          owner,
          incarnation: `i-${owner}`,
          epoch: 1,
          voters: { version: 1, names: preference(group, nodes) },
          pendingVoters: null,
          eligibleBase: null,
          barred: {},
          followsRelease: null,
          grantedAt: now - 60_000,
          leaseMs: LEASE_PROFILES.default.leaseMs,
          confirmedAt: now - 59_000,
          released: false,
          suspectSince: null,
          provenDeadAt: null,
        }
      : null,
    target: null,
    failures: {},
    pause: null,
    halt: null,
    cleanups: 0,
    run: held ? { epoch: 1, state: 'running', reason: undefined, resources: [] } : null,
    shown: held ? 'running' : 'waiting',
    since: now - 60_000,
  };
}

function stateOf(size: Size, situation: Situation): ClusterState {
  const { durable, volatile } = emptyState('bench', 'history', 'instance', now - 86_400_000);
  const names = Array.from({ length: size.nodes }, (_, index) => nodeName(index));
  const silentMs = (node: string) => (situation === 'lost' && node === nodeName(0) ? 60_000 : 500);
  const live = (node: string): NodeLive => ({
    incarnation: `i-${node}`,
    lastSeenAt: now - silentMs(node),
    readyAt: 0,
    leaving: false,
    revision: 1,
    epochsKnown: true,
    promised: [],
    rival: null,
    ended: null,
    sentMs: 0,
  });
  const groups = Array.from({ length: size.groups }, (_, group) => groupRecord(group, size, situation));
  const renewals = groups.flatMap(({ name, lease }) =>
    lease === null
      ? []
      : [[name, { id: `r-${name}`, at: now - silentMs(lease.owner), backed: true, votersAt: 0 }] as const],
  );
  return {
    durable: {
      ...durable,
      revision: 1,
      config: configOf(size),
      nodes: Object.fromEntries(names.map((name) => [name, nodeRecord(name)])),
      groups: Object.fromEntries(groups.map((group) => [group.name, group])),
    },
    volatile: {
      ...volatile,
      lastEventAt: now,
      nodes: Object.fromEntries(names.map((name) => [name, live(name)])),
      renewals: Object.fromEntries(renewals),
    },
  };
}

/** Who should run each group, with every candidate's reasons. */
function placeAll(state: ClusterState): Map<string, string | undefined> {
  const groups = Object.values(state.durable.groups);
  return new Map(groups.map((group) => [group.name, chosen(rank(state, group, now))]));
}

/** Calls until enough time has passed to be measured, and gives the time of one call, ms. */
function timeOf(body: () => unknown, leastMs: number): number {
  let calls = 0;
  const begun = performance.now();
  do {
    body();
    calls++;
  } while (performance.now() - begun < leastMs);
  return (performance.now() - begun) / calls;
}

interface Ours {
  readonly placement: Summary;
  readonly tick: Summary;
  readonly status: Summary;
}

function measureOurs(size: Size, situation: Situation, runs: number): Ours {
  const state = stateOf(size, situation);
  const placed = [...placeAll(state).values()];
  if (placed.some((node) => node === undefined)) throw new Error('a group was not placed');
  if (situation === 'lost' && placed.includes(nodeName(0))) throw new Error('a group was placed on the lost node');
  const each = (body: () => unknown) => {
    timeOf(body, 300); // lets the compiler see it often enough
    return summarize(Array.from({ length: runs }, () => timeOf(body, 20)));
  };
  return {
    placement: each(() => placeAll(state)),
    tick: each(() => decide(state, { type: 'tick' }, now)),
    status: each(() => statusOf(state, now)),
  };
}

const attributes = (values: Readonly<Record<string, string | number>>) =>
  Object.entries(values)
    .map(([name, value]) => ` ${name}="${value}"`)
    .join('');

/** One recorded operation of a resource on a node: found stopped (7), or started and monitored (0). */
function operation(resource: string, node: string, name: string, interval: number, code: number, call: number): string {
  const expected = name === 'monitor' && interval === 0 && code === 7 ? 7 : 0;
  const key = `1:1:${expected}:aaaaaaaa-0000-0000-0000-000000000000`;
  return `<lrm_rsc_op${attributes({
    id: `${resource}_${name}_${interval}`,
    operation_key: `${resource}_${name}_${interval}`,
    operation: name,
    interval,
    'call-id': call,
    'rc-code': code,
    'op-status': 0,
    'transition-key': key,
    'transition-magic': `0:${code};${key}`,
    on_node: node,
    'crm-debug-origin': 'bench',
    crm_feature_set: '3.16.1',
    'last-rc-change': 1_700_000_000,
    'exec-time': 1,
    'queue-time': 0,
  })}/>`;
}

/** The same cluster as Pacemaker knows it. */
function cibOf(size: Size, situation: Situation): string {
  const nodes = Array.from({ length: size.nodes }, (_, index) => nodeName(index));
  const groups = Array.from({ length: size.groups }, (_, index) => index);
  const nvpair = (id: string, name: string, value: string | number) => `<nvpair${attributes({ id, name, value })}/>`;
  const primitives = groups.map((group) => {
    const id = groupName(group);
    return `<primitive id="${id}" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="${id}-a">${nvpair(`${id}-ip`, 'ip', address(group))}</instance_attributes><operations><op id="${id}-m" name="monitor" interval="10s"/></operations></primitive>`;
  });
  const locations = groups.flatMap((group) =>
    [50, 25].map((score, index) => {
      const node = nodeName((group + index) % size.nodes);
      return `<rsc_location${attributes({ id: `l${group}-${index}`, rsc: groupName(group), node, score })}/>`;
    }),
  );
  const states = nodes.map((node, index) => {
    const lost = situation === 'lost' && index === 0;
    const membership = lost
      ? { in_ccm: 'false', crmd: 'offline', join: 'down', expected: 'down' }
      : { in_ccm: 'true', crmd: 'online', join: 'member', expected: 'member' };
    const resources = groups.map((group) => {
      const id = groupName(group);
      const runs = situation !== 'stopped' && group % size.nodes === index;
      const operations = runs
        ? operation(id, node, 'start', 0, 0, 2) + operation(id, node, 'monitor', 10_000, 0, 3)
        : operation(id, node, 'monitor', 0, 7, 1);
      return `<lrm_resource id="${id}" class="ocf" provider="heartbeat" type="IPaddr2">${operations}</lrm_resource>`;
    });
    return `<node_state${attributes({ id: index + 1, uname: node, ...membership })}><lrm id="${index + 1}"><lrm_resources>${resources.join('')}</lrm_resources></lrm></node_state>`;
  });
  const options = { 'stonith-enabled': 'false', 'no-quorum-policy': 'stop', 'dc-version': '2.1.5' };
  const properties = Object.entries(options).map(([name, value]) => nvpair(`o-${name}`, name, value));
  return [
    '<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="2"><configuration>',
    `<crm_config><cluster_property_set id="cib-bootstrap-options">${properties.join('')}</cluster_property_set></crm_config>`,
    `<nodes>${nodes.map((uname, index) => `<node${attributes({ id: index + 1, uname })}/>`).join('')}</nodes>`,
    `<resources>${primitives.join('\n')}</resources>`,
    `<constraints>${locations.join('\n')}</constraints>`,
    `<rsc_defaults><meta_attributes id="rd">${nvpair('rd-s', 'resource-stickiness', 100)}</meta_attributes></rsc_defaults>`,
    `</configuration><status>${states.join('\n')}</status></cib>`,
  ].join('\n');
}

interface Theirs {
  readonly wall: Summary;
  /** User and system time, ms. */
  readonly cpu: Summary;
  readonly cibBytes: number;
}

async function cpuMs(host: Host): Promise<number> {
  const stat = await readFile(join(host.cgroup, 'cpu.stat'), 'utf8');
  return Number(/^usage_usec (\d+)$/m.exec(stat)?.[1] ?? Number.NaN) / 1_000;
}

/** A pass starts a process and reads the CIB, which a running cluster's scheduler does too (it is sent the whole CIB each time). */
async function measureTheirs(host: Host, size: Size, situation: Situation, runs: number): Promise<Theirs> {
  const cib = cibOf(size, situation);
  await host.writeFile('/srv/cib.xml', cib);
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let run = 0; run < runs; run++) {
    const [cpuBefore, begun] = [await cpuMs(host), monotonicMs()];
    await host.mustExec(['sh', '-c', 'crm_simulate -R -x /srv/cib.xml >/srv/out.txt 2>&1'], { deadlineMs: 120_000 });
    wall.push(monotonicMs() - begun);
    cpu.push((await cpuMs(host)) - cpuBefore);
  }
  const printed = await host.readFile('/srv/out.txt');
  const expected =
    situation === 'stopped' ? size.groups : situation === 'lost' ? Math.ceil(size.groups / size.nodes) : 0;
  const actions = printed.split('\n').filter((line) => /^\s+\* (Start|Move|Recover|Stop)\s/.test(line)).length;
  if (actions !== expected)
    throw new Error(`crm_simulate planned ${actions} actions, not ${expected}: ${printed.slice(0, 2_000)}`);
  return { wall: summarize(wall), cpu: summarize(cpu), cibBytes: cib.length };
}

const cell = (summary: Summary) =>
  `${figure(summary.median)} (${figure(summary.min)} – ${figure(summary.max)}) n ${summary.n}`;

async function main(): Promise<void> {
  const missing = labUnavailable();
  const options = benchOptions({ runs: 7, quickRuns: 2 });
  const about = await circumstances();
  if (missing !== undefined) throw new Error(`crm_simulate runs in a host of the laboratory, and ${missing}`);
  const results: Record<string, unknown>[] = [];
  const rows: string[][] = [];
  await using lab = await Lab.create({ hosts: ['scheduler'], packages: peerPackages });
  const host = lab.host('scheduler');
  for (const size of sizes) {
    for (const situation of situations) {
      const ours = measureOurs(size, situation, 3 * options.runs);
      const theirs = await measureTheirs(
        host,
        size,
        situation,
        size.groups > 100 ? Math.min(3, options.runs) : options.runs,
      );
      const name = `${size.nodes} nodes, ${size.groups} groups, ${situation === 'lost' ? 'one node lost' : `all ${situation}`}`;
      progress(`${name}: ${figure(ours.placement.median)} ms, crm_simulate ${figure(theirs.cpu.median)} ms of CPU`);
      results.push({ ...size, situation, ours, theirs });
      const times = (theirs.cpu.median / ours.placement.median).toFixed(0);
      rows.push([
        name,
        cell(ours.placement),
        cell(ours.tick),
        cell(ours.status),
        cell(theirs.cpu),
        cell(theirs.wall),
        `1 : ${times}`,
      ]);
    }
  }
  const head = [
    'ms, median (min – max)',
    'placement of all',
    'a tick',
    '`status`',
    'crm_simulate, CPU',
    'crm_simulate, wall',
    'placement : CPU',
  ];
  await record(about, [table(head, rows)], { results });
}

await main();
