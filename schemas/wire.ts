/**
 * What an agent and the coordinator say to each other: one report up, one reply down, the same over the WebSocket and over
 * HTTP. Desired states, grants and epochs; never a command line, a script or a path to execute.
 *
 * The agent asks, the coordinator answers. What the coordinator sends unasked carries no right and no order: a nudge makes the
 * agent report at once, `renewals` tells which renewals are the newest. Nothing of it counts that is not authentic (session.ts).
 */
import * as z from 'zod';
import { type Config, declarationSchema } from './config.ts';
import { copySchema } from './copies.ts';
import { agentEventSchema } from './events.ts';
import { FENCES, fuseSchema } from './fuse.ts';
import {
  MAX_COPIES,
  MAX_DETAIL_LENGTH,
  MAX_EPOCH,
  MAX_EVENTS_PER_REPORT,
  MAX_GROUPS,
  MAX_LEASE_MS,
  MAX_NODES,
  MAX_OUTPUT_BYTES,
  MAX_RESOURCES_PER_GROUP,
  MAX_RETRIES,
  MAX_SPAN_MS,
  MAX_TOLD_EPOCH,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  timingProblem,
} from './limits.ts';
import { nameSchema } from './names.ts';
import { peerEndpointSchema, peerSchema } from './peer.ts';
import { successorSchema } from './session.ts';

const epoch = z.int().nonnegative().max(MAX_EPOCH);
/** As a node tells it: there is always another above it. */
const toldEpoch = z.int().nonnegative().max(MAX_TOLD_EPOCH);
const identifier = z.string().min(1).max(64);
const text = z.string().max(MAX_DETAIL_LENGTH);
const durationMs = z.int().nonnegative().max(MAX_SPAN_MS);

export const versionSchema = z.tuple([z.int().nonnegative(), z.int().nonnegative()]);
export type Version = z.infer<typeof versionSchema>;

/** @returns why a peer of this version cannot be served, or undefined if it can (same major, minor at most one apart). */
export function versionProblem([major, minor]: Version): string | undefined {
  if (major === PROTOCOL_MAJOR && Math.abs(minor - PROTOCOL_MINOR) <= 1) return undefined;
  return `protocol ${major}.${minor} is not served by ${PROTOCOL_MAJOR}.${PROTOCOL_MINOR}: upgrade the ${major < PROTOCOL_MAJOR || (major === PROTOCOL_MAJOR && minor < PROTOCOL_MINOR) ? 'agent' : 'coordinator'}; versions one minor apart work together`;
}

export const resourceStates = ['stopped', 'starting', 'running', 'stopping', 'failed', 'unknown'] as const;
export const resourceReportSchema = z.object({
  id: nameSchema,
  state: z.enum(resourceStates),
  reason: text.optional(),
  /** How long its last start took, on the node's own clock. */
  startMs: durationMs.optional(),
});
export type ResourceReport = z.infer<typeof resourceReportSchema>;

/**
 * degraded: up but for what is not critical, whose failure is ignored, or what is down while the group is paused and nothing may be
 * mended. held: a resource failed whose policy says `hold`; nothing is touched until a person cleans up.
 */
export const runStates = ['starting', 'running', 'degraded', 'held', 'stopping', 'stopped', 'failed'] as const;
/** How a group fares on the node that holds its lease. `forMs`: since when, on the node's own clock. */
export const groupReportSchema = z.object({
  group: nameSchema,
  epoch,
  state: z.enum(runStates),
  forMs: durationMs,
  reason: text.optional(),
  resources: z.array(resourceReportSchema).max(MAX_RESOURCES_PER_GROUP),
  /** With `held`: the count of cleanups that the node had heard of. A hold that outlasts a cleanup, or follows it at once, is told by it. */
  cleanups: z.int().nonnegative().optional(),
});
export type GroupReport = z.infer<typeof groupReportSchema>;

