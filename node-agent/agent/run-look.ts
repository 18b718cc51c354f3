/** What a look at a resource means: the first one, each monitor, and news that it may have stopped. Pure, as run.ts. */
import { formatDuration } from '../../schemas/duration.ts';
import type { Probe } from '../resources/index.ts';
import { FREE_REPAIRS, failed, within } from './run-failure.ts';
import { leaveAlone } from './run-hands-off.ts';
import { news, recovered } from './run-news.ts';
import {
  handsOff,
  type LeftAlone,
  type RunOutcome,
  type RunResource,
  type RunState,
  set,
  wellNow,
} from './run-state.ts';

const REPAIR_MS = 1_000;

type Checking = Extract<RunResource['state'], { is: 'checking' }>;
type Unwell = Exclude<Probe, { state: 'running' }>;

export function onProbed(state: RunState, resource: RunResource, probe: Probe, nowMs: number): RunOutcome {
  switch (resource.state.is) {
    case 'probing':
      return onFound(state, resource, probe, nowMs);
    case 'checking':
      return probe.state === 'running'
        ? onWell(state, resource, resource.state, probe.note, nowMs)
        : onUnwell(state, resource, resource.state, probe, nowMs);
    default:
      return { state, effects: [] };
  }
}

/** What the first look finds. */
function onFound(state: RunState, resource: RunResource, probe: Probe, nowMs: number): RunOutcome {
  const { key, id } = resource;
  if (probe.state === 'stopped') return { state: set(state, key, { state: { is: 'stopped' } }), effects: [] };
  if (probe.state === 'failed') {
    const off = handsOff(state);
    if (off !== undefined) return leaveAlone(state, resource, off, probe, nowMs);
    return { state: set(state, key, { state: { is: 'broken' }, reason: probe.reason }), effects: [] };
  }
  if (state.want === 'up')
    return {
      // looked at again at once, as the owner: an address is announced from then on
      state: set(state, key, {
        state: { is: 'running', checkAtMs: nowMs },
        upSinceMs: nowMs,
        told: false,
        reason: probe.note,
      }),
      effects: [resource.told ? recovered(id) : news('resource.adopted', 'info', id, 'already runs under this lease')],
    };
  // given up or given back before anyone had looked: it is stopped in order, as all that runs under the lease is
  if (state.leased) return { state: set(state, key, { state: nextCheck(resource, nowMs) }), effects: [] };
  const detail = 'runs here without a lease: it is being stopped';
  return {
    state: set(state, key, { state: { is: 'broken' } }),
    effects: [news('resource.stopped-without-lease', 'warning', id, detail)],
  };
}

/** A monitor that succeeds; only `rise` of them in a row end what went before. */
function onWell(
  state: RunState,
  resource: RunResource,
  { was }: Checking,
  note: string | undefined,
  nowMs: number,
): RunOutcome {
  const goodLooks = resource.goodLooks + 1;
  if (was !== undefined && goodLooks < resource.policy.rise)
    return { state: set(state, resource.key, { state: nextCheck(resource, nowMs, was), goodLooks }), effects: [] };
  return {
    state: set(state, resource.key, { ...wellNow(resource, nowMs), reason: note }),
    effects: resource.told ? [recovered(resource.id)] : [],
  };
}

/** A monitor that fails: nothing yet below `fall`, unless nothing of it is left to look at. */
function onUnwell(
  before: RunState,
  resource: RunResource,
  { was, anew }: Checking,
  probe: Unwell,
  nowMs: number,
): RunOutcome {
  const { key, policy } = resource;
  if (anew === true) return { state: set(before, key, { state: { is: 'unknown' } }), effects: [] };
  const badLooks = resource.badLooks + 1;
  const state = set(before, key, { badLooks, goodLooks: 0 });
  const failure =
    probe.state === 'failed' ? probe : ({ severity: 'soft', reason: 'it does not run any more' } as const);
  const ended = probe.state === 'stopped' || probe.ended === true;
  if (!ended && badLooks < policy.fall && (was === undefined || was === 'below-fall')) {
    const reason = `monitor failed, ${badLooks} of ${policy.fall} that count as a failure: ${failure.reason}`;
    return { state: set(state, key, { state: nextCheck(resource, nowMs, 'below-fall'), reason }), effects: [] };
  }
  if (was === 'ignored' && policy.onFail === 'ignore')
    return {
      state: set(state, key, { state: nextCheck(resource, nowMs, was), reason: failure.reason }),
      effects: [],
    };
  if (probe.state === 'stopped' && resource.repairable && handsOff(state) === undefined)
    return repair(state, resource, failure.reason, nowMs);
  return failed(state, resource, failure, nowMs);
}

/** Something says that it may have stopped: mend it at once where that is possible, look at it otherwise. */
export function onChanged(state: RunState, resource: RunResource, what: string, nowMs: number): RunOutcome {
  const { state: is, key } = resource;
  const up = is.is === 'running' || (is.is === 'ailing' && is.why === 'below-fall');
  if (state.want !== 'up' || !up) return { state, effects: [] };
  if (resource.repairable && handsOff(state) === undefined) return repair(state, resource, what, nowMs);
  return {
    state: set(state, key, { state: is.is === 'ailing' ? { is: 'checking', was: is.why } : { is: 'checking' } }),
    effects: [{ kind: 'probe', key, recurring: true, timeoutMs: resource.times.monitorMs }],
  };
}

/** Puts it back in place. Not for ever: what is taken away again and again is fought over, and that is a failure. */
function repair(state: RunState, resource: RunResource, what: string, nowMs: number): RunOutcome {
  const { failureWindowMs } = resource.policy;
  const repairsMs = [...within(resource.repairsMs, failureWindowMs, nowMs), nowMs];
  if (repairsMs.length > FREE_REPAIRS) {
    const often = `${repairsMs.length} times within ${formatDuration(failureWindowMs)}`;
    const reason = `${what}, ${often}: something else on this node takes it away`;
    return failed(state, resource, { severity: 'soft', reason }, nowMs);
  }
  return {
    state: set(state, resource.key, { state: { is: 'repairing' }, reason: what, repairsMs }),
    effects: [{ kind: 'repair', key: resource.key, timeoutMs: REPAIR_MS }],
  };
}

function nextCheck(resource: RunResource, nowMs: number, ailing?: LeftAlone): RunResource['state'] {
  const checkAtMs = nowMs + resource.times.monitorIntervalMs;
  return ailing === undefined ? { is: 'running', checkAtMs } : { is: 'ailing', why: ailing, checkAtMs };
}
