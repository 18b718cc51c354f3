/** How a machine becomes a member: an administrator's token for its name, and a key that it proves to hold. */
import type * as z from 'zod';
import { type enrolSchema, joinText } from '../../schemas/api.ts';
import { now } from './clock.ts';
import type { Engine } from './engine.ts';
import { isPublicKey, signedBy } from './keys.ts';
import { timestamp } from './records.ts';
import { done, type Result, refuse } from './result.ts';
import { type JoinTokens, readToken } from './tokens.ts';

export type Enrolment = z.infer<typeof enrolSchema>;

export interface NewToken {
  readonly token: string;
  readonly expiresAt: number;
}

/** Tokens are forgotten this long after they ended, so that until then their use is answered with what became of them. */
const FORGET_AFTER_MS = 7 * 24 * 3_600_000;

export async function makeToken(engine: Engine, tokens: JoinTokens, node: string, ttlMs: number): Promise<NewToken> {
  const made = await tokens.make();
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

/**
 * Enrols a node. Repeating it with the same token and key is answered like the first time: the first answer may have been lost.
 * @returns whether the node has another key than before.
 */
export async function enrol(
  engine: Engine,
  tokens: JoinTokens,
  { node, publicKey, token, proof }: Enrolment,
): Promise<Result<{ newKey: boolean }>> {
  if (!isPublicKey(publicKey)) return refuse('invalid-value', 'publicKey is no raw Ed25519 public key in base64url');
  const read = await readToken(token);
  if (!read.ok) return read;
  const { cluster } = engine.state.durable;
  const proven = await signedBy(publicKey, proof, joinText(cluster, node, publicKey, token));
  // From here on nothing is awaited: the token is judged, used up and the node enrolled in one turn.
  const at = now();
  const checked = tokens.check(read.value, node, publicKey, at);
  if (!checked.ok) return checked;
  if (!proven) return refuse('signature-invalid', 'the proof does not fit the public key that was offered');
  const before = engine.state.durable.nodes;
  const known = Object.hasOwn(before, node) ? before[node] : undefined;
  const member = known !== undefined && !known.removed && known.publicKey === publicKey;
  if (!checked.value.firstUse) {
    if (member) return done({ newKey: false });
    return refuse('token-used', `this join token was used; node ${node} has left since: create another one`);
  }
  const outcome = engine.perform(
    { type: 'enrol', node, publicKey },
    { write: () => tokens.markUsed(read.value, publicKey, at) },
  );
  if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
  return done({ newKey: known !== undefined && known.publicKey !== publicKey });
}
