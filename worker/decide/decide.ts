/**
 * The coordinator's core: one function from state and event to state and effects. Whatever happens, the same last step (`settle`)
 * draws the conclusions that time and the other records allow: who is lost, what has expired, what each group now shows,
 * which operations ended, who should speak up.
 */
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { onAction } from './actions.ts';
import { showGroup } from './explain.ts';
import { restoredUntil, unreported } from './history.ts';
import { freedom, holder, takeoverMs, timingOf } from './lease.ts';
import { endOperations } from './operations.ts';
import { lostSince, unheardYet } from './placement.ts';
import { iso, withDurable, withGroup, withLease, withNode, withoutKeys, withVolatile } from './records.ts';
import { onReport } from './report.ts';
import type { ClusterState, CoordinatorEvent, Durable, Effect, GroupRecord, Outcome } from './state.ts';

/** Steps of the coordinator's clock smaller than this are ordinary slewing and rounding. */
const CLOCK_STEP_MS = 10;

export function emptyState(cluster: string, history: string, instance: string, now: number): ClusterState {
  return {
    durable: {
      cluster,
      history,
      revision: 0,
      config: null,
      nodes: {},
      groups: {},
      operations: {},
      restored: null,
      highestEpochs: {},
    },
    volatile: freshVolatile(instance, now),
  };
}

function freshVolatile(instance: string, now: number): ClusterState['volatile'] {
  return {
    instance,
    startedAt: now,
    doubtUntil: 0,
    lastEventAt: now,
    renewalCount: 0,
    nodes: {},
    renewals: {},
    lastRefusals: {},
    expired: {},
  };
}

/** C4: the last renewals are lost with the previous instance. Count from now, unless an earlier doubt is still on record. */
export function restart(durable: Durable, instance: string, now: number): Outcome {
  const { takeoverMs: waitMs } = durable.config?.timing ?? LEASE_PROFILES.default;
  const volatile = { ...freshVolatile(instance, now), doubtUntil: now + waitMs };
  const state = suspectAll({ durable, volatile }, now, { again: false });
  return {
    state,
    effects: [
      {
        kind: 'event',
        event: {
          kind: 'coordinator.started',
          severity: 'info',
          detail: `started anew; leases held before may run until ${iso(now + timingOf(state).takeoverMs)}`,
          at: now,
        },
      },
    ],
  };
}

/** @param again count anew even where an earlier doubt is on record: what the clock said before it stepped back is worth nothing. */
function suspectAll(before: ClusterState, now: number, { again }: { again: boolean }): ClusterState {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.released) continue;
    // a time that is still to come was written before the clock stepped back, perhaps while no instance ran
    const ahead = lease.provenDeadAt === null ? 0 : lease.provenDeadAt - now;
    const proof =
      lease.provenDeadAt === null || ahead <= 0
        ? {}
        : { provenDeadAt: now, confirmedAt: lease.confirmedAt === null ? null : lease.confirmedAt - ahead };
    const doubted = lease.suspectSince !== null && lease.suspectSince <= now && !again;
    if (doubted && ahead <= 0) continue;
    state = withLease(state, group, { ...proof, suspectSince: doubted ? lease.suspectSince : now });
  }
  return state;
}

export function decide(before: ClusterState, event: CoordinatorEvent, now: number): Outcome {
  const clock = onClock(before, now);
  const outcome =
    event.type === 'report'
      ? onReport(clock.state, event.report, now)
      : event.type === 'tick'
        ? { state: clock.state, effects: [] }
        : onAction(clock.state, event, now);
  if (outcome.refused !== undefined) return { ...outcome, effects: [...clock.effects, ...outcome.effects] };
  const quiet =
    event.type === 'report' &&
    outcome.state.durable === before.durable &&
    sameCandidate(before, outcome.state, event.report.node);
  const settled = quiet ? { state: outcome.state, effects: [] } : settle(before, outcome.state, now);
  return {
    ...outcome,
    state: settled.state,
    effects: [...clock.effects, ...outcome.effects, ...settled.effects],
  };
}

/** Is this node as fit to take a group as it was before its report? If not, there are conclusions to draw. */
function sameCandidate(before: ClusterState, after: ClusterState, node: string): boolean {
  const a = before.volatile.nodes[node];
  const b = after.volatile.nodes[node];
  if (a === undefined || b === undefined) return a === b;
  return (
    a.incarnation === b.incarnation &&
    a.ended === b.ended &&
    a.revision === b.revision &&
    a.epochsKnown === b.epochsKnown
  );
}

