/**
 * Secrets that are shown once: `<kind>_<id>_<secret><checksum>`, where `<kind>` may be followed by something that is no secret. Only the secret's SHA-256 is kept: 256 random bits need no slow hash. The
 * checksum tells a token that was cut or mistyped from one that is unknown.
 */
import { checksum, hex, randomHex, sha256, utf8 } from './encoding.ts';

const ID_BYTES = 6;
const SECRET_BYTES = 32;

/** `hfj1`: joins a node; `hfa1`: speaks to the API. */
export type SecretKind = 'hfj1' | 'hfa1';

/** As it was presented: not yet known to be good. */
export interface Presented {
  readonly id: string;
  readonly secretHash: Uint8Array<ArrayBuffer>;
}

export interface NewSecret {
  readonly id: string;
  /** The whole text, for whoever it is made for. */
  readonly text: string;
  /** SHA-256 of the secret, hex: what is kept. */
  readonly hash: string;
}

/** @param kind with what is to stand behind it. */
export async function newSecret(kind: SecretKind | `hfj1_${string}`): Promise<NewSecret> {
  const id = randomHex(ID_BYTES);
  const secret = randomHex(SECRET_BYTES);
  const body = `${kind}_${id}_${secret}`;
  return { id, text: `${body}${checksum(body)}`, hash: hex(await sha256(utf8(secret))) };
}

/** @returns the parts, or null if the text cannot be one of this kind. */
export async function readSecret(kind: SecretKind, text: string): Promise<Presented | null> {
  const match = /^(([a-z0-9]{4})(?:_[0-9a-f]{32})?_([0-9a-f]{12})_([0-9a-f]{64}))([0-9a-z]{7})$/.exec(text.trim());
  const [, body, found, id, secret, sum] = match ?? [];
  if (body === undefined || id === undefined || secret === undefined) return null;
  if (found !== kind || checksum(body) !== sum) return null;
  return { id, secretHash: await sha256(utf8(secret)) };
}
