/** One group on a host of the simulator: the real runner (run.ts) with resources that are made of chance, driven as group.ts drives it. */
import {
  allStopped,
  type Declared,
  type GiveUp,
  groupReport,
  newRun,
  type RunEffect,
  type RunEvent,
  type RunOutcome,
  type RunState,
  run,
  runDue,
} from '../../node-agent/agent/run.ts';
import { handsOff } from '../../node-agent/agent/run-state.ts';
import type { GroupReport, NodeGroup } from '../../schemas/wire.ts';
import type { Agent } from './agent.ts';
import type { Host, Operation } from './host.ts';
import { Violation } from './referee.ts';
import { Timer } from './world.ts';

interface Action {
  readonly effect: Extract<RunEffect, { kind: 'probe' | 'start' | 'repair' | 'stop' }>;
  calledOff: boolean;
  operation: Operation | undefined;
}

/** Times of the actions, ms: longer than some leases, so that a lease may end under any of them. */
const TIMES = { startMs: 3_000, stopMs: 2_500, monitorMs: 1_000, monitorIntervalMs: 10_000 };

type Resources = NodeGroup['resources'];

function declaredOf(group: string, resources: Resources): Declared[] {
  return resources.map(({ id, policy }) => ({
    key: `${group}/${id}`,
    id,
    times: TIMES,
    policy,
    repairable: id === 'ip',
  }));
}

export class Runner {
  readonly name: string;
  readonly #host: Host;
  readonly #agent: Agent;
  readonly #queues = new Map<string, Action[]>();
  readonly #timer: Timer;
  #state: RunState;
  #reported: { readonly state: RunState; readonly signature: string } | undefined;
  #applying = false;
  readonly #waiting: RunEvent[] = [];

  constructor(agent: Agent, host: Host, name: string, resources: Resources) {
    this.name = name;
    this.#host = host;
    this.#agent = agent;
    this.#state = newRun(name, declaredOf(name, resources), host.clock.bootMs());
    this.#timer = new Timer(host.world, () => agent.process.act(() => this.apply({ type: 'tick' })));
  }

