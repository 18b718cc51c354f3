/** What follows a failure: the policy of the resource that failed. Pure, as run.ts. */
import { formatDuration } from '../../schemas/duration.ts';
import {
  RESTART_BACKOFF_FIRST_MS,
  RESTART_BACKOFF_LAST_MS,
  UNCRITICAL_BACKOFF_FIRST_MS,
  UNCRITICAL_BACKOFF_LAST_MS,
} from '../../schemas/limits.ts';
import { leaveAlone, withHandsOff } from './run-hands-off.ts';
import { type Failure, inFull, MAX_REASON, news, tell } from './run-news.ts';
import {
  type GiveUp,
  handsOff,
  type LeftAlone,
  type ResourceState,
  type RunOutcome,
  type RunResource,
  type RunState,
  set,
} from './run-state.ts';

/** So many repairs within the window cost nothing; the next time it is taken away is a failure, for something else wants it gone. */
export const FREE_REPAIRS = 10;

/** A failure of this resource, by its policy. */
export function failed(state: RunState, resource: RunResource, failure: Failure, nowMs: number): RunOutcome {
  if (state.want !== 'up')
    return {
      state: set(state, resource.key, { state: { is: 'broken' }, reason: failure.reason }),
      effects: [news('resource.failed', 'error', resource.id, inFull(failure))],
    };
  const off = handsOff(state);
  if (off !== undefined) return leaveAlone(state, resource, off, failure, nowMs);
  const { onFail, critical } = resource.policy;
  if (onFail === 'ignore') return leaveAlone(state, resource, 'ignored', failure, nowMs);
  if (!critical) return tryForEver(state, resource, failure, nowMs);
  if (onFail === 'hold') return hold(state, resource, failure, nowMs);
  const counted = count(state, resource, failure, nowMs);
  return {
    ...counted,
    state: set(counted.state, resource.key, { state: { is: 'broken' }, reason: failure.reason, repairsMs: [] }),
  };
}

/** A failure of what is critical that is counted: a restart in place, or the end of the group here. */
function count(state: RunState, resource: RunResource, failure: Failure, nowMs: number): RunOutcome {
  const { onFail, failureCount, failureWindowMs } = resource.policy;
  const failuresMs = [...within(resource.failuresMs, failureWindowMs, nowMs), nowMs];
  const next = set(state, resource.key, { failuresMs });
  const effects = tell(resource, failure);
  const { length: failures } = failuresMs;
  if (onFail === 'restart' && failure.severity === 'soft' && failures < failureCount) {
    const restart = `restart ${failures} of ${failureCount - 1} in place`;
    return { state: next, effects: [...effects, news('resource.restarting', 'warning', resource.id, restart)] };
  }
  const often = onFail === 'restart' && failure.severity === 'soft' && failures > 1;
  const givenUp: GiveUp = {
    resource: resource.id,
    severity: failure.severity,
    reason: (often
      ? `${failure.reason} (failed ${failures} times within ${formatDuration(failureWindowMs)})`
      : failure.reason
    ).slice(0, MAX_REASON),
    ...(failure.output === undefined ? {} : { output: failure.output }),
    ...(onFail === 'stop' ? { verdict: onFail } : {}),
  };
  return { state: { ...next, want: 'down', givenUp, settled: false }, effects };
}

/** The group is up without it: stopped and started again alone, with a growing pause. */
function tryForEver(state: RunState, resource: RunResource, failure: Failure, nowMs: number): RunOutcome {
  const { upSinceMs, policy } = resource;
  const ranWell = upSinceMs !== undefined && nowMs - upSinceMs >= policy.failureWindowMs;
  const known = resource.told && resource.reason === failure.reason;
  const restart = 'the group goes on without it; it is tried again with a growing pause';
  return {
    state: set(state, resource.key, {
      state: { is: 'broken' },
      reason: failure.reason,
      tries: ranWell ? 1 : resource.tries + 1,
      upSinceMs: undefined,
      repairsMs: [],
      told: true,
    }),
    // the same failure again and again is told once
    effects: known
      ? []
      : [
          news('resource.failed', 'warning', resource.id, inFull(failure)),
          news('resource.restarting', 'warning', resource.id, restart),
        ],
  };
}

function hold(before: RunState, resource: RunResource, failure: Failure, nowMs: number): RunOutcome {
  const { id: name } = resource;
  const held = { resource: name, reason: failure.reason.slice(0, MAX_REASON), sinceMs: nowMs };
  const { state } = leaveAlone({ ...before, held }, resource, 'held', failure, nowMs);
  const detail = `nothing of ${before.group} is touched any more; when it is mended: holdfast group cleanup ${before.group}`;
  return {
    state: withHandsOff(state, 'held', nowMs),
    effects: [...tell(resource, failure), news('resource.held', 'error', name, detail)],
  };
}

/**
 * A stop under the lease failed, and force comes next. Where the resource was being stopped because it had failed, that failure was
 * counted; where it only had to make way for another, its own policy speaks now.
 */
export function stopFailed(state: RunState, resource: RunResource, failure: Failure, nowMs: number): RunOutcome {
  const { onFail, critical } = resource.policy;
  const own = resource.state.is === 'stopping' && resource.state.failed;
  if (state.want !== 'up' || own || !critical || onFail === 'ignore') return { state, effects: [] };
  return onFail === 'hold' ? hold(state, resource, failure, nowMs) : count(state, resource, failure, nowMs);
}

export function within(timesMs: readonly number[], windowMs: number, nowMs: number): readonly number[] {
  return timesMs.filter((at) => nowMs - at < windowMs);
}

/** Pause before what has failed and was stopped starts again; 0: none. */
export function backoffMs({ policy, failuresMs, tries }: RunResource): number {
  return policy.critical
    ? doubled(RESTART_BACKOFF_FIRST_MS, RESTART_BACKOFF_LAST_MS, failuresMs.length)
    : doubled(UNCRITICAL_BACKOFF_FIRST_MS, UNCRITICAL_BACKOFF_LAST_MS, tries);
}

function doubled(firstMs: number, lastMs: number, count: number): number {
  return count === 0 ? 0 : Math.min(lastMs, firstMs * 2 ** (count - 1));
}

/** It counts as up for what comes after it in the order: nothing waits for what is ignored. */
export function isUp(state: ResourceState): boolean {
  const bearable = (why: LeftAlone | undefined) => why === undefined || why === 'below-fall' || why === 'ignored';
  switch (state.is) {
    case 'running':
    case 'repairing':
      return true;
    case 'checking':
      return bearable(state.was);
    case 'ailing':
      return bearable(state.why);
    default:
      return false;
  }
}
