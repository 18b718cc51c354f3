/**
 * What the coordinator knows. Decisions take this and an event and return the next one; nothing is changed in place, so the shell
 * finds what to store by comparing references.
 *
 * Times are milliseconds of the coordinator's wall clock. It may step either way, so nothing is decided by it alone (C2).
 */
import type { GroupState, Operation, ProblemCode } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import type { EventKind, EventSeverity } from '../../schemas/events.ts';
import type { Candidate, Cause, Reason } from '../../schemas/reasons.ts';
import type {
  Grant,
  GroupReport,
  LeaseAnswer,
  Refusal,
  Reply,
  Report,
  ResourceReport,
  severities,
} from '../../schemas/wire.ts';

export interface Failure {
  readonly resource: string;
  readonly severity: (typeof severities)[number];
  readonly reason: string;
  readonly at: number;
}

export interface Lease {
  readonly owner: string;
  readonly incarnation: string;
  readonly epoch: number;
  /** V. Promises between nodes do not exist yet; it is the group's `on` list, and restricts nothing (C3, C6 come with promises). */
  readonly voters: readonly string[];
  readonly grantedAt: number;
  /** L as the owner counts it; T_C of this lease follows from it, whatever the configuration says meanwhile. */
  readonly leaseMs: number;
  /** C6: when the owner's first renewal in this epoch arrived. */
  readonly confirmedAt: number | null;
  /** The owner gave it back (O5). The row stays: its epoch is the highest. */
  readonly released: boolean;
  /** C4: the last renewal was lost with the previous instance, or the clock stepped back; count T_C from here. */
  readonly suspectSince: number | null;
  /** An operator's word that the owner is powered off. */
  readonly provenDeadAt: number | null;
  /** It was given back only after everything had been stopped by force: its owner had lost it. */
  readonly forced?: boolean;
  /** How the lease before this one ended, so that an operation can tell whether it was orderly. */
  readonly before?: { readonly owner: string; readonly how: 'released' | 'forced' | 'lease-expired' | 'declared-dead' };
}

/** A group on its owner, as the owner reported it in this epoch. */
export interface GroupRun {
  readonly epoch: number;
  readonly state: GroupReport['state'];
  readonly reason: string | undefined;
  readonly resources: readonly ResourceReport[];
}

export interface GroupRecord {
  readonly name: string;
  readonly desired: 'started' | 'stopped';
  readonly lease: Lease | null;
  /** A planned move in progress. */
  readonly target: { readonly node: string; readonly operation: string; readonly aboveEpoch: number } | null;
  /** Nodes that gave the group up, until an operator cleans up. */
  readonly failures: Readonly<Record<string, Failure>>;
  /** What the owner last reported of it, written when it changes. */
  readonly run: GroupRun | null;
  /** The state that `status` shows, and since when. */
  readonly shown: GroupState;
  readonly since: number;
}

export interface NodeRecord {
  readonly name: string;
  /** Ed25519, raw, base64url. */
  readonly publicKey: string;
  readonly joinedAt: number;
  readonly mode: 'ready' | 'standby';
  readonly removed: boolean;
  /** Told to be dead by an operator; this incarnation may never act again. */
  readonly declaredDead: { readonly incarnation: string; readonly at: number } | null;
  readonly refusals: readonly Refusal[];
  readonly agentVersion: string | null;
  /** Reported lost; cleared when it reports again. */
  readonly lost: boolean;
}

export interface Restored {
  readonly since: number;
  /** Nodes whose epochs are known. */
  readonly reported: readonly string[];
  /** The longest lease that any node counted since: what an owner unknown to this data may still rely on. */
  readonly longestLeaseMs: number;
  /** An operator gave his word for the nodes that have not reported. */
  readonly confirmed: boolean;
}

export interface Durable {
  readonly cluster: string;
  readonly history: string;
  readonly revision: number;
  readonly config: Config | null;
  readonly nodes: Readonly<Record<string, NodeRecord>>;
  readonly groups: Readonly<Record<string, GroupRecord>>;
  /** Running operations only; finished ones are kept by the shell. */
  readonly operations: Readonly<Record<string, Operation>>;
  /** C7: this data was restored from an older copy; nothing is granted until every node reported. */
  readonly restored: Restored | null;
  /** C7: highest epoch that any node reported, where it is above the lease's. */
  readonly highestEpochs: Readonly<Record<string, number>>;
}

