/**
 * The life of one lease that this node holds: what lengthens it (O1, O2), when it is lost (O3), and which voters count for it (C3). Pure,
 * as keep.ts.
 */
import { fuseInstant, GUARD_LATENESS_MS } from '../../schemas/limits.ts';
import type { LeaseAnswer } from '../../schemas/wire.ts';
import { leaveGoesOn } from './keep-leave.ts';
import { obey } from './keep-orders.ts';
import type { Extension } from './keep-promises.ts';
import type { Held, KeepEffect, KeepEvent, KeepOutcome, KeepState, Request } from './keep-state.ts';

const nothing = (state: KeepState): KeepOutcome => ({ state, effects: [] });

/** What a request is worth: no more than the lease it named, nor than the one counted now. */
export function deadlineFrom(state: KeepState, request: Request): number {
  return request.sentMs + Math.min(request.leaseMs, state.timing.leaseMs);
}

/** S that goes with it: a lease counted by a shorter timing is not lost because a longer one came into force meanwhile. */
export function stopFrom(state: KeepState, request: Request): number {
  return Math.min(request.stopMs, state.timing.stopMs);
}

/** O3: when everything exclusive is forced down. */
export function stopInstant(state: KeepState, held: Held): number {
  return held.deadlineMs - Math.min(held.stopMs ?? state.timing.stopMs, state.timing.stopMs);
}

/**
 * When the guard acts if this agent has not begun the forced stop by then: it is gone, or hangs, and nobody else does. When
 * it begins, `lose` has the guard leave it the time until `fuseInstant`.
 */
export function unattendedInstant(state: KeepState, held: Held): number {
  return Math.min(fuseInstant(held.deadlineMs, state.timing), stopInstant(state, held) + GUARD_LATENESS_MS);
}

/** What the guard must hear when another timing comes into force: by a shorter one everything is forced down later than it believes. */
export function onTiming(before: KeepState, state: KeepState, nowMs: number): KeepEffect[] {
  return Object.entries(state.held).flatMap(([group, held]) => {
    if (held.phase === 'lost' || held.phase === 'stuck') return [];
    const fireMs = unattendedInstant(state, held);
    if (fireMs <= unattendedInstant(before, held) || nowMs >= fireMs) return [];
    return [{ kind: 'pet', group, epoch: held.epoch, deadlineMs: held.deadlineMs, fireMs } as const];
  });
}

export function onRenewed(
  state: KeepState,
  answer: Extract<LeaseAnswer, { verdict: 'renewed' }>,
  request: Request,
  nowMs: number,
): KeepOutcome {
  const { group } = answer;
  const held = state.held[group];
  if (held === undefined || held.epoch !== answer.epoch || !request.groups.includes(group)) return nothing(state);
  if (held.phase === 'lost' || held.phase === 'stuck') return nothing(state);
  if (nowMs >= stopInstant(state, held)) return lose(state, group, 'the coordinator’s answer came too late', nowMs);
  const untilMs = deadlineFrom(state, request);
  const heard: Held = {
    ...held,
    coordinatorMs: Math.max(held.coordinatorMs, untilMs),
    alone: held.alone === true && !isInGoodTime(state, held, untilMs, nowMs),
  };
  const longer = extended(state, { group, held: heard, untilMs, stopMs: stopFrom(state, request) }, nowMs);
  const change = changeVoters(longer.held, answer, state);
  const obeyed = obey(change.held, answer, request);
  const next = withHeld(state, group, obeyed.held);
  return {
    state: obeyed.held.phase === held.phase ? next : leaveGoesOn(next, nowMs),
    effects: [...longer.effects, ...change.effects, ...obeyed.effects],
  };
}

/**
 * Does an answer leave half of the time before the forced stop, or more? One that took longer is no sign that the coordinator is back: the
 * next may come too late again, and every group would tell of it each time.
 */
function isInGoodTime(state: KeepState, held: Held, untilMs: number, nowMs: number): boolean {
  const { leaseMs, stopMs } = state.timing;
  return stopInstant(state, { ...held, deadlineMs: untilMs }) - nowMs >= (leaseMs - stopMs) / 2;
}

/** A longer lease, with what the guard must hear of it. Never a shorter one. */
function extended(
  state: KeepState,
  { group, held, untilMs, stopMs }: Extension,
  nowMs: number,
): { readonly held: Held; readonly effects: readonly KeepEffect[] } {
  if (untilMs <= held.deadlineMs) return { held, effects: [] };
  const longer: Held = { ...held, deadlineMs: untilMs, stopMs };
  const fireMs = unattendedInstant(state, longer);
  // I2: a pet is only worth something before the fuse acts
  if (nowMs >= fireMs) return { held: longer, effects: [] };
  return { held: longer, effects: [{ kind: 'pet', group, epoch: held.epoch, deadlineMs: untilMs, fireMs }] };
}

/** O2: what promises give. They lengthen only what still runs. */
export function extendAll(before: KeepState, extensions: readonly Extension[], nowMs: number): KeepOutcome {
  let state = before;
  const effects: KeepEffect[] = [];
  for (const extension of extensions) {
    const { group, held } = extension;
    if (nowMs >= stopInstant(state, held)) {
      const lost = lose(state, group, 'the promises of its voters came too late', nowMs);
      state = lost.state;
      effects.push(...lost.effects);
      continue;
    }
    const longer = extended(state, extension, nowMs);
    state = withHeld(state, group, longer.held);
    effects.push(...longer.effects);
  }
  return { state, effects };
}

