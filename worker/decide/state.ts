/**
 * What the coordinator knows. Decisions take this and an event and return the next one; nothing is changed in place, so the shell
 * finds what to store by comparing references.
 *
 * Times are milliseconds of the coordinator's wall clock. It may step either way, so nothing is decided by it alone (C2).
 */
import type { GroupState, Operation, ProblemCode } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import type { Copy } from '../../schemas/copies.ts';
import type { EventKind, EventSeverity } from '../../schemas/events.ts';
import type { Fuse } from '../../schemas/fuse.ts';
import type { PeerEndpoint } from '../../schemas/peer.ts';
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
  Voters,
} from '../../schemas/wire.ts';

export interface Failure {
  readonly resource: string;
  readonly severity: (typeof severities)[number];
  readonly reason: string;
  readonly at: number;
  /** How often this node has given the group up, without having run it well in between. */
  readonly count: number;
  /** From then on the node may try again. */
  readonly until: number;
}

/** Nothing is started or stopped until then. */
export interface Pause {
  readonly since: number;
  readonly until: number;
  readonly reason: string;
}

/** A resource failed whose policy asks for a person. `hold`: its owner keeps it as it is; `stop`: it was stopped and starts nowhere. */
export interface Halt {
  readonly kind: 'hold' | 'stop';
  readonly node: string;
  readonly resource: string;
  readonly reason: string;
  readonly at: number;
}

export interface Lease {
  readonly owner: string;
  readonly incarnation: string;
  readonly epoch: number;
  /** V in force: the owner may live on the promises of all of these (O2), so only these may take over (C3). */
  readonly voters: Voters;
  /** A change of V that the owner has not taken up yet, of the next version; while it is under way both sets restrict. */
  readonly pendingVoters: readonly string[] | null;
  /** Who could be granted the lease when this epoch was: restricts until the owner has confirmed (C6). Null: everybody. */
  readonly eligibleBase: readonly string[] | null;
  /**
   * Voters whose machine was joined anew under their name, which knows nothing of what the one before has promised: not eligible until the
   * owner lives by voters of a later version than this.
   */
  readonly barred: Readonly<Record<string, number>>;
  /** It followed the release of this epoch, so promises for it and below are void (P2). */
  readonly followsRelease: number | null;
  readonly grantedAt: number;
  /** L as the owner counts it; T_C of this lease follows from it, whatever the configuration says meanwhile. */
  readonly leaseMs: number;
  /**
   * C6: when the first renewal arrived that says that the epoch is on its owner's disk. An agent renews only what it has activated, which
   * it does with no promise of its own and outside its quarantine: so a confirmed epoch is one whose owner was clean.
   */
  readonly confirmedAt: number | null;
  /** The owner gave it back (O5). The row stays: its epoch is the highest. */
  readonly released: boolean;
  /** C4: the last renewal was lost with the previous instance, or the clock stepped back; count T_C from here. */
  readonly suspectSince: number | null;
  /** An operator's word that the owner is powered off. */
  readonly provenDeadAt: number | null;
  /** It was given back only after everything had been stopped by force: its owner had lost it. */
  readonly forced?: boolean;
  /** It was given back because the group would not run there. */
  readonly failed?: boolean;
  /** T_C has passed and it was reported as expired; a renewal takes that back. */
  readonly expired?: boolean;
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
  readonly target: {
    readonly node: string;
    readonly operation: string;
    readonly aboveEpoch: number;
    /** An operator accepts that its copy of the data may lack writes. */
    readonly acceptsLoss?: true;
  } | null;
  /** The node whose copy of the data was Primary last; left out: none was yet. */
  readonly writer?: string;
  /** Nodes that gave the group up, until their wait is over and forgotten, or an operator cleans up. */
  readonly failures: Readonly<Record<string, Failure>>;
  readonly pause: Pause | null;
  readonly halt: Halt | null;
  /** How often an operator has cleaned up. */
  readonly cleanups: number;
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
  /** What it runs is left as it is, and it is given nothing more. */
  readonly maintenance: Pause | null;
  readonly removed: boolean;
  /** Told to be dead by an operator; this incarnation may never act again. */
  readonly declaredDead: { readonly incarnation: string; readonly at: number } | null;
  readonly refusals: readonly Refusal[];
  /** Of replicated data, as it last told; left out: it has told none. */
  readonly copies?: readonly Copy[];
  readonly agentVersion: string | null;
  /** What ends its groups when their leases do; left out: it has not told. */
  readonly fuse?: Fuse;
  /** Where its peers find it; null: it has not told. */
  readonly endpoint: PeerEndpoint | null;
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
  /**
   * How often the object has started and the voters of a lease have changed; agents remember it, so that an older copy of this data betrays
   * itself (C7).
   */
  readonly generation: number;
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
  /** Its host is being shut down. */
  readonly leaving: boolean;
  /** Of the newest report, on the node's own clock: one that bears an older time was overtaken. */
  readonly sentMs: number;
  /** P3: when its quarantine ends. */
  readonly readyAt: number;
  readonly revision: number;
  /** Has reported its highest epochs to this instance (C7). */
  readonly epochsKnown: boolean;
  /** What it would claim, had it not promised the owner of that epoch to keep out. */
  readonly promised: readonly { readonly group: string; readonly epoch: number }[];
  /** Another incarnation that spoke up as this node while this one was alive. */
  readonly rival: { readonly incarnation: string; readonly at: number; readonly told: boolean } | null;
}

