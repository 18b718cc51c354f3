/**
 * One group on this node: carries out what its runner (run.ts) decides. Actions of one resource never overlap: a stop waits until the
 * start that was called off has really ended.
 */
import type { Copy } from '../../schemas/copies.ts';
import { MAX_TIMER_MS } from '../../schemas/limits.ts';
import type { GroupReport } from '../../schemas/wire.ts';
import { type GuardClient, GuardError } from '../guard/index.ts';
import type { Attendance, Outcome, Probe, Resource } from '../resources/index.ts';
import type { Log } from '../system/index.ts';
import { textOf } from '../system/index.ts';
import {
  allStopped,
  type Declared,
  type GiveUp,
  groupReport,
  newRun,
  type RunEffect,
  type RunEvent,
  type RunNews,
  type RunState,
  run,
  runDue,
} from './run.ts';
import { isLeftFailed, shownState } from './run-report.ts';

/** What a resource's own time-out is given beyond it, so that the reason names the time-out and what it ended. */
const OUTER_TIMEOUT_MARGIN_MS = 500;

export interface Planned {
  readonly declared: Declared;
  readonly resource: Resource;
}

export interface GroupOptions {
  readonly name: string;
  readonly guard: GuardClient;
  readonly now: () => number;
  readonly log: Log;
  readonly onNews: (news: RunNews) => void;
  /** Everything is verified to be down. */
  readonly onDown: (failure: GiveUp | undefined) => void;
  readonly onStuck: (reason: string) => void;
  /** What `report` says may have changed. */
  readonly onChange: () => void;
  /** What `copies` says has changed. */
  readonly onCopies?: () => void;
}

interface Slot {
  readonly resource: Resource;
  /** Ends when the last action queued for this resource has ended. */
  queue: Promise<void>;
  calledOff: AbortController;
  unwatch: (() => void) | undefined;
  /** Its standing work, from when it is known to when it is forgotten. */
  attendance: Attendance | undefined;
  copy: Copy | undefined;
}

export class Group {
  readonly name: string;
  readonly #options: GroupOptions;
  #state: RunState;
  #slots = new Map<string, Slot>();
  #timer: NodeJS.Timeout | undefined;
  #disposed = false;
  #applying = false;
  readonly #waiting: RunEvent[] = [];

  constructor(options: GroupOptions, plan: readonly Planned[]) {
    this.name = options.name;
    this.#options = options;
    this.#state = newRun(options.name, this.#adopt(plan), options.now());
  }

  /** Looks at everything for the first time; without a lease, stops what runs. */
  begin(): void {
    this.#apply({ type: 'tick' });
  }

  /** @param paused up, but only to look at what runs. */
  up(epoch: number, paused: boolean): void {
    this.#apply({ type: 'want', want: 'up', epoch, paused });
  }

  /** Starts, stops and mends nothing more, and goes on looking; or acts again. */
  pause(paused: boolean): void {
    this.#apply({ type: 'pause', paused });
  }

  /** A person has forgiven its failures. @param askedMs when the request left whose answer says so. */
  cleanup(askedMs: number): void {
    this.#apply({ type: 'cleanup', askedMs });
  }

  down(how: 'graceful' | 'forced'): void {
    this.#apply({ type: 'want', want: how === 'graceful' ? 'down' : 'down-now', epoch: this.#state.epoch });
  }

  giveUp(failure: GiveUp): void {
    this.#apply({ type: 'give-up', failure });
  }

  declare(plan: readonly Planned[]): void {
    this.#apply({ type: 'declare', resources: this.#adopt(plan) });
  }

  /** Verified to be down, and nothing in flight. */
  get isDown(): boolean {
    return this.#state.want !== 'up' && this.#state.settled && allStopped(this.#state);
  }

  /** A new declaration waits until what it changes has been stopped under the old one. */
  get pending(): boolean {
    return this.#state.next !== undefined;
  }

