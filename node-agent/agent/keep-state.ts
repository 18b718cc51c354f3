/** What the lease keeper knows, what can happen to it, and what it asks the loop to do. Times: ms of this host's CLOCK_BOOTTIME. */
import type { LastWord } from '../../schemas/fuse.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import type { PeerAnswer, PeerAsk } from '../../schemas/peer.ts';
import type { NodeConfig, Release, Renewals, Reply, Voters } from '../../schemas/wire.ts';

export interface Held {
  readonly epoch: number;
  /** V, as the guard knows it: by the promises of these the lease may be lengthened (O2). */
  readonly voters: Voters;
  /** Newer ones, on their way into the guard; until they are there no request names them (C3). */
  readonly nextVoters?: Voters;
  /** The epoch is on disk and the lease in the guard: from then on a renewal may confirm it (C6). */
  readonly kept: boolean;
  /** Until when each other voter has promised to keep out, counted as O1 says. */
  readonly promised: Readonly<Record<string, number>>;
  /** The later of what the coordinator and what the promises of all other voters give. */
  readonly deadlineMs: number;
  /** What the coordinator alone gives. */
  readonly coordinatorMs: number;
  /** It lives on promises, and that was told; until the coordinator answers in good time again. */
  readonly alone?: boolean;
  /** S of the timing that the deadline was counted by; left out: the present one. */
  readonly stopMs?: number;
  /**
   * active: run it. draining: stop it gracefully, the lease is still being renewed. lost: stop it by force, never renew again.
   * stuck: lost, and it would not stop; the fuse will.
   */
  readonly phase: 'active' | 'draining' | 'lost' | 'stuck';
  /** Its runner only looks: by order, or because this agent has taken the lease up and heard no order yet. */
  readonly paused?: boolean;
  /** The count of cleanups as last told; left out: this epoch was not told yet. */
  readonly cleanups?: number;
  /** Number of the request whose answer gave the last order. */
  readonly orderedBy?: number;
}

export interface Request {
  /** Counts up with every request of this process. */
  readonly number: number;
  readonly sentMs: number;
  readonly leaseMs: number;
  readonly stopMs: number;
  readonly groups: readonly string[];
  readonly claims: readonly string[];
  readonly releases: readonly Release[];
  readonly toldEpochs: boolean;
}

/** What this node has promised: to keep out of this epoch of the owner, and of every lower one, until then (P1). */
export interface Promised {
  readonly owner: string;
  readonly epoch: number;
  readonly untilMs: number;
}

/** A question to a peer that was not answered yet. */
export interface Asked {
  readonly to: string;
  readonly sentMs: number;
  readonly leaseMs: number;
  readonly stopMs: number;
  readonly leases: PeerAsk['leases'];
}

export interface Observed {
  /** The newest lease was given back, of this epoch. */
  readonly released: number | null;
  readonly renewal: string | null;
  /** Since when this node knows of this renewal; late by one step of the clock rather than early. */
  readonly sinceMs: number;
  readonly claim: 'now' | 'after' | 'never';
  readonly waitMs: number;
}

export interface KeepState {
  readonly node: string;
  readonly incarnation: string;
  /** That of the cluster, with the fuse that this node has. */
  readonly timing: LeaseTiming;
  /** What its guard has besides itself; left out: nothing. */
  readonly lastWord?: LastWord | undefined;
  readonly revision: number;
  /** Durable: cluster history and highest epoch seen of each group. */
  readonly history: string | null;
  readonly epochs: Readonly<Record<string, number>>;
  /** The groups of the configuration that concern this node. */
  readonly groups: Readonly<Record<string, { readonly on: readonly string[]; readonly requiresUplink: boolean }>>;
  /** By group. */
  readonly promises: Readonly<Record<string, Promised>>;
  /** `ms` durable: the longest promise that may still run, so that the quarantine of a next incarnation outlasts it (P3). */
  readonly longestPromise: { readonly ms: number; readonly untilMs: number };
  readonly asks: Readonly<Record<string, Asked>>;
  /** When the voters were last asked. */
  readonly askedMs: number;
  /** Durable: the newest start of the coordinator that was heard (C7). */
  readonly coordinator: { readonly generation: number; readonly instance: string } | null;
  /** P3: no activation before this. */
  readonly quarantineEndMs: number;
  readonly held: Readonly<Record<string, Held>>;
  /** Groups of the configuration that are verified to be stopped here and that the node is able and allowed to run. */
  readonly claimable: ReadonlySet<string>;
  readonly releases: Readonly<Record<string, Release>>;
  readonly observed: Readonly<Record<string, Observed>>;
  /** By id, in the order of sending. */
  readonly requests: ReadonlyMap<string, Request>;
  /** The number of the last request. */
  readonly sent: number;
  /** The highest number of a request that was answered; those up to `sent` are under way. */
  readonly answered: number;
  /** There is something to report as soon as one of them is answered. */
  readonly soon: boolean;
  readonly nextReportMs: number;
  /** Reports since the last answer. */
  readonly unanswered: number;
  /** When the first of them left; of no meaning while there is none. */
  readonly unansweredSinceMs: number;
  readonly lastAnswerMs: number;
  /** The coordinator's instance that has acknowledged our epochs. */
  readonly toldInstance: string | null;
  readonly instance: string | null;
  /** The host is being shut down. `progressMs`: when something of that was last ordered, or has ended. */
  readonly leaving?: { readonly progressMs: number };
}

