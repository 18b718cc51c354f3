/** What the lease keeper knows, what can happen to it, and what it asks the loop to do. Times: ms of this host's CLOCK_BOOTTIME. */
import type { LeaseTiming } from '../../schemas/limits.ts';
import type { NodeConfig, Release, Renewals, Reply } from '../../schemas/wire.ts';

export interface Held {
  readonly epoch: number;
  readonly voters: readonly string[];
  readonly deadlineMs: number;
  /** S of the timing that the deadline was counted by; left out: the present one. */
  readonly stopMs?: number;
  /**
   * active: run it. draining: stop it gracefully, the lease is still being renewed. lost: stop it by force, never renew again.
   * stuck: lost, and it would not stop; the fuse will.
   */
  readonly phase: 'active' | 'draining' | 'lost' | 'stuck';
}

export interface Request {
  readonly sentMs: number;
  readonly leaseMs: number;
  readonly stopMs: number;
  readonly groups: readonly string[];
  readonly releases: readonly Release[];
  readonly toldEpochs: boolean;
}

export interface Observed {
  readonly renewal: string | null;
  /** Since when this node knows of this renewal; late by one step of the clock rather than early. */
  readonly sinceMs: number;
  readonly claim: 'now' | 'after' | 'never';
  readonly waitMs: number;
}

export interface KeepState {
  readonly node: string;
  readonly incarnation: string;
  readonly timing: LeaseTiming;
  readonly revision: number;
  /** Durable: cluster history and highest epoch seen of each group. */
  readonly history: string | null;
  readonly epochs: Readonly<Record<string, number>>;
  /** P3: no activation before this. */
  readonly quarantineEndMs: number;
  readonly held: Readonly<Record<string, Held>>;
  /** Groups of the configuration that are verified to be stopped here and that the node is able and allowed to run. */
  readonly claimable: ReadonlySet<string>;
  readonly releases: Readonly<Record<string, Release>>;
  readonly observed: Readonly<Record<string, Observed>>;
  readonly requests: Readonly<Record<string, Request>>;
  readonly nextReportMs: number;
  /** Reports since the last answer. */
  readonly unanswered: number;
  /** When the first of them left; of no meaning while there is none. */
  readonly unansweredSinceMs: number;
  readonly lastAnswerMs: number;
  /** The coordinator's instance that has acknowledged our epochs. */
  readonly toldInstance: string | null;
  readonly instance: string | null;
}

export type KeepEvent =
  | { readonly type: 'tick' }
  | { readonly type: 'nudge' }
  /** Something the coordinator should hear of at once. */
  | { readonly type: 'news' }
  | { readonly type: 'reply'; readonly reply: Reply }
  /** Newer renewals of other owners, told unasked. */
  | { readonly type: 'renewals'; readonly renewals: Renewals['renewals'] }
  | { readonly type: 'claimable'; readonly groups: ReadonlySet<string> }
  /** Everything of the group is down, and the guard has forgotten its lease. `failure`: the runner gave it up. */
  | { readonly type: 'stopped'; readonly group: string; readonly failure?: Release['failure'] }
  /** The stop ladder ended without success. */
  | { readonly type: 'stuck'; readonly group: string }
  /** The fuse of this group could not be armed or petted: without it nothing may run (O4). */
  | { readonly type: 'unprotected'; readonly group: string; readonly why?: string }
  /** The coordinator refused this node in the transport's own terms: it is no member any more. */
  | { readonly type: 'refused'; readonly problem: NonNullable<Reply['problem']> };

export type KeepEffect =
  /** Durable before anything that follows (P2). */
  | { readonly kind: 'persist'; readonly history: string | null; readonly epochs: Readonly<Record<string, number>> }
  | { readonly kind: 'configure'; readonly config: NodeConfig }
  /** O4: before the first start. */
  | {
      readonly kind: 'arm';
      readonly group: string;
      readonly epoch: number;
      readonly deadlineMs: number;
      readonly fireMs: number;
      readonly voters: readonly string[];
    }
  | {
      readonly kind: 'pet';
      readonly group: string;
      readonly epoch: number;
      readonly deadlineMs: number;
      readonly fireMs: number;
    }
  | { readonly kind: 'run'; readonly group: string; readonly epoch: number }
  | { readonly kind: 'stop'; readonly group: string; readonly how: 'graceful' | 'forced'; readonly why: string }
  | { readonly kind: 'lost'; readonly group: string; readonly epoch: number; readonly why: string }
  | { readonly kind: 'refused'; readonly code: string; readonly detail: string }
  | { readonly kind: 'reconnected'; readonly awayMs: number };

export interface KeepOutcome {
  readonly state: KeepState;
  readonly effects: readonly KeepEffect[];
}
