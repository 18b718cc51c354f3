/**
 * Which node should run a group: stay put, then what it prefers, then the `on` list best first, and never a node that is in standby,
 * lost, unwilling, has failed or is ruled out by another group. Deterministic, and every verdict carries its reasons as data.
 */
import type { Fuse } from '../../schemas/fuse.ts';
import { MAX_NODES } from '../../schemas/limits.ts';
import type { Candidate, Reason } from '../../schemas/reasons.ts';
import { inFavourByCopy, objectionsByCopy } from './copies.ts';
import { failureInForce } from './failure.ts';
import { holder } from './lease.ts';
import { living, lostSince, unheardYet } from './liveness.ts';
import { maintenance, staysAsItIs } from './pause.ts';
import { iso } from './records.ts';
import { hasRules, objectionsByRule, unmet } from './rules.ts';
import type { ClusterState, GroupRecord } from './state.ts';
import { eligibleVoters } from './voters.ts';

/** What speaks for a node, in points. Each is more than everything below it together, so that the order is one of importance. */
const TARGET = 2_000;
const OWNER = 1_000;
/** For the last entry of `prefer`; each before it is worth as much more. */
const PREFERENCE = 100;

interface Asked {
  /** An operator names the node: `failover: manual` does not speak against it then. */
  readonly asked?: boolean;
}

/** Everything that speaks against a node for this group; empty: it may run it. */
export function objections(
  state: ClusterState,
  group: GroupRecord,
  node: string,
  now: number,
  options: Asked = {},
): Reason[] {
  const against = objectionsOfNode(state, group, node, now);
  if (hasRules(state, group.name)) against.push(...objectionsByRule(state, group, node, now, options));
  return against;
}

function objectionsOfNode(state: ClusterState, group: GroupRecord, node: string, now: number): Reason[] {
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
  if (live?.ended === null && live.leaving) against.push({ rule: 'leaving' });
  const resting = maintenance(state, node, now);
  if (resting !== null) against.push({ rule: 'maintenance', until: iso(resting.until), detail: resting.reason });
  for (const refusal of record.refusals)
    if (refusal.group === group.name)
      against.push({ rule: 'refuses', resource: refusal.resource, detail: refusal.reason });
  const fence = objectionByFuse(state, group, record.fuse);
  if (fence !== undefined) against.push(fence);
  const failure = failureInForce(group, node, now);
  if (failure !== undefined)
    against.push({
      rule: 'failed-here',
      resource: failure.resource,
      detail: failure.reason,
      since: iso(failure.at),
      until: iso(failure.until),
    });
  if (live !== undefined && lost === undefined) {
    if (live.readyAt > now) against.push({ rule: 'quarantine', remainingMs: live.readyAt - now });
    if (live.revision !== state.durable.revision)
      against.push({ rule: 'outdated-config', revision: live.revision, wanted: state.durable.revision });
    if (!live.epochsKnown) against.push({ rule: 'epochs-unreported' });
  }
  against.push(...objectionsByCopy(state, group, node));
  return against;
}

/** The fuse that the node really has, by its own word, against what the group demands. */
function objectionByFuse(state: ClusterState, group: GroupRecord, fuse: Fuse | undefined): Reason | undefined {
  if (fuse?.problem !== undefined) return { rule: 'fuse-unfit', detail: fuse.problem };
  if (state.durable.config?.groups[group.name]?.fence !== 'watchdog' || fuse?.kind === 'watchdog') return undefined;
  return { rule: 'no-watchdog', has: fuse?.kind ?? null };
}

/**
 * Ranks every node of the group's `on` list, best first; the first eligible one is chosen.
 * @param options.exceptOwner count the incarnation that holds the lease out: who would take over from it?
 */
