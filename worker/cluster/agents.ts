/**
 * The nodes' side of a cluster: how they join, by which keys they and the coordinator know each other, and the ways on which their reports come
 * in and nudges go out. The routes call it through the cluster's object (`cluster.agents`), in one call.
 */
import { RpcTarget } from 'cloudflare:workers';
import type { ClusterKeys as ListedKeys } from '../../schemas/api.ts';
import { LONG_POLL_MS } from '../../schemas/limits.ts';
import { SIGNATURE_HEADERS, successorHeader } from '../../schemas/session.ts';
import type { Renewals, Reply, Report } from '../../schemas/wire.ts';
import {
  type AgentAnswer,
  type AgentRequest,
  Authentication,
  agentRequest,
  type SignedRequest,
} from './authentication.ts';
import { now } from './clock.ts';
import { ClusterKeys } from './cluster-keys.ts';
import { utf8 } from './encoding.ts';
import type { Engine } from './engine.ts';
import { type Enrolled, type Enrolment, enrol, makeToken, type NewToken, rekey } from './enrolment.ts';
import { problemReply, readReport, type Sender } from './reports.ts';
import { done, type Result, refuse } from './result.ts';
import { AgentSockets, CLOSE, type Received } from './sockets.ts';
import { JoinTokens } from './tokens.ts';
import { Waiters } from './waiters.ts';

/** What the object has while it holds a cluster. */
interface Open {
  readonly engine: Engine;
  readonly authentication: Authentication;
}

/** Why a message is not read, as its sender is told. */
const UNHEARD = {
  'no-cluster': { code: CLOSE.notMember, reason: 'there is no such cluster' },
  'not-text': { code: CLOSE.notText, reason: 'reports are text' },
  'too-large': { code: CLOSE.tooLarge, reason: 'the message is too large' },
  'other-key': { code: CLOSE.rekeyed, reason: 'the node has another key' },
  'not-authentic': { code: CLOSE.notAuthentic, reason: 'not the next message of this session' },
} as const;

export class Agents extends RpcTarget {
  readonly #tokens: JoinTokens;
  readonly #keys: ClusterKeys;
  readonly #sockets: AgentSockets;
  readonly #engine: () => Result<Engine>;
  #authentication: Authentication | undefined;
  /** One long poll per node: a newer one ends the older. */
  readonly #polls = new Waiters(1);
  /** Nodes that trust a key which never was the cluster's, and which. */
  readonly #astray = new Map<string, string>();
  /** Nodes that were to be nudged while they had neither socket nor poll. */
  readonly #nudged = new Set<string>();

  /** @param engine of the cluster that the object holds, or why there is none. */
  constructor(ctx: DurableObjectState, engine: () => Result<Engine>) {
    super();
    this.#tokens = new JoinTokens(ctx.storage.sql);
    this.#keys = new ClusterKeys(ctx.storage.sql);
    this.#sockets = new AgentSockets(ctx);
    this.#engine = engine;
  }

  /** The object holds a cluster from now on. @param instance of it. */
  begin(engine: Engine, instance: string): void {
    this.#keys.open(engine.state.durable.cluster, now());
    this.#authentication = new Authentication(instance, () => engine.state, this.#keys);
  }

