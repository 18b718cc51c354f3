/**
 * How an agent and the coordinator know each other. The node has an Ed25519 key, whose public half the coordinator keeps; the cluster has
 * one too, whose fingerprint stands in every join token and whose public half the node keeps (docs/decisions/0022-sessions.md).
 *
 * On a WebSocket both sign once: the node its upgrade, the coordinator the first message. Each brings a fresh X25519 key, and what they agree
 * upon authenticates every message after that, in order: one that was changed, left out, repeated or put elsewhere ends the session. Over HTTP
 * every request and every answer is signed by itself.
 *
 * Keys travel raw, signatures as they are (64 bytes), both in base64url without padding.
 */
import {
  createHash,
  createHmac,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import * as z from 'zod';

/** Length of a raw public key, of either kind, and of a signature, in base64url. */
const KEY_LENGTH = 43;
const SIGNATURE_LENGTH = 86;
const base64url = (length: number) =>
  z
    .string()
    .length(length)
    .regex(/^[A-Za-z0-9_-]+$/);
const publicKeySchema = base64url(KEY_LENGTH);
const signatureSchema = base64url(SIGNATURE_LENGTH);

/** Headers of what an agent asks, and of the answers. */
export const SIGNATURE_HEADERS = {
  node: 'holdfast-node',
  incarnation: 'holdfast-incarnation',
  /** One that the coordinator gave out and takes once. */
  nonce: 'holdfast-nonce',
  /** Fingerprint of the cluster's key that this node trusts. */
  clusterKey: 'holdfast-cluster-key',
  /** Of an upgrade: the node's X25519 key of this session. */
  sessionKey: 'holdfast-session-key',
  /** Of an HTTP request: drawn by the node; the answer is signed for it and no other. */
  request: 'holdfast-request',
  /** Of a request by the node's key, of an answer by the cluster's. */
  signature: 'holdfast-signature',
  /** On every answer to a member: a fresh nonce for its next request. */
  nextNonce: 'holdfast-next-nonce',
  /** To a node that trusts an older key: `PUBLIC_KEY.SIGNATURE` of the one that followed it. */
  successor: 'holdfast-successor',
} as const;

/** What an agent may draw as the id of an HTTP request. */
export const REQUEST_ID = /^[A-Za-z0-9_-]{16,64}$/;

// What is signed: one line per field, so that none can be shifted into another; the first line says for what, so that no signature is good for
// anything else.

/** What a node signs. `path` is that of the URL, `bodySha256` lower-case hex: of the body, or of the session key of an upgrade. */
export function requestText(request: {
  readonly method: string;
  readonly path: string;
  readonly node: string;
  readonly incarnation: string;
  readonly clusterKey: string;
  readonly nonce: string;
  readonly bodySha256: string;
}): string {
  const { method, path, node, incarnation, clusterKey, nonce, bodySha256 } = request;
  return ['holdfast-agent-v1', method, path, node, incarnation, clusterKey, nonce, bodySha256].join('\n');
}

/** What the coordinator signs over HTTP: the body of a success, or the code of a refusal. `request` is the id that the node drew. */
export function answerText(answer: {
  readonly path: string;
  readonly node: string;
  readonly request: string;
  readonly body: { readonly sha256: string } | { readonly refused: string };
}): string {
  const { path, node, request, body } = answer;
  const said = 'sha256' in body ? `sha256 ${body.sha256}` : `refused ${body.refused}`;
  return ['holdfast-answer-v1', path, node, request, said].join('\n');
}

/** What the coordinator signs as the first message of a session. */
export function sessionText(session: {
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: string;
  readonly nonce: string;
  readonly nodeKey: string;
  readonly coordinatorKey: string;
}): string {
  const { cluster, node, incarnation, nonce, nodeKey, coordinatorKey } = session;
  return ['holdfast-session-v1', cluster, node, incarnation, nonce, nodeKey, coordinatorKey].join('\n');
}

/** What a node that joins signs with its new key. */
export function joinText(cluster: string, node: string, publicKey: string, token: string): string {
  return ['holdfast-join-v1', cluster, node, publicKey, token].join('\n');
}

/** What the coordinator signs when a node has joined with this key. */
export function enrolledText(cluster: string, node: string, publicKey: string, history: string): string {
  return ['holdfast-enrolled-v1', cluster, node, publicKey, history].join('\n');
}

/** What a node signs with the key that is to replace the one it has. */
export function rekeyText(cluster: string, node: string, publicKey: string): string {
  return ['holdfast-rekey-v1', cluster, node, publicKey].join('\n');
}

/** What the cluster's key signs about the one that follows it. */
export function successionText(cluster: string, publicKey: string): string {
  return ['holdfast-succession-v1', cluster, publicKey].join('\n');
}

/** The key that follows the one which the node trusts, signed by that one. */
export const successorSchema = z.object({ publicKey: publicKeySchema, signature: signatureSchema });
export type Successor = z.infer<typeof successorSchema>;

export function successorHeader({ publicKey, signature }: Successor): string {
  return `${publicKey}.${signature}`;
}

/** @returns undefined for a text that is none. */
export function successorIn(header: unknown): Successor | undefined {
  const [publicKey, signature] = typeof header === 'string' ? header.split('.') : [];
  return successorSchema.safeParse({ publicKey, signature }).data;
}

/** The first message on a WebSocket, the only one that is not sealed: the coordinator's X25519 key of this session. */
export const sessionSchema = z.object({
  type: z.literal('session'),
  key: publicKeySchema,
  signature: signatureSchema,
});
export type SessionBegin = z.infer<typeof sessionSchema>;

/** @returns whether the text is a raw public key in base64url. */
export function isPublicKey(text: string): boolean {
  return publicKeySchema.safeParse(text).success;
}

/** @returns 128 bits of the SHA-256 of a public key, lower-case hex: what people and tokens name it by. */
export function fingerprintOf(publicKey: string): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 32);
}

