/** Which node is asking: the signature over a request, with a nonce that this instance gave out and takes once. */
import { nameSchema } from '../../schemas/names.ts';
import {
  answerText,
  isSignedBy,
  REQUEST_ID,
  requestText,
  SIGNATURE_HEADERS,
  type Successor,
  sha256Hex,
} from '../../schemas/session.ts';
import type { ClusterState } from '../decide/index.ts';
import type { ClusterKeys } from './cluster-keys.ts';
import { Nonces } from './nonces.ts';
import type { Sender } from './reports.ts';
import { done, type Refused, type Result, refuse } from './result.ts';

/** What an agent's request says beside its body, unverified; a header that is absent is an empty text and will not verify. */
export interface AgentRequest {
  readonly method: string;
  readonly path: string;
  readonly node: string;
  readonly incarnation: string;
  readonly nonce: string;
  /** Fingerprint of the key by which the node knows this cluster. */
  readonly clusterKey: string;
  /** Of an upgrade. */
  readonly sessionKey: string;
  /** Of anything else: what the answer is signed for. */
  readonly request: string;
  readonly signature: string;
}

export interface SignedRequest extends AgentRequest {
  readonly body: Uint8Array<ArrayBuffer>;
}

/** @returns what the headers claim. */
export function agentRequest(request: {
  readonly method: string;
  readonly path: string;
  readonly header: (name: string) => string | null | undefined;
}): AgentRequest {
  const header = (name: keyof typeof SIGNATURE_HEADERS) => request.header(SIGNATURE_HEADERS[name]) ?? '';
  return {
    method: request.method,
    path: request.path,
    node: header('node'),
    incarnation: header('incarnation'),
    nonce: header('nonce'),
    clusterKey: header('clusterKey'),
    sessionKey: header('sessionKey'),
    request: header('request'),
    signature: header('signature'),
  };
}

/** What an agent is answered over HTTP: every answer brings the nonce for its next request. */
export interface AgentAnswer {
  /** JSON text. */
  readonly result: Result<string>;
  readonly nextNonce: string | null;
  /** Null where the node trusts another key, or gives no id to sign it for: it will not believe this. */
  readonly signature: string | null;
  /** Where the node trusts an older key. */
  readonly successor: Successor | null;
}

type Verified =
  | { readonly ok: true; readonly sender: Sender; readonly publicKey: string }
  | { readonly ok: false; readonly problem: Refused; readonly nextNonce: string | null };

export class Authentication {
  readonly #state: () => ClusterState;
  readonly #keys: ClusterKeys;
  readonly #nonces: Nonces;

  constructor(instance: string, state: () => ClusterState, keys: ClusterKeys) {
    this.#nonces = new Nonces(instance);
    this.#state = state;
    this.#keys = keys;
  }

  /** A nonce for whoever asks in the name of a member. */
  nonceFor(node: string): Result<string> {
    if (this.#publicKey(node) === null) return notMember(node);
    return done(this.#nonces.issue());
  }

  /** The nonce that an authenticated answer carries. */
  nextNonce(): string {
    return this.#nonces.issue();
  }

  /** Nothing in it is awaited: of two requests with one nonce, one gets it. */
  verify(request: SignedRequest): Verified {
    const { node, incarnation } = request;
    const publicKey = this.#publicKey(node);
    if (publicKey === null) return { ...notMember(node), nextNonce: null };
    const refusal = (problem: { readonly ok: false; readonly problem: Refused }): Verified => ({
      ...problem,
      nextNonce: this.#nonces.issue(),
    });
    const stale = refuse(
      'nonce-stale',
      'the nonce is unknown or was used; sign the request again with the one in this answer',
    );
    if (!this.#nonces.isFresh(node, request.nonce)) return refusal(stale);
    const good = isSignedBy(
      publicKey,
      request.signature,
      requestText({ ...request, bodySha256: sha256Hex(request.body) }),
    );
    if (!good || !isIncarnation(incarnation))
      return refusal(refuse('signature-invalid', `the signature does not fit the key of node ${node}`));
    // used up only now: strangers use up none
    if (!this.#nonces.use(node, request.nonce)) return refusal(stale);
    if (request.clusterKey !== this.#keys.fingerprint)
      return refusal(
        refuse(
          'key-unknown',
          `this node knows the cluster by key ${request.clusterKey}, and its key is ${this.#keys.fingerprint}: a node that trusted the one before follows by itself, any other joins again`,
        ),
      );
    return { ok: true, sender: { node, incarnation }, publicKey };
  }

  /** Signs what was asked for with the key that the node trusts. */
  answer(asked: AgentRequest, result: Result<string>, nextNonce: string | null): AgentAnswer {
    const { path, node, request } = asked;
    const trusted = asked.clusterKey === this.#keys.fingerprint && REQUEST_ID.test(request);
    const body = result.ok ? { sha256: sha256Hex(result.value) } : { refused: result.problem.code };
    const signature = trusted ? this.#keys.sign(answerText({ path, node, request, body })) : null;
    return { result, nextNonce, signature, successor: this.#keys.successorOf(asked.clusterKey) };
  }

  /** Is this the key of a member? */
  isKeyOf(node: string, publicKey: string): boolean {
    return this.#publicKey(node) === publicKey;
  }

  #publicKey(node: string): string | null {
    if (!nameSchema.safeParse(node).success) return null;
    const { nodes } = this.#state().durable;
    const record = Object.hasOwn(nodes, node) ? nodes[node] : undefined;
    return record === undefined || record.removed ? null : record.publicKey;
  }
}

/** As the reports have it (schemas/wire.ts). */
function isIncarnation(text: string): boolean {
  return text.length > 0 && text.length <= 64;
}

function notMember(node: string) {
  return refuse(
    'unauthorized',
    `${node === '' ? 'the request names no node and' : `node ${node}`} is no member of this cluster: it never joined, or was removed; create a join token and join it`,
  );
}
