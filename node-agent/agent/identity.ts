/**
 * Who this node is: the key pair it made when it joined, and the coordinator it belongs to. The private key never leaves the node;
 * every message to the coordinator is signed with it.
 *
 * STATE_DIR holds `node.key` (PKCS8 PEM, 0600), `node.json` (written last: with it the node has joined) and `policy.yaml`.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join as joinPath } from 'node:path';
import * as z from 'zod';
import { joinText } from '../../schemas/api.ts';
import { nameSchema } from '../../schemas/names.ts';
import { SIGNATURE_HEADERS, signedText } from '../../schemas/wire.ts';
import { errnoOf, writeFileDurably } from '../system/index.ts';

export const DEFAULT_STATE_DIR = '/var/lib/holdfast';

export interface IdentityFiles {
  readonly node: string;
  readonly key: string;
  readonly policy: string;
}

export function identityFiles(stateDir: string): IdentityFiles {
  return {
    node: joinPath(stateDir, 'node.json'),
    key: joinPath(stateDir, 'node.key'),
    policy: joinPath(stateDir, 'policy.yaml'),
  };
}

const nodeFileSchema = z.object({
  /** Base of the coordinator's API, ending in a slash. */
  url: z.url(),
  cluster: nameSchema,
  node: nameSchema,
  /** Of the cluster's data as this node knows it (C7). */
  history: z.string().min(1).max(64).nullable(),
});
/** What is known of the node without its key. */
export type NodeFile = z.infer<typeof nodeFileSchema>;

export interface Identity extends NodeFile {
  readonly key: KeyObject;
}

/** The identity cannot be used. The message says what is wrong with which file, and what to do. */
export class IdentityError extends Error {
  readonly reason: 'not-joined' | 'damaged' | 'too-open' | 'joined-elsewhere';
  constructor(reason: IdentityError['reason'], message: string) {
    super(message);
    this.name = 'IdentityError';
    this.reason = reason;
  }
}

/** @returns undefined if the node has not joined. @throws {IdentityError} if the file is there but cannot be used. */
export async function readNodeFile(stateDir: string): Promise<NodeFile | undefined> {
  const path = identityFiles(stateDir).node;
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    return nodeFileSchema.parse(JSON.parse(text));
  } catch {
    throw new IdentityError(
      'damaged',
      `${path} is damaged; join again: remove it and run \`holdfast join\` with a new token`,
    );
  }
}

/**
 * Reads the identity from the state directory.
 * @throws {IdentityError} when the node has not joined, when a file is damaged, or when others may read or write the key.
 */
export async function loadIdentity(stateDir: string): Promise<Identity> {
  const node = await readNodeFile(stateDir);
  if (node === undefined)
    throw new IdentityError(
      'not-joined',
      `${stateDir} holds no identity: this node has not joined a cluster; run \`holdfast join URL --token-file FILE\``,
    );
  const path = identityFiles(stateDir).key;
  const pem = await readIfThere(path);
  if (pem === undefined)
    throw new IdentityError('damaged', `${path} is missing; remove ${identityFiles(stateDir).node} and join again`);
  await refuseOpenKey(path);
  return { ...node, key: privateKey(pem, path) };
}

/** Writes what changes in the life of an identity: the history id, the coordinator's URL. */
export async function saveNodeFile(stateDir: string, file: NodeFile): Promise<void> {
  const { url, cluster, node, history } = file;
  await writeFileDurably(
    identityFiles(stateDir).node,
    `${JSON.stringify({ url, cluster, node, history }, null, 2)}\n`,
    0o600,
  );
}

async function refuseOpenKey(path: string): Promise<void> {
  const { mode, uid } = await stat(path);
  if ((mode & 0o077) !== 0)
    throw new IdentityError(
      'too-open',
      `${path} can be read by others (mode ${(mode & 0o777).toString(8)}), so the key may be known: remove the node and join again, or, if you are sure that nobody read it, chmod 600 ${path}`,
    );
  const self = process.getuid?.() ?? 0;
  if (uid !== self && uid !== 0)
    throw new IdentityError(
      'too-open',
      `${path} belongs to another user (uid ${uid}); chown it to the one that runs the agent`,
    );
}

