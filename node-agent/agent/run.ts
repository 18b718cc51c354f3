/**
 * The runner of one group on this node: what to do with each resource next. Pure: state and event in, new state and effects out.
 *
 * Resources start in the order of the document and stop in reverse. Each is in exactly one state; an action is in flight only in the
 * states that say so, one per resource. A failure restarts the resource in place (what comes after it is stopped first), until it has
 * failed too often; then the whole group is stopped and given up.
 */
import {
  FAILURE_COUNT,
  FAILURE_WINDOW_MS,
  RESTART_BACKOFF_FIRST_MS,
  RESTART_BACKOFF_LAST_MS,
} from '../../schemas/limits.ts';
import type { Outcome, Probe, Severity } from '../resources/index.ts';
import {
  allStopped,
  type GiveUp,
  type ResourceState,
  type RunEffect,
  type RunEvent,
  type RunNews,
  type RunOutcome,
  type RunResource,
  type RunState,
  show,
  shownState,
  undiscovered,
} from './run-state.ts';

export type * from './run-state.ts';
export { allStopped, groupReport, newRun } from './run-state.ts';

/** Time-out of a forced stop, and the pause before it is tried again: the lease's own stop budget is what really bounds it. */
const FORCE_STOP_MS = 1_000;

const FORCE_AGAIN_MS = 200;

const REPAIR_MS = 1_000;

export function run(before: RunState, event: RunEvent, nowMs: number): RunOutcome {
  const first = react(before, event, nowMs);
  const declared = adoptDeclaration(first.state, nowMs);
  const rest = declared.done
    ? declared.state.want === 'up'
      ? climb(declared.state, nowMs)
      : descend(declared.state, nowMs)
    : declared;
  const shown = show(rest.state);
  const state = shown === before.shown ? rest.state : { ...rest.state, shown, sinceMs: nowMs };
  return { state, effects: [...first.effects, ...rest.effects] };
}

/**
 * @param nowMs when `run` was last called: what was due by then and was not acted upon waits for an event, not for time.
 * @returns when `run` wants a tick, ms; undefined if only an event can change anything.
 */
export function runDue(state: RunState, nowMs: number): number | undefined {
  let due: number | undefined;
  for (const { state: is } of state.resources) {
    const at =
      is.is === 'running' && state.want === 'up'
        ? is.checkAtMs
        : is.is === 'waiting' || is.is === 'stuck'
          ? is.untilMs
          : undefined;
    if (at !== undefined && at > nowMs) due = due === undefined ? at : Math.min(due, at);
  }
  return due;
}

function react(state: RunState, event: RunEvent, nowMs: number): RunOutcome {
  switch (event.type) {
    case 'want':
      return onWant(state, event.want, event.epoch);
    case 'declare':
      return { state: { ...state, next: event.resources }, effects: [] };
    case 'give-up':
      return {
        state: {
          ...state,
          want: state.want === 'up' ? 'down' : state.want,
          givenUp: state.givenUp ?? event.failure,
          settled: false,
        },
        effects: [],
      };
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
      return onChanged(state, resource, event.what);
    default:
      return event satisfies never;
  }
}

function onWant(state: RunState, want: RunState['want'], epoch: number): RunOutcome {
  if (want === 'up') {
    const resources = state.resources.map((resource) => ({ ...resource, failuresMs: [] }));
    return {
      state: { ...state, want, epoch, leased: true, resources, givenUp: undefined, settled: false },
      effects: [],
    };
  }
  // what is down already is said again: who asks waits for the answer
  const sterner = want === 'down-now' || state.want !== 'down-now';
  return { state: { ...state, want: sterner ? want : state.want, settled: false }, effects: [] };
}

function set(state: RunState, key: string, change: Partial<RunResource>): RunState {
  return {
    ...state,
    resources: state.resources.map((resource) => (resource.key === key ? { ...resource, ...change } : resource)),
  };
}

const news = (kind: RunNews['kind'], severity: RunNews['severity'], resource: string, detail: string): RunEffect => ({
  kind: 'event',
  event: { kind, severity, resource, detail },
});