export interface Renewal {
  readonly id: string;
  readonly at: number;
  /** Every other voter has promised its owner: an outage of the coordinator costs nothing. */
  readonly backed: boolean;
  /** When other voters were taken up last, as far as this instance knows. */
  readonly votersAt: number;
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
  /** By node: refusals that were told, and when each last stood. */
  readonly toldRefusals: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Groups whose lease is known to be past T_C and was reported as expired. */
  readonly expired: Readonly<Record<string, number>>;
  /** By group: a better node than its owner, and since when it has been able to run it (`failback`). */
  readonly better: Readonly<Record<string, { readonly node: string; readonly since: number }>>;
  /** By group that nobody has: the node that may take it, and since when, where another one could. */
  readonly awaited: Readonly<Record<string, { readonly node: string; readonly since: number }>>;
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
  /** A tick was due so long ago: the process stood still, or its clock leapt forward. */
  | { readonly type: 'late'; readonly byMs: number }
  | { readonly type: 'apply'; readonly config: Config }
  | { readonly type: 'enrol'; readonly node: string; readonly publicKey: string }
  | { readonly type: 'rekey'; readonly node: string; readonly publicKey: string }
  | {
      readonly type: 'move';
      readonly group: string;
      readonly to: string | null;
      readonly operation: string;
      readonly acceptsLoss?: true;
    }
  | { readonly type: 'group-stop'; readonly group: string; readonly operation: string }
  | { readonly type: 'group-start'; readonly group: string; readonly operation: string }
  | { readonly type: 'cleanup'; readonly group: string }
  /** Of one group, or of every one. */
  | { readonly type: 'pause'; readonly group: string | null; readonly forMs: number; readonly reason: string }
  | { readonly type: 'resume'; readonly group: string | null }
  | { readonly type: 'node-standby'; readonly node: string; readonly operation: string }
  | { readonly type: 'node-maintenance'; readonly node: string; readonly forMs: number; readonly reason: string }
  /** Ends standby and maintenance. */
  | { readonly type: 'node-ready'; readonly node: string }
  | { readonly type: 'node-remove'; readonly node: string; readonly force: boolean }
  | { readonly type: 'confirm-dead'; readonly node: string }
  | { readonly type: 'confirm-history' }
  /** Of an operation that runs. */
  | { readonly type: 'cancel'; readonly operation: string };
