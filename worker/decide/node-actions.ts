/** What people ask of nodes: to join, to be drained, to be taken out, and an operator's word that one is off. */
import { MAX_NODES } from '../../schemas/limits.ts';
import { freeAtOnce, holder, timingOf } from './lease.ts';
import { lostSince } from './liveness.ts';
import { event, refuse, unknownNode } from './outcome.ts';
import { firstStep, startBar } from './pause.ts';
import { newNode, withLease, withLive, withNode, withOperation, withoutKeys, withVolatile } from './records.ts';
import type { ClusterState, NodeLive, NodeRecord, Outcome } from './state.ts';
import { barVoter, eligibleVoters, newestVoters } from './voters.ts';

export function onEnrol(state: ClusterState, name: string, publicKey: string, now: number): Outcome {
  const known = state.durable.nodes[name];
  if (
    known !== undefined &&
    !known.removed &&
    known.publicKey !== publicKey &&
    lostSince(state, name, now) === undefined
  )
    return refuse(
      state,
      'node-exists',
      `${name} is joined and alive; \`holdfast node remove ${name}\` first, or join under another name`,
    );
  const others = Object.values(state.durable.nodes).filter((node) => !node.removed && node.name !== name);
  if (others.length >= MAX_NODES)
    return refuse(
      state,
      'too-many-nodes',
      `${others.length} nodes are joined, and ${MAX_NODES} is the limit; \`holdfast node remove NODE\` takes out one that is gone`,
    );
  const again = known !== undefined;
  const barred = again && known.publicKey !== publicKey ? withBarred(state, name) : state;
  const joined = withNode(barred, newNode(name, publicKey, now));
  return {
    state: withVolatile(joined, {
      nodes: withoutKeys(joined.volatile.nodes, [name]),
      toldRefusals: withoutKeys(joined.volatile.toldRefusals, [name]),
    }),
    effects: [
      event(now, {
        kind: again ? 'node.rejoined' : 'node.joined',
        node: name,
        detail: again ? 'joined again with a new key' : 'joined',
      }),
    ],
  };
}

/** The same node, alive or not, by another key. */
export function onRekey(state: ClusterState, node: NodeRecord, publicKey: string, now: number): Outcome {
  const detail = 'it signs with another key from now on';
  return {
    state: withNode(state, { ...node, publicKey }),
    effects: [event(now, { kind: 'node.rekeyed', node: node.name, detail })],
  };
}

/** Another machine under this name has promised nothing of what the one before has. */
function withBarred(before: ClusterState, name: string): ClusterState {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.released || !newestVoters(lease).names.concat(lease.voters.names).includes(name))
      continue;
    state = withLease(state, group, { barred: barVoter(lease, name) });
  }
  return state;
}

export function onStandby(state: ClusterState, record: NodeRecord, id: string, now: number): Outcome {
  const { name } = record;
  const standby = withNode(state, { ...record, mode: 'standby' });
  const progress = 'its groups are moving away';
  return {
    state: withOperation(standby, { id, kind: 'standby', group: null, node: name, progress }, now),
    effects: [event(now, { kind: 'node.standby', node: name, detail: 'drained: its groups move away' })],
  };
}

/** Ends standby and maintenance. */
export function onReady(state: ClusterState, record: NodeRecord, now: number): Outcome {
  const ended = record.maintenance === null ? '' : 'its maintenance is over: ';
  return {
    state: withNode(state, { ...record, mode: 'ready', maintenance: null }),
    effects: [event(now, { kind: 'node.ready', node: record.name, detail: `${ended}may run groups again` })],
  };
}

export function onRemove(state: ClusterState, record: NodeRecord, force: boolean, now: number): Outcome {
  const { name } = record;
  const owned = ownedGroups(state, name, now);
  if (owned.length > 0 && !force)
    return refuse(
      state,
      'node-owns-groups',
      `${name} runs ${owned.join(', ')}; \`holdfast node standby ${name}\` moves them away first, --force removes it now (its groups move when its leases have run out)`,
    );
  return {
    state: withNode(state, { ...record, removed: true, maintenance: null, refusals: [], copies: [], lost: false }),
    effects: [
      event(now, {
        kind: 'node.removed',
        severity: 'warning',
        node: name,
        detail: owned.length === 0 ? 'removed' : `removed while it ran ${owned.join(', ')}`,
      }),
    ],
  };
}

