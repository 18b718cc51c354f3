/** Ed25519 public keys of nodes. Imported ones are kept by their text, so that a node with a new key is never judged by its old one. */
import { MAX_NODES } from '../../schemas/limits.ts';
import { fromBase64url, utf8 } from './encoding.ts';

const RAW_KEY_BYTES = 32;
const MAX_KEPT = 4 * MAX_NODES;
const imported = new Map<string, Promise<CryptoKey>>();

/** @returns whether the text is a raw Ed25519 public key in base64url. */
export function isPublicKey(publicKey: string): boolean {
  return fromBase64url(publicKey)?.byteLength === RAW_KEY_BYTES;
}

/** @returns whether `signature` (base64url) over `text` was made by the owner of `publicKey` (raw, base64url). */
export async function signedBy(publicKey: string, signature: string, text: string): Promise<boolean> {
  const raw = fromBase64url(publicKey);
  const bytes = fromBase64url(signature);
  if (raw === null || raw.byteLength !== RAW_KEY_BYTES || bytes === null) return false;
  let key = imported.get(publicKey);
  if (key === undefined) {
    key = crypto.subtle.importKey('raw', raw, { name: 'Ed25519' }, false, ['verify']);
    if (imported.size >= MAX_KEPT) imported.clear();
    imported.set(publicKey, key);
  }
  return await crypto.subtle.verify({ name: 'Ed25519' }, await key, bytes, utf8(text));
}