/** A wall clock that stepped back says nothing about how long ago a renewal was: every lease becomes suspect from now. */
function onClock(before: ClusterState, now: number): Outcome {
  const { lastEventAt } = before.volatile;
  if (now >= lastEventAt) return { state: withVolatile(before, { lastEventAt: now }), effects: [] };
  if (lastEventAt - now < CLOCK_STEP_MS) return { state: before, effects: [] };
  const suspected = suspectAll(before, now, { again: true });
  const nodes = Object.fromEntries(
    Object.entries(suspected.volatile.nodes).map(([name, live]) => [
      name,
      {
        ...live,
        lastSeenAt: Math.min(live.lastSeenAt, now),
        readyAt: Math.max(now, live.readyAt - (lastEventAt - now)),
      },
    ]),
  );
  return {
    state: withVolatile(suspected, {
      lastEventAt: now,
      startedAt: Math.min(suspected.volatile.startedAt, now),
      doubtUntil: before.volatile.doubtUntil > lastEventAt ? now + timingOf(before).takeoverMs : 0,
      nodes,
      expired: {},
    }),
    effects: [
      {
        kind: 'event',
        event: {
          kind: 'coordinator.clock-stepped',
          severity: 'warning',
          detail: `the coordinator’s clock stepped back by ${lastEventAt - now} ms; every wait counts anew from now`,
          at: now,
        },
      },
    ],
  };
}

/** @returns when a tick would draw the next conclusion, ms of the coordinator's clock; null if nothing is pending. */
export function nextTick(state: ClusterState, now: number): number | null {
  const timing = timingOf(state);
  const times: number[] = [];
  for (const node of Object.values(state.durable.nodes)) {
    if (node.removed || node.lost) continue;
    // one that joined but whose agent never ran is never lost, see findLost
    if (node.agentVersion === null && state.volatile.nodes[node.name] === undefined) continue;
    const seen = state.volatile.nodes[node.name]?.lastSeenAt ?? state.volatile.startedAt;
    times.push(seen + timing.leaseMs + 1);
    const readyAt = state.volatile.nodes[node.name]?.readyAt ?? 0;
    if (readyAt > now) times.push(readyAt);
  }
  for (const group of Object.values(state.durable.groups)) {
    if (group.lease === null || group.lease.released || state.volatile.expired[group.name] === group.lease.epoch)
      continue;
    const free = freedom(group.lease, state.volatile.renewals[group.name], timing, now);
    times.push(free.free ? now : free.until);
  }
  if (state.durable.restored !== null && restoredUntil(state) > now) times.push(restoredUntil(state));
  return times.length === 0 ? null : Math.max(now + 1, Math.min(...times));
}

function settle(original: ClusterState, changed: ClusterState, now: number): Outcome {
  const effects: Effect[] = [];
  let state = changed;
  const step = (outcome: Outcome) => {
    state = outcome.state;
    effects.push(...outcome.effects);
  };
  step(endRestore(state, now));
  step(findLost(state, now));
  step(findExpired(state, now));
  step(dropRemovedGroups(state, now));
  step(endTargets(state, now));
  step(showGroups(state, now));
  step(endOperations(state, now));
  if (speakUp(original, state))
    for (const [name, live] of Object.entries(state.volatile.nodes))
      if (live.ended === null) effects.push({ kind: 'nudge', node: name });
  return { state, effects };
}

/** C7: once every node has reported, the highest epoch is known and grants continue above it. */
function endRestore(state: ClusterState, now: number): Outcome {
  const { restored } = state.durable;
  if (restored === null || (unreported(state).length > 0 && !restored.confirmed)) return { state, effects: [] };
  if (now < restoredUntil(state)) return { state, effects: [] };
  return {
    state: withDurable(state, { restored: null }),
    effects: restored.confirmed
      ? []
      : [
          {
            kind: 'event',
            event: {
              kind: 'coordinator.history-confirmed',
              severity: 'info',
              detail: 'every node has reported; grants continue above the highest epoch seen',
              at: now,
            },
          },
        ],
  };
}

