/**
 * How reports reach the coordinator: one WebSocket, and HTTP beside it. The WebSocket is the default; while it is not open, or does
 * not answer, the same reports go by HTTP, and a long poll waits for nudges. Losing either costs no lease while the other works.
 *
 * The transport decides nothing: what arrives is checked for who sent it (schemas/session.ts) and against the schema, and handed up; the lease
 * keeper knows what it is worth.
 */
import type { KeyObject } from 'node:crypto';
import { waitedSchema } from '../../schemas/api.ts';
import { LONG_POLL_MS, MAX_AGENT_MESSAGE_BYTES } from '../../schemas/limits.ts';
import {
  newSessionKey,
  publicHalf,
  SEAL_LENGTH,
  type Seal,
  SIGNATURE_HEADERS,
  sessionSchema,
  sessionWith,
  successorIn,
} from '../../schemas/session.ts';
import { downMessageSchema, type Renewals, type Reply, type Report, replySchema } from '../../schemas/wire.ts';
import type { Log } from '../system/index.ts';
import { parseJson, textOf, unreachableBecause } from '../system/index.ts';
import { TextWebSocket, UpgradeRefused } from '../system/websocket.ts';
import type { Identity } from './identity.ts';
import { type HttpAnswer, MAX_REPLY_BYTES, NoNonceError, problemText, SignedHttp } from './signed-http.ts';

const CONNECT_TIMEOUT_MS = 3_000;
/**
 * Pause before the next try to connect: a fraction of the time that there has been no connection, within these bounds. So a coordinator that
 * comes back is found soon after, however long it was away, and one that stays away is not stormed.
 */
const RECONNECT_FRACTION = 1 / 8;
const RECONNECT_LEAST_MS = 100;
const RECONNECT_MOST_MS = 2_000;

export interface TransportOptions {
  readonly identity: Identity;
  readonly incarnation: string;
  readonly log: Log;
  readonly onReply: (reply: Reply) => void;
  /** The coordinator says, before reading any report, that this node may not speak to it. */
  readonly onRefused: (problem: NonNullable<Reply['problem']>) => void;
  readonly onNudge: () => void;
  /** Reports go another way from now on: those under way on the one before may be lost. */
  readonly onOtherWay: () => void;
  /** This report went by HTTP alone, and will not be answered. */
  readonly onLost: (id: string) => void;
  readonly onRenewals: (renewals: Renewals['renewals']) => void;
  /** The cluster has another key from now on: writes it down. */
  readonly onClusterKey: (publicKey: string) => Promise<void>;
  /** The coordinator does not take this node's key: reads the ones that it may have now. */
  readonly keys: () => Promise<readonly KeyObject[]>;
}

/** A WebSocket whose session has begun. */
interface Session {
  readonly socket: TextWebSocket;
  readonly up: Seal;
  readonly down: Seal;
  /** What came before this was the session in use; undefined since. */
  early: string[] | undefined;
}

