/**
 * The one way anything happens to a cluster: event → decide → store → effects. The state lives here; what of it is durable is
 * written before anyone is told, and the output gate holds every answer until the write is.
 *
 * Renewals, the hot path, are decided when they arrive and answered after a commit that they share (gathering.ts). Everything
 * else commits at once, together with whatever was gathered by then.
 */
import { BACKSTOP_ALARM_MS } from '../../schemas/limits.ts';
import type { Renewals, Reply, Report } from '../../schemas/wire.ts';
import {
  buildReply,
  type ClusterState,
  type CoordinatorEvent,
  type Durable,
  decide,
  type Effect,
  type NewEvent,
  newestRenewals,
  nextTick,
  type Outcome,
  type Verdicts,
} from '../decide/index.ts';
import { now } from './clock.ts';
import { Gathering } from './gathering.ts';
import type { ClusterStorage } from './storage.ts';

/**
 * The pause before a tick, however soon the decisions want it. It doubles with every tick that concluded nothing, so that a wish
 * that no tick can fulfil costs a tick a second and not a busy loop.
 */
const TICK_PAUSE_FIRST_MS = 5;
const TICK_PAUSE_LAST_MS = 1_000;
/** A tick that comes later than this after its time is no ordinary delay. */
const TICK_LATE_MS = TICK_PAUSE_LAST_MS + 200;
/** A timer for a later time would fire at once (its milliseconds are a signed 32-bit number); the tick is then merely early. */
const TICK_LONGEST_MS = 24 * 3_600_000;

/** What the engine needs of the object around it. */
export interface Surroundings {
  readonly storage: ClusterStorage;
  nudge(node: string): void;
  /** Tells a connected node which renewals are the newest. */
  tell(node: string, message: Renewals): void;
  /** Events were stored, operations may have advanced: whoever waits for them may look. */
  stored(): void;
  /** Sets the stored alarm this many milliseconds from now. */
  setAlarm(afterMs: number): void;
  /** A write failed: what is on disk is unknown, so this instance ends and the next one reads it. */
  abandon(reason: string): void;
}

interface PendingReply {
  readonly report: Report;
  readonly verdicts: Verdicts;
  readonly answer: (reply: Reply) => void;
}

type Timer = ReturnType<typeof setTimeout>;

/** More to store in the transaction of an event. */
export interface Extra {
  readonly document?: string;
  /** Further writes in the same transaction. */
  readonly write?: () => void;
}

export class Engine {
  readonly #around: Surroundings;
  readonly #gathering = new Gathering();
  #state: ClusterState;
  #stored: Durable;
  #effects: Effect[] = [];
  /** The renewals that every connected node knows of. */
  #told: ClusterState['volatile']['renewals'] = {};
  #pending: PendingReply[] = [];
  #commitTimer: { readonly timer: Timer; readonly due: number } | null = null;
  #tick: { readonly timer: Timer; readonly at: number } | null = null;
  /** When the next tick is due, as it was wanted after the last event. */
  #due: number | null = null;
  #tickPauseMs = TICK_PAUSE_FIRST_MS;
  #alarmArmed: boolean;

  /**
   * @param stored what is on disk.
   * @param outcome the state to begin with and what there is to do about it: of a restart (C4), or of a cluster just made.
   * @param alarmArmed whether an alarm is set already.
   */
  constructor(around: Surroundings, stored: Durable, outcome: Pick<Outcome, 'state' | 'effects'>, alarmArmed: boolean) {
    this.#around = around;
    this.#stored = stored;
    this.#state = outcome.state;
    this.#effects.push(...outcome.effects);
    // What has expired meanwhile is concluded before the alarm is thought of: otherwise each wake would set the next one for ever.
    this.#alarmArmed = true;
    this.#commit();
    this.tick();
    this.#alarmArmed = alarmArmed;
    this.#armAlarm();
  }

  get state(): ClusterState {
    return this.#state;
  }

