/** The cluster as a whole, from what the coordinator says of it. */
import type { Status } from '../../schemas/api.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import { reasonText } from '../../schemas/reasons.ts';
import { hasNoTakeover, isExposed, lacksSuccessor, staysPut, unheard } from '../../schemas/takeover.ts';
import type { Webhook } from '../../schemas/webhook.ts';
import { copyFindings } from './drbd.ts';
import { type Finding, sayer } from './finding.ts';

export interface ClusterFacts {
  readonly status: Status;
  /** Of the document in force; undefined before the first. */
  readonly timing: LeaseTiming | undefined;
  /** The newest events. */
  readonly events: readonly { readonly at: string; readonly kind: string; readonly node?: string | undefined }[];
  /** Undefined where whoever asks may not see them. */
  readonly webhooks?: readonly Webhook[] | undefined;
}

type Node = Status['nodes'][string];
type Group = Status['groups'][string];

/** How far back events count. */
const LOOK_BACK_MS = 24 * 3_600_000;

export function clusterFindings(facts: ClusterFacts): Finding[] {
  const { status } = facts;
  return [
    ...historyFindings(status),
    ...configurationFindings(status),
    ...Object.entries(status.nodes).flatMap(([name, node]) => nodeFindings(name, node)),
    ...copyFindings(
      Object.entries(status.nodes).flatMap(([node, { copies = [] }]) => copies.map((copy) => ({ node, copy }))),
    ),
    ...listeningFindings(status),
    ...versionFindings(status),
    ...Object.entries(status.groups).flatMap(([name, group]) => [
      ...pauseFindings(name, group),
      ...groupFindings(name, group, status.nodes),
      ...outageFindings(name, group),
    ]),
    ...leaseFindings(facts),
    ...(facts.webhooks ?? []).map(webhookFinding),
  ];
}

function webhookFinding({ id, url, state, reason, pending, last }: Webhook): Finding {
  const { ok, warning, error } = sayer('webhooks');
  const waiting = pending === 0 ? '' : `; ${pending} notice${pending === 1 ? '' : 's'} wait`;
  const fix = `holdfast webhook deliveries ${id}`;
  if (state === 'disabled')
    return error(
      id,
      `${url} is told nothing any more: ${reason ?? 'it was disabled'}${waiting}`,
      `${fix}; when it answers: holdfast webhook enable ${id}`,
    );
  if (last !== null && !last.ok) return warning(id, `${url} was not told: ${last.detail}${waiting}`, fix);
  return ok(id, `${url} is told${last === null ? ', once there is something to tell' : ''}`);
}

function historyFindings({ restored, cluster }: Status): Finding[] {
  if (restored === undefined) return [];
  const waiting = restored.waitingFor.length === 0 ? 'the wait to end' : restored.waitingFor.join(', ');
  return [
    sayer('history').error(
      cluster,
      `the coordinator's data was restored (${restored.since}), and nothing is granted; waiting for ${waiting}`,
      'start the agents it waits for; or, sure that nothing runs there: holdfast cluster confirm-history',
    ),
  ];
}

function configurationFindings(status: Status): Finding[] {
  const { ok, warning, error } = sayer('configuration');
  const subject = `revision ${status.revision}`;
  if (status.revision === 0) return [warning(status.cluster, 'nothing is configured yet', 'holdfast apply FILE')];
  const outdated = new Map<string, number>();
  const current = new Set<string>();
  for (const { candidates } of Object.values(status.groups))
    for (const { node, reasons } of candidates) {
      const reason = reasons.find(({ rule }) => rule === 'outdated-config');
      if (reason?.rule === 'outdated-config') outdated.set(node, reason.revision);
      else if (status.nodes[node]?.state === 'ready') current.add(node);
    }
  const fix = (node: string) => `see whether its agent runs and reports: holdfast doctor, on ${node}`;
  const [first] = outdated.keys();
  if (first !== undefined && current.size === 0)
    return [error(subject, `is not yet in force anywhere: ${listed(outdated)}`, fix(first))];
  if (outdated.size > 0)
    return [...outdated].map(([node, revision]) =>
      warning(node, `works by revision ${revision}, not yet ${status.revision}`, fix(node)),
    );
  return [
    ok(
      subject,
      Object.keys(status.groups).length === 0 ? 'configures no groups' : 'is in force on every node that reports',
    ),
  ];
}

