/**
 * The host is being shut down. The coordinator is told, and orders the releases of what runs here in the order that its rules ask
 * for; what it does not order in time is stopped by this node itself, gracefully and all groups at once, while their leases last.
 * Pure, as keep.ts.
 */
import { drain } from './keep-orders.ts';
import { reportSoon } from './keep-pace.ts';
import type { Held, KeepEffect, KeepOutcome, KeepState } from './keep-state.ts';

/** The coordinator answers and orders nothing, and nothing is being stopped: after this time it will not. */
export const LEAVE_PATIENCE_MS = 10_000;

export function onLeave(state: KeepState, nowMs: number): KeepOutcome {
  if (state.leaving !== undefined) return { state, effects: [] };
  return { state: reportSoon({ ...state, leaving: { progressMs: nowMs } }, nowMs), effects: [] };
}

/** @returns when everything is stopped without an order, ms; undefined: not now, or there is nothing to stop. */
export function leaveDue(state: KeepState): number | undefined {
  const { leaving, unanswered, unansweredSinceMs, timing } = state;
  const held = Object.values(state.held);
  if (leaving === undefined || !held.some(isActive)) return undefined;
  // a lease that nobody renews lasts just long enough for a graceful stop that begins now
  const silentMs = unanswered > 0 ? unansweredSinceMs + timing.renewMs : Number.POSITIVE_INFINITY;
  const idleMs = held.every(isActive) ? leaving.progressMs + LEAVE_PATIENCE_MS : Number.POSITIVE_INFINITY;
  const dueMs = Math.min(silentMs, idleMs);
  return Number.isFinite(dueMs) ? dueMs : undefined;
}

export function leaveOverdue(state: KeepState, nowMs: number): KeepOutcome {
  const dueMs = leaveDue(state);
  if (dueMs === undefined || nowMs < dueMs) return { state, effects: [] };
  const effects: KeepEffect[] = [];
  const held: Record<string, Held> = {};
  for (const [group, lease] of Object.entries(state.held)) {
    const step = isActive(lease)
      ? drain(lease, group, 'the host is being shut down, and the coordinator has ordered nothing')
      : { held: lease, effects: [] };
    held[group] = step.held;
    effects.push(...step.effects);
  }
  return { state: { ...state, held, leaving: { progressMs: nowMs } }, effects };
}

/** Something was ordered or has ended: the coordinator may take its time for the next. */
export function leaveGoesOn(state: KeepState, nowMs: number): KeepState {
  return state.leaving === undefined ? state : { ...state, leaving: { progressMs: nowMs } };
}

function isActive({ phase }: Held): boolean {
  return phase === 'active';
}
