/**
 * The HTTP API under /v1: bodies, answers and errors. The command line speaks only this. `routes` in worker/routes/ names the
 * paths; docs/api.md lists them.
 */
import * as z from 'zod';
import { copySchema, NEWER_WRITES_RISK } from './copies.ts';
import { eventSchema } from './events.ts';
import { fuseSchema } from './fuse.ts';
import { MAX_NODES, MAX_PAUSE_REASON, PAUSE_MAX_MS } from './limits.ts';
import { nameSchema } from './names.ts';
import { peerEndpointSchema } from './peer.ts';
import { candidateSchema, decisionSchema } from './reasons.ts';
import { type GroupReport, resourceReportSchema } from './wire.ts';

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
  'webhook-unknown': 404,
  'incident-unknown': 404,
  'revision-mismatch': 412,
  'if-match-required': 428,
  forbidden: 403,
  'token-exists': 409,
  'token-unknown': 404,
  'token-invalid': 401,
  'token-used': 409,
  'token-expired': 401,
  'token-wrong-node': 403,
  'node-exists': 409,
  'too-many-nodes': 409,
  'node-owns-groups': 409,
  'node-alive': 409,
  'not-possible': 409,
  'too-many-requests': 429,
  'key-unknown': 409,
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

/** Where Cloudflare may be asked to make an object: https://developers.cloudflare.com/durable-objects/reference/data-location/ */
export const LOCATIONS = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'] as const;

export const createClusterSchema = z.strictObject({
  name: nameSchema,
  /** Counts when the cluster is made, and on Cloudflare alone: a coordinator of one's own is where it is. */
  location: z.enum(LOCATIONS).optional(),
});
export const clusterListSchema = z.object({ clusters: z.array(z.object({ name: nameSchema, createdAt: at })) });

export const clusterCreatedSchema = z.object({ name: nameSchema, createdAt: at });
export const healthSchema = z.object({ status: z.literal('ok') });

export const createTokenSchema = z.strictObject({ ttlMs: z.int().positive().optional() });
export const tokenCreatedSchema = z.object({ token: z.string(), node: nameSchema, expiresAt: at });

/** Join: the token, the node's public key (Ed25519, raw, base64url) and its proof: a signature over `joinText` (session.ts). */
export const enrolSchema = z.strictObject({
  token: z.string().max(200),
  node: nameSchema,
  publicKey: z.string().max(64),
  proof: z.string().max(128),
});
/** `signature`: of the cluster's key over `enrolledText`. */
export const enrolledSchema = z.object({
  cluster: nameSchema,
  node: nameSchema,
  history: z.string(),
  clusterKey: z.string(),
  signature: z.string(),
});
/** A node's next key, with a signature of it over `rekeyText`. */
export const rekeySchema = z.strictObject({ publicKey: z.string().max(64), proof: z.string().max(128) });

/** The key by which nodes know the coordinator, and those that were before it, newest first. */
export const clusterKeysSchema = z.object({
  keys: z.array(
    z.object({
      fingerprint: z.string(),
      publicKey: z.string(),
      madeAt: at,
    }),
  ),
});
export type ClusterKeys = z.infer<typeof clusterKeysSchema>;

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

/** Does it serve what it is there for: is everything of it up, or everything that is critical? Of a group, or of its run on a node. */
export function isServed(state: GroupState | GroupReport['state'] | undefined): boolean {
  return state === 'running' || state === 'degraded';
}

export const nodeStates = ['ready', 'standby', 'lost', 'removed'] as const;
export type NodeState = (typeof nodeStates)[number];

/** A pause of a group or the maintenance of a node. */
export const pausedSchema = z.object({ since: at, until: at, reason: z.string() });
/** A resource failed whose policy asks for a person. `hold`: its owner touches nothing; `stop`: it was stopped and starts nowhere. */
export const haltedSchema = z.object({
  kind: z.enum(['hold', 'stop']),
  node: nameSchema,
  resource: z.string(),
  reason: z.string(),
  since: at,
});

