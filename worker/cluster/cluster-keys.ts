/**
 * The Ed25519 key by which nodes know that it is their coordinator who answers. Of those before it only what they said of their successors
 * is kept: a node that trusts an older one follows these, step by step.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { ClusterKeys as Listed } from '../../schemas/api.ts';
import { fingerprintOf, publicHalf, type Successor, signText, successionText } from '../../schemas/session.ts';
import { timestamp } from './records.ts';

type KeyRow = {
  seq: number;
  fingerprint: string;
  public_key: string;
  /** Null once it has a successor. */
  pkcs8: string | null;
  made_at: number;
  /** By the key before it. */
  succession: string | null;
};

interface Current {
  readonly key: KeyObject;
  readonly publicKey: string;
  readonly fingerprint: string;
}

export class ClusterKeys {
  readonly #sql: SqlStorage;
  #cluster = '';
  #current: Current | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Reads the key; makes the first one for a cluster that has none. */
  open(cluster: string, at: number): void {
    this.#cluster = cluster;
    const pkcs8 = this.#rows()[0]?.pkcs8 ?? null;
    this.#current = pkcs8 === null ? this.#make(at, null) : current(createPrivateKey(pkcs8));
  }

  get #key(): Current {
    if (this.#current === undefined) throw new Error('a cluster without a key');
    return this.#current;
  }

  get publicKey(): string {
    return this.#key.publicKey;
  }

  get fingerprint(): string {
    return this.#key.fingerprint;
  }

  /** @returns a signature, base64url. */
  sign(text: string): string {
    return signText(this.#key.key, text);
  }

  /** What a node that trusts this older key is to be told; null for the present one, and for one that never was the cluster's. */
  successorOf(fingerprint: string): Successor | null {
    if (fingerprint === this.fingerprint) return null;
    const row = this.#sql
      .exec<{ public_key: string; succession: string }>(
        `SELECT public_key, succession FROM cluster_key
         WHERE seq = (SELECT seq + 1 FROM cluster_key WHERE fingerprint = ?) AND succession IS NOT NULL`,
        fingerprint,
      )
      .toArray()[0];
    return row === undefined ? null : { publicKey: row.public_key, signature: row.succession };
  }

  /** Newest first. */
  list(): Listed['keys'] {
    return this.#rows().map(({ fingerprint, public_key, made_at }) => ({
      fingerprint,
      publicKey: public_key,
      madeAt: timestamp(made_at),
    }));
  }

  /** Makes the next key, and forgets the private half of the present one; call it in a transaction. */
  rotate(at: number): void {
    this.#current = this.#make(at, this.#key);
  }

  #rows(): KeyRow[] {
    return this.#sql.exec<KeyRow>('SELECT * FROM cluster_key ORDER BY seq DESC').toArray();
  }

  #make(at: number, before: Current | null): Current {
    const made = current(generateKeyPairSync('ed25519').privateKey);
    const succession = before === null ? null : signText(before.key, successionText(this.#cluster, made.publicKey));
    this.#sql.exec('UPDATE cluster_key SET pkcs8 = NULL');
    this.#sql.exec(
      'INSERT INTO cluster_key (fingerprint, public_key, pkcs8, made_at, succession) VALUES (?, ?, ?, ?, ?)',
      made.fingerprint,
      made.publicKey,
      made.key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      at,
      succession,
    );
    return made;
  }
}

function current(key: KeyObject): Current {
  const publicKey = publicHalf(key);
  return { key, publicKey, fingerprint: fingerprintOf(publicKey) };
}
