/**
 * The operations of the API as openapi.json describes them: what each takes and answers, by the schemas that the handlers use. Agents speak a
 * protocol of their own (schemas/wire.ts), which is not described here.
 */
import type * as z from 'zod';
import {
  accessTokenCreatedSchema,
  accessTokenListSchema,
  auditPageSchema,
  createAccessTokenSchema,
} from '../../schemas/access.ts';
import {
  appliedSchema,
  clusterCreatedSchema,
  clusterKeysSchema,
  clusterListSchema,
  configurationSchema,
  confirmDeadSchema,
  createClusterSchema,
  createTokenSchema,
  doneSchema,
  eventPageSchema,
  healthSchema,
  moveSchema,
  nodesSchema,
  operationListSchema,
  operationSchema,
  type ProblemCode,
  pauseSchema,
  planSchema,
  removeNodeSchema,
  revisionListSchema,
  simulateSchema,
  simulationSchema,
  statusSchema,
  tokenCreatedSchema,
  whySchema,
} from '../../schemas/api.ts';
import { auditChainPageSchema } from '../../schemas/audit-chain.ts';
import { eventSchema } from '../../schemas/events.ts';
import { incidentListSchema, incidentStorySchema } from '../../schemas/incident.ts';
import {
  createWebhookSchema,
  deliveriesSchema,
  deliverySchema,
  replaySchema,
  webhookCreatedSchema,
  webhookListSchema,
  webhookSchema,
  webhookSecretSchema,
} from '../../schemas/webhook.ts';
import type { RouteKey } from './access.ts';
import { nothing } from './nothing.ts';

export interface Described {
  /** Name of the operation, for generated clients. */
  readonly id: string;
  readonly summary: string;
  /** JSON by this schema, or `document`: a configuration, YAML or JSON. Left out: no body. */
  readonly body?: z.ZodType | 'document';
  readonly status: 200 | 201 | 202;
  readonly answer: z.ZodType | 'metrics';
  /** Answers with a stream of these instead, when `Accept: text/event-stream` asks for it. */
  readonly streams?: z.ZodType;
  /** Headers that the answer carries. */
  readonly sends?: readonly ('etag' | 'location')[];
  /** Wants `If-Match`. */
  readonly conditional?: true;
  /** Problems of its own, beside those that any request may meet. */
  readonly problems?: readonly ProblemCode[];
}

/** What is no operation for people and machines: the agents' own routes, this description, the test hooks. */
type Undescribed = Extract<
  RouteKey,
  `${string}/agent/${string}` | 'GET /openapi.json' | 'GET /reference' | 'POST /v1/test/clock'
>;

const CLUSTER = '/v1/clusters/:cluster';
const done = { status: 200, answer: doneSchema } as const;
const operation = { status: 202, answer: operationSchema, sends: ['location'] } as const;