  #open(): Result<Open> {
    const engine = this.#engine();
    if (!engine.ok) return engine;
    if (this.#authentication === undefined) return refuse('internal', 'the object has not begun');
    return done({ engine: engine.value, authentication: this.#authentication });
  }

  /** Makes a node report at once, now or when it comes. */
  nudge(node: string): void {
    const reached = this.#sockets.nudge(node) + this.#polls.wake(node);
    if (reached === 0) this.#nudged.add(node);
  }

  tell(node: string, message: Renewals): void {
    this.#sockets.tell(node, message);
  }

  /** A node was removed. */
  removed(node: string): void {
    this.#dismiss(node, 'the node was removed from the cluster');
  }

  async createToken(node: string, ttlMs: number): Promise<Result<NewToken>> {
    const open = this.#open();
    if (!open.ok) return open;
    return done(await makeToken(open.value.engine, this.#tokens, this.#keys.fingerprint, node, ttlMs));
  }

  /** The keys by which nodes know this cluster, newest first. */
  async keys(): Promise<Result<ListedKeys['keys']>> {
    const open = this.#open();
    return open.ok ? done(this.#keys.list()) : open;
  }

  /** Makes the next key. Nodes hear of it from the present one, and follow. */
  async rotateKey(): Promise<Result<ListedKeys['keys']>> {
    const open = this.#open();
    if (!open.ok) return open;
    const { engine } = open.value;
    const at = now();
    const detail = `nodes are to know this cluster by another key than ${this.#keys.fingerprint}`;
    engine.note({ kind: 'cluster.key-changed', severity: 'info', detail, at }, () => this.#keys.rotate(at));
    for (const { name, removed } of Object.values(engine.state.durable.nodes)) if (!removed) this.nudge(name);
    return done(this.#keys.list());
  }

  async enrol(request: Enrolment): Promise<Result<Enrolled>> {
    const open = this.#open();
    if (!open.ok) return open;
    const enrolled = await enrol(open.value.engine, this.#tokens, this.#keys, request);
    if (!enrolled.ok) return enrolled;
    if (enrolled.value.newKey) this.#dismiss(request.node, 'the node joined again with another key');
    return done(enrolled.value.answer);
  }

  async nonce(asked: AgentRequest): Promise<AgentAnswer> {
    const open = this.#open();
    if (!open.ok) return { result: open, nextNonce: null, signature: null, successor: null };
    const { authentication } = open.value;
    const nonce = authentication.nonceFor(asked.node);
    const result = nonce.ok ? done(JSON.stringify({ nonce: nonce.value })) : nonce;
    return authentication.answer(asked, result, nonce.ok ? nonce.value : null);
  }

  async report(request: SignedRequest): Promise<AgentAnswer> {
    return await this.#authenticated(request, (open, sender) => {
      const read = readReport(new TextDecoder().decode(request.body), sender);
      if (read.kind === 'version-unsupported') return refuse('version-unsupported', read.detail);
      if (read.kind === 'malformed') return refuse('malformed-body', read.detail);
      return new Promise((resolve) =>
        this.#report(open, read.report, request.clusterKey, (reply) => resolve(done(JSON.stringify(reply)))),
      );
    });
  }

  async wait(request: SignedRequest): Promise<AgentAnswer> {
    return await this.#authenticated(request, async (_, { node }) => {
      const nudge = this.#nudged.delete(node) || (await this.#polls.wait(node, LONG_POLL_MS));
      return done(JSON.stringify({ nudge }));
    });
  }

  /** A node's next key, asked for in a request that is signed with the one it has. */
  async rekey(request: SignedRequest): Promise<AgentAnswer> {
    return await this.#authenticated(request, ({ engine }, { node }) => {
      const changed = rekey(engine, node, request.body);
      if (!changed.ok) return changed;
      // what was open with the old key ends: whoever has read that one is not to go on with it
      if (changed.value) this.#sockets.close(node, CLOSE.rekeyed, 'the node has another key');
      return done(JSON.stringify({ publicKey: engine.state.durable.nodes[node]?.publicKey }));
    });
  }

  async #authenticated(
    request: SignedRequest,
    answer: (open: Open, sender: Sender) => Result<string> | Promise<Result<string>>,
  ): Promise<AgentAnswer> {
    const open = this.#open();
    if (!open.ok) return { result: open, nextNonce: null, signature: null, successor: null };
    const { authentication } = open.value;
    const verified = authentication.verify(request);
    if (!verified.ok) {
      this.#notice(open.value, request, verified.problem.code);
      return authentication.answer(request, verified, verified.nextNonce);
    }
    const result = await answer(open.value, verified.sender);
    return authentication.answer(request, result, authentication.nextNonce());
  }

  /** A member that trusts a key which never was the cluster's can only be helped by a person; told once. */
  #notice({ engine }: Open, { node, clusterKey }: AgentRequest, code: string): void {
    if (code !== 'key-unknown' || this.#keys.successorOf(clusterKey) !== null) return;
    if (this.#astray.get(node) === clusterKey) return;
    this.#astray.set(node, clusterKey);
    const detail = `it knows this cluster by key ${clusterKey}, which is none of its own: the coordinator's data, or that machine, was put back to an older state; join it again`;
    engine.note({ kind: 'node.trusts-another-key', severity: 'error', node, detail, at: now() }, () => {});
  }

  /** @param clusterKey which the node trusts. */
  #report({ engine }: Open, report: Report, clusterKey: string, answer: (reply: Reply) => void): void {
    engine.report(report, (reply) => {
      const successor = this.#keys.successorOf(clusterKey);
      answer(successor === null ? reply : { ...reply, successor });
    });
  }

  /** The upgrade to an agent's socket. A refusal is answered as JSON of {@link Refused}. */
  upgrade(request: Request): Response {
    const asked = agentRequest({
      method: request.method,
      path: new URL(request.url).pathname,
      header: (name) => request.headers.get(name),
    });
    const open = this.#open();
    if (!open.ok) return Response.json(open.problem, { status: 400 });
    const { authentication, engine } = open.value;
    const verified = authentication.verify({ ...asked, body: utf8(asked.sessionKey) });
    const nextNonce = verified.ok ? authentication.nextNonce() : verified.nextNonce;
    const headers = new Headers(nextNonce === null ? {} : { [SIGNATURE_HEADERS.nextNonce]: nextNonce });
    const successor = this.#keys.successorOf(asked.clusterKey);
    if (successor !== null) headers.set(SIGNATURE_HEADERS.successor, successorHeader(successor));
    if (!verified.ok) {
      this.#notice(open.value, asked, verified.problem.code);
      return Response.json(verified.problem, { status: 400, headers });
    }
    const { publicKey } = verified;
    const accepted = this.#sockets.accept(engine.state.durable.cluster, asked, publicKey, this.#keys, headers);
    return accepted.ok ? accepted.value : Response.json(accepted.problem, { status: 400, headers });
  }

  onMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    // the runtime hands on what comes after we have closed, until the other side closes as well: of that nothing counts
    if (socket.readyState !== WebSocket.OPEN) return;
    const open = this.#open();
    const received = open.ok ? this.#receive(open.value, socket, message) : ({ kind: 'no-cluster' } as const);
    if (open.ok && received.kind === 'text') {
      this.#onReport(open.value, socket, received);
    } else if (received.kind !== 'text') {
      const { code, reason } = UNHEARD[received.kind];
      this.#sockets.closeOne(socket, code, reason);
    }
  }

