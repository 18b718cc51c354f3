/**
 * A WebSocket client (RFC 6455) on node:http, for text messages only. Node's own WebSocket brings all of undici with it, which costs
 * the agent 10 MB of memory; see docs/decisions/0003-websocket-client.md.
 */
import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { readAnswer } from './http-answer.ts';

/** What is read of an answer that is not the upgrade. */
const MAX_REFUSAL_BYTES = 64 * 1024;
const MAX_FRAGMENTS = 1_000;

const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface WebSocketHandlers {
  onText(text: string): void;
  /** Once, whoever ended it. `code` as in RFC 6455 section 7.4; 1006 without a closing frame. */
  onClose(code: number, reason: string): void;
}

/** The server answered the upgrade with an ordinary response. */
export class UpgradeRefused extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  constructor(status: number, headers: Readonly<Record<string, string | string[] | undefined>>, body: string) {
    super(`the upgrade was answered with status ${status}`);
    this.name = 'UpgradeRefused';
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
}

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export class TextWebSocket {
  readonly #socket: Socket;
  readonly #handlers: WebSocketHandlers;
  readonly #maxBytes: number;
  #unread: Buffer;
  #fragments: Buffer[] = [];
  #fragmentBytes = 0;
  #open = true;

  private constructor(socket: Socket, head: Buffer, handlers: WebSocketHandlers, maxBytes: number) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#maxBytes = maxBytes;
    this.#unread = Buffer.alloc(0);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#end(1006, error.message));
    socket.on('close', () => this.#end(1006, 'the connection was closed'));
    if (head.length > 0) this.#read(head);
  }

  /**
   * Opens a connection.
   * @param options.maxBytes a longer message ends the connection with 1009.
   * @throws {UpgradeRefused} when the server does not switch protocols; Error when it cannot be reached in time.
   */
  static open(
    url: URL,
    options: { readonly headers: Record<string, string>; readonly timeoutMs: number; readonly maxBytes: number },
    handlers: WebSocketHandlers,
  ): Promise<TextWebSocket> {
    const key = randomBytes(16).toString('base64');
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      headers: {
        ...options.headers,
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': key,
      },
      agent: false,
      signal: AbortSignal.timeout(options.timeoutMs),
    });
    return new Promise((resolve, reject) => {
      request.on('error', reject);
      request.on('response', (response) => {
        const { statusCode = 0, headers } = response;
        readAnswer(response, MAX_REFUSAL_BYTES, 'the answer to the upgrade').then(
          (bytes) => reject(new UpgradeRefused(statusCode, headers, bytes.toString('utf8').slice(0, 2_000))),
          reject,
        );
      });
      request.on('upgrade', (response, socket, head) => {
        const expected = createHash('sha1')
          .update(key + ACCEPT_GUID)
          .digest('base64');
        if (response.headers['sec-websocket-accept'] !== expected) {
          socket.destroy();
          reject(new Error('the server answered the upgrade with a wrong Sec-WebSocket-Accept'));
          return;
        }
        // the timeout was for opening only
        request.removeAllListeners('error');
        request.on('error', () => undefined);
        resolve(new TextWebSocket(socket as Socket, head, handlers, options.maxBytes));
      });
      request.end();
    });
  }

  get open(): boolean {
    return this.#open;
  }

  /** @returns false if the connection has ended; the text is then not sent. */
  send(text: string): boolean {
    if (!this.#open) return false;
    this.#write(OPCODE.text, Buffer.from(text));
    return true;
  }

  close(code = 1000, reason = ''): void {
    if (!this.#open) return;
    const body = Buffer.alloc(2 + Buffer.byteLength(reason));
    body.writeUInt16BE(code, 0);
    body.write(reason, 2);
    this.#write(OPCODE.close, body);
    this.#end(code, reason);
  }

  #write(opcode: number, payload: Buffer): void {
    const length = payload.length;
    const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const frame = Buffer.alloc(2 + extended + 4 + length);
    frame[0] = 0x80 | opcode;
    frame[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
    if (extended === 2) frame.writeUInt16BE(length, 2);
    if (extended === 8) frame.writeBigUInt64BE(BigInt(length), 2);
    const mask = randomBytes(4);
    mask.copy(frame, 2 + extended);
    for (let i = 0; i < length; i++) frame[6 + extended + i] = (payload[i] ?? 0) ^ (mask[i & 3] ?? 0);
    this.#socket.write(frame);
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    while (this.#open) {
      const frame = this.#nextFrame();
      if (frame === undefined) return;
      this.#take(frame.opcode, frame.final, frame.payload);
    }
  }

  #nextFrame(): { opcode: number; final: boolean; payload: Buffer } | undefined {
    const data = this.#unread;
    if (data.length < 2) return undefined;
    const first = data[0] ?? 0;
    const second = data[1] ?? 0;
    let length = second & 0x7f;
    let offset = 2;
    if (length === 126) {
      if (data.length < 4) return undefined;
      length = data.readUInt16BE(2);
      offset = 4;
    } else if (length === 127) {
      if (data.length < 10) return undefined;
      length = Number(data.readBigUInt64BE(2));
      offset = 10;
    }
    if ((first & 0x70) !== 0 || (second & 0x80) !== 0) {
      this.close(1002, 'extension bits or a masked frame from the server');
      return undefined;
    }
    if (length + this.#fragmentBytes > this.#maxBytes) {
      this.close(1009, 'message too long');
      return undefined;
    }
    if (data.length < offset + length) return undefined;
    const payload = data.subarray(offset, offset + length);
    this.#unread = data.subarray(offset + length);
    return { opcode: first & 0x0f, final: (first & 0x80) !== 0, payload };
  }

  #take(opcode: number, final: boolean, payload: Buffer): void {
    switch (opcode) {
      case OPCODE.continuation:
      case OPCODE.text: {
        const begins = opcode === OPCODE.text;
        if (begins !== (this.#fragments.length === 0)) {
          this.close(1002, 'fragments out of order');
          return;
        }
        if (this.#fragments.length >= MAX_FRAGMENTS) {
          this.close(1009, 'too many fragments');
          return;
        }
        this.#fragments.push(Buffer.from(payload));
        this.#fragmentBytes += payload.length;
        if (!final) return;
        const text = Buffer.concat(this.#fragments).toString('utf8');
        this.#fragments = [];
        this.#fragmentBytes = 0;
        this.#handlers.onText(text);
        return;
      }
      case OPCODE.ping:
        this.#write(OPCODE.pong, payload);
        return;
      case OPCODE.pong:
        return;
      case OPCODE.close: {
        const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        const reason = payload.subarray(2).toString('utf8');
        this.#write(OPCODE.close, payload.subarray(0, 2));
        this.#end(code, reason);
        return;
      }
      default:
        this.close(1003, 'only text messages are understood');
    }
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.end();
    // a peer that does not close its side would keep the descriptor
    this.#socket.destroySoon();
    this.#handlers.onClose(code, reason);
  }
}