  /** An effect that was decided earlier is never carried out after one that was decided later. */
  apply(event: RunEvent): void {
    this.#waiting.push(event);
    if (this.#applying) return;
    this.#applying = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) this.#applyOne(next);
    this.#applying = false;
  }

  #applyOne(event: RunEvent): void {
    if (this.#agent.process.dead) return;
    const before = this.#state;
    const nowMs = this.#host.clock.bootMs();
    const outcome = run(before, event, nowMs);
    this.#state = outcome.state;
    this.#assertHandsOff(before, outcome);
    for (const effect of outcome.effects) this.#carryOut(effect);
    this.#schedule(nowMs);
    if (outcome.state !== before) this.#agent.onGroupChange(this);
  }

  down(how: 'graceful' | 'forced'): void {
    this.apply({ type: 'want', want: how === 'graceful' ? 'down' : 'down-now', epoch: this.#state.epoch });
  }

  up(epoch: number, paused: boolean): void {
    this.apply({ type: 'want', want: 'up', epoch, paused });
  }

  giveUp(failure: GiveUp): void {
    this.apply({ type: 'give-up', failure });
  }

  declare(resources: Resources): void {
    this.apply({ type: 'declare', resources: declaredOf(this.name, resources) });
  }

  get isDown(): boolean {
    return this.#state.want !== 'up' && this.#state.settled && allStopped(this.#state);
  }

  get isWanted(): boolean {
    return this.#state.want === 'up';
  }

  /** A new declaration waits until what it changes has been stopped. */
  get pending(): boolean {
    return this.#state.next !== undefined;
  }

  report(): GroupReport {
    return groupReport(this.#state, this.#host.clock.bootMs());
  }

  /** All of a report but the time that passes. */
  get signature(): string {
    const known = this.#reported;
    if (known?.state === this.#state) return known.signature;
    const { forMs: _since, epoch, state, ...rest } = this.report();
    const signature = `${epoch} ${state} ${JSON.stringify(rest)}`;
    this.#reported = { state: this.#state, signature };
    return signature;
  }

  /** A group that is paused or on hold is only looked at, from one moment to the next in which it still is. */
  #assertHandsOff(before: RunState, { state, effects }: RunOutcome): void {
    if (handsOff(before) === undefined || handsOff(state) === undefined) return;
    this.#host.world.count('hands off');
    for (const { kind } of effects)
      if (kind === 'start' || kind === 'stop' || kind === 'repair')
        throw new Violation(`${this.name} is ${handsOff(before)} on ${this.#host.name}, and asks for a ${kind}`);
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
        this.#agent.onStuck(this.name, effect.reason);
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
        if (queue.length === 1) this.#agent.process.later(0, () => this.#next(effect.key));
        return;
      }
      default:
        effect satisfies never;
    }
  }

  #next(key: string): void {
    const action = this.#queues.get(key)?.[0];
    if (action === undefined) return;
    if (action.effect.kind !== 'start') {
      this.#operate(action);
      return;
    }
    // what a start makes exclusive is known to the guard before it begins; between the two the process may lose the processor, too
    this.#agent.process.soon(() => {
      const { guard } = this.#agent;
      const problem = guard.alive ? guard.hold(this.name) : 'lost';
      if (problem === undefined) this.#agent.process.soon(() => this.#operate(action));
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
    const hangs =
      effect.kind === 'stop' && this.#agent.guard.alive && this.isUp(id) && random.chance(troubles.stopHangs);
    const takesMs = hangs ? Number.POSITIVE_INFINITY : durationOf(effect, random.next());
    const fails = effect.kind === 'start' && random.chance(troubles.startFails);
    if (effect.kind === 'start' || effect.kind === 'repair') this.#begins(effect.kind, id);
    const timeLimit = Math.min(takesMs, effect.timeoutMs);
    action.operation = this.#host.operate(this.name, timeLimit, (ended) => {
      const ok = ended === 'done' && takesMs <= effect.timeoutMs && !fails;
      if (effect.kind === 'stop' && ok) referee.down(this.name, id, host);
      this.#agent.process.act(() => this.#end(action, this.#outcome(effect, id, ok)));
    });
    if (action.calledOff) action.operation.abort();
    if (effect.kind === 'probe' && effect.recurring && random.chance(troubles.dies)) referee.down(this.name, id, host);
  }

  /** From now on it could do harm. */
  #begins(kind: 'start' | 'repair', id: string): void {
    const { world, name: host, node, disk } = this.#host;
    const { guard, incarnation } = this.#agent;
    const { epoch } = this.#state;
    // what was taken away is put back under the lease by which it was started
    const armed = kind === 'start' ? guard.groups.get(this.name)?.epoch : epoch;
    const onDisk = disk.epochs.epochs[this.name] ?? 0;
    world.referee.up(this.name, id, { epoch, host, node, incarnation, armed, onDisk });
  }

  #outcome(effect: Action['effect'], id: string, ok: boolean): RunEvent {
    const { key } = effect;
    if (effect.kind === 'probe')
      return {
        type: 'probed',
        key,
        probe: ok
          ? { state: this.isUp(id) ? 'running' : 'stopped' }
          : { state: 'failed', severity: 'soft', reason: 'monitor' },
      };
    const outcome = ok ? ({ ok: true } as const) : ({ ok: false, severity: 'soft', reason: 'failed' } as const);
    if (effect.kind === 'start') return { type: 'started', key, outcome };
    if (effect.kind === 'repair') return { type: 'repaired', key, outcome };
    return { type: 'stopped', key, rung: effect.rung, outcome };
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

  #schedule(nowMs: number): void {
    const due = runDue(this.#state, nowMs);
    const { world, clock } = this.#host;
    this.#timer.set(
      due === undefined ? Number.POSITIVE_INFINITY : world.now + clock.trueMs(Math.max(1, due - nowMs + 1)),
    );
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