  /** A session is good as long as the key that it was begun with is that of its node. */
  #receive(
    { authentication }: Open,
    socket: WebSocket,
    message: string | ArrayBuffer,
  ): Received | { readonly kind: 'other-key' } {
    const received = this.#sockets.receive(socket, message);
    if (received.kind !== 'text') return received;
    return authentication.isKeyOf(received.sender.node, received.publicKey) ? received : { kind: 'other-key' };
  }

  #onReport(open: Open, socket: WebSocket, { text, sender, clusterKey }: Extract<Received, { kind: 'text' }>): void {
    const read = readReport(text, sender);
    switch (read.kind) {
      case 'report':
        this.#report(open, read.report, clusterKey, (reply) => this.#sockets.send(socket, reply));
        return;
      case 'version-unsupported':
      case 'malformed': {
        const problem = { code: read.kind, detail: read.detail };
        if (read.id !== null) this.#sockets.send(socket, problemReply(open.engine.state, read.id, problem));
        if (read.kind === 'version-unsupported') {
          this.#sockets.closeOne(socket, CLOSE.versionUnsupported, read.detail);
        } else if (read.id === null) {
          this.#sockets.closeOne(socket, CLOSE.notUnderstood, read.detail);
        }
        return;
      }
      default:
        read satisfies never;
    }
  }

  /** A node lost its membership, or joined with another key: whatever it had open ends. */
  #dismiss(node: string, why: string): void {
    this.#sockets.close(node, CLOSE.notMember, why);
    this.#polls.wake(node);
    this.#nudged.delete(node);
  }
}
