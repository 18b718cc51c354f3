/**
 * What bench:renew measures the coordinator against, on the same workerd: an object that does only the group commit, one that does only
 * an echo, and an echo behind the coordinator's own authentication and schema check.
 */
import { DurableObject } from 'cloudflare:workers';
import { RETRY_GATHER_MS } from '../../schemas/limits.ts';
import { SIGNATURE_HEADERS } from '../../schemas/session.ts';
import { Authentication, agentRequest } from '../../worker/cluster/authentication.ts';
import { ClusterKeys } from '../../worker/cluster/cluster-keys.ts';
import { utf8 } from '../../worker/cluster/encoding.ts';
import { clusterMigrations, migrate } from '../../worker/cluster/migrations/index.ts';
import { readReport } from '../../worker/cluster/reports.ts';
import { AgentSockets, CLOSE } from '../../worker/cluster/sockets.ts';
import { type ClusterState, emptyState } from '../../worker/decide/index.ts';
import { newNode, withNode } from '../../worker/decide/records.ts';

interface Env {
  readonly GROUP_COMMIT: DurableObjectNamespace<GroupCommit>;
  readonly ECHO: DurableObjectNamespace<Echo>;
  readonly CHECKED: DurableObjectNamespace<Checked>;
}

function acceptAny(ctx: DurableObjectState): Response {
  const { 0: client, 1: server } = new WebSocketPair();
  ctx.acceptWebSocket(server);
  return new Response(null, { status: 101, webSocket: client });
}

/** Gathers messages as long as the coordinator gathers repeated renewals, writes one row, and answers each with itself. */
export class GroupCommit extends DurableObject<Env> {
  #pending: { readonly socket: WebSocket; readonly message: string }[] = [];

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS tick (n INTEGER NOT NULL)');
    if (ctx.storage.sql.exec('SELECT n FROM tick').toArray().length === 0) {
      ctx.storage.sql.exec('INSERT INTO tick (n) VALUES (0)');
    }
  }

  override async fetch(): Promise<Response> {
    return acceptAny(this.ctx);
  }

  override async webSocketMessage(socket: WebSocket, message: string): Promise<void> {
    if (this.#pending.length === 0) setTimeout(() => this.#commit(), RETRY_GATHER_MS);
    this.#pending.push({ socket, message });
  }

  #commit(): void {
    const pending = this.#pending;
    this.#pending = [];
    this.ctx.storage.sql.exec('UPDATE tick SET n = n + 1');
    for (const { socket, message } of pending) socket.send(message);
  }
}

export class Echo extends DurableObject<Env> {
  override async fetch(): Promise<Response> {
    return acceptAny(this.ctx);
  }

  override async webSocketMessage(socket: WebSocket, message: string): Promise<void> {
    socket.send(message);
  }
}

/** An upgrade is verified by its signature, each message by its seal, its size, its schema and its sender; then it is echoed, sealed. */
export class Checked extends DurableObject<Env> {
  readonly #sockets = new AgentSockets(this.ctx);
  #state: ClusterState = emptyState('bench', 'history', 'instance', 0);
  readonly #keys = new ClusterKeys(this.ctx.storage.sql);
  readonly #authentication = new Authentication('instance', () => this.#state, this.#keys);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage.sql, clusterMigrations);
    this.#keys.open('bench', 0);
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname: path, searchParams } = new URL(request.url);
    const node = request.headers.get(SIGNATURE_HEADERS.node) ?? searchParams.get('node') ?? '';
    if (request.method === 'POST') return this.#enrol(node, searchParams.get('key') ?? '');
    const asked = agentRequest({ method: 'GET', path, header: (name) => request.headers.get(name) });
    const verified = this.#authentication.verify({ ...asked, body: utf8(asked.sessionKey) });
    if (!verified.ok) return Response.json(verified.problem, { status: 401 });
    const accepted = this.#sockets.accept('bench', asked, verified.publicKey, this.#keys, {});
    return accepted.ok ? accepted.value : Response.json(accepted.problem, { status: 400 });
  }

  /** Makes a member and answers with a nonce. */
  #enrol(name: string, publicKey: string): Response {
    this.#state = withNode(this.#state, newNode(name, publicKey, 0));
    const nonce = this.#authentication.nonceFor(name);
    const { publicKey: clusterKey } = this.#keys;
    return nonce.ok ? Response.json({ nonce: nonce.value, clusterKey }) : Response.json(nonce.problem, { status: 400 });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const received = this.#sockets.receive(socket, message);
    if (received.kind !== 'text') return this.#sockets.closeOne(socket, CLOSE.notAuthentic, received.kind);
    const read = readReport(received.text, received.sender);
    if (read.kind !== 'report') return this.#sockets.closeOne(socket, CLOSE.notUnderstood, read.detail);
    this.#sockets.sendText(socket, received.text);
  }
}

/** `/KIND/NAME…`: the object of that kind and name. */
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [, kind, name = ''] = new URL(request.url).pathname.split('/');
    switch (kind) {
      case 'group-commit':
        return env.GROUP_COMMIT.get(env.GROUP_COMMIT.idFromName(name)).fetch(request);
      case 'echo':
        return env.ECHO.get(env.ECHO.idFromName(name)).fetch(request);
      case 'checked':
        return env.CHECKED.get(env.CHECKED.idFromName(name)).fetch(request);
      default:
        return new Response('no such object', { status: 404 });
    }
  },
} satisfies ExportedHandler<Env>;