function onProbed(state: RunState, resource: RunResource, probe: Probe, nowMs: number): RunOutcome {
  const checkAtMs = nowMs + resource.times.monitorIntervalMs;
  switch (resource.state.is) {
    case 'probing':
      if (probe.state === 'stopped')
        return { state: set(state, resource.key, { state: { is: 'stopped' } }), effects: [] };
      if (probe.state === 'failed')
        return { state: set(state, resource.key, { state: { is: 'broken' }, reason: probe.reason }), effects: [] };
      if (state.want === 'up')
        return {
          // looked at again at once, as the owner: an address is announced from then on
          state: set(state, resource.key, { state: { is: 'running', checkAtMs: nowMs }, reason: probe.note }),
          effects: [news('resource.adopted', 'info', resource.id, 'already runs under this lease')],
        };
      // given up or given back before anyone had looked: it is stopped in order, as all that runs under the lease is
      if (state.leased)
        return { state: set(state, resource.key, { state: { is: 'running', checkAtMs } }), effects: [] };
      return {
        state: set(state, resource.key, { state: { is: 'broken' } }),
        effects: [
          news(
            'resource.stopped-without-lease',
            'warning',
            resource.id,
            'runs here without a lease: it is being stopped',
          ),
        ],
      };
    case 'checking':
      if (probe.state === 'running')
        return {
          state: set(state, resource.key, { state: { is: 'running', checkAtMs }, reason: probe.note }),
          effects: [],
        };
      if (probe.state === 'stopped')
        return failed(state, resource, 'soft', 'it does not run any more', undefined, nowMs);
      return failed(state, resource, probe.severity, probe.reason, probe.output, nowMs);
    default:
      return { state, effects: [] };
  }
}

function onStarted(state: RunState, resource: RunResource, outcome: Outcome, nowMs: number): RunOutcome {
  if (resource.state.is !== 'starting') return { state, effects: [] };
  if (!outcome.ok) return failed(state, resource, outcome.severity, `start: ${outcome.reason}`, outcome.output, nowMs);
  const checkAtMs = nowMs + resource.times.monitorIntervalMs;
  const startMs = nowMs - resource.state.sinceMs;
  const change: Partial<RunResource> = { state: { is: 'running', checkAtMs }, reason: undefined, startMs };
  return { state: set(state, resource.key, change), effects: [] };
}

function onRepaired(state: RunState, resource: RunResource, outcome: Outcome, nowMs: number): RunOutcome {
  if (resource.state.is !== 'repairing') return { state, effects: [] };
  if (!outcome.ok) return failed(state, resource, outcome.severity, `repair: ${outcome.reason}`, outcome.output, nowMs);
  return {
    state: set(state, resource.key, {
      state: { is: 'running', checkAtMs: nowMs + resource.times.monitorIntervalMs },
      reason: undefined,
    }),
    effects: [news('resource.repaired', 'warning', resource.id, 'was taken away and put back in place')],
  };
}

/** Something says that it may have stopped: mend it at once where that is possible, look at it otherwise. */
function onChanged(state: RunState, resource: RunResource, what: string): RunOutcome {
  if (state.want !== 'up' || resource.state.is !== 'running') return { state, effects: [] };
  if (resource.repairable)
    return {
      state: set(state, resource.key, { state: { is: 'repairing' }, reason: what }),
      effects: [{ kind: 'repair', key: resource.key, timeoutMs: REPAIR_MS }],
    };
  return {
    state: set(state, resource.key, { state: { is: 'checking' } }),
    effects: [{ kind: 'probe', key: resource.key, recurring: true, timeoutMs: resource.times.monitorMs }],
  };
}

function failed(
  state: RunState,
  resource: RunResource,
  severity: Severity,
  reason: string,
  output: string | undefined,
  nowMs: number,
): RunOutcome {
  const failuresMs = [...resource.failuresMs.filter((at) => nowMs - at < FAILURE_WINDOW_MS), nowMs];
  const next = set(state, resource.key, { state: { is: 'broken' }, failuresMs, reason });
  const effects: RunEffect[] = [news('resource.failed', 'error', resource.id, reason)];
  if (state.want !== 'up') return { state: next, effects };
  if (severity === 'soft' && failuresMs.length < FAILURE_COUNT) {
    effects.push(
      news(
        'resource.restarting',
        'warning',
        resource.id,
        `restart ${failuresMs.length} of ${FAILURE_COUNT - 1} in place`,
      ),
    );
    return { state: next, effects };
  }
  const why =
    severity === 'soft'
      ? `${reason} (failed ${failuresMs.length} times in ${FAILURE_WINDOW_MS / 60_000} minutes)`
      : reason;
  const givenUp: GiveUp = {
    resource: resource.id,
    severity,
    reason: why.slice(0, 1_900),
    ...(output === undefined ? {} : { output }),
  };
  return { state: { ...next, want: 'down', givenUp, settled: false }, effects };
}

