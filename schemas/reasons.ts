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
  z.object({
    rule: z.literal('failed-here'),
    resource: z.string(),
    detail: z.string(),
    since: at,
    /** When it may be tried again. */
    until: at.optional(),
  }),
  z.object({ rule: z.literal('quarantine'), remainingMs: z.int() }),
  z.object({ rule: z.literal('outdated-config'), revision: z.int(), wanted: z.int() }),
  z.object({ rule: z.literal('declared-dead'), since: at }),
  /** `node`: said of a group that stays with this owner. */
  z.object({ rule: z.literal('maintenance'), until: at, detail: z.string(), node: nameSchema.optional() }),
  z.object({ rule: z.literal('leaving') }),
  /** The group demands a watchdog. `has`: what the node has told; null: nothing. */
  z.object({ rule: z.literal('no-watchdog'), has: z.enum(['guard', 'sysrq']).nullable() }),
  z.object({ rule: z.literal('fuse-unfit'), detail: z.string() }),
  z.object({ rule: z.literal('not-with'), group: nameSchema, owner: nameSchema.nullable() }),
  z.object({ rule: z.literal('not-apart'), group: nameSchema }),
  z.object({ rule: z.literal('manual-failover') }),
  /** The owner may live on the promises of these alone, so nobody else may take over from it. */
  z.object({ rule: z.literal('not-voter'), voters: z.array(nameSchema) }),
  /** It keeps out of this epoch for as long as its owner, of which the coordinator does not hear, goes on asking. Shown only, never decided by. */
  z.object({ rule: z.literal('promised'), owner: nameSchema, epoch: z.int() }),
  /** Of the group: nobody is granted it while voters say that they keep out for its owner. */
  z.object({ rule: z.literal('lives-on-promises'), owner: nameSchema, voters: z.array(nameSchema) }),
  /** Its copy of the data is not known, not complete, or lacks what was written elsewhere. */
  z.object({ rule: z.literal('copy-unknown'), resource: z.string() }),
  z.object({ rule: z.literal('copy-unfit'), resource: z.string(), disk: z.string(), detail: z.string().optional() }),
  z.object({
    rule: z.literal('copy-behind'),
    resource: z.string(),
    owner: nameSchema,
    connection: z.string(),
    disk: z.string(),
  }),
  z.object({
    rule: z.literal('split-brain'),
    resource: z.string(),
    name: z.string(),
    other: nameSchema,
    detail: z.string(),
  }),
  // for a node: each adds its weight to the score
  z.object({ rule: z.literal('copy'), resource: z.string(), disk: z.string(), replicas: z.int(), weight: z.int() }),
  z.object({ rule: z.literal('owner'), weight: z.int().optional() }),
  z.object({ rule: z.literal('target'), operation: z.string(), weight: z.int().optional() }),
  z.object({ rule: z.literal('prefer'), entry: z.string(), weight: z.int() }),
  z.object({ rule: z.literal('preference'), position: z.int(), weight: z.int().optional() }),
  // about the group as a whole
  z.object({ rule: z.literal('group-stopped') }),
  z.object({ rule: z.literal('group-paused'), until: at, detail: z.string() }),
  z.object({ rule: z.literal('group-halted'), node: nameSchema, resource: z.string(), detail: z.string(), since: at }),
  z.object({ rule: z.literal('waits-for'), group: nameSchema, state: z.string(), detail: z.string().optional() }),
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
  /** Sum of the weights of what speaks for it; the highest eligible one is chosen. Left out in decisions of older versions. */
  score: z.int().optional(),
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

/** What a reason is said of, so that the commands it names can be typed as they stand. */
export interface About {
  readonly group?: string;
  readonly node?: string;
}

