/**
 * The record of what was done by the API: begun before it is done, so that nothing is done without a line. Lines are only ever added, each
 * with the hash of the one before (schemas/audit-chain.ts).
 */
import { type AuditEntry, MAX_STORED_AUDIT, type Role } from '../../schemas/access.ts';
import { type AuditLine, auditHash } from '../../schemas/audit-chain.ts';
import { timestamp } from './records.ts';

const TRIM_BATCH = 128;
const MAX_TEXT = 500;
const LINE = 'seq, prev, at, ends, who, role, what, before, status, problem, reason, after, hash';

type LineRow = Omit<AuditLine, 'at' | 'role'> & { at: number; role: string };
type EntryRow = Omit<AuditEntry, 'at' | 'role'> & { at: number; role: string };

/** What a caller that repeats itself is known by. */
export interface Repeatable {
  readonly key: string;
  readonly bodySha256: string;
}
/** `whoId`: of the token, whose name may be given to another one later. */
export type Begun = Pick<AuditEntry, 'who' | 'role' | 'what' | 'before'> & {
  readonly whoId: string;
  readonly repeatable: Repeatable | null;
};
/** `answer`: to be given again to whoever repeats the key. */
export type Ended = Pick<AuditEntry, 'status' | 'problem' | 'reason' | 'after'> & { readonly answer: Given | null };

/** An answer as it was given. */
export interface Given {
  readonly status: number;
  readonly body: string;
  readonly location: string | null;
}

/** Beside its line and in no hash: what an action is known by when it is asked for again. */
type Unhashed = { readonly whoId: string; readonly repeatable?: Repeatable | null; readonly answer?: Given | null };

/** Half of a pair of surrogates would be stored as another character than was hashed. */
const cut = (text: string | null) => text?.slice(0, MAX_TEXT).toWellFormed() ?? null;

export class Audit {
  readonly #sql: SqlStorage;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Runs what adds lines alone: to hash one takes a moment, in which nobody else may add one. */
  inTurn<T>(body: () => Promise<T>): Promise<T> {
    const ran = this.#turn.then(body);
    this.#turn = ran.catch(() => undefined);
    return ran;
  }

  /** In turn. @returns the number of the line. */
  async begin({ who, whoId, role, what, before, repeatable }: Begun, now: number): Promise<number> {
    const line = { ends: null, who, role, what: what.slice(0, MAX_TEXT).toWellFormed(), before: cut(before) };
    return await this.#add({ ...line, status: null, problem: null, reason: null, after: null }, now, {
      whoId,
      repeatable,
    });
  }

  /** In turn. How it ended; once, and as long as its beginning is kept. */
  async end(seq: number, { status, problem, reason, after, answer }: Ended, now: number): Promise<void> {
    const begun = this.#sql
      .exec<LineRow & { who_id: string }>(
        'SELECT * FROM audit WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM audit WHERE ends = ?)',
        seq,
        seq,
      )
      .toArray()[0];
    if (begun === undefined) return;
    const { who, role, what, before, who_id: whoId } = begun;
    const ended = { status, problem: cut(problem), reason: cut(reason), after: cut(after) };
    await this.#add({ ends: seq, who, role: role as Role, what, before, ...ended }, now, { whoId, answer });
  }

  async #add(content: Omit<AuditLine, 'seq' | 'prev' | 'at' | 'hash'>, now: number, by: Unhashed): Promise<number> {
    const last = this.#sql.exec<LineRow>(`SELECT ${LINE} FROM audit ORDER BY seq DESC LIMIT 1`).toArray()[0];
    const line = { seq: (last?.seq ?? 0) + 1, prev: last?.hash ?? null, at: timestamp(now), ...content };
    const hash = await auditHash(line);
    this.#sql.exec(
      `INSERT INTO audit (${LINE}, who_id, key, body_sha256, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      line.seq,
      line.prev,
      now,
      line.ends,
      line.who,
      line.role,
      line.what,
      line.before,
      line.status,
      line.problem,
      line.reason,
      line.after,
      hash,
      by.whoId,
      by.repeatable?.key ?? null,
      by.repeatable?.bodySha256 ?? null,
      by.answer == null ? null : JSON.stringify(by.answer),
    );
    if (line.seq % TRIM_BATCH === 0) this.#sql.exec('DELETE FROM audit WHERE seq <= ?', line.seq - MAX_STORED_AUDIT);
    return line.seq;
  }

  /**
   * What became of an action that the same caller asked for by the same key: done (its answer), or begun and no more is known. Null: never
   * asked for, or refused, which did nothing.
   */
  repeated(
    whoId: string,
    key: string,
  ): { readonly what: string; readonly bodySha256: string; readonly answer: Given | null } | null {
    const row = this.#sql
      .exec<{ what: string; body_sha256: string; answer: string | null }>(
        `SELECT b.what, b.body_sha256, coalesce(e.answer, b.answer) AS answer FROM audit b LEFT JOIN audit e ON e.ends = b.seq
         WHERE b.who_id = ? AND b.key = ? AND coalesce(e.status, b.status, 0) < 400 ORDER BY b.seq DESC LIMIT 1`,
        whoId,
        key,
      )
      .toArray()[0];
    if (row === undefined) return null;
    return {
      what: row.what,
      bodySha256: row.body_sha256,
      answer: row.answer === null ? null : (JSON.parse(row.answer) as Given),
    };
  }

  /** What was begun, with how it ended, oldest first: those above `after`, or the newest. */
  page(after: number | null, limit: number): AuditEntry[] {
    const rows = this.#sql
      .exec<EntryRow>(
        `SELECT b.seq, b.at, b.who, b.role, b.what, coalesce(e.status, b.status) AS status,
           coalesce(e.problem, b.problem) AS problem, coalesce(e.reason, b.reason) AS reason, b.before,
           coalesce(e.after, b.after) AS after
         FROM audit b LEFT JOIN audit e ON e.ends = b.seq
         WHERE b.ends IS NULL AND b.seq > ? ORDER BY b.seq ${after === null ? 'DESC' : 'ASC'} LIMIT ?`,
        after ?? 0,
        limit,
      )
      .toArray();
    if (after === null) rows.reverse();
    return rows.map((row) => ({ ...row, at: timestamp(row.at), role: row.role as Role }));
  }

  /** The lines themselves above `after`, oldest first. */
  lines(after: number, limit: number): AuditLine[] {
    return this.#sql
      .exec<LineRow>(`SELECT ${LINE} FROM audit WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
      .toArray()
      .map((row) => ({ ...row, at: timestamp(row.at), role: row.role as Role }));
  }
}