export const DESCRIBED: Readonly<Record<Exclude<RouteKey, Undescribed>, Described>> = {
  'GET /healthz': { id: 'health', summary: 'Is the coordinator there?', status: 200, answer: healthSchema },
  'GET /v1/clusters': { id: 'listClusters', summary: 'List the clusters', status: 200, answer: clusterListSchema },
  'POST /v1/clusters': {
    id: 'createCluster',
    summary: 'Make a cluster',
    body: createClusterSchema,
    status: 201,
    answer: clusterCreatedSchema,
    sends: ['location'],
    problems: ['cluster-exists'],
  },
  [`GET ${CLUSTER}/config`]: {
    id: 'getConfiguration',
    summary: 'The configuration in force, or an older revision',
    status: 200,
    answer: configurationSchema,
    sends: ['etag'],
  },
  [`GET ${CLUSTER}/config/history`]: {
    id: 'listRevisions',
    summary: 'The revisions of the configuration that are kept, newest first',
    status: 200,
    answer: revisionListSchema,
  },
  [`PUT ${CLUSTER}/config`]: {
    id: 'applyConfiguration',
    summary: 'Put a configuration in force, or only plan it (dryRun)',
    body: 'document',
    status: 200,
    answer: appliedSchema.or(planSchema),
    sends: ['etag'],
    conditional: true,
    problems: ['invalid-configuration', 'revision-mismatch', 'if-match-required', 'not-possible'],
  },
  [`POST ${CLUSTER}/config/plan`]: {
    id: 'planConfiguration',
    summary: 'What a configuration would change; changes nothing',
    body: 'document',
    status: 200,
    answer: planSchema,
    problems: ['invalid-configuration'],
  },
  [`GET ${CLUSTER}/status`]: {
    id: 'getStatus',
    summary: 'Groups and nodes as they are now',
    status: 200,
    answer: statusSchema,
  },
  [`GET ${CLUSTER}/events`]: {
    id: 'listEvents',
    summary: 'Events after a sequence number, or the newest; with wait, as soon as there is one',
    status: 200,
    answer: eventPageSchema,
    streams: eventSchema,
  },
  [`GET ${CLUSTER}/metrics`]: {
    id: 'getMetrics',
    summary: 'The cluster as Prometheus reads it',
    status: 200,
    answer: 'metrics',
  },
  [`POST ${CLUSTER}/simulate`]: {
    id: 'simulate',
    summary: 'What would become of each group; changes nothing',
    body: simulateSchema,
    status: 200,
    answer: simulationSchema,
    problems: ['invalid-configuration', 'node-unknown', 'not-possible'],
  },
  [`GET ${CLUSTER}/groups/:group/why`]: {
    id: 'why',
    summary: 'Every node with its reasons, and the last grant of the group',
    status: 200,
    answer: whySchema,
  },
  [`POST ${CLUSTER}/groups/:group/move`]: {
    id: 'moveGroup',
    summary: 'Move a group to another node, in order',
    body: moveSchema,
    ...operation,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/groups/:group/stop`]: {
    id: 'stopGroup',
    summary: 'Stop a group until it is started',
    body: nothing,
    ...operation,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/groups/:group/start`]: {
    id: 'startGroup',
    summary: 'Start a group that was stopped, or try one again that failed',
    body: nothing,
    ...operation,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/groups/:group/cleanup`]: {
    id: 'cleanUpGroup',
    summary: 'Forgive the failures of a group',
    body: nothing,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/groups/:group/pause`]: {
    id: 'pauseGroup',
    summary: 'Start and stop nothing of a group until the pause ends',
    body: pauseSchema,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/groups/:group/resume`]: {
    id: 'resumeGroup',
    summary: 'End the pause of a group',
    body: nothing,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/pause`]: {
    id: 'pauseCluster',
    summary: 'Pause every group',
    body: pauseSchema,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/resume`]: {
    id: 'resumeCluster',
    summary: 'End every pause',
    body: nothing,
    ...done,
    problems: ['not-possible'],
  },
  [`GET ${CLUSTER}/nodes`]: { id: 'listNodes', summary: 'The nodes', status: 200, answer: nodesSchema },
  [`DELETE ${CLUSTER}/nodes/:node`]: {
    id: 'removeNode',
    summary: 'Remove a node; its key is refused at once',
    body: removeNodeSchema,
    ...done,
    problems: ['node-owns-groups', 'not-possible'],
  },
  [`POST ${CLUSTER}/nodes/:node/token`]: {
    id: 'createJoinToken',
    summary: 'Make a token by which one machine joins, once, as this node',
    body: createTokenSchema,
    status: 201,
    answer: tokenCreatedSchema,
    problems: ['too-many-nodes'],
  },
  [`POST ${CLUSTER}/nodes/:node/standby`]: {
    id: 'drainNode',
    summary: 'Drain a node',
    body: nothing,
    ...operation,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/nodes/:node/ready`]: {
    id: 'readyNode',
    summary: 'End standby and maintenance of a node',
    body: nothing,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/nodes/:node/maintenance`]: {
    id: 'maintainNode',
    summary: 'Leave what a node runs as it is until the maintenance ends',
    body: pauseSchema,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/nodes/:node/confirm-dead`]: {
    id: 'confirmNodeDead',
    summary: 'An operator’s word that a machine is powered off',
    body: confirmDeadSchema,
    ...done,
    problems: ['node-alive', 'not-possible'],
  },
  [`GET ${CLUSTER}/operations`]: {
    id: 'listOperations',
    summary: 'The newest operations',
    status: 200,
    answer: operationListSchema,
  },
  [`GET ${CLUSTER}/operations/:operation`]: {
    id: 'getOperation',
    summary: 'An operation; with wait, when it has ended or the time is up',
    status: 200,
    answer: operationSchema,
  },
  [`POST ${CLUSTER}/operations/:operation/cancel`]: {
    id: 'cancelOperation',
    summary: 'Take back what an operation has not done yet',
    body: nothing,
    status: 200,
    answer: operationSchema,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/confirm-history`]: {
    id: 'confirmHistory',
    summary: 'After a restore of the coordinator’s data: grant again without waiting for every node',
    body: nothing,
    ...done,
    problems: ['not-possible'],
  },
  [`GET ${CLUSTER}/keys`]: {
    id: 'listKeys',
    summary: 'The keys by which nodes know the cluster, newest first',
    status: 200,
    answer: clusterKeysSchema,
  },
  [`POST ${CLUSTER}/keys/rotate`]: {
    id: 'rotateKey',
    summary: 'Make the next key; the one before it is deleted when every node trusts the new one',
    body: nothing,
    status: 200,
    answer: clusterKeysSchema,
    problems: ['not-possible'],
  },
  [`GET ${CLUSTER}/incidents`]: {
    id: 'listIncidents',
    summary: 'Each time a group was not served, newest first',
    status: 200,
    answer: incidentListSchema,
  },
  [`GET ${CLUSTER}/incidents/:incident`]: {
    id: 'getIncident',
    summary: 'One incident as a story; `last`: the newest',
    status: 200,
    answer: incidentStorySchema,
  },
  [`GET ${CLUSTER}/tokens`]: {
    id: 'listTokens',
    summary: 'The tokens of people and machines',
    status: 200,
    answer: accessTokenListSchema,
  },
  [`POST ${CLUSTER}/tokens`]: {
    id: 'createToken',
    summary: 'Make a token with a role; the answer has it, once',
    body: createAccessTokenSchema,
    status: 201,
    answer: accessTokenCreatedSchema,
    sends: ['location'],
    problems: ['token-exists', 'not-possible'],
  },
  [`DELETE ${CLUSTER}/tokens/:token`]: { id: 'revokeToken', summary: 'Revoke a token, by name or id', ...done },
  [`GET ${CLUSTER}/audit`]: {
    id: 'listAudit',
    summary: 'Who changed what: after a sequence number, or the newest',
    status: 200,
    answer: auditPageSchema,
  },
  [`GET ${CLUSTER}/audit/chain`]: {
    id: 'listAuditChain',
    summary:
      'The lines of the audit as they are kept, each with the hash of the one before: after a sequence number, or from the oldest',
    status: 200,
    answer: auditChainPageSchema,
  },
  [`GET ${CLUSTER}/webhooks`]: {
    id: 'listWebhooks',
    summary: 'The webhooks, and whether they arrive',
    status: 200,
    answer: webhookListSchema,
  },
  [`POST ${CLUSTER}/webhooks`]: {
    id: 'createWebhook',
    summary: 'Tell a receiver of events; the answer has the secret, once',
    body: createWebhookSchema,
    status: 201,
    answer: webhookCreatedSchema,
    sends: ['location'],
    problems: ['not-possible'],
  },
  [`GET ${CLUSTER}/webhooks/:webhook`]: { id: 'getWebhook', summary: 'A webhook', status: 200, answer: webhookSchema },
  [`DELETE ${CLUSTER}/webhooks/:webhook`]: {
    id: 'deleteWebhook',
    summary: 'Tell this receiver nothing any more',
    ...done,
  },
  [`GET ${CLUSTER}/webhooks/:webhook/deliveries`]: {
    id: 'listDeliveries',
    summary: 'The newest attempts',
    status: 200,
    answer: deliveriesSchema,
  },
  [`POST ${CLUSTER}/webhooks/:webhook/test`]: {
    id: 'testWebhook',
    summary: 'Send a test now',
    body: nothing,
    status: 200,
    answer: deliverySchema,
  },
  [`POST ${CLUSTER}/webhooks/:webhook/enable`]: {
    id: 'enableWebhook',
    summary: 'Let a disabled webhook deliver again',
    body: nothing,
    status: 200,
    answer: webhookSchema,
  },
  [`POST ${CLUSTER}/webhooks/:webhook/replay`]: {
    id: 'replayWebhook',
    summary: 'Send a notice that was delivered once more',
    body: replaySchema,
    ...done,
    problems: ['not-possible'],
  },
  [`POST ${CLUSTER}/webhooks/:webhook/rotate-secret`]: {
    id: 'rotateWebhookSecret',
    summary: 'Make a new secret; for a day the old one signs as well',
    body: nothing,
    status: 200,
    answer: webhookSecretSchema,
    problems: ['not-possible'],
  },
};
