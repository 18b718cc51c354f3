/** One group on a host of the storm: the real runner (run.ts) with resources that are made of chance, driven as group.ts drives it. */
import {
  allStopped,
  type Declared,
  type GiveUp,
  groupReport,
  newRun,
  type RunEffect,
  type RunEvent,
  type RunState,
  run,
  runDue,
} from '../../node-agent/agent/run.ts';
import type { GroupReport } from '../../schemas/wire.ts';
import type { Agent } from './agent.ts';
import type { Host, Operation } from './host.ts';

interface Action {
  readonly effect: Extract<RunEffect, { kind: 'probe' | 'start' | 'repair' | 'stop' }>;
  calledOff: boolean;
  operation: Operation | undefined;
}

/** Times of the actions, ms: longer than some leases, so that a lease may end under any of them. */
const TIMES = { startMs: 3_000, stopMs: 2_500, monitorMs: 1_000, monitorIntervalMs: 10_000 };

export function declaredOf(group: string, id: string): Declared {
  return { key: `${group}/${id}`, id, times: TIMES, repairable: id === 'ip' };
}

export class Runner {
  readonly name: string;
  readonly #host: Host;
  readonly #agent: Agent;
  readonly #queues = new Map<string, Action[]>();
  #state: RunState;
  #timer = 0;