export type KeepEvent =
  | { readonly type: 'tick' }
  | { readonly type: 'nudge' }
  /** Reports go another way from now on: what was sent before may be lost. */
  | { readonly type: 'other-way' }
  /** This report will not be answered. */
  | { readonly type: 'lost-report'; readonly id: string }
  /** P1: an authentic and new question of a peer. */
  | { readonly type: 'ask'; readonly ask: Pick<PeerAsk, 'id' | 'from' | 'leaseMs' | 'leases'> }
  /** O2: an authentic answer. */
  | { readonly type: 'promised'; readonly answer: Pick<PeerAnswer, 'id' | 'from' | 'promised'> }
  /** The epoch is on disk, and the guard has the lease with these voters. */
  | { readonly type: 'kept'; readonly group: string; readonly epoch: number; readonly version: number }
  /** Something the coordinator should hear of at once. */
  | { readonly type: 'news' }
  | { readonly type: 'reply'; readonly reply: Reply }
  /** Newer renewals of other owners, told unasked. */
  | { readonly type: 'renewals'; readonly renewals: Renewals['renewals'] }
  | { readonly type: 'claimable'; readonly groups: ReadonlySet<string> }
  /** The runner has everything down, and the lease is being closed: from here on nothing of it is started by this lease. */
  | { readonly type: 'closing'; readonly group: string }
  /** Everything of the group is down, and the guard has forgotten its lease. `failure`: the runner gave it up. */
  | { readonly type: 'stopped'; readonly group: string; readonly failure?: Release['failure'] }
  /** The stop ladder ended without success. */
  | { readonly type: 'stuck'; readonly group: string }
  /** The fuse of this group could not be armed or petted: without it nothing may run (O4). */
  | { readonly type: 'unprotected'; readonly group: string; readonly why?: string }
  /** The host is being shut down: everything is to be given back. */
  | { readonly type: 'leave' }
  /** The coordinator refused this node in the transport's own terms: it is no member any more. */
  | { readonly type: 'refused'; readonly problem: NonNullable<Reply['problem']> };

export type KeepEffect =
  /** Durable before anything that follows (P2). */
  | {
      readonly kind: 'persist';
      readonly history: string | null;
      readonly epochs: Readonly<Record<string, number>>;
      readonly promiseMs: number;
      readonly coordinator: KeepState['coordinator'];
    }
  | { readonly kind: 'configure'; readonly config: NodeConfig }
  /** O4: before the first start; and again, with other voters, while it runs. The event `kept` says that it is done. */
  | {
      readonly kind: 'arm';
      readonly group: string;
      readonly epoch: number;
      readonly deadlineMs: number;
      readonly fireMs: number;
      readonly voters: Voters;
    }
  /** P1: into the guard, before the answer. */
  | ({ readonly kind: 'promise'; readonly group: string } & Promised)
  /** P1: leaves when every epoch is on disk and every promise before it in the guard. */
  | ({ readonly kind: 'answer'; readonly to: string } & Pick<PeerAnswer, 'id' | 'promised' | 'refused'>)
  /** The coordinator's time is over; the promises of these go on. */
  | { readonly kind: 'alone'; readonly group: string; readonly epoch: number; readonly by: readonly string[] }
  | {
      readonly kind: 'pet';
      readonly group: string;
      readonly epoch: number;
      readonly deadlineMs: number;
      readonly fireMs: number;
    }
  | { readonly kind: 'run'; readonly group: string; readonly epoch: number }
  | { readonly kind: 'stop'; readonly group: string; readonly how: 'graceful' | 'forced'; readonly why: string }
  /** Look only, or act again. */
  | { readonly kind: 'pause'; readonly group: string; readonly paused: boolean }
  /** A person has forgiven the failures that were counted here. `askedMs`: when the request left whose answer says so. */
  | { readonly kind: 'cleanup'; readonly group: string; readonly askedMs: number }
  | { readonly kind: 'lost'; readonly group: string; readonly epoch: number; readonly why: string }
  | { readonly kind: 'refused'; readonly code: string; readonly detail: string }
  | { readonly kind: 'reconnected'; readonly awayMs: number };

export interface KeepOutcome {
  readonly state: KeepState;
  readonly effects: readonly KeepEffect[];
}

type Known =
  | ('node' | 'incarnation' | 'timing' | 'revision' | 'groups' | 'history' | 'epochs' | 'quarantineEndMs' | 'held')
  | ('promises' | 'longestPromise' | 'coordinator' | 'lastWord');

/** What the keeper must know of each group of a configuration. */
export function groupsOf(config: NodeConfig | undefined): KeepState['groups'] {
  return Object.fromEntries(
    (config?.groups ?? []).map(({ name, on, requiresUplink }) => [name, { on, requiresUplink }]),
  );
}

/** The keeper of an agent that has not spoken with the coordinator yet, from what it brings with it; it reports at once. */
export function newKeep(known: Pick<KeepState, Known>, nowMs: number): KeepState {
  return {
    ...known,
    claimable: new Set(),
    releases: {},
    observed: {},
    requests: new Map(),
    asks: {},
    askedMs: 0,
    sent: 0,
    answered: 0,
    soon: false,
    nextReportMs: 0,
    unanswered: 0,
    unansweredSinceMs: nowMs,
    lastAnswerMs: nowMs,
    toldInstance: null,
    instance: null,
  };
}
