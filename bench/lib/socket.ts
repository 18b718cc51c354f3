/**
 * A WebSocket client that costs next to nothing, so that what is measured is the server: frames are made once, and only an id of fixed
 * length changes in place. Frames are masked with zeros, which RFC 6455 allows and which leaves the text as it is.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';

/** Digits of the id that changes with every message. */
const ID_DIGITS = 10;
export const idPlaceholder = '#'.repeat(ID_DIGITS);

export class LoadSocket {
  readonly #socket: Socket;
  #unread: Buffer = Buffer.alloc(0);
  #onText: (text: Buffer) => void = () => undefined;
  #frame: Buffer = Buffer.alloc(0);
  #idAt = 0;
  #messages = 0;
  #problem: string | undefined;

  private constructor(socket: Socket, head: Buffer) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => {
      this.#problem ??= error.message;
    });
    socket.on('close', () => {
      this.#problem ??= 'the connection was closed';
    });
    if (head.length > 0) this.#read(head);
  }

  /** Throws when the server does not switch protocols. */
  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<LoadSocket> {
    const handshake = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
    };
    const asking = request(url, { headers: { ...handshake, ...headers }, agent: false });
    asking.end();
    const refused = once(asking, 'response').then(([response]) => {
      throw new Error(`the upgrade was answered with ${(response as IncomingMessage).statusCode}`);
    });
    const [, socket, head] = await Promise.race([once(asking, 'upgrade'), refused]);
    return new LoadSocket(socket as Socket, head as Buffer);
  }

  /** Why it broke; undefined while it is open. */
  get problem(): string | undefined {
    return this.#problem;
  }

  onText(listener: (text: Buffer) => void): void {
    this.#onText = listener;
  }

  /** @param text what every message says from now on; `idPlaceholder` in it becomes a number. */
  prepare(text: string): void {
    const payload = Buffer.from(text);
    const long = payload.length > 125;
    const header = Buffer.alloc(long ? 8 : 6);
    header[0] = 0x81;
    header[1] = 0x80 | (long ? 126 : payload.length);
    if (long) header.writeUInt16BE(payload.length, 2);
    this.#frame = Buffer.concat([header, payload]);
    this.#idAt = this.#frame.indexOf(idPlaceholder);
    if (this.#idAt < 0) throw new Error('the message has no id');
  }

  send(): void {
    // the kernel may still be reading the last one, so each is a copy
    const frame = Buffer.from(this.#frame);
    frame.write(String(++this.#messages).padStart(ID_DIGITS, '0'), this.#idAt, 'latin1');
    this.#socket.write(frame);
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    for (;;) {
      const [first, second] = this.#unread;
      if (first === undefined || second === undefined) return;
      const short = second & 0x7f;
      const start = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.#unread.length < start) return;
      const length =
        short === 126 ? this.#unread.readUInt16BE(2) : short === 127 ? Number(this.#unread.readBigUInt64BE(2)) : short;
      if (this.#unread.length < start + length) return;
      const payload = this.#unread.subarray(start, start + length);
      this.#unread = this.#unread.subarray(start + length);
      if ((first & 0x0f) === 1) this.#onText(payload);
      if ((first & 0x0f) === 8) this.#problem ??= `the server closed: ${payload.subarray(2).toString()}`;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