  /** Decides an event and stores what it changes. @returns the outcome; a refused one changed and stored nothing but events. */
  perform(event: CoordinatorEvent, extra: Extra = {}): Outcome {
    this.#tickPauseMs = TICK_PAUSE_FIRST_MS;
    const outcome = this.#decide(event, now());
    if (outcome.refused === undefined) this.#commit(extra);
    else if (this.#dirty()) this.#commit();
    this.#schedule();
    return outcome;
  }

  /** Decides a report now; `answer` is called when its reply may leave, in the turn that wrote what it rests on. */
  report(report: Report, answer: (reply: Reply) => void): void {
    const at = now();
    const outcome = this.#decide({ type: 'report', report }, at);
    const verdicts = outcome.verdicts ?? { problem: undefined, leases: [], grants: [], refused: [] };
    if (verdicts.problem !== undefined && !this.#dirty()) {
      // Nothing is extended, so nothing has to be durable.
      answer(buildReply(this.#state, report, verdicts, at));
      this.#schedule();
      return;
    }
    this.#pending.push({ report, verdicts, answer });
    this.#commitWithin(verdicts.problem === undefined ? this.#gathering.patience(report, outcome, at) : 0);
    this.#schedule();
  }

  /** Time has passed. */
  tick(): void {
    const before = this.#effects.length;
    const { durable } = this.#state;
    this.#decide({ type: 'tick' }, now());
    const fruitful = this.#state.durable !== durable || this.#effects.length > before;
    this.#tickPauseMs = fruitful ? TICK_PAUSE_FIRST_MS : Math.min(2 * this.#tickPauseMs, TICK_PAUSE_LAST_MS);
    // Renewals that are being gathered need not be hurried by a tick that concluded nothing.
    if (fruitful) this.#commit();
    this.#schedule();
  }

  /** The stored alarm fired; it is set again for as long as a lease may run. */
  alarm(): void {
    this.#alarmArmed = false;
    try {
      this.tick();
    } finally {
      this.#armAlarm();
    }
  }

  /** Stores an event that is no decision, with further writes in the same transaction. */
  note(event: NewEvent, write: () => void): void {
    this.#effects.push({ kind: 'event', event });
    this.#commit({ write });
  }

  #decide(event: CoordinatorEvent, at: number): Outcome {
    const byMs = this.#due === null ? 0 : at - this.#due;
    this.#due = null;
    if (byMs > TICK_LATE_MS) this.#decide({ type: 'late', byMs }, at);
    const outcome = decide(this.#state, event, at);
    this.#state = outcome.state;
    this.#effects.push(...outcome.effects);
    return outcome;
  }

  #dirty(): boolean {
    return this.#state.durable !== this.#stored || this.#effects.length > 0;
  }

  /** Commits now (0), or when the most impatient of what is gathered has waited as long as it may. */
  #commitWithin(patienceMs: number): void {
    if (patienceMs === 0) {
      this.#commit();
      return;
    }
    const due = performance.now() + patienceMs;
    if (this.#commitTimer !== null && this.#commitTimer.due <= due) return;
    if (this.#commitTimer !== null) clearTimeout(this.#commitTimer.timer);
    this.#commitTimer = { timer: setTimeout(() => this.#commit(), patienceMs), due };
  }

  #commit(extra: Extra = {}): void {
    const pending = this.#pending;
    const effects = this.#effects;
    this.#pending = [];
    this.#effects = [];
    if (this.#commitTimer !== null) clearTimeout(this.#commitTimer.timer);
    this.#commitTimer = null;
    this.#store(effects, pending.length > 0, extra);
    const at = now();
    for (const { report, verdicts, answer } of pending) answer(buildReply(this.#state, report, verdicts, at));
    this.#tellOthers(new Set(pending.map(({ report }) => report.node)));
    const nudged = new Set(effects.flatMap((effect) => (effect.kind === 'nudge' ? [effect.node] : [])));
    for (const node of nudged) this.#around.nudge(node);
    if (effects.length > nudged.size) this.#around.stored();
    this.#armAlarm();
  }

  /** Nodes that had no reply from this commit learn of its renewals all the same: their wait for these leases begins now. */
  #tellOthers(answered: ReadonlySet<string>): void {
    const before = this.#told;
    this.#told = this.#state.volatile.renewals;
    if (this.#told === before) return;
    const renewed = Object.keys(this.#told).filter((group) => this.#told[group] !== before[group]);
    for (const node of Object.keys(this.#state.volatile.nodes)) {
      if (answered.has(node)) continue;
      const renewals = newestRenewals(this.#state, renewed, node);
      if (renewals.length > 0) this.#around.tell(node, { type: 'renewals', renewals });
    }
  }

  #store(effects: readonly Effect[], tick: boolean, { document, write }: Extra): void {
    const { storage } = this.#around;
    const before = this.#stored;
    const after = this.#state.durable;
    try {
      storage.transaction(() => {
        storage.save({
          before,
          after,
          effects,
          tick,
          ...(document === undefined ? {} : { document: { text: document, at: now() } }),
        });
        write?.();
      });
    } catch (error) {
      // An error means unknown, not undone: the row may be there all the same.
      this.#around.abandon(
        `storage failed, reading it anew: ${error instanceof Error ? error.message : String(error)}`,
      );
      throw error;
    }
    this.#stored = after;
  }

  /** The in-memory timer: exact, but only while the object is awake. */
  #schedule(): void {
    const at = nextTick(this.#state, now());
    this.#due = at;
    if (at === this.#tick?.at) return;
    if (this.#tick !== null) clearTimeout(this.#tick.timer);
    this.#tick = null;
    if (at === null) return;
    const timer = setTimeout(
      () => {
        this.#tick = null;
        this.tick();
      },
      Math.min(Math.max(this.#tickPauseMs, at - now()), TICK_LONGEST_MS),
    );
    this.#tick = { timer, at };
  }

  /** The backstop behind it: an alarm is a row written, so it is set rarely and only while a lease may have to expire. */
  #armAlarm(): void {
    if (this.#alarmArmed) return;
    const { durable, volatile } = this.#state;
    const mayExpire = Object.values(durable.groups).some(
      ({ name, lease }) => lease !== null && !lease.released && volatile.expired[name] !== lease.epoch,
    );
    if (!mayExpire) return;
    this.#alarmArmed = true;
    this.#around.setAlarm(BACKSTOP_ALARM_MS);
  }
}
