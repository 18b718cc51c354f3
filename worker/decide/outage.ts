/**
 * What an outage of the coordinator that begins now would mean for a group (O2), and the loss of its owner (C3). Shown, and foretold by
 * forecasts; nothing is decided by it.
 */
import type { Outage } from '../../schemas/api.ts';
import { holder } from './lease.ts';
import { isSucceeded, living, lostSince, unheardYet } from './liveness.ts';
import type { ClusterState, GroupRecord, Lease } from './state.ts';
import { eligibleVoters, keptOut } from './voters.ts';

/** Who has the group: who holds its lease, or lives on, unheard by the coordinator, by the promises of its voters. */
export function ownerOf(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  return holder(state, group, now) ?? (keptOut(state, group, now).length > 0 ? group.lease?.owner : undefined);
}

/** An owner of which nothing is heard may run the group on by promises, as far as is known. */
export function mayLiveOn(state: ClusterState, { name, lease }: GroupRecord): boolean {
  const { durable, volatile } = state;
  if (lease === null || lease.released || lease.provenDeadAt !== null) return false;
  if (durable.config?.groups[name]?.requires === 'uplink') return false;
  if (isSucceeded(state, lease) || (volatile.nodes[lease.owner]?.ended ?? null) !== null) return false;
  return volatile.renewals[name]?.backed ?? true;
}

export function outageOf(state: ClusterState, group: GroupRecord, now: number): Outage {
  const { lease } = group;
  const { on = [], requires = null } = state.durable.config?.groups[group.name] ?? {};
  const uplink = requires === null ? {} : { requires };
  if (lease === null || lease.released || ownerOf(state, group, now) === undefined) {
    const takers = eligibleVoters(lease) ?? on;
    return { survives: false, takeover: takers.length > 1, voters: [], ...uplink, reason: 'nobody runs it' };
  }
  const missing =
    requires === null
      ? missingFor(state, group, lease, now)
      : 'it is to stop with the contact to the coordinator (`requires: uplink`)';
  const takers = eligibleVoters(lease) ?? on;
  const takeover = takers.some((node) => node !== lease.owner);
  const young = missing !== undefined && requires === null && isYoung(state, group, lease, now);
  const reasons = [missing, takeover ? undefined : whyAlone(state, group, lease, now)];
  const reason = reasons.filter((one) => one !== undefined).join('; ');
  return {
    survives: missing === undefined,
    takeover,
    voters: [...lease.voters.names],
    ...uplink,
    ...(young || isSettling(state, group, lease) ? { settling: true } : {}),
    ...(reason === '' ? {} : { reason }),
  };
}

/** Nothing can be said yet, or another answer is on its way. */
function isSettling({ volatile }: ClusterState, { name }: GroupRecord, lease: Lease): boolean {
  return lease.confirmedAt === null || lease.pendingVoters !== null || volatile.renewals[name] === undefined;
}

/** The first promises of a new epoch, of other voters, or after a start of the coordinator, are told with the second renewal. */
function isYoung({ volatile }: ClusterState, { name }: GroupRecord, lease: Lease, now: number): boolean {
  const votersAt = volatile.renewals[name]?.votersAt ?? 0;
  return now - Math.max(lease.grantedAt, volatile.startedAt, votersAt) <= lease.leaseMs;
}

/** @returns what keeps the group from outliving an outage that begins now; undefined if nothing does. */
function missingFor(state: ClusterState, group: GroupRecord, lease: Lease, now: number): string | undefined {
  // it lives on promises already
  if (keptOut(state, group, now).length > 0) return undefined;
  const renewal = state.volatile.renewals[group.name];
  if (renewal === undefined) return 'not known yet: its owner has not renewed it since the coordinator started';
  const live = living(state, lease.owner);
  if (live?.incarnation !== lease.incarnation || lostSince(state, lease.owner, now) !== undefined)
    return `${lease.owner} does not report`;
  if (renewal.backed) return undefined;
  return whyUnbacked(state, lease, now);
}

/** Which of the voters has not promised only the owner knows; what is known of each of them is told. */
function whyUnbacked(state: ClusterState, lease: Lease, now: number): string {
  const others = lease.voters.names.filter((node) => node !== lease.owner);
  const lost = others.filter((node) => lostSince(state, node, now) !== undefined && !unheardYet(state, node, now));
  const deaf = [lease.owner, ...others].filter(
    (node) => !lost.includes(node) && (state.durable.nodes[node]?.endpoint ?? null) === null,
  );
  const known = [
    ...(lost.length === 0
      ? []
      : [`${list(lost)} ${lost.length === 1 ? 'is' : 'are'} lost (dropped from the voters after a minute)`]),
    ...(deaf.length === 0 ? [] : [`${list(deaf)} ${deaf.length === 1 ? 'listens' : 'listen'} for no peers`]),
  ];
  if (known.length > 0) return known.join('; ');
  const who = others.length === 1 ? `${list(others)} has not promised` : `not all of ${list(others)} have promised`;
  return `${who} ${lease.owner} to keep out: do they reach each other?`;
}

/** Why nobody but the owner votes. */
function whyAlone(state: ClusterState, { name }: GroupRecord, { owner }: Lease, now: number): string {
  const { on = [] } = state.durable.config?.groups[name] ?? {};
  const others = on.filter((node) => node !== owner);
  if (others.length === 0) return `it may run on ${owner} alone, as its \`on\` list says`;
  const away = others.map((node) => `${node} ${absence(state, name, node, now)}`);
  return `${owner} is its only voter, so no other node may take it over (${away.join(', ')})`;
}

function absence(state: ClusterState, group: string, node: string, now: number): string {
  const record = state.durable.nodes[node];
  if (record === undefined || record.removed) return 'has not joined';
  if (record.agentVersion === null) return 'has not started';
  if (lostSince(state, node, now) !== undefined) return 'is lost';
  if (living(state, node)?.leaving === true) return 'is shutting down';
  return record.refusals.some((refusal) => refusal.group === group) ? 'refuses it' : 'votes in a moment';
}

const list = (names: readonly string[]) => names.join(' and ');
