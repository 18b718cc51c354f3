/**
 * Why a node may or may not run a group, as data. Placement produces them, the coordinator stores them with every grant and
 * refusal, `why` renders them; nobody parses the text.
 */
import * as z from 'zod';
import { nameSchema } from './names.ts';

const at = z.iso.datetime();

export const reasonSchema = z.discriminatedUnion('rule', [
  // against a node
  z.object({ rule: z.literal('not-listed') }),
  z.object({ rule: z.literal('not-joined') }),
  z.object({ rule: z.literal('removed') }),
  z.object({ rule: z.literal('standby') }),
  z.object({ rule: z.literal('lost'), lastSeen: at.nullable() }),
  z.object({ rule: z.literal('not-started') }),
  z.object({ rule: z.literal('unheard') }),
  z.object({ rule: z.literal('agent-ended'), since: at }),
  z.object({ rule: z.literal('refuses'), resource: z.string(), detail: z.string() }),
  z.object({ rule: z.literal('failed-here'), resource: z.string(), detail: z.string(), since: at }),
  z.object({ rule: z.literal('quarantine'), remainingMs: z.int() }),
  z.object({ rule: z.literal('outdated-config'), revision: z.int(), wanted: z.int() }),
  z.object({ rule: z.literal('declared-dead'), since: at }),
  // for a node
  z.object({ rule: z.literal('owner') }),
  z.object({ rule: z.literal('target'), operation: z.string() }),
  z.object({ rule: z.literal('preference'), position: z.int() }),
  // about the group as a whole
  z.object({ rule: z.literal('group-stopped') }),
  z.object({ rule: z.literal('group-removed') }),
  z.object({
    rule: z.literal('lease-runs'),
    owner: nameSchema,
    remainingMs: z.int(),
    clock: z.enum(['coordinator', 'claimant']),
  }),
  z.object({ rule: z.literal('renewal-not-newest') }),
  z.object({ rule: z.literal('owner-has-it'), owner: nameSchema }),
  z.object({ rule: z.literal('owner-let-lapse'), owner: nameSchema }),
  z.object({ rule: z.literal('better-candidate'), node: nameSchema }),
  z.object({ rule: z.literal('restored'), waitingFor: z.array(nameSchema) }),
  z.object({ rule: z.literal('epochs-unreported') }),
  z.object({ rule: z.literal('instance-new'), waitingFor: z.array(nameSchema), remainingMs: z.int() }),
]);
export type Reason = z.infer<typeof reasonSchema>;

export const candidateSchema = z.object({
  node: nameSchema,
  eligible: z.boolean(),
  chosen: z.boolean(),
  reasons: z.array(reasonSchema),
});
export type Candidate = z.infer<typeof candidateSchema>;

/** Why the lease was free to be granted. */
export const causes = ['first-start', 'released', 'lease-expired', 'declared-dead'] as const;
export type Cause = (typeof causes)[number];

/** One grant or refusal as it was decided, with everything it was decided on. */
export const decisionSchema = z.object({
  seq: z.int().positive(),
  at,
  group: nameSchema,
  kind: z.enum(['grant', 'refusal']),
  /** Who asked. */
  node: nameSchema,
  epoch: z.int().nonnegative(),
  cause: z.enum(causes).optional(),
  from: nameSchema.optional(),
  reasons: z.array(reasonSchema),
  candidates: z.array(candidateSchema),
  /** Of a grant: when the previous owner's last renewal arrived, when the group was reported running. */
  lastRenewalAt: at.nullable(),
  runningAt: at.nullable(),
});
export type Decision = z.infer<typeof decisionSchema>;

/** One reason in words, without the subject. */
export function reasonText(reason: Reason): string {
  switch (reason.rule) {
    case 'not-listed':
      return 'is not in the group’s `on` list';
    case 'not-joined':
      return 'is named in the configuration, but has not joined';
    case 'removed':
      return 'was removed from the cluster';
    case 'standby':
      return 'is in standby';
    case 'lost':
      return reason.lastSeen === null
        ? 'has not reported since the coordinator started'
        : `is lost, last seen ${reason.lastSeen}`;
    case 'not-started':
      return 'has joined, but its agent has not started';
    case 'unheard':
      return 'has not reported yet: the coordinator started a moment ago';
    case 'agent-ended':
      return `has no agent: it ended ${reason.since} (its guard was lost) and has not started again`;
    case 'refuses':
      return `refuses ${reason.resource}: ${reason.detail}`;
    case 'failed-here':
      return `${reason.resource} failed here (${reason.since}): ${reason.detail}; \`holdfast group cleanup\` forgives`;
    case 'quarantine':
      return `restarted; may activate in ${(reason.remainingMs / 1000).toFixed(1)} s`;
    case 'outdated-config':
      return `works by revision ${reason.revision}, not yet ${reason.wanted}`;
    case 'declared-dead':
      return `was declared dead ${reason.since} and has not restarted since`;
    case 'owner':
      return 'has it, or had it last (stay put)';
    case 'target':
      return `an operator moves it here (${reason.operation})`;
    case 'preference':
      return `number ${reason.position} of the \`on\` list`;
    case 'group-stopped':
      return 'the group is stopped by an operator; `holdfast group start` starts it';
    case 'group-removed':
      return 'the group is no longer in the configuration';
    case 'lease-runs':
      return `the lease of ${reason.owner} may run for another ${reason.remainingMs} ms by the ${reason.clock}’s clock`;
    case 'renewal-not-newest':
      return 'the claim names a renewal that is not the newest';
    case 'owner-has-it':
      return 'holds a valid lease on it';
    case 'owner-let-lapse':
      return 'did not renew its lease in time';
    case 'better-candidate':
      return `${reason.node} ranks higher`;
    case 'restored':
      return `the coordinator’s data was restored; waiting for ${reason.waitingFor.join(', ') || 'the wait to end'}, or \`holdfast cluster confirm-history\``;
    case 'instance-new':
      return `the coordinator started anew and has not heard from ${reason.waitingFor.join(', ')}, which may still run it; it waits for another ${(reason.remainingMs / 1000).toFixed(1)} s at most`;
    case 'epochs-unreported':
      return 'has not yet reported the epochs it has seen';
    default:
      return reason satisfies never;
  }
}
