/** A node as the coordinator sees it: a key, an incarnation, signed requests and one socket. It decides nothing. */
import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { LEASE_PROFILES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import {
  answerText,
  fingerprintOf,
  isSignedBy,
  joinText,
  newSessionKey,
  publicHalf,
  requestText,
  type Seal,
  SIGNATURE_HEADERS,
  sessionSchema,
  sessionWith,
  sha256Hex,
  signText,
} from '../../schemas/session.ts';
import type { Reply, Report } from '../../schemas/wire.ts';
import { within } from '../lab/until.ts';
import { type Answer, readAnswer } from './harness.ts';

const DEADLINE_MS = 10_000;
const SOCKET_DEADLINE_MS = 60_000;

interface Seals {
  readonly up: Seal;
  readonly down: Seal;
}

/** Messages of one socket, in order, and how it closed. */
export class TestSocket {
  readonly #socket: WebSocket;
  readonly #seals = Promise.withResolvers<Seals>();
  #up: Seal | undefined;
  /** What the coordinator said first. */
  readonly begun = Promise.withResolvers<string>();
  // biome-ignore lint/suspicious/noExplicitAny: tests read fields of replies and nudges
  readonly messages: any[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #waiting = new Set<() => void>();

  constructor(socket: WebSocket) {
    this.#socket = socket;
    let first = true;
    socket.addEventListener('message', (event) => {
      if (first) this.begun.resolve(String(event.data));
      else void this.#seals.promise.then(({ down }) => this.#take(down.open(String(event.data))));
      first = false;
    });
    const closed = once(socket, 'close').then(([event]) => event as CloseEvent);
    this.closed = within(closed, { deadlineMs: SOCKET_DEADLINE_MS, what: 'the socket to close' });
    // Most sockets outlive their test; only who awaits the close is to hear that it did not come.
    this.closed.catch(() => {});
  }

  /** What comes, and what is sent, is sealed so from now on. */
  begin(seals: Seals): void {
    this.#up = seals.up;
    this.#seals.resolve(seals);
  }

  #take(text: string | undefined): void {
    this.messages.push(JSON.parse(text ?? '{"type":"not authentic"}'));
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const look of waiting) look();
  }

  /** Sealed, as what is not text cannot be. */
  send(message: unknown): void {
    if (message instanceof ArrayBuffer) this.sendRaw(message);
    else this.sendRaw(this.sealed(message));
  }

  /** As it is. */
  sendRaw(data: string | ArrayBuffer): void {
    this.#socket.send(data);
  }

  /** The next message of the session, to be sent by the test itself. */
  sealed(message: unknown): string {
    if (this.#up === undefined) throw new Error('the session has not begun');
    return this.#up.seal(typeof message === 'string' ? message : JSON.stringify(message));
  }

  close(): void {
    this.#socket.close(1000, 'test ends');
  }

  /** The first message that fits; waits for it. */
  // biome-ignore lint/suspicious/noExplicitAny: a test names the fields of the message that it waits for
  async message(fits: (message: any) => boolean, what: string): Promise<any> {
    const find = async () => {
      for (;;) {
        const found = this.messages.find(fits);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => {
          this.#waiting.add(resolve);
        });
      }
    };
    return await within(find(), { deadlineMs: DEADLINE_MS, what });
  }

  async reply(report: Report): Promise<Reply> {
    return await this.message((m) => m.type === 'reply' && m.id === report.id, `the reply to ${report.id}`);
  }

  async ask(report: Report): Promise<Reply> {
    this.send(report);
    return await this.reply(report);
  }
}

export class TestNode {
  readonly cluster: string;
  readonly name: string;
  incarnation: string = randomUUID();
  revision = 0;
  /** Public key of the cluster, since it has joined. */
  clusterKey = '';
  readonly #origin: string;
  readonly #key: KeyObject;

  private constructor(origin: string, cluster: string, name: string, key: KeyObject) {
    this.#origin = origin;
    this.cluster = cluster;
    this.name = name;
    this.#key = key;
  }

