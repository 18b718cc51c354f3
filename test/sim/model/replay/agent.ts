/** One agent process with what outlives it, as loop.ts and beginning.ts drive the lease keeper. */
import { heldBy } from '../../../../node-agent/agent/fuse.ts';
import { type KeepEffect, type KeepEvent, type KeepState, keep, newKeep } from '../../../../node-agent/agent/keep.ts';
import { runningPromise } from '../../../../node-agent/agent/keep-promises.ts';
import type { LeaseTiming } from '../../../../schemas/limits.ts';
import type { PeerAsk } from '../../../../schemas/peer.ts';
import type { Reply } from '../../../../schemas/wire.ts';
import { GROUP, Guard, OutOfOrder } from './guard.ts';

export type Ask = Pick<PeerAsk, 'id' | 'from' | 'leaseMs' | 'leases'>;
export type Answer = Extract<KeepEffect, { kind: 'answer' }>;

export class Agent {
  readonly name: string;
  readonly on: readonly string[];
  readonly timing: LeaseTiming;
  readonly guard = new Guard();
  /** Undefined while none runs. A paused one keeps its state and does nothing. */
  keep: KeepState | undefined;
  paused = false;
  incarnation: string;
  process = 0;
  #boots = 1;
  /** What a runner would have made of the keeper’s orders. */
  group: 'down' | 'starting' | 'up' = 'down';
  /** A lease, or other voters, on their way into the guard. */
  #arming: Extract<KeepEffect, { kind: 'arm' }> | undefined;
  #answers: readonly Answer[] = [];
  /** Its guard takes until the start to have a lease that was taken up: an agent that is killed before has not taken it up. */
  slow = false;
  /** It promises also while a claim of its own is under way, so that what a grant then meets with is tried as well. */
  bold = false;
  /** Its lease may be shorter than in the model, see lockstep.ts `#align`. */
  shortened = false;

  constructor(name: string, on: readonly string[], timing: LeaseTiming, nowMs: number) {
    this.name = name;
    this.on = on;
    this.timing = timing;
    this.incarnation = `${name}-1`;
    this.startAgent(nowMs);
  }

  /** @returns what puts everything back as it is now. */
  save(): () => void {
    const { keep, paused, process, incarnation, group, slow, bold, shortened } = this;
    const guard = this.guard.save();
    const boots = this.#boots;
    const arming = this.#arming;
    const answers = this.#answers;
    return () => {
      Object.assign(this, { keep, paused, process, incarnation, group, slow, bold, shortened });
      guard();
      this.#boots = boots;
      this.#arming = arming;
      this.#answers = answers;
    };
  }

  get runs(): boolean {
    return this.keep !== undefined && !this.paused;
  }

  get held() {
    return this.keep?.held[GROUP];
  }

  /** The lease that it acts upon. */
  get active() {
    const { held } = this;
    return held?.phase === 'active' ? held : undefined;
  }

  /** What keeps it out of the group. */
  promise(nowMs: number) {
    if (this.keep !== undefined) return runningPromise(this.keep, GROUP, nowMs);
    const { promised } = this.guard;
    return promised !== undefined && nowMs < promised.untilMs ? promised : undefined;
  }

  /** As beginning.ts does: what the guard has is held and promised. */
  startAgent(nowMs: number): void {
    const { history, epochs, promiseMs, coordinator } = this.guard.disk;
    const found = this.guard.state(this.incarnation, nowMs);
    this.process += 1;
    this.shortened = true;
    this.keep = {
      ...newKeep(
        {
          node: this.name,
          incarnation: this.incarnation,
          timing: this.timing,
          revision: 1,
          groups: { [GROUP]: { on: this.on, requiresUplink: false } },
          history,
          epochs,
          coordinator,
          promises: Object.fromEntries(found.promises),
          longestPromise: { ms: promiseMs, untilMs: nowMs + promiseMs },
          quarantineEndMs: this.guard.quarantineEndMs,
          held: heldBy(found, nowMs, this.timing.stopMs),
        },
        nowMs,
      ),
      claimable: new Set([GROUP]),
    };
  }

