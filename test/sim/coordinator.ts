/**
 * The coordinator of the storm: the real decisions behind a wall clock that steps, a disk that takes time, and an end at any moment.
 * No reply leaves before the state it rests on is on disk; what an instance knew and had not written is gone with it.
 */
import type { Config } from '../../schemas/config.ts';
import { RENEWAL_GATHER_MS } from '../../schemas/limits.ts';
import type { DownMessage, Report } from '../../schemas/wire.ts';
import {
  buildReply,
  type ClusterState,
  type CoordinatorEvent,
  type Durable,
  decide,
  type Effect,
  emptyState,
  nextTick,
  type Outcome,
  restart,
  type Verdicts,
} from '../../worker/decide/index.ts';
import { newestRenewals } from '../../worker/decide/reply.ts';
import type { World } from './world.ts';

const TICK_PAUSE_FIRST_MS = 5;
const TICK_PAUSE_LAST_MS = 1_000;
const noVerdicts: Verdicts = { problem: undefined, leases: [], grants: [], refused: [] };

interface Write {
  readonly durable: Durable;
  readonly done: () => void;
}

export class Coordinator {
  readonly #world: World;
  readonly #send: (node: string, message: DownMessage) => void;
  readonly #rate: number;
  #offset = 1_700_000_000_000;
  #disk: Durable;
  #state: ClusterState | undefined;
  #effects: Effect[] = [];
  #pending: { readonly report: Report; readonly verdicts: Verdicts }[] = [];
  #told: ClusterState['volatile']['renewals'] = {};
  #instance = 0;
  #commitAt: number | undefined;
  #tickAt: number | undefined;
  #tickPauseMs = TICK_PAUSE_FIRST_MS;
  #writing: Write[] = [];
  slowDiskMs = 0;

  constructor(world: World, config: Config, send: (node: string, message: DownMessage) => void) {
    this.#world = world;
    this.#send = send;
    this.#rate = world.random.between(1 - 1e-3, 1 + 1e-3);
    let state = emptyState(config.cluster, 'h1', 'i0', this.wall());
    for (const node of config.nodes) state = decide(state, { type: 'enrol', node, publicKey: node }, this.wall()).state;
    state = decide(state, { type: 'apply', config }, this.wall()).state;
    this.#disk = state.durable;
    this.begin();
  }

