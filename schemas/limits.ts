/**
 * Every limit and every time of Holdfast, in one place, with the relations between them checked.
 *
 * The safety of a lease is arithmetic: the owner must be down before anyone else may be told to start. The letters
 * (L, S, W, δ, M, g, ρ) and the inequalities I1–I6 are those of the lease protocol; docs/safety.md explains them to operators.
 * All times are milliseconds unless the name says otherwise.
 */

/** Wire protocol between agent and coordinator. Same major, minor at most one apart: served. Anything else: refused. */
export const PROTOCOL_MAJOR = 1;
export const PROTOCOL_MINOR = 0;

/** ρ: the largest rate error of any clock that the protocol tolerates (1 ms per second). */
export const CLOCK_RATE_ERROR = 1e-3;

/** W of the guard: how late it may be scheduled, real-time priority and locked memory assumed. Measured below 5 ms; the rest is margin. */
export const GUARD_LATENESS_MS = 150;

/** A stored alarm of the coordinator is never set more often than this (one alarm set is one row written). */
export const BACKSTOP_ALARM_MS = 30_000;
/** How long the first renewal of a tick waits for those of the other live nodes, so that one row serves them all. */
export const RENEWAL_GATHER_MS = 40;
/** How long a report repeated within a tick waits for others that are repeated: short, since its sender is in a hurry. */
export const RETRY_GATHER_MS = 2;
/** A long poll is answered after this time at the latest (the platform ends an incoming request after 30 s). */
export const LONG_POLL_MS = 25_000;

/** Leases named by one message between agents: so that it fits into one unfragmented datagram. */
export const MAX_PROMISES_PER_MESSAGE = 10;
/** One message between agents, bytes: below the smallest MTU in use. */
export const MAX_PEER_MESSAGE_BYTES = 1_400;
/** UDP port on which agents listen for each other, unless `join --lan-address` names another. */
export const PEER_PORT = 7480;
/** A voter that was not heard of for so long is dropped from the voters (C3). */
export const VOTER_LOST_MS = 60_000;

/** Longest span of time and highest epoch that a message may name: beyond them arithmetic and dates would fail, and nobody means it. */
export const MAX_SPAN_MS = 10 * 365 * 86_400_000;
/** Longest wait that a timer of Node takes; a longer one is over at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
export const MAX_EPOCH = 2 ** 40;
/** The highest epoch that a node may tell: there is always another above it. */
export const MAX_TOLD_EPOCH = 2 ** 39;
/** By how much an epoch that a peer names may be above all that a voter has seen of the group. */
export const MAX_EPOCH_STEP = 2 ** 20;

export const MAX_NODES = 16;
export const MAX_GROUPS = 200;
export const MAX_RESOURCES_PER_GROUP = 32;
export const MAX_NAME_LENGTH = 63;
export const MAX_PARAMETERS = 64;
export const MAX_VALUE_LENGTH = 1024;
/** Longest time-out or interval of a resource: more than a day is a mistake, not a wish. */
export const MAX_OPERATION_MS = 24 * 3_600_000;
export const MIN_INTERVAL_MS = 100;
/** Configuration document and every other request body of the API, bytes. */
export const MAX_BODY_BYTES = 256 * 1024;
/** Requests of one token, unless the coordinator is told otherwise; those of agents are not counted. */
export const REQUESTS_PER_MINUTE = 3_000;
/** Tokens whose requests are counted at once. */
export const MAX_COUNTED_TOKENS = 1_000;
/** One message of an agent, bytes. */
export const MAX_AGENT_MESSAGE_BYTES = 128 * 1024;
/** Output kept of one resource operation, bytes (the end of it is kept: the reason stands last). */
export const MAX_OUTPUT_BYTES = 4096;
/** A reason, or the detail of an event, characters: longer ones are cut where they are made. */
export const MAX_DETAIL_LENGTH = 2_000;
/** Events that an agent queues while it cannot report; the oldest are dropped first and the drop is itself reported. */
export const MAX_QUEUED_EVENTS = 500;
export const MAX_EVENTS_PER_REPORT = 50;
/** Rows kept per cluster; the oldest go first. */
export const MAX_STORED_EVENTS = 10_000;
export const MAX_STORED_DECISIONS = 1_000;
export const MAX_STORED_REVISIONS = 100;
export const MAX_STORED_OPERATIONS = 500;
export const MAX_EVENTS_PER_PAGE = 500;