/** One reason in words, without the subject. */
export function reasonText(reason: Reason, about: About = {}): string {
  const { group = 'GROUP', node = 'NODE' } = about;
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
      return `${reason.resource} failed here (${reason.since}): ${reason.detail}; ${reason.until === undefined ? '' : `tried again ${reason.until}, `}\`holdfast group cleanup ${group}\` forgives`;
    case 'quarantine':
      return `restarted; may activate in ${(reason.remainingMs / 1000).toFixed(1)} s`;
    case 'outdated-config':
      return `works by revision ${reason.revision}, not yet ${reason.wanted}`;
    case 'declared-dead':
      return `was declared dead ${reason.since} and has not restarted since`;
    case 'maintenance':
      return `${reason.node === undefined ? '' : `${reason.node}, which has it, `}is in maintenance until ${reason.until} (${reason.detail}); \`holdfast node ready ${reason.node ?? node}\` ends it`;
    case 'leaving':
      return 'is shutting down';
    case 'no-watchdog':
      return `has no watchdog${reason.has === 'sysrq' ? ', only a reset by sysrq' : ''}, and ${group} starts only on nodes that have one (\`fence: watchdog\`, or a disk that is shared)`;
    case 'fuse-unfit':
      return `cannot use the watchdog that it is to have, so it starts nothing: ${reason.detail}`;
    case 'not-with':
      return reason.owner === null
        ? `has to wait for ${reason.group}, with which it runs and which runs nowhere`
        : `is not where ${reason.group} runs (${reason.owner})`;
    case 'not-apart':
      return `runs ${reason.group}, from which it is kept apart`;
    case 'manual-failover':
      return `takes it only by \`holdfast move ${group} --to ${node}\` (failover: manual)`;
    case 'not-voter':
      return reason.voters.length === 0
        ? 'was no voter when the owner was last heard of, nor was any machine that is here now: `holdfast confirm-dead` of the owner, if the machine that ran the group is off, frees it'
        : `was no voter when the owner was last heard of (${reason.voters.join(', ')}), so only these may take over: \`holdfast confirm-dead\` of the owner, if it is off, frees the group`;
    case 'promised':
      return `has promised ${reason.owner}, which asks it and runs the group, to keep out of epoch ${reason.epoch}; it takes over when that asks no more`;
    case 'lives-on-promises':
      return `${reason.owner} runs the group, unheard by the coordinator, by the promise of ${reason.voters.join(', ')}`;
    case 'copy-unknown':
      return `has not told the state of ${reason.resource} yet`;
    case 'copy-unfit':
      return `has no complete copy: ${reason.resource} is ${reason.disk} here${reason.detail === undefined ? '' : `; ${reason.detail}`}`;
    case 'copy-behind':
      return `may lack writes: ${reason.owner}, which wrote last, had it as ${reason.connection}, ${reason.disk} for ${reason.resource}; when it has caught up it may take the group, or by \`holdfast move ${group} --to ${node} --accept-risk=lose-newer-writes\``;
    case 'split-brain':
      return `its copy of ${reason.resource} and that of ${reason.other} have diverged (split brain): ${reason.detail}; choose whose writes are lost, on that node: \`holdfast drbd resolve-split-brain ${reason.name}\``;
    case 'copy':
      return `${reason.resource} is ${reason.disk} here, ${reason.replicas} of its peers connected and UpToDate`;
    case 'prefer':
      return `preferred (${reason.entry})`;
    case 'owner':
      return 'has it, or had it last (stay put)';
    case 'target':
      return `an operator moves it here (${reason.operation})`;
    case 'preference':
      return `number ${reason.position} of the \`on\` list`;
    case 'group-stopped':
      return `the group is stopped by an operator; \`holdfast group start ${group}\` starts it`;
    case 'group-paused':
      return `the group is paused until ${reason.until} (${reason.detail}); \`holdfast group resume ${group}\` ends it`;
    case 'group-halted':
      return `${reason.resource} failed on ${reason.node} (${reason.since}): ${reason.detail}; by its policy a person decides: \`holdfast group cleanup ${group}\` starts it again`;
    case 'waits-for':
      return `waits for ${reason.group}, which is ${reason.state}${reason.detail === undefined ? '' : ` (${reason.detail})`}`;
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