function listed(revisions: ReadonlyMap<string, number>): string {
  return [...revisions].map(([node, revision]) => `${node} works by ${revision}`).join(', ');
}

/** What an operator keeps as it is stays so whatever happens, until then or until it is ended. */
function pauseFindings(name: string, { paused }: Group): Finding[] {
  if (paused === undefined) return [];
  return [
    sayer('groups').warning(
      name,
      `is paused until ${paused.until} (${paused.reason}): nobody takes it over meanwhile`,
      `when that is done: holdfast group resume ${name}`,
    ),
  ];
}

function nodeFindings(name: string, node: Node): Finding[] {
  const { ok, warning, error } = sayer('nodes');
  const found = node.refusals.map(({ group, resource, reason }) =>
    error(name, `refuses ${group}/${resource}: ${reason}`, `holdfast doctor, on ${name}`),
  );
  const start = `on ${name}: systemctl enable --now holdfast, or holdfast agent`;
  if (!node.joined)
    return node.state === 'removed'
      ? [
          warning(
            name,
            'was removed and is still named in the document',
            'take it out of `nodes`, and: holdfast apply FILE',
          ),
        ]
      : [
          warning(
            name,
            'is named in the document and has not joined',
            `holdfast node token create --node ${name}; then on ${name}: holdfast join`,
          ),
        ];
  const { maintenance } = node;
  if (maintenance !== undefined)
    found.push(
      warning(
        name,
        `is in maintenance until ${maintenance.until} (${maintenance.reason}): nobody takes over what it runs`,
        `when that is done: holdfast node ready ${name}`,
      ),
    );
  switch (node.state) {
    case 'ready':
      return found.length > 0 ? found : [ok(name, 'is ready')];
    case 'standby':
      return [...found, ok(name, 'is in standby, on purpose; holdfast node ready ends it')];
    case 'lost':
      if (node.agentVersion === null) return [warning(name, 'has joined, and its agent was never started', start)];
      return [error(name, lostText(node), lostFix(name, node, start))];
    case 'removed':
      return [];
    default:
      return node.state satisfies never;
  }
}

/** Who does not listen promises nothing, and nobody promises it anything. */
function listeningFindings({ nodes }: Status): Finding[] {
  if (Object.keys(nodes).length < 2) return [];
  return Object.entries(nodes).flatMap(([name, { state, agentVersion, listens }]) =>
    listens === null && agentVersion !== null && (state === 'ready' || state === 'standby')
      ? [
          sayer('nodes').warning(
            name,
            'listens for no other nodes: an outage of the coordinator would stop what it runs, and what it votes for',
            `on ${name}: holdfast doctor`,
          ),
        ]
      : [],
  );
}

function lostText({ lastSeenMs, note }: Node): string {
  const since = lastSeenMs === null ? 'since the coordinator started' : `for ${Math.round(lastSeenMs / 1_000)} s`;
  return note === undefined ? `has not reported ${since}` : `${note}; has not reported ${since}`;
}

function lostFix(name: string, { note }: Node, start: string): string {
  if (note !== undefined) return start;
  return `power it on, look at its network; ${start}; for good: holdfast node remove ${name}`;
}