function onStopped(
  state: RunState,
  resource: RunResource,
  rung: 'stop' | 'force',
  outcome: Outcome,
  nowMs: number,
): RunOutcome {
  if (resource.state.is !== 'stopping' || resource.state.rung !== rung) return { state, effects: [] };
  if (outcome.ok) {
    const again = state.want === 'up' && resource.failuresMs.length > 0;
    const backoff = Math.min(
      RESTART_BACKOFF_LAST_MS,
      RESTART_BACKOFF_FIRST_MS * 2 ** Math.max(0, resource.failuresMs.length - 1),
    );
    const next: ResourceState = again ? { is: 'waiting', untilMs: nowMs + backoff } : { is: 'stopped' };
    return { state: set(state, resource.key, { state: next }), effects: [] };
  }
  if (rung === 'stop')
    return {
      state: set(state, resource.key, { state: { is: 'stopping', rung: 'force' }, reason: `stop: ${outcome.reason}` }),
      effects: [
        news('resource.stop-failed', 'error', resource.id, `${outcome.reason}; it is being stopped by force`),
        { kind: 'stop', key: resource.key, rung: 'force', timeoutMs: stopTimeoutMs(state, resource, 'force') },
      ],
    };
  return {
    state: set(state, resource.key, {
      state: { is: 'stuck', untilMs: nowMs + FORCE_AGAIN_MS },
      reason: `forced stop: ${outcome.reason}`,
    }),
    effects: [{ kind: 'stuck', id: resource.id, reason: outcome.reason }],
  };
}

/**
 * Puts a new declaration in force. What it leaves alone goes on; from the first difference on, everything is stopped under the
 * old declaration first.
 */