export class Transport {
  readonly #options: TransportOptions;
  readonly #http: SignedHttp;
  #session: Session | undefined;
  /** When a report left on the WebSocket that it has brought nothing since for. */
  #unheardSinceMs: number | undefined;
  #connecting = false;
  /** Since when no WebSocket has brought anything useful; undefined while one does. */
  #downSinceMs: number | undefined = performance.now();
  #reconnect: NodeJS.Timeout | undefined;
  #polling = false;
  #closed = false;
  readonly #said = new Map<'websocket' | 'http' | 'key', string>();

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#http = new SignedHttp(options.identity, options.incarnation, (clusterKey) => this.#trust(clusterKey));
  }

  start(): void {
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reconnect);
    this.#session?.socket.close();
    this.#http.close();
  }

  /** Which way reports go now. */
  get way(): 'websocket' | 'http' {
    return this.#session?.socket.open === true ? 'websocket' : 'http';
  }

  /** What keeps reports from being answered, as it was last told; undefined while they are. */
  get trouble(): string | undefined {
    return this.#said.get('key') ?? this.#said.get('http') ?? this.#said.get('websocket');
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
    if (this.#session !== undefined && nowMs - (this.#unheardSinceMs ?? nowMs) >= timeoutMs)
      this.#openAnew(this.#session, `the WebSocket has brought no answer for ${timeoutMs} ms; it is opened anew`);
    if (this.#session?.socket.open === true) {
      const { socket, up } = this.#session;
      socket.send(up.seal(text));
      this.#unheardSinceMs ??= nowMs;
      if (attempt > 0) void this.#post(text, timeoutMs);
      return;
    }
    void this.#post(text, timeoutMs).then((answered) => {
      if (!answered) this.#options.onLost(report.id);
    });
  }

  #openAnew(session: Session, why: string): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    session.socket.close(1000, 'opened anew');
    this.#say('websocket', why);
    void this.#connect();
  }

  /** What came cannot be believed: whoever did that may do it again, so the next session is not begun at once. */
  #broken(session: Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    session.socket.close(1000, 'not authentic');
    this.#say(
      'websocket',
      'the WebSocket brought something that is not the next message of its session: changed, lost or repeated on its way',
    );
    this.#options.onOtherWay();
    this.#later();
  }

  async #connect(): Promise<void> {
    if (this.#connecting || this.#closed || this.#session !== undefined) return;
    this.#connecting = true;
    clearTimeout(this.#reconnect);
    try {
      const session = await this.#upgrade();
      if (this.#closed) session.socket.close();
      if (!session.socket.open) throw new Error('it was closed at once');
      this.#session = session;
      this.#unheardSinceMs = undefined;
      const early = session.early ?? [];
      session.early = undefined;
      for (const text of early) this.#receive(session, text);
      this.#options.onOtherWay();
    } catch (error) {
      this.#say(
        'websocket',
        `no WebSocket: ${error instanceof UpgradeRefused ? `${error.message}: ${problemText(error.body)}` : unreachableBecause(error, this.#http.base)}`,
      );
      this.#later();
    } finally {
      this.#connecting = false;
    }
    if (this.#session === undefined) void this.#poll();
  }

  /** A nonce that a report has overtaken is stale: the fresh one that comes with the refusal is tried at once. */
  async #upgrade(): Promise<Session> {
    for (let attempt = 0; ; attempt++) {
      const nonce = await this.#http.takeNonce();
      try {
        return await this.#open(nonce);
      } catch (error) {
        if (!(error instanceof UpgradeRefused)) throw error;
        const fresh = this.#http.keepNonce(error.headers);
        if (await this.#http.follow(successorIn(error.headers[SIGNATURE_HEADERS.successor]))) continue;
        const again = error.status === 401 && fresh && attempt === 0;
        if (!again) throw error;
        await this.#otherKey(error.body);
      }
    }
  }

  /** Opens a WebSocket and begins the session. @throws {UpgradeRefused}; Error. */
  async #open(nonce: string): Promise<Session> {
    const { promise: first, resolve, reject } = Promise.withResolvers<string>();
    first.catch(() => undefined); // where the upgrade fails nobody waits for it
    let session: Session | undefined;
    let begun = false;
    const early: string[] = [];
    const handlers = {
      onText: (text: string) => {
        if (!begun) resolve(text);
        else if (session === undefined || session.early !== undefined) early.push(text);
        else this.#receive(session, text);
        begun = true;
      },
      onClose: (code: number, reason: string) => {
        reject(new Error('it was closed at once'));
        if (session !== undefined && this.#session === session) this.#onClose(code, reason);
      },
    };
    const url = new URL('socket', this.#http.base);
    // as it is trusted now: another one may be by the time that the session begins
    const { cluster, node, clusterKey } = this.#http.identity;
    const own = newSessionKey();
    const headers = this.#http.upgrade(url.pathname, nonce, own.publicKey);
    const timeoutMs = CONNECT_TIMEOUT_MS;
    const socket = await TextWebSocket.open(
      url,
      { headers, timeoutMs, maxBytes: MAX_REPLY_BYTES + SEAL_LENGTH },
      handlers,
    );
    const tooLate = setTimeout(() => reject(new Error(`no session within ${timeoutMs} ms`)), timeoutMs);
    try {
      const begin = sessionSchema.safeParse(parseJson(await first));
      if (!begin.success) throw new Error('it does not begin with a session');
      const { incarnation } = this.#options;
      const seals = sessionWith(begin.data, own, { cluster, node, incarnation, nonce }, clusterKey);
      if (seals === undefined) throw new Error('what answers does not have the key of this cluster');
      if (!socket.open) throw new Error('it was closed at once');
      session = { socket, ...seals, early };
      return session;
    } catch (error) {
      socket.close(1000, 'no session');
      throw error;
    } finally {
      clearTimeout(tooLate);
    }
  }

  #onClose(code: number, reason: string): void {
    this.#session = undefined;
    if (this.#closed) return;
    this.#say('websocket', `the WebSocket was closed (${code}${reason === '' ? '' : `, ${reason}`})`);
    // A report in flight on it may be lost: report again, by whichever way is open. Nobody signed the reason: if it is that this node is no
    // member any more, the answer says so.
    this.#options.onOtherWay();
    this.#later();
  }

  #later(): void {
    if (this.#closed) return;
    clearTimeout(this.#reconnect);
    this.#downSinceMs ??= performance.now();
    const fraction = (performance.now() - this.#downSinceMs) * RECONNECT_FRACTION;
    const waitMs = Math.min(RECONNECT_MOST_MS, Math.max(RECONNECT_LEAST_MS, fraction));
    this.#reconnect = setTimeout(() => void this.#connect(), waitMs * (0.75 + Math.random() / 2));
    this.#reconnect.unref();
  }

  /** While there is no WebSocket: a request that the coordinator answers when it has something to say. */
  async #poll(): Promise<void> {
    if (this.#polling || this.#closed || this.#session !== undefined) return;
    this.#polling = true;
    try {
      const { status, authentic, body } = await this.#http.post('wait', '{}', LONG_POLL_MS + 5_000);
      if (status === 200 && authentic && nudged(body)) this.#options.onNudge();
    } catch {
      // the coordinator cannot be reached this way either: the reports say so themselves
    } finally {
      this.#polling = false;
    }
  }

  /** @returns whether a reply came of it. */
  async #post(text: string, timeoutMs: number): Promise<boolean> {
    try {
      const answer = await this.#http.post('report', text, timeoutMs);
      if (answer.status !== 200) {
        this.#say('http', `a report was answered with status ${answer.status}: ${problemText(answer.body)}`);
        await this.#otherKey(answer.body);
        this.#judge(answer);
        return false;
      }
      const reply = answer.authentic ? replySchema.safeParse(parseJson(answer.body)) : undefined;
      if (reply?.success !== true) {
        const what =
          reply === undefined
            ? 'what answers does not have the key of this cluster'
            : 'the coordinator answered with something that is no reply';
        this.#say('http', `${what}; it is ignored`);
        return false;
      }
      this.#said.delete('http');
      this.#onReply(reply.data);
      return true;
    } catch (error) {
      if (error instanceof NoNonceError) this.#judge(error.answer);
      this.#say('http', `the coordinator cannot be reached: ${unreachableBecause(error, this.#http.base)}`);
      return false;
    }
  }

  /**
   * A refusal in HTTP's own terms, for the lease keeper in its own. Only what the coordinator itself has signed about membership and version
   * counts: not what a proxy in between may answer.
   */
  #judge({ authentic, code: said, body }: HttpAnswer): void {
    if (!authentic) return;
    const code =
      said === 'unauthorized' || said === 'node-unknown'
        ? 'node-removed'
        : said === 'version-unsupported'
          ? said
          : undefined;
    if (code !== undefined) this.#options.onRefused({ code, detail: problemText(body) });
  }

  /** A refused signature: this node may have another key by now. */
  async #otherKey(refusal: string): Promise<void> {
    const parsed = parseJson(refusal);
    if (typeof parsed !== 'object' || parsed === null || !('code' in parsed) || parsed.code !== 'signature-invalid')
      return;
    const { identity } = this.#http;
    const refused = publicHalf(identity.key);
    const key = (await this.#options.keys()).find((one) => publicHalf(one) !== refused);
    if (key !== undefined) this.#http.identity = { ...this.#http.identity, key };
  }

  #onReply(reply: Reply): void {
    const session = this.#session;
    if (reply.successor !== undefined)
      void this.#http.follow(reply.successor).then((followed) => {
        if (followed && session !== undefined)
          this.#openAnew(session, 'the cluster has another key; the WebSocket is opened anew');
      });
    this.#options.onReply(reply);
  }

  async #trust(clusterKey: string): Promise<boolean> {
    try {
      await this.#options.onClusterKey(clusterKey);
      this.#said.delete('key');
      return true;
    } catch (error) {
      this.#say('key', `the cluster has another key, which cannot be written down: ${textOf(error)}`);
      return false;
    }
  }

  #receive(session: Session, sealed: string): void {
    const text = session.down.open(sealed);
    if (text === undefined) {
      this.#broken(session);
      return;
    }
    const message = downMessageSchema.safeParse(parseJson(text));
    if (!message.success) {
      this.#say('websocket', 'the coordinator sent something that is no message of this protocol; it is ignored');
      return;
    }
    this.#unheardSinceMs = undefined;
    // Only now is it good for something: one that is opened and closed again, with a refusal, is not tried faster and faster.
    if (message.data.type !== 'reply' || message.data.problem === undefined) {
      this.#downSinceMs = undefined;
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
        this.#onReply(message.data);
        return;
      default:
        message.data satisfies never;
    }
  }

  /** Once per change: a coordinator that is away for an hour is one line. */
  #say(way: 'websocket' | 'http' | 'key', problem: string): void {
    if (this.#said.get(way) === problem) return;
    this.#said.set(way, problem);
    this.#options.log.warn(problem);
  }
}

function nudged(body: string): boolean {
  return waitedSchema.safeParse(parseJson(body)).data?.nudge === true;
}