export const JOIN_TOKEN_DEFAULT_TTL_MS = 30 * 60_000;
export const JOIN_TOKEN_MAX_TTL_MS = 24 * 3_600_000;

/** Failure policy, where the document says nothing: a resource that fails this often within the window is given up on this node. */
export const FAILURE_COUNT = 3;
export const FAILURE_WINDOW_MS = 10 * 60_000;
/** A resource that failed is the first sign of an incident that opens within this time: longer ago it has nothing to do with it. */
export const INCIDENT_SIGN_MS = FAILURE_WINDOW_MS;
export const MAX_FAILURE_COUNT = 100;
export const MAX_MONITORS_IN_A_ROW = 20;
/**
 * A node that gave a group up may try again after this time, doubled by every time that it gives it up again; forgotten when the group
 * has run there for as long as the failure window, or so long after the last wait ended.
 */
export const RETRY_FIRST_MS = 30_000;
export const RETRY_LAST_MS = 30 * 60_000;
export const RETRY_FORGET_MS = 60 * 60_000;
/** What a node refuses is told again when it has not said so for this time, or has refused nothing meanwhile. */
export const REFUSAL_FORGET_MS = 10 * 60_000;
/** A node that may take a group and does not, although it reports, is passed over after this time, where another could. */
export const TAKE_PATIENCE_MS = 30_000;
/** Pause before a resource that is not critical is started again: doubles from the first to the last. */
export const UNCRITICAL_BACKOFF_FIRST_MS = 2_000;
export const UNCRITICAL_BACKOFF_LAST_MS = 5 * 60_000;

/** A pause of a group or the maintenance of a node ends by itself. */
export const PAUSE_DEFAULT_MS = 60 * 60_000;
export const PAUSE_MAX_MS = 30 * 86_400_000;
export const MAX_PAUSE_REASON = 500;
export const MAX_LABELS = 32;
/** Names in one `after`, `with` or `apart`. */
export const MAX_RELATED_GROUPS = 32;
/** Entries of one `prefer`: together with the place in `on` they must weigh less than staying put. */
export const MAX_PREFERENCES = 9;
/** Wait before restart number n of a resource in place: doubles from the first to the last. */
export const RESTART_BACKOFF_FIRST_MS = 50;
export const RESTART_BACKOFF_LAST_MS = 5_000;

/** Address announcements after an acquire (offsets from it), then at the interval for as long as the address is owned. */
export const ANNOUNCE_AFTER_MS: readonly number[] = [0, 200, 1_000, 2_000, 5_000];
export const ANNOUNCE_EVERY_MS = 45_000;
/** How long an address conflict probe listens for an answer. */
export const CONFLICT_PROBE_MS = 100;

/** Time-outs of the actions of a resource and the pause between its monitors, ms. */
export interface OperationTimes {
  readonly startMs: number;
  readonly stopMs: number;
  readonly monitorMs: number;
  readonly monitorIntervalMs: number;
}

/** What counts where neither the document says anything nor, for the last two, the agent's meta-data or the unit. */
export const OPERATION_TIMES = {
  /** The kernel tells every change of an address or its link at once; the monitor is the second line behind that. */
  vip: { startMs: 20_000, stopMs: 20_000, monitorMs: 20_000, monitorIntervalMs: 30_000 },
  /** Start and stop as in the meta-data of heartbeat:Filesystem. A monitor reads one file of the kernel, so it may come often. */
  mount: { startMs: 60_000, stopMs: 60_000, monitorMs: 10_000, monitorIntervalMs: 5_000 },
  /** That of heartbeat agents would be too short for a database. */
  service: { startMs: 100_000, stopMs: 100_000, monitorMs: 20_000, monitorIntervalMs: 10_000 },
  ocf: { startMs: 20_000, stopMs: 20_000, monitorMs: 20_000, monitorIntervalMs: 10_000 },
  /** A start outlasts the time in which DRBD notices that the old Primary is gone (ping-int 10 s and some). Changes are told as events. */
  drbd: { startMs: 60_000, stopMs: 60_000, monitorMs: 10_000, monitorIntervalMs: 10_000 },
} as const satisfies Record<string, OperationTimes>;

