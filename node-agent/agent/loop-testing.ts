/** For the tests beside this file: a guard and a coordinator that do as a test says, behind the real client and the real transport. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { NodeConfig, Reply, Report } from '../../schemas/wire.ts';
import { testCluster } from './cluster-testing.ts';
import type { Identity } from './identity.ts';
import { AgentLoop } from './loop.ts';

/** Answers as dist/holdfast-guard does, as long as nothing is refused, and notes every line that it is sent. */
export class FakeGuard {
  readonly lines: string[] = [];
  /** As it says in its answer to `hello`. */
  pid: number = process.pid;
  /** What it answers to `state`, without its end. */
  state: string[] = ['incarnation -'];
  /** By the first word of a request: what is answered instead of `ok`. */
  readonly refusals = new Map<string, string>();
  /** By the first word of a request: it is answered when this settles. */
  readonly gates = new Map<string, Promise<void>>();
  /** Called with every line, before it is answered. */
  onLine: (line: string) => void = () => undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#serve(socket));
  }

  static async listen(stateDir: string): Promise<FakeGuard> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(stateDir, 'guard.sock'), resolve));
    return new FakeGuard(server);
  }

  /** The process is killed. */
  end(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Requests that begin so. */
  asked(verb: string): string[] {
    return this.lines.filter((line) => line === verb || line.startsWith(`${verb} `));
  }

  /** @returns what lets these requests be answered. */
  hold(verb: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gates.set(verb, promise);
    return resolve;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    let text = '';
    let turn = Promise.resolve();
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      const lines = `${text}${chunk}`.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines)
        turn = turn.then(async () => {
          socket.write(`${await this.#answer(line)}\n`);
        });
    });
  }

  async #answer(line: string): Promise<string> {
    const [verb = '', ...fields] = line.split(' ');
    this.lines.push(line);
    this.onLine(line);
    await this.gates.get(verb);
    const refusal = this.refusals.get(verb);
    if (refusal !== undefined) return refusal;
    switch (verb) {
      case 'hello':
        return `ok ${this.pid} 0 -`;
      case 'state':
        return [...this.state, 'end'].join('\n');
      case 'incarnation':
        this.state = this.state.map((one) => (one.startsWith('incarnation ') ? line : one));
        return 'ok';
      case 'note':
        this.state.push(line);
        return 'ok';
      case 'arm':
      case 'pet':
        return `ok ${fields[2]} ${fields[3]}`;
      case 'probe':
        return `ok\nevent probed ${fields[0]} ${fields[1]} free`;
      default:
        return 'ok';
    }
  }
}

/** One group without resources: it is up as soon as it may be. */
export const CONFIG: NodeConfig = {
  revision: 1,
  timing: LEASE_PROFILES.default,
  groups: [{ name: 'db', on: ['alice', 'bob'], requiresUplink: false, fence: 'guard', resources: [] }],
};

/** A coordinator over HTTP that grants `db` to whoever claims it, and renews it. */
export class FakeCoordinator {
  readonly reports: Report[] = [];
  /** Of the next grant. */
  epoch = 1;
  config: NodeConfig = CONFIG;
  /** May the group be claimed? */
  grant = true;
  /** Whose key it answers with. */
  cluster = testCluster;
  /** What stands in an answer besides or instead. */
  changes: (report: Report) => Partial<Reply> = () => ({});
  readonly #server: HttpServer;

  private constructor(server: HttpServer) {
    this.#server = server;
    server.on('request', (request, response) => {
      read(request).then(
        (body) => {
          const name = request.url?.split('/').at(-1);
          const answer = (value: unknown) => {
            const text = JSON.stringify(value);
            response.writeHead(200, this.cluster.signed(request, text)).end(text);
          };
          if (name === 'nonce') answer({ nonce: 'n.1' });
          else if (name === 'report') answer(this.#reply(JSON.parse(body) as Report));
          // a long poll has nothing to say
          else if (name !== 'wait') response.writeHead(404).end('{}');
        },
        () => undefined, // it was broken off
      );
    });
  }

  static async listen(): Promise<FakeCoordinator> {
    const server = createHttpServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FakeCoordinator(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  get last(): Report | undefined {
    return this.reports.at(-1);
  }

  end(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #reply(report: Report): Reply {
    this.reports.push(report);
    const grants = report.claims.map(({ group }) => ({
      ...{ group, epoch: this.epoch, incarnation: report.incarnation, released: null },
      voters: { version: 1, names: ['alice', 'bob'] },
    }));
    const renewed = { verdict: 'renewed', order: 'run', cleanups: 0 } as const;
    return {
      ...{ type: 'reply', version: [1, 0], id: report.id, history: 'h1', instance: 'i1', generation: 1 },
      renewInMs: 40,
      leases: report.leases.map(({ group, epoch }) => ({ ...renewed, group, epoch })),
      grants,
      refused: [],
      observed:
        this.grant && report.leases.length === 0
          ? [{ group: 'db', renewal: null, claim: 'now', released: null, waitMs: 0 }]
          : [],
      ...(report.revision === this.config.revision ? {} : { config: this.config }),
      ...this.changes(report),
    };
  }
}

async function read(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  return body;
}

/** alice of shop, at this coordinator. */
export function identityAt(url: string): Identity {
  return {
    ...{ url, cluster: 'shop', node: 'alice', history: 'h1', clusterKey: testCluster.clusterKey },
    lan: { address: '127.0.0.1', port: 0 },
    key: generateKeyPairSync('ed25519').privateKey,
  };
}

/** An agent between a guard and a coordinator that do as a test says. */
export interface Around {
  readonly dir: string;
  readonly guard: FakeGuard;
  readonly coordinator: FakeCoordinator;
  /** Warnings of the agent. */
  readonly warnings: string[];
  start(): Promise<AgentLoop>;
}

export async function around(t: TestContext): Promise<Around> {
  const dir = mkdtempSync(join(tmpdir(), 'hf-loop-'));
  const [guard, coordinator] = await Promise.all([FakeGuard.listen(dir), FakeCoordinator.listen()]);
  const warnings: string[] = [];
  const loops: AgentLoop[] = [];
  t.after(() => {
    for (const loop of loops) loop.leave();
    guard.end();
    coordinator.end();
    rmSync(dir, { recursive: true, force: true });
  });
  const options = {
    ...{ stateDir: dir, guardPath: '/nowhere', version: '0.0.0' },
    identity: identityAt(coordinator.url),
    log: { info: () => undefined, warn: (line: string) => warnings.push(line) },
  };
  const start = async () => {
    const loop = await AgentLoop.start(options);
    loops.push(loop);
    return loop;
  };
  return { dir, guard, coordinator, warnings, start };
}
