/** Webhooks: who is told of which events, and what they are told. docs/webhooks.md is written for those who receive them. */
import * as z from 'zod';
import { type EventKind, eventKinds, eventSeverities } from './events.ts';
import { nameSchema, nearest } from './names.ts';
import { causes } from './reasons.ts';

const at = z.iso.datetime();

/** Webhooks of one cluster. */
export const MAX_WEBHOOKS = 20;
export const MAX_WEBHOOK_URL = 2_000;
/** Undelivered notices kept per webhook; the oldest go first, and that is told. */
export const MAX_WEBHOOK_BACKLOG = 1_000;
/** Delivered notices kept per webhook, for a replay. */
export const MAX_WEBHOOK_DELIVERED = 200;
/** Attempts kept per webhook. */
export const MAX_WEBHOOK_ATTEMPTS = 200;
/** How long a receiver may take to answer one attempt. */
export const WEBHOOK_TIMEOUT_MS = 10_000;
/** What of a receiver's answer is kept, bytes. */
export const MAX_WEBHOOK_ANSWER_BYTES = 500;
/** Pauses after attempt 1, 2, …; each with a jitter of a fifth. After the last the webhook is disabled. 21 hours in all. */
export const WEBHOOK_RETRY_MS: readonly number[] = [
  2_000,
  10_000,
  30_000,
  2 * 60_000,
  10 * 60_000,
  30 * 60_000,
  2 * 3_600_000,
  6 * 3_600_000,
  12 * 3_600_000,
];
/** The longest pause that a receiver's Retry-After is granted. */
export const MAX_RETRY_AFTER_MS = 3_600_000;
/** For so long after a rotation the secret before it signs as well. */
export const SECRET_OVERLAP_MS = 24 * 3_600_000;

export const webhookFormats = ['standard', 'slack', 'pagerduty'] as const;
export type WebhookFormat = (typeof webhookFormats)[number];

/** Told to those who do not choose: what wakes somebody up, and that it is over. */
export const DEFAULT_WEBHOOK_EVENTS = [
  'group.granted',
  'group.running',
  'group.degraded',
  'group.waiting',
  'group.failed',
  'group.held',
  'group.lease-expired',
  'node.lost',
  'node.returned',
  'node.identity-conflict',
  'copy.split-brain',
  'coordinator.restored',
  'agent.fuse-fired',
  'agent.guard-lost',
  'agent.watchdog-taken',
  'resource.failed',
  'resource.stop-failed',
  'webhook.disabled',
] as const satisfies readonly EventKind[];

const rooms = [...new Set(eventKinds.map((kind) => kind.slice(0, kind.indexOf('.'))))];
const patterns: readonly string[] = ['*', ...rooms.map((room) => `${room}.*`), ...eventKinds];

/** A kind of event, all of a room (`group.*`), or all (`*`). */
const patternSchema = z.string().superRefine((pattern, issues) => {
  if (patterns.includes(pattern)) return;
  const meant = nearest(pattern, patterns);
  issues.addIssue({
    code: 'custom',
    message: `“${pattern}” is no kind of event${meant === undefined ? '' : `; did you mean ${meant}?`} (\`*\` is all, \`group.*\` all of groups)`,
  });
});

export const createWebhookSchema = z.strictObject({
  url: z.string().min(1).max(MAX_WEBHOOK_URL),
  format: z.enum(webhookFormats).default('standard'),
  events: z
    .array(patternSchema)
    .min(1, 'name at least one kind of event')
    .max(eventKinds.length)
    .default([...DEFAULT_WEBHOOK_EVENTS]),
  /** Receivers on private addresses and by plain HTTP. Only a coordinator of one's own can reach them. */
  allowPrivate: z.boolean().default(false),
  /** PagerDuty's integration key (Events API v2). */
  key: z
    .string()
    .regex(/^[A-Za-z0-9]{20,64}$/, 'the integration key of an Events API v2 integration, 32 letters and digits')
    .optional(),
});
export type CreateWebhook = z.infer<typeof createWebhookSchema>;

