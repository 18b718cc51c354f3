/** The way up: what is looked at, started or stopped next while the group is wanted. Pure, as run.ts. */
import { isUp } from './run-failure.ts';
import { withHandsOff } from './run-hands-off.ts';
import {
  handsOff,
  type ResourceState,
  type RunEffect,
  type RunOutcome,
  type RunResource,
  type RunState,
  set,
} from './run-state.ts';
import { stop, stopFrom } from './run-stop.ts';

/** Something critical that has to go down takes everything after it along; else each resource is brought a step further. */
export function climb(before: RunState, nowMs: number): RunOutcome {
  const off = handsOff(before);
  if (off !== undefined) return look(withHandsOff(before, off, nowMs), nowMs);
  const broken = before.resources.findIndex(({ policy, state: is }) => policy.critical && goesDown(is));
  if (broken >= 0) return stopFrom(before, broken, nowMs);
  let state = before;
  const effects: RunEffect[] = [];
  let ready = true;
  for (const resource of before.resources) {
    const step = raise(state, resource, ready, nowMs);
    state = step.state;
    effects.push(...step.effects);
    // nothing waits for what is not critical
    ready &&= !resource.policy.critical || isUp(resource.state);
  }
  return { state, effects };
}

function goesDown({ is }: ResourceState): boolean {
  return is === 'broken' || is === 'stopping' || is === 'stuck';
}

/** @param ready everything critical before it is up. */
function raise(state: RunState, resource: RunResource, ready: boolean, nowMs: number): RunOutcome {
  const { state: is, key, times } = resource;
  switch (is.is) {
    case 'running':
    case 'ailing':
    case 'unknown':
      return lookAt(state, resource, nowMs);
    case 'stopped':
    case 'waiting':
      if (!ready || (is.is === 'waiting' && nowMs < is.untilMs)) return { state, effects: [] };
      return {
        state: set(state, key, { state: { is: 'starting', sinceMs: nowMs } }),
        effects: [{ kind: 'start', key, timeoutMs: times.startMs }],
      };
    // only what is not critical comes here
    case 'broken':
      return stop(state, resource, 'stop');
    case 'stuck':
      return nowMs < is.untilMs ? { state, effects: [] } : stop(state, resource, 'force', true);
    case 'probing':
    case 'starting':
    case 'checking':
    case 'repairing':
    case 'stopping':
      return { state, effects: [] };
    default:
      return is satisfies never;
  }
}

/** Hands off: nothing but looks. */
function look(before: RunState, nowMs: number): RunOutcome {
  let state = before;
  const effects: RunEffect[] = [];
  for (const resource of before.resources) {
    const step = lookAt(state, resource, nowMs);
    state = step.state;
    effects.push(...step.effects);
  }
  return { state, effects };
}

/** All that is due is looked at together; only starting is in order. */
function lookAt(state: RunState, resource: RunResource, nowMs: number): RunOutcome {
  const { state: is, key, times } = resource;
  const nothing = { state, effects: [] };
  const probe = (next: ResourceState, recurring: boolean): RunOutcome => ({
    state: set(state, key, { state: next }),
    effects: [{ kind: 'probe', key, recurring, timeoutMs: times.monitorMs }],
  });
  switch (is.is) {
    case 'unknown':
      return probe({ is: 'probing' }, false);
    case 'running':
      return nowMs < is.checkAtMs ? nothing : probe({ is: 'checking' }, true);
    case 'ailing':
      if (nowMs < is.checkAtMs) return nothing;
      if (is.why === 'unstarted') return probe({ is: 'probing', unstarted: true }, false);
      return probe({ is: 'checking', was: is.why }, true);
    default:
      return nothing;
  }
}
