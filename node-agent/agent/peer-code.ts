/**
 * A message between agents as a datagram, and back (schemas/peer.ts has the format). What comes in is the network's word until its MAC
 * is right: up to there only its length, its first bytes and the name of its sender are looked at.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from 'node:crypto';
import { MAX_NAME_LENGTH, MAX_PEER_MESSAGE_BYTES } from '../../schemas/limits.ts';
import { PEER_MAGIC, type PeerMessage, peerMessageSchema } from '../../schemas/peer.ts';
import { sharedSecret } from '../../schemas/session.ts';
import { parseJson, textOf } from '../system/index.ts';

const MAGIC = Buffer.from(PEER_MAGIC, 'latin1');
const MAC_BYTES = 32;
const BODY_AT = MAGIC.length + MAC_BYTES;
/** How every body begins: the sender's name follows, and a quotation mark, since a name has no character that JSON escapes. */
const BODY_BEGIN = Buffer.from('{"from":"', 'latin1');
const NAME_AT = BODY_AT + BODY_BEGIN.length;
const QUOTATION_MARK = 0x22;

/** Why a datagram is worth nothing. */
export type Undecodable =
  | 'too-long'
  /** Not of this format; or authentic, and not of the schema. */
  | 'malformed'
  /** Sent by this node itself: an address of a peer is one of its own. */
  | 'own'
  | 'unknown-sender'
  /** The MAC is wrong. */
  | 'forged'
  /** Authentic, and not for this node. */
  | 'misdirected';

/** The key that two nodes share cannot be had from what is said to be the other one's public key. */
export class PeerKeyError extends Error {
  constructor(node: string, why: string) {
    super(
      `the public key of ${node} cannot be used (${why}), so no promises are exchanged with it; remove peer.key in its state directory and start its agent again`,
    );
    this.name = 'PeerKeyError';
  }
}

/**
 * The key that messages between two nodes of a cluster are authenticated with: the same for both, and no other pair's.
 * @param theirs raw X25519 public key, base64url.
 * @throws {PeerKeyError} for what is no public key, and for a point of low order, whose secret everybody knows.
 */
export function pairKey(
  own: { readonly key: KeyObject; readonly cluster: string; readonly node: string },
  other: { readonly key: string; readonly node: string },
): KeyObject {
  let secret: Buffer;
  try {
    secret = sharedSecret(own.key, other.key);
  } catch (error) {
    throw new PeerKeyError(other.node, textOf(error));
  }
  const names = [own.node, other.node].sort();
  const info = ['holdfast peer messages', PEER_MAGIC, own.cluster, ...names].join('\0');
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', info, MAC_BYTES)));
}

/** @throws {RangeError} for a message longer than a datagram may be: with leases of the number that the schema allows there is none. */
export function encode(message: PeerMessage, key: KeyObject): Buffer {
  const { from, ...rest } = message;
  const body = Buffer.from(JSON.stringify({ from, ...rest }));
  const length = BODY_AT + body.length;
  if (length > MAX_PEER_MESSAGE_BYTES)
    throw new RangeError(
      `a message of ${length} bytes to ${message.to} is longer than ${MAX_PEER_MESSAGE_BYTES}: name fewer leases`,
    );
  return Buffer.concat([MAGIC, macOf(body, key), body], length);
}

/**
 * @param keyOf the key shared with a peer; undefined for a name that is none of a peer.
 * @returns a message that a peer wrote to this node; never throws.
 */
export function decode(
  datagram: Buffer,
  node: string,
  keyOf: (sender: string) => KeyObject | undefined,
): { readonly message: PeerMessage } | { readonly problem: Undecodable } {
  if (datagram.length > MAX_PEER_MESSAGE_BYTES) return { problem: 'too-long' };
  const sender = senderNamed(datagram);
  if (sender === undefined) return { problem: 'malformed' };
  if (sender === node) return { problem: 'own' };
  const key = keyOf(sender);
  if (key === undefined) return { problem: 'unknown-sender' };
  const body = datagram.subarray(BODY_AT);
  if (!timingSafeEqual(datagram.subarray(MAGIC.length, BODY_AT), macOf(body, key))) return { problem: 'forged' };
  const parsed = peerMessageSchema.safeParse(parseJson(body.toString('utf8')));
  // a JSON object may name a key twice: what counts is the name that the key belongs to
  if (!parsed.success || parsed.data.from !== sender) return { problem: 'malformed' };
  return parsed.data.to === node ? { message: parsed.data } : { problem: 'misdirected' };
}

/** Whom the datagram says that it is from; undefined if it does not begin as one of this format does. */
function senderNamed(datagram: Buffer): string | undefined {
  if (datagram.length <= NAME_AT) return undefined;
  if (MAGIC.compare(datagram, 0, MAGIC.length) !== 0) return undefined;
  if (BODY_BEGIN.compare(datagram, BODY_AT, NAME_AT) !== 0) return undefined;
  const length = datagram.subarray(NAME_AT, NAME_AT + MAX_NAME_LENGTH + 1).indexOf(QUOTATION_MARK);
  return length > 0 ? datagram.toString('latin1', NAME_AT, NAME_AT + length) : undefined;
}

function macOf(body: Buffer, key: KeyObject): Buffer {
  return createHmac('sha256', key).update(body).digest();
}
