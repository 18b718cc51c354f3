/**
 * Requests of this node over HTTP, each signed with its key, and their answers, which count only as far as they are signed with the cluster's
 * (schemas/session.ts). The nonce of the next request comes with each answer; where the cluster has another key by now, the word of the one that
 * this node trusts, which it follows.
 */
import { randomBytes } from 'node:crypto';
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { nonceSchema } from '../../schemas/api.ts';
import {
  answerText,
  fingerprintOf,
  isSignedBy,
  requestText,
  SIGNATURE_HEADERS,
  type Successor,
  sha256Hex,
  signText,
  successionText,
  successorIn,
} from '../../schemas/session.ts';
import { parseJson, readAnswer } from '../system/index.ts';
import type { Identity } from './identity.ts';

/** A whole configuration may come down with a reply; nothing longer is read. */
export const MAX_REPLY_BYTES = 4 * 1024 * 1024;
const NONCE_TIMEOUT_MS = 3_000;

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** The cluster's key signed it, for this request. Of a refusal the code is signed, not its words. */
  readonly authentic: boolean;
  /** Of a refusal. */
  readonly code: string | undefined;
  /** What is said to follow the key that this node trusts. */
  readonly successor: Successor | undefined;
}

/** The coordinator does not give out a nonce. */
export class NoNonceError extends Error {
  readonly answer: HttpAnswer;
  constructor(answer: HttpAnswer) {
    super(
      answer.status === 200
        ? 'what answers does not have the key of this cluster'
        : `no nonce: status ${answer.status}: ${problemText(answer.body)}`,
    );
    this.name = 'NoNonceError';
    this.answer = answer;
  }
}

export class SignedHttp {
  /** Where the agents' routes are, ending in a slash. */
  readonly base: URL;
  readonly #incarnation: string;
  readonly #trust: (clusterKey: string) => Promise<boolean>;
  readonly #http: HttpAgent | HttpsAgent;
  /** Key and cluster key may change while the agent runs. */
  identity: Identity;
  #nonce: string | undefined;
  #following: Promise<boolean> | undefined;

  /** @param trust writes down that the cluster has another key. @returns whether it is on disk. */
  constructor(identity: Identity, incarnation: string, trust: (clusterKey: string) => Promise<boolean>) {
    this.identity = identity;
    this.#incarnation = incarnation;
    this.#trust = trust;
    const { url, cluster } = identity;
    this.base = new URL(`v1/clusters/${cluster}/agent/`, url.endsWith('/') ? url : `${url}/`);
    const options = { keepAlive: true, maxSockets: 4 };
    this.#http = this.base.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
  }

  close(): void {
    this.#http.destroy();
  }

  /**
   * Posts JSON; a nonce that the coordinator no longer knows is replaced once by the fresh one that comes with the refusal, and where the cluster
   * has another key by now it is asked again by that.
   * @throws {NoNonceError}, and Error when it cannot be reached in time.
   */
  async post(name: string, body: string, timeoutMs: number): Promise<HttpAnswer> {
    const url = new URL(name, this.base);
    for (let attempt = 0; ; attempt++) {
      const headers = this.#sign('POST', url.pathname, await this.takeNonce(), body);
      const answer = await this.#request(url, body, headers, timeoutMs);
      if (await this.follow(answer.successor)) continue;
      if (answer.status === 401 && attempt === 0 && this.#nonce !== undefined) continue;
      return answer;
    }
  }

  /** Headers of an upgrade. */
  upgrade(path: string, nonce: string, sessionKey: string): Record<string, string> {
    return { ...this.#sign('GET', path, nonce, sessionKey), [SIGNATURE_HEADERS.sessionKey]: sessionKey };
  }

  /** A nonce for one request, kept from the last answer or asked for. @throws as `post`. */
  async takeNonce(): Promise<string> {
    const kept = this.#nonce;
    this.#nonce = undefined;
    if (kept !== undefined) return kept;
    const { node } = this.identity;
    const url = new URL('nonce', this.base);
    let answer: HttpAnswer;
    do {
      const headers = { [SIGNATURE_HEADERS.clusterKey]: fingerprintOf(this.identity.clusterKey) };
      answer = await this.#request(url, JSON.stringify({ node }), headers, NONCE_TIMEOUT_MS);
    } while (await this.follow(answer.successor));
    const parsed = nonceSchema.safeParse(parseJson(answer.body));
    if (answer.status !== 200 || !answer.authentic || !parsed.success) throw new NoNonceError(answer);
    this.#nonce = undefined;
    return parsed.data.nonce;
  }

  /**
   * Trusts the key that the one trusted so far has signed, as soon as that is on disk.
   * @returns whether this node trusts another key than before.
   */
  follow(successor: Successor | undefined): Promise<boolean> {
    // several answers may say so at once
    this.#following ??= this.#follow(successor).finally(() => {
      this.#following = undefined;
    });
    return this.#following;
  }

