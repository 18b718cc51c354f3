/**
 * What bench:renew measures the coordinator against, on the same workerd: an object that does only the group commit, one that does only
 * an echo, and an echo behind the coordinator's own authentication and schema check.
 */
import { DurableObject } from 'cloudflare:workers';
import { RETRY_GATHER_MS } from '../../schemas/limits.ts';
import { SIGNATURE_HEADERS } from '../../schemas/wire.ts';
import { Authentication, signedRequest } from '../../worker/cluster/authentication.ts';
import { isTooLarge, readReport } from '../../worker/cluster/reports.ts';
import { AgentSockets, CLOSE } from '../../worker/cluster/sockets.ts';
import { type ClusterState, emptyState, type NodeRecord } from '../../worker/decide/index.ts';

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

/** An upgrade is verified by its signature, each message by its size, its schema and its sender; then it is echoed. */
export class Checked extends DurableObject<Env> {
  readonly #sockets = new AgentSockets(this.ctx);
  #state: ClusterState = emptyState('bench', 'history', 'instance', 0);
  readonly #authentication = new Authentication('instance', () => this.#state);

  override async fetch(request: Request): Promise<Response> {
    const { pathname: path, searchParams } = new URL(request.url);
    const node = request.headers.get(SIGNATURE_HEADERS.node) ?? searchParams.get('node') ?? '';
    if (request.method === 'POST') return this.#enrol(node, searchParams.get('key') ?? '');
    const signed = signedRequest(
      { method: 'GET', path, header: (name) => request.headers.get(name) },
      new Uint8Array(),
    );
    const verified = await this.#authentication.verify(signed);
    if (!verified.ok) return Response.json(verified.problem, { status: 401 });
    return this.#sockets.accept(verified.sender, {});
  }

  /** Makes a member and answers with a nonce. */
  #enrol(name: string, publicKey: string): Response {
    const record: NodeRecord = {
      name,
      publicKey,
      joinedAt: 0,
      mode: 'ready',
      removed: false,
      declaredDead: null,
      refusals: [],
      agentVersion: null,
      lost: false,
    };
    const { durable } = this.#state;
    this.#state = { ...this.#state, durable: { ...durable, nodes: { ...durable.nodes, [name]: record } } };
    const nonce = this.#authentication.nonceFor(name);
    return nonce.ok ? Response.json({ nonce: nonce.value }) : Response.json(nonce.problem, { status: 400 });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (typeof message !== 'string') return this.#sockets.closeOne(socket, CLOSE.notText, 'reports are text');
    if (isTooLarge(message)) return this.#sockets.closeOne(socket, CLOSE.tooLarge, 'the message is too large');
    const read = readReport(message, this.#sockets.senderOf(socket));
    if (read.kind !== 'report') return this.#sockets.closeOne(socket, CLOSE.notUnderstood, read.detail);
    socket.send(message);
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