  static async make(origin: string, cluster: string, name: string): Promise<TestNode> {
    return new TestNode(origin, cluster, name, generateKeyPairSync('ed25519').privateKey);
  }

  /** The same node with another key. */
  withKey(key: KeyObject): TestNode {
    const other = new TestNode(this.#origin, this.cluster, this.name, key);
    return Object.assign(other, {
      incarnation: this.incarnation,
      revision: this.revision,
      clusterKey: this.clusterKey,
    });
  }

  get publicKey(): string {
    return publicHalf(this.#key);
  }

  path(route: string): string {
    return `/v1/clusters/${this.cluster}/agent/${route}`;
  }

  async sign(text: string): Promise<string> {
    return signText(this.#key, text);
  }

  async enrol(token: string, change: Partial<Record<'node' | 'publicKey' | 'proof', string>> = {}): Promise<Answer> {
    const node = change.node ?? this.name;
    const proof = await this.sign(joinText(this.cluster, node, this.publicKey, token));
    const answer = await this.post('enrol', { token, node, publicKey: this.publicKey, proof, ...change });
    if (answer.status === 200) this.clusterKey = answer.body.clusterKey;
    return answer;
  }

  async post(route: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(this.#origin + this.path(route), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return await readAnswer(response);
  }

  async nonce(): Promise<string> {
    const { status, body } = await this.post('nonce', { node: this.name });
    if (status !== 200) throw new Error(`nonce: ${JSON.stringify(body)}`);
    return body.nonce;
  }

  /** Headers of a signed request. @param request the id for whose answer the coordinator's signature is. */
  async signature(
    method: string,
    route: string,
    nonce: string,
    body = '',
    request = randomBytes(16).toString('base64url'),
  ): Promise<Record<string, string>> {
    const clusterKey = fingerprintOf(this.clusterKey);
    const text = requestText({
      method,
      path: this.path(route),
      node: this.name,
      incarnation: this.incarnation,
      clusterKey,
      nonce,
      bodySha256: sha256Hex(body),
    });
    return {
      [SIGNATURE_HEADERS.node]: this.name,
      [SIGNATURE_HEADERS.incarnation]: this.incarnation,
      [SIGNATURE_HEADERS.clusterKey]: clusterKey,
      [SIGNATURE_HEADERS.nonce]: nonce,
      [SIGNATURE_HEADERS.request]: request,
      [SIGNATURE_HEADERS.signature]: await this.sign(text),
    };
  }

  /** A signed POST with a nonce of its own. @throws when the answer is not signed. */
  async signedPost(route: string, body: unknown, nonce?: string): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const headers = await this.signature('POST', route, nonce ?? (await this.nonce()), text);
    const answer = await this.post(route, text, headers);
    // what the worker refuses before it asks the cluster has no signature, and needs none
    if (answer.status === 200 && !this.isAuthentic(route, headers, answer))
      throw new Error(`the answer to ${route} is not signed with the cluster's key`);
    return answer;
  }

  isAuthentic(route: string, asked: Record<string, string>, answer: Answer): boolean {
    const text = answerText({
      path: this.path(route),
      node: this.name,
      request: asked[SIGNATURE_HEADERS.request] ?? '',
      body: answer.status === 200 ? { sha256: sha256Hex(answer.text) } : { refused: answer.body.code },
    });
    return isSignedBy(this.clusterKey, answer.headers.get(SIGNATURE_HEADERS.signature) ?? '', text);
  }

  async #upgradeHeaders(nonce: string, sessionKey: string): Promise<Record<string, string>> {
    const signed = await this.signature('GET', 'socket', nonce, sessionKey);
    return { ...signed, [SIGNATURE_HEADERS.sessionKey]: sessionKey };
  }

  /** Asks for the upgrade and gives the status of the answer: 101 or a refusal. Hangs up at once. */
  async upgrade(
    nonce?: string,
    sessionKey = newSessionKey().publicKey,
    change: Record<string, string> = {},
  ): Promise<number> {
    const headers = { ...(await this.#upgradeHeaders(nonce ?? (await this.nonce()), sessionKey)), ...change };
    const handshake = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
    const key = Buffer.from('a test of sixteen').subarray(0, 16).toString('base64');
    const asking = request(this.#origin + this.path('socket'), {
      headers: { ...handshake, 'sec-websocket-key': key, ...headers },
    });
    asking.end();
    const answered = Promise.race([once(asking, 'response'), once(asking, 'upgrade')]);
    const [response] = await within(answered, { deadlineMs: DEADLINE_MS, what: 'the answer to the upgrade' });
    asking.destroy();
    return (response as IncomingMessage).statusCode ?? 0;
  }

  /** A WebSocket that never answers a close, and reads no more than the first message. */
  async connectDeaf(): Promise<{ seal(report: Report): string; send(text: string): void; end(): void }> {
    const { cluster, name: node, incarnation } = this;
    const own = newSessionKey();
    const nonce = await this.nonce();
    const { hostname, port } = new URL(this.#origin);
    const key = randomBytes(16).toString('base64');
    const handshake = { host: hostname, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
    const headers = { ...handshake, 'sec-websocket-key': key, ...(await this.#upgradeHeaders(nonce, own.publicKey)) };
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${this.path('socket')} HTTP/1.1\r\n${lines.join('')}\r\n`);
    let heard = '';
    const begun = new Promise<string>((resolve) => {
      socket.setEncoding('latin1').on('data', (data: string) => {
        heard += data;
        const first = /\{"type":"session"[^}]*\}/.exec(heard)?.[0];
        if (first !== undefined) resolve(first);
      });
    });
    const text = await within(begun, { deadlineMs: DEADLINE_MS, what: 'the session to begin' });
    const seals = sessionWith(
      sessionSchema.parse(JSON.parse(text)),
      own,
      { cluster, node, incarnation, nonce },
      this.clusterKey,
    );
    if (seals === undefined) throw new Error(`${node}: the session is not signed with the cluster's key`);
    return {
      seal: (report) => seals.up.seal(JSON.stringify(report)),
      // masked with zeros, which leaves the text as it is
      send: (sealed) => {
        const header = Buffer.alloc(8);
        header.writeUInt8(0x81, 0);
        header.writeUInt8(0x80 | 126, 1);
        header.writeUInt16BE(Buffer.byteLength(sealed), 2);
        socket.write(Buffer.concat([header, Buffer.from(sealed)]));
      },
      end: () => socket.destroy(),
    };
  }

  async connect(): Promise<TestSocket> {
    const { cluster, name: node, incarnation } = this;
    const own = newSessionKey();
    const nonce = await this.nonce();
    // Node's WebSocket takes headers, which the DOM's type does not know.
    const options = { headers: await this.#upgradeHeaders(nonce, own.publicKey) } as {
      headers: Record<string, string>;
    } & string[];
    const socket = new WebSocket(`${this.#origin.replace('http', 'ws')}${this.path('socket')}`, options);
    const failed = once(socket, 'error').then(() => Promise.reject(new Error(`${node}: the upgrade was refused`)));
    failed.catch(() => undefined); // of a socket that has opened nobody asks
    const opened = new TestSocket(socket);
    const first = Promise.race([opened.begun.promise, failed]);
    const text = await within(first, { deadlineMs: DEADLINE_MS, what: 'the session to begin' });
    const begin = sessionSchema.parse(JSON.parse(text));
    const seals = sessionWith(begin, own, { cluster, node, incarnation, nonce }, this.clusterKey);
    if (seals === undefined) throw new Error(`${node}: the session is not signed with the cluster's key`);
    opened.begin(seals);
    return opened;
  }

  report(change: Partial<Report> = {}): Report {
    return {
      type: 'report',
      version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
      id: randomUUID(),
      node: this.name,
      incarnation: this.incarnation,
      agentVersion: '0.0.0-test',
      history: null,
      revision: this.revision,
      quarantineMs: 0,
      leaseMs: LEASE_PROFILES.default.leaseMs,
      leases: [],
      claims: [],
      releases: [],
      epochs: {},
      ...change,
    };
  }
}