  constructor(agent: Agent, host: Host, name: string, resources: readonly string[]) {
    this.name = name;
    this.#host = host;
    this.#agent = agent;
    this.#state = newRun(
      name,
      resources.map((id) => declaredOf(name, id)),
      host.bootMs(),
    );
  }

  apply(event: RunEvent): void {
    const before = this.#state;
    const now = this.#host.bootMs();
    const outcome = run(before, event, now);
    this.#state = outcome.state;
    for (const effect of outcome.effects) this.#carryOut(effect);
    this.#schedule(now);
    if (outcome.state !== before) this.#agent.onGroupChange(this.name);
  }

  down(how: 'graceful' | 'forced'): void {
    this.apply({ type: 'want', want: how === 'graceful' ? 'down' : 'down-now', epoch: this.#state.epoch });
  }

  up(epoch: number): void {
    this.apply({ type: 'want', want: 'up', epoch });
  }

  giveUp(failure: GiveUp): void {
    this.apply({ type: 'give-up', failure });
  }

  declare(resources: readonly string[]): void {
    this.apply({ type: 'declare', resources: resources.map((id) => declaredOf(this.name, id)) });
  }

  get isDown(): boolean {
    return this.#state.want !== 'up' && this.#state.settled && allStopped(this.#state);
  }

  /** The newest declaration is in force. */
  get adopted(): boolean {
    return this.#state.next === undefined;
  }

  report(): GroupReport {
    return groupReport(this.#state, this.#host.bootMs());
  }

  #carryOut(effect: RunEffect): void {
    switch (effect.kind) {
      case 'event':
        this.#host.world.note(this.#host.name, () => `${this.name}: ${effect.event.kind} ${effect.event.detail}`);
        return;
      case 'down':
        this.#agent.onDown(this.name, effect.failure);
        return;
      case 'stuck':
        this.#agent.onStuck(this.name);
        return;
      case 'abort': {
        const last = this.#queues.get(effect.key)?.at(-1);
        if (last === undefined) return;
        last.calledOff = true;
        last.operation?.abort();
        return;
      }
      case 'probe':
      case 'start':
      case 'repair':
      case 'stop': {
        const queue = this.#queues.get(effect.key) ?? [];
        this.#queues.set(effect.key, queue);
        queue.push({ effect, calledOff: false, operation: undefined });
        if (queue.length === 1) this.#agent.later(0, () => this.#next(effect.key));
        return;
      }
      default:
        effect satisfies never;
    }
  }

  #next(key: string): void {
    const action = this.#queues.get(key)?.[0];
    if (action === undefined) return;
    const { effect } = action;
    const needsGuard = effect.kind === 'start';
    if (!needsGuard) {
      this.#operate(action);
      return;
    }
    // what a start makes exclusive is known to the guard before it begins
    this.#agent.later(this.#host.world.random.between(0, 3), () => {
      const problem = this.#agent.guard.alive ? this.#agent.guard.hold(this.name) : 'lost';
      if (problem === undefined) this.#operate(action);
      else
        this.#end(action, {
          type: 'started',
          key,
          outcome: { ok: false, severity: 'soft', reason: `the guard cannot protect it: ${problem}` },
        });
    });
  }

  #operate(action: Action): void {
    const { effect } = action;
    const { world, troubles, name: host } = this.#host;
    const { random, referee } = world;
    const id = effect.key.slice(this.name.length + 1);
    const failed = { ok: false, severity: 'soft', reason: 'failed' } as const;
    const hangs =
      effect.kind === 'stop' && this.#agent.guard.alive && this.isUp(id) && random.chance(troubles.stopHangs);
    const takesMs = hangs ? Number.POSITIVE_INFINITY : durationOf(effect, random.next());
    const fails = effect.kind === 'start' && random.chance(troubles.startFails);
    if (effect.kind === 'start' || effect.kind === 'repair')
      referee.up(this.name, id, {
        epoch: this.#state.epoch,
        host,
        incarnation: this.#agent.incarnation,
      });
    const timeLimit = Math.min(takesMs, effect.timeoutMs);
    action.operation = this.#host.operate(this.name, id, timeLimit, (ended) => {
      const ok = ended === 'done' && takesMs <= effect.timeoutMs && !fails;
      if (effect.kind === 'stop' && ok) referee.down(this.name, id, host);
      if (this.#agent.dead) return;
      this.#agent.later(0, () => this.#end(action, outcomeOf()));
      const outcomeOf = (): RunEvent => {
        const { key } = effect;
        if (effect.kind === 'probe')
          return {
            type: 'probed',
            key,
            probe: ok
              ? { state: this.isUp(id) ? 'running' : 'stopped' }
              : { state: 'failed', severity: 'soft', reason: 'monitor' },
          };
        const outcome = ok ? ({ ok: true } as const) : failed;
        if (effect.kind === 'start') return { type: 'started', key, outcome };
        if (effect.kind === 'repair') return { type: 'repaired', key, outcome };
        return { type: 'stopped', key, rung: effect.rung, outcome };
      };
    });
    if (action.calledOff) action.operation.abort();
    if (effect.kind === 'probe' && effect.recurring && random.chance(troubles.dies)) referee.down(this.name, id, host);
  }

  isUp(id: string): boolean {
    return this.#host.world.referee.isUp(this.name, id, this.#host.name);
  }

  #end(action: Action, event: RunEvent): void {
    const queue = this.#queues.get(action.effect.key);
    this.apply(event);
    queue?.shift();
    if (queue?.[0] !== undefined) this.#next(action.effect.key);
  }

  #schedule(now: number): void {
    const due = runDue(this.#state, now);
    const timer = ++this.#timer;
    if (due === undefined) return;
    this.#agent.later(Math.max(1, due - now + 1), () => {
      if (timer === this.#timer) this.apply({ type: 'tick' });
    });
  }
}

/** Mostly quick, sometimes beyond the time-out. */
function durationOf(effect: Action['effect'], chance: number): number {
  switch (effect.kind) {
    case 'probe':
      return 5 + 30 * chance;
    case 'start':
    case 'repair':
      return chance < 0.9 ? 20 + 300 * chance : chance * effect.timeoutMs * 1.05;
    case 'stop':
      if (effect.rung === 'force') return 5 + 200 * chance;
      return chance < 0.9 ? 20 + 300 * chance : chance * effect.timeoutMs * 1.05;
    default:
      return effect satisfies never;
  }
}
