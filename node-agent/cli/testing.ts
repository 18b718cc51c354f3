/** For tests of the command line: a terminal whose screen is kept, and a coordinator that answers what the test tells it to. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Problem } from '../../schemas/api.ts';
import type { Io } from './io.ts';
import { run } from './program.ts';

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export interface Machine {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** What the operator answers; without it nobody can be asked. */
  readonly answer?: string;
  readonly terminal?: boolean;
  readonly interrupted?: AbortSignal;
}

/** Runs one command as on a machine with this environment. The saved context lies where nothing is. */
export async function ran(args: readonly string[], machine: Machine = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const io: Io = {
    data: (text) => {
      out += `${text}\n`;
    },
    note: (text) => {
      err += `${text}\n`;
    },
    raw: (text) => {
      out += text;
    },
    paint: (_, text) => text,
    outIsTerminal: machine.terminal ?? false,
    mayAsk: machine.answer !== undefined,
    rows: () => 24,
    env: { XDG_CONFIG_HOME: '/nonexistent', ...machine.env },
    readStdin: async () => machine.stdin ?? '',
    ask: async (question) => {
      err += question;
      return machine.answer ?? '';
    },
    now: Date.now,
    exit: { code: 0 },
    interrupted: machine.interrupted ?? new AbortController().signal,
  };
  const exit = await run(args, io);
  return { exit, out, err };
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface StubAnswer {
  readonly status?: number;
  readonly body?: unknown;
  /** Instead of JSON. */
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cut the connection without an answer. */
  readonly cut?: boolean;
}

export interface Stub {
  readonly url: string;
  readonly asked: readonly Asked[];
  /** The environment of someone who works with it. */
  readonly env: Readonly<Record<string, string>>;
  readonly close: () => Promise<void>;
}

/** @param answer by `METHOD /path`; what it does not know is answered as the coordinator answers an unknown path. */
export async function stubCoordinator(
  answer: (question: string, asked: Asked) => StubAnswer | undefined,
): Promise<Stub> {
  const asked: Asked[] = [];
  const server: Server = createServer((incoming, outgoing) => {
    let body = '';
    incoming.setEncoding('utf8');
    incoming.on('data', (text: string) => {
      body += text;
    });
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming;
      const one: Asked = { method, path: url, headers, body };
      asked.push(one);
      const reply = answer(`${method} ${url}`, one) ?? { status: 404, body: problem('not-found', 404, 'nothing here') };
      if (reply.cut === true) incoming.socket.destroy();
      else {
        const { status = 200 } = reply;
        const type = status < 300 ? 'application/json' : 'application/problem+json';
        outgoing.writeHead(status, { 'content-type': type, ...reply.headers });
        outgoing.end(reply.text ?? JSON.stringify(reply.body ?? {}));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    asked,
    env: { HOLDFAST_URL: url, HOLDFAST_CLUSTER: 'shop', HOLDFAST_TOKEN: 'secret' },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function problem(code: Problem['code'], status: number, detail: string, errors?: Problem['errors']): Problem {
  return {
    type: `urn:holdfast:problem:${code}`,
    title: 'A problem',
    status,
    code,
    detail,
    ...(errors === undefined ? {} : { errors }),
  };
}
