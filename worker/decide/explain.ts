/** What the state means to a person: status, and why. The same decisions as placement itself, only shown. */
import { type GroupState, isServed, type NodeState, type Status, type Why } from '../../schemas/api.ts';
import { type Candidate, type Decision, type Reason, reasonText } from '../../schemas/reasons.ts';
import { unreported } from './history.ts';
import { holder, timingOf } from './lease.ts';
import { living, lostSince, unheardYet } from './liveness.ts';
import { onceForEach } from './memo.ts';
import { mayLiveOn, outageOf, ownerOf } from './outage.ts';
import { haltedReason, inForce, startBar } from './pause.ts';
import { rank } from './placement.ts';
import { iso } from './records.ts';
import { reasonToLeave, staysFor } from './release.ts';
import { unmet } from './rules.ts';
import type { ClusterState, GroupRecord, Pause } from './state.ts';
import { keptOut } from './voters.ts';

/** The state of a group in the operator's words, with what stands behind it. */
export function showGroup(
  state: ClusterState,
  group: GroupRecord,
  now: number,
): { state: GroupState; reason?: string } {
  const owner = holder(state, group, now);
  const voters = keptOut(state, group, now);
  if (voters.length > 0 && group.lease !== null && isServed(group.run?.state))
    return {
      state: 'degraded',
      reason: `${group.lease.owner} does not reach the coordinator and runs it on by the promise of ${voters.join(', ')}`,
    };
  if (owner !== undefined) {
    const unheard = state.volatile.nodes[owner] === undefined;
    if (unheard && now - state.volatile.startedAt <= timingOf(state).leaseMs) return { state: group.shown };
    // another incarnation of the owner's node knows nothing of what the lease's own one ran
    const same = living(state, owner)?.incarnation === group.lease?.incarnation;
    if (same && lostSince(state, owner, now) === undefined) return showHeld(state, group, now);
  }
  if (state.durable.config?.groups[group.name] === undefined && owner === undefined && group.lease !== null)
    return {
      state: 'stopping',
      reason: `removed from the configuration; ${gone(state, group.lease.owner)}${unlessUnheard(state, group)}`,
    };
  if (group.desired === 'stopped') {
    if (owner === undefined)
      return { state: 'stopped', reason: `stopped by an operator${unlessUnheard(state, group)}` };
    return { state: 'stopping', reason: `${gone(state, owner)}; its lease must run out` };
  }
  const bar = startBar(state, group, now);
  if (bar !== undefined) {
    const lost = owner === undefined ? '' : `${gone(state, owner)}; `;
    return {
      state: bar.rule === 'group-halted' ? 'failed' : 'waiting',
      reason: `${lost}${reasonText(bar, { group: group.name })}`,
    };
  }
  const candidates = rank(state, group, now, { exceptOwner: true });
  const best = candidates.find((candidate) => candidate.chosen)?.node;
  if (state.durable.restored !== null)
    return { state: 'waiting', reason: reasonText({ rule: 'restored', waitingFor: unreported(state) }) };
  const wait = waits(state, group.name, now)
    .map((reason) => reasonText(reason))
    .join('; ');
  if (owner !== undefined && wait !== '')
    return { state: 'waiting', reason: `${gone(state, owner)}; when its lease has run out, it ${wait}` };
  if (wait !== '') return { state: 'waiting', reason: wait };
  if (owner !== undefined) {
    const hears = mayLiveOn(state, group) ? `, unless the voters still hear from ${owner}` : '';
    const next =
      best === undefined
        ? `no other node can take it (${objection(candidates, group.name)})`
        : `${best} takes over${hears}`;
    return { state: 'waiting', reason: `${gone(state, owner)}; when its lease has run out, ${next}` };
  }
  if (best !== undefined) return { state: group.target === null ? 'starting' : 'moving' };
  const unheard = candidates.some((candidate) => candidate.reasons.some((reason) => reason.rule === 'unheard'));
  if (unheard && (group.shown === 'starting' || group.shown === 'moving'))
    return { state: group.shown, reason: objection(candidates, group.name) };
  const failed = candidates.some((candidate) => candidate.reasons.some((reason) => reason.rule === 'failed-here'));
  return { state: failed ? 'failed' : 'waiting', reason: objection(candidates, group.name) };
}

