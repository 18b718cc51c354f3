/** Which node is asking: the signature over a request, with a nonce that this instance gave out and takes once. */
import { nameSchema } from '../../schemas/names.ts';
import { SIGNATURE_HEADERS, signedText } from '../../schemas/wire.ts';
import type { ClusterState } from '../decide/index.ts';
import { hex, sha256 } from './encoding.ts';
import { signedBy } from './keys.ts';
import { Nonces } from './nonces.ts';
import type { Sender } from './reports.ts';
import { done, type Refused, type Result, refuse } from './result.ts';

/** A request of an agent as it arrived. */
export interface SignedRequest {
  readonly method: string;
  readonly path: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly node: string;
  readonly incarnation: string;
  readonly nonce: string;
  readonly signature: string;
}

/** @returns what the headers claim, unverified; an absent header is an empty text and will not verify. */
export function signedRequest(
  request: { method: string; path: string; header: (name: string) => string | null | undefined },
  body: Uint8Array<ArrayBuffer>,
): SignedRequest {
  return {
    method: request.method,
    path: request.path,
    body,
    node: request.header(SIGNATURE_HEADERS.node) ?? '',
    incarnation: request.header(SIGNATURE_HEADERS.incarnation) ?? '',
    nonce: request.header(SIGNATURE_HEADERS.nonce) ?? '',
    signature: request.header(SIGNATURE_HEADERS.signature) ?? '',
  };
}

/** What an agent is answered over HTTP: every answer brings the nonce for its next request. */
export interface AgentAnswer<T> {
  readonly result: Result<T>;
  readonly nextNonce: string | null;
}

type Verified =
  | { readonly ok: true; readonly sender: Sender }
  | { readonly ok: false; readonly problem: Refused; readonly nextNonce: string | null };

export class Authentication {
  readonly #state: () => ClusterState;
  readonly #nonces: Nonces;

  constructor(instance: string, state: () => ClusterState) {
    this.#nonces = new Nonces(instance);
    this.#state = state;
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

  async verify(request: SignedRequest): Promise<Verified> {
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
    const text = signedText({ ...request, bodySha256: hex(await sha256(request.body)) });
    const good = await signedBy(publicKey, request.signature, text);
    if (!good || incarnation === '') {
      return refusal(refuse('signature-invalid', `the signature does not fit the key of node ${node}`));
    }
    // It may have been removed, or have joined with another key, while the signature was checked.
    if (this.#publicKey(node) !== publicKey) return { ...notMember(node), nextNonce: null };
    // Used up only now, with nothing awaited since: of two requests with one nonce, one gets it, and strangers use up none.
    if (!this.#nonces.use(node, request.nonce)) return refusal(stale);
    return { ok: true, sender: { node, incarnation } };
  }

  #publicKey(node: string): string | null {
    if (!nameSchema.safeParse(node).success) return null;
    const { nodes } = this.#state().durable;
    const record = Object.hasOwn(nodes, node) ? nodes[node] : undefined;
    return record === undefined || record.removed ? null : record.publicKey;
  }
}

function notMember(node: string) {
  return refuse(
    'unauthorized',
    `${node === '' ? 'the request names no node and' : `node ${node}`} is no member of this cluster: it never joined, or was removed; create a join token and join it`,
  );
}
