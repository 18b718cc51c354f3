/**
 * The audit as it is kept: lines that are only ever added, each with the hash of the line before. Who changes, removes or inserts one in the
 * coordinator's database must change every line since, and whoever has kept a copy sees it.
 */
import * as z from 'zod';
import { roles } from './access.ts';

/** Of SHA-256, lower-case hex. */
const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** An action has two: one before it is done, and one that says how it ended. */
export const auditLineSchema = z.object({
  /** Without gaps. */
  seq: z.int().positive(),
  /** `hash` of the line before; null: the chain begins here. */
  prev: hash.nullable(),
  at: z.iso.datetime(),
  /** `seq` of the line that told of the beginning; null: this is one. */
  ends: z.int().positive().nullable(),
  who: z.string(),
  role: z.enum(roles),
  what: z.string(),
  before: z.string().nullable(),
  status: z.int().nullable(),
  problem: z.string().nullable(),
  reason: z.string().nullable(),
  after: z.string().nullable(),
  /** SHA-256 of this line without `hash`, as compact JSON in UTF-8 with its keys in this order; null: written before lines were chained. */
  hash: hash.nullable(),
});
export type AuditLine = z.infer<typeof auditLineSchema>;

/** Oldest first; without `after` from the oldest that is kept. */
export const auditChainPageSchema = z.object({
  schema: z.literal('holdfast/audit-chain/v1'),
  lines: z.array(auditLineSchema),
  /** Pass as `after` for what comes next. */
  next: z.int(),
});

/** As a reader takes them, with what a newer release adds: that is hashed as well. */
export const anyAuditLineSchema = auditLineSchema.loose();
export const anyAuditChainPageSchema = auditChainPageSchema.extend({ lines: z.array(anyAuditLineSchema) });

const FIELDS = Object.keys(auditLineSchema.shape);

/** What `hash` of a line must be: fields that this release does not know come last. Its texts must be well-formed Unicode. */
export async function auditHash(line: Omit<AuditLine, 'hash'>): Promise<string> {
  const fields = new Set([...FIELDS, ...Object.keys(line)]);
  fields.delete('hash');
  const bytes = new TextEncoder().encode(JSON.stringify(line, [...fields]));
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The first line that does not fit, and why. */
export interface AuditFault {
  readonly seq: number;
  readonly detail: string;
}

/**
 * @param lines in order, from any line on. Those without a hash are from before the chain, and only in front of it.
 * @returns null: every line is as it was written, and none between the first and the last is missing or added.
 */
export async function auditFault(lines: readonly AuditLine[]): Promise<AuditFault | null> {
  let last: AuditLine | undefined;
  for (const line of lines) {
    const detail = (await ownFault(line)) ?? placeFault(line, last);
    if (detail !== null) return { seq: line.seq, detail };
    last = line;
  }
  return null;
}

async function ownFault(line: AuditLine): Promise<string | null> {
  if (line.hash === null || line.hash === (await auditHash(line))) return null;
  return 'it is not as it was written: its hash is that of another text';
}

function placeFault(line: AuditLine, last: AuditLine | undefined): string | null {
  if (last === undefined) return null;
  if (line.hash === null) {
    if (last.hash === null) return null;
    return `it has no hash, and stands after line ${last.seq}, which has one: it was added, or its hash was taken away`;
  }
  if (last.hash !== null && line.seq > last.seq + 1)
    return `lines from ${last.seq + 1} to ${line.seq - 1}, before it, are missing`;
  if (line.prev === last.hash) return null;
  return `it does not follow line ${last.seq}: one of the two was changed, added or put in another place`;
}

/**
 * Compares a copy that somebody kept with what the coordinator has now, both of them without a fault of their own.
 * @returns the first line of the copy that is not there as it was; null: all are, except those that are older than everything that is kept.
 */
export function copyFault(copy: readonly AuditLine[], kept: readonly AuditLine[]): AuditFault | null {
  const oldest = kept.at(0)?.seq ?? 1;
  const bySeq = new Map(kept.map((line) => [line.seq, line]));
  for (const line of copy) {
    if (line.seq < oldest) continue;
    const there = bySeq.get(line.seq);
    if (there === undefined) return { seq: line.seq, detail: 'the coordinator does not have it any more' };
    if (JSON.stringify(there) !== JSON.stringify(line))
      return { seq: line.seq, detail: 'the coordinator has another line in its place' };
  }
  return null;
}
