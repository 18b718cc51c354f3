/**
 * How reports reach the coordinator: one WebSocket, and HTTP beside it. The WebSocket is the default; while it is not open, or does
 * not answer, the same reports go by HTTP, and a long poll waits for nudges. Losing either costs no lease while the other works.
 *
 * The transport decides nothing: what arrives is checked against the schema and handed up; the lease keeper knows what it is worth.
 */
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { nonceSchema, waitedSchema } from '../../schemas/api.ts';
import { LONG_POLL_MS, MAX_AGENT_MESSAGE_BYTES } from '../../schemas/limits.ts';
import {
  downMessageSchema,
  type Renewals,
  type Reply,
  type Report,
  replySchema,
  SIGNATURE_HEADERS,
} from '../../schemas/wire.ts';
import type { Log } from '../system/index.ts';
import { TextWebSocket, UpgradeRefused } from '../system/websocket.ts';
import { type Identity, signRequest } from './identity.ts';

/** A whole configuration may come down with a reply; nothing longer is read. */
const MAX_REPLY_BYTES = 4 * 1024 * 1024;
/** Close code of the coordinator for a node that is no member, or no longer. */
const CLOSED_NOT_MEMBER = 4401;
const RECONNECT_FIRST_MS = 100;
const RECONNECT_LAST_MS = 2_000;

export interface TransportOptions {
  readonly identity: Identity;
  readonly incarnation: string;
  readonly log: Log;
  readonly onReply: (reply: Reply) => void;
  /** The coordinator says, before reading any report, that this node may not speak to it. */
  readonly onRefused: (problem: NonNullable<Reply['problem']>) => void;
  readonly onNudge: () => void;
  readonly onRenewals: (renewals: Renewals['renewals']) => void;
}

interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export class Transport {
  readonly #options: TransportOptions;
  readonly #base: URL;
  readonly #http: HttpAgent | HttpsAgent;
  #socket: TextWebSocket | undefined;
  /** When a report left on the WebSocket that it has brought nothing since for. */
  #unheardSinceMs: number | undefined;
  #connecting = false;
  #backoffMs = RECONNECT_FIRST_MS;
  #reconnect: NodeJS.Timeout | undefined;
  #polling = false;
  #nonce: string | undefined;
  #closed = false;
  readonly #said = new Map<'websocket' | 'http', string>();

  constructor(options: TransportOptions) {
    this.#options = options;
    const { url, cluster } = options.identity;
    this.#base = new URL(`v1/clusters/${cluster}/agent/`, url.endsWith('/') ? url : `${url}/`);
    this.#http =
      this.#base.protocol === 'https:'
        ? new HttpsAgent({ keepAlive: true, maxSockets: 4 })
        : new HttpAgent({ keepAlive: true, maxSockets: 4 });
  }

  start(): void {
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reconnect);
    this.#socket?.close();
    this.#http.destroy();
  }

  /** Which way reports go now. */
  get way(): 'websocket' | 'http' {
    return this.#socket?.open === true ? 'websocket' : 'http';
  }

  /**
   * Sends a report; its reply comes through `onReply`, or never.
   * @param attempt 0 for the first; repeated ones go the other way as well.
   * @param timeoutMs how long an answer may take; a WebSocket that brings nothing for so long is opened anew, also while HTTP works.
   */
  send(report: Report, attempt: number, timeoutMs: number): void {
    const text = JSON.stringify(report);
    if (Buffer.byteLength(text) > MAX_AGENT_MESSAGE_BYTES) {
      this.#say(
        'http',
        `a report of ${text.length} bytes is longer than the ${MAX_AGENT_MESSAGE_BYTES} that are accepted`,
      );
      return;
    }
    const nowMs = performance.now();
    if (this.#socket !== undefined && nowMs - (this.#unheardSinceMs ?? nowMs) >= timeoutMs) {
      const silent = this.#socket;
      this.#socket = undefined;
      silent.close(1000, 'no answer');
      this.#say('websocket', `the WebSocket has brought no answer for ${timeoutMs} ms; it is opened anew`);
      void this.#connect();
    }
    if (this.#socket?.send(text) === true) {
      this.#unheardSinceMs ??= nowMs;
      if (attempt === 0) return;
    }
    void this.#post(text, report.incarnation, timeoutMs);
  }

  async #connect(): Promise<void> {
    if (this.#connecting || this.#closed || this.#socket !== undefined) return;
    this.#connecting = true;
    clearTimeout(this.#reconnect);
    try {
      const url = new URL('socket', this.#base);
      let opened: TextWebSocket | undefined;
      const handlers = {
        onText: (text: string) => this.#receive(text),
        onClose: (code: number, reason: string) => {
          if (opened !== undefined && this.#socket === opened) this.#onClose(code, reason);
        },
      };
      opened = await this.#upgrade(url, handlers);
      if (this.#closed) opened.close();
      if (!opened.open) throw new Error('it was closed at once');
      this.#socket = opened;
      this.#unheardSinceMs = undefined;
      this.#options.onNudge();
    } catch (error) {
      this.#say(
        'websocket',
        `no WebSocket: ${error instanceof UpgradeRefused ? `${error.message}: ${problemText(error.body)}` : textOf(error)}`,
      );
      this.#later();
    } finally {
      this.#connecting = false;
    }
    if (this.#socket === undefined) void this.#poll();
  }

  /** A nonce that a report has overtaken is stale: the fresh one that comes with the refusal is tried at once. */
  async #upgrade(url: URL, handlers: Parameters<typeof TextWebSocket.open>[2]): Promise<TextWebSocket> {
    for (let attempt = 0; ; attempt++) {
      const { key, node } = this.#options.identity;
      const { incarnation } = this.#options;
      const nonce = await this.#takeNonce();
      const headers = signRequest(key, { method: 'GET', path: url.pathname, node, incarnation, nonce, body: '' });
      try {
        return await TextWebSocket.open(url, { headers, timeoutMs: 3_000, maxBytes: MAX_REPLY_BYTES }, handlers);
      } catch (error) {
        if (error instanceof UpgradeRefused) this.#keepNonce(error.headers);
        const again =
          error instanceof UpgradeRefused && error.status === 401 && this.#nonce !== undefined && attempt === 0;
        if (!again) throw error;
      }
    }
  }

  #onClose(code: number, reason: string): void {
    this.#socket = undefined;
    if (this.#closed) return;
    this.#say('websocket', `the WebSocket was closed (${code}${reason === '' ? '' : `, ${reason}`})`);
    if (code === CLOSED_NOT_MEMBER) this.#options.onRefused({ code: 'node-removed', detail: reason });
    // a report in flight on it may be lost: report again, by whichever way is open
    this.#options.onNudge();
    this.#later();
  }

  #later(): void {
    if (this.#closed) return;
    clearTimeout(this.#reconnect);
    const waitMs = this.#backoffMs * (0.75 + Math.random() / 2);
    this.#reconnect = setTimeout(() => void this.#connect(), waitMs);
    this.#reconnect.unref();
    this.#backoffMs = Math.min(RECONNECT_LAST_MS, this.#backoffMs * 2);
  }

  /** While there is no WebSocket: a request that the coordinator answers when it has something to say. */
  async #poll(): Promise<void> {
    if (this.#polling || this.#closed || this.#socket !== undefined) return;
    this.#polling = true;
    try {
      const answer = await this.#signed('wait', '{}', this.#options.incarnation, LONG_POLL_MS + 5_000);
      if (answer.status === 200 && nudged(answer.body)) this.#options.onNudge();
    } catch {
      // the coordinator cannot be reached this way either: the reports say so themselves
    } finally {
      this.#polling = false;
    }
  }

  async #post(text: string, incarnation: string, timeoutMs: number): Promise<void> {
    try {
      const answer = await this.#signed('report', text, incarnation, timeoutMs);
      if (answer.status !== 200) {
        this.#say('http', `a report was answered with status ${answer.status}: ${problemText(answer.body)}`);
        this.#judge(answer);
        return;
      }
      this.#said.delete('http');
      const reply = replySchema.safeParse(parseJson(answer.body));
      if (reply.success) this.#options.onReply(reply.data);
      else this.#say('http', 'the coordinator answered with something that is no reply; it is ignored');
    } catch (error) {
      this.#say('http', `the coordinator cannot be reached: ${textOf(error)}`);
    }
  }

  /**
   * A refusal in HTTP's own terms, for the lease keeper in its own. Only what the coordinator itself says about membership and version
   * counts: a stale nonce is no refusal, nor is what a proxy in between may answer.
   */
  #judge(answer: { readonly body: string }): void {
    const parsed = parseJson(answer.body);
    const said = typeof parsed === 'object' && parsed !== null && 'code' in parsed ? parsed.code : undefined;
    const code =
      said === 'unauthorized' || said === 'node-unknown'
        ? 'node-removed'
        : said === 'version-unsupported'
          ? said
          : undefined;
    if (code !== undefined) this.#options.onRefused({ code, detail: problemText(answer.body) });
  }

  /** A signed request; a nonce the coordinator no longer knows is replaced once by the fresh one that comes with the refusal. */
  async #signed(name: 'report' | 'wait', body: string, incarnation: string, timeoutMs: number): Promise<HttpAnswer> {
    const url = new URL(name, this.#base);
    for (let attempt = 0; ; attempt++) {
      const nonce = await this.#takeNonce();
      const { key, node } = this.#options.identity;
      const headers = signRequest(key, { method: 'POST', path: url.pathname, node, incarnation, nonce, body });
      const answer = await this.#request(url, body, headers, timeoutMs);
      if (answer.status === 401 && attempt === 0 && this.#nonce !== undefined) continue;
      return answer;
    }
  }

  async #takeNonce(): Promise<string> {
    const kept = this.#nonce;
    this.#nonce = undefined;
    if (kept !== undefined) return kept;
    const answer = await this.#request(
      new URL('nonce', this.#base),
      JSON.stringify({ node: this.#options.identity.node }),
      {},
      3_000,
    );
    const parsed = nonceSchema.safeParse(parseJson(answer.body));
    if (answer.status === 200 && parsed.success) {
      this.#nonce = undefined;
      return parsed.data.nonce;
    }
    this.#judge(answer);
    throw new Error(`no nonce: status ${answer.status}: ${problemText(answer.body)}`);
  }

  #keepNonce(headers: HttpAnswer['headers']): void {
    const fresh = headers[SIGNATURE_HEADERS.nextNonce];
    if (typeof fresh === 'string') this.#nonce = fresh;
  }

  #request(url: URL, body: string, headers: Record<string, string>, timeoutMs: number): Promise<HttpAnswer> {
    const options: RequestOptions = {
      method: 'POST',
      agent: this.#http,
      headers: { ...headers, 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) },
      signal: AbortSignal.timeout(timeoutMs),
    };
    return new Promise((resolve, reject) => {
      const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_REPLY_BYTES) response.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          this.#keepNonce(response.headers);
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          });
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  #receive(text: string): void {
    const message = downMessageSchema.safeParse(parseJson(text));
    if (!message.success) {
      this.#say('websocket', 'the coordinator sent something that is no message of this protocol; it is ignored');
      return;
    }
    this.#unheardSinceMs = undefined;
    // Only now is it good for something: one that is opened and closed again, with a refusal, is not tried faster and faster.
    if (message.data.type !== 'reply' || message.data.problem === undefined) {
      this.#backoffMs = RECONNECT_FIRST_MS;
      this.#said.delete('websocket');
    }
    switch (message.data.type) {
      case 'nudge':
        this.#options.onNudge();
        return;
      case 'renewals':
        this.#options.onRenewals(message.data.renewals);
        return;
      case 'reply':
        this.#options.onReply(message.data);
        return;
      default:
        message.data satisfies never;
    }
  }

  /** Once per change: a coordinator that is away for an hour is one line. */
  #say(way: 'websocket' | 'http', problem: string): void {
    if (this.#said.get(way) === problem) return;
    this.#said.set(way, problem);
    this.#options.log.warn(problem);
  }
}

function nudged(body: string): boolean {
  return waitedSchema.safeParse(parseJson(body)).data?.nudge === true;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The words of a problem document, or the beginning of whatever came instead. */
function problemText(body: string): string {
  const parsed = parseJson(body);
  if (typeof parsed === 'object' && parsed !== null && 'detail' in parsed && typeof parsed.detail === 'string')
    return parsed.detail;
  return body.slice(0, 200).replace(/\s+/g, ' ');
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
