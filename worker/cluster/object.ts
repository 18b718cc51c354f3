/**
 * One Durable Object per cluster, named like it. It turns requests and messages into events for the engine and answers with what
 * came of them; what follows from an event is decided in worker/decide/.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Operation, Plan, Simulation, Status, Why } from '../../schemas/api.ts';
import type { ClusterEvent } from '../../schemas/events.ts';
import type { Incident } from '../../schemas/incident.ts';
import { namesOffered } from '../../schemas/names.ts';
import type { Decision } from '../../schemas/reasons.ts';
import { emptyState, type NewEvent, planChange, restart, statusOf, type WhatIf, whyOf } from '../decide/index.ts';
import type { Env } from '../env.ts';
import type { Action, InstantAction } from './actions.ts';
import { Agents } from './agents.ts';
import { now } from './clock.ts';
import { type ReadDocument, wrongCluster } from './document.ts';
import { randomHex } from './encoding.ts';
import { Engine, type Surroundings } from './engine.ts';
import { Follower } from './follower.ts';
import { Incidents } from './incident-records.ts';
import type { Story } from './incidents.ts';
import { People } from './people.ts';
import { Records, type StoredRevision } from './records.ts';
import { done, type Result, refuse } from './result.ts';
import { Simulations } from './simulations.ts';
import { ClusterStorage } from './storage.ts';
import { Waiters } from './waiters.ts';

/** How many long polls may wait for events, and for one operation. */
const MAX_POLLS = 64;

export interface Applied {
  readonly plan: Plan;
  readonly newRevision: number;
}

type Held =
  | { readonly kind: 'absent' }
  | { readonly kind: 'unusable'; readonly detail: string }
  | { readonly kind: 'open'; readonly engine: Engine };