/** Something the node will not do: its policy forbids it, or it cannot (an agent that is not installed). */
export const refusalSchema = z.object({ group: nameSchema, resource: nameSchema, reason: text });
export type Refusal = z.infer<typeof refusalSchema>;

export const severities = ['soft', 'hard', 'fatal'] as const;
export const releaseSchema = z.object({
  group: nameSchema,
  epoch,
  /** The lease was lost before the group was down, so it was stopped by force. */
  forced: z.boolean().optional(),
  /** Present when the node gives up because the group would not run here. */
  failure: z
    .object({
      resource: nameSchema,
      severity: z.enum(severities),
      reason: text,
      output: z.string().max(MAX_OUTPUT_BYTES).optional(),
      /** What its policy has decided. `stop`: the group starts nowhere until a person cleans up; `move`, or left out: another node may try. */
      verdict: z.enum(['move', 'stop']).optional(),
    })
    .optional(),
});
export type Release = z.infer<typeof releaseSchema>;

export const claimSchema = z.object({
  group: nameSchema,
  /** The id of the owner's newest renewal as last told by the coordinator; null if there was never an owner. */
  renewal: identifier.nullable(),
  /** How long, on the claimant's own clock, that id has been the newest. */
  seenForMs: durationMs,
});
export type Claim = z.infer<typeof claimSchema>;

/** V of a lease (C3). The first of an epoch has version 1; a change has the next. */
export const votersSchema = z.object({
  version: z.int().positive(),
  names: z.array(nameSchema).max(MAX_NODES).readonly(),
});
export type Voters = z.infer<typeof votersSchema>;

/** A lease that its owner renews. */
export const heldLeaseSchema = z.object({
  group: nameSchema,
  epoch: toldEpoch,
  /**
   * Version of the voters that the owner lives by, once the epoch is on its disk and both are in its guard: only then does the renewal
   * confirm the epoch (C6) and complete a change of the voters (C3). Left out: it is a renewal and nothing more.
   */
  voters: z.int().positive().optional(),
  /** Every other voter has promised: the group would outlive an outage of the coordinator that began now (O2). */
  backed: z.boolean().optional(),
});
export type HeldLease = z.infer<typeof heldLeaseSchema>;

/** A start of the coordinator's object: how many there were, and which one. */
const coordinatorSchema = z.object({ generation: toldEpoch, instance: identifier });

export const reportSchema = z.object({
  type: z.literal('report'),
  version: versionSchema,
  /** Unique per request; the reply names it, and only then extends a lease (O1). */
  id: identifier,
  node: nameSchema,
  incarnation: identifier,
  /**
   * When it was composed, on the node's own clock. Only tells the reports of one incarnation apart by age: what an overtaken one
   * tells of the node is not believed.
   */
  sentMs: durationMs.optional(),
  agentVersion: z.string().max(64),
  /** Of the cluster's data as this node knows it; null before its first reply. */
  history: identifier.nullable(),
  /** Revision of the configuration that the agent works by; 0 for none. */
  revision: z.int().nonnegative(),
  /** How much of the quarantine of a new incarnation (P3) remains; 0 = may activate. */
  quarantineMs: durationMs,
  /**
   * How long from the sending of this report the agent relies on any lease it holds: L, or longer while a deadline that was set by a
   * longer L still runs. So the coordinator may wait for the T_C of this and no longer.
   */
  leaseMs: durationMs,
  /** Leases held: each is renewed by this report. */
  leases: z.array(heldLeaseSchema).max(MAX_GROUPS),
  claims: z.array(claimSchema).max(MAX_GROUPS),
  releases: z.array(releaseSchema).max(MAX_GROUPS),
  /** Highest epoch seen of each group, on disk (C7). Sent until acknowledged by the coordinator's instance. */
  epochs: z.record(nameSchema, toldEpoch).optional(),
  /** The newest start of the coordinator that this node has heard, on disk (C7). Sent with the epochs. */
  coordinator: coordinatorSchema.optional(),
  /** Sent when changed, until acknowledged. */
  groups: z.array(groupReportSchema).max(MAX_GROUPS).optional(),
  refusals: z.array(refusalSchema).max(MAX_GROUPS).optional(),
  /** Of every DRBD resource that it may be asked to run, whether it owns the group or not. */
  copies: z.array(copySchema).max(MAX_COPIES).optional(),
  events: z.array(agentEventSchema).max(MAX_EVENTS_PER_REPORT).optional(),
  /** Groups whose owner the coordinator has not heard for T_C by this node's clock, and to whom it has promised in that epoch to keep out (P4). */
  promised: z
    .array(z.object({ group: nameSchema, epoch }))
    .max(MAX_GROUPS)
    .optional(),
  /** Where its peers find it; null: it does not listen. Sent when changed, until acknowledged. */
  endpoint: peerEndpointSchema.nullable().optional(),
  /** What ends its groups when their leases do. Sent when changed, until acknowledged; left out by agents of older versions. */
  fuse: fuseSchema.optional(),
  /** Version of the list of peers that it works by; null or left out: none. */
  peers: identifier.nullable().optional(),
  /** The agent is going away on purpose and a new incarnation of this node will follow; nothing runs any more. */
  retiring: z.boolean().optional(),
  /** The host is being shut down: what it runs is to be handed over in order, and nothing more is given to it. */
  leaving: z.boolean().optional(),
});
export type Report = z.infer<typeof reportSchema>;