function adoptDeclaration(state: RunState, nowMs: number): RunOutcome & { readonly done: boolean } {
  const { next } = state;
  if (next === undefined) return { state, effects: [], done: true };
  const kept = state.resources.findIndex((resource, index) => next[index]?.key !== resource.key);
  const first = kept < 0 ? state.resources.length : kept;
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

/** want = up: the first resource that does not run decides. */
function climb(before: RunState, nowMs: number): RunOutcome {
  let state = before;
  const effects: RunEffect[] = [];
  const broken = state.resources.findIndex(
    ({ state: is }) => is.is === 'broken' || is.is === 'stopping' || is.is === 'stuck',
  );
  if (broken >= 0) return stopFrom(state, broken, nowMs);
  for (const resource of state.resources) {
    const is = resource.state;
    if (is.is === 'running') {
      if (nowMs < is.checkAtMs) continue;
      state = set(state, resource.key, { state: { is: 'checking' } });
      effects.push({ kind: 'probe', key: resource.key, recurring: true, timeoutMs: resource.times.monitorMs });
      continue;
    }
    if (is.is === 'checking' || is.is === 'repairing') continue;
    if (is.is === 'unknown') {
      state = set(state, resource.key, { state: { is: 'probing' } });
      effects.push({ kind: 'probe', key: resource.key, recurring: false, timeoutMs: resource.times.monitorMs });
      // all are looked at together; only starting is in order
      continue;
    }
    if (is.is === 'probing') continue;
    const before = state.resources.slice(
      0,
      state.resources.findIndex(({ key }) => key === resource.key),
    );
    const ready = before.every(({ state: other }) => shownState(other) === 'running');
    if (!ready) break;
    if (is.is === 'stopped' || (is.is === 'waiting' && nowMs >= is.untilMs)) {
      state = set(state, resource.key, { state: { is: 'starting', sinceMs: nowMs } });
      effects.push({ kind: 'start', key: resource.key, timeoutMs: resource.times.startMs });
    }
    break;
  }
  return { state, effects };
}

/** Stops everything from this position on, last first, one at a time. */
function stopFrom(state: RunState, position: number, nowMs: number): RunOutcome {
  for (let index = state.resources.length - 1; index >= position; index--) {
    const resource = state.resources[index];
    if (resource === undefined) continue;
    const is = resource.state;
    switch (is.is) {
      case 'stopped':
      case 'waiting':
        continue;
      case 'probing':
      case 'starting':
      case 'checking':
      case 'repairing':
      case 'stopping':
        // one action at a time: its outcome brings us back here
        return { state, effects: [] };
      case 'stuck':
        if (nowMs < is.untilMs) return { state, effects: [] };
        return stop(state, resource, 'force');
      case 'unknown':
        return {
          state: set(state, resource.key, { state: { is: 'probing' } }),
          effects: [{ kind: 'probe', key: resource.key, recurring: false, timeoutMs: resource.times.monitorMs }],
        };
      case 'running':
      case 'broken':
        return stop(state, resource, 'stop');
      default:
        return is satisfies never;
    }
  }
  return { state, effects: [] };
}

/** Under a lease the lease bounds a forced stop; without one it may take what a stop and the look afterwards really take here. */
function stopTimeoutMs(state: RunState, resource: RunResource, rung: 'stop' | 'force'): number {
  if (rung === 'stop') return resource.times.stopMs;
  return state.leased ? FORCE_STOP_MS : Math.max(FORCE_STOP_MS, resource.times.stopMs + resource.times.monitorMs);
}

function stop(state: RunState, resource: RunResource, rung: 'stop' | 'force'): RunOutcome {
  return {
    state: set(state, resource.key, { state: { is: 'stopping', rung } }),
    effects: [{ kind: 'stop', key: resource.key, rung, timeoutMs: stopTimeoutMs(state, resource, rung) }],
  };
}

function descend(before: RunState, nowMs: number): RunOutcome {
  const waiting = before.resources.map((resource) =>
    resource.state.is === 'waiting' ? { ...resource, state: { is: 'stopped' } as const } : resource,
  );
  const calm = { ...before, resources: waiting };
  const step = calm.want === 'down-now' ? stopAllNow(calm, nowMs) : descendInOrder(calm, nowMs);
  if (!allStopped(step.state) || step.state.settled) return step;
  if (step.state.next !== undefined) {
    const declared = adoptDeclaration(step.state, nowMs);
    const again = descend(declared.state, nowMs);
    return { state: again.state, effects: [...step.effects, ...again.effects] };
  }
  return {
    state: { ...step.state, settled: true, leased: false },
    effects: [...step.effects, { kind: 'down', failure: step.state.givenUp }],
  };
}

/** A graceful stop does not wait for an action that only looks or starts: it is ended first. */
function descendInOrder(before: RunState, nowMs: number): RunOutcome {
  let state = before;
  const effects: RunEffect[] = [];
  for (const resource of before.resources) {
    const { is } = resource.state;
    if (is !== 'starting' && is !== 'checking' && is !== 'repairing') continue;
    effects.push({ kind: 'abort', key: resource.key });
    state = set(state, resource.key, { state: { is: 'broken' } });
  }
  // what is not known is looked at all at once; what runs is stopped one after the other
  for (const resource of state.resources) {
    if (resource.state.is !== 'unknown') continue;
    state = set(state, resource.key, { state: { is: 'probing' } });
    effects.push({ kind: 'probe', key: resource.key, recurring: false, timeoutMs: resource.times.monitorMs });
  }
  const step = state.leased ? stopFrom(state, 0, nowMs) : forceFound(state, nowMs);
  return { state: step.state, effects: [...effects, ...step.effects] };
}

/** Whatever was found running without a lease: by force, all at once. */
function forceFound(before: RunState, nowMs: number): RunOutcome {
  let state = before;
  const effects: RunEffect[] = [];
  for (const resource of before.resources) {
    const is = resource.state;
    const found = is.is === 'broken' || is.is === 'running' || (is.is === 'stuck' && nowMs >= is.untilMs);
    if (!found) continue;
    const step = stop(state, resource, 'force');
    state = step.state;
    effects.push(...step.effects);
  }
  return { state, effects };
}

/** The lease ends: no order, no patience. */
function stopAllNow(before: RunState, nowMs: number): RunOutcome {
  let state = before;
  const effects: RunEffect[] = [];
  for (const resource of before.resources) {
    const is = resource.state;
    if (is.is === 'stopped') continue;
    if (is.is === 'stopping' && is.rung === 'force') continue;
    if (is.is === 'stuck' && nowMs < is.untilMs) continue;
    if (
      is.is === 'starting' ||
      is.is === 'checking' ||
      is.is === 'repairing' ||
      is.is === 'probing' ||
      is.is === 'stopping'
    )
      effects.push({ kind: 'abort', key: resource.key });
    const step = stop(state, resource, 'force');
    state = step.state;
    effects.push(...step.effects);
  }
  return { state, effects };
}
