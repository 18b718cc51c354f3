/** A node as the coordinator sees it: a key, an incarnation, signed requests and one socket. It decides nothing. */
import { createHash, randomUUID, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { joinText } from '../../schemas/api.ts';
import { LEASE_PROFILES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import { type Reply, type Report, SIGNATURE_HEADERS, signedText } from '../../schemas/wire.ts';
import { within } from '../lab/until.ts';
import { type Answer, readAnswer } from './harness.ts';

const DEADLINE_MS = 10_000;
const SOCKET_DEADLINE_MS = 60_000;

/** Messages of one socket, in order, and how it closed. */
export class TestSocket {
  readonly #socket: WebSocket;
  // biome-ignore lint/suspicious/noExplicitAny: tests read fields of replies and nudges
  readonly messages: any[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #waiting = new Set<() => void>();

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', (event) => {
      this.messages.push(JSON.parse(String(event.data)));
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const look of waiting) look();
    });
    const closed = once(socket, 'close').then(([event]) => event as CloseEvent);
    this.closed = within(closed, { deadlineMs: SOCKET_DEADLINE_MS, what: 'the socket to close' });
    // Most sockets outlive their test; only who awaits the close is to hear that it did not come.
    this.closed.catch(() => {});
  }

  send(message: unknown): void {
    this.#socket.send(
      typeof message === 'string' || message instanceof ArrayBuffer ? message : JSON.stringify(message),
    );
  }

  close(): void {
    this.#socket.close(1000, 'test ends');
  }

  /** The first message that fits; waits for it. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
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
  readonly publicKey: string;
  incarnation: string = randomUUID();
  revision = 0;
  readonly #origin: string;
  readonly #privateKey: webcrypto.CryptoKey;

  private constructor(
    origin: string,
    cluster: string,
    name: string,
    publicKey: string,
    privateKey: webcrypto.CryptoKey,
  ) {
    this.#origin = origin;
    this.cluster = cluster;
    this.name = name;
    this.publicKey = publicKey;
    this.#privateKey = privateKey;
  }

  static async make(origin: string, cluster: string, name: string): Promise<TestNode> {
    const pair = (await webcrypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const raw = await webcrypto.subtle.exportKey('raw', pair.publicKey);
    return new TestNode(origin, cluster, name, Buffer.from(raw).toString('base64url'), pair.privateKey);
  }

  path(route: string): string {
    return `/v1/clusters/${this.cluster}/agent/${route}`;
  }

  async sign(text: string): Promise<string> {
    const signature = await webcrypto.subtle.sign('Ed25519', this.#privateKey, Buffer.from(text));
    return Buffer.from(signature).toString('base64url');
  }

  async enrol(token: string, change: Partial<Record<'node' | 'publicKey' | 'proof', string>> = {}): Promise<Answer> {
    const node = change.node ?? this.name;
    const proof = await this.sign(joinText(this.cluster, node, this.publicKey, token));
    return await this.post('enrol', { token, node, publicKey: this.publicKey, proof, ...change });
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

  async signature(method: string, route: string, nonce: string, body = ''): Promise<Record<string, string>> {
    const text = signedText({
      method,
      path: this.path(route),
      node: this.name,
      incarnation: this.incarnation,
      nonce,
      bodySha256: createHash('sha256').update(body).digest('hex'),
    });
    return {
      [SIGNATURE_HEADERS.node]: this.name,
      [SIGNATURE_HEADERS.incarnation]: this.incarnation,
      [SIGNATURE_HEADERS.nonce]: nonce,
      [SIGNATURE_HEADERS.signature]: await this.sign(text),
    };
  }

  /** A signed POST with a nonce of its own. */
  async signedPost(route: string, body: unknown, nonce?: string): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return await this.post(route, text, await this.signature('POST', route, nonce ?? (await this.nonce()), text));
  }

  /** Asks for the upgrade and gives the status of the answer: 101 or a refusal. Hangs up at once. */
  async upgrade(nonce?: string): Promise<number> {
    const headers = await this.signature('GET', 'socket', nonce ?? (await this.nonce()));
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

  async connect(): Promise<TestSocket> {
    const headers = await this.signature('GET', 'socket', await this.nonce());
    // Node's WebSocket takes headers, which the DOM's type does not know.
    const options = { headers } as { headers: Record<string, string> } & string[];
    const socket = new WebSocket(`${this.#origin.replace('http', 'ws')}${this.path('socket')}`, options);
    const opened = once(socket, 'open');
    const failed = once(socket, 'error').then(() => Promise.reject(new Error(`${this.name}: the upgrade was refused`)));
    await within(Promise.race([opened, failed]), { deadlineMs: DEADLINE_MS, what: 'the socket to open' });
    return new TestSocket(socket);
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
