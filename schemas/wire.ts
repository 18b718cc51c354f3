/**
 * What an agent and the coordinator say to each other: one report up, one reply down, the same over the WebSocket and over
 * HTTP. Desired states, grants and epochs; never a command line, a script or a path to execute.
 *
 * The agent asks, the coordinator answers. What the coordinator sends unasked carries no right and no order: a nudge makes the
 * agent report at once, `renewals` tells which renewals are the newest.
 */
import * as z from 'zod';
import { declarationSchema } from './config.ts';
import { agentEventSchema } from './events.ts';
import {
  MAX_EPOCH,
  MAX_EVENTS_PER_REPORT,
  MAX_GROUPS,
  MAX_RESOURCES_PER_GROUP,
  MAX_SPAN_MS,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
} from './limits.ts';
import { nameSchema } from './names.ts';

const epoch = z.int().nonnegative().max(MAX_EPOCH);
const identifier = z.string().min(1).max(64);
const text = z.string().max(2_000);
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

export const runStates = ['starting', 'running', 'stopping', 'stopped', 'failed'] as const;
/** How a group fares on the node that holds its lease. `forMs`: since when, on the node's own clock. */
export const groupReportSchema = z.object({
  group: nameSchema,
  epoch,
  state: z.enum(runStates),
  forMs: durationMs,
  reason: text.optional(),
  resources: z.array(resourceReportSchema).max(MAX_RESOURCES_PER_GROUP),
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
      output: z.string().max(4_096).optional(),
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
  leases: z.array(z.object({ group: nameSchema, epoch })).max(MAX_GROUPS),
  claims: z.array(claimSchema).max(MAX_GROUPS),
  releases: z.array(releaseSchema).max(MAX_GROUPS),
  /** Highest epoch seen of each group, on disk (C7). Sent until acknowledged by the coordinator's instance. */
  epochs: z.record(nameSchema, epoch).optional(),
  /** Sent when changed, until acknowledged. */
  groups: z.array(groupReportSchema).max(MAX_GROUPS).optional(),
  refusals: z.array(refusalSchema).max(MAX_GROUPS).optional(),
  events: z.array(agentEventSchema).max(MAX_EVENTS_PER_REPORT).optional(),
  /** The agent is going away on purpose and a new incarnation of this node will follow; nothing runs any more. */
  retiring: z.boolean().optional(),
});
export type Report = z.infer<typeof reportSchema>;

const timingSchema = z.object({
  leaseMs: durationMs,
  renewMs: durationMs,
  retryMs: durationMs,
  retries: z.int().nonnegative(),
  stopMs: durationMs,
  fuseMs: durationMs,
  resetMs: durationMs,
  coordinatorMarginMs: durationMs,
  promiseMarginMs: durationMs,
  takeoverMs: durationMs,
  promiseMs: durationMs,
});

export const nodeGroupSchema = z.object({
  name: nameSchema,
  on: z.array(nameSchema),
  resources: z.array(declarationSchema).max(MAX_RESOURCES_PER_GROUP),
});
export type NodeGroup = z.infer<typeof nodeGroupSchema>;

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
    /** `release`: stop gracefully under this lease, then release it. */
    order: z.enum(['run', 'release']),
  }),
  z.object({ verdict: z.literal('refused'), group: nameSchema, epoch, reason: text }),
]);
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema>;

export const grantSchema = z.object({
  group: nameSchema,
  epoch,
  incarnation: identifier,
  voters: z.array(nameSchema).max(16),
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
  /** The whole report was refused. */
  problem: z.object({ code: z.enum(problemCodes), detail: text }).optional(),
  /** When to report next, so that all nodes of the cluster fall into one commit. */
  renewInMs: durationMs,
  config: nodeConfigSchema.optional(),
  leases: z.array(leaseAnswerSchema),
  grants: z.array(grantSchema),
  /** Claims that were refused, with the reason. */
  refused: z.array(z.object({ group: nameSchema, reason: text })),
  observed: z.array(observationSchema),
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

/**
 * What a node signs with its Ed25519 key, for the WebSocket upgrade and for each HTTP request: one line each, so that no field
 * can be shifted into another. `nonce` is one the coordinator gave out and takes once; `path` is that of the URL, `bodySha256`
 * lower-case hex (of no bytes for the upgrade). The signature travels as base64url without padding.
 */
export function signedText(request: {
  method: string;
  path: string;
  node: string;
  incarnation: string;
  nonce: string;
  bodySha256: string;
}): string {
  return [
    'holdfast-agent-v1',
    request.method,
    request.path,
    request.node,
    request.incarnation,
    request.nonce,
    request.bodySha256,
  ].join('\n');
}

/** Headers of a signed request. */
export const SIGNATURE_HEADERS = {
  node: 'holdfast-node',
  incarnation: 'holdfast-incarnation',
  nonce: 'holdfast-nonce',
  signature: 'holdfast-signature',
  /** On every response to an agent: a fresh nonce for its next request. */
  nextNonce: 'holdfast-next-nonce',
} as const;
