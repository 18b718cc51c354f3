/**
 * One instance of the coordinator's object: the real decisions, driven as worker/cluster/engine.ts drives them. What it tells is composed
 * when it commits, and leaves when that is on disk; what it knew and had not written is gone with it.
 */
import type { DownMessage, Report } from '../../schemas/wire.ts';
import { Gathering } from '../../worker/cluster/gathering.ts';
import {
  type ClusterState,
  type CoordinatorEvent,
  type Durable,
  type Effect,
  newestRenewals,
  nextTick,
  type Outcome,
  type Pause,
  type Verdicts,
} from '../../worker/decide/index.ts';
import { Violation } from './referee.ts';
import { Timer, type World } from './world.ts';

const TICK_PAUSE_FIRST_MS = 5;
const TICK_PAUSE_LAST_MS = 1_000;
const TICK_LATE_MS = TICK_PAUSE_LAST_MS + 200;
const noVerdicts: Verdicts = { problem: undefined, leases: [], grants: [], refused: [] };

/** What an instance needs of the place where it runs. */
export interface Surroundings {
  wall(): number;
  /** Writes; `done` says whether what waits for it may leave. In the order in which it is asked. */
  write(from: Instance, durable: Durable, done: () => void): void;
  /** To every socket of this node. */
  tell(node: string, message: DownMessage): void;
  /** How late its timers are. */
  readonly timersLateMs: number;
}

export type Answer = (message: DownMessage) => void;

interface Pending {
  readonly report: Report;
  readonly verdicts: Verdicts;
  readonly answer: Answer;
}

export class Instance {
  readonly #world: World;
  readonly #around: Surroundings;
  readonly #gathering = new Gathering();
  readonly #tickTimer: Timer;
  readonly #commitTimer: Timer;
  #state: ClusterState;
  #stored: Durable;
  #effects: Effect[] = [];
  #pending: Pending[] = [];
  #told: ClusterState['volatile']['renewals'] = {};
  #commitAt = Number.POSITIVE_INFINITY;
  /** By the wall clock: for when the timer of the next tick was set, and when the tick is due. */
  #tickFor: number | null = null;
  #due: number | null = null;
  #tickPauseMs = TICK_PAUSE_FIRST_MS;
  ended = false;