/** No part of a lease's timing is longer than twice the longest lease, and nobody waits longer for the next renewal. */
const timingMs = z
  .int()
  .nonnegative()
  .max(2 * MAX_LEASE_MS);
const timingSchema = z
  .object({
    leaseMs: timingMs,
    renewMs: timingMs,
    retryMs: timingMs,
    retries: z.int().nonnegative().max(MAX_RETRIES),
    stopMs: timingMs,
    fuseMs: timingMs,
    resetMs: timingMs,
    coordinatorMarginMs: timingMs,
    promiseMarginMs: timingMs,
    takeoverMs: timingMs,
    promiseMs: timingMs,
  })
  .refine(
    // by times of which nothing fits together a node would hear no answer any more, whoever gave it
    (timing) => timingProblem(timing) === undefined,
    'a timing that breaks the protocol',
  );

export const nodeGroupSchema = z.object({
  name: nameSchema,
  on: z.array(nameSchema),
  /** `requires: uplink`: it is not to outlive its owner's contact with the coordinator, whatever the voters promise. */
  requiresUplink: z.boolean().default(false),
  /** What it demands of the fuse of the node that runs it. */
  fence: z.enum(FENCES).default('guard'),
  resources: z.array(declarationSchema).max(MAX_RESOURCES_PER_GROUP),
});
export type NodeGroup = z.infer<typeof nodeGroupSchema>;

/** Those groups of a configuration that this node may be asked to run, as it is told. */
export function nodeGroups(config: Config, node: string): NodeGroup[] {
  return Object.values(config.groups)
    .filter((group) => group.on.includes(node))
    .map(({ name, on, resources, requires, fence }) => ({
      name,
      on: [...on],
      requiresUplink: requires === 'uplink',
      fence,
      resources: [...resources],
    }));
}

/** The part of the configuration that concerns one node. */
export const nodeConfigSchema = z.object({
  revision: z.int().nonnegative(),
  timing: timingSchema,
  groups: z.array(nodeGroupSchema).max(MAX_GROUPS),
});
export type NodeConfig = z.infer<typeof nodeConfigSchema>;

