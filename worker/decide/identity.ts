/** Who is reporting: which incarnation may speak as a node, and whether what it says is the newest. */
import { type Reply, type Report, versionProblem } from '../../schemas/wire.ts';
import { learnOfOlder, otherHistory } from './history.ts';
import { freedom, timingOf } from './lease.ts';
import { living } from './liveness.ts';
import { event } from './outcome.ts';
import { withLive, withNode } from './records.ts';
import type { ClusterState, Effect, NewEvent, NodeLive, NodeRecord } from './state.ts';

/** Sent before another report that has arrived already: its leases and releases count as ever, but what it tells is old. */
export function overtaken(before: ClusterState, report: Report): boolean {
  const live = before.volatile.nodes[report.node];
  if (live === undefined || live.incarnation !== report.incarnation || report.sentMs === undefined) return false;
  return report.sentMs < live.sentMs;
}

const NO_PROMISES: NodeLive['promised'] = [];

/** What says the same is the same, so that a report which changes nothing is seen to. */
function samePromises(before: NodeLive['promised'] | undefined, told: NodeLive['promised']): NodeLive['promised'] {
  const same =
    before?.length === told.length &&
    told.every(({ group, epoch }, index) => before[index]?.group === group && before[index]?.epoch === epoch);
  return same ? before : told;
}

interface Identified {
  readonly state: ClusterState;
  readonly effects: readonly Effect[];
  readonly problem?: NonNullable<Reply['problem']>;
}

/** Which incarnation may speak as this node: the living one, or the one that may still hold a lease. */
function rightfulIncarnation(state: ClusterState, node: string, now: number): string | undefined {
  const timing = timingOf(state);
  const live = living(state, node);
  if (live !== undefined && now - live.lastSeenAt <= timing.leaseMs) return live.incarnation;
  for (const group of Object.values(state.durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.owner !== node || lease.released || lease.provenDeadAt !== null) continue;
    if (!freedom(lease, state.volatile.renewals[group.name], timing, now).free) return lease.incarnation;
  }
  return undefined;
}

/** What it has told counts until it tells otherwise, or another program speaks, which does not tell. */
function fuseNow(record: NodeRecord, report: Report, incarnation: string | undefined): NodeRecord['fuse'] {
  if (report.fuse !== undefined) return report.fuse;
  const another = incarnation !== undefined && incarnation !== report.incarnation;
  return another || report.agentVersion !== record.agentVersion ? undefined : record.fuse;
}

export function identify(before: ClusterState, report: Report, now: number): Identified {
  const refuse = (
    code: NonNullable<Reply['problem']>['code'],
    detail: string,
    state = before,
    effects: Effect[] = [],
  ): Identified => ({
    state,
    effects,
    problem: { code, detail },
  });
  const version = versionProblem(report.version);
  if (version !== undefined) return refuse('version-unsupported', version);
  const record = before.durable.nodes[report.node];
  if (record === undefined)
    return refuse('node-unknown', `no node ${report.node} in cluster ${before.durable.cluster}; join it first`);
  if (record.removed) return refuse('node-removed', `${report.node} was removed from the cluster; join it again`);
  if (record.declaredDead?.incarnation === report.incarnation)
    return refuse(
      'declared-dead',
      'an operator declared this node dead; restart the agent’s guard or the machine to return as a new incarnation',
    );
  if (report.history !== null && report.history !== before.durable.history) {
    const mismatch = otherHistory(before, report, now);
    return refuse(
      'history-mismatch',
      `this node belongs to history ${report.history} of the cluster, the coordinator has ${before.durable.history}; join it again`,
      mismatch.state,
      [...mismatch.effects],
    );
  }
  const live = before.volatile.nodes[report.node];
  const rightful = rightfulIncarnation(before, report.node, now);
  if (rightful !== undefined && rightful !== report.incarnation) {
    const state =
      live?.incarnation === rightful && live.ended === null
        ? withLive(before, report.node, {
            ...live,
            rival: {
              incarnation: report.incarnation,
              at: now,
              told: live.rival?.incarnation === report.incarnation && live.rival.told,
            },
          })
        : before;
    const learned = learnOfOlder(state, report, now);
    return refuse(
      'identity-conflict',
      `another incarnation of ${report.node} is alive or may still hold a lease; this one may act when that has ended`,
      learned.state,
      [...learned.effects],
    );
  }

  const effects: Effect[] = [];
  const tell = (kind: NewEvent['kind'], severity: NewEvent['severity'], detail: string) =>
    effects.push(event(now, { kind, severity, node: report.node, detail }));
  if (live !== undefined && live.incarnation !== report.incarnation)
    tell(
      'node.new-incarnation',
      'warning',
      `a new incarnation of the agent: the machine restarted or its guard was lost`,
    );
  const rival = live?.incarnation === report.incarnation ? live.rival : null;
  const both = rival !== null && !rival.told;
  if (both)
    tell(
      'node.identity-conflict',
      'error',
      `two agents speak as ${report.node}: the second is held off. A cloned disk or state directory? Join the clone under a name of its own`,
    );
  const newest = live !== undefined && overtaken(before, report) ? live : undefined;
  const leaving = newest?.leaving ?? report.leaving === true;
  if (leaving && !(live?.incarnation === report.incarnation && live.leaving))
    tell('node.leaving', 'info', `${report.node} is shutting down: what it runs is handed over`);
  let state = withLive(before, report.node, {
    incarnation: report.incarnation,
    lastSeenAt: now,
    ended: newest?.ended ?? null,
    leaving,
    sentMs: newest?.sentMs ?? report.sentMs ?? 0,
    readyAt: newest?.readyAt ?? now + report.quarantineMs,
    revision: newest?.revision ?? report.revision,
    epochsKnown: report.epochs !== undefined || (live?.incarnation === report.incarnation && live.epochsKnown),
    promised: newest?.promised ?? samePromises(live?.promised, report.promised ?? NO_PROMISES),
    rival: rival === null ? null : { ...rival, told: true },
  });
  const endpoint = newest === undefined ? report.endpoint : undefined;
  const moved = endpoint !== undefined && JSON.stringify(endpoint) !== JSON.stringify(record.endpoint);
  const fuse = newest === undefined ? fuseNow(record, report, live?.incarnation) : record.fuse;
  const rearmed = JSON.stringify(fuse) !== JSON.stringify(record.fuse);
  const { fuse: _before, ...rest } = record;
  const seen: NodeRecord = {
    ...rest,
    ...(fuse === undefined ? {} : { fuse }),
    lost: false,
    endpoint: moved ? endpoint : record.endpoint,
    agentVersion: report.agentVersion,
    // a new incarnation is the proof that the declared-dead one is gone
    declaredDead: null,
  };
  if (record.lost) tell('node.returned', 'info', `${report.node} reports again`);
  if (record.lost || moved || rearmed || record.agentVersion !== report.agentVersion || record.declaredDead !== null)
    state = withNode(state, seen);
  return { state, effects };
}
