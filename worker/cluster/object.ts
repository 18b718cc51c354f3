/**
 * One Durable Object per cluster, named like it. It turns requests and messages into events for the engine and answers with what
 * came of them; what follows from an event is decided in worker/decide/.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Operation, Plan, ProblemError, Status, Why } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import type { ClusterEvent } from '../../schemas/events.ts';
import { LONG_POLL_MS } from '../../schemas/limits.ts';
import { type Reply, SIGNATURE_HEADERS } from '../../schemas/wire.ts';
import { type CoordinatorEvent, emptyState, planChange, restart, statusOf, whyOf } from '../decide/index.ts';
import type { Env } from '../env.ts';
import { type AgentAnswer, Authentication, type SignedRequest, signedRequest } from './authentication.ts';
import { now } from './clock.ts';
import { randomHex } from './encoding.ts';
import { Engine, type Surroundings } from './engine.ts';
import { type Enrolment, enrol, makeToken, type NewToken } from './enrolment.ts';
import { Records, type StoredRevision } from './records.ts';
import { isTooLarge, problemReply, readReport, type Sender } from './reports.ts';
import { done, type Result, refuse } from './result.ts';
import { AgentSockets, CLOSE } from './sockets.ts';
import { ClusterStorage } from './storage.ts';
import { JoinTokens } from './tokens.ts';
import { Waiters } from './waiters.ts';

/** How many long polls may wait for events, and for one operation. */
const MAX_POLLS = 64;

/** What people may ask for, as events without the ids that the object makes. */
export type Action =
  | { readonly type: 'move'; readonly group: string; readonly to: string | null }
  | { readonly type: 'group-stop' | 'group-start'; readonly group: string }
  | { readonly type: 'node-standby'; readonly node: string };
export type InstantAction = Extract<
  CoordinatorEvent,
  { type: 'cleanup' | 'node-ready' | 'node-remove' | 'confirm-dead' | 'confirm-history' }
>;

/** A document that has been read and found good. */
export interface ReadDocument {
  readonly text: string;
  readonly config: Config;
}

export interface Applied {
  readonly plan: Plan;
  readonly newRevision: number;
}

/** The object while it holds a cluster. */
interface Open {
  readonly engine: Engine;
  readonly authentication: Authentication;
}

type Held =
  | { readonly kind: 'absent' }
  | { readonly kind: 'unusable'; readonly detail: string }
  | ({ readonly kind: 'open' } & Open);

export class Cluster extends DurableObject<Env> {
  readonly #storage: ClusterStorage;
  readonly #records: Records;
  readonly #tokens: JoinTokens;
  readonly #sockets: AgentSockets;
  readonly #polls = new Waiters(MAX_POLLS);
  /** One long poll per node: a newer one ends the older. */
  readonly #agentPolls = new Waiters(1);
  /** Nodes that were to be nudged while they had neither socket nor poll. */
  readonly #nudged = new Set<string>();
  #held: Held = { kind: 'absent' };

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#storage = new ClusterStorage(ctx.storage);
    this.#records = new Records(ctx.storage.sql);
    this.#tokens = new JoinTokens(ctx.storage.sql);
    this.#sockets = new AgentSockets(ctx);
    ctx.waitUntil(ctx.blockConcurrencyWhile(() => this.#load()));
  }

  async #load(): Promise<void> {
    const opened = this.#storage.open();
    if (opened.kind !== 'open') {
      this.#held = opened;
      return;
    }
    const instance = randomHex(8);
    const alarmArmed = (await this.ctx.storage.getAlarm()) !== null;
    const outcome = restart(opened.durable, instance, now());
    this.#start(new Engine(this.#surroundings(), opened.durable, outcome, alarmArmed), instance);
  }

