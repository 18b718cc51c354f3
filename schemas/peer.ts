/**
 * What agents say to each other over the LAN (protocol.md O2, P1): the owner of a lease asks the other voters to promise that they keep
 * out of its epoch, and they answer. Nothing else: no order, no state, nothing to execute.
 *
 * One message is one datagram: MAGIC, the HMAC-SHA256 of what follows, the message as JSON. The key is agreed upon by X25519 between
 * the two nodes' peer keys, whose public halves the coordinator passes on; so only these two can have written it. The JSON begins with
 * `{"from":"NAME",` without a space: which key to check it with is read off these bytes, and nothing is parsed before the check.
 *
 * The longest ask and the longest answer fit into MAX_PEER_MESSAGE_BYTES (peer-code.test.ts).
 */
import * as z from 'zod';
import { MAX_EPOCH, MAX_LEASE_MS, MAX_PROMISES_PER_MESSAGE } from './limits.ts';
import { nameSchema } from './names.ts';

/** A UUID fits. */
const id = z.string().min(1).max(36);
/** 128 bits of chance, base64url. */
const session = z.string().min(1).max(22);
const epoch = z.int().nonnegative().max(MAX_EPOCH);
const leases = z.array(z.object({ group: nameSchema, epoch })).max(MAX_PROMISES_PER_MESSAGE);

/** First bytes of every datagram; another version of the format has others. */
export const PEER_MAGIC = 'HFP1';

export const peerAskSchema = z.object({
  type: z.literal('ask'),
  /** Unique; the answer names it, and only then counts (O1). */
  id,
  from: nameSchema,
  to: nameSchema,
  /** Of the one who asks. */
  incarnation: z.string().min(1).max(64),
  /** Grows with every message of this incarnation: one that does not exceed the highest seen is a replay. */
  sequence: z.int().nonnegative(),
  /** Of the one asked, as it last told; null: not known yet. A message of another session is answered with the present one and nothing else. */
  session: session.nullable(),
  /** L as the one who asks counts it, from the moment before this left: the promise must last longer. */
  leaseMs: z.int().positive().max(MAX_LEASE_MS),
  leases,
});
export type PeerAsk = z.infer<typeof peerAskSchema>;

export const peerAnswerSchema = z.object({
  type: z.literal('answer'),
  /** Of the message that this answers. */
  id,
  from: nameSchema,
  to: nameSchema,
  /** Of the one who answers: drawn when its process starts, when it forgets what it has seen, and from time to time. */
  session,
  /** The message named another session, and was not looked at. */
  unheard: z.boolean(),
  /** With `refused`: the leases asked for, each in one of the two. */
  promised: leases,
  refused: leases,
});
export type PeerAnswer = z.infer<typeof peerAnswerSchema>;

export const peerMessageSchema = z.discriminatedUnion('type', [peerAskSchema, peerAnswerSchema]);
export type PeerMessage = z.infer<typeof peerMessageSchema>;

/** Where a node listens for its peers, and how to know it. */
export const peerEndpointSchema = z.object({
  /** Addresses without prefix, IPv4 or IPv6; all of them are tried. */
  addresses: z.array(z.string().min(2).max(45)).max(8),
  port: z.int().min(1).max(65_535),
  /** X25519 public key, raw, base64url. */
  key: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});
export type PeerEndpoint = z.infer<typeof peerEndpointSchema>;

export const peerSchema = peerEndpointSchema.extend({ node: nameSchema });
export type Peer = z.infer<typeof peerSchema>;