export const webhookSchema = z.object({
  id: z.string(),
  url: z.string(),
  format: z.enum(webhookFormats),
  events: z.array(z.string()),
  allowPrivate: z.boolean(),
  createdAt: at,
  state: z.enum(['active', 'disabled']),
  /** Why it is disabled. */
  reason: z.string().optional(),
  /** Notices that are not delivered yet. */
  pending: z.int(),
  /** Undelivered notices that had to make room for newer ones: lost for good. */
  dropped: z.int(),
  /** When the next attempt is due; null while there is nothing to deliver. */
  nextAttemptAt: at.nullable(),
  /** The newest attempt. */
  last: z.object({ at, ok: z.boolean(), detail: z.string() }).nullable(),
});
export type Webhook = z.infer<typeof webhookSchema>;

export const webhookListSchema = z.object({
  schema: z.literal('holdfast/webhooks/v1'),
  webhooks: z.array(webhookSchema),
});
/** `secret`: shown here and never again; null for formats that sign nothing. */
export const webhookCreatedSchema = z.object({
  schema: z.literal('holdfast/webhook-created/v1'),
  webhook: webhookSchema,
  secret: z.string().nullable(),
});
export const webhookSecretSchema = z.object({
  schema: z.literal('holdfast/webhook-secret/v1'),
  secret: z.string(),
  /** Until then the secret before it signs as well. */
  previousUntil: at,
});

export const deliverySchema = z.object({
  /** Of the notice: the same in every attempt, as `webhook-id`. */
  id: z.string(),
  /** Of the event that was told; 0 for a test. */
  seq: z.int(),
  kind: z.string(),
  at,
  /** HTTP status; null when no answer came. */
  status: z.int().nullable(),
  latencyMs: z.int(),
  ok: z.boolean(),
  detail: z.string(),
  /** What a receiver that did not take it has answered beside, the beginning. */
  said: z.string().optional(),
});
export type Delivery = z.infer<typeof deliverySchema>;
/** Newest first. */
export const deliveriesSchema = z.object({
  schema: z.literal('holdfast/webhook-deliveries/v1'),
  deliveries: z.array(deliverySchema),
});

/** `id` of a notice, as `deliveries` shows it. */
export const replaySchema = z.strictObject({ id: z.string().min(1).max(100) });

/** What a receiver is told of one event: `data` of the standard format. Fields are only ever added. */
export const noticeSchema = z.object({
  schema: z.literal('holdfast/notice/v1'),
  cluster: nameSchema,
  /** Orders the notices of a cluster; with the cluster's name the identity of the event. */
  seq: z.int(),
  kind: z.string(),
  severity: z.enum(eventSeverities),
  /** One line for a person. */
  summary: z.string(),
  detail: z.string(),
  at,
  group: nameSchema.optional(),
  node: nameSchema.optional(),
  resource: nameSchema.optional(),
  epoch: z.int().optional(),
  /** Of the grant with this epoch: why the group was free, who had it, who has it, and from the last renewal to running. */
  cause: z.enum(causes).optional(),
  from: nameSchema.nullable().optional(),
  to: nameSchema.optional(),
  outageMs: z.int().nullable().optional(),
  links: z.object({ events: z.string(), why: z.string().optional() }),
});
export type Notice = z.infer<typeof noticeSchema>;

/** What a node tells by itself of what the coordinator has not heard: no sequence number, and the time by the node's own clock. */
export const nodeNoticeSchema = noticeSchema
  .pick({
    cluster: true,
    kind: true,
    severity: true,
    summary: true,
    detail: true,
    at: true,
    group: true,
    resource: true,
    epoch: true,
  })
  .extend({ schema: z.literal('holdfast/node-notice/v1'), node: nameSchema });
export type NodeNotice = z.infer<typeof nodeNoticeSchema>;