/** A planned unmount: what uses the file system gets SIGTERM, and SIGKILL so long after it (or after half of the stop's own time-out). */
export const MOUNT_TERM_MS = 5_000;
/** A file system that stays busy although nothing that uses it can be found is tried for so long. */
export const MOUNT_UNEXPLAINED_MS = 5_000;
/** Pause between two tries to unmount. */
export const MOUNT_RETRY_MS = 25;

/** DRBD resources of a cluster, and peers of each: what is told of them must fit into a report beside the leases. */
export const MAX_COPIES = 32;
export const MAX_COPY_PEERS = 16;
export const MAX_COPIES_BYTES = 24 * 1024;
/** How often a replica that is not up or not connected is looked after, and its configuration read anew. */
export const COPY_LOOK_MS = 10_000;
/** A resource that has just been brought up is given so long to find its peers before it is promoted without them. */
export const COPY_CONNECT_MS = 4_000;
/** How long one question of the fence-peer handler waits for the coordinator's answer before it is asked again; the handler itself waits twice as long (node-agent/drbd-handler). */
export const FENCE_ANSWER_MS = 4_000;

/** The times of one cluster's leases. Every host measures them on its own CLOCK_BOOTTIME. */
export interface LeaseTiming {
  /** L: how long a lease lasts, counted by the owner from the moment it sent the request. */
  readonly leaseMs: number;
  /** Pause between renewals. */
  readonly renewMs: number;
  /** A renewal without an answer is repeated after this time … */
  readonly retryMs: number;
  /** … this many times without the lease coming to harm (k). */
  readonly retries: number;
  /** S: the forced stop begins this long before the deadline. */
  readonly stopMs: number;
  /** W of the guard: it acts so long, and δ, before the deadline. Where a reset has the last word it is its part of S instead. */
  readonly fuseMs: number;
  /** W of the watchdog, its time-out; left out: this node has none. */
  readonly watchdogMs?: number | undefined;
  /** δ: what the forced release itself takes, plus the pause between pets. */
  readonly resetMs: number;
  /** M: margin of the coordinator's wait. */
  readonly coordinatorMarginMs: number;
  /** g: margin of a promise. */
  readonly promiseMarginMs: number;
  /** T_C (I3): the coordinator grants no sooner after the last renewal. */
  readonly takeoverMs: number;
  /** T_P (I4): length of a promise, and the quarantine of a new incarnation. */
  readonly promiseMs: number;
}

type TimingInput = Omit<LeaseTiming, 'takeoverMs' | 'promiseMs'>;

/** I3: how long the coordinator waits for a lease of this length; also what its owner may believe to be valid at most. */
export function takeoverWaitMs(leaseMs: number, marginMs: number): number {
  return Math.ceil((leaseMs * (1 + CLOCK_RATE_ERROR)) / (1 - CLOCK_RATE_ERROR) + marginMs);
}

function complete(input: TimingInput): LeaseTiming {
  return {
    ...input,
    takeoverMs: takeoverWaitMs(input.leaseMs, input.coordinatorMarginMs),
    promiseMs: takeoverWaitMs(input.leaseMs, input.promiseMarginMs),
  };
}

