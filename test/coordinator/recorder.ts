/** Between whoever asks and the coordinator: writes down every request as it came, and can send each of them again. */
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { within } from '../lab/until.ts';

const DEADLINE_MS = 10_000;

export interface Recorded {
  readonly method: string;
  readonly path: string;
  /** Name and value in turn, as they were written. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

export interface Replayed {
  readonly request: Recorded;
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

export class Recorder {
  readonly requests: Recorded[] = [];
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, target: URL) {
    this.#server = server;
    this.#target = target;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
    });
    server.on('request', (request, response) => {
      const forward = async () => {
        const answer = await this.#send(await this.#record(request));
        response.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
        answer.pipe(response);
      };
      forward().catch(() => response.destroy());
    });
    server.on('upgrade', (request, socket: Socket, head) => {
      const recorded = recordedOf(request, Buffer.alloc(0));
      this.requests.push(recorded);
      const onward = connect(Number(this.#target.port), this.#target.hostname);
      onward.on('error', () => socket.destroy());
      this.#sockets.add(onward);
      const lines = pairsOf(recorded.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      onward.write(`${recorded.method} ${recorded.path} HTTP/1.1\r\n${lines.join('')}\r\n`);
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
  }

  /** @param target http://ADDRESS:PORT of the coordinator. */
  static async listen(target: string): Promise<Recorder> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Recorder(server, new URL(target));
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Sends a recorded request again, byte for byte. */
  async replay(request: Recorded): Promise<Replayed> {
    const answer = await within(this.#send(request), { deadlineMs: DEADLINE_MS, what: `an answer to ${request.path}` });
    let text = '';
    if (answer.statusCode === 101) answer.socket.destroy();
    else for await (const chunk of answer.setEncoding('utf8')) text += chunk;
    return { request, status: answer.statusCode ?? 0, headers: answer.headers, text };
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  async #record(request: IncomingMessage): Promise<Recorded> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const recorded = recordedOf(request, Buffer.concat(chunks));
    this.requests.push(recorded);
    return recorded;
  }

  async #send({ method, path, headers, body }: Recorded): Promise<IncomingMessage> {
    const asking = httpRequest({
      ...{ host: this.#target.hostname, port: this.#target.port, method, path, agent: false, setHost: false },
      headers: [...headers],
    });
    asking.end(body);
    const [answer] = await Promise.race([once(asking, 'response'), once(asking, 'upgrade')]);
    return answer as IncomingMessage;
  }
}

function recordedOf({ method = '', url = '', rawHeaders }: IncomingMessage, body: Buffer): Recorded {
  return { method, path: url, headers: rawHeaders, body };
}

function pairsOf(headers: readonly string[]): [string, string][] {
  return headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1] ?? ''] as [string, string]] : []));
}
