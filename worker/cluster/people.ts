/**
 * People and machines that use the API of a cluster: their tokens, and the record of what was done with these. The routes call it through the
 * cluster's object (`cluster.people`), in one call.
 */
import { RpcTarget } from 'cloudflare:workers';
import type { AccessToken, AuditEntry, CreateAccessToken } from '../../schemas/access.ts';
import { PROBLEMS } from '../../schemas/api.ts';
import type { AuditLine } from '../../schemas/audit-chain.ts';
import { AccessTokens } from './access-tokens.ts';
import { Audit, type Begun, type Ended, type Given } from './audit.ts';
import { now } from './clock.ts';
import { done, type Result, refuse } from './result.ts';
import { newSecret, type Presented } from './secrets.ts';

/** How often the record tells that a token was refused something. */
const REFUSALS_EVERY_MS = 60_000;

export class People extends RpcTarget {
  readonly #access: AccessTokens;
  readonly #audit: Audit;
  readonly #open: () => Result<unknown>;
  /** When each token was last refused something, as it is on record. */
  readonly #refusedAt = new Map<string, number>();

  /** @param open whether the object holds a cluster, or why not. */
  constructor(sql: SqlStorage, open: () => Result<unknown>) {
    super();
    this.#access = new AccessTokens(sql);
    this.#audit = new Audit(sql);
    this.#open = open;
  }

  /** Whose token it is; null: nobody's. */
  async holderOf(presented: Presented): Promise<Result<AccessToken | null>> {
    const open = this.#open();
    return open.ok ? done(this.#access.check(presented, now())) : open;
  }

  async createAccessToken(wanted: CreateAccessToken): Promise<Result<{ token: AccessToken; secret: string }>> {
    const open = this.#open();
    if (!open.ok) return open;
    const secret = await newSecret('hfa1');
    const added = this.#access.add(wanted, secret, now());
    return added.ok ? done({ token: added.value, secret: secret.text }) : added;
  }

  async accessTokens(): Promise<Result<AccessToken[]>> {
    const open = this.#open();
    return open.ok ? done(this.#access.list()) : open;
  }

  async revokeAccessToken(which: string): Promise<Result<AccessToken>> {
    const open = this.#open();
    if (!open.ok) return open;
    const revoked = this.#access.revoke(which);
    if (revoked !== null) return done(revoked);
    return refuse('token-unknown', `no token ${which} in this cluster; \`holdfast token list\` shows them`);
  }

  /** A line of the record, before the thing is done. @returns its number; or, of what was done by the same key, the answer of then. */
  async auditBegin(begun: Begun): Promise<Result<{ seq: number } | { given: Given }>> {
    const open = this.#open();
    if (!open.ok) return open;
    return await this.#audit.inTurn(async () => {
      const { repeatable } = begun;
      const repeated = repeatable === null ? null : this.#audit.repeated(begun.whoId, repeatable.key);
      if (repeated === null) return done({ seq: await this.#audit.begin(begun, now()) });
      if (repeated.what !== begun.what || repeated.bodySha256 !== repeatable?.bodySha256)
        return refuse('invalid-value', `Idempotency-Key: it was used for another request: ${repeated.what}`);
      if (repeated.answer !== null) return done({ given: repeated.answer });
      return refuse(
        'not-possible',
        'an action of this Idempotency-Key was begun and its end is not known (yet): ask again, or look at the status and take another key',
      );
    });
  }

  /** What a token was not allowed: once a minute for each, so that whoever may only look cannot fill the record. */
  async auditRefused(begun: Begun, problem: string): Promise<void> {
    const last = this.#refusedAt.get(begun.whoId);
    if (last !== undefined && Math.abs(now() - last) < REFUSALS_EVERY_MS) return;
    this.#refusedAt.set(begun.whoId, now());
    await this.#audit.inTurn(async () => {
      const seq = await this.#audit.begin(begun, now());
      const ended = { status: PROBLEMS.forbidden, problem, reason: null, after: null, answer: null };
      await this.#audit.end(seq, ended, now());
    });
  }

  async auditEnd(seq: number, ended: Ended): Promise<void> {
    await this.#audit.inTurn(() => this.#audit.end(seq, ended, now()));
  }

  async audit(after: number | null, limit: number): Promise<Result<AuditEntry[]>> {
    const open = this.#open();
    return open.ok ? done(this.#audit.page(after, limit)) : open;
  }

  /** The lines as they are kept, each with the hash of the one before. */
  async auditLines(after: number, limit: number): Promise<Result<AuditLine[]>> {
    const open = this.#open();
    return open.ok ? done(this.#audit.lines(after, limit)) : open;
  }
}
