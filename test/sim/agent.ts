/**
 * The agent process of the storm: the real lease keeper (keep.ts), driven as loop.ts drives it. Every step between two waits is one
 * event, so the process can be stopped (SIGSTOP) or killed between any two of them; what is pending then happens when it goes on.
 */
import {
  compose,
  type KeepEffect,
  type KeepEvent,
  type KeepState,
  keep,
  nextDue,
  reportDue,
} from '../../node-agent/agent/keep.ts';
import type { GiveUp } from '../../node-agent/agent/run.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { DownMessage, GroupReport, NodeConfig, Report } from '../../schemas/wire.ts';
import type { Guard } from './guard.ts';
import type { Host } from './host.ts';
import { Runner } from './runner.ts';

export class Agent {
  readonly #host: Host;
  readonly guard: Guard;
  readonly incarnation: string;
  readonly #send: (report: Report, way: 'socket' | 'post') => void;
  readonly #runners = new Map<string, Runner>();
  readonly #armed = new Map<string, 'pending' | 'armed' | 'failed'>();
  readonly #told = new Map<string, readonly GroupReport[]>();
  readonly #acked = new Map<string, string>();
  #keep: KeepState;
  #timer = 0;
  #waiting: (() => void)[] | undefined;
  #ending = false;
  #reports = 0;
  dead = false;

