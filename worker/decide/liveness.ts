/** Which nodes are there: what silence means, and from when on it means something. */
import { timingOf } from './lease.ts';
import { event } from './outcome.ts';
import { withNode } from './records.ts';
import type { ClusterState, Effect, Lease, NodeLive, Outcome } from './state.ts';

/** What this instance has heard of a node, unless the incarnation that it heard has ended. */
export function living(state: ClusterState, node: string): NodeLive | undefined {
  const live = state.volatile.nodes[node];
  return live?.ended === null ? live : undefined;
}

/**
 * The owner's machine speaks as another incarnation, so the one that held this lease is gone. A machine that was joined anew under its name
 * proves nothing of the kind.
 */
export function isSucceeded(state: ClusterState, { owner, incarnation, barred }: Lease): boolean {
  const live = living(state, owner);
  return live !== undefined && live.incarnation !== incarnation && barred[owner] === undefined;
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

export function findLost(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  const { leaseMs } = timingOf(before);
  for (const node of Object.values(before.durable.nodes)) {
    if (node.removed || node.lost) continue;
    const lost = lostSince(state, node.name, now);
    if (lost === undefined || now - (lost.lastSeen ?? state.volatile.startedAt) <= leaseMs) continue;
    // A node that joined but whose agent never ran is not lost.
    if (lost.lastSeen === null && node.agentVersion === null) continue;
    state = withNode(state, { ...node, lost: true });
    effects.push(
      event(now, {
        kind: 'node.lost',
        severity: 'error',
        node: node.name,
        detail: silence(state, node.name, now),
      }),
    );
  }
  return { state, effects };
}

/** For how long nothing was heard of a node, as far as this instance can know. */
function silence(state: ClusterState, node: string, now: number): string {
  const live = state.volatile.nodes[node];
  if (live === undefined) return `no report since the coordinator started ${now - state.volatile.startedAt} ms ago`;
  const agoMs = now - live.lastSeenAt;
  return live.ended === 'retired'
    ? `its agent ended ${agoMs} ms ago and has not started again`
    : `no report for ${agoMs} ms`;
}