export class Cluster extends DurableObject<Env> {
  readonly #storage: ClusterStorage;
  readonly #records: Records;
  readonly #incidents: Incidents;
  readonly #people: People;
  readonly #agents: Agents;
  readonly #follower: Follower;
  readonly #simulations = new Simulations();
  readonly #polls = new Waiters(MAX_POLLS);
  #held: Held = { kind: 'absent' };

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#storage = new ClusterStorage(ctx.storage);
    this.#records = new Records(ctx.storage.sql);
    this.#incidents = new Incidents(ctx.storage.sql, this.#records);
    this.#people = new People(ctx.storage.sql, () => this.#engine());
    this.#agents = new Agents(ctx, () => this.#engine());
    this.#follower = new Follower(ctx, env);
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
    this.#follower.set(this.#storage.followed() ? opened.durable.cluster : null);
    this.#start(new Engine(this.#surroundings(), opened.durable, outcome, alarmArmed), instance);
    // the instance before may have ended between an event and its wake
    this.#follower.wake();
  }

  #start(engine: Engine, instance: string): void {
    this.#agents.begin(engine, instance);
    this.#held = { kind: 'open', engine };
  }

  #engine(): Result<Engine> {
    const held = this.#held;
    switch (held.kind) {
      case 'open':
        return done(held.engine);
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
      nudge: (node) => this.#agents.nudge(node),
      tell: (node, message) => this.#agents.tell(node, message),
      stored: () => {
        this.#polls.wake('stored');
        this.#follower.wake();
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
    const held = this.#engine();
    return held.ok ? done(statusOf(held.value.state, now())) : held;
  }

  async why(group: string): Promise<Result<Why>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const { state } = held.value;
    const why = Object.hasOwn(state.durable.groups, group)
      ? whyOf(state, group, now(), this.#records.decisions(group))
      : null;
    if (why !== null) return done(why);
    const names = Object.keys(state.durable.groups);
    return refuse('group-unknown', `no group ${group} in this cluster${namesOffered(group, names)}`);
  }

  /** A revision of the configuration; without a number the one in force, which is empty before the first. */
  async configuration(revision: number | null): Promise<Result<StoredRevision | null>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const stored = this.#records.revision(revision);
    if (stored === null && revision !== null) {
      return refuse('not-found', `revision ${revision} is not stored (any more)`);
    }
    return done(stored);
  }

  /** The revisions that are kept, newest first. */
  async revisions(): Promise<Result<{ revision: number; at: string; lines: number }[]>> {
    const held = this.#engine();
    return held.ok ? done(this.#records.revisions()) : held;
  }

  async plan(document: ReadDocument): Promise<Result<Plan>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const wrong = wrongCluster(held.value.state.durable.cluster, document);
    if (wrong !== null) return wrong;
    return done(this.#plan(held.value, document));
  }

  /** Applies a document if the configuration is still of revision `expected`. The same text again changes nothing. */
  async apply(document: ReadDocument, expected: number): Promise<Result<Applied>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const engine = held.value;
    const { revision } = engine.state.durable;
    if (revision !== expected) {
      return refuse(
        'revision-mismatch',
        `the configuration is at revision ${revision}, not ${expected}: read it again and repeat`,
      );
    }
    const wrong = wrongCluster(engine.state.durable.cluster, document);
    if (wrong !== null) return wrong;
    if (this.#records.revision(null)?.document === document.text) {
      return done({ plan: { ...this.#plan(engine, document), changed: false }, newRevision: revision });
    }
    const plan = this.#plan(engine, document);
    const outcome = engine.perform({ type: 'apply', config: document.config }, { document: document.text });
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    return done({ plan: { ...plan, changed: true }, newRevision: engine.state.durable.revision });
  }

  #plan(engine: Engine, { text, config }: ReadDocument): Plan {
    return planChange(engine.state, this.#records.revision(null)?.document ?? '', text, config);
  }

  /** What would happen if …: from what is so now, without storing or changing anything. */
  async simulate(assumed: Omit<WhatIf, 'config'>, document: ReadDocument | null): Promise<Result<Simulation>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const wrong = document === null ? null : wrongCluster(held.value.state.durable.cluster, document);
    if (wrong !== null) return wrong;
    return await this.#simulations.run(held.value.state, { ...assumed, config: document?.config ?? null });
  }

  /** Starts something that takes time. */
  async act(action: Action): Promise<Result<Operation>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const engine = held.value;
    const operation = `op_${randomHex(8)}`;
    const outcome = engine.perform({ ...action, operation });
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    return await this.operation(operation, 0);
  }

  /** Does something that is done at once. */
  async actNow(action: InstantAction): Promise<Result<null>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const outcome = held.value.perform(action);
    if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    if (action.type === 'node-remove') {
      this.#agents.removed(action.node);
    }
    return done(null);
  }

  /** An operation; with a wait, as it is when it has ended or the time is up. */
  async operation(id: string, waitMs: number): Promise<Result<Operation>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const until = Date.now() + waitMs;
    // a newer question may take the place of this one: then it is answered with what there is
    let evicted = false;
    for (;;) {
      const { operations } = held.value.state.durable;
      const running = Object.hasOwn(operations, id) ? operations[id] : undefined;
      const operation = running ?? this.#records.operation(id);
      if (operation === null)
        return refuse(
          'operation-unknown',
          `no operation ${id} (only the newest are kept); \`holdfast op list\` shows them`,
        );
      const left = until - Date.now();
      if (operation.state !== 'running' || left <= 0 || evicted) return done(operation);
      evicted = !(await this.#polls.wait('stored', left));
    }
  }

  /** Takes back what an operation has not done yet. @returns it, as it ended. */
  async cancel(id: string): Promise<Result<Operation>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const engine = held.value;
    const ended = Object.hasOwn(engine.state.durable.operations, id) ? null : this.#records.operation(id);
    if (ended !== null && ended.state !== 'cancelled')
      return refuse('not-possible', `${id} has ended: ${ended.kind} ${ended.state}: ${ended.progress}`);
    if (ended === null) {
      const outcome = engine.perform({ type: 'cancel', operation: id });
      if (outcome.refused !== undefined) return { ok: false, problem: outcome.refused };
    }
    return await this.operation(id, 0);
  }

  /** The newest operations, newest first, whether they have ended or not. */
  async operations(): Promise<Result<Operation[]>> {
    const held = this.#engine();
    return held.ok ? done(this.#records.operations()) : held;
  }

  /** Events after a sequence number, or the newest ones; with a wait, as soon as there is one. */
  async events(after: number | null, limit: number, waitMs: number): Promise<Result<ClusterEvent[]>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const until = Date.now() + waitMs;
    // a newer question may take the place of this one: then it is answered with what there is
    let evicted = false;
    for (;;) {
      const events = this.#records.events(after, limit);
      const left = until - Date.now();
      if (events.length > 0 || left <= 0 || evicted) return done(events);
      evicted = !(await this.#polls.wait('stored', left));
    }
  }

  /** Who may use the API, and what was done by it. */
  get people(): People {
    return this.#people;
  }

  // The object of webhooks (worker/webhooks/).

  /** Whether it wants to be woken when there are events. @returns the newest event so far. */
  async follow(on: boolean): Promise<Result<{ newest: number }>> {
    const held = this.#engine();
    if (!held.ok) return held;
    this.#storage.setFollowed(on);
    this.#follower.set(on ? held.value.state.durable.cluster : null);
    return done({ newest: this.#records.newestEvent() });
  }

  /**
   * Events after the one that was taken over last, each with the grant whose epoch it names. `restored`: that one is not in the log, which was put
   * back to an older copy; numbers are given out again then.
   */
  async eventsToTell(
    { taken, takenAt }: { readonly taken: number; readonly takenAt: string | null },
    limit: number,
  ): Promise<Result<{ newest: number; restored: boolean; events: { event: ClusterEvent; grant: Decision | null }[] }>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const newest = this.#records.newestEvent();
    const at = this.#records.eventsBySeq([taken]).get(taken)?.at;
    const restored = newest < taken || (takenAt !== null && at !== undefined && at !== takenAt);
    return done({ newest, restored, events: this.#records.eventsWithGrants(taken, limit) });
  }

  /** Stores an event that is no decision. */
  async note(event: Omit<NewEvent, 'at'>): Promise<Result<null>> {
    const held = this.#engine();
    if (!held.ok) return held;
    held.value.note({ ...event, at: now() }, () => {});
    return done(null);
  }

  /** The newest incidents, newest first. */
  async incidents(): Promise<Result<Incident[]>> {
    const held = this.#engine();
    return held.ok ? done(this.#incidents.newest(now())) : held;
  }

  /** One incident with everything that is known of it; `last`: the newest. */
  async incident(id: string): Promise<Result<Story>> {
    const held = this.#engine();
    if (!held.ok) return held;
    const story = this.#incidents.story(id, now());
    if (story !== null) return done(story);
    return refuse('incident-unknown', `no incident ${id} (any more); \`holdfast incident list\` shows them`);
  }

  /** How nodes join, and what they say. */
  get agents(): Agents {
    return this.#agents;
  }

  /** The upgrade to an agent's socket, the only request that is no RPC call. */
  override async fetch(request: Request): Promise<Response> {
    return this.#agents.upgrade(request);
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    this.#agents.onMessage(socket, message);
  }

  override async webSocketError(_socket: WebSocket, error: unknown): Promise<void> {
    // The connection broke. No proof of anything (protocol.md): the agent comes back, or its leases run out.
    console.warn('socket:', error instanceof Error ? error.message : error);
  }
}