/** Groups whose lease this node holds, or may still hold. */
function ownedGroups(state: ClusterState, node: string, now: number): string[] {
  return Object.values(state.durable.groups)
    .filter((group) => holder(state, group, now) === node)
    .map((group) => group.name);
}

/**
 * Proof of death: the operator's word. Refused while the node evidently lives; unless it lives as another incarnation than the one that a lease
 * was given to, or was taken out of the cluster: then the word is about what it held before, and about nothing else.
 */
export function onConfirmDead(before: ClusterState, record: NodeRecord, now: number): Outcome {
  const { name } = record;
  const live = before.volatile.nodes[name];
  const alive = live !== undefined && !record.removed && isHeard(before, live, now);
  // also what has expired: its owner may have lived on promises
  const owned = Object.values(before.durable.groups).filter(
    ({ lease }) => lease?.owner === name && !lease.released && !(alive && lease.incarnation === live.incarnation),
  );
  if (record.removed && owned.length === 0) return unknownNode(before, name);
  if (alive && owned.length === 0)
    return refuse(
      before,
      'node-alive',
      `${name} reported ${now - live.lastSeenAt} ms ago: it is not off. \`holdfast node standby ${name}\` drains it`,
    );
  let state = before;
  for (const group of owned) {
    // said twice, it does not make others wait twice
    if (group.lease === null || group.lease.provenDeadAt !== null || freeAtOnce(group.lease)) continue;
    state = withLease(state, group, { provenDeadAt: now });
  }
  if (!alive) state = withDead(state, record, live?.incarnation ?? owned[0]?.lease?.incarnation, now);
  const said = alive || record.removed ? 'what held its leases before' : 'it';
  const names = owned.map((group) => group.name);
  const detail = [`an operator confirms that ${said} is powered off`, ...freedText(state, names, now)].join('; ');
  return {
    state,
    effects: [event(now, { kind: 'node.declared-dead', severity: 'warning', node: name, detail })],
  };
}

function isHeard(state: ClusterState, { ended, lastSeenAt }: NodeLive, now: number): boolean {
  const { renewMs, retries, retryMs } = timingOf(state);
  return ended === null && now - lastSeenAt <= renewMs + retries * retryMs;
}

function withDead(
  before: ClusterState,
  record: NodeRecord,
  incarnation: string | undefined,
  now: number,
): ClusterState {
  const live = before.volatile.nodes[record.name];
  const state = withNode(before, {
    ...record,
    lost: !record.removed,
    // one that was not heard of has no name; whichever incarnation reports next is then a new one
    declaredDead: { incarnation: incarnation ?? record.declaredDead?.incarnation ?? '', at: now },
  });
  if (live === undefined) return state;
  return withLive(state, record.name, { ...live, ended: 'declared-dead', epochsKnown: false, rival: null });
}

/** What is paused is not taken over, whoever is dead; what others than its owner may run on is not free for all. */
function freedText(state: ClusterState, owned: readonly string[], now: number): string[] {
  const freed: string[] = [];
  const kept: string[] = [];
  for (const name of owned) {
    const group = state.durable.groups[name];
    const bar = group === undefined ? undefined : startBar(state, group, now);
    const voters = group === undefined ? null : eligibleVoters(group.lease);
    if (bar !== undefined) kept.push(firstStep(name, bar) ?? name);
    else if (voters === null) freed.push(name);
    else
      kept.push(
        `${name} may be taken over by ${voters.join(', ')} alone: its owner had not confirmed its lease, so the one before may have run it on; one of them has to come back`,
      );
  }
  return [...(freed.length === 0 ? [] : [`freed: ${freed.join(', ')}`]), ...kept];
}