  constructor(world: World, around: Surroundings, stored: Durable, name: string) {
    this.#world = world;
    this.#around = around;
    this.#stored = stored;
    const outcome = world.product.restart(stored, name, around.wall());
    this.#state = outcome.state;
    this.#effects.push(...outcome.effects);
    this.#tickTimer = new Timer(world, () => {
      this.#tickFor = null;
      this.tick();
    });
    this.#commitTimer = new Timer(world, () => this.#commit());
    this.#commit();
    this.tick();
  }

  get state(): ClusterState {
    return this.#state;
  }

  /** Without a word: what it has in memory is gone. */
  end(): void {
    this.ended = true;
    this.#tickTimer.set(Number.POSITIVE_INFINITY);
    this.#commitTimer.set(Number.POSITIVE_INFINITY);
  }

  receive(report: Report, answer: Answer): void {
    const at = this.#around.wall();
    const outcome = this.#decide({ type: 'report', report }, at);
    const verdicts = outcome.verdicts ?? noVerdicts;
    if (verdicts.problem !== undefined && this.#state.durable === this.#stored && this.#effects.length === 0) {
      // nothing is extended, so nothing has to be durable
      answer(this.#world.product.buildReply(this.#state, report, verdicts, at));
      this.#schedule();
      return;
    }
    this.#pending.push({ report, verdicts, answer });
    this.#commitWithin(verdicts.problem === undefined ? this.#gathering.patience(report, outcome, at) : 0);
    this.#schedule();
  }

  /** An operator's act. @returns why it was refused. */
  act(event: CoordinatorEvent): string | undefined {
    this.#tickPauseMs = TICK_PAUSE_FIRST_MS;
    const { refused } = this.#decide(event, this.#around.wall());
    if (refused === undefined || this.#state.durable !== this.#stored || this.#effects.length > 0) this.#commit();
    this.#schedule();
    return refused?.detail;
  }

  /** Time has passed; a stored alarm may come late, or twice. */
  tick(): void {
    if (this.ended) return;
    const before = this.#effects.length;
    const { durable } = this.#state;
    this.#decide({ type: 'tick' }, this.#around.wall());
    const fruitful = this.#state.durable !== durable || this.#effects.length > before;
    this.#tickPauseMs = fruitful ? TICK_PAUSE_FIRST_MS : Math.min(2 * this.#tickPauseMs, TICK_PAUSE_LAST_MS);
    if (fruitful) this.#commit();
    this.#schedule();
  }

  #decide(event: CoordinatorEvent, at: number): Outcome {
    const byMs = this.#due === null ? 0 : at - this.#due;
    this.#due = null;
    if (byMs > TICK_LATE_MS) this.#decide({ type: 'late', byMs }, at);
    const before = this.#state;
    const outcome = this.#world.product.decide(before, event, at);
    this.#state = outcome.state;
    this.#keptHandsOff(before, outcome, at);
    if (outcome.effects.length > 0) {
      this.#effects.push(...outcome.effects);
      this.#observe(outcome.effects);
    }
    return outcome;
  }

  #observe(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'decision' && effect.decision.cause !== undefined)
        this.#world.count(`grant: ${effect.decision.cause}`);
      if (effect.kind === 'event')
        this.#world.note('coordinator', () =>
          [effect.event.kind, effect.event.node, effect.event.group, effect.event.epoch, effect.event.detail].join(' '),
        );
    }
  }

  /**
   * What is paused changes no owner, nor is anything given to a node in maintenance. Its owner is told to leave it alone, and to give it
   * back only when the host goes down; never to act.
   */
  #keptHandsOff(before: ClusterState, { state, verdicts }: Outcome, wall: number): void {
    const rests = (pause: Pause | null | undefined) => pause != null && wall < pause.until;
    for (const group of Object.values(before.durable.groups)) {
      const after = state.durable.groups[group.name];
      const owner = after?.lease?.owner ?? '';
      const given = after?.lease != null && after.lease.epoch !== group.lease?.epoch;
      // a step of the clock back brings the end nearer, and is seen with the event itself
      if (given && rests(before.durable.nodes[owner]?.maintenance) && rests(state.durable.nodes[owner]?.maintenance))
        throw new Violation(`${group.name} is given to ${owner} although that is in maintenance`);
      if (!rests(group.pause) || !rests(after?.pause)) continue;
      if (given) throw new Violation(`${group.name} is given to ${owner} although it is paused`);
      this.#world.count('event while paused');
      const leaving = state.volatile.nodes[owner]?.leaving === true;
      for (const answer of verdicts?.leases ?? [])
        if (
          answer.group === group.name &&
          answer.verdict === 'renewed' &&
          answer.order !== 'pause' &&
          !(leaving && answer.order === 'release')
        )
          throw new Violation(`${group.name} is paused and its owner is told to ${answer.order}`);
    }
  }

  #commitWithin(ms: number): void {
    if (ms === 0) {
      this.#commit();
      return;
    }
    const at = this.#world.now + ms;
    if (this.#commitAt <= at) return;
    this.#commitAt = at;
    this.#commitTimer.set(at);
  }

  /** Writes what there is; when it is on disk, what waited for it leaves. */
  #commit(): void {
    if (this.ended) return;
    const pending = this.#pending;
    const effects = this.#effects;
    this.#pending = [];
    this.#effects = [];
    this.#commitAt = Number.POSITIVE_INFINITY;
    this.#commitTimer.set(Number.POSITIVE_INFINITY);
    this.#stored = this.#state.durable;
    const messages = this.#messages(pending, effects);
    this.#around.write(this, this.#stored, () => {
      for (const send of messages) send();
    });
  }

  #messages(pending: readonly Pending[], effects: readonly Effect[]): (() => void)[] {
    const state = this.#state;
    const at = this.#around.wall();
    const messages = pending.map(({ report, verdicts, answer }) => {
      const reply = this.#world.product.buildReply(state, report, verdicts, at);
      return () => answer(reply);
    });
    const told = this.#told;
    this.#told = state.volatile.renewals;
    if (told !== this.#told) {
      const renewed = Object.keys(this.#told).filter((group) => this.#told[group] !== told[group]);
      const answered = new Set(pending.map(({ report }) => report.node));
      for (const node of Object.keys(state.volatile.nodes)) {
        if (answered.has(node)) continue;
        const renewals = newestRenewals(state, renewed, node);
        if (renewals.length > 0) messages.push(() => this.#around.tell(node, { type: 'renewals', renewals }));
      }
    }
    const nudged = new Set(effects.flatMap((effect) => (effect.kind === 'nudge' ? [effect.node] : [])));
    for (const node of nudged) messages.push(() => this.#around.tell(node, { type: 'nudge' }));
    return messages;
  }

  /** The in-memory timer: exact, unless the process was put to sleep and only the stored alarm is left. */
  #schedule(): void {
    const wall = this.#around.wall();
    const at = nextTick(this.#state, wall);
    this.#due = at;
    if (at === this.#tickFor) return;
    this.#tickFor = at;
    if (at === null) {
      this.#tickTimer.set(Number.POSITIVE_INFINITY);
      return;
    }
    const { timersLateMs } = this.#around;
    const lateMs = timersLateMs === 0 ? 0 : this.#world.random.between(0, timersLateMs);
    this.#tickTimer.set(this.#world.now + Math.max(this.#tickPauseMs, at - wall) + lateMs);
  }
}