function versionFindings({ nodes }: Status): Finding[] {
  const { ok, warning } = sayer('versions');
  const versions = Object.entries(nodes).flatMap(([name, node]) =>
    node.agentVersion === null || node.state === 'removed' ? [] : [{ name, version: node.agentVersion }],
  );
  const distinct = [...new Set(versions.map(({ version }) => version))].toSorted(byVersion);
  const newest = distinct.at(-1);
  if (newest === undefined) return [];
  if (distinct.length === 1) return [ok('agents', `all are ${newest}`)];
  return versions
    .filter(({ version }) => version !== newest)
    .map(({ name, version }) =>
      warning(
        name,
        `has agent ${version}, others ${newest}`,
        `on ${name}: replace dist/ by that of ${newest} and restart the agent`,
      ),
    );
}

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function groupFindings(name: string, group: Group, nodes: Status['nodes']): Finding[] {
  const { ok, warning, error } = sayer('groups');
  const because = group.reason === undefined ? '' : `: ${group.reason}`;
  const why = `mend what \`holdfast why ${name}\` names`;
  switch (group.state) {
    case 'failed':
      return [error(name, `has failed${because}`, `${why}; then: holdfast group cleanup ${name}`)];
    case 'waiting':
      return [error(name, `is waiting${because}`, why)];
    case 'degraded':
      return [warning(name, `runs degraded${because}`, `${why}; holdfast status ${name}`)];
    case 'stopped':
      return [ok(name, 'is stopped on purpose')];
    case 'running':
    case 'starting':
    case 'stopping':
    case 'moving':
      break;
    default:
      return group.state satisfies never;
  }
  if (staysPut(group, nodes)) return [];
  if (hasNoTakeover(group) && !unheard(group))
    return [
      warning(
        name,
        `has no automatic takeover${group.outage?.reason === undefined ? '' : `: ${group.outage.reason}`}`,
        `bring the other nodes back, and they vote again by themselves: holdfast why ${name}`,
      ),
    ];
  const could = group.candidates.filter(({ node, eligible }) => eligible || node === group.owner);
  if (group.candidates.length < 2)
    return [
      ok(
        name,
        `is ${group.state}; may run on ${group.candidates[0]?.node ?? 'no node'} alone, as its \`on\` list says: there is no takeover`,
      ),
    ];
  if (could.length >= 2)
    return [ok(name, `is ${group.state}; ${could.map(({ node }) => node).join(', ')} could run it`)];
  const others = group.candidates
    .filter((candidate) => !could.includes(candidate))
    .map(
      ({ node, reasons }) =>
        `${node} ${reasons[0] === undefined ? 'cannot' : reasonText(reasons[0], { group: name, node })}`,
    )
    .join('; ');
  if (!lacksSuccessor(group)) return [ok(name, `is ${group.state}; ${others}`)];
  return [warning(name, `only ${could[0]?.node ?? 'no node'} could run it, so there is no takeover: ${others}`, why)];
}

/** A group that runs, and would not outlive an outage of the coordinator although nobody wants that. */
function outageFindings(name: string, group: Group): Finding[] {
  if (!isExposed(group)) return [];
  const because = group.outage?.reason === undefined ? '' : `: ${group.outage.reason}`;
  const voters = group.outage?.voters.join(', ') ?? '';
  return [
    sayer('groups').warning(
      name,
      `would be stopped by an outage of the coordinator${because}`,
      `holdfast doctor, on each of its voters (${voters})`,
    ),
  ];
}

/** Leases that ran out although their nodes were up: the profile is too short for this network or these machines. */
function leaseFindings({ status, timing, events }: ClusterFacts): Finding[] {
  const { ok, warning } = sayer('timing');
  if (timing === undefined) return [];
  const since = Date.parse(status.at) - LOOK_BACK_MS;
  const lost = events.filter(
    ({ at, kind }) => (kind === 'agent.lease-lost' || kind === 'agent.fuse-fired') && Date.parse(at) >= since,
  );
  if (lost.length === 0)
    return [
      ok(
        'lease',
        `of ${timing.leaseMs} ms; no agent that was up has let one run out within a day, as far as the newest events tell`,
      ),
    ];
  const counts = Map.groupBy(lost, ({ node }) => node ?? 'unknown');
  const nodes = [...counts].map(([node, all]) => `${node} ${all.length}×`).join(', ');
  return [
    warning(
      'lease',
      `of ${timing.leaseMs} ms ran out on nodes that were up within a day: ${nodes}`,
      timing.leaseMs < 10_000
        ? 'look at load and network of those nodes (holdfast events --since 24h); a longer lease forgives more: `lease: wan` in the document'
        : 'look at load and network of those nodes (holdfast events --since 24h)',
    ),
  ];
}