/** Fingerprint of the cluster's key in a join token (`hfj1_FINGERPRINT_ID_SECRET…`); undefined for what is none. */
export function fingerprintIn(token: string): string | undefined {
  return /^hfj1_([0-9a-f]{32})_/.exec(token.trim())?.[1];
}

export function sha256Hex(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

export function signText(key: KeyObject, text: string): string {
  return sign(null, Buffer.from(text), key).toString('base64url');
}

/** @returns whether the owner of this Ed25519 key signed the text; false also for what is no key or no signature. */
export function isSignedBy(publicKey: string, signature: string, text: string): boolean {
  if (!isPublicKey(publicKey) || !signatureSchema.safeParse(signature).success) return false;
  try {
    return verify(null, Buffer.from(text), publicKeyOf('Ed25519', publicKey), Buffer.from(signature, 'base64url'));
  } catch {
    return false; // 32 bytes that are no point
  }
}

function publicKeyOf(crv: 'Ed25519' | 'X25519', x: string): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv, x }, format: 'jwk' });
}

/** The raw public half of a key pair, base64url. */
export function publicHalf(key: KeyObject): string {
  const { x } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError(`a key of type ${key.asymmetricKeyType} has no raw public half`);
  return x;
}

/**
 * What two X25519 keys agree upon.
 * @param theirs raw, base64url.
 * @throws {Error} for what is no public key, and for a point of low order, whose secret everybody knows.
 */
export function sharedSecret(privateKey: KeyObject, theirs: string): Buffer {
  const secret = diffieHellman({ privateKey, publicKey: publicKeyOf('X25519', theirs) });
  if (secret.every((byte) => byte === 0)) throw new Error('a point of low order');
  return secret;
}

const MAC_BYTES = 32;
/** How much longer a sealed text is than the text: its MAC, and what parts the two. */
export const SEAL_LENGTH = KEY_LENGTH + 1;

/** One direction of a session, as it can be put away and taken up again. */
export interface SealState {
  /** base64url */
  readonly key: string;
  /** Messages so far. */
  readonly count: number;
}

/** Seals what goes one way, or opens it: `MAC.TEXT`, where the MAC is also of how many messages there were before. */
export class Seal {
  readonly #text: string;
  readonly #key: KeyObject;
  #count: number;

  constructor({ key, count }: SealState) {
    this.#text = key;
    this.#key = createSecretKey(Buffer.from(key, 'base64url'));
    this.#count = count;
  }

  get state(): SealState {
    return { key: this.#text, count: this.#count };
  }

  seal(text: string): string {
    return `${this.#nextMac(text).toString('base64url')}.${text}`;
  }

  /** @returns the text of the next message; undefined for anything else, after which nothing more of this session is to be believed. */
  open(sealed: string): string | undefined {
    const text = sealed.slice(SEAL_LENGTH);
    const given = Buffer.from(sealed.slice(0, KEY_LENGTH), 'base64url');
    const mac = this.#nextMac(text);
    return given.length === MAC_BYTES && timingSafeEqual(given, mac) ? text : undefined;
  }

  #nextMac(text: string): Buffer {
    this.#count += 1;
    return createHmac('sha256', this.#key).update(`${this.#count}\n${text}`).digest();
  }
}

/** A fresh X25519 key of one session. */
export function newSessionKey(): { readonly key: KeyObject; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  return { key: privateKey, publicKey: publicHalf(publicKey) };
}

/**
 * The two directions of a session at its beginning.
 * @param text {@link sessionText} of it: whoever saw another handshake has other keys.
 * @throws {Error} as {@link sharedSecret}.
 */
export function sealsOf(
  own: KeyObject,
  theirs: string,
  text: string,
): { readonly up: SealState; readonly down: SealState } {
  const secret = sharedSecret(own, theirs);
  const derived = Buffer.from(hkdfSync('sha256', secret, '', sha256Hex(text), 2 * MAC_BYTES));
  const half = (from: number) => derived.subarray(from, from + MAC_BYTES).toString('base64url');
  return { up: { key: half(0), count: 0 }, down: { key: half(MAC_BYTES), count: 0 } };
}

/**
 * The node's side of a session, when the coordinator's first message has come.
 * @param clusterKey public key of the cluster.
 * @returns what to seal and to open with; undefined when that key did not sign the message.
 */
export function sessionWith(
  begin: SessionBegin,
  own: { readonly key: KeyObject; readonly publicKey: string },
  who: { readonly cluster: string; readonly node: string; readonly incarnation: string; readonly nonce: string },
  clusterKey: string,
): { readonly up: Seal; readonly down: Seal } | undefined {
  const text = sessionText({ ...who, nodeKey: own.publicKey, coordinatorKey: begin.key });
  if (!isSignedBy(clusterKey, begin.signature, text)) return undefined;
  const { up, down } = sealsOf(own.key, begin.key, text);
  return { up: new Seal(up), down: new Seal(down) };
}
