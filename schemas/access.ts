/** Who may do what by the API: tokens of people and machines, their roles, and the record of what was done with them. */
import * as z from 'zod';
import { nameSchema } from './names.ts';

const at = z.iso.datetime();

/** Each may do what those before it may: look; act on what runs; change what is meant to run, and who may. */
export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

export function roleReaches(has: Role, wanted: Role): boolean {
  return roles.indexOf(has) >= roles.indexOf(wanted);
}

export const MAX_ACCESS_TOKENS = 100;
export const ACCESS_TOKEN_DEFAULT_TTL_MS = 90 * 86_400_000;
export const ACCESS_TOKEN_MAX_TTL_MS = 366 * 86_400_000;
/** Groups that one token names. */
export const MAX_TOKEN_GROUPS = 50;
/** Lines, of which an action has two. */
export const MAX_STORED_AUDIT = 20_000;
export const MAX_AUDIT_PER_PAGE = 500;

/** `Idempotency-Key` of an action. */
export const idempotencyKeyPattern = /^[\x21-\x7e]{1,64}$/;

/** How the coordinator's own token is called in the audit. */
export const ADMINISTRATOR_NAME = 'administrator';

export const createAccessTokenSchema = z.strictObject({
  /** What it is shown by: whose it is. */
  name: nameSchema.refine((name) => name !== ADMINISTRATOR_NAME, 'that is the name of the coordinator’s own token'),
  role: z.enum(roles),
  /** The only groups that it may act on; left out: all, and the cluster itself. Looking is not limited by it. */
  groups: z.array(nameSchema).min(1, 'name a group, or leave it out').max(MAX_TOKEN_GROUPS).optional(),
  ttlMs: z.int().positive().max(ACCESS_TOKEN_MAX_TTL_MS).default(ACCESS_TOKEN_DEFAULT_TTL_MS),
});
export type CreateAccessToken = z.infer<typeof createAccessTokenSchema>;

export const accessTokenSchema = z.object({
  id: z.string(),
  name: nameSchema,
  role: z.enum(roles),
  groups: z.array(nameSchema).nullable(),
  createdAt: at,
  expiresAt: at,
});
export type AccessToken = z.infer<typeof accessTokenSchema>;

export const accessTokenListSchema = z.object({
  schema: z.literal('holdfast/access-tokens/v1'),
  tokens: z.array(accessTokenSchema),
});
/** `secret`: the token itself, shown here and never again. */
export const accessTokenCreatedSchema = z.object({
  schema: z.literal('holdfast/access-token-created/v1'),
  token: accessTokenSchema,
  secret: z.string(),
});

export const auditEntrySchema = z.object({
  seq: z.int().positive(),
  at,
  /** Name of the token; `administrator` for that of the coordinator. */
  who: z.string(),
  role: z.enum(roles),
  /** Method and path. */
  what: z.string(),
  /** HTTP status; null: the coordinator ended before it was answered, so it may or may not have been done. */
  status: z.int().nullable(),
  /** Of what was refused: why. */
  problem: z.string().nullable(),
  /** What the caller gave as the reason, where the action takes one. */
  reason: z.string().nullable(),
  /** Of a configuration: the revision that was replaced, and the one in force since. Of an action that takes time: its operation. */
  before: z.string().nullable(),
  after: z.string().nullable(),
});
export type AuditEntry = z.infer<typeof auditEntrySchema>;
/** Oldest first; without `after` the newest. */
export const auditPageSchema = z.object({
  schema: z.literal('holdfast/audit/v1'),
  entries: z.array(auditEntrySchema),
  /** Pass as `after` for what comes next. */
  next: z.int(),
});
