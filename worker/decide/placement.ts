/**
 * Which node should run a group: the `on` list best first, stay put, and never a node that is in standby, lost, unwilling or has
 * failed. Deterministic, and every verdict carries its reasons as data.
 */
import type { Candidate, Reason } from '../../schemas/reasons.ts';
import { holder, timingOf } from './lease.ts';
import { iso } from './records.ts';
import type { ClusterState, GroupRecord, NodeLive } from './state.ts';

/** What this instance has heard of a node, unless the incarnation that it heard has ended. */
export function living(state: ClusterState, node: string): NodeLive | undefined {
  const live = state.volatile.nodes[node];
  return live?.ended === null ? live : undefined;
}

/** The coordinator has just started, and the node has had no time to report: nothing is concluded from its silence yet. */
export function unheardYet(state: ClusterState, node: string, now: number): boolean {
  const record = state.durable.nodes[node];
  if (record === undefined || record.removed || record.lost || record.agentVersion === null) return false;
  return state.volatile.nodes[node] === undefined && now - state.volatile.startedAt <= timingOf(state).leaseMs;
}

/**
 * A node is lost when it has not reported for a lease's length: by then it has stopped everything by itself. One whose incarnation
 * ended is lost at once.
 */
export function lostSince(state: ClusterState, node: string, now: number): { lastSeen: number | null } | undefined {
  const live = state.volatile.nodes[node];
  const { leaseMs } = timingOf(state);
  if (live === undefined) return { lastSeen: null };
  return live.ended !== null || now - live.lastSeenAt > leaseMs ? { lastSeen: live.lastSeenAt } : undefined;
}

/** Everything that speaks against a node for this group; empty: it may run it. */
export function objections(state: ClusterState, group: GroupRecord, node: string, now: number): Reason[] {
  const record = state.durable.nodes[node];
  if (record === undefined) return [{ rule: 'not-joined' }];
  if (record.removed) return [{ rule: 'removed' }];
  const against: Reason[] = [];
  const live = state.volatile.nodes[node];
  const lost = lostSince(state, node, now);
  if (record.declaredDead !== null && (live === undefined || live.incarnation === record.declaredDead.incarnation))
    against.push({ rule: 'declared-dead', since: iso(record.declaredDead.at) });
  else if (live?.ended === 'retired') against.push({ rule: 'agent-ended', since: iso(live.lastSeenAt) });
  else if (live === undefined && record.agentVersion === null) against.push({ rule: 'not-started' });
  else if (unheardYet(state, node, now)) against.push({ rule: 'unheard' });
  else if (lost !== undefined)
    against.push({ rule: 'lost', lastSeen: lost.lastSeen === null ? null : iso(lost.lastSeen) });
  if (record.mode === 'standby') against.push({ rule: 'standby' });
  for (const refusal of record.refusals)
    if (refusal.group === group.name)
      against.push({ rule: 'refuses', resource: refusal.resource, detail: refusal.reason });
  const failure = group.failures[node];
  if (failure !== undefined)
    against.push({ rule: 'failed-here', resource: failure.resource, detail: failure.reason, since: iso(failure.at) });
  if (live !== undefined && lost === undefined) {
    if (live.readyAt > now) against.push({ rule: 'quarantine', remainingMs: live.readyAt - now });
    if (live.revision !== state.durable.revision)
      against.push({ rule: 'outdated-config', revision: live.revision, wanted: state.durable.revision });
    if (!live.epochsKnown) against.push({ rule: 'epochs-unreported' });
  }
  return against;
}

/**
 * Ranks every node of the group's `on` list, best first; the first eligible one is chosen.
 * @param options.exceptOwner count the incarnation that holds the lease out: who would take over from it?
 */
export function rank(
  state: ClusterState,
  group: GroupRecord,
  now: number,
  options: { exceptOwner?: boolean } = {},
): Candidate[] {
  const listed = state.durable.config?.groups[group.name]?.on ?? [];
  const { lease } = group;
  const owner = lease?.owner;
  const ownerLives = lease !== null && !lease.released && living(state, lease.owner)?.incarnation === lease.incarnation;
  const judged = listed.map((node, index) => {
    const against = objections(state, group, node, now);
    if (options.exceptOwner === true && ownerLives && node === owner && against.length === 0)
      against.push({ rule: holder(state, group, now) === undefined ? 'owner-let-lapse' : 'owner-has-it', owner: node });
    const inFavour: Reason[] = [];
    let score = listed.length - index;
    if (group.target?.node === node) {
      inFavour.push({ rule: 'target', operation: group.target.operation });
      score += 2_000;
    }
    if (node === owner) {
      inFavour.push({ rule: 'owner' });
      score += 1_000;
    }
    inFavour.push({ rule: 'preference', position: listed.indexOf(node) + 1 });
    return { node, score, against, inFavour };
  });
  judged.sort((a, b) => Number(a.against.length > 0) - Number(b.against.length > 0) || b.score - a.score);
  return judged.map(({ node, against, inFavour }, index) => ({
    node,
    eligible: against.length === 0,
    chosen: index === 0 && against.length === 0,
    reasons: [...against, ...inFavour],
  }));
}

export function chosen(candidates: readonly Candidate[]): string | undefined {
  return candidates.find((candidate) => candidate.chosen)?.node;
}

/** @returns why the owner of this group must stop it gracefully and release it; undefined if it may go on. */
export function releaseOrder(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const { lease } = group;
  if (lease === null) return undefined;
  const config = state.durable.config?.groups[group.name];
  if (config === undefined) return 'removed from the configuration';
  if (group.desired === 'stopped') return 'stopped by an operator';
  if (!config.on.includes(lease.owner)) return 'this node is no longer in the group’s `on` list';
  const node = state.durable.nodes[lease.owner];
  if (node === undefined || node.removed) return 'the node was removed';
  if (node.mode === 'standby') return 'the node is in standby';
  const { target } = group;
  if (target !== null && target.node !== lease.owner && objections(state, group, target.node, now).length === 0)
    return `moved to ${target.node}`;
  return undefined;
}