  wall(): number {
    return Math.floor(this.#offset + this.#world.now * this.#rate);
  }

  stepClock(ms: number): void {
    this.#offset += ms;
    this.#world.note('coordinator', () => `its clock steps by ${Math.round(ms)} ms`);
    this.#schedule();
  }

  get state(): ClusterState | undefined {
    return this.#state;
  }

  /** Ends without a word. */
  crash(): void {
    if (this.#state === undefined) return;
    this.#instance += 1;
    // what was being written is there, or not
    for (const write of this.#writing) {
      if (this.#world.random.chance(0.5)) break;
      this.#store(write);
    }
    this.#writing = [];
    this.#state = undefined;
    this.#pending = [];
    this.#effects = [];
    this.#commitAt = undefined;
    this.#tickAt = undefined;
    this.#world.note('coordinator', () => 'ends');
  }

  begin(): void {
    if (this.#state !== undefined) return;
    const outcome = restart(this.#disk, `i${this.#instance}`, this.wall());
    this.#world.note('coordinator', () => `begins as instance ${this.#instance}`);
    this.#state = outcome.state;
    this.#told = {};
    this.#commit();
    this.#schedule();
  }

  receive(report: Report): void {
    if (this.#state === undefined) return;
    const outcome = this.#decide(this.#state, { type: 'report', report });
    const verdicts = outcome.verdicts ?? noVerdicts;
    this.#pending.push({ report, verdicts });
    const urgent = verdicts.problem !== undefined || verdicts.grants.length > 0 || report.releases.length > 0;
    if (urgent) this.#commit();
    else this.#commitWithin(this.#world.random.pick([0, 2, RENEWAL_GATHER_MS]));
    this.#schedule();
  }

  act(event: CoordinatorEvent): void {
    if (this.#state === undefined) return;
    const outcome = this.#decide(this.#state, event);
    this.#world.note('operator', () => `${JSON.stringify(event).slice(0, 120)}: ${outcome.refused?.detail ?? 'done'}`);
    this.#commit();
    this.#schedule();
  }

  #decide(state: ClusterState, event: CoordinatorEvent): Outcome {
    const outcome = decide(state, event, this.wall());
    this.#state = outcome.state;
    this.#effects.push(...outcome.effects);
    for (const effect of outcome.effects) {
      if (effect.kind === 'decision' && effect.decision.cause !== undefined)
        this.#world.count(`grant: ${effect.decision.cause}`);
      if (effect.kind === 'event')
        this.#world.note('coordinator', () =>
          [effect.event.kind, effect.event.node, effect.event.group, effect.event.epoch, effect.event.detail].join(' '),
        );
    }
    return outcome;
  }

  #commitWithin(ms: number): void {
    if (ms === 0) {
      this.#commit();
      return;
    }
    const at = this.#world.now + ms;
    if (this.#commitAt !== undefined && this.#commitAt <= at) return;
    this.#commitAt = at;
    this.#world.after(ms, () => {
      if (this.#commitAt === at) this.#commit();
    });
  }

  /** Writes what there is; when it is on disk, what waited for it leaves. */
  #commit(): void {
    const state = this.#state;
    if (state === undefined) return;
    const pending = this.#pending;
    const effects = this.#effects;
    this.#commitAt = undefined;
    this.#pending = [];
    this.#effects = [];
    const writing = this.#writing;
    const write: Write = { durable: state.durable, done: () => this.#answer(pending, effects) };
    writing.push(write);
    this.#world.after(this.#world.random.between(1, 8) + this.slowDiskMs * this.#world.random.next(), () => {
      // in the order in which they were begun; not at all if the instance ended meanwhile
      while (writing === this.#writing && writing.includes(write)) {
        const first = writing.shift();
        if (first === undefined) break;
        this.#store(first);
        first.done();
      }
    });
  }

  #store({ durable }: Write): void {
    this.#disk = durable;
    for (const group of Object.values(durable.groups))
      if (group.lease !== null) this.#world.referee.granted(group.name, group.lease.epoch, group.lease.owner);
  }

  #answer(pending: readonly { report: Report; verdicts: Verdicts }[], effects: readonly Effect[]): void {
    const state = this.#state;
    if (state === undefined) return;
    for (const { report, verdicts } of pending)
      this.#send(report.node, buildReply(state, report, verdicts, this.wall()));
    const renewed = Object.keys(state.volatile.renewals).filter(
      (group) => state.volatile.renewals[group] !== this.#told[group],
    );
    this.#told = state.volatile.renewals;
    const answered = new Set(pending.map(({ report }) => report.node));
    for (const node of renewed.length === 0 ? [] : Object.keys(state.volatile.nodes)) {
      if (answered.has(node)) continue;
      const renewals = newestRenewals(state, renewed, node);
      if (renewals.length > 0) this.#send(node, { type: 'renewals', renewals });
    }
    const nudged = new Set(effects.flatMap((effect) => (effect.kind === 'nudge' ? [effect.node] : [])));
    for (const node of nudged) this.#send(node, { type: 'nudge' });
  }

  #schedule(): void {
    const state = this.#state;
    if (state === undefined) return;
    const due = nextTick(state, this.wall());
    if (due === null) return;
    const at = this.#world.now + Math.max(this.#tickPauseMs, due - this.wall());
    if (this.#tickAt !== undefined && this.#tickAt <= at && this.#tickAt > this.#world.now) return;
    this.#tickAt = at;
    this.#world.after(at - this.#world.now, () => {
      if (this.#tickAt === at) this.#tick();
    });
  }

  #tick(): void {
    const state = this.#state;
    this.#tickAt = undefined;
    if (state === undefined) return;
    const before = this.#effects.length;
    const outcome = this.#decide(state, { type: 'tick' });
    const fruitful = outcome.state.durable !== state.durable || this.#effects.length > before;
    this.#tickPauseMs = fruitful ? TICK_PAUSE_FIRST_MS : Math.min(2 * this.#tickPauseMs, TICK_PAUSE_LAST_MS);
    if (fruitful) this.#commit();
    this.#schedule();
  }
}
