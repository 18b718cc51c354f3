/**
 * The voters of a lease (C3, C6): the nodes by whose promises its owner may outlive an outage of the coordinator, and which alone may take
 * over from it. A change goes one step at a time and is complete when the owner's request carries it; while it is under way the owner may
 * live by either set, so only who is in both may be granted the lease.
 */
import { VOTER_LOST_MS } from '../../schemas/limits.ts';
import type { Voters } from '../../schemas/wire.ts';
import { living, lostSince } from './liveness.ts';
import { withDurable, withLease } from './records.ts';
import type { ClusterState, GroupRecord, Lease, Outcome } from './state.ts';

/** C2, C3, C6: the nodes that may be granted the lease; null: every one that may run the group. */
export function eligibleVoters(lease: Lease | null): readonly string[] | null {
  if (lease === null || lease.released) return null;
  const confirmed = lease.confirmedAt !== null;
  // what is proven dead and was confirmed lives on nobody's promise, nor does anything before it (decision 0014)
  if (lease.provenDeadAt !== null && confirmed) return null;
  const { pendingVoters, eligibleBase } = lease;
  return lease.voters.names.filter(
    (node) =>
      !isBarred(lease, node, lease.voters.version) &&
      (pendingVoters === null || pendingVoters.includes(node)) &&
      (confirmed || eligibleBase === null || eligibleBase.includes(node)),
  );
}

/** The newest voters, which its owner is to live by. */
export function newestVoters({ voters, pendingVoters }: Lease): Voters {
  return pendingVoters === null ? voters : { version: voters.version + 1, names: [...pendingVoters] };
}

/** Its machine was joined anew under this name, and the owner may still live on what the one before has promised. */
function isBarred({ barred }: Lease, node: string, version: number): boolean {
  return version <= (barred[node] ?? 0);
}

/** A machine was joined anew under the name of a voter. */
export function barVoter(lease: Lease, node: string): Lease['barred'] {
  return { ...lease.barred, [node]: newestVoters(lease).version };
}

/**
 * C3: the request carries the change; it is complete. An owner that lives by later voters than this data knows of was told so by what was lost
 * in a restore (C7): who they are nobody knows, so nobody but the owner may take over before the next change.
 */
export function withVotersTold(lease: Lease, version: number | undefined): Pick<Lease, 'voters' | 'pendingVoters'> {
  const { voters, pendingVoters } = lease;
  const newest = newestVoters(lease);
  if (version !== undefined && version > newest.version)
    return { voters: { version, names: [lease.owner] }, pendingVoters: null };
  return pendingVoters !== null && version === newest.version
    ? { voters: newest, pendingVoters: null }
    : { voters, pendingVoters };
}

/** The voters of a new epoch of this owner. */
export function firstVoters(state: ClusterState, group: GroupRecord, owner: string, now: number): Voters {
  return { version: 1, names: wantedVoters(state, group, owner, now) };
}

/** The owner, and every other node of `on` that is there and may take over one day: also one in standby, or in which the group failed. */
function wantedVoters(state: ClusterState, group: GroupRecord, owner: string, now: number): string[] {
  const on = state.durable.config?.groups[group.name]?.on ?? [];
  return [owner, ...on.filter((node) => node !== owner && mayVote(state, group, node, now))];
}

function mayVote(state: ClusterState, group: GroupRecord, node: string, now: number): boolean {
  const record = state.durable.nodes[node];
  if (record === undefined || record.removed || record.declaredDead !== null) return false;
  if (record.refusals.some((refusal) => refusal.group === group.name)) return false;
  const live = state.volatile.nodes[node];
  if (live === undefined) return record.agentVersion !== null && now < state.volatile.startedAt + VOTER_LOST_MS;
  return live.ended === null && !live.leaving && now < live.lastSeenAt + VOTER_LOST_MS;
}

/** Is its owner there to take a change up? */
function ownerRenews(state: ClusterState, lease: Lease, now: number): boolean {
  if (lease.released || lease.provenDeadAt !== null || lease.confirmedAt === null) return false;
  const live = living(state, lease.owner);
  return live?.incarnation === lease.incarnation && lostSince(state, lease.owner, now) === undefined;
}

/** C3: keeps the voters to the nodes that are there. */
export function tendVoters(before: ClusterState, now: number): Outcome {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const { lease } = group;
    // of a group that was removed, or that its owner may run no more, they stay who they are: it is to be given back
    if (!state.durable.config?.groups[group.name]?.on.includes(lease?.owner ?? '')) continue;
    if (lease === null || lease.pendingVoters !== null || !ownerRenews(state, lease, now)) continue;
    const wanted = wantedVoters(state, group, lease.owner, now).filter(
      (node) =>
        node === lease.owner || !(lease.voters.names.includes(node) && isBarred(lease, node, lease.voters.version)),
    );
    if (sameNodes(wanted, lease.voters.names)) continue;
    state = withLease(state, group, { pendingVoters: wanted });
  }
  // C7: no epoch betrays data that was saved before this change; the count does, to every node that has heard of it
  if (state !== before) state = withDurable(state, { generation: state.durable.generation + 1 });
  return { state, effects: [] };
}

function sameNodes(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}

/** When a voter that is not heard of is dropped. */
export function voterTimes(state: ClusterState, now: number): number[] {
  const silent = new Set<string>();
  for (const { lease } of Object.values(state.durable.groups)) {
    if (lease === null || lease.pendingVoters !== null || !ownerRenews(state, lease, now)) continue;
    for (const node of lease.voters.names) if (node !== lease.owner) silent.add(node);
  }
  return [...silent].flatMap((node) => {
    const at = (state.volatile.nodes[node]?.lastSeenAt ?? state.volatile.startedAt) + VOTER_LOST_MS;
    return at > now ? [at] : [];
  });
}

/**
 * Nodes that say that they have promised the group's owner to keep out: it runs on there, unheard by the coordinator. Empty while its
 * owner is heard of, or once a promise has run out.
 */
export function keptOut(state: ClusterState, { name, lease }: GroupRecord, now: number): string[] {
  if (lease === null || lease.released) return [];
  return Object.entries(state.volatile.nodes)
    .filter(
      ([node, { ended, promised }]) =>
        ended === null && promised.some(isThis) && lostSince(state, node, now) === undefined,
    )
    .map(([node]) => node);

  function isThis(promise: { readonly group: string; readonly epoch: number }): boolean {
    return promise.group === name && promise.epoch === lease?.epoch;
  }
}
