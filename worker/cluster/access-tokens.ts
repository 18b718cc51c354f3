/** Tokens of people and machines for the API of one cluster. */
import { type AccessToken, type CreateAccessToken, MAX_ACCESS_TOKENS, type Role } from '../../schemas/access.ts';
import { fromHex, sameBytes } from './encoding.ts';
import { timestamp } from './records.ts';
import { done, type Result, refuse } from './result.ts';
import type { NewSecret, Presented } from './secrets.ts';

type TokenRow = {
  id: string;
  name: string;
  role: string;
  groups: string | null;
  secret_sha256: string;
  created_at: number;
  expires_at: number;
};

export class AccessTokens {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  add({ name, role, groups, ttlMs }: CreateAccessToken, { id, hash }: NewSecret, now: number): Result<AccessToken> {
    // one that has ended frees its name
    this.#sql.exec('DELETE FROM access_token WHERE expires_at <= ?', now);
    const tokens = this.list();
    if (tokens.some((token) => token.name === name))
      return refuse('token-exists', `there is a token ${name}: give this one another name, or revoke that one`);
    if (tokens.length >= MAX_ACCESS_TOKENS)
      return refuse('not-possible', `a cluster has at most ${MAX_ACCESS_TOKENS} tokens: revoke one first`);
    this.#sql.exec(
      'INSERT INTO access_token (id, name, role, groups, secret_sha256, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
      id,
      name,
      role,
      groups === undefined ? null : JSON.stringify(groups),
      hash,
      now,
      now + ttlMs,
    );
    const [added] = this.#rows('WHERE id = ?', id);
    if (added === undefined) throw new Error('a token that was just stored is not there');
    return done(toToken(added));
  }

  list(): AccessToken[] {
    return this.#rows('ORDER BY name').map(toToken);
  }

  /** @param which its id or its name. @returns the one that is gone, null if there was none. */
  revoke(which: string): AccessToken | null {
    const [found] = [...this.#rows('WHERE id = ?', which), ...this.#rows('WHERE name = ?', which)];
    if (found === undefined) return null;
    this.#sql.exec('DELETE FROM access_token WHERE id = ?', found.id);
    return toToken(found);
  }

  /** @returns whose token it is, or null: it is unknown, revoked, or not good any more. */
  check(presented: Presented, now: number): AccessToken | null {
    const [row] = this.#rows('WHERE id = ?', presented.id);
    const hash = fromHex(row?.secret_sha256 ?? '');
    if (row === undefined || hash === null || !sameBytes(hash, presented.secretHash)) return null;
    return row.expires_at > now ? toToken(row) : null;
  }

  #rows(condition: string, ...values: string[]): TokenRow[] {
    return this.#sql.exec<TokenRow>(`SELECT * FROM access_token ${condition}`, ...values).toArray();
  }
}

function toToken(row: TokenRow): AccessToken {
  return {
    id: row.id,
    name: row.name,
    role: row.role as Role,
    groups: row.groups === null ? null : (JSON.parse(row.groups) as string[]),
    createdAt: timestamp(row.created_at),
    expiresAt: timestamp(row.expires_at),
  };
}
