/**
 * A WebSocket client that costs next to nothing, so that what is measured is the server: frames are made once, and only an id of fixed
 * length changes in place. Frames are masked with zeros, which RFC 6455 allows and which leaves the text as it is. Where there is a session,
 * what is sent is sealed as an agent does; the seal of what comes is only taken off.
 */
import { type KeyObject, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { SEAL_LENGTH, type Seal, sessionSchema, sessionWith } from '../../schemas/session.ts';

/** Digits of the id that changes with every message. */
const ID_DIGITS = 10;
export const idPlaceholder = '#'.repeat(ID_DIGITS);

/** What begins a session. */
export interface Handshake {
  readonly headers: Readonly<Record<string, string>>;
  readonly own: { readonly key: KeyObject; readonly publicKey: string };
  readonly who: {
    readonly cluster: string;
    readonly node: string;
    readonly incarnation: string;
    readonly nonce: string;
  };
  readonly clusterKey: string;
}

export class LoadSocket {
  readonly #socket: Socket;
  #unread: Buffer = Buffer.alloc(0);
  /** What comes before anybody listens: the beginning of a session. */
  readonly #first = Promise.withResolvers<string>();
  #onText: (text: Buffer) => void = (text) => this.#first.resolve(text.toString());
  #text: Buffer = Buffer.alloc(0);
  /** Of a session. */
  #up: Seal | undefined;
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

  /** Throws when the server does not switch protocols, or does not prove who it is. */
  static async open(url: string, session?: Handshake): Promise<LoadSocket> {
    const handshake = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
    };
    const asking = request(url, { headers: { ...handshake, ...session?.headers }, agent: false });
    asking.end();
    const refused = once(asking, 'response').then(([response]) => {
      throw new Error(`the upgrade was answered with ${(response as IncomingMessage).statusCode}`);
    });
    const [, socket, head] = await Promise.race([once(asking, 'upgrade'), refused]);
    const opened = new LoadSocket(socket as Socket, head as Buffer);
    if (session !== undefined) await opened.#begin(session);
    return opened;
  }

  async #begin({ own, who, clusterKey }: Handshake): Promise<void> {
    const begin = sessionSchema.parse(JSON.parse(await this.#first.promise));
    const seals = sessionWith(begin, own, who, clusterKey);
    if (seals === undefined) throw new Error('the session is not signed with the key of the cluster');
    this.#up = seals.up;
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
    this.#text = Buffer.from(text);
    this.#idAt = this.#text.indexOf(idPlaceholder);
    if (this.#idAt < 0) throw new Error('the message has no id');
    this.#frame = frameOf(this.#text);
    this.#idAt += this.#up === undefined ? this.#frame.length - this.#text.length : 0;
  }

  send(): void {
    const id = String(++this.#messages).padStart(ID_DIGITS, '0');
    if (this.#up !== undefined) {
      this.#text.write(id, this.#idAt, 'latin1');
      this.#socket.write(frameOf(Buffer.from(this.#up.seal(this.#text.toString()))));
      return;
    }
    // the kernel may still be reading the last one, so each is a copy
    const frame = Buffer.from(this.#frame);
    frame.write(id, this.#idAt, 'latin1');
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
      if ((first & 0x0f) === 1) this.#onText(this.#up === undefined ? payload : payload.subarray(SEAL_LENGTH));
      if ((first & 0x0f) === 8) this.#problem ??= `the server closed: ${payload.subarray(2).toString()}`;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** One masked text frame. */
function frameOf(payload: Buffer): Buffer {
  const long = payload.length > 125;
  const header = Buffer.alloc(long ? 8 : 6);
  header[0] = 0x81;
  header[1] = 0x80 | (long ? 126 : payload.length);
  if (long) header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}
