/** The agent of the simulator: the real lease keeper (keep.ts), driven as loop.ts drives it, in the same order. */
import {
  askDue,
  attemptOf,
  type KeepEffect,
  type KeepEvent,
  type KeepState,
  nextDue,
  reportDue,
} from '../../node-agent/agent/keep.ts';
import type { GiveUp } from '../../node-agent/agent/run.ts';
import type { DownMessage, Reply } from '../../schemas/wire.ts';
import { Groups } from './agent-groups.ts';
import { Lan } from './agent-lan.ts';
import { Leases } from './agent-leases.ts';
import { Telling } from './agent-telling.ts';
import { beginning } from './beginning.ts';
import type { Ending } from './disk.ts';
import type { Guard } from './guard.ts';
import type { Host } from './host.ts';
import { Process } from './process.ts';
import { Violation } from './referee.ts';
import type { Runner } from './runner.ts';
import { observeEffect, observeGrant } from './sights.ts';
import { Timer } from './world.ts';

const LAST_WORDS_MS = 1_500;
const REPORT_GAP_MS = 10;
const ENDPOINT_KEY = 'k'.repeat(43);

/** Why the agent is to end, and what follows. */
interface End {
  readonly guardLost: boolean;
  readonly finish: () => void;
}

export class Agent {
  readonly #host: Host;
  readonly guard: Guard;
  readonly process: Process;
  readonly lan: Lan;
  readonly groups: Groups;
  readonly #leases: Leases;
  readonly #telling: Telling;
  readonly #timer: Timer;
  #keep: KeepState;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #end: End | undefined;
  #retired = false;

  static start(host: Host, guard: Guard): Agent {
    const agent = new Agent(host, guard);
    agent.#begin();
    return agent;
  }

  private constructor(host: Host, guard: Guard) {
    this.#host = host;
    this.guard = guard;
    this.process = new Process(host);
    this.#keep = beginning(host, guard);
    this.groups = new Groups(host, this);
    this.lan = new Lan(host, this);
    this.#leases = new Leases(host, this);
    this.#telling = new Telling({ addresses: [host.name], port: 7480, key: ENDPOINT_KEY });
    this.#timer = new Timer(host.world, () => this.process.act(() => this.#tick()));
  }

  get incarnation(): string {
    return this.#keep.incarnation;
  }

  get keep(): KeepState {
    return this.#keep;
  }

  /** It goes down on purpose. */
  get ending(): boolean {
    return this.#end !== undefined;
  }

  holds(group: string): boolean {
    return this.#keep.held[group] !== undefined;
  }

  #begin(): void {
    const { config } = this.#host.disk;
    if (config !== undefined) this.groups.restore(config);
    for (const [group, held] of Object.entries(this.#keep.held)) this.#takeUp(group, held);
    this.groups.begin();
    this.#tick();
  }

  /** A lease that the guard remembers: it goes on, or what of it is still here is ended. */
  #takeUp(group: string, held: KeepState['held'][string]): void {
    const runner = this.groups.get(group);
    if (held.phase === 'active' && runner !== undefined && !this.#host.refuses.has(group)) {
      runner.up(held.epoch, held.paused ?? false);
      return;
    }
    this.decide({ type: 'unprotected', group, why: 'this agent has no plan for it that it may carry out' });
    if (runner !== undefined) runner.down('forced');
    else this.onDown(group, undefined);
  }

  /** It is killed. */
  die(): void {
    this.process.dead = true;
    this.#leases.abandon();
  }

  receive(message: DownMessage): void {
    this.process.act(() => {
      if (message.type === 'nudge') this.decide({ type: 'nudge' });
      else if (message.type === 'renewals') this.decide({ type: 'renewals', renewals: message.renewals });
      else this.#onReply(message);
    });
  }

  changesWay(): void {
    this.process.act(() => this.decide({ type: 'other-way' }));
  }

  #onReply(reply: Reply): void {
    if (reply.problem === undefined) this.#telling.answered(reply.id, reply.instance !== this.#keep.instance);
    if (reply.peers !== undefined) this.lan.learn(reply.peers);
    const before = this.#keep;
    this.decide({ type: 'reply', reply });
    if (reply.grants.length > 0) observeGrant(this.#host, before, this.#keep, reply);
    this.#endWhenDown();
  }

