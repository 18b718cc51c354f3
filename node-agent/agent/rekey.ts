/**
 * This node gets another key. The next one is on disk before the coordinator hears of it, and takes the place of the present one after that: so
 * whatever breaks it off, one of the two files has the key that the coordinator knows, and doing it again brings it to its end. An agent that
 * runs tries both (transport.ts).
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { publicHalf, rekeyText, signText } from '../../schemas/session.ts';
import { parseJson, syncDirectory, writeFileDurably } from '../system/index.ts';
import { type Identity, identityFiles, loadIdentity, readKey, updateNodeFile } from './identity.ts';
import { type HttpAnswer, NoNonceError, problemText, SignedHttp } from './signed-http.ts';

const TIMEOUT_MS = 10_000;

/** The coordinator did not take the key; the node goes on with the one it has. */
export class RekeyRefused extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'RekeyRefused';
  }
}

/**
 * @returns the new public key, base64url.
 * @throws {RekeyRefused}; IdentityError; FileWriteError; Error when the coordinator cannot be reached.
 */
export async function rekey(stateDir: string): Promise<string> {
  let identity = await loadIdentity(stateDir);
  const { nextKey } = identityFiles(stateDir);
  // One that was begun before is brought to its end, so that a request which was held back on its way is worth nothing. It is not the new one:
  // whoever has read the disk since has that key too.
  const begun = await readKey(nextKey);
  if (begun !== undefined) identity = await change(stateDir, identity, begun);
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeFileDurably(nextKey, pem, 0o600);
  return publicHalf((await change(stateDir, identity, createPrivateKey(pem))).key);
}

/** @param next is in its file. @returns the identity with it. */
async function change(stateDir: string, identity: Identity, next: KeyObject): Promise<Identity> {
  const files = identityFiles(stateDir);
  const publicKey = publicHalf(next);
  let answer = await ask(stateDir, identity, next);
  // an earlier try may have got through, and its answer not
  if (answer.code === 'signature-invalid') answer = await ask(stateDir, { ...identity, key: next }, next);
  if (answer.status !== 200) throw new RekeyRefused(problemText(answer.body));
  if (!answer.authentic || takenIn(answer.body) !== publicKey)
    throw new RekeyRefused(`what answers at ${identity.url} does not have the key of this cluster`);
  // written anew, not renamed: another `rekey` may have put a key of its own there meanwhile
  await writeFileDurably(files.key, next.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  const left = await readKey(files.nextKey);
  if (left !== undefined && publicHalf(left) === publicKey) {
    await rm(files.nextKey, { force: true });
    await syncDirectory(stateDir);
  }
  return { ...identity, key: next };
}

function takenIn(body: string): unknown {
  const parsed = parseJson(body);
  return typeof parsed === 'object' && parsed !== null && 'publicKey' in parsed ? parsed.publicKey : undefined;
}

/** Asks for it in a request that the identity's key signs. */
async function ask(stateDir: string, identity: Identity, next: KeyObject): Promise<HttpAnswer> {
  const { cluster, node } = identity;
  const http = new SignedHttp(identity, `rekey-${randomUUID()}`, async (clusterKey) => {
    await updateNodeFile(stateDir, { clusterKey });
    return true;
  });
  try {
    const publicKey = publicHalf(next);
    const proof = signText(next, rekeyText(cluster, node, publicKey));
    return await http.post('rekey', JSON.stringify({ publicKey, proof }), TIMEOUT_MS);
  } catch (error) {
    if (error instanceof NoNonceError) return error.answer;
    throw error;
  } finally {
    http.close();
  }
}