  async #follow(successor: Successor | undefined): Promise<boolean> {
    const { cluster, clusterKey } = this.identity;
    if (successor === undefined || successor.publicKey === clusterKey) return false;
    if (!isSignedBy(clusterKey, successor.signature, successionText(cluster, successor.publicKey))) return false;
    if (!(await this.#trust(successor.publicKey))) return false;
    this.identity = { ...this.identity, clusterKey: successor.publicKey };
    return true;
  }

  /** @returns whether there is one. It needs no signature: one that the coordinator did not give out is refused, and nothing else. */
  keepNonce(headers: Headers): boolean {
    const fresh = headers[SIGNATURE_HEADERS.nextNonce];
    if (typeof fresh === 'string') this.#nonce = fresh;
    return this.#nonce !== undefined;
  }

  #sign(method: string, path: string, nonce: string, body: string): Record<string, string> {
    const { key, node } = this.identity;
    const incarnation = this.#incarnation;
    const clusterKey = fingerprintOf(this.identity.clusterKey);
    const text = requestText({ method, path, node, incarnation, clusterKey, nonce, bodySha256: sha256Hex(body) });
    return {
      [SIGNATURE_HEADERS.node]: node,
      [SIGNATURE_HEADERS.incarnation]: incarnation,
      [SIGNATURE_HEADERS.clusterKey]: clusterKey,
      [SIGNATURE_HEADERS.nonce]: nonce,
      [SIGNATURE_HEADERS.signature]: signText(key, text),
    };
  }

  #request(url: URL, body: string, signed: Record<string, string>, timeoutMs: number): Promise<HttpAnswer> {
    const id = randomBytes(16).toString('base64url');
    // as it is trusted now: when the answer comes it may be another one
    const { clusterKey } = this.identity;
    const headers = {
      ...signed,
      [SIGNATURE_HEADERS.request]: id,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    };
    const options: RequestOptions = {
      method: 'POST',
      agent: this.#http,
      headers,
      signal: AbortSignal.timeout(timeoutMs),
    };
    return new Promise((resolve, reject) => {
      const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (response) => {
        const judged = readAnswer(response, MAX_REPLY_BYTES).then((bytes) => {
          this.keepNonce(response.headers);
          const { statusCode: status = 0, headers: said } = response;
          return this.#judged({ path: url.pathname, id, clusterKey }, status, said, bytes);
        });
        judged.then(resolve, reject);
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  #judged(
    asked: { readonly path: string; readonly id: string; readonly clusterKey: string },
    status: number,
    headers: Headers,
    bytes: Buffer,
  ): HttpAnswer {
    const body = bytes.toString('utf8');
    const code = status === 200 ? undefined : codeIn(body);
    const said = code === undefined ? { sha256: sha256Hex(bytes) } : { refused: code };
    const text = answerText({ path: asked.path, node: this.identity.node, request: asked.id, body: said });
    const authentic = isSignedBy(asked.clusterKey, String(headers[SIGNATURE_HEADERS.signature] ?? ''), text);
    return { status, body, authentic, code, successor: successorIn(headers[SIGNATURE_HEADERS.successor]) };
  }
}

function codeIn(body: string): string | undefined {
  const parsed = parseJson(body);
  const code = typeof parsed === 'object' && parsed !== null && 'code' in parsed ? parsed.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** The words of a problem document, or the beginning of whatever came instead. */
export function problemText(body: string): string {
  const parsed = parseJson(body);
  if (typeof parsed === 'object' && parsed !== null && 'detail' in parsed && typeof parsed.detail === 'string')
    return parsed.detail;
  return body.slice(0, 200).replace(/\s+/g, ' ');
}
