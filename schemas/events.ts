/** The events of a cluster: what happened, when, to whom. `events` and `why` speak of these and nothing else. */
import * as z from 'zod';
import { MAX_DETAIL_LENGTH, MAX_EPOCH, MAX_SPAN_MS } from './limits.ts';
import { nameSchema } from './names.ts';

/** What the coordinator itself has seen or done. */
export const clusterEventKinds = [
  'cluster.created',
  'cluster.key-changed',
  'config.applied',
  'coordinator.started',
  'coordinator.clock-stepped',
  'coordinator.restored',
  'coordinator.history-confirmed',
  'node.token-created',
  'node.joined',
  'node.rejoined',
  'node.rekeyed',
  'node.trusts-another-key',
  'node.new-incarnation',
  'node.lost',
  'node.returned',
  'node.standby',
  'node.ready',
  'node.maintenance',
  'node.leaving',
  'node.removed',
  'node.declared-dead',
  'node.refuses',
  'node.accepts',
  'node.identity-conflict',
  'group.granted',
  'group.lease-expired',
  'group.released',
  'group.running',
  'group.degraded',
  'group.held',
  'group.stopped',
  'group.failed-on-node',
  'group.failed',
  'group.waiting',
  'group.retried',
  'group.cleaned-up',
  'copy.split-brain',
  'copy.current',
  'copy.behind',
  'group.paused',
  'group.resumed',
  'group.stop-requested',
  'group.start-requested',
  'group.move-requested',
  'operation.finished',
  'webhook.created',
  'webhook.removed',
  'webhook.disabled',
] as const;

/** What agents report; they may report nothing else, so that no node can tell the cluster's own story. */
export const agentEventKinds = [
  'agent.started',
  'agent.lease-lost',
  'agent.lives-on-promises',
  'agent.coordinator-reachable',
  'agent.guard-lost',
  'agent.watchdog-taken',
  'agent.watchdog-free',
  'agent.fuse-fired',
  'agent.state-not-writable',
  'agent.events-dropped',
  'resource.failed',
  'resource.ignored',
  'resource.held',
  'resource.recovered',
  'resource.restarting',
  'resource.repaired',
  'resource.adopted',
  'resource.stopped-without-lease',
  'resource.stop-failed',
] as const;

export const eventKinds = [...clusterEventKinds, ...agentEventKinds] as const;
export type EventKind = (typeof eventKinds)[number];

export const eventSeverities = ['info', 'warning', 'error'] as const;
export type EventSeverity = (typeof eventSeverities)[number];

/** As an agent reports it. `agoMs`: how long before the report was sent it happened, on the node's own clock. */
export const agentEventSchema = z.object({
  id: z.string().min(1).max(64),
  kind: z.enum(agentEventKinds),
  severity: z.enum(eventSeverities),
  agoMs: z.int().nonnegative().max(MAX_SPAN_MS),
  group: nameSchema.optional(),
  resource: nameSchema.optional(),
  epoch: z.int().nonnegative().max(MAX_EPOCH).optional(),
  detail: z.string().max(MAX_DETAIL_LENGTH),
});
export type AgentEvent = z.infer<typeof agentEventSchema>;

/** As it is stored and served. `seq` orders the events of a cluster; `at` is RFC 3339 UTC by the coordinator's clock. */
export const eventSchema = z.object({
  seq: z.int().positive(),
  at: z.iso.datetime(),
  kind: z.enum(eventKinds),
  severity: z.enum(eventSeverities),
  node: nameSchema.optional(),
  group: nameSchema.optional(),
  resource: nameSchema.optional(),
  epoch: z.int().nonnegative().optional(),
  detail: z.string(),
});
export type ClusterEvent = z.infer<typeof eventSchema>;