  constructor(host: Host, guard: Guard, adopted: boolean, send: (report: Report, way: 'socket' | 'post') => void) {
    this.#host = host;
    this.guard = guard;
    this.incarnation = guard.incarnation ?? host.name;
    this.#send = send;
    const { disk } = host;
    const timing = disk.config?.timing ?? LEASE_PROFILES.default;
    const now = host.bootMs();
    if (!adopted && Object.keys(disk.epochs).length > 0) guard.quarantineEndMs = now + timing.promiseMs;
    this.#keep = {
      node: host.name,
      incarnation: this.incarnation,
      timing,
      revision: disk.config?.revision ?? 0,
      history: disk.history,
      epochs: disk.epochs,
      quarantineEndMs: guard.quarantineEndMs,
      held: Object.fromEntries(
        [...guard.groups].map(([group, lease]) => [
          group,
          {
            epoch: lease.epoch,
            voters: [],
            deadlineMs: lease.deadlineMs,
            phase: !lease.fired && now < lease.deadlineMs - timing.stopMs ? 'active' : 'lost',
          } as const,
        ]),
      ),
      claimable: new Set(),
      releases: {},
      observed: {},
      requests: {},
      nextReportMs: 0,
      unanswered: 0,
      unansweredSinceMs: 0,
      lastAnswerMs: now,
      toldInstance: null,
      instance: null,
    };
  }

  begin(): void {
    const { config, previous } = this.#host.disk;
    if (previous !== undefined) this.#configure(previous);
    if (config !== undefined) {
      this.#configure(config);
      if (previous !== undefined) this.#forgetPrevious(config);
    }
    for (const [group, held] of Object.entries(this.#keep.held)) {
      const runner = this.#runners.get(group);
      this.#armed.set(group, 'armed');
      if (held.phase === 'active') runner?.up(held.epoch);
      else runner?.down('forced');
    }
    for (const runner of this.#runners.values()) runner.apply({ type: 'tick' });
    this.#tick();
  }

  /** After that many milliseconds, as soon as the process runs; never, if it was killed. */
  later(ms: number, act: () => void): void {
    const whenAwake = () => {
      if (this.dead) return;
      if (this.#waiting === undefined) act();
      else this.#waiting.push(whenAwake);
    };
    this.#host.afterOwn(ms, whenAwake);
  }

  get paused(): boolean {
    return this.#waiting !== undefined;
  }

  get ending(): boolean {
    return this.#ending;
  }

  /** SIGSTOP. */
  pause(): void {
    this.#host.world.note(this.#host.name, () => 'agent is stopped (SIGSTOP)');
    this.#waiting ??= [];
  }

  /** SIGCONT: everything that came meanwhile happens now, in order. */
  resume(): void {
    const waiting = this.#waiting ?? [];
    if (this.dead || this.#waiting === undefined) return;
    this.#host.world.note(this.#host.name, () => 'agent goes on (SIGCONT)');
    this.#waiting = undefined;
    for (const act of waiting) act();
  }

  receive(message: DownMessage): void {
    this.later(0, () => {
      if (message.type === 'nudge') this.#decide({ type: 'nudge' });
      else if (message.type === 'renewals') this.#decide({ type: 'renewals', renewals: message.renewals });
      else {
        const told = this.#told.get(message.id);
        this.#told.delete(message.id);
        if (told !== undefined && message.problem === undefined) {
          if (message.instance !== this.#keep.instance) this.#acked.clear();
          for (const report of told) this.#acked.set(report.group, signature(report));
        }
        this.#decide({ type: 'reply', reply: message });
      }
    });
  }

  onGuardLost(): void {
    this.later(0, () => {
      this.#ending = true;
      for (const group of Object.keys(this.#keep.held)) this.#decide({ type: 'unprotected', group });
      this.#reconsider();
      this.#endWhenDown();
      this.later(1_500 + this.#keep.timing.stopMs, () => this.#host.killAgent('its guard was lost', true));
    });
  }

  /** The runner has stopped all it knows; what the guard knows beside that (of an older declaration) keeps the lease. */
  onDown(group: string, failure: GiveUp | undefined): void {
    const held = this.#keep.held[group];
    if (held === undefined) {
      this.#reconsider();
      return;
    }
    this.later(this.#host.world.random.between(0, 2), () => {
      if (this.#keep.held[group]?.epoch !== held.epoch) return;
      if (this.#armed.get(group) === 'pending') this.onDown(group, failure);
      else if (this.guard.alive && !this.guard.disarm(group, held.epoch)) this.#decide({ type: 'stuck', group });
      else {
        this.#armed.delete(group);
        this.#decide({ type: 'stopped', group, ...(failure === undefined ? {} : { failure }) });
      }
      this.#reconsider();
      this.#endWhenDown();
    });
  }

  onStuck(group: string): void {
    this.#host.world.count('stuck');
    this.#decide({ type: 'stuck', group });
  }

  onGroupChange(group: string): void {
    if (this.#keep.held[group] === undefined) return;
    const report = this.#runners.get(group)?.report();
    if (report === undefined || this.#acked.get(group) === signature(report)) return;
    if (this.#acked.get(group)?.startsWith(`${report.epoch} ${report.state} `) === true) return;
    this.#decide({ type: 'news' });
  }

  #endWhenDown(): void {
    if (this.#ending && Object.keys(this.#keep.held).length === 0 && Object.keys(this.#keep.releases).length === 0)
      this.later(1, () => this.#host.killAgent('its guard was lost', true));
  }

  #decide(event: KeepEvent): void {
    const outcome = keep(this.#keep, event, this.#host.bootMs());
    this.#keep = outcome.state;
    this.#carryOut(outcome.effects);
    this.#tick();
  }

  #tick(): void {
    const timer = ++this.#timer;
    const outcome = keep(this.#keep, { type: 'tick' }, this.#host.bootMs());
    this.#keep = outcome.state;
    this.#carryOut(outcome.effects);
    if (timer !== this.#timer) return;
    if (reportDue(this.#keep, this.#host.bootMs())) this.#report();
    const now = this.#host.bootMs();
    this.later(Math.max(1, nextDue(this.#keep, now) - now), () => {
      if (timer === this.#timer) this.#tick();
    });
  }

  #report(): void {
    const changed = [...this.#runners.values()]
      .filter((runner) => this.#keep.held[runner.name] !== undefined)
      .map((runner) => runner.report())
      .filter((report) => this.#acked.get(report.group) !== signature(report));
    const attempt = this.#keep.unanswered;
    const id = `${this.incarnation}.${this.#host.world.now.toFixed(3)}.${++this.#reports}`;
    const retiring = this.#ending && Object.keys(this.#keep.held).length === 0;
    const extras = { ...(changed.length > 0 ? { groups: changed } : {}), ...(retiring ? { retiring } : {}) };
    const composed = compose(this.#keep, id, '0.1.0', extras, this.#host.bootMs());
    this.#keep = composed.state;
    this.#told.set(id, changed);
    for (const old of this.#told.keys()) if (this.#keep.requests[old] === undefined) this.#told.delete(old);
    // the process may lose the processor before the first byte leaves
    this.later(this.#host.world.random.between(0, 2), () => {
      this.#send(composed.report, 'socket');
      if (attempt > 0) this.#send(composed.report, 'post');
    });
  }

  #carryOut(effects: readonly KeepEffect[]): void {
    let persistedAfterMs = 0;
    for (const effect of effects) {
      switch (effect.kind) {
        case 'persist': {
          const { random } = this.#host.world;
          persistedAfterMs = random.between(1, this.#host.troubles.persistMs);
          this.later(persistedAfterMs, () => {
            this.#host.disk.history = effect.history;
            this.#host.disk.epochs = effect.epochs;
          });
          break;
        }
        case 'arm':
          this.#armed.set(effect.group, 'pending');
          this.later(persistedAfterMs + this.#host.world.random.between(0, 3), () => {
            const { group, epoch, deadlineMs, fireMs } = effect;
            const problem = this.guard.alive ? this.guard.arm(group, epoch, deadlineMs, fireMs) : 'lost';
            this.#armed.set(group, problem === undefined ? 'armed' : 'failed');
            this.later(this.#host.world.random.between(0, 3), () => this.#start(group, epoch, problem));
          });
          break;
        case 'run':
          // follows the arming
          break;
        case 'pet':
          this.#pet(effect);
          break;
        case 'stop':
          this.#runners.get(effect.group)?.down(effect.how);
          break;
        case 'configure':
          this.later(this.#host.world.random.between(1, 40), () => {
            this.#save(effect.config);
            this.#configure(effect.config);
            this.#decide({ type: 'news' });
          });
          break;
        case 'lost':
          this.#host.world.count('lease lost');
          this.#host.world.note(
            this.#host.name,
            () => `lease of ${effect.group} epoch ${effect.epoch} lost: ${effect.why}`,
          );
          break;
        case 'refused':
        case 'reconnected':
          break;
        default:
          effect satisfies never;
      }
    }
  }

  #start(group: string, epoch: number, problem: string | undefined): void {
    const held = this.#keep.held[group];
    const runner = this.#runners.get(group);
    if (problem !== undefined)
      runner?.giveUp({ resource: 'guard', severity: 'soft', reason: `not started: ${problem}` });
    else if (held?.epoch === epoch && held.phase === 'active') runner?.up(epoch);
  }

  #pet(effect: Extract<KeepEffect, { kind: 'pet' }>): void {
    const { group, epoch, deadlineMs, fireMs } = effect;
    this.later(this.#host.world.random.between(0, 2), () => {
      if (this.#armed.get(group) === 'pending') {
        this.#pet(effect);
        return;
      }
      const problem = this.guard.alive ? this.guard.pet(group, epoch, deadlineMs, fireMs) : 'lost';
      if (problem !== undefined && this.#keep.held[group]?.epoch === epoch)
        this.#decide({ type: 'unprotected', group });
    });
  }

  #configure(config: NodeConfig): void {
    for (const { name, resources } of config.groups) {
      const ids = resources.map((resource) => resource.id);
      const runner = this.#runners.get(name);
      if (runner !== undefined) runner.declare(ids);
      else {
        const made = new Runner(this, this.#host, name, ids);
        this.#runners.set(name, made);
        made.apply({ type: 'tick' });
      }
    }
    this.#reconsider();
  }

  /** Both are kept until what the new one leaves out has been stopped: an agent that starts anew must know of everything. */
  #save(config: NodeConfig): void {
    const { disk } = this.#host;
    disk.previous ??= disk.config;
    disk.config = config;
    this.#forgetPrevious(config);
  }

  #forgetPrevious(config: NodeConfig): void {
    this.later(200, () => {
      if (this.#host.disk.config !== config) return;
      if ([...this.#runners.values()].every((runner) => runner.adopted)) this.#host.disk.previous = undefined;
      else this.#forgetPrevious(config);
    });
  }

  #reconsider(): void {
    const down = [...this.#runners.values()].filter((runner) => runner.isDown && !this.#ending);
    this.#decide({ type: 'claimable', groups: new Set(down.map((runner) => runner.name)) });
  }
}

function signature(report: GroupReport): string {
  const { forMs: _since, epoch, state, ...rest } = report;
  return `${epoch} ${state} ${JSON.stringify(rest)}`;
}