export const LEASE_PROFILES = {
  default: complete({
    leaseMs: 4_000,
    renewMs: 1_000,
    retryMs: 500,
    retries: 2,
    stopMs: 1_500,
    fuseMs: GUARD_LATENESS_MS,
    resetMs: 200,
    coordinatorMarginMs: 150,
    promiseMarginMs: 50,
  }),
  fast: complete({
    leaseMs: 1_800,
    renewMs: 350,
    retryMs: 250,
    retries: 2,
    stopMs: 600,
    fuseMs: GUARD_LATENESS_MS,
    resetMs: 50,
    coordinatorMarginMs: 100,
    promiseMarginMs: 50,
  }),
  wan: complete({
    leaseMs: 15_000,
    renewMs: 3_000,
    retryMs: 2_000,
    retries: 2,
    stopMs: 5_000,
    fuseMs: GUARD_LATENESS_MS,
    resetMs: 500,
    coordinatorMarginMs: 1_000,
    promiseMarginMs: 100,
  }),
} as const satisfies Record<string, LeaseTiming>;

export type LeaseProfile = keyof typeof LEASE_PROFILES;
export const DEFAULT_PROFILE: LeaseProfile = 'default';

export const MIN_LEASE_MS = 1_500;
export const MAX_LEASE_MS = 120_000;
export const MIN_RENEW_MS = 250;
/** How often a renewal may be repeated, as told to a node. */
export const MAX_RETRIES = 100;

/**
 * The timing of `lease: {ttl, renew}`. The stop budget and the margins scale with the lease as they do between the profiles.
 * @returns the timing; pass it to {@link timingProblem} before use.
 */
export function customTiming(leaseMs: number, renewMs: number): LeaseTiming {
  return complete({
    leaseMs,
    renewMs,
    retryMs: Math.round(renewMs / 2),
    retries: 2,
    stopMs: Math.round(leaseMs * 0.35),
    fuseMs: GUARD_LATENESS_MS,
    resetMs: leaseMs < 3_000 ? 50 : leaseMs < 10_000 ? 200 : 500,
    coordinatorMarginMs: Math.max(100, Math.round(leaseMs * 0.04)),
    promiseMarginMs: 50,
  });
}

/** @returns why the timing breaks the protocol, with the sum written out and a profile that would fit; undefined if it holds. */
export function timingProblem(t: LeaseTiming): string | undefined {
  if (t.leaseMs < MIN_LEASE_MS || t.leaseMs > MAX_LEASE_MS)
    return `ttl ${t.leaseMs} ms is outside ${MIN_LEASE_MS}..${MAX_LEASE_MS} ms; the profiles are fast (1.8 s), default (4 s) and wan (15 s)`;
  if (t.renewMs < MIN_RENEW_MS)
    return `renew ${t.renewMs} ms is below ${MIN_RENEW_MS} ms; use the profile fast (350 ms)`;
  const needed = t.renewMs + t.retries * t.retryMs + t.stopMs;
  if (needed > t.leaseMs)
    return `renew ${t.renewMs} + ${t.retries} retries × ${t.retryMs} + stop ${t.stopMs} = ${needed} ms does not fit into ttl ${t.leaseMs} ms (I1); raise ttl, lower renew, or use the profile ${t.leaseMs < 3_000 ? 'fast' : t.leaseMs < 10_000 ? 'default' : 'wan'}`;
  if (t.fuseMs + t.resetMs > t.stopMs)
    return `fuse ${t.fuseMs} + reset ${t.resetMs} ms exceeds the stop budget ${t.stopMs} ms (I2); raise ttl or use the profile default`;
  return undefined;
}

for (const [name, timing] of Object.entries(LEASE_PROFILES)) {
  const problem = timingProblem(timing);
  if (problem !== undefined) throw new Error(`lease profile ${name}: ${problem}`);
}

/** When the guard acts on its own, relative to a deadline (I2): a pet is only worth something before this instant. */
export function fuseInstant(deadlineMs: number, t: LeaseTiming): number {
  return deadlineMs - t.fuseMs - t.resetMs;
}

/** Steps of the agent's clock (CLOCK_BOOTTIME as /proc/uptime shows it). */
export const CLOCK_GRANULARITY_MS = 10;

/** I6: what must remain of a lease when an activation is decided. */
export function activationReserveMs(t: LeaseTiming): number {
  return t.stopMs + (t.watchdogMs ?? t.fuseMs) + t.resetMs;
}