  report(): GroupReport {
    return groupReport(this.#state, this.#options.now());
  }

  /** Of replicated data, as they were last seen. */
  get copies(): Copy[] {
    return [...this.#slots.values()].flatMap(({ copy }) => (copy === undefined ? [] : [copy]));
  }

  /** Looks at every copy now. @returns whether each could be seen. */
  async lookAtCopies(): Promise<boolean> {
    const seen = await Promise.all([...this.#slots.values()].map(({ attendance }) => attendance?.look() ?? true));
    return seen.every((one) => one);
  }

  dispose(): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
    for (const slot of this.#slots.values()) {
      slot.calledOff.abort();
      slot.unwatch?.();
      slot.attendance?.end();
    }
  }

  #adopt(plan: readonly Planned[]): Declared[] {
    for (const { declared, resource } of plan)
      if (!this.#slots.has(declared.key)) {
        const slot: Slot = {
          resource,
          queue: Promise.resolve(),
          calledOff: new AbortController(),
          unwatch: undefined,
          attendance: undefined,
          copy: undefined,
        };
        this.#slots.set(declared.key, slot);
        slot.attendance = resource.attend?.((facts) => {
          const copy = { group: this.name, resource: declared.id, ...facts };
          if (JSON.stringify(copy) === JSON.stringify(slot.copy)) return;
          slot.copy = copy;
          if (!this.#disposed) this.#options.onCopies?.();
        });
      }
    return plan.map(({ declared }) => declared);
  }

  /**
   * Carrying out an effect may bring the next event about (what is reported may cost the lease). It waits its turn: an effect that was
   * decided earlier must never be carried out after one that was decided later.
   */
  #apply(event: RunEvent): void {
    if (this.#disposed) return;
    this.#waiting.push(event);
    if (this.#applying) return;
    this.#applying = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) this.#applyOne(next);
    } finally {
      this.#applying = false;
    }
  }

  #applyOne(event: RunEvent): void {
    if (this.#disposed) return;
    const before = this.#state;
    const nowMs = this.#options.now();
    const outcome = run(before, event, nowMs);
    this.#state = outcome.state;
    this.#watch();
    for (const effect of outcome.effects) this.#carryOut(effect);
    this.#forget();
    this.#schedule(nowMs);
    if (outcome.state !== before) this.#options.onChange();
  }

  #carryOut(effect: RunEffect): void {
    switch (effect.kind) {
      case 'event':
        this.#options.onNews(effect.event);
        return;
      case 'down':
        this.#options.onDown(effect.failure);
        return;
      case 'stuck':
        this.#options.onStuck(`${effect.id}: ${effect.reason}`);
        return;
      case 'abort':
        this.#slots.get(effect.key)?.calledOff.abort();
        return;
      case 'probe': {
        const { state: is } = this.#state.resources.find(({ key }) => key === effect.key) ?? {};
        const wasFailed = is !== undefined && isLeftFailed(is);
        this.#act(effect.key, effect.timeoutMs + OUTER_TIMEOUT_MARGIN_MS, async (resource, signal) => ({
          type: 'probed',
          key: effect.key,
          probe: await this.#probe(resource, effect.recurring, wasFailed, signal),
        }));
        return;
      }
      case 'start':
        this.#act(effect.key, effect.timeoutMs + OUTER_TIMEOUT_MARGIN_MS, async (resource, signal) => ({
          type: 'started',
          key: effect.key,
          outcome: await this.#protected(resource, () => resource.start(signal)),
        }));
        return;
      case 'repair':
        this.#act(effect.key, effect.timeoutMs, async (resource, signal) => ({
          type: 'repaired',
          key: effect.key,
          outcome: await (resource.repair?.(signal) ?? resource.start(signal)),
        }));
        return;
      case 'stop':
        // a forced stop has no time-out but this one
        this.#act(
          effect.key,
          effect.timeoutMs + (effect.rung === 'stop' ? OUTER_TIMEOUT_MARGIN_MS : 0),
          async (resource, signal) => ({
            type: 'stopped',
            key: effect.key,
            rung: effect.rung,
            outcome: await this.#released(
              resource,
              await (effect.rung === 'stop' ? resource.stop(signal) : resource.forceStop(signal)),
            ),
          }),
        );
        return;
      default:
        effect satisfies never;
    }
  }

  /** Queues an action behind the one that may still be ending, and feeds its outcome back. */
  #act(key: string, timeoutMs: number, action: (resource: Resource, signal: AbortSignal) => Promise<RunEvent>): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    const calledOff = new AbortController();
    slot.calledOff = calledOff;
    slot.queue = slot.queue.then(async () => {
      const signal = AbortSignal.any([calledOff.signal, AbortSignal.timeout(timeoutMs)]);
      try {
        this.#apply(await action(slot.resource, signal));
      } catch (error) {
        // A resource reports failures as outcomes; what is thrown is a defect, and must not pass for success.
        this.#options.log.warn(
          `${this.name}: ${slot.resource.id}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        );
        this.#giveUpOn(slot.resource, error);
      }
    });
  }

  #giveUpOn(resource: Resource, error: unknown): void {
    this.#apply({
      type: 'give-up',
      failure: {
        resource: resource.id,
        severity: 'hard',
        reason: `internal error: ${textOf(error)}`,
      },
    });
  }

  async #probe(resource: Resource, recurring: boolean, wasFailed: boolean, signal: AbortSignal): Promise<Probe> {
    const probe = await resource.probe({ recurring, signal });
    // Adopted under a lease: the guard must know what it would have to take away. What was not well may run elsewhere by now.
    if (probe.state === 'running' && (!recurring || wasFailed) && this.#state.want === 'up') {
      const held = await this.#hold(resource);
      if (!held.ok) return { state: 'failed', severity: held.severity, reason: held.reason };
    }
    return probe;
  }

  /** What a start makes exclusive is known to the guard before it begins (O4). */
  async #protected(resource: Resource, start: () => Promise<Outcome>): Promise<Outcome> {
    const held = await this.#hold(resource);
    return held.ok ? start() : held;
  }

  async #hold(resource: Resource): Promise<Outcome> {
    try {
      for (const holding of await resource.holdings()) await this.#options.guard.hold(this.name, holding);
      return { ok: true };
    } catch (error) {
      return {
        ok: false,
        severity: 'soft',
        reason: `the guard cannot protect it: ${textOf(error)}`,
      };
    }
  }

  /** A stop is believed when the guard too finds nothing left. */
  async #released(resource: Resource, outcome: Outcome): Promise<Outcome> {
    if (!outcome.ok) return outcome;
    try {
      for (const holding of await resource.holdings()) await this.#options.guard.unhold(this.name, holding);
      return outcome;
    } catch (error) {
      if (error instanceof GuardError && error.code === 'held')
        return { ok: false, severity: 'soft', reason: 'the guard finds it still held after the stop' };
      // no guard, no lease: then there is nothing to be let go of
      return outcome;
    }
  }

  #watch(): void {
    for (const resource of this.#state.resources) {
      const slot = this.#slots.get(resource.key);
      if (slot === undefined) continue;
      const runs = this.#state.want === 'up' && shownState(resource.state) === 'running';
      if (runs && slot.unwatch === undefined)
        slot.unwatch = slot.resource.watch((what) => this.#apply({ type: 'changed', key: resource.key, what }));
      if (!runs && slot.unwatch !== undefined) {
        slot.unwatch();
        slot.unwatch = undefined;
      }
    }
  }

  /** Resources that no declaration names any more. */
  #forget(): void {
    const named = new Set([...this.#state.resources, ...(this.#state.next ?? [])].map(({ key }) => key));
    for (const [key, slot] of this.#slots) {
      if (named.has(key)) continue;
      slot.unwatch?.();
      slot.attendance?.end();
      this.#slots.delete(key);
    }
  }

  #schedule(nowMs: number): void {
    clearTimeout(this.#timer);
    const due = runDue(this.#state, nowMs);
    if (due === undefined) return;
    const waitMs = Math.min(Math.max(1, due - this.#options.now() + 1), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.#apply({ type: 'tick' }), waitMs);
  }
}
