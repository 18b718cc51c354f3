/**
 * The runner of one group on this node: what to do with each resource next. Pure: state and event in, new state and effects out.
 *
 * Resources start in the order of the document and stop in reverse. Each is in exactly one state; an action is in flight only in the
 * states that say so, one per resource. What follows a failure is a matter of the resource's policy (run-failure.ts): most often a
 * restart in place (what comes after it is stopped first) until it has failed too often; then the whole group is stopped and given up.
 */
import type { Outcome } from '../resources/index.ts';
import { climb } from './run-climb.ts';
import { backoffMs, failed, stopFailed } from './run-failure.ts';
import { leaveAlone, onCleanup, onPause } from './run-hands-off.ts';
import { onChanged, onProbed } from './run-look.ts';
import { during, type Failure, news, recovered } from './run-news.ts';
import { isLeftFailed, show } from './run-report.ts';
import {
  allStopped,
  handsOff,
  NOTHING_COUNTED,
  type ResourceState,
  type RunEvent,
  type RunOutcome,
  type RunResource,
  type RunState,
  set,
  undiscovered,
  wellNow,
} from './run-state.ts';
import { descend, stopFrom, stopTimeoutMs } from './run-stop.ts';

export { groupReport } from './run-report.ts';
export type * from './run-state.ts';
export { allStopped, newRun } from './run-state.ts';

/** Pause before a forced stop that did not help is tried again. */
const FORCE_AGAIN_MS = 200;

export function run(before: RunState, event: RunEvent, nowMs: number): RunOutcome {
  const first = react(before, event, nowMs);
  const rest = advance(first.state, nowMs);
  const shown = show(rest.state);
  const state = shown === before.shown ? rest.state : { ...rest.state, shown, sinceMs: nowMs };
  return { state, effects: [...first.effects, ...rest.effects] };
}

function advance(before: RunState, nowMs: number): RunOutcome {
  const declared = adoptDeclaration(before, nowMs);
  if (!declared.done) return declared;
  if (declared.state.want === 'up') return climb(declared.state, nowMs);
  const step = descend(declared.state, nowMs);
  if (step.state.next === undefined || step.state.settled || !allStopped(step.state)) return step;
  const again = advance(step.state, nowMs);
  return { state: again.state, effects: [...step.effects, ...again.effects] };
}

/**
 * @param nowMs when `run` was last called: what was due by then and was not acted upon waits for an event, not for time.
 * @returns when `run` wants a tick, ms; undefined if only an event can change anything.
 */
export function runDue(state: RunState, nowMs: number): number | undefined {
  let due: number | undefined;
  for (const { state: is } of state.resources) {
    const at = dueOf(is, state);
    if (at !== undefined && at > nowMs) due = due === undefined ? at : Math.min(due, at);
  }
  return due;
}

function dueOf(is: ResourceState, state: RunState): number | undefined {
  switch (is.is) {
    case 'running':
    case 'ailing':
      return state.want === 'up' ? is.checkAtMs : undefined;
    case 'waiting':
    case 'stuck':
      return handsOff(state) === undefined ? is.untilMs : undefined;
    default:
      return undefined;
  }
}

function react(state: RunState, event: RunEvent, nowMs: number): RunOutcome {
  switch (event.type) {
    case 'want':
      return event.want === 'up' ? onUp(state, event.epoch, event.paused ?? false) : onDown(state, event.want);
    case 'pause':
      return onPause(state, event.paused, nowMs);
    case 'cleanup':
      return onCleanup(state, event.askedMs, nowMs);
    case 'declare':
      return { state: { ...state, next: event.resources }, effects: [] };
    case 'give-up': {
      const want = state.want === 'up' ? 'down' : state.want;
      const givenUp = state.givenUp ?? event.failure;
      return { state: { ...state, want, givenUp, settled: false }, effects: [] };
    }
    case 'tick':
      return { state, effects: [] };
    default:
      break;
  }
  const resource = state.resources.find((candidate) => candidate.key === event.key);
  if (resource === undefined) return { state, effects: [] };
  switch (event.type) {
    case 'probed':
      return onProbed(state, resource, event.probe, nowMs);
    case 'started':
      return onStarted(state, resource, event.outcome, nowMs);
    case 'repaired':
      return onRepaired(state, resource, event.outcome, nowMs);
    case 'stopped':
      return onStopped(state, resource, event.rung, event.outcome, nowMs);
    case 'changed':
      return onChanged(state, resource, event.what, nowMs);
    default:
      return event satisfies never;
  }
}

/** A lease begins: nothing of what was counted under an earlier one counts. */
function onUp(state: RunState, epoch: number, paused: boolean): RunOutcome {
  const resources = state.resources.map((resource) => ({
    ...resource,
    ...NOTHING_COUNTED,
    told: false,
    state: isLeftFailed(resource.state) ? ({ is: 'unknown' } as const) : resource.state,
  }));
  const begun = {
    want: 'up',
    epoch,
    leased: true,
    paused,
    held: undefined,
    givenUp: undefined,
    settled: false,
  } as const;
  return { state: { ...state, ...begun, resources }, effects: [] };
}