/** More of a chain of groups that wait for each other than this helps nobody. */
const CHAIN_SHOWN = 4;
const WAIT_DETAIL_CHARACTERS = 400;

/** What the group waits for, and why that does not run, to the end of the chain. */
export function waits(state: ClusterState, name: string, now: number): Reason[] {
  return unmet(state, name, now).map((other) => {
    const detail = chainText(state, other, now);
    return {
      rule: 'waits-for',
      group: other,
      state: shownOf(state, other, now).state,
      ...(detail === undefined ? {} : { detail: detail.slice(0, WAIT_DETAIL_CHARACTERS) }),
    };
  });
}

interface Chain {
  /** The first of those that wait, each for the next. */
  readonly names: readonly string[];
  readonly length: number;
  readonly last: string;
  readonly end: Shown;
}

const chainOf = onceForEach((state, name, now): Chain => {
  const shown = shownOf(state, name, now);
  const next = shown.state === 'waiting' ? unmet(state, name, now)[0] : undefined;
  if (next === undefined) return { names: [name], length: 1, last: name, end: shown };
  const { names, length, last, end } = chainOf(state, next, now);
  return { names: [name, ...names].slice(0, CHAIN_SHOWN + 1), length: length + 1, last, end };
});

function chainText(state: ClusterState, first: string, now: number): string | undefined {
  const { names, length, last, end } = chainOf(state, first, now);
  if (length === 1) return end.reason;
  const shown =
    length <= CHAIN_SHOWN + 1
      ? names.slice(1)
      : [...names.slice(1, CHAIN_SHOWN - 1), `${length - CHAIN_SHOWN} others and in the end ${last}`];
  const why = end.reason === undefined ? '' : ` (${end.reason})`;
  return `for ${shown.join(', which waits for ')}, which is ${end.state}${why}`;
}

interface Shown {
  readonly state: GroupState;
  readonly reason?: string;
}

const shownOf = onceForEach((state, name, now): Shown => {
  const group = state.durable.groups[name];
  return group === undefined ? { state: 'stopped' } : showGroup(state, group, now);
});

function gone(state: ClusterState, owner: string): string {
  if (isDeclaredDead(state, owner)) return `${owner} was declared dead`;
  return state.volatile.nodes[owner]?.ended === 'retired' ? `the agent of ${owner} ended` : `${owner} is lost`;
}

/** A stop that its owner may not have heard of. */
function unlessUnheard(state: ClusterState, group: GroupRecord): string {
  if (group.lease === null || !mayLiveOn(state, group)) return '';
  const { owner } = group.lease;
  return `; ${owner} was not heard of since, and stops it as soon as it reaches the coordinator or its voters do not answer it`;
}

function isDeclaredDead(state: ClusterState, node: string): boolean {
  return (state.durable.nodes[node]?.declaredDead ?? null) !== null && living(state, node) === undefined;
}

/** What speaks against each of them, the first of it. */
export function objection(candidates: readonly Candidate[], group: string): string {
  if (candidates.length === 0) return 'no node in its `on` list';
  return candidates
    .map(({ node, reasons }) => `${node} ${reasonText(reasons[0] ?? { rule: 'not-listed' }, { group, node })}`)
    .join('; ');
}

