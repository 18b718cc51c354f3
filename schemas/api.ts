/**
 * The HTTP API under /v1: bodies, answers and errors. The command line speaks only this. `routes` in worker/routes/ names the
 * paths; docs/api.md lists them.
 */
import * as z from 'zod';
import { eventSchema } from './events.ts';
import { nameSchema } from './names.ts';
import { candidateSchema, decisionSchema } from './reasons.ts';
import { resourceReportSchema } from './wire.ts';

const at = z.iso.datetime();

/** Error codes of the API, each with its HTTP status. */
export const PROBLEMS = {
  'malformed-body': 400,
  'invalid-configuration': 422,
  'invalid-value': 422,
  unauthorized: 401,
  'not-found': 404,
  'method-not-allowed': 405,
  'body-too-large': 413,
  'unsupported-media-type': 415,
  'cluster-exists': 409,
  'cluster-unknown': 404,
  'node-unknown': 404,
  'group-unknown': 404,
  'operation-unknown': 404,
  'revision-mismatch': 412,
  'if-match-required': 428,
  'token-invalid': 401,
  'token-used': 409,
  'token-expired': 401,
  'token-wrong-node': 403,
  'node-exists': 409,
  'node-owns-groups': 409,
  'node-alive': 409,
  'not-possible': 409,
  'nonce-stale': 401,
  'signature-invalid': 401,
  'version-unsupported': 426,
  internal: 500,
} as const satisfies Record<string, number>;
export type ProblemCode = keyof typeof PROBLEMS;

/** RFC 9457 problem document. `errors` points at each bad field; for YAML with line and column (counted from 1). */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]),
  detail: z.string(),
  errors: z
    .array(
      z.object({
        path: z.string(),
        line: z.int().optional(),
        column: z.int().optional(),
        detail: z.string(),
        suggestion: z.string().optional(),
      }),
    )
    .optional(),
});
export type Problem = z.infer<typeof problemSchema>;
export type ProblemError = NonNullable<Problem['errors']>[number];

export const createClusterSchema = z.strictObject({ name: nameSchema });
export const clusterListSchema = z.object({ clusters: z.array(z.object({ name: nameSchema, createdAt: at })) });

export const createTokenSchema = z.strictObject({ ttlMs: z.int().positive().optional() });
export const tokenCreatedSchema = z.object({ token: z.string(), node: nameSchema, expiresAt: at });

/** Join: the token, the node's public key (Ed25519, raw, base64url) and its proof: a signature over `joinText`. */
export const enrolSchema = z.strictObject({
  token: z.string().max(200),
  node: nameSchema,
  publicKey: z.string().max(64),
  proof: z.string().max(128),
});
export const enrolledSchema = z.object({ cluster: nameSchema, node: nameSchema, history: z.string() });
export function joinText(cluster: string, node: string, publicKey: string, token: string): string {
  return ['holdfast-join-v1', cluster, node, publicKey, token].join('\n');
}

export const groupStates = [
  'running',
  'degraded',
  'starting',
  'stopping',
  'moving',
  'waiting',
  'stopped',
  'failed',
] as const;
export type GroupState = (typeof groupStates)[number];
export const nodeStates = ['ready', 'standby', 'lost', 'removed'] as const;
export type NodeState = (typeof nodeStates)[number];

export const statusSchema = z.object({
  schema: z.literal('holdfast/status/v1'),
  cluster: nameSchema,
  at,
  revision: z.int(),
  /** Present while a restored coordinator holds back every grant. */
  restored: z.object({ since: at, waitingFor: z.array(nameSchema) }).optional(),
  groups: z.record(
    z.string(),
    z.object({
      state: z.enum(groupStates),
      owner: nameSchema.nullable(),
      epoch: z.int(),
      since: at,
      /** What keeps it from running, or why it failed. */
      reason: z.string().optional(),
      resources: z.array(resourceReportSchema),
      /** Who would take over. */
      candidates: z.array(candidateSchema),
    }),
  ),
  nodes: z.record(
    z.string(),
    z.object({
      state: z.enum(nodeStates),
      lastSeenMs: z.int().nullable(),
      joined: z.boolean(),
      /** What the state alone does not say: why it does not report. */
      note: z.string().optional(),
      agentVersion: z.string().nullable(),
      refusals: z.array(z.object({ group: z.string(), resource: z.string(), reason: z.string() })),
    }),
  ),
});
export type Status = z.infer<typeof statusSchema>;

export const planSchema = z.object({
  schema: z.literal('holdfast/plan/v1'),
  /** The revision this plan was made against; 0 = no configuration yet. */
  revision: z.int(),
  changed: z.boolean(),
  /** Unified diff of the two documents. */
  diff: z.string(),
  /** What it does to each group, worst first. */
  effects: z.array(
    z.object({
      group: z.string(),
      effect: z.enum(['created', 'removed', 'restarts', 'moves', 'unchanged', 'settings']),
      detail: z.string(),
    }),
  ),
});
export type Plan = z.infer<typeof planSchema>;

export const appliedSchema = planSchema.extend({ schema: z.literal('holdfast/applied/v1'), newRevision: z.int() });
export const configurationSchema = z.object({ revision: z.int(), at: at.nullable(), document: z.string() });

/** Answer to an action that is done when it is answered (cleanup, ready, confirm-dead, remove, confirm-history). */
export const doneSchema = z.object({ done: z.literal(true) });

/** A nonce for an agent's next signed request. */
export const nonceRequestSchema = z.strictObject({ node: nameSchema });
export const nonceSchema = z.object({ nonce: z.string() });
/** Answer to the agent's long poll: `true` = report at once. */
export const waitedSchema = z.object({ nudge: z.boolean() });

export const moveSchema = z.strictObject({ to: nameSchema.optional() });
export const removeNodeSchema = z.strictObject({ force: z.boolean().optional() });
export const confirmDeadSchema = z.strictObject({ acceptRisk: z.literal('not-really-off') });

export const operationSchema = z.object({
  id: z.string(),
  kind: z.enum(['move', 'stop', 'start', 'standby']),
  group: z.string().nullable(),
  node: z.string().nullable(),
  state: z.enum(['running', 'succeeded', 'failed']),
  startedAt: at,
  finishedAt: at.nullable(),
  /** How far it has come, or how it ended, in words. */
  progress: z.string(),
});
export type Operation = z.infer<typeof operationSchema>;

export const eventPageSchema = z.object({
  schema: z.literal('holdfast/events/v1'),
  events: z.array(eventSchema),
  /** Pass as `after` for what comes next. */
  next: z.int(),
});

export const whySchema = z.object({
  schema: z.literal('holdfast/why/v1'),
  group: z.string(),
  state: z.enum(groupStates),
  owner: nameSchema.nullable(),
  epoch: z.int(),
  reason: z.string().optional(),
  /** Placement as it would be decided now. */
  candidates: z.array(candidateSchema),
  /** The newest grant: the last failover, move or start, with everything it was decided on. */
  lastGrant: decisionSchema.nullable(),
  /** The newest refusals since that grant, newest first. */
  refusals: z.array(decisionSchema),
});
export type Why = z.infer<typeof whySchema>;
