/**
 * Join tokens: `hfj1_<id>_<secret><checksum>`, good once, for one node, for a limited time. Only the secret's SHA-256 is kept: 256
 * random bits need no slow hash.
 */
import { checksum, fromHex, hex, randomHex, sameBytes, sha256, utf8 } from './encoding.ts';
import { type Result, refuse } from './result.ts';

const ID_BYTES = 6;
const SECRET_BYTES = 32;
const pattern = /^(hfj1_([0-9a-f]{12})_([0-9a-f]{64}))([0-9a-z]{7})$/;

type TokenRow = {
  node: string;
  secret_sha256: string;
  expires_at: number;
  used_at: number | null;
  used_key: string | null;
};

/** A token as it was presented: not yet known to be good. */
export interface PresentedToken {
  readonly id: string;
  readonly secretHash: Uint8Array<ArrayBuffer>;
}

/** @returns the parts of a token, or why it cannot be one. */
export async function readToken(token: string): Promise<Result<PresentedToken>> {
  const match = pattern.exec(token.trim());
  const [, body, id, secret, sum] = match ?? [];
  if (body === undefined || id === undefined || secret === undefined || checksum(body) !== sum) {
    return refuse(
      'token-invalid',
      'this is no complete join token (its checksum does not fit): copy the whole line that `holdfast node token create` printed',
    );
  }
  return { ok: true, value: { id, secretHash: await sha256(utf8(secret)) } };
}

export class JoinTokens {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Makes a token. Its secret is known only to the caller from here on. Drops tokens that ended before `forgetBefore`. */
  async make(): Promise<{ token: string; store: (node: string, expiresAt: number, forgetBefore: number) => void }> {
    const id = randomHex(ID_BYTES);
    const secret = randomHex(SECRET_BYTES);
    const hash = hex(await sha256(utf8(secret)));
    const body = `hfj1_${id}_${secret}`;
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
    return { token: `${body}${checksum(body)}`, store };
  }

  /**
   * Judges a presented token for `node` with its new key.
   * @returns whether it is the first use; `false` means the same node repeats, with the same key, a join whose answer it lost.
   */
  check(presented: PresentedToken, node: string, publicKey: string, now: number): Result<{ firstUse: boolean }> {
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
  markUsed(presented: PresentedToken, publicKey: string, now: number): void {
    this.#sql.exec('UPDATE join_token SET used_at = ?, used_key = ? WHERE id = ?', now, publicKey, presented.id);
  }
}