function showHeld(state: ClusterState, group: GroupRecord, now: number): { state: GroupState; reason?: string } {
  const run = group.run?.epoch === group.lease?.epoch ? group.run : null;
  if (group.halt?.kind === 'hold')
    return { state: 'failed', reason: reasonText(haltedReason(group.halt), { group: group.name }) };
  const order = reasonToLeave(state, group.name, now);
  const others = order === undefined ? [] : staysFor(state, group.name, now);
  const until = others.length === 0 ? '' : `; ${others.join(', ')} ${others.length === 1 ? 'stops' : 'stop'} first`;
  if (order !== undefined) return { state: group.target === null ? 'stopping' : 'moving', reason: `${order}${until}` };
  if (run === null) return { state: group.target === null ? 'starting' : 'moving' };
  const reason = run.reason === undefined ? {} : { reason: run.reason };
  switch (run.state) {
    case 'running':
    case 'degraded':
      return { state: run.state, ...reason };
    case 'held':
      // cleaned up; its owner hears of it with its next renewal
      return { state: 'starting' };
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
      owner: ownerOf(state, group, now) ?? null,
      epoch: group.lease?.epoch ?? 0,
      since: iso(group.since),
      ...(shown.reason === undefined ? {} : { reason: shown.reason }),
      ...asideOf(state, group, now),
      ...(durable.config?.groups[group.name]?.fence === 'watchdog' ? { fence: 'watchdog' as const } : {}),
      outage: outageOf(state, group, now),
      resources: [...(group.run?.resources ?? [])],
      candidates: candidatesOf(state, group, now),
    };
  }
  const nodes: Status['nodes'] = {};
  const names = new Set([...(durable.config?.nodes ?? []), ...Object.keys(durable.nodes)]);
  for (const name of names) {
    const record = durable.nodes[name];
    if (record?.removed === true && !(durable.config?.nodes.includes(name) ?? false)) continue;
    const live = state.volatile.nodes[name];
    const resting = pausedOf(record?.maintenance ?? null, now);
    nodes[name] = {
      state: nodeState(state, name, now),
      lastSeenMs: live === undefined ? null : Math.max(0, now - live.lastSeenAt),
      joined: record !== undefined && !record.removed,
      agentVersion: record?.agentVersion ?? null,
      listens: record?.endpoint == null ? null : { addresses: record.endpoint.addresses, port: record.endpoint.port },
      refusals: [...(record?.refusals ?? [])],
      ...(record?.fuse === undefined ? {} : { fuse: record.fuse }),
      ...(record?.copies === undefined || record.copies.length === 0 ? {} : { copies: [...record.copies] }),
      ...nodeNote(state, name),
      ...(resting === undefined ? {} : { maintenance: resting }),
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

/** Placement as it would be decided now, and who only waits for its promise to run out. */
function candidatesOf(state: ClusterState, group: GroupRecord, now: number): Candidate[] {
  const candidates = rank(state, group, now);
  const { lease } = group;
  const promised = lease === null ? [] : keptOut(state, group, now);
  if (lease === null || promised.length === 0) return candidates;
  const { owner, epoch } = lease;
  return candidates.map((candidate) =>
    promised.includes(candidate.node)
      ? { ...candidate, reasons: [{ rule: 'promised', owner, epoch }, ...candidate.reasons] }
      : candidate,
  );
}

/** What stands beside the state of a group. */
function asideOf(
  state: ClusterState,
  group: GroupRecord,
  now: number,
): Pick<Status['groups'][string], 'paused' | 'halted'> {
  const paused = pausedOf(group.pause, now);
  const { halt } = group;
  // a hold is its owner's
  const halted = halt?.kind === 'hold' && ownerOf(state, group, now) === undefined ? null : halt;
  return {
    ...(paused === undefined ? {} : { paused }),
    ...(halted === null
      ? {}
      : {
          halted: {
            kind: halted.kind,
            node: halted.node,
            resource: halted.resource,
            reason: halted.reason,
            since: iso(halted.at),
          },
        }),
  };
}

function pausedOf(pause: Pause | null, now: number): Status['groups'][string]['paused'] {
  const lasting = inForce(pause, now);
  if (lasting === null) return undefined;
  return { since: iso(lasting.since), until: iso(lasting.until), reason: lasting.reason };
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
  if (live?.leaving === true) return { note: 'shutting down' };
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
    owner: ownerOf(state, group, now) ?? null,
    epoch: group.lease?.epoch ?? 0,
    ...(shown.reason === undefined ? {} : { reason: shown.reason }),
    ...asideOf(state, group, now),
    candidates: candidatesOf(state, group, now),
    lastGrant: stored.lastGrant,
    refusals: [...stored.refusals],
  };
}
