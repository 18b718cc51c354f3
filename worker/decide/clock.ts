/** The coordinator's wall clock may step either way, and stand still in the middle of everything: what that makes doubtful. */
import { restoredUntil } from './history.ts';
import { timingOf } from './lease.ts';
import { event } from './outcome.ts';
import { moveEnds } from './pause.ts';
import { withDurable, withLease, withVolatile } from './records.ts';
import type { ClusterState, Outcome } from './state.ts';

/** Steps smaller than this are ordinary slewing and rounding. */
const CLOCK_STEP_MS = 10;

/** @param again count anew even where an earlier doubt is on record: what the clock said before it stepped back is worth nothing. */
export function suspectAll(before: ClusterState, now: number, { again }: { again: boolean }): ClusterState {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.released) continue;
    // a time that is still to come was written before the clock stepped back, perhaps while no instance ran
    const ahead = lease.provenDeadAt === null ? 0 : lease.provenDeadAt - now;
    const proof = ahead <= 0 ? {} : { provenDeadAt: now };
    const doubted = lease.suspectSince !== null && lease.suspectSince <= now && !again;
    if (doubted && ahead <= 0) continue;
    state = withLease(state, group, { ...proof, suspectSince: doubted ? lease.suspectSince : now });
  }
  return state;
}

/** C7: the wait for leases that this data does not know of has nothing but this clock, so it is counted anew wherever that is in doubt. */
function restoredAnew(state: ClusterState, now: number): ClusterState {
  const { restored } = state.durable;
  return restored === null ? state : withDurable(state, { restored: { ...restored, since: now } });
}

/** A restore that seems to be still to come was written before the clock stepped back: nobody waits for longer than its whole wait. */
export function restoredNoLater(state: ClusterState, now: number): ClusterState {
  return (state.durable.restored?.since ?? now) > now ? restoredAnew(state, now) : state;
}

/** A wall clock that stepped back says nothing about how long ago a renewal was: every lease becomes suspect from now. */
export function onClock(before: ClusterState, now: number): Outcome {
  const { lastEventAt } = before.volatile;
  if (now >= lastEventAt) return { state: withVolatile(before, { lastEventAt: now }), effects: [] };
  if (lastEventAt - now < CLOCK_STEP_MS) return { state: before, effects: [] };
  const counted = restoredNoLater(suspectAll(before, now, { again: true }), now);
  const suspected = moveEnds(counted, () => lastEventAt - now);
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
      better: {},
      awaited: {},
      expired: {},
    }),
    effects: [
      event(now, {
        kind: 'coordinator.clock-stepped',
        severity: 'warning',
        detail: `the coordinator’s clock stepped back by ${lastEventAt - now} ms; every wait counts anew from now`,
      }),
    ],
  };
}

/**
 * For a while nothing could happen here, so that nothing was heard proves nothing: whoever was not known to be lost before, and every
 * lease that had not expired, is given its whole wait again. Claimants count on with the renewals that they know.
 */
export function onLate(before: ClusterState, byMs: number, now: number): Outcome {
  const timing = timingOf(before);
  const { volatile, durable } = before;
  const heardAtLast = now - byMs;
  const running = (name: string) => durable.groups[name]?.lease?.epoch !== volatile.expired[name];
  let state = withVolatile(before, {
    better: {},
    awaited: {},
    startedAt: heardAtLast - volatile.startedAt <= timing.leaseMs ? now : volatile.startedAt,
    doubtUntil: heardAtLast < volatile.doubtUntil ? now + timing.takeoverMs : volatile.doubtUntil,
    nodes: Object.fromEntries(
      Object.entries(volatile.nodes).map(([name, live]) => [
        name,
        live.ended === null && durable.nodes[name]?.lost === false ? { ...live, lastSeenAt: now } : live,
      ]),
    ),
    renewals: Object.fromEntries(
      Object.entries(volatile.renewals).map(([name, renewal]) => [
        name,
        running(name) ? { ...renewal, at: now } : renewal,
      ]),
    ),
  });
  for (const group of Object.values(durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.released || lease.suspectSince === null || !running(group.name)) continue;
    state = withLease(state, group, { suspectSince: now });
  }
  if (heardAtLast < restoredUntil(before)) state = restoredAnew(state, now);
  const detail = `the coordinator stood still, or its clock leapt forward, for ${byMs} ms or more; every wait counts anew from now`;
  return { state, effects: [event(now, { kind: 'coordinator.clock-stepped', severity: 'warning', detail })] };
}
