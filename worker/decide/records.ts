/** Small pure helpers over the state: every change makes a new record and leaves the old one as it was. */
import type { Operation } from '../../schemas/api.ts';
import type { ClusterState, Durable, GroupRecord, Lease, NodeLive, NodeRecord, Renewal, Volatile } from './state.ts';

export function withDurable(state: ClusterState, change: Partial<Durable>): ClusterState {
  return { ...state, durable: { ...state.durable, ...change } };
}

export function withVolatile(state: ClusterState, change: Partial<Volatile>): ClusterState {
  return { ...state, volatile: { ...state.volatile, ...change } };
}

export function withGroup(state: ClusterState, group: GroupRecord): ClusterState {
  return withDurable(state, { groups: { ...state.durable.groups, [group.name]: group } });
}

export function withLease(state: ClusterState, group: GroupRecord, change: Partial<Lease>): ClusterState {
  if (group.lease === null) return state;
  return withGroup(state, { ...group, lease: { ...group.lease, ...change } });
}

export function withNode(state: ClusterState, node: NodeRecord): ClusterState {
  return withDurable(state, { nodes: { ...state.durable.nodes, [node.name]: node } });
}

export function withLive(state: ClusterState, name: string, live: NodeLive): ClusterState {
  return withVolatile(state, { nodes: { ...state.volatile.nodes, [name]: live } });
}

/**
 * The newest renewal, under a name of its own: a request that arrives twice is two events, and the second must not bring back a name
 * by which claimants have already been counting.
 */
export function withRenewal(
  state: ClusterState,
  group: string,
  at: number,
  { backed = false, newVoters = false } = {},
): ClusterState {
  const renewalCount = state.volatile.renewalCount + 1;
  const votersAt = newVoters ? at : (state.volatile.renewals[group]?.votersAt ?? 0);
  const renewal: Renewal = { id: `${state.volatile.instance.slice(0, 16)}-${renewalCount}`, at, backed, votersAt };
  const expired =
    group in state.volatile.expired ? withoutKeys(state.volatile.expired, [group]) : state.volatile.expired;
  return withVolatile(state, { renewalCount, expired, renewals: { ...state.volatile.renewals, [group]: renewal } });
}

export function withoutKeys<T>(
  record: Readonly<Record<string, T>>,
  keys: readonly string[],
): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !keys.includes(key)));
}

/** A long action that has just begun. */
export function withOperation(
  state: ClusterState,
  begun: Omit<Operation, 'state' | 'startedAt' | 'finishedAt'>,
  now: number,
): ClusterState {
  const operation: Operation = { ...begun, state: 'running', startedAt: iso(now), finishedAt: null };
  return withDurable(state, { operations: { ...state.durable.operations, [operation.id]: operation } });
}

/** A node that has joined now, and has told nothing yet. */
export function newNode(name: string, publicKey: string, now: number): NodeRecord {
  return {
    name,
    publicKey,
    joinedAt: now,
    mode: 'ready',
    maintenance: null,
    removed: false,
    endpoint: null,
    declaredDead: null,
    refusals: [],
    agentVersion: null,
    lost: false,
  };
}

/** A group that has never been anywhere. */
export function newGroup(name: string, now: number): GroupRecord {
  return {
    name,
    desired: 'started',
    lease: null,
    target: null,
    failures: {},
    pause: null,
    halt: null,
    cleanups: 0,
    run: null,
    shown: 'waiting',
    since: now,
  };
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
