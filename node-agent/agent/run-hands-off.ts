/**
 * Hands off: a group that is paused, or on hold until a person has cleaned up, is only looked at; and so is a single resource whose
 * failures are ignored. Pure, as run.ts.
 */
import { type Failure, inFull, news, tell } from './run-news.ts';
import {
  handsOff,
  NOTHING_COUNTED,
  type ResourceState,
  type RunOutcome,
  type RunResource,
  type RunState,
  set,
} from './run-state.ts';

const LEFT: Readonly<Record<'ignored' | 'held' | 'paused', string>> = {
  ignored: 'nothing is done about it (onFail: ignore)',
  held: 'the group is on hold, nothing is done about this',
  paused: 'the group is paused, nothing is done about this',
};

/** Nothing is done but to look at it again. */
export function leaveAlone(
  state: RunState,
  resource: RunResource,
  why: 'ignored' | 'held' | 'paused',
  failure: Failure,
  nowMs: number,
): RunOutcome {
  const ailing: ResourceState = { is: 'ailing', why, checkAtMs: nowMs + resource.times.monitorIntervalMs };
  const next = set(state, resource.key, { state: ailing, reason: failure.reason, repairsMs: [], told: true });
  if (resource.told) return { state: next, effects: [] };
  const effects =
    why === 'ignored'
      ? [...tell(resource, failure), news('resource.ignored', 'warning', resource.id, LEFT.ignored)]
      : [news('resource.failed', 'error', resource.id, `${LEFT[why]}: ${inFull(failure)}`)];
  return { state: next, effects };
}

/** What is broken waits for nobody's stop any more, what is down may be started by a person: all of it is only looked at. */
export function withHandsOff(state: RunState, why: 'held' | 'paused', nowMs: number): RunState {
  const off = (resource: RunResource): RunResource => {
    const { is } = resource.state;
    const checkAtMs = nowMs + resource.times.monitorIntervalMs;
    // what is broken was told when it broke
    if (is === 'broken') return { ...resource, state: { is: 'ailing', why, checkAtMs }, told: true };
    const down = is === 'stopped' || is === 'waiting';
    return down ? { ...resource, state: { is: 'ailing', why: 'unstarted', checkAtMs } } : resource;
  };
  const resources = state.resources.map(off);
  return resources.every((resource, index) => resource === state.resources[index]) ? state : { ...state, resources };
}

/** `pause`: hands off, or on again; then everything is looked at at once, and what is found to have failed is treated by its policy. */
export function onPause(state: RunState, paused: boolean, nowMs: number): RunOutcome {
  if (state.want !== 'up' || state.paused === paused) return { state, effects: [] };
  const next = { ...state, paused };
  return { state: paused ? withHandsOff(next, 'paused', nowMs) : handsOn(next, nowMs), effects: [] };
}

function handsOn(state: RunState, nowMs: number): RunState {
  if (handsOff(state) !== undefined) return state;
  const on = ({ state: is }: RunResource): ResourceState => {
    if (is.is === 'ailing' && is.why === 'unstarted') return { is: 'unknown' };
    return is.is === 'running' || is.is === 'ailing' ? { ...is, checkAtMs: nowMs } : is;
  };
  return { ...state, resources: state.resources.map((resource) => ({ ...resource, state: on(resource) })) };
}

/**
 * A person has cleaned up: nothing that was counted counts, a hold is over, and what is not well is looked at as if for the first time,
 * so that what does not run is started. A hold that began after the person was heard is not the one that was meant.
 */
export function onCleanup(before: RunState, askedMs: number, nowMs: number): RunOutcome {
  if (before.want !== 'up') return { state: before, effects: [] };
  if (before.held !== undefined && before.held.sinceMs >= askedMs) return { state: before, effects: [] };
  const resources = before.resources.map((resource) => ({
    ...resource,
    ...NOTHING_COUNTED,
    state: forgiven(resource.state, nowMs),
  }));
  const state = { ...before, held: undefined, resources };
  return { state: before.held === undefined ? state : handsOn(state, nowMs), effects: [] };
}

function forgiven(is: ResourceState, nowMs: number): ResourceState {
  switch (is.is) {
    case 'ailing':
      return is.why === 'below-fall' ? { is: 'running', checkAtMs: nowMs } : { is: 'unknown' };
    case 'checking':
      return is.was === undefined || is.was === 'below-fall' ? { is: 'checking' } : { ...is, anew: true };
    case 'waiting':
      return { ...is, untilMs: nowMs };
    case 'stuck':
      return is.quiet ? { ...is, untilMs: nowMs } : is;
    default:
      return is;
  }
}
