/**
 * Join tokens: good once, for one node, for a limited time (secrets.ts has their form). Each carries the fingerprint of the cluster's key, so
 * that the node knows who has to answer it.
 */
import { fingerprintIn } from '../../schemas/session.ts';
import { fromHex, sameBytes } from './encoding.ts';
import { type Result, refuse } from './result.ts';
import { newSecret, type Presented, readSecret } from './secrets.ts';

type TokenRow = {
  node: string;
  secret_sha256: string;
  expires_at: number;
  used_at: number | null;
  used_key: string | null;
};

export interface ReadToken {
  readonly presented: Presented;
  /** Fingerprint of the cluster's key when it was made. */
  readonly clusterKey: string;
}

/** @returns the parts of a token, or why it cannot be one. */
export async function readToken(token: string): Promise<Result<ReadToken>> {
  const presented = await readSecret('hfj1', token);
  const clusterKey = fingerprintIn(token);
  if (presented !== null && clusterKey !== undefined) return { ok: true, value: { presented, clusterKey } };
  return refuse(
    'token-invalid',
    'this is no complete join token (its checksum does not fit): copy the whole line that `holdfast node token create` printed',
  );
}

export class JoinTokens {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Makes a token. Its secret is known only to the caller from here on. Drops tokens that ended before `forgetBefore`. */
  async make(
    clusterKey: string,
  ): Promise<{ token: string; store: (node: string, expiresAt: number, forgetBefore: number) => void }> {
    const { id, text, hash } = await newSecret(`hfj1_${clusterKey}`);
    const store = (node: string, expiresAt: number, forgetBefore: number) => {
      this.#sql.exec('DELETE FROM join_token WHERE expires_at < ?', forgetBefore);
      this.#sql.exec(
        'INSERT INTO join_token (id, node, secret_sha256, expires_at) VALUES (?, ?, ?, ?)',
        id,
        node,
        hash,
        expiresAt,
      );
    };
    return { token: text, store };
  }

  /**
   * Judges a presented token for `node` with its new key.
   * @returns whether it is the first use; `false` means the same node repeats, with the same key, a join whose answer it lost.
   */
  check(presented: Presented, node: string, publicKey: string, now: number): Result<{ firstUse: boolean }> {
    const row = this.#sql.exec<TokenRow>('SELECT * FROM join_token WHERE id = ?', presented.id).toArray()[0];
    const hash = fromHex(row?.secret_sha256 ?? '');
    if (row === undefined || hash === null || !sameBytes(hash, presented.secretHash)) {
      return refuse('token-invalid', 'the coordinator does not know this join token: create one for this cluster');
    }
    if (row.node !== node) {
      return refuse('token-wrong-node', `this join token is for node ${row.node}, not for ${node}`);
    }
    if (row.used_at !== null) {
      if (row.used_key === publicKey) return { ok: true, value: { firstUse: false } };
      return refuse(
        'token-used',
        `this join token was used at ${new Date(row.used_at).toISOString()}: create another one; if that was not you, remove node ${node}`,
      );
    }
    if (row.expires_at <= now) {
      return refuse(
        'token-expired',
        `this join token expired at ${new Date(row.expires_at).toISOString()}: create another one`,
      );
    }
    return { ok: true, value: { firstUse: true } };
  }

  /** Call it in the transaction that enrols the node. */
  markUsed(presented: Presented, publicKey: string, now: number): void {
    this.#sql.exec('UPDATE join_token SET used_at = ?, used_key = ? WHERE id = ?', now, publicKey, presented.id);
  }
}