export const leaseAnswerSchema = z.discriminatedUnion('verdict', [
  z.object({
    verdict: z.literal('renewed'),
    group: nameSchema,
    epoch,
    /**
     * `pause`: keep it as it is: start, stop and mend nothing, only look. `release`: stop gracefully under this lease, then release it.
     */
    order: z.enum(['run', 'pause', 'release']),
    /** How often an operator has cleaned this group up: a greater number than before forgives the failures counted on the node. */
    cleanups: z.int().nonnegative().default(0),
    /** The newest voters, where the owner named others or none. */
    voters: votersSchema.optional(),
    /** What this owner has told of its copies is stored: who misses writes by it is not granted the group. Left out: nothing was told. */
    copies: z.literal('stored').optional(),
  }),
  z.object({ verdict: z.literal('refused'), group: nameSchema, epoch, reason: text }),
]);
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema>;

export const grantSchema = z.object({
  group: nameSchema,
  epoch,
  incarnation: identifier,
  voters: votersSchema,
  /** The grant follows the release of this epoch: promises for it and below are void (P2). Null: it followed the wait or a proof of death. */
  released: epoch.nullable(),
});
export type Grant = z.infer<typeof grantSchema>;

/** What a node must know of a group that it does not own. */
export const observationSchema = z.object({
  group: nameSchema,
  /** Id of the owner's newest renewal (C2); null if it never had an owner. */
  renewal: identifier.nullable(),
  /**
   * `now`: claim at once (released, never owned, or the owner's death is proven); `after`: claim when this renewal has been the
   * newest for `waitMs`; `never`: not this node, or not now.
   */
  claim: z.enum(['now', 'after', 'never']),
  /** The newest lease was given back, of this epoch: promises for it and below are void (P2). */
  released: epoch.nullable().default(null),
  /** T_C of this lease: how long the claimant must have seen the same renewal as the newest. */
  waitMs: durationMs,
});
export type Observation = z.infer<typeof observationSchema>;

export const problemCodes = [
  'version-unsupported',
  'node-unknown',
  'node-removed',
  'identity-conflict',
  'declared-dead',
  'history-mismatch',
  'malformed',
] as const;

export const replySchema = z.object({
  type: z.literal('reply'),
  version: versionSchema,
  /** Id of the report that this answers. */
  id: identifier,
  history: identifier,
  /** Changes when the coordinator's object starts anew. */
  instance: identifier,
  /** How often it has started, this instance included, and voters have changed: it only rises (C7). */
  generation: z.int().nonnegative().max(MAX_EPOCH).default(0),
  /** This instance does not know the epochs of this incarnation: they are to be told with the next report (C7). */
  tellEpochs: z.boolean().optional(),
  /** The whole report was refused. */
  problem: z.object({ code: z.enum(problemCodes), detail: text }).optional(),
  /** When to report next, so that all nodes of the cluster fall into one commit. */
  renewInMs: timingMs,
  config: nodeConfigSchema.optional(),
  leases: z.array(leaseAnswerSchema),
  grants: z.array(grantSchema),
  /** Claims that were refused, with the reason. */
  refused: z.array(z.object({ group: nameSchema, reason: text })),
  observed: z.array(observationSchema),
  /** To a node that trusts the key before the cluster's present one. */
  successor: successorSchema.optional(),
  /** The peers of this node, whole, where it named another version. */
  peers: z.object({ version: identifier, list: z.array(peerSchema).max(MAX_NODES) }).optional(),
});
export type Reply = z.infer<typeof replySchema>;

export const nudgeSchema = z.object({ type: z.literal('nudge') });
export type Nudge = z.infer<typeof nudgeSchema>;

/**
 * The newest renewals, for nodes that had no part in the commit that recorded them: they start their wait (C2) at once instead of at
 * their own next report. Carries no right: a claim still names the renewal, and the coordinator compares.
 */
export const renewalsSchema = z.object({
  type: z.literal('renewals'),
  renewals: z.array(z.object({ group: nameSchema, renewal: identifier })).max(MAX_GROUPS),
});
export type Renewals = z.infer<typeof renewalsSchema>;

export const downMessageSchema = z.discriminatedUnion('type', [replySchema, nudgeSchema, renewalsSchema]);
export type DownMessage = z.infer<typeof downMessageSchema>;