  killed(): void {
    this.keep = undefined;
    this.paused = false;
    this.#arming = undefined;
  }

  beginIncarnation(nowMs: number): void {
    this.#boots += 1;
    this.incarnation = `${this.name}-${this.#boots}`;
    this.guard.begin(nowMs + Math.max(this.timing.promiseMs, this.guard.disk.promiseMs));
    this.startAgent(nowMs);
  }

  /** As loop.ts does: a tick follows whatever happens. What is armed is in the guard when that says so: see `settle`. */
  does(event: KeepEvent, nowMs: number): void {
    for (const next of [event, { type: 'tick' } as const]) {
      if (this.keep === undefined) return;
      const outcome = keep(this.keep, next, nowMs);
      this.keep = outcome.state;
      for (const effect of outcome.effects) this.#carryOut(effect, nowMs);
    }
  }

  /** The guard has the voters, or the whole lease; the keeper hears of it. */
  settle(nowMs: number): void {
    const arming = this.#arming;
    if (arming === undefined) return;
    this.#arming = undefined;
    if (this.held?.epoch !== arming.epoch) return;
    this.guard.arm(arming);
    this.does({ type: 'kept', group: GROUP, epoch: arming.epoch, version: arming.voters.version }, nowMs);
  }

  #carryOut(effect: KeepEffect, nowMs: number): void {
    switch (effect.kind) {
      case 'stop':
        this.group = 'down';
        break;
      case 'persist':
        this.guard.persist(effect);
        break;
      case 'arm':
        if ((this.guard.disk.epochs[GROUP] ?? 0) < effect.epoch)
          throw new OutOfOrder(`${this.name} arms epoch ${effect.epoch} before it is on disk`);
        this.#arming = effect;
        break;
      case 'run':
        if (this.#arming?.epoch !== effect.epoch)
          throw new OutOfOrder(`${this.name} is to run epoch ${effect.epoch}, which is not being armed`);
        break;
      case 'pet':
        this.#pet(effect);
        break;
      case 'promise':
        this.guard.promise(effect, nowMs);
        break;
      case 'answer':
        this.guard.mayAnswer(effect, nowMs);
        this.#answers = [...this.#answers.slice(-3), effect];
        break;
      default:
    }
  }

  /** A pet waits for its lease to be armed (fuse.ts). */
  #pet(effect: Extract<KeepEffect, { kind: 'pet' }>): void {
    const arming = this.#arming;
    if (this.guard.lease?.epoch === effect.epoch || arming?.epoch !== effect.epoch) this.guard.pet(effect);
    else this.#arming = { ...arming, deadlineMs: effect.deadlineMs, fireMs: effect.fireMs };
  }

  /** A peer asks. @returns its answer. */
  asked(ask: Ask, nowMs: number): Answer | undefined {
    if (this.bold && this.keep !== undefined) {
      const unclaimed = [...this.keep.requests].map(([id, request]) => [id, { ...request, claims: [] }] as const);
      this.keep = { ...this.keep, requests: new Map(unclaimed) };
    }
    this.does({ type: 'ask', ask }, nowMs);
    return this.#answers.findLast(({ id }) => id === ask.id);
  }

  /** Does this change nothing at all? */
  ignores(event: KeepEvent, nowMs: number): boolean {
    return this.keep === undefined || keep(this.keep, event, nowMs).state === this.keep;
  }

  /** Would it take up this grant? Nothing is changed. */
  wouldAdopt(reply: Reply, nowMs: number): boolean {
    if (this.keep === undefined || this.held !== undefined) return false;
    return keep(this.keep, { type: 'reply', reply }, nowMs).state.held[GROUP] !== undefined;
  }
}
