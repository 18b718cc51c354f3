/**
 * The coordinator's core: one function from state and event to state and effects. Whatever happens, the same last step (`settle`)
 * draws the conclusions that time and the other records allow: who is lost, what has expired, what each group now shows,
 * which operations ended, who should speak up.
 */
import { isServed } from '../../schemas/api.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { onAction } from './actions.ts';
import { onClock, onLate, restoredNoLater, suspectAll } from './clock.ts';
import { failBack, failBackTimes } from './failback.ts';
import { failureInForce, failureTimes, forgetFailures } from './failure.ts';
import { endRestore, restoredAgain, restoredUntil } from './history.ts';
import { freedom, holder, takeoverMs, timingOf } from './lease.ts';
import { findLost, isSucceeded, living, lostSince, unheardYet } from './liveness.ts';
import { concernsOthers, sameCandidate } from './nudges.ts';
import { endOperations } from './operations.ts';
import { event } from './outcome.ts';
import { passOver, passOverTimes } from './pass-over.ts';
import { endPauses, maintenance, moveEnds, pauseTimes } from './pause.ts';
import { iso, withDurable, withGroup, withLease, withoutKeys, withVolatile } from './records.ts';
import { onReport } from './report.ts';
import { objectionsByRule } from './rules.ts';
import { showGroups } from './shown.ts';
import type { ClusterState, CoordinatorEvent, Durable, Effect, GroupRecord, Outcome } from './state.ts';
import { keptOut, tendVoters, voterTimes } from './voters.ts';

export function emptyState(cluster: string, history: string, instance: string, now: number): ClusterState {
  return {
    durable: {
      cluster,
      history,
      generation: 1,
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
    toldRefusals: {},
    expired: {},
    better: {},
    awaited: {},
  };
}

/** C4: the last renewals are lost with the previous instance. Count from now, unless an earlier doubt is still on record. */
export function restart(before: Durable, instance: string, now: number): Outcome {
  const durable: Durable = {
    ...before,
    generation: before.generation + 1,
    restored: restoredAgain(before.restored),
  };
  const { takeoverMs: waitMs } = durable.config?.timing ?? LEASE_PROFILES.default;
  const volatile = { ...freshVolatile(instance, now), doubtUntil: now + waitMs };
  const suspected = restoredNoLater(suspectAll({ durable, volatile }, now, { again: false }), now);
  // what began in the future was written before the clock stepped back
  const state = moveEnds(suspected, (since) => Math.max(0, since - now));
  return {
    state,
    effects: [
      event(now, {
        kind: 'coordinator.started',
        detail: `started anew; leases held before may run until ${iso(now + timingOf(state).takeoverMs)}`,
      }),
    ],
  };
}

export function decide(before: ClusterState, happened: CoordinatorEvent, now: number): Outcome {
  const clock = onClock(before, now);
  const outcome = happen(clock.state, happened, now);
  if (outcome.refused !== undefined) return { ...outcome, effects: [...clock.effects, ...outcome.effects] };
  const quiet =
    happened.type === 'report' &&
    outcome.state.durable === before.durable &&
    sameCandidate(before, outcome.state, happened.report.node);
  const settled = quiet ? { state: outcome.state, effects: [] } : settle(before, outcome.state, now);
  return {
    ...outcome,
    state: settled.state,
    effects: [...clock.effects, ...outcome.effects, ...settled.effects],
  };
}

function happen(state: ClusterState, happened: CoordinatorEvent, now: number): Outcome {
  switch (happened.type) {
    case 'report':
      return onReport(state, happened.report, now);
    case 'tick':
      return { state, effects: [] };
    case 'late':
      return onLate(state, happened.byMs, now);
    default:
      return onAction(state, happened, now);
  }
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
  // nothing but an event comes of these while no node lives: no timer keeps the object awake for that
  const anyone = Object.keys(state.volatile.nodes).some((node) => lostSince(state, node, now) === undefined);
  if (anyone) times.push(...pauseTimes(state));
  for (const group of Object.values(state.durable.groups)) {
    if (anyone) times.push(...failureTimes(group, now));
    if (group.lease === null || group.lease.released || state.volatile.expired[group.name] === group.lease.epoch)
      continue;
    const free = freedom(group.lease, state.volatile.renewals[group.name], timing, now);
    times.push(free.free ? now : free.until);
  }
  times.push(...failBackTimes(state));
  times.push(...voterTimes(state, now));
  if (anyone) times.push(...passOverTimes(state));
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
  step(endPauses(state, now));
  step(endRestore(state, now));
  step(findLost(state, now));
  step(findExpired(state, now));
  step(dropRemovedGroups(state, now));
  step(tendVoters(state, now));
  step(passOver(state, now));
  step(endTargets(state, now));
  step(failBack(state, now));
  step(showGroups(state, now));
  step(forgetFailures(state, now));
  step(endOperations(state, now));
  if (concernsOthers(original, state, now))
    for (const [name, live] of Object.entries(state.volatile.nodes))
      if (live.ended === null) effects.push({ kind: 'nudge', node: name });
  return { state, effects };
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
    // an earlier instance has told of it
    if (lease.expired === true) continue;
    state = withLease(state, group, { expired: true });
    effects.push(
      event(now, {
        kind: 'group.lease-expired',
        severity: 'error',
        node: lease.owner,
        group: group.name,
        epoch: lease.epoch,
        detail:
          lease.provenDeadAt === null
            ? `not renewed for ${takeoverMs(lease, timing)} ms: free to be taken over`
            : 'freed by an operator’s word',
      }),
    );
  }
  return { state, effects };
}

function dropRemovedGroups(state: ClusterState, now: number): Outcome {
  const gone = Object.values(state.durable.groups)
    .filter((group) => state.durable.config?.groups[group.name] === undefined && isOver(state, group, now))
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

/**
 * Nobody runs it any more. That its lease has expired is not enough: its owner may live on promises, and the lease is what remembers whose. Given
 * back, proven dead, or its owner's machine speaks as another incarnation.
 */
function isOver(state: ClusterState, group: GroupRecord, now: number): boolean {
  const { lease } = group;
  if (lease === null || lease.released) return true;
  if (holder(state, group, now) !== undefined || keptOut(state, group, now).length > 0) return false;
  return lease.provenDeadAt !== null || isSucceeded(state, lease);
}

/** A move whose target can no longer take the group is over; the group goes where placement says. */
function endTargets(before: ClusterState, now: number): Outcome {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const { target, lease } = group;
    if (target === null) continue;
    const arrived = lease !== null && !lease.released && lease.owner === target.node && isServed(group.run?.state);
    const elsewhere = lease !== null && lease.owner !== target.node && lease.epoch > target.aboveEpoch;
    const impossible =
      failureInForce(group, target.node, now) !== undefined ||
      state.durable.nodes[target.node]?.mode !== 'ready' ||
      maintenance(state, target.node, now) !== null ||
      living(state, target.node)?.leaving === true ||
      (lostSince(state, target.node, now) !== undefined && !unheardYet(state, target.node, now)) ||
      !(state.durable.config?.groups[group.name]?.on.includes(target.node) ?? false) ||
      objectionsByRule(state, group, target.node, now, { asked: true }).length > 0;
    if (arrived || elsewhere || impossible) state = withGroup(state, { ...group, target: null });
  }
  return { state, effects: [] };
}
