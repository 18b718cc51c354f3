/**
 * When the owner of a group must give it back, and in which order groups that leave together do so: what comes after another group,
 * or runs with it, leaves before it.
 */
import { holder } from './lease.ts';
import { onceForEach } from './memo.ts';
import { staysAsItIs } from './pause.ts';
import { chosen, ownReasonToLeave, rank } from './placement.ts';
import { isAway, relationsOf, unmet } from './rules.ts';
import type { ClusterState, GroupRecord } from './state.ts';

/** @returns why the owner of this group must stop it gracefully and release it; undefined if it may go on, also for a while. */
export function releaseOrder(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const why = reasonToLeave(state, group.name, now);
  return why === undefined || staysFor(state, group.name, now).length > 0 ? undefined : why;
}

/** @returns the groups for which one that is to leave is still kept: they have to leave before it. */
export function staysFor(state: ClusterState, name: string, now: number): string[] {
  return relationsOf(state, name).dependants.filter((dependant) => {
    const group = state.durable.groups[dependant];
    if (group === undefined || holder(state, group, now) === undefined || staysAsItIs(state, group, now)) return false;
    return reasonToLeave(state, dependant, now) !== undefined;
  });
}

/** @returns why this group is to leave its owner, now or when those that come after it have left; undefined if it is not. */
export const reasonToLeave = onceForEach((state, name, now): string | undefined => {
  const group = state.durable.groups[name];
  if (group === undefined || group.lease === null || staysAsItIs(state, group, now)) return undefined;
  return ownReasonToLeave(state, group, now) ?? followed(state, group, now) ?? separated(state, name, now);
});

/** `with`: where the other one goes, or is not any more. */
function followed(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const owner = holder(state, group, now);
  if (owner === undefined) return undefined;
  for (const leader of state.durable.config?.groups[group.name]?.with ?? []) {
    const record = state.durable.groups[leader];
    if (record === undefined) continue;
    const place = holder(state, record, now);
    if (isAway(state, leader, owner, now))
      return place === undefined
        ? `it runs with ${leader}, which runs nowhere`
        : `it runs with ${leader}, which is on ${place}`;
    if (place === undefined) continue;
    const why = reasonToLeave(state, leader, now);
    if (why !== undefined) return `it runs with ${leader}: ${why}`;
  }
  return undefined;
}

/** `apart`: two that run together already. The one that says it leaves, if it has somewhere to go; of two that say it, the later name. */
const separated = onceForEach((state, name, now): string | undefined => {
  const rules = state.durable.config?.groups;
  const apart = rules?.[name]?.apart ?? [];
  const group = state.durable.groups[name];
  if (apart.length === 0 || group === undefined) return undefined;
  const owner = holder(state, group, now);
  const here = apart.filter((other) => {
    const record = state.durable.groups[other];
    if (owner === undefined || record === undefined || holder(state, record, now) !== owner) return false;
    return ownReasonToLeave(state, record, now) === undefined;
  });
  const place = here.length === 0 ? undefined : elsewhere(state, name, now);
  if (place === undefined || isTaken(state, group, place, now)) return undefined;
  const makesWay = (other: string) => {
    const both = rules?.[other]?.apart.includes(name) === true;
    return both && other > name && elsewhere(state, other, now) !== undefined;
  };
  const other = here.find((one) => !makesWay(one));
  return other === undefined ? undefined : `it is kept apart from ${other}, which runs here; ${place} can take it`;
});

/**
 * Will one that this group is kept apart from as well be there first? Either it is on its way, or it leaves the same node: they go
 * one after the other, by their names. Two that left at once for one place would leave the second without any.
 */
function isTaken(state: ClusterState, group: GroupRecord, place: string, now: number): boolean {
  return relationsOf(state, group.name).apart.some((name) => {
    const other = state.durable.groups[name];
    if (other === undefined) return false;
    const owner = holder(state, other, now);
    if (owner === undefined) return other.desired === 'started' && nextPlace(state, name, now) === place;
    return owner === group.lease?.owner && name < group.name && separated(state, name, now) !== undefined;
  });
}

const nextPlace = onceForEach((state, name, now): string | undefined => {
  const group = state.durable.groups[name];
  return group === undefined ? undefined : chosen(rank(state, group, now));
});

const elsewhere = onceForEach((state, name, now): string | undefined => {
  const group = state.durable.groups[name];
  if (group === undefined || unmet(state, name, now).length > 0) return undefined;
  // it would leave in order, and `failover: manual` is about failures
  const candidates = rank(state, group, now, { asked: true });
  return candidates.find(({ node, eligible }) => eligible && node !== group.lease?.owner)?.node;
});