function privateKey(pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // The same advice as for a key of another kind.
  }
  throw new IdentityError('damaged', `${path} is not an Ed25519 private key; remove the node and join again`);
}

/** Raw public key, base64url: as it is sent when enrolling. */
export function publicKeyText(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('not an Ed25519 key');
  return x;
}

/** Ed25519 signature over a text, base64url. */
export function signText(key: KeyObject, text: string): string {
  return sign(null, Buffer.from(text), key).toString('base64url');
}

export interface SignedRequest {
  readonly method: string;
  /** Path of the URL, without a query. */
  readonly path: string;
  readonly node: string;
  readonly incarnation: string;
  /** One that the coordinator gave out; it takes each once. */
  readonly nonce: string;
  /** '' for a request without a body. */
  readonly body: string | Uint8Array;
}

/** The headers that prove who sent a request (schemas/wire.ts). */
export function signRequest(key: KeyObject, request: SignedRequest): Record<string, string> {
  const { method, path, node, incarnation, nonce, body } = request;
  const bodySha256 = createHash('sha256').update(body).digest('hex');
  return {
    [SIGNATURE_HEADERS.node]: node,
    [SIGNATURE_HEADERS.incarnation]: incarnation,
    [SIGNATURE_HEADERS.nonce]: nonce,
    [SIGNATURE_HEADERS.signature]: signText(key, signedText({ method, path, node, incarnation, nonce, bodySha256 })),
  };
}

export interface Enrolment {
  readonly token: string;
  readonly node: string;
  readonly publicKey: string;
  readonly proof: string;
}

export interface JoinRequest {
  readonly stateDir: string;
  readonly url: string;
  readonly cluster: string;
  readonly node: string;
  readonly token: string;
  /** Text of policy.yaml, for a node that has none yet. */
  readonly policy: string;
  /** Sends the enrolment to the coordinator; rejects when it is refused. */
  readonly enrol: (body: Enrolment) => Promise<{ history: string }>;
}

export type JoinOutcome =
  | { readonly outcome: 'joined'; readonly policy: 'written' | 'kept' }
  | { readonly outcome: 'already-joined'; readonly identity: Identity };

/**
 * Makes a key pair, enrols it and writes the node's files, in an order in which a crash leaves either no identity or a whole one.
 * An identity that is there already is never overwritten.
 * @throws {IdentityError} `joined-elsewhere` when the directory belongs to another node or cluster; whatever `enrol` throws.
 */
export async function joinCluster(request: JoinRequest): Promise<JoinOutcome> {
  const { stateDir, url, cluster, node } = request;
  const files = identityFiles(stateDir);
  const existing = await readNodeFile(stateDir);
  if (existing !== undefined) {
    if (existing.url === url && existing.cluster === cluster && existing.node === node)
      return { outcome: 'already-joined', identity: await loadIdentity(stateDir) };
    throw new IdentityError(
      'joined-elsewhere',
      `${stateDir} already is node ${existing.node} of cluster ${existing.cluster} at ${existing.url}; stop its agent and remove ${files.node} to join as another, or give --state-dir for a second one`,
    );
  }
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const pem = await enrollingKey(files.key);
  const key = createPrivateKey(pem);
  // Written before it is enrolled: should the answer be lost, the same key can repeat the same token.
  await writeFileDurably(files.key, pem, 0o600);
  const publicKey = publicKeyText(key);
  const proof = signText(key, joinText(cluster, node, publicKey, request.token));
  const { history } = await request.enrol({ token: request.token, node, publicKey, proof });
  const policy = (await readIfThere(files.policy)) === undefined ? 'written' : 'kept';
  if (policy === 'written') await writeFileDurably(files.policy, request.policy, 0o644);
  await saveNodeFile(stateDir, { url, cluster, node, history });
  return { outcome: 'joined', policy };
}

/** The key of a join that did not come to its end, so that it can be repeated; otherwise a new one. */
async function enrollingKey(path: string): Promise<string> {
  const pem = await readIfThere(path);
  if (pem !== undefined) {
    await refuseOpenKey(path);
    privateKey(pem, path);
    return pem;
  }
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
