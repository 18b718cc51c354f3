/**
 * The rules between groups, seen from one group: what it waits for, which nodes they keep it from, which other groups have to do
 * with it. They decide over places and order only; whether a lease is free is decided elsewhere, and never by a rule.
 */
import { isServed } from '../../schemas/api.ts';
import type { Config, GroupConfig } from '../../schemas/config.ts';
import type { Reason } from '../../schemas/reasons.ts';
import { holder } from './lease.ts';
import { lostSince, unheardYet } from './liveness.ts';
import { onceForEach } from './memo.ts';
import { staysAsItIs } from './pause.ts';
import type { ClusterState, GroupRecord } from './state.ts';

/** Who names a group in a rule, and whom it may not share a node with. */
export interface Relations {
  /** Groups that are `after` it or `with` it: when both leave, they leave first. */
  readonly dependants: readonly string[];
  /** In both directions. */
  readonly apart: readonly string[];
}

const NOTHING: Relations = { dependants: [], apart: [] };
const known = new WeakMap<Config, ReadonlyMap<string, Relations>>();

export function relationsOf(state: ClusterState, name: string): Relations {
  const { config } = state.durable;
  if (config === null) return NOTHING;
  let relations = known.get(config);
  if (relations === undefined) {
    relations = relate(Object.values(config.groups));
    known.set(config, relations);
  }
  return relations.get(name) ?? NOTHING;
}

function relate(groups: readonly GroupConfig[]): Map<string, Relations> {
  const found = new Map<string, { dependants: Set<string>; apart: Set<string> }>();
  const of = (name: string) => {
    const one = found.get(name) ?? { dependants: new Set(), apart: new Set() };
    found.set(name, one);
    return one;
  };
  for (const group of groups) {
    for (const other of [...group.with, ...group.after]) of(other).dependants.add(group.name);
    for (const other of group.apart) {
      of(group.name).apart.add(other);
      of(other).apart.add(group.name);
    }
  }
  return new Map(
    [...found].map(([name, { dependants, apart }]) => [name, { dependants: [...dependants], apart: [...apart] }]),
  );
}

/**
 * Is the group about to leave the node that has it, for whatever reason? Sooner than the order to release it: what depends on it
 * need not start any more.
 */
const isLeaving = onceForEach((state, name, now): boolean => {
  const group = state.durable.groups[name];
  const owner = group === undefined ? undefined : holder(state, group, now);
  if (group === undefined || owner === undefined || staysAsItIs(state, group, now)) return false;
  const config = state.durable.config?.groups[name];
  if (config === undefined || group.desired === 'stopped' || !config.on.includes(owner)) return true;
  const node = state.durable.nodes[owner];
  if (node === undefined || node.removed || node.mode === 'standby') return true;
  if (state.volatile.nodes[owner]?.leaving === true) return true;
  if (group.target !== null && group.target.node !== owner) return true;
  return config.with.some((leader) => isAway(state, leader, owner, now) || isLeaving(state, leader, now));
});

/** Has this group left the node, or never been there? One that nobody has had yet may still come. */
export function isAway(state: ClusterState, name: string, node: string, now: number): boolean {
  const group = state.durable.groups[name];
  if (group === undefined) return false;
  const owner = holder(state, group, now);
  if (owner !== undefined) return owner !== node;
  return group.lease !== null || group.desired === 'stopped';
}

/** Served, by a node that is there, and not about to leave. */
export function isUp(state: ClusterState, name: string, now: number): boolean {
  const group = state.durable.groups[name];
  const lease = group?.lease;
  if (group === undefined || lease === null || lease === undefined || holder(state, group, now) === undefined)
    return false;
  if (group.run?.epoch !== lease.epoch || !isServed(group.run.state)) return false;
  const { owner } = lease;
  if (lostSince(state, owner, now) !== undefined && !unheardYet(state, owner, now)) return false;
  const live = state.volatile.nodes[owner];
  return (live === undefined || live.incarnation === lease.incarnation) && !isLeaving(state, name, now);
}

/** @returns the groups that must be up, or have a node, before this one may start anywhere. */
export function unmet(state: ClusterState, name: string, now: number): string[] {
  const config = state.durable.config?.groups[name];
  if (config === undefined || (config.after.length === 0 && config.with.length === 0)) return [];
  const first = config.after.filter((other) => !isUp(state, other, now));
  const leaders = config.with.filter((leader) => {
    const group = state.durable.groups[leader];
    return group !== undefined && (holder(state, group, now) === undefined || isLeaving(state, leader, now));
  });
  return [...new Set([...first, ...leaders])];
}

/** Most groups have none, and every node is judged for every group. */
export function hasRules(state: ClusterState, name: string): boolean {
  const config = state.durable.config?.groups[name];
  if (config === undefined) return false;
  return config.with.length > 0 || config.failover === 'manual' || relationsOf(state, name).apart.length > 0;
}

/** @param asked an operator names the node: `failover: manual` does not speak against it then. */
export function objectionsByRule(
  state: ClusterState,
  group: GroupRecord,
  node: string,
  now: number,
  { asked = false }: { asked?: boolean } = {},
): Reason[] {
  const config = state.durable.config?.groups[group.name];
  if (config === undefined) return [];
  const against: Reason[] = [];
  for (const leader of config.with) {
    const record = state.durable.groups[leader];
    const owner = record === undefined ? undefined : holder(state, record, now);
    if (owner !== node) against.push({ rule: 'not-with', group: leader, owner: owner ?? null });
  }
  for (const other of relationsOf(state, group.name).apart) {
    const record = state.durable.groups[other];
    if (record !== undefined && holder(state, record, now) === node) against.push({ rule: 'not-apart', group: other });
  }
  if (config.failover === 'manual' && !asked && group.target?.node !== node && !mayTakeUnasked(group, node))
    against.push({ rule: 'manual-failover' });
  return against;
}

/** `failover: manual`: its last owner, and, where that gave it back in order and well, everybody. */
function mayTakeUnasked({ lease }: GroupRecord, node: string): boolean {
  if (lease === null || lease.owner === node) return true;
  return lease.released && lease.forced !== true && lease.failed !== true;
}

/** What is to be done where a rule forbids the target of a move. */
export function insteadOf(reason: Reason, to: string | null): string | undefined {
  switch (reason.rule) {
    case 'not-with':
      return `move ${reason.group} instead, what runs with it follows: \`holdfast move ${reason.group}${to === null ? '' : ` --to ${to}`}\``;
    case 'not-apart':
      return `move ${reason.group} away first: \`holdfast move ${reason.group}\``;
    default:
      return undefined;
  }
}