  #start(engine: Engine, instance: string): void {
    this.#held = { kind: 'open', engine, authentication: new Authentication(instance, () => engine.state) };
  }

  #open(): Result<Open> {
    const held = this.#held;
    switch (held.kind) {
      case 'open':
        return done(held);
      case 'unusable':
        return refuse('internal', held.detail);
      case 'absent':
        return refuse('cluster-unknown', 'there is no cluster of this name; `holdfast cluster create` makes one');
      default:
        return held satisfies never;
    }
  }

  /** What the engine needs of the object around it. */
  #surroundings(): Surroundings {
    return {
      storage: this.#storage,
      nudge: (node) => {
        const reached = this.#sockets.nudge(node) + this.#agentPolls.wake(node);
        if (reached === 0) this.#nudged.add(node);
      },
      tell: (node, message) => this.#sockets.tell(node, message),
      stored: () => {
        this.#polls.wake('stored');
      },
      setAlarm: (afterMs) => this.ctx.waitUntil(this.ctx.storage.setAlarm(Date.now() + afterMs)),
      abandon: (detail) => {
        this.#held = { kind: 'unusable', detail };
        this.ctx.abort(detail);
      },
    };
  }

  override async alarm(): Promise<void> {
    if (this.#held.kind !== 'open') return;
    try {
      this.#held.engine.alarm();
    } catch (error) {
      // The runtime would repeat the alarm seconds later and give up after a few; the engine has set the next one.
      console.error('alarm:', error);
    }
  }

  // Calls of the routes. Each answers with a value or with why not.

  /** Makes the cluster. @returns when it was created, and whether it was there before. */
  async create(name: string): Promise<Result<{ createdAt: number; existed: boolean }>> {
    if (this.#held.kind === 'unusable') return refuse('internal', this.#held.detail);
    if (this.#held.kind === 'open') return done({ createdAt: this.#storage.createdAt(), existed: true });
    const createdAt = now();
    const instance = randomHex(8);
    const state = emptyState(name, randomHex(16), instance, createdAt);
    this.#storage.create(state.durable, createdAt, {
      kind: 'cluster.created',
      severity: 'info',
      detail: `cluster ${name}`,
      at: createdAt,
    });
    this.#start(new Engine(this.#surroundings(), state.durable, { state, effects: [] }, false), instance);
    return done({ createdAt, existed: false });
  }

  async status(): Promise<Result<Status>> {
    const open = this.#open();
    return open.ok ? done(statusOf(open.value.engine.state, now())) : open;
  }

  async why(group: string): Promise<Result<Why>> {
    const open = this.#open();
    if (!open.ok) return open;
    const { state } = open.value.engine;
    const why = Object.hasOwn(state.durable.groups, group)
      ? whyOf(state, group, now(), this.#records.decisions(group))
      : null;
    if (why !== null) return done(why);
    const names = Object.keys(state.durable.groups).join(', ');
    return refuse('group-unknown', `no group ${group} in this cluster; there are: ${names || 'none'}`);
  }

  /** A revision of the configuration; without a number the one in force, which is empty before the first. */
  async configuration(revision: number | null): Promise<Result<StoredRevision | null>> {
    const open = this.#open();
    if (!open.ok) return open;
    const stored = this.#records.revision(revision);
    if (stored === null && revision !== null) {
      return refuse('not-found', `revision ${revision} is not stored (any more)`);
    }
    return done(stored);
  }

  async plan(document: ReadDocument): Promise<Result<Plan>> {
    const open = this.#open();
    if (!open.ok) return open;
    const wrong = this.#wrongCluster(open.value, document);
    if (wrong !== null) return wrong;
    return done(this.#plan(open.value, document));
  }

  /** Applies a document if the configuration is still of revision `expected`. The same text again changes nothing. */
  async apply(document: ReadDocument, expected: number): Promise<Result<Applied>> {
    const open = this.#open();
    if (!open.ok) return open;
    const { engine } = open.value;
    const { revision } = engine.state.durable;
    if (revision !== expected) {
      return refuse(
        'revision-mismatch',
        `the configuration is at revision ${revision}, not ${expected}: read it again and repeat`,
      );
    }
    const wrong = this.#wrongCluster(open.value, document);
    if (wrong !== null) return wrong;
    if (this.#records.revision(null)?.document === document.text) {
      return done({ plan: { ...this.#plan(open.value, document), changed: false }, newRevision: revision });
    }
    const plan = this.#plan(open.value, document);
    const outcome = engine.perform({ type: 'apply', config: document.config }, { document: document.text });
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    return done({ plan: { ...plan, changed: true }, newRevision: engine.state.durable.revision });
  }

  #plan(open: Open, { text, config }: ReadDocument): Plan {
    return planChange(open.engine.state, this.#records.revision(null)?.document ?? '', text, config);
  }

  #wrongCluster(open: Open, { text, config }: ReadDocument): Result<never> | null {
    const { cluster } = open.engine.state.durable;
    if (config.cluster === cluster) return null;
    const line = text.split('\n').findIndex((content) => /^\s*["']?cluster["']?\s*:/.test(content)) + 1;
    const error: ProblemError = {
      path: 'cluster',
      ...(line > 0 ? { line } : {}),
      detail: `the document is for cluster ${config.cluster}, this is cluster ${cluster}`,
      suggestion: cluster,
    };
    return { ok: false, problem: { code: 'invalid-configuration', detail: error.detail, errors: [error] } };
  }

  /** Starts something that takes time. */
  async act(action: Action): Promise<Result<Operation>> {
    const open = this.#open();
    if (!open.ok) return open;
    const { engine } = open.value;
    const operation = `op_${randomHex(8)}`;
    const outcome = engine.perform({ ...action, operation });
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    return await this.operation(operation, 0);
  }

  /** Does something that is done at once. */
  async actNow(action: InstantAction): Promise<Result<null>> {
    const open = this.#open();
    if (!open.ok) return open;
    const outcome = open.value.engine.perform(action);
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    if (action.type === 'node-remove') this.#dismiss(action.node, 'the node was removed from the cluster');
    return done(null);
  }

  /** An operation; with a wait, as it is when it has ended or the time is up. */
  async operation(id: string, waitMs: number): Promise<Result<Operation>> {
    const open = this.#open();
    if (!open.ok) return open;
    const until = Date.now() + waitMs;
    for (;;) {
      const { operations } = open.value.engine.state.durable;
      const running = Object.hasOwn(operations, id) ? operations[id] : undefined;
      const operation = running ?? this.#records.operation(id);
      if (operation === null) return refuse('operation-unknown', `no operation ${id} (only the newest are kept)`);
      const left = until - Date.now();
      if (operation.state !== 'running' || left <= 0) return done(operation);
      await this.#polls.wait('stored', left);
    }
  }

  /** Events after a sequence number, or the newest ones; with a wait, as soon as there is one. */
  async events(after: number | null, limit: number, waitMs: number): Promise<Result<ClusterEvent[]>> {
    const open = this.#open();
    if (!open.ok) return open;
    const until = Date.now() + waitMs;
    for (;;) {
      const events = this.#records.events(after, limit);
      const left = until - Date.now();
      if (events.length > 0 || left <= 0) return done(events);
      await this.#polls.wait('stored', left);
    }
  }

  async createToken(node: string, ttlMs: number): Promise<Result<NewToken>> {
    const open = this.#open();
    return open.ok ? done(await makeToken(open.value.engine, this.#tokens, node, ttlMs)) : open;
  }

  // Agents.

  async enrol(request: Enrolment): Promise<Result<{ history: string }>> {
    const open = this.#open();
    if (!open.ok) return open;
    const { engine } = open.value;
    const enrolled = await enrol(engine, this.#tokens, request);
    if (!enrolled.ok) return enrolled;
    if (enrolled.value.newKey) this.#dismiss(request.node, 'the node joined again with another key');
    return done({ history: engine.state.durable.history });
  }

  async nonce(node: string): Promise<Result<string>> {
    const open = this.#open();
    return open.ok ? open.value.authentication.nonceFor(node) : open;
  }

  async agentReport(request: SignedRequest): Promise<AgentAnswer<Reply>> {
    return await this.#authenticated(request, ({ engine }, sender) => {
      const read = readReport(new TextDecoder().decode(request.body), sender);
      if (read.kind === 'version-unsupported') return refuse('version-unsupported', read.detail);
      if (read.kind === 'malformed') return refuse('malformed-body', read.detail);
      return new Promise((resolve) => engine.report(read.report, (reply) => resolve(done(reply))));
    });
  }

  async agentWait(request: SignedRequest): Promise<AgentAnswer<boolean>> {
    return await this.#authenticated(request, async (_, { node }) => {
      if (this.#nudged.delete(node)) return done(true);
      return done(await this.#agentPolls.wait(node, LONG_POLL_MS));
    });
  }

  async #authenticated<T>(
    request: SignedRequest,
    answer: (open: Open, sender: Sender) => Result<T> | Promise<Result<T>>,
  ): Promise<AgentAnswer<T>> {
    const open = this.#open();
    if (!open.ok) return { result: open, nextNonce: null };
    const { authentication } = open.value;
    const verified = await authentication.verify(request);
    if (!verified.ok) return { result: verified, nextNonce: verified.nextNonce };
    const result = await answer(open.value, verified.sender);
    return { result, nextNonce: authentication.nextNonce() };
  }

  /** The upgrade to an agent's socket, the only request that is no RPC call. A refusal is answered as JSON of {@link Refused}. */
  override async fetch(request: Request): Promise<Response> {
    const signed = signedRequest(
      {
        method: request.method,
        path: new URL(request.url).pathname,
        header: (name) => request.headers.get(name),
      },
      new Uint8Array(),
    );
    const { result, nextNonce } = await this.#authenticated(signed, (_, sender) => done(sender));
    const headers = new Headers(nextNonce === null ? {} : { [SIGNATURE_HEADERS.nextNonce]: nextNonce });
    if (!result.ok) return Response.json(result.problem, { status: 400, headers });
    return this.#sockets.accept(result.value, headers);
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (this.#held.kind !== 'open') return this.#sockets.closeOne(socket, CLOSE.notMember, 'there is no such cluster');
    const { engine } = this.#held;
    if (typeof message !== 'string') return this.#sockets.closeOne(socket, CLOSE.notText, 'reports are text');
    if (isTooLarge(message)) return this.#sockets.closeOne(socket, CLOSE.tooLarge, 'the message is too large');
    const read = readReport(message, this.#sockets.senderOf(socket));
    switch (read.kind) {
      case 'report':
        engine.report(read.report, (reply) => this.#sockets.send(socket, reply));
        return;
      case 'version-unsupported':
      case 'malformed': {
        const problem = { code: read.kind, detail: read.detail };
        if (read.id !== null) this.#sockets.send(socket, problemReply(engine.state, read.id, problem));
        if (read.kind === 'version-unsupported') {
          this.#sockets.closeOne(socket, CLOSE.versionUnsupported, read.detail);
        } else if (read.id === null) {
          this.#sockets.closeOne(socket, CLOSE.notUnderstood, read.detail);
        }
        return;
      }
      default:
        return read satisfies never;
    }
  }

  override async webSocketError(_socket: WebSocket, error: unknown): Promise<void> {
    // The connection broke. No proof of anything (protocol.md): the agent comes back, or its leases run out.
    console.warn('socket:', error instanceof Error ? error.message : error);
  }

  /** A node lost its membership or its key: whatever it had open ends. */
  #dismiss(node: string, why: string): void {
    this.#sockets.close(node, CLOSE.notMember, why);
    this.#agentPolls.wake(node);
    this.#nudged.delete(node);
  }
}