/** What an outage of the coordinator that begins now would mean for a group, and the loss of its owner. */
export const outageSchema = z.object({
  /** The outage would cost it nothing: every other voter has promised its owner to keep out, by the owner's newest renewal. */
  survives: z.boolean(),
  /** Should its owner be lost, another node may be granted it. False where the owner is its only voter. */
  takeover: z.boolean(),
  /** V: its owner lives by the promises of these, and only these may take over from it. Empty while nobody has it. */
  voters: z.array(nameSchema),
  /** The document says so: it is to stop with its owner's contact to the coordinator. */
  requires: z.literal('uplink').optional(),
  /** Not known yet, or about to change: the coordinator or the group has just started, or the voters are changing. */
  settling: z.literal(true).optional(),
  /** What is missing, in words. */
  reason: z.string().optional(),
});
export type Outage = z.infer<typeof outageSchema>;

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
      /** Present while it is paused. */
      paused: pausedSchema.optional(),
      /** Present until a person has cleaned up. */
      halted: haltedSchema.optional(),
      /** It starts only on nodes with a watchdog. Left out: it demands none. */
      fence: z.literal('watchdog').optional(),
      /** Left out by coordinators of older versions. */
      outage: outageSchema.optional(),
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
      /** Present while it is in maintenance. */
      maintenance: pausedSchema.optional(),
      agentVersion: z.string().nullable(),
      /** Where the other nodes find it; null: it has not told. Left out by coordinators of older versions. */
      listens: peerEndpointSchema.pick({ addresses: true, port: true }).nullable().optional(),
      refusals: z.array(z.object({ group: z.string(), resource: z.string(), reason: z.string() })),
      /** What ends its groups when their leases do. Left out: it has not told. */
      fuse: fuseSchema.optional(),
      /** Of replicated data, by its own word. Left out: it has none. */
      copies: z.array(copySchema).optional(),
    }),
  ),
});
export type Status = z.infer<typeof statusSchema>;

export const nodesSchema = z.object({ schema: z.literal('holdfast/nodes/v1'), nodes: statusSchema.shape.nodes });

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
/** The revisions that are kept, newest first. */
export const revisionListSchema = z.object({
  schema: z.literal('holdfast/revisions/v1'),
  revisions: z.array(z.object({ revision: z.int(), at, lines: z.int() })),
});
export const configurationSchema = z.object({ revision: z.int(), at: at.nullable(), document: z.string() });

/** Answer to an action that is done when it is answered (cleanup, pause, resume, maintenance, ready, confirm-dead, remove, confirm-history). */
export const doneSchema = z.object({ done: z.literal(true) });

/** A nonce for an agent's next signed request. */
export const nonceRequestSchema = z.strictObject({ node: nameSchema });
export const nonceSchema = z.object({ nonce: z.string() });
/** Answer to the agent's long poll: `true` = report at once. */
export const waitedSchema = z.object({ nudge: z.boolean() });

export const moveSchema = z
  .strictObject({
    to: nameSchema.optional(),
    /** The target is taken although its copy of the data may lack writes. */
    acceptRisk: z.literal(NEWER_WRITES_RISK).optional(),
  })
  .refine(
    ({ to, acceptRisk }) => acceptRisk === undefined || to !== undefined,
    'a risk is accepted for a node that is named: `to`',
  );
/** Of a group, of all groups, or (maintenance) of a node. `forMs` left out: an hour. */
export const pauseSchema = z.strictObject({
  forMs: z.int().positive().max(PAUSE_MAX_MS).optional(),
  reason: z.string().trim().min(1, 'say why, for whoever finds it paused').max(MAX_PAUSE_REASON),
});
export const removeNodeSchema = z.strictObject({ force: z.boolean().optional() });
export const confirmDeadSchema = z.strictObject({ acceptRisk: z.literal('not-really-off') });

