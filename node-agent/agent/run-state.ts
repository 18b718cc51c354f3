/** What the runner of a group knows of it, what can happen to it, and what it asks for. */
import type { FailurePolicy } from '../../schemas/config.ts';
import type { GroupReport, Release } from '../../schemas/wire.ts';
import type { OperationTimes, Outcome, Probe } from '../resources/index.ts';

/** Why something that is not well is left alone, and only looked at. */
export type LeftAlone =
  /** Fewer monitors in a row have failed than its policy asks for. */
  | 'below-fall'
  /** Its policy ignores failures. */
  | 'ignored'
  /** The group is on hold until a person has cleaned up. */
  | 'held'
  /** The group is paused. */
  | 'paused'
  /** It was not up when hands were taken off the group; a person may start it meanwhile. */
  | 'unstarted';

export type ResourceState =
  /** Not looked at since the agent started, since it was declared, or since its failures were forgiven. */
  | { readonly is: 'unknown' }
  | { readonly is: 'probing'; readonly unstarted?: boolean }
  | { readonly is: 'stopped' }
  /** Failed and stopped; starts again at `untilMs`. */
  | { readonly is: 'waiting'; readonly untilMs: number }
  | { readonly is: 'starting'; readonly sinceMs: number }
  | { readonly is: 'running'; readonly checkAtMs: number }
  /** `was`: it was ailing before this look. `anew`: its failures are forgiven meanwhile, so it is looked at as if for the first time. */
  | { readonly is: 'checking'; readonly was?: LeftAlone; readonly anew?: boolean }
  | { readonly is: 'repairing' }
  /** Not well, and left alone: looked at again at `checkAtMs`. */
  | { readonly is: 'ailing'; readonly why: LeftAlone; readonly checkAtMs: number }
  /** Found broken or failed to start: has to be stopped before anything else. */
  | { readonly is: 'broken' }
  /** `failed`: because it has failed, and not because of another resource or a new declaration. */
  | { readonly is: 'stopping'; readonly rung: 'stop' | 'force'; readonly failed: boolean }
  /** The stop ladder ended without success; tried again until the fuse acts. `quiet`: nothing waits for it, so the lease is not given up over it. */
  | { readonly is: 'stuck'; readonly untilMs: number; readonly quiet: boolean };

/** A resource as declared. `key` tells declarations apart: the same key is the same resource, only its times and its policy may differ. */
export interface Declared {
  readonly key: string;
  readonly id: string;
  readonly times: OperationTimes;
  readonly policy: FailurePolicy;
  /** Can be put back in place when it was taken away. */
  readonly repairable: boolean;
}

export interface RunResource extends Declared {
  readonly state: ResourceState;
  /** When it failed, within the window. */
  readonly failuresMs: readonly number[];
  /** When it was put back in place, within the window. */
  readonly repairsMs: readonly number[];
  /** Monitors that failed since the last time it was well, and those in a row since then that succeeded. */
  readonly badLooks: number;
  readonly goodLooks: number;
  /** Of what is not critical: failures since it last ran for as long as the window. */
  readonly tries: number;
  readonly upSinceMs: number | undefined;
  /** Its failure was told and lasts: its recovery will be told, too. */
  readonly told: boolean;
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
  /** Start, stop and mend nothing, only look. Of meaning only while up. */
  readonly paused: boolean;
  /** A resource failed whose policy says `hold`: as a pause, until a person has cleaned up. */
  readonly held: { readonly resource: string; readonly reason: string; readonly sinceMs: number } | undefined;
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
  /** `paused`: up, but only to look at what runs. */
  | { readonly type: 'want'; readonly want: RunState['want']; readonly epoch: number; readonly paused?: boolean }
  | { readonly type: 'pause'; readonly paused: boolean }
  /** A person has forgiven the failures. `askedMs`: when the request left whose answer says so; what failed since then is not meant. */
  | { readonly type: 'cleanup'; readonly askedMs: number }
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
    | 'resource.ignored'
    | 'resource.held'
    | 'resource.recovered'
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

export function newRun(group: string, resources: readonly Declared[], nowMs: number): RunState {
  return {
    group,
    want: 'down',
    epoch: 0,
    leased: false,
    paused: false,
    held: undefined,
    resources: resources.map(undiscovered),
    next: undefined,
    givenUp: undefined,
    settled: false,
    shown: 'stopping',
    sinceMs: nowMs,
  };
}

/** What becomes of a resource that is well now: it is looked at after its interval, and no failed look before counts any more. */
export function wellNow(
  { times }: RunResource,
  nowMs: number,
): Pick<RunResource, 'state' | 'badLooks' | 'goodLooks' | 'told' | 'reason'> {
  const checkAtMs = nowMs + times.monitorIntervalMs;
  return { state: { is: 'running', checkAtMs }, badLooks: 0, goodLooks: 0, told: false, reason: undefined };
}

/** What is counted of a resource, at its beginning and when a person has forgiven it. */
export const NOTHING_COUNTED = { failuresMs: [], repairsMs: [], badLooks: 0, goodLooks: 0, tries: 0 } as const;

export const undiscovered = (declared: Declared): RunResource => ({
  ...declared,
  ...NOTHING_COUNTED,
  state: { is: 'unknown' },
  upSinceMs: undefined,
  told: false,
  reason: undefined,
  startMs: undefined,
});

export function allStopped(state: RunState): boolean {
  return state.resources.every(({ state: is }) => is.is === 'stopped');
}

/** Why nothing of the group may be touched now; undefined: it may. */
export function handsOff(state: RunState): 'held' | 'paused' | undefined {
  if (state.want !== 'up') return undefined;
  if (state.held !== undefined) return 'held';
  return state.paused ? 'paused' : undefined;
}

export function set(state: RunState, key: string, change: Partial<RunResource>): RunState {
  return {
    ...state,
    resources: state.resources.map((resource) => (resource.key === key ? { ...resource, ...change } : resource)),
  };
}
