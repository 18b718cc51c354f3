/** What the runner of a group knows of it, what can happen to it, what it asks for, and what it reports. */
import type { GroupReport, Release, ResourceReport } from '../../schemas/wire.ts';
import type { OperationTimes, Outcome, Probe } from '../resources/index.ts';

export type ResourceState =
  /** Not looked at since the agent started, or since it was declared. */
  | { readonly is: 'unknown' }
  | { readonly is: 'probing' }
  | { readonly is: 'stopped' }
  /** Failed and stopped; starts again at `untilMs`. */
  | { readonly is: 'waiting'; readonly untilMs: number }
  | { readonly is: 'starting'; readonly sinceMs: number }
  | { readonly is: 'running'; readonly checkAtMs: number }
  | { readonly is: 'checking' }
  | { readonly is: 'repairing' }
  /** Found broken or failed to start: has to be stopped before anything else. */
  | { readonly is: 'broken' }
  | { readonly is: 'stopping'; readonly rung: 'stop' | 'force' }
  /** The stop ladder ended without success; tried again until the fuse acts. */
  | { readonly is: 'stuck'; readonly untilMs: number };

/** A resource as declared. `key` tells declarations apart: the same key is the same resource, only its times may differ. */
export interface Declared {
  readonly key: string;
  readonly id: string;
  readonly times: OperationTimes;
  /** Can be put back in place when it was taken away. */
  readonly repairable: boolean;
}

export interface RunResource extends Declared {
  readonly state: ResourceState;
  /** When it failed, within the window. */
  readonly failuresMs: readonly number[];
  readonly reason: string | undefined;
  /** How long its last start took. */
  readonly startMs: number | undefined;
}

export type GiveUp = NonNullable<Release['failure']>;

export interface RunState {
  readonly group: string;
  /** up: under the lease of this epoch. down: no lease, or it is being given back. */
  readonly want: 'up' | 'down' | 'down-now';
  readonly epoch: number;
  /** From the start of a lease to its end here: without one, what is found running is stopped by force, for another node may run it. */
  readonly leased: boolean;
  readonly resources: readonly RunResource[];
  /** A new declaration that takes effect when what it changes has been stopped. */
  readonly next: readonly Declared[] | undefined;
  /** Set when the group is given up; reported with the release. */
  readonly givenUp: GiveUp | undefined;
  /** `stopped` was said since the last change of `want`. */
  readonly settled: boolean;
  readonly shown: GroupReport['state'];
  readonly sinceMs: number;
}

export type RunEvent =
  | { readonly type: 'want'; readonly want: RunState['want']; readonly epoch: number }
  | { readonly type: 'declare'; readonly resources: readonly Declared[] }
  | { readonly type: 'give-up'; readonly failure: GiveUp }
  | { readonly type: 'probed'; readonly key: string; readonly probe: Probe }
  | { readonly type: 'started'; readonly key: string; readonly outcome: Outcome }
  | { readonly type: 'repaired'; readonly key: string; readonly outcome: Outcome }
  | { readonly type: 'stopped'; readonly key: string; readonly rung: 'stop' | 'force'; readonly outcome: Outcome }
  /** The resource may have stopped by itself. */
  | { readonly type: 'changed'; readonly key: string; readonly what: string }
  | { readonly type: 'tick' };

export type RunEffect =
  | { readonly kind: 'probe'; readonly key: string; readonly recurring: boolean; readonly timeoutMs: number }
  | { readonly kind: 'start'; readonly key: string; readonly timeoutMs: number }
  | { readonly kind: 'repair'; readonly key: string; readonly timeoutMs: number }
  | { readonly kind: 'stop'; readonly key: string; readonly rung: 'stop' | 'force'; readonly timeoutMs: number }
  /** End the action in flight; its outcome still arrives, and is then ignored. */
  | { readonly kind: 'abort'; readonly key: string }
  | { readonly kind: 'event'; readonly event: RunNews }
  /** Everything is verified to be down. */
  | { readonly kind: 'down'; readonly failure: GiveUp | undefined }
  | { readonly kind: 'stuck'; readonly id: string; readonly reason: string };

export interface RunNews {
  readonly kind:
    | 'resource.failed'
    | 'resource.restarting'
    | 'resource.repaired'
    | 'resource.adopted'
    | 'resource.stopped-without-lease'
    | 'resource.stop-failed';
  readonly severity: 'info' | 'warning' | 'error';
  readonly resource: string;
  readonly detail: string;
}

export interface RunOutcome {
  readonly state: RunState;
  readonly effects: readonly RunEffect[];
}

/** Characters. */
const MAX_REPORTED_REASON = 500;

export function newRun(group: string, resources: readonly Declared[], nowMs: number): RunState {
  return {
    group,
    want: 'down',
    epoch: 0,
    leased: false,
    resources: resources.map(undiscovered),
    next: undefined,
    givenUp: undefined,
    settled: false,
    shown: 'stopping',
    sinceMs: nowMs,
  };
}

export const undiscovered = (declared: Declared): RunResource => ({
  ...declared,
  state: { is: 'unknown' },
  failuresMs: [],
  reason: undefined,
  startMs: undefined,
});

export function allStopped(state: RunState): boolean {
  return state.resources.every(({ state: is }) => is.is === 'stopped');
}

export function groupReport(state: RunState, nowMs: number): GroupReport {
  const failed = state.resources.find((resource) => resource.reason !== undefined);
  const reason = state.givenUp?.reason ?? (failed === undefined ? undefined : `${failed.id}: ${failed.reason}`);
  return {
    group: state.group,
    epoch: state.epoch,
    state: state.shown,
    forMs: nowMs - state.sinceMs,
    ...(reason === undefined || state.shown === 'running' ? {} : { reason: cut(reason) }),
    resources: state.resources.map(resourceReport),
  };
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
    case 'probing':
      return 'unknown';
    case 'stopped':
      return 'stopped';
    case 'waiting':
    case 'starting':
      return 'starting';
    case 'running':
    case 'checking':
    case 'repairing':
      return 'running';
    case 'stopping':
      return 'stopping';
    case 'broken':
    case 'stuck':
      return 'failed';
    default:
      return state satisfies never;
  }
}

export function show(state: RunState): GroupReport['state'] {
  if (state.want === 'up')
    return state.resources.every((resource) => shownState(resource.state) === 'running') ? 'running' : 'starting';
  if (!allStopped(state)) return 'stopping';
  return state.givenUp === undefined ? 'stopped' : 'failed';
}