/**
 * C3: other voters count when the guard has them, and only then does a request name them: an agent that starts anew must not live on the
 * promises of those that no longer vote.
 */
function changeVoters(
  held: Held,
  { group, voters }: Extract<LeaseAnswer, { verdict: 'renewed' }>,
  state: KeepState,
): { readonly held: Held; readonly effects: readonly KeepEffect[] } {
  if (voters === undefined || !held.kept) return { held, effects: [] };
  if (voters.version <= (held.nextVoters ?? held.voters).version) return { held, effects: [] };
  const { epoch, deadlineMs } = held;
  const fireMs = unattendedInstant(state, held);
  return {
    held: { ...held, nextVoters: voters },
    effects: [{ kind: 'arm', group, epoch, deadlineMs, fireMs, voters }],
  };
}

export function onKept(state: KeepState, { group, epoch, version }: Extract<KeepEvent, { type: 'kept' }>): KeepState {
  const held = state.held[group];
  if (held === undefined || held.epoch !== epoch) return state;
  const { nextVoters, ...rest } = held;
  if (nextVoters?.version !== version) return withHeld(state, group, { ...held, kept: true });
  return withHeld(state, group, { ...rest, voters: nextVoters, kept: true });
}

/** O3: a message that proves a higher epoch or a revocation ends the lease now. */
export function onRefused(
  state: KeepState,
  answer: { group: string; epoch: number; reason: string },
  nowMs: number,
): KeepOutcome {
  const held = state.held[answer.group];
  if (held === undefined || held.epoch !== answer.epoch) return nothing(state);
  return lose(state, answer.group, `the coordinator refused its renewal: ${answer.reason}`, nowMs);
}

/** Is the coordinator's time over, so that only promises keep the lease? */
export function livesOnPromises(state: KeepState, held: Held, nowMs: number): boolean {
  return nowMs >= stopInstant(state, { ...held, deadlineMs: held.coordinatorMs });
}

/** A lease that outlives the coordinator's time is told of, once. */
export function tellAlone(before: KeepState, nowMs: number): KeepOutcome {
  let state = before;
  const effects: KeepEffect[] = [];
  for (const [group, held] of Object.entries(before.held)) {
    if (held.phase === 'lost' || held.phase === 'stuck' || held.alone === true) continue;
    if (!livesOnPromises(before, held, nowMs)) continue;
    state = withHeld(state, group, { ...held, alone: true });
    effects.push({
      kind: 'alone',
      group,
      epoch: held.epoch,
      by: held.voters.names.filter((node) => node !== before.node),
    });
  }
  return { state, effects };
}

/** O3: at deadline − S everything exclusive is forced down. */
export function loseExpired(before: KeepState, nowMs: number): KeepOutcome {
  let state = before;
  const effects: KeepEffect[] = [];
  for (const [group, held] of Object.entries(before.held)) {
    if (held.phase === 'lost' || held.phase === 'stuck') continue;
    if (nowMs < stopInstant(before, held)) continue;
    const lost = lose(state, group, whyExpired(before, group, held, nowMs), nowMs);
    state = lost.state;
    effects.push(...lost.effects);
  }
  return { state, effects };
}

/** Why neither the coordinator nor the voters have lengthened the lease, so that it can be told what to mend. */
function whyExpired(state: KeepState, group: string, held: Held, nowMs: number): string {
  const { leaseMs, stopMs } = state.timing;
  const silence = `no renewal was answered for ${leaseMs - stopMs} ms`;
  if (state.groups[group]?.requiresUplink === true) return `${silence} (requires: uplink)`;
  const silent = held.voters.names.filter(
    (node) => node !== state.node && nowMs >= (held.promised[node] ?? 0) - stopMs,
  );
  return silent.length === 0 ? silence : `${silence}, and ${silent.join(', ')} did not promise to keep out`;
}

export function lose(state: KeepState, group: string, why: string, nowMs: number): KeepOutcome {
  const held = state.held[group];
  if (held === undefined || held.phase === 'lost' || held.phase === 'stuck') return nothing(state);
  const { epoch, deadlineMs } = held;
  // from now on it is being forced down, and has S less the guard's own part for it, however it was lost
  const fireMs = fuseInstant(Math.min(deadlineMs, nowMs + state.timing.stopMs), state.timing);
  const begun = fireMs > unattendedInstant(state, held) && nowMs < fireMs;
  return {
    state: withHeld(state, group, { ...held, phase: 'lost' }),
    effects: [
      ...(begun ? [{ kind: 'pet', group, epoch, deadlineMs, fireMs } as const] : []),
      { kind: 'lost', group, epoch, why },
      { kind: 'stop', group, how: 'forced', why },
    ],
  };
}

/** The lease is not renewed any more: what can still be stopped is, and the fuse brings down what would not stop. */
export function onStuck(state: KeepState, group: string, nowMs: number): KeepOutcome {
  const held = state.held[group];
  if (held === undefined) return nothing(state);
  const lost = lose(state, group, 'something of it could not be stopped', nowMs);
  return { ...lost, state: withHeld(lost.state, group, { ...held, phase: 'stuck' }) };
}

export function withHeld(state: KeepState, group: string, held: Held): KeepState {
  return { ...state, held: { ...state.held, [group]: held } };
}
