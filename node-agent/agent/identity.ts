/**
 * Who this node is: the key pair it made when it joined, the coordinator it belongs to, and the key by which it knows that one. The private key
 * never leaves the node.
 *
 * STATE_DIR holds `node.key` (PKCS8 PEM, 0600), `node.json` (written last: with it the node has joined), `policy.yaml` and `reset.env`; while
 * the node's key is being changed (rekey.ts), `node.key.next` too.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join as joinPath } from 'node:path';
import * as z from 'zod';
import { PEER_PORT } from '../../schemas/limits.ts';
import { nameSchema } from '../../schemas/names.ts';
import {
  enrolledText,
  fingerprintIn,
  fingerprintOf,
  isPublicKey,
  isSignedBy,
  joinText,
  publicHalf,
  signText,
} from '../../schemas/session.ts';
import { parseJson, readIfThere, writeFileDurably } from '../system/index.ts';
import { resetFile } from './reset-choice.ts';

export const DEFAULT_STATE_DIR = '/var/lib/holdfast';

export interface IdentityFiles {
  readonly node: string;
  readonly key: string;
  /** Only while it is being changed. */
  readonly nextKey: string;
  readonly policy: string;
}

export function identityFiles(stateDir: string): IdentityFiles {
  return {
    node: joinPath(stateDir, 'node.json'),
    key: joinPath(stateDir, 'node.key'),
    nextKey: joinPath(stateDir, 'node.key.next'),
    policy: joinPath(stateDir, 'policy.yaml'),
  };
}

const nodeFileSchema = z.object({
  /** Base of the coordinator's API, ending in a slash. */
  url: z.url(),
  cluster: nameSchema,
  node: nameSchema,
  /** Public key of the cluster (schemas/session.ts): whoever answers without it is not the coordinator. */
  clusterKey: z.string().refine(isPublicKey, 'is not a public key'),
  /** Of the cluster's data as this node knows it (C7). */
  history: z.string().min(1).max(64).nullable(),
  /** Where it listens for its peers; left out: on every address, at PEER_PORT. */
  lan: z
    .object({
      address: z
        .string()
        .refine((text) => isIP(text) !== 0, 'is not an IP address')
        .optional(),
      port: z.int().min(1).max(65_535),
    })
    .optional(),
});
/** What is known of the node without its key. */
export type NodeFile = z.infer<typeof nodeFileSchema>;

export interface Identity extends NodeFile {
  readonly key: KeyObject;
}

/** The identity cannot be used. The message says what is wrong with which file, and what to do. */
export class IdentityError extends Error {
  readonly reason: 'not-joined' | 'damaged' | 'too-open' | 'joined-elsewhere' | 'bad-token' | 'not-the-coordinator';
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
  const parsed = nodeFileSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  // the one part of it that an administrator edits
  if (parsed.error.issues.every((one) => one.path[0] === 'lan'))
    throw new IdentityError(
      'damaged',
      `${path}: ${issue?.path.join('.')}: ${issue?.message}; mend it, as in "lan": {"address": "192.0.2.7", "port": ${PEER_PORT}}, or take \`lan\` out for every address`,
    );
  throw new IdentityError(
    'damaged',
    `${path} is damaged; join again: remove it and run \`holdfast join\` with a new token`,
  );
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
  const key = await readKey(path);
  if (key === undefined)
    throw new IdentityError('damaged', `${path} is missing; remove ${identityFiles(stateDir).node} and join again`);
  return { ...node, key };
}

export async function saveNodeFile(stateDir: string, file: NodeFile): Promise<void> {
  const { url, cluster, node, clusterKey, history, lan } = file;
  await writeFileDurably(
    identityFiles(stateDir).node,
    `${JSON.stringify({ url, cluster, node, clusterKey, history, lan }, null, 2)}\n`,
    0o600,
  );
}

let updated: Promise<void> = Promise.resolve();

/** Writes what changes in the life of an identity, one change after the other. @throws {FileWriteError} */
export async function updateNodeFile(
  stateDir: string,
  change: Partial<Pick<NodeFile, 'history' | 'clusterKey'>>,
): Promise<void> {
  const before = updated;
  const update = async () => {
    await before.catch(() => undefined); // whoever asked for it was told
    const file = await readNodeFile(stateDir);
    if (file !== undefined) await saveNodeFile(stateDir, { ...file, ...change });
  };
  updated = update();
  await updated;
}

/**
 * @param remedy what to do about a key that others may have read.
 * @throws {IdentityError} when others may read or write the key, or it is another user's.
 */
