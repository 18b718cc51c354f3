/** For tests: a coordinator that has a WebSocket, and may say on it whatever a test likes. */
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { SIGNATURE_HEADERS } from '../../schemas/session.ts';
import type { Report } from '../../schemas/wire.ts';
import { type TestCluster, testCluster } from './cluster-testing.ts';

const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

interface Answer {
  readonly status: number;
  /** JSON; of a refusal it has a `code`. */
  readonly body: string;
}

export class SocketCoordinator {
  /** Called with every report on a WebSocket. @param say seals and sends a text, and gives it back as it was sent; `sayRaw` sends it as it is. */
  onReport: (report: Report, say: (text: string) => string, sayRaw: (text: string) => void) => void = () => undefined;
  /** Answers a report over HTTP; left out, nothing does. */
  onHttp: ((body: unknown) => Answer) | undefined;
  onNonce: () => Answer = () => ({ status: 200, body: JSON.stringify({ nonce: 'n.1' }) });
  /** What becomes of an answer over HTTP after it was signed. */
  tamper: (body: string) => string = (body) => body;
  /** Does it have WebSockets at all? */
  upgrades = true;
  /** Of the reports over HTTP. */
  readonly signatures: string[] = [];
  /** Whose key it answers with. */
  cluster = testCluster;
  /** On WebSockets, where that is another one. */
  sessions: TestCluster | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const name = request.url?.split('/').at(-1);
        // what is asked for by HTTP alone has no answer here, and a long poll nothing to say
        if (name !== 'nonce' && (name !== 'report' || this.onHttp === undefined)) return;
        if (name === 'report') this.signatures.push(String(request.headers[SIGNATURE_HEADERS.signature]));
        const answer =
          name === 'nonce' ? this.onNonce() : this.onHttp?.(JSON.parse(Buffer.concat(parts).toString('utf8')));
        if (answer === undefined) return;
        const { status, body } = answer;
        const code = status === 200 ? undefined : String(JSON.parse(body).code);
        const headers = { ...this.cluster.signed(request, body, code), [SIGNATURE_HEADERS.nextNonce]: 'n.2' };
        response.writeHead(status, headers).end(this.tamper(body));
      });
    });
    server.on('upgrade', (request, socket: Socket) => {
      if (!this.upgrades) {
        socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n');
        return;
      }
      const key = `${request.headers['sec-websocket-key']}${ACCEPT_GUID}`;
      const accept = createHash('sha1').update(key).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
      );
      this.#serve(socket, (this.sessions ?? this.cluster).session(request));
    });
  }

  static async listen(): Promise<SocketCoordinator> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new SocketCoordinator(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  end(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Closes every WebSocket that is open, with a reason. */
  hangUp(code: number, reason: string): void {
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
    for (const socket of this.#sockets) socket.write(Buffer.concat([Buffer.from([0x88, payload.length]), payload]));
  }

  #serve(socket: Socket, { begin, up, down }: ReturnType<TestCluster['session']>): void {
    this.#sockets.add(socket);
    socket.write(frameOf(begin));
    let unread: Buffer = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk]);
      for (let frame = frameIn(unread); frame !== undefined; frame = frameIn(unread)) {
        unread = unread.subarray(frame.size);
        if (frame.opcode !== 1) continue;
        const report = JSON.parse(up.open(frame.payload.toString('utf8')) ?? '') as Report;
        const sayRaw = (text: string) => {
          socket.write(frameOf(text));
        };
        const say = (text: string) => {
          const sealed = down.seal(text);
          sayRaw(sealed);
          return sealed;
        };
        this.onReport(report, say, sayRaw);
      }
    });
  }
}

/** RFC 6455, section 5.2: whole text messages, which a client masks and a server does not. */
function frameIn(
  data: Buffer,
): { readonly opcode: number; readonly payload: Buffer; readonly size: number } | undefined {
  if (data.length < 2) return undefined;
  const short = data.readUInt8(1) & 0x7f;
  const start = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
  if (data.length < start + 4) return undefined;
  const length = short === 126 ? data.readUInt16BE(2) : short === 127 ? Number(data.readBigUInt64BE(2)) : short;
  const size = start + 4 + length;
  if (data.length < size) return undefined;
  const payload = Buffer.from(data.subarray(start + 4, size));
  for (let at = 0; at < length; at++) payload.writeUInt8(payload.readUInt8(at) ^ data.readUInt8(start + (at & 3)), at);
  return { opcode: data.readUInt8(0) & 0x0f, payload, size };
}

function frameOf(text: string): Buffer {
  const payload = Buffer.from(text);
  const { length } = payload;
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header.writeUInt8(0x81, 0);
  header.writeUInt8(length < 126 ? length : length < 65_536 ? 126 : 127, 1);
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, payload]);
}
