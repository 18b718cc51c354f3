/**
 * When a lease may be renewed, and when it is free to be granted: rules C1, C2, C4, C5, C7 and the proof of death.
 *
 * The owner counts L from the moment it sent its request; the coordinator counts T_C > L from the start of the event that the
 * request caused, and the claimant counts T_C on its own clock from the moment it learned of that renewal. Both must have passed.
 * So neither a step of the coordinator's clock nor one of the claimant's can end a lease early.
 */
import { LEASE_PROFILES, type LeaseTiming, takeoverWaitMs } from '../../schemas/limits.ts';
import type { Cause, Reason } from '../../schemas/reasons.ts';
import type { Claim, Report } from '../../schemas/wire.ts';
import type { ClusterState, GroupRecord, Lease, Renewal } from './state.ts';

export function timingOf(state: ClusterState): LeaseTiming {
  return state.durable.config?.timing ?? LEASE_PROFILES.default;
}

/** T_C of this lease (I3). A change of the configured timing reaches a lease with its owner's next renewal, not before. */
export function takeoverMs(lease: Lease, timing: LeaseTiming): number {
  return takeoverWaitMs(lease.leaseMs, timing.coordinatorMarginMs);
}

/**
 * Proof of death frees at once only what its owner had confirmed: it was clean then, so no earlier owner lives on a promise of its (decision
 * 0014). No clock is asked.
 */
function freedByProof(lease: Lease): boolean {
  return lease.provenDeadAt !== null && lease.confirmedAt !== null;
}

/**
 * From when, and under which name, the wait of C2 is counted: the newest renewal, or what stands in its place after a restart,
 * a clock step or an unconfirmed proof of death. Null: the group never had an owner.
 */
export function waitOrigin(lease: Lease | null, renewal: Renewal | undefined): { id: string; at: number } | null {
  if (lease === null) return null;
  if (lease.provenDeadAt !== null) return { id: `dead-${lease.epoch}-${lease.provenDeadAt}`, at: lease.provenDeadAt };
  if (renewal !== undefined && lease.suspectSince === null) return { id: renewal.id, at: renewal.at };
  if (lease.suspectSince !== null)
    return { id: `suspect-${lease.epoch}-${lease.suspectSince}`, at: lease.suspectSince };
  return { id: `granted-${lease.epoch}`, at: lease.grantedAt };
}

export type Freedom = { readonly free: true; readonly cause: Cause } | { readonly free: false; readonly until: number };

/** Is the lease free by the coordinator's own clock? (The claimant's clock is checked by {@link claimProblem}.) */
export function freedom(lease: Lease | null, renewal: Renewal | undefined, timing: LeaseTiming, now: number): Freedom {
  if (lease === null) return { free: true, cause: 'first-start' };
  if (lease.released) return { free: true, cause: 'released' };
  if (freedByProof(lease)) return { free: true, cause: 'declared-dead' };
  const origin = waitOrigin(lease, renewal);
  const until = (origin?.at ?? lease.grantedAt) + takeoverMs(lease, timing);
  if (now < until) return { free: false, until };
  return { free: true, cause: lease.provenDeadAt === null ? 'lease-expired' : 'declared-dead' };
}

/** Who holds the group's lease, or may still hold it; undefined once it is free. */
export function holder(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const { lease } = group;
  if (lease === null) return undefined;
  return freedom(lease, state.volatile.renewals[group.name], timingOf(state), now).free ? undefined : lease.owner;
}

/** May it be claimed without the claimant having measured anything? */
export function freeAtOnce(lease: Lease | null): boolean {
  return lease === null || lease.released || freedByProof(lease);
}

/** @returns why a claim cannot be granted as far as the lease is concerned; undefined if it can. */
export function claimProblem(
  group: GroupRecord,
  renewal: Renewal | undefined,
  claim: Claim,
  timing: LeaseTiming,
  now: number,
): Reason | undefined {
  const { lease } = group;
  if (lease === null || freeAtOnce(lease)) return undefined;
  const origin = waitOrigin(lease, renewal);
  if (claim.renewal !== origin?.id) return { rule: 'renewal-not-newest' };
  const state = freedom(lease, renewal, timing, now);
  if (!state.free)
    return { rule: 'lease-runs', owner: lease.owner, remainingMs: state.until - now, clock: 'coordinator' };
  const needed = takeoverMs(lease, timing);
  if (claim.seenForMs < needed)
    return {
      rule: 'lease-runs',
      owner: lease.owner,
      remainingMs: needed - claim.seenForMs,
      clock: 'claimant',
    };
  return undefined;
}

/** C1: @returns why the owner's request does not renew; undefined if it does. */
export function renewalProblem(
  lease: Lease | null,
  node: string,
  incarnation: string,
  epoch: number,
): string | undefined {
  if (lease === null) return 'the group has no lease';
  if (lease.epoch !== epoch) return `epoch ${epoch} is not the current one (${lease.epoch}, ${lease.owner})`;
  if (lease.owner !== node) return `${lease.owner} owns epoch ${lease.epoch}`;
  if (lease.incarnation !== incarnation) return 'this incarnation of the agent was not granted the lease';
  if (lease.released) return `epoch ${epoch} was released`;
  if (lease.provenDeadAt !== null) return 'an operator declared this node dead';
  return undefined;
}

/** C7: above everything that was ever granted, also by a coordinator whose data was lost. */
export function nextEpoch(state: ClusterState, group: GroupRecord): number {
  return Math.max(group.lease?.epoch ?? 0, state.durable.highestEpochs[group.name] ?? 0) + 1;
}

/**
 * L as the owner counts it at most. A report by an older configuration may have been overtaken by one that counts a longer lease, so
 * it shortens nothing.
 */
export function countedLeaseMs(state: ClusterState, lease: Lease, report: Report): number {
  if (report.revision === state.durable.revision) return report.leaseMs;
  return Math.max(lease.leaseMs, report.leaseMs);
}