function onDown(state: RunState, want: 'down' | 'down-now'): RunOutcome {
  // what is down already is said again: who asks waits for the answer
  const sterner = want === 'down-now' || state.want !== 'down-now';
  return { state: { ...state, want: sterner ? want : state.want, settled: false }, effects: [] };
}

function onStarted(state: RunState, resource: RunResource, outcome: Outcome, nowMs: number): RunOutcome {
  if (resource.state.is !== 'starting') return { state, effects: [] };
  if (!outcome.ok) return failed(state, resource, { ...outcome, reason: during('start', outcome.reason) }, nowMs);
  const change = { ...wellNow(resource, nowMs), upSinceMs: nowMs, startMs: nowMs - resource.state.sinceMs };
  return { state: set(state, resource.key, change), effects: resource.told ? [recovered(resource.id)] : [] };
}

function onRepaired(state: RunState, resource: RunResource, outcome: Outcome, nowMs: number): RunOutcome {
  if (resource.state.is !== 'repairing') return { state, effects: [] };
  if (!outcome.ok) return failed(state, resource, { ...outcome, reason: during('repair', outcome.reason) }, nowMs);
  const repaired = news('resource.repaired', 'warning', resource.id, 'was taken away and put back in place');
  return {
    state: set(state, resource.key, wellNow(resource, nowMs)),
    effects: resource.told ? [repaired, recovered(resource.id)] : [repaired],
  };
}

function onStopped(
  state: RunState,
  resource: RunResource,
  rung: 'stop' | 'force',
  outcome: Outcome,
  nowMs: number,
): RunOutcome {
  const { state: is, key } = resource;
  if (is.is !== 'stopping' || is.rung !== rung) return { state, effects: [] };
  if (outcome.ok) {
    const pauseMs = state.want === 'up' && is.failed ? backoffMs(resource) : 0;
    const next: ResourceState = pauseMs === 0 ? { is: 'stopped' } : { is: 'waiting', untilMs: nowMs + pauseMs };
    return { state: set(state, key, { state: next }), effects: [] };
  }
  const failure = { ...outcome, reason: during(rung === 'stop' ? 'stop' : 'forced stop', outcome.reason) };
  const off = handsOff(state);
  if (off !== undefined) return leaveAlone(state, resource, off, failure, nowMs);
  return rung === 'stop'
    ? onStopFailed(state, resource, failure, outcome.reason, nowMs)
    : onForceFailed(state, resource, failure, outcome.reason, nowMs);
}

/** The next rung of the ladder is force; unless its policy wants it left as it is. */
function onStopFailed(
  before: RunState,
  resource: RunResource,
  failure: Failure,
  what: string,
  nowMs: number,
): RunOutcome {
  const { key, id, state: is } = resource;
  const judged = stopFailed(before, resource, failure, nowMs);
  if (handsOff(judged.state) !== undefined) return judged;
  const own = is.is === 'stopping' && is.failed;
  return {
    state: set(judged.state, key, { state: { is: 'stopping', rung: 'force', failed: own }, reason: failure.reason }),
    effects: [
      news('resource.stop-failed', 'error', id, `${what}; it is being stopped by force`),
      ...judged.effects,
      { kind: 'stop', key, rung: 'force', timeoutMs: stopTimeoutMs(before, resource, 'force') },
    ],
  };
}

/** What is not critical and failed by itself is in nobody's way: it is tried again with its own pause, and the lease goes on. */
function onForceFailed(
  state: RunState,
  resource: RunResource,
  failure: Failure,
  what: string,
  nowMs: number,
): RunOutcome {
  const { key, id, policy, state: is } = resource;
  const quiet = state.want === 'up' && !policy.critical && is.is === 'stopping' && is.failed;
  const untilMs = nowMs + (quiet ? Math.max(FORCE_AGAIN_MS, backoffMs(resource)) : FORCE_AGAIN_MS);
  return {
    state: set(state, key, { state: { is: 'stuck', untilMs, quiet }, reason: failure.reason }),
    effects: quiet ? [] : [{ kind: 'stuck', id, reason: what }],
  };
}

/**
 * Puts a new declaration in force. What it leaves alone goes on; from the first difference on, everything is stopped under the
 * old declaration first, and not while hands are off.
 */
function adoptDeclaration(state: RunState, nowMs: number): RunOutcome & { readonly done: boolean } {
  const { next } = state;
  if (next === undefined) return { state, effects: [], done: true };
  const kept = state.resources.findIndex((resource, index) => next[index]?.key !== resource.key);
  const first = kept < 0 ? state.resources.length : kept;
  const same = first === state.resources.length && first === next.length;
  if (!same && handsOff(state) !== undefined) return { state, effects: [], done: true };
  const pending = state.resources.slice(first).some(({ state: is }) => is.is !== 'stopped' && is.is !== 'waiting');
  if (pending) {
    if (state.want !== 'up') return { state, effects: [], done: true };
    return { ...stopFrom(state, first, nowMs), done: false };
  }
  const resources = next.map((declared, index) => {
    const old = state.resources[index];
    return index < first && old !== undefined ? { ...old, ...declared } : undiscovered(declared);
  });
  return { state: { ...state, resources, next: undefined, settled: false }, effects: [], done: true };
}
