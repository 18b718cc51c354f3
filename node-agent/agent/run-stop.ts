/** The way down: in order under a lease, all at once when it ends, by force where nothing else helps. Pure, as run.ts. */
import { allStopped, type RunEffect, type RunOutcome, type RunResource, type RunState, set } from './run-state.ts';

/** Time-out of a forced stop: the lease's own stop budget is what really bounds it. */
const FORCE_STOP_MS = 1_000;

/** Stops everything from this position on, last first, one at a time. */
export function stopFrom(state: RunState, position: number, nowMs: number): RunOutcome {
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
        if (!is.quiet && nowMs < is.untilMs) return { state, effects: [] };
        return stop(state, resource, 'force');
      case 'unknown':
        return {
          state: set(state, resource.key, { state: { is: 'probing' } }),
          effects: [{ kind: 'probe', key: resource.key, recurring: false, timeoutMs: resource.times.monitorMs }],
        };
      case 'running':
      case 'ailing':
      case 'broken':
        return stop(state, resource, 'stop');
      default:
        return is satisfies never;
    }
  }
  return { state, effects: [] };
}

/** @param failed because it has failed itself, and not to make way for another. */
export function stop(
  state: RunState,
  resource: RunResource,
  rung: 'stop' | 'force',
  failed = resource.state.is === 'broken',
): RunOutcome {
  return {
    state: set(state, resource.key, { state: { is: 'stopping', rung, failed } }),
    effects: [{ kind: 'stop', key: resource.key, rung, timeoutMs: stopTimeoutMs(state, resource, rung) }],
  };
}

/** Under a lease the lease bounds a forced stop; without one it may take what a stop and the look afterwards really take here. */
export function stopTimeoutMs(state: RunState, resource: RunResource, rung: 'stop' | 'force'): number {
  if (rung === 'stop') return resource.times.stopMs;
  return state.leased ? FORCE_STOP_MS : Math.max(FORCE_STOP_MS, resource.times.stopMs + resource.times.monitorMs);
}

/** A step down. When everything is, that is said once. */
export function descend(before: RunState, nowMs: number): RunOutcome {
  const calm = { ...before, resources: before.resources.map(restless) };
  const step = calm.want === 'down-now' ? stopAllNow(calm, nowMs) : descendInOrder(calm, nowMs);
  if (!allStopped(step.state) || step.state.settled) return step;
  // before it counts as down, a new declaration comes in force: what it adds is looked at first
  if (step.state.next !== undefined) return step;
  return {
    state: { ...step.state, settled: true, leased: false },
    effects: [...step.effects, { kind: 'down', failure: step.state.givenUp }],
  };
}

/** What waited for its restart is down; where that wait is long, a person may have started it meanwhile. */
function restless(resource: RunResource): RunResource {
  if (resource.state.is !== 'waiting') return resource;
  return { ...resource, state: resource.policy.critical ? { is: 'stopped' } : { is: 'broken' } };
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
    const runs = is.is === 'broken' || is.is === 'running' || is.is === 'ailing';
    const found = runs || (is.is === 'stuck' && (is.quiet || nowMs >= is.untilMs));
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
    if (is.is === 'stuck' && !is.quiet && nowMs < is.untilMs) continue;
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
