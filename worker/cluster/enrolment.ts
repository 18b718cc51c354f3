/** How a machine becomes a member: an administrator's token for its name, and a key that it proves to hold; and how it gets another key. */
import type * as z from 'zod';
import { type enrolledSchema, type enrolSchema, rekeySchema } from '../../schemas/api.ts';
import { enrolledText, isPublicKey, isSignedBy, joinText, rekeyText } from '../../schemas/session.ts';
import { now } from './clock.ts';
import type { ClusterKeys } from './cluster-keys.ts';
import type { Engine } from './engine.ts';
import { timestamp } from './records.ts';
import { done, type Result, refuse } from './result.ts';
import { type JoinTokens, readToken } from './tokens.ts';

export type Enrolment = z.infer<typeof enrolSchema>;
export type Enrolled = z.infer<typeof enrolledSchema>;

export interface NewToken {
  readonly token: string;
  readonly expiresAt: number;
}

/** Tokens are forgotten this long after they ended, so that until then their use is answered with what became of them. */
const FORGET_AFTER_MS = 7 * 24 * 3_600_000;

/** @param clusterKey fingerprint of the key by which the node is to know the cluster. */
export async function makeToken(
  engine: Engine,
  tokens: JoinTokens,
  clusterKey: string,
  node: string,
  ttlMs: number,
): Promise<NewToken> {
  const made = await tokens.make(clusterKey);
  const at = now();
  const expiresAt = at + ttlMs;
  engine.note(
    {
      kind: 'node.token-created',
      severity: 'info',
      node,
      detail: `a join token for ${node}, good once until ${timestamp(expiresAt)}`,
      at,
    },
    () => made.store(node, expiresAt, at - FORGET_AFTER_MS),
  );
  return { token: made.token, expiresAt };
}

/** Enrols a node. Repeating it with the same token and key is answered like the first time: the first answer may have been lost. */
export async function enrol(
  engine: Engine,
  tokens: JoinTokens,
  keys: ClusterKeys,
  { node, publicKey, token, proof }: Enrolment,
): Promise<Result<{ answer: Enrolled; newKey: boolean }>> {
  if (!isPublicKey(publicKey)) return refuse('invalid-value', 'publicKey is no raw Ed25519 public key in base64url');
  const read = await readToken(token);
  if (!read.ok) return read;
  // From here on nothing is awaited: the token is judged, used up and the node enrolled in one turn.
  const at = now();
  const checked = tokens.check(read.value.presented, node, publicKey, at);
  if (!checked.ok) return checked;
  if (read.value.clusterKey !== keys.fingerprint)
    return refuse(
      'token-expired',
      'this join token is older than the last change of the cluster’s key: create another one',
    );
  const { cluster } = engine.state.durable;
  if (!isSignedBy(publicKey, proof, joinText(cluster, node, publicKey, token)))
    return refuse('signature-invalid', 'the proof does not fit the public key that was offered');
  const before = engine.state.durable.nodes;
  const known = Object.hasOwn(before, node) ? before[node] : undefined;
  const member = known !== undefined && !known.removed && known.publicKey === publicKey;
  if (!checked.value.firstUse && !member)
    return refuse('token-used', `this join token was used; node ${node} has left since: create another one`);
  if (checked.value.firstUse) {
    const write = () => tokens.markUsed(read.value.presented, publicKey, at);
    const outcome = engine.perform({ type: 'enrol', node, publicKey }, { write });
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
  }
  const { history } = engine.state.durable;
  const signature = keys.sign(enrolledText(cluster, node, publicKey, history));
  const newKey = checked.value.firstUse && known !== undefined && known.publicKey !== publicKey;
  return done({ answer: { cluster, node, history, clusterKey: keys.publicKey, signature }, newKey });
}

/**
 * Gives a member another key.
 * @param body JSON of {@link rekeySchema}.
 * @returns whether it had another one before: the first answer may have been lost.
 */
export function rekey(engine: Engine, node: string, body: Uint8Array): Result<boolean> {
  const read = rekeySchema.safeParse(jsonIn(body));
  if (!read.success) return refuse('malformed-body', 'not a public key with its proof');
  const { publicKey, proof } = read.data;
  const { cluster, nodes } = engine.state.durable;
  if (!isSignedBy(publicKey, proof, rekeyText(cluster, node, publicKey)))
    return refuse('signature-invalid', 'the proof does not fit the public key that was offered');
  if (nodes[node]?.publicKey === publicKey) return done(false);
  const outcome = engine.perform({ type: 'rekey', node, publicKey });
  return outcome.refused === undefined ? done(true) : { ok: false, problem: outcome.refused };
}

function jsonIn(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