  /** The host goes down: everything here is to be handed over. @param down called when it is. */
  handOver(down: () => void): void {
    this.process.act(() => {
      if (this.#end !== undefined) return;
      this.#end = { guardLost: false, finish: down };
      this.decide({ type: 'leave' });
      this.reconsider();
      if (Object.keys(this.#keep.held).length === 0) this.#endWhenDown();
    });
  }

  onGuardLost(): void {
    this.process.act(() => {
      this.#end = { guardLost: true, finish: () => this.#host.killAgent('its guard was lost', true) };
      this.reconsider();
      for (const group of Object.keys(this.#keep.held))
        this.decide({ type: 'unprotected', group, why: 'the guard was lost' });
      this.#endWhenDown();
    });
  }

  /** Everything is down and told: the agent may end. */
  #endWhenDown(): void {
    const end = this.#end;
    if (end === undefined) return;
    const quiet = Object.keys(this.#keep.held).length === 0;
    if (quiet && this.#retired && Object.keys(this.#keep.releases).length === 0) this.process.later(1, end.finish);
    else if (quiet || end.guardLost) this.process.later(LAST_WORDS_MS + this.#keep.timing.stopMs, end.finish);
  }

  decide(event: KeepEvent): void {
    this.process.act(() => {
      const outcome = this.#host.world.product.keep(this.#keep, event, this.#host.clock.bootMs());
      this.#keep = outcome.state;
      this.#carryOut(outcome.effects);
      this.#tick();
    });
  }

  /** Sends what is due and sets the timer for what comes next. */
  #tick(): void {
    if (this.process.dead) return;
    const { world, clock } = this.#host;
    const outcome = world.product.keep(this.#keep, { type: 'tick' }, clock.bootMs());
    this.#keep = outcome.state;
    this.#carryOut(outcome.effects);
    const nowMs = clock.bootMs();
    const gapMs = this.#reportedAt + REPORT_GAP_MS - world.now;
    const due = reportDue(this.#keep, nowMs);
    if (due && gapMs <= 0) this.#report();
    this.#askVoters(due && gapMs <= 0);
    const waitMs = due && gapMs > 0 ? gapMs : nextDue(this.#keep, nowMs) - nowMs;
    this.#timer.set(world.now + clock.trueMs(Math.max(1, waitMs)));
  }

  /** With a report, or by themselves while nobody answers those. */
  #askVoters(reported: boolean): void {
    const { world, clock } = this.#host;
    const nowMs = clock.bootMs();
    const dueMs = askDue(this.#keep);
    if (dueMs === undefined || nowMs < dueMs || (!reported && this.#keep.unanswered <= 1)) return;
    const composed = world.product.composeAsks(this.#keep, () => world.newId(), nowMs);
    this.#keep = composed.state;
    // the process may lose the processor before the first byte leaves
    this.process.soon(() => {
      for (const question of composed.questions) this.lan.ask(question);
    });
  }

  #report(): void {
    const { world, clock } = this.#host;
    const nowMs = clock.bootMs();
    const id = world.newId();
    const told = this.#telling.next(id, this.#keep.held, this.groups.all(), this.groups.refusals());
    const attempt = attemptOf(this.#keep, nowMs);
    const retiring = this.#end !== undefined && Object.keys(this.#keep.held).length === 0;
    this.#retired ||= retiring;
    const extras = { ...told, peers: this.lan.version, ...(retiring ? { retiring } : {}) };
    const composed = world.product.compose(this.#keep, id, '0.1.0', extras, nowMs);
    this.#keep = composed.state;
    this.#reportedAt = world.now;
    this.#telling.forgetAllBut(this.#keep.requests);
    this.process.soon(() => {
      // by WebSocket, and by HTTP as well when it is repeated
      this.#host.wires.report(this.#host, composed.report);
      if (attempt > 0) this.#host.wires.report(this.#host, composed.report);
    });
  }

  #carryOut(effects: readonly KeepEffect[]): void {
    const noted: Ending<boolean>[] = [];
    for (const effect of effects) {
      observeEffect(this.#host, this.#keep, effect);
      switch (effect.kind) {
        case 'persist':
          this.#leases.save(effect);
          break;
        case 'arm':
          this.#leases.arm(effect);
          break;
        case 'promise':
          noted.push(this.#leases.promise(effect));
          break;
        case 'answer':
          this.#leases.answer(effect, noted);
          break;
        case 'run':
          this.#leases.start(effect.group, effect.epoch);
          break;
        case 'pet':
          this.#leases.pet(effect);
          break;
        case 'stop':
          this.groups.get(effect.group)?.down(effect.how);
          break;
        case 'pause':
          this.groups.get(effect.group)?.apply({ type: 'pause', paused: effect.paused });
          break;
        case 'cleanup':
          this.groups.get(effect.group)?.apply({ type: 'cleanup', askedMs: effect.askedMs });
          break;
        case 'configure':
          this.groups.configure(effect.config);
          break;
        case 'alone':
        case 'lost':
        case 'refused':
        case 'reconnected':
          break;
        default:
          effect satisfies never;
      }
    }
  }

  /** The runner has stopped all it knows. O5: the lease is given back only when the guard finds nothing of it left. */
  onDown(group: string, failure: GiveUp | undefined): void {
    const epoch = this.#keep.held[group]?.epoch;
    if (epoch === undefined) {
      this.#settled(group);
      return;
    }
    this.decide({ type: 'closing', group });
    this.#leases.close(group, epoch).once((closing) => {
      if (closing === 'held') {
        this.onStuck(group, 'the guard finds something held after everything was stopped');
        return;
      }
      if (this.#keep.held[group]?.epoch === epoch) {
        if (this.groups.get(group)?.isWanted === true)
          throw new Violation(`${group} is given back by ${this.#host.name} while its runner is bringing it up`);
        this.decide({ type: 'stopped', group, ...(failure === undefined ? {} : { failure }) });
      }
      this.#settled(group);
    });
  }

  #settled(group: string): void {
    this.groups.settled(group);
    this.reconsider();
    this.#endWhenDown();
  }

  onStuck(group: string, reason: string): void {
    this.#host.world.count('stuck');
    this.groups.stuck(group, reason);
    this.decide({ type: 'stuck', group });
    this.decide({ type: 'news' });
  }

  onGroupChange(runner: Runner): void {
    this.groups.onChange();
    const held = this.#keep.held[runner.name];
    if (held !== undefined && this.#telling.isUrgent(runner, held)) this.decide({ type: 'news' });
  }

  /** The policy of the node has changed. */
  review(): void {
    this.process.act(() => {
      this.groups.review();
      this.reconsider();
    });
  }

  /** Which groups may be claimed, or are refused, may have changed. */
  reconsider(): void {
    this.process.act(() => {
      const groups = this.#end === undefined ? this.groups.claimable() : new Set<string>();
      this.decide({ type: 'claimable', groups });
      if (!this.#telling.refusalsAreKnown(this.groups.refusals())) this.decide({ type: 'news' });
    });
  }
}
