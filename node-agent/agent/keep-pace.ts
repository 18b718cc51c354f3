/**
 * How many reports may be under way. What there is to tell goes at once, but not beside ever more reports that nobody has answered yet: a
 * coordinator that takes long for each would be given more the longer it takes, and its answers, in the end, would be too old to lengthen a lease.
 * The retries by the clock are not counted against it. Pure, as keep.ts.
 */
import type { KeepState } from './keep-state.ts';

/** One that is being answered, and one with what has come up since. */
export const MAX_UNDER_WAY = 2;

/** Are there so many reports under way that the next has to wait for an answer, or for the clock? */
export function isCrowded({ sent, answered }: KeepState): boolean {
  return sent - answered >= MAX_UNDER_WAY;
}

/** There is something to report: now, or when the next answer has come. */
export function reportSoon(state: KeepState, nowMs: number): KeepState {
  if (isCrowded(state)) return { ...state, soon: true };
  return { ...state, nextReportMs: Math.min(state.nextReportMs, nowMs) };
}

/** Another way to the coordinator is in use: what was under way on the one before may never be answered. */
export function onOtherWay(state: KeepState, nowMs: number): KeepState {
  return reportSoon({ ...state, answered: state.sent }, nowMs);
}

/** It failed on its way. Nothing is hurried by that: a coordinator that refuses connections would be asked again at once, for ever. */
export function onLostReport(state: KeepState, id: string): KeepState {
  const request = state.requests.get(id);
  return request === undefined ? state : { ...state, answered: Math.max(state.answered, request.number) };
}
