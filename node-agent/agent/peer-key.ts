/**
 * STATE_DIR/peer.key: what this node is known by among the agents of its cluster (X25519, PKCS8 PEM, 0600). It is on disk so that an
 * agent that starts again while the coordinator is away is still the one that its peers know.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { readIfThere, writeFileDurably } from '../system/index.ts';
import { IdentityError, refuseOpenKey } from './identity.ts';

const REMEDY = 'remove it and start the agent again, which makes a new one and tells the peers through the coordinator';

/**
 * Reads the key; makes it at the first use.
 * @throws {IdentityError} `too-open` when others may read or write it, `damaged` when it is no X25519 key;
 *   {FileWriteError} when a new one cannot be kept.
 */
export async function loadPeerKey(stateDir: string): Promise<KeyObject> {
  const path = join(stateDir, 'peer.key');
  const pem = await readIfThere(path);
  if (pem !== undefined) {
    await refuseOpenKey(path, REMEDY);
    return privateKey(pem, path);
  }
  const made = generateKeyPairSync('x25519').privateKey;
  await writeFileDurably(path, made.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  return made;
}

/** The public half, raw, base64url (43 characters): as the coordinator passes it on. */
export function publicPeerKey(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('not an X25519 key');
  return x;
}

function privateKey(pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'x25519') return key;
  } catch {
    // The same advice as for a key of another kind.
  }
  throw new IdentityError('damaged', `${path} is not an X25519 private key; ${REMEDY}`);
}
