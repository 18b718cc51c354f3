/** What a runner says of its group and of each resource. */
import type { GroupReport, ResourceReport } from '../../schemas/wire.ts';
import {
  allStopped,
  handsOff,
  type LeftAlone,
  type ResourceState,
  type RunResource,
  type RunState,
} from './run-state.ts';

/** Characters. */
const MAX_REPORTED_REASON = 500;

export function groupReport(state: RunState, nowMs: number): GroupReport {
  const reason = reasonOf(state);
  return {
    group: state.group,
    epoch: state.epoch,
    state: state.shown,
    forMs: nowMs - state.sinceMs,
    ...(reason === undefined || state.shown === 'running' ? {} : { reason: cut(reason) }),
    resources: state.resources.map(resourceReport),
  };
}

function reasonOf({ givenUp, held, resources }: RunState): string | undefined {
  if (givenUp !== undefined) return givenUp.reason;
  if (held !== undefined) return `${held.resource}: ${held.reason}`;
  const failed = resources.find(({ reason }) => reason !== undefined);
  return failed === undefined ? undefined : `${failed.id}: ${failed.reason}`;
}

/** A reason may be what some program printed; a report with a longer one would be refused whole, and the leases in it with it. */
function cut(reason: string): string {
  return reason.length <= MAX_REPORTED_REASON ? reason : `${reason.slice(0, MAX_REPORTED_REASON - 1)}…`;
}

function resourceReport(resource: RunResource): ResourceReport {
  return {
    id: resource.id,
    state: shownState(resource.state),
    ...(resource.reason === undefined ? {} : { reason: cut(resource.reason) }),
    ...(resource.startMs === undefined ? {} : { startMs: resource.startMs }),
  };
}

export function shownState(state: ResourceState): ResourceReport['state'] {
  switch (state.is) {
    case 'unknown':
      return 'unknown';
    case 'probing':
      return state.unstarted === true ? 'stopped' : 'unknown';
    case 'stopped':
      return 'stopped';
    case 'waiting':
    case 'starting':
      return 'starting';
    case 'running':
    case 'repairing':
      return 'running';
    case 'checking':
      return shownAiling(state.was ?? 'below-fall');
    case 'ailing':
      return shownAiling(state.why);
    case 'stopping':
      return 'stopping';
    case 'broken':
    case 'stuck':
      return 'failed';
    default:
      return state satisfies never;
  }
}

function shownAiling(why: LeftAlone): ResourceReport['state'] {
  if (why === 'below-fall') return 'running';
  return why === 'unstarted' ? 'stopped' : 'failed';
}

export function show(state: RunState): GroupReport['state'] {
  if (state.want === 'up') return showUp(state);
  if (!allStopped(state)) return 'stopping';
  return state.givenUp === undefined ? 'stopped' : 'failed';
}

function showUp(state: RunState): GroupReport['state'] {
  if (state.held !== undefined) return 'held';
  const shown = state.resources.map((resource) => shownState(resource.state));
  if (shown.every((is) => is === 'running')) return 'running';
  if (handsOff(state) !== undefined)
    return shown.some((is) => is === 'unknown' || is === 'starting' || is === 'stopping') ? 'starting' : 'degraded';
  const bearable = state.resources.every(
    (resource, index) =>
      shown[index] === 'running' || isLeftFailed(resource.state) || (!resource.policy.critical && resource.told),
  );
  return bearable ? 'degraded' : 'starting';
}

/** Its failure is known, and nothing is done about it; or not yet, because a pause has just ended. */
export function isLeftFailed(state: ResourceState): boolean {
  const why = state.is === 'ailing' ? state.why : state.is === 'checking' ? state.was : undefined;
  return why === 'ignored' || why === 'paused' || why === 'held';
}