export const operationSchema = z.object({
  id: z.string(),
  kind: z.enum(['move', 'stop', 'start', 'standby']),
  group: z.string().nullable(),
  node: z.string().nullable(),
  state: z.enum(['running', 'succeeded', 'failed', 'cancelled']),
  startedAt: at,
  finishedAt: at.nullable(),
  /** How far it has come, or how it ended, in words. */
  progress: z.string(),
});
export type Operation = z.infer<typeof operationSchema>;

/** Newest first. */
export const operationListSchema = z.object({
  schema: z.literal('holdfast/operations/v1'),
  operations: z.array(operationSchema),
});

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
  paused: pausedSchema.optional(),
  halted: haltedSchema.optional(),
  /** Placement as it would be decided now. */
  candidates: z.array(candidateSchema),
  /** The newest grant: the last failover, move or start, with everything it was decided on. */
  lastGrant: decisionSchema.nullable(),
  /** The newest refusals since that grant, newest first. */
  refusals: z.array(decisionSchema),
});
export type Why = z.infer<typeof whySchema>;

/** What to assume, all at once. At least one of it must be given. */
export const simulateSchema = z
  .strictObject({
    /** These nodes lose power. */
    down: z.array(nameSchema).max(MAX_NODES).default([]),
    /** These are drained. */
    standby: z.array(nameSchema).max(MAX_NODES).default([]),
    /** The coordinator goes away and stays away. */
    coordinatorDown: z.boolean().default(false),
    /** This document (YAML) is applied. */
    document: z.string().optional(),
  })
  .refine(
    ({ down, standby, coordinatorDown, document }) =>
      down.length > 0 || standby.length > 0 || coordinatorDown || document !== undefined,
    'say what to assume: down, standby, coordinatorDown or document',
  );

/**
 * What becomes of a group: it is not touched; it is interrupted and stays where it is; its owner stops it and another node starts it;
 * another takes it when the lease has run out; it was not served and will be; it is stopped because that is what is wanted; it is
 * not served although it should be.
 */
export const simulatedEnds = ['stays', 'restarts', 'moves', 'fails-over', 'starts', 'stops', 'down'] as const;
export type SimulatedEnd = (typeof simulatedEnds)[number];

const simulatedPlace = z.object({ state: z.enum(groupStates), owner: nameSchema.nullable() });

export const simulationSchema = z.object({
  schema: z.literal('holdfast/simulation/v1'),
  cluster: nameSchema,
  /** What is so now, from which the simulation starts. */
  at,
  revision: z.int(),
  assumed: z.object({
    down: z.array(nameSchema),
    standby: z.array(nameSchema),
    coordinatorDown: z.boolean(),
    document: z.boolean(),
  }),
  /** How far it was simulated, and whether nothing changes any more by then. */
  simulatedMs: z.int(),
  settled: z.boolean(),
  /**
   * With `coordinatorDown`. Groups in `goesOn` live on by the promises of their voters. What does not: an absence below `unnoticedMs` is
   * not noticed, after `stoppedMs` at the latest it is stopped, as is a group in `goesOn` one of whose voters is lost meanwhile.
   */
  absence: z.object({ unnoticedMs: z.int(), stoppedMs: z.int(), goesOn: z.array(z.string()).optional() }).optional(),
  groups: z.record(
    z.string(),
    z.object({
      /** Null: there is no such group (yet, or any more). */
      before: simulatedPlace.nullable(),
      after: simulatedPlace.extend({ reason: z.string().optional() }).nullable(),
      how: z.enum(simulatedEnds),
      /** For how long it is not served; null where that cannot be known. */
      interruptedMs: z.int().nullable(),
      /** What is in that figure, or why there is none. */
      interruption: z.string(),
      /** As it was decided who takes it; of a group that nobody took, as it is in the end. */
      candidates: z.array(candidateSchema),
    }),
  ),
  /** Groups that would not be served though they should be. */
  down: z.array(z.string()),
  warnings: z.array(z.string()),
});
export type Simulation = z.infer<typeof simulationSchema>;