export interface NodeLive {
  readonly incarnation: string;
  readonly lastSeenAt: number;
  /** It reports no more: its agent retired, or an operator gave his word that it is off. It is kept for when it was last seen. */
  readonly ended: 'retired' | 'declared-dead' | null;
  /** Of the newest report, on the node's own clock: one that bears an older time was overtaken. */
  readonly sentMs: number;
  /** P3: when its quarantine ends. */
  readonly readyAt: number;
  readonly revision: number;
  /** Has reported its highest epochs to this instance (C7). */
  readonly epochsKnown: boolean;
  /** Another incarnation that spoke up as this node while this one was alive. */
  readonly rival: { readonly incarnation: string; readonly at: number; readonly told: boolean } | null;
}

export interface Renewal {
  readonly id: string;
  readonly at: number;
}

/** Lost when the object starts anew. */
export interface Volatile {
  readonly instance: string;
  readonly startedAt: number;
  /** Renewals counted by this instance: their names never repeat. */
  readonly renewalCount: number;
  /**
   * C7: until then this instance cannot know whether its data is the newest, so a lease that looks free may still be held by an
   * owner that has yet to report. 0: the cluster was made in this instance.
   */
  readonly doubtUntil: number;
  readonly lastEventAt: number;
  readonly nodes: Readonly<Record<string, NodeLive>>;
  /** Newest renewal by group. */
  readonly renewals: Readonly<Record<string, Renewal>>;
  /** What was last recorded as refused for `group/node`, so that a claim repeated every second is recorded once. */
  readonly lastRefusals: Readonly<Record<string, string>>;
  /** Groups whose lease is known to be past T_C and was reported as expired. */
  readonly expired: Readonly<Record<string, number>>;
}

export interface ClusterState {
  readonly durable: Durable;
  readonly volatile: Volatile;
}

export interface NewEvent {
  readonly kind: EventKind;
  readonly severity: EventSeverity;
  readonly node?: string | undefined;
  readonly group?: string | undefined;
  readonly resource?: string | undefined;
  readonly epoch?: number | undefined;
  readonly detail: string;
  /** When it happened, coordinator's clock. */
  readonly at: number;
  /** Of an agent's event: (node, id) is stored once. */
  readonly id?: string | undefined;
}

export interface NewDecision {
  readonly group: string;
  readonly kind: 'grant' | 'refusal';
  readonly node: string;
  readonly epoch: number;
  readonly cause?: Cause | undefined;
  readonly from?: string | undefined;
  readonly reasons: readonly Reason[];
  readonly candidates: readonly Candidate[];
  readonly lastRenewalAt: number | null;
  readonly at: number;
}

/** What the shell does once the new state is stored, in order. */
export type Effect =
  | { readonly kind: 'event'; readonly event: NewEvent }
  | { readonly kind: 'decision'; readonly decision: NewDecision }
  /** The group of the newest grant was reported running. */
  | { readonly kind: 'answering'; readonly group: string; readonly epoch: number; readonly at: number }
  /** An operation ended; keep it. */
  | { readonly kind: 'operation'; readonly operation: Operation }
  /** Make this node report at once. */
  | { readonly kind: 'nudge'; readonly node: string };

export interface Outcome {
  readonly state: ClusterState;
  readonly effects: readonly Effect[];
  /** Of an operator's action: why it was not done. The state is unchanged then. */
  readonly refused?: { readonly code: ProblemCode; readonly detail: string };
  /** Of a report: what the reply says about its leases and claims. Rendered by buildReply after the commit. */
  readonly verdicts?: Verdicts;
}

/** The verdicts on one report. */
export interface Verdicts {
  readonly problem: Reply['problem'];
  readonly leases: readonly LeaseAnswer[];
  readonly grants: readonly Grant[];
  readonly refused: readonly { readonly group: string; readonly reason: string }[];
}

/** Everything that can happen to a cluster. */
export type CoordinatorEvent =
  | { readonly type: 'report'; readonly report: Report }
  /** Time has passed (in-memory timer or stored alarm). */
  | { readonly type: 'tick' }
  | { readonly type: 'apply'; readonly config: Config }
  | { readonly type: 'enrol'; readonly node: string; readonly publicKey: string }
  | { readonly type: 'move'; readonly group: string; readonly to: string | null; readonly operation: string }
  | { readonly type: 'group-stop'; readonly group: string; readonly operation: string }
  | { readonly type: 'group-start'; readonly group: string; readonly operation: string }
  | { readonly type: 'cleanup'; readonly group: string }
  | { readonly type: 'node-standby'; readonly node: string; readonly operation: string }
  | { readonly type: 'node-ready'; readonly node: string }
  | { readonly type: 'node-remove'; readonly node: string; readonly force: boolean }
  | { readonly type: 'confirm-dead'; readonly node: string }
  | { readonly type: 'confirm-history' };