export function rank(
  state: ClusterState,
  group: GroupRecord,
  now: number,
  options: Asked & { exceptOwner?: boolean } = {},
): Candidate[] {
  const config = state.durable.config?.groups[group.name];
  const listed = config?.on ?? [];
  const { lease } = group;
  const owner = lease?.owner;
  const ownerLives = lease !== null && !lease.released && living(state, lease.owner)?.incarnation === lease.incarnation;
  const ruled = hasRules(state, group.name);
  const prefer = config?.prefer ?? [];
  const voters = eligibleVoters(lease);
  // an owner that is heard of gives the group back before another node takes it, and then anybody may
  const orderly =
    ownerLives && holder(state, group, now) !== undefined && lostSince(state, lease.owner, now) === undefined;
  const judged = listed.map((node, index) => {
    const against = objectionsOfNode(state, group, node, now);
    if (ruled) against.push(...objectionsByRule(state, group, node, now, options));
    if (voters !== null && !orderly && !voters.includes(node)) against.push({ rule: 'not-voter', voters: [...voters] });
    if (options.exceptOwner === true && ownerLives && node === owner && against.length === 0)
      against.push({ rule: holder(state, group, now) === undefined ? 'owner-let-lapse' : 'owner-has-it', owner: node });
    const inFavour: Reason[] = [];
    if (group.target?.node === node)
      inFavour.push({ rule: 'target', operation: group.target.operation, weight: TARGET });
    if (node === owner) inFavour.push({ rule: 'owner', weight: OWNER });
    if (prefer.length > 0) inFavour.push(...preference(state, prefer, node));
    inFavour.push(...inFavourByCopy(state, group, node));
    inFavour.push({ rule: 'preference', position: index + 1, weight: MAX_NODES - index });
    return { node, score: sum(inFavour), against, inFavour };
  });
  judged.sort((a, b) => Number(a.against.length > 0) - Number(b.against.length > 0) || b.score - a.score);
  return judged.map(({ node, score, against, inFavour }, index) => ({
    node,
    eligible: against.length === 0,
    chosen: index === 0 && against.length === 0,
    score,
    reasons: [...against, ...inFavour],
  }));
}

/** The best entry of `prefer` that fits the node, by its name or by a label it carries. */
function preference(state: ClusterState, prefer: readonly string[], node: string): Reason[] {
  const labels = state.durable.config?.labels[node] ?? [];
  const index = prefer.findIndex((entry) => entry === node || labels.includes(entry));
  const entry = prefer[index];
  return entry === undefined ? [] : [{ rule: 'prefer', entry, weight: PREFERENCE * (prefer.length - index) }];
}

function sum(reasons: readonly Reason[]): number {
  let total = 0;
  for (const reason of reasons) if ('weight' in reason) total += reason.weight ?? 0;
  return total;
}

/** How good a node is for the group, whoever has it now. */
export function worth({ reasons }: Candidate): number {
  return sum(reasons.filter(({ rule }) => rule === 'prefer' || rule === 'preference'));
}

export function chosen(candidates: readonly Candidate[]): string | undefined {
  return candidates.find((candidate) => candidate.chosen)?.node;
}

/** @returns what of the group itself or of its node makes its owner give it back; undefined if nothing does. */
export function ownReasonToLeave(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const { lease } = group;
  if (lease === null || staysAsItIs(state, group, now)) return undefined;
  const config = state.durable.config?.groups[group.name];
  if (config === undefined) return 'removed from the configuration';
  if (group.desired === 'stopped') return 'stopped by an operator';
  if (!config.on.includes(lease.owner)) return 'this node is no longer in the group’s `on` list';
  const node = state.durable.nodes[lease.owner];
  if (node === undefined || node.removed) return 'the node was removed';
  if (node.mode === 'standby') return 'the node is in standby';
  if (living(state, lease.owner)?.leaving === true) return 'the node is shutting down';
  const { target } = group;
  if (target === null || target.node === lease.owner || unmet(state, group.name, now).length > 0) return undefined;
  return objections(state, group, target.node, now).length === 0 ? `moved to ${target.node}` : undefined;
}