export async function refuseOpenKey(path: string, remedy = 'remove the node and join again'): Promise<void> {
  const { mode, uid } = await stat(path);
  if ((mode & 0o077) !== 0)
    throw new IdentityError(
      'too-open',
      `${path} can be read by others (mode ${(mode & 0o777).toString(8)}), so the key may be known: ${remedy}, or, if you are sure that nobody read it, chmod 600 ${path}`,
    );
  const self = process.getuid?.() ?? 0;
  if (uid !== self && uid !== 0)
    throw new IdentityError(
      'too-open',
      `${path} belongs to another user (uid ${uid}); chown it to the one that runs the agent`,
    );
}

/** @returns undefined if there is no such file. @throws {IdentityError} when others may read or write it, or it is no key. */
export async function readKey(path: string): Promise<KeyObject | undefined> {
  const pem = await readIfThere(path);
  if (pem === undefined) return undefined;
  await refuseOpenKey(path);
  return privateKey(pem, path);
}

/** The keys that this node may have: while it is being changed there are two. One that cannot be used is left out. */
export async function nodeKeys(stateDir: string): Promise<KeyObject[]> {
  const { key, nextKey } = identityFiles(stateDir);
  const found = await Promise.allSettled([readKey(key), readKey(nextKey)]);
  return found.flatMap((one) => (one.status === 'fulfilled' && one.value !== undefined ? [one.value] : []));
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

export interface Enrolment {
  readonly token: string;
  readonly node: string;
  readonly publicKey: string;
  readonly proof: string;
}

/** What the coordinator answers (`enrolledSchema`). */
export interface Enrolled {
  readonly history: string;
  readonly clusterKey: string;
  readonly signature: string;
}

export interface JoinRequest {
  readonly stateDir: string;
  readonly url: string;
  readonly cluster: string;
  readonly node: string;
  readonly token: string;
  /** Text of policy.yaml, for a node that has none yet. */
  readonly policy: string;
  /** Where it is to listen for its peers; undefined: on every address, at PEER_PORT. */
  readonly lan?: NodeFile['lan'];
  /** Text of reset.env. `chosen` replaces what is there from before; without it that is kept. */
  readonly reset: { readonly text: string; readonly chosen: boolean };
  /** Sends the enrolment to the coordinator; rejects when it is refused. */
  readonly enrol: (body: Enrolment) => Promise<Enrolled>;
}

export type JoinOutcome =
  | { readonly outcome: 'joined'; readonly policy: 'written' | 'kept' }
  | { readonly outcome: 'already-joined'; readonly identity: Identity };

/**
 * Makes a key pair, enrols it and writes the node's files, in an order in which a crash leaves either no identity or a whole one.
 * An identity that is there already is never overwritten.
 * @throws {IdentityError} `joined-elsewhere` when the directory belongs to another node or cluster; `bad-token`; `not-the-coordinator` when
 *   what answers does not have the key that the token names; whatever `enrol` throws.
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
  const fingerprint = fingerprintIn(request.token);
  if (fingerprint === undefined)
    throw new IdentityError(
      'bad-token',
      'this is no complete join token: copy the whole line that `holdfast node token create` printed',
    );
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const pem = await enrollingKey(files.key);
  const key = createPrivateKey(pem);
  // Written before it is enrolled: should the answer be lost, the same key can repeat the same token.
  await writeFileDurably(files.key, pem, 0o600);
  const publicKey = publicHalf(key);
  const proof = signText(key, joinText(cluster, node, publicKey, request.token));
  const { history, clusterKey, signature } = await request.enrol({ token: request.token, node, publicKey, proof });
  const signed = isSignedBy(clusterKey, signature, enrolledText(cluster, node, publicKey, history));
  if (!signed || fingerprintOf(clusterKey) !== fingerprint)
    throw new IdentityError(
      'not-the-coordinator',
      `what answers at ${url} does not have the key ${fingerprint} that the token names: it is not the coordinator that made the token, or something in between answers in its name; the token may be known to it: \`holdfast node remove ${node}\`, and create another one`,
    );
  const policy = (await readIfThere(files.policy)) === undefined ? 'written' : 'kept';
  if (policy === 'written') await writeFileDurably(files.policy, request.policy, 0o644);
  const reset = resetFile(stateDir);
  if (request.reset.chosen || (await readIfThere(reset)) === undefined)
    await writeFileDurably(reset, request.reset.text, 0o644);
  await saveNodeFile(stateDir, { url, cluster, node, clusterKey, history, lan: request.lan });
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