function findLost(before: ClusterState, now: number): Outcome {
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
    effects.push({
      kind: 'event',
      event: {
        kind: 'node.lost',
        severity: 'error',
        node: node.name,
        detail: silence(state, node.name, now),
        at: now,
      },
    });
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

function findExpired(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  const timing = timingOf(before);
  for (const group of Object.values(before.durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.released || state.volatile.expired[group.name] === lease.epoch) continue;
    if (!freedom(lease, state.volatile.renewals[group.name], timing, now).free) continue;
    state = withVolatile(state, { expired: { ...state.volatile.expired, [group.name]: lease.epoch } });
    effects.push({
      kind: 'event',
      event: {
        kind: 'group.lease-expired',
        severity: 'error',
        node: lease.owner,
        group: group.name,
        epoch: lease.epoch,
        detail:
          lease.provenDeadAt === null
            ? `not renewed for ${takeoverMs(lease, timing)} ms: free to be taken over`
            : 'freed by an operator’s word',
        at: now,
      },
    });
  }
  return { state, effects };
}

function dropRemovedGroups(state: ClusterState, now: number): Outcome {
  const gone = Object.values(state.durable.groups)
    .filter(
      (group) => state.durable.config?.groups[group.name] === undefined && holder(state, group, now) === undefined,
    )
    .map((group) => group.name);
  if (gone.length === 0) return { state, effects: [] };
  // The epoch outlives the group: a group of this name must never start again below it.
  const highest = { ...state.durable.highestEpochs };
  for (const name of gone) highest[name] = Math.max(highest[name] ?? 0, state.durable.groups[name]?.lease?.epoch ?? 0);
  return {
    state: withDurable(state, { groups: withoutKeys(state.durable.groups, gone), highestEpochs: highest }),
    effects: [],
  };
}

/** A move whose target can no longer take the group is over; the group goes where placement says. */
function endTargets(before: ClusterState, now: number): Outcome {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const { target, lease } = group;
    if (target === null) continue;
    const arrived = lease !== null && !lease.released && lease.owner === target.node && group.run?.state === 'running';
    const elsewhere = lease !== null && lease.owner !== target.node && lease.epoch > target.aboveEpoch;
    const impossible =
      group.failures[target.node] !== undefined ||
      state.durable.nodes[target.node]?.mode !== 'ready' ||
      (lostSince(state, target.node, now) !== undefined && !unheardYet(state, target.node, now)) ||
      !(state.durable.config?.groups[group.name]?.on.includes(target.node) ?? false);
    if (arrived || elsewhere || impossible) state = withGroup(state, { ...group, target: null });
  }
  return { state, effects: [] };
}

function showGroups(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  for (const group of Object.values(before.durable.groups)) {
    const { state: shown, reason } = showGroup(state, group, now);
    if (shown === group.shown) continue;
    state = withGroup(state, { ...group, shown, since: now });
    const event = shownEvent(group, shown, reason);
    if (event !== undefined) effects.push({ kind: 'event', event: { ...event, group: group.name, at: now } });
  }
  return { state, effects };
}

function shownEvent(group: GroupRecord, shown: GroupRecord['shown'], reason: string | undefined) {
  const epoch = group.lease?.epoch;
  switch (shown) {
    case 'running':
      return {
        kind: 'group.running',
        severity: 'info',
        node: group.lease?.owner,
        epoch,
        detail: 'every resource is up',
      } as const;
    case 'stopped':
      return { kind: 'group.stopped', severity: 'info', epoch, detail: 'stopped' } as const;
    case 'failed':
      return {
        kind: 'group.failed',
        severity: 'error',
        epoch,
        detail: reason ?? 'no node is left that could run it',
      } as const;
    case 'waiting':
      return { kind: 'group.waiting', severity: 'warning', epoch, detail: reason ?? 'no node can run it now' } as const;
    default:
      return undefined;
  }
}

/** Has anything changed that another node should hear of before its next renewal? */
function speakUp(before: ClusterState, after: ClusterState): boolean {
  const a = before.durable;
  const b = after.durable;
  if (a.revision !== b.revision || a.restored !== b.restored) return true;
  for (const group of Object.values(b.groups)) {
    const old = a.groups[group.name];
    if (
      old === undefined ||
      old.desired !== group.desired ||
      old.target !== group.target ||
      old.failures !== group.failures
    )
      return true;
    if (old.lease?.released !== group.lease?.released || old.lease?.provenDeadAt !== group.lease?.provenDeadAt)
      return true;
  }
  for (const node of Object.values(b.nodes)) {
    const old = a.nodes[node.name];
    if (old === undefined || old.mode !== node.mode || old.removed !== node.removed || old.lost !== node.lost)
      return true;
  }
  for (const [name, live] of Object.entries(after.volatile.nodes))
    if (live.ended !== (before.volatile.nodes[name]?.ended ?? null)) return true;
  return Object.keys(after.volatile.expired).some(
    (group) => before.volatile.expired[group] !== after.volatile.expired[group],
  );
}
