/** What the state means to a person: status, and why. The same decisions as placement itself, only shown. */
import type { GroupState, NodeState, Status, Why } from '../../schemas/api.ts';
import { type Candidate, type Decision, reasonText } from '../../schemas/reasons.ts';
import { unreported } from './history.ts';
import { holder, timingOf } from './lease.ts';
import { living, lostSince, rank, releaseOrder, unheardYet } from './placement.ts';
import { iso } from './records.ts';
import type { ClusterState, GroupRecord } from './state.ts';

/** The state of a group in the operator's words, with what stands behind it. */
export function showGroup(
  state: ClusterState,
  group: GroupRecord,
  now: number,
): { state: GroupState; reason?: string } {
  const owner = holder(state, group, now);
  if (owner !== undefined) {
    const unheard = state.volatile.nodes[owner] === undefined;
    if (unheard && now - state.volatile.startedAt <= timingOf(state).leaseMs) return { state: group.shown };
    // another incarnation of the owner's node knows nothing of what the lease's own one ran
    const same = living(state, owner)?.incarnation === group.lease?.incarnation;
    if (same && lostSince(state, owner, now) === undefined) return showHeld(state, group, now);
  }
  if (group.desired === 'stopped') {
    if (owner === undefined) return { state: 'stopped', reason: 'stopped by an operator' };
    return { state: 'stopping', reason: `${gone(state, owner)}; its lease must run out` };
  }
  const candidates = rank(state, group, now, { exceptOwner: true });
  const best = candidates.find((candidate) => candidate.chosen)?.node;
  if (state.durable.restored !== null)
    return { state: 'waiting', reason: reasonText({ rule: 'restored', waitingFor: unreported(state) }) };
  if (owner !== undefined) {
    const next = best === undefined ? `no other node can take it (${objection(candidates)})` : `${best} takes over`;
    return { state: 'waiting', reason: `${gone(state, owner)}; when its lease has run out, ${next}` };
  }
  if (best !== undefined) return { state: group.target === null ? 'starting' : 'moving' };
  const unheard = candidates.some((candidate) => candidate.reasons.some((reason) => reason.rule === 'unheard'));
  if (unheard && (group.shown === 'starting' || group.shown === 'moving'))
    return { state: group.shown, reason: objection(candidates) };
  const failed = candidates.some((candidate) => candidate.reasons.some((reason) => reason.rule === 'failed-here'));
  return { state: failed ? 'failed' : 'waiting', reason: objection(candidates) };
}

function gone(state: ClusterState, owner: string): string {
  if (isDeclaredDead(state, owner)) return `${owner} was declared dead`;
  return state.volatile.nodes[owner]?.ended === 'retired' ? `the agent of ${owner} ended` : `${owner} is lost`;
}

function isDeclaredDead(state: ClusterState, node: string): boolean {
  return (state.durable.nodes[node]?.declaredDead ?? null) !== null && living(state, node) === undefined;
}

/** What speaks against each of them, the first of it. */
export function objection(candidates: readonly Candidate[]): string {
  if (candidates.length === 0) return 'no node in its `on` list';
  return candidates
    .map((candidate) => `${candidate.node} ${reasonText(candidate.reasons[0] ?? { rule: 'not-listed' })}`)
    .join('; ');
}

function showHeld(state: ClusterState, group: GroupRecord, now: number): { state: GroupState; reason?: string } {
  const run = group.run?.epoch === group.lease?.epoch ? group.run : null;
  const order = releaseOrder(state, group, now);
  if (order !== undefined) return { state: group.target === null ? 'stopping' : 'moving', reason: order };
  if (run === null) return { state: group.target === null ? 'starting' : 'moving' };
  const reason = run.reason === undefined ? {} : { reason: run.reason };
  switch (run.state) {
    case 'running':
      return { state: 'running', ...reason };
    case 'starting':
      return { state: group.target === null ? 'starting' : 'moving', ...reason };
    case 'stopping':
    case 'stopped':
    case 'failed':
      return { state: 'stopping', ...reason };
    default:
      return run.state satisfies never;
  }
}

export function statusOf(state: ClusterState, now: number): Status {
  const { durable } = state;
  const groups: Status['groups'] = {};
  for (const group of Object.values(durable.groups)) {
    const shown = showGroup(state, group, now);
    groups[group.name] = {
      state: shown.state,
      owner: holder(state, group, now) ?? null,
      epoch: group.lease?.epoch ?? 0,
      since: iso(group.since),
      ...(shown.reason === undefined ? {} : { reason: shown.reason }),
      resources: [...(group.run?.resources ?? [])],
      candidates: rank(state, group, now),
    };
  }
  const nodes: Status['nodes'] = {};
  const names = new Set([...(durable.config?.nodes ?? []), ...Object.keys(durable.nodes)]);
  for (const name of names) {
    const record = durable.nodes[name];
    if (record?.removed === true && !(durable.config?.nodes.includes(name) ?? false)) continue;
    const live = state.volatile.nodes[name];
    nodes[name] = {
      state: nodeState(state, name, now),
      lastSeenMs: live === undefined ? null : Math.max(0, now - live.lastSeenAt),
      joined: record !== undefined && !record.removed,
      agentVersion: record?.agentVersion ?? null,
      refusals: [...(record?.refusals ?? [])],
      ...nodeNote(state, name),
    };
  }
  return {
    schema: 'holdfast/status/v1',
    cluster: durable.cluster,
    at: iso(now),
    revision: durable.revision,
    ...(durable.restored === null
      ? {}
      : { restored: { since: iso(durable.restored.since), waitingFor: unreported(state) } }),
    groups,
    nodes,
  };
}

function nodeState(state: ClusterState, name: string, now: number): NodeState {
  const record = state.durable.nodes[name];
  if (record?.removed === true) return 'removed';
  if (record === undefined) return 'lost';
  if (lostSince(state, name, now) !== undefined && !unheardYet(state, name, now)) return 'lost';
  return record.mode;
}

/** What a state alone does not say of a node that does not report. */
function nodeNote(state: ClusterState, name: string): Pick<Status['nodes'][string], 'note'> {
  const record = state.durable.nodes[name];
  if (record === undefined || record.removed) return {};
  if (isDeclaredDead(state, name)) return { note: 'declared dead' };
  const live = state.volatile.nodes[name];
  if (live?.ended === 'retired') return { note: 'agent ended' };
  return live === undefined && record.agentVersion === null ? { note: 'joined, agent not started' } : {};
}

/** @returns null for a group that is not known. */
export function whyOf(
  state: ClusterState,
  name: string,
  now: number,
  stored: { readonly lastGrant: Decision | null; readonly refusals: readonly Decision[] },
): Why | null {
  const group = state.durable.groups[name];
  if (group === undefined) return null;
  const shown = showGroup(state, group, now);
  return {
    schema: 'holdfast/why/v1',
    group: name,
    state: shown.state,
    owner: holder(state, group, now) ?? null,
    epoch: group.lease?.epoch ?? 0,
    ...(shown.reason === undefined ? {} : { reason: shown.reason }),
    candidates: rank(state, group, now),
    lastGrant: stored.lastGrant,
    refusals: [...stored.refusals],
  };
}
