/**
 * One machine of the storm: its clock, its disk, what runs on it, its guard and its agent.
 *
 * A resource counts as up from the first moment its start script runs until its stop has succeeded: that is when it could do harm.
 */
import { CLOCK_GRANULARITY_MS } from '../../schemas/limits.ts';
import type { NodeConfig, Report } from '../../schemas/wire.ts';
import { Agent } from './agent.ts';
import { Guard } from './guard.ts';
import type { World } from './world.ts';

/** An action of a resource, as a process on this host. */
export interface Operation {
  readonly group: string;
  readonly resource: string;
  /** Ends it as a signal would; its outcome is then a failure. */
  readonly abort: () => void;
  /** The processes are gone and nobody hears of it. */
  readonly kill: () => void;
}

export interface Troubles {
  /** Starts fail this often. */
  startFails: number;
  /** Stops hang this often, also forced ones: only the guard helps. */
  stopHangs: number;
  /** Resources die by themselves this often, once per monitor. */
  dies: number;
  persistMs: number;
}

export interface Disk {
  history: string | null;
  epochs: Readonly<Record<string, number>>;
  config: NodeConfig | undefined;
  /** The one before, while something of it may still be up. */
  previous: NodeConfig | undefined;
}

export class Host {
  readonly world: World;
  readonly name: string;
  readonly #send: (report: Report, way: 'socket' | 'post') => void;
  readonly #rate: number;
  #bootedAt = 0;
  #bootOffset = 0;
  #boots = 0;
  #incarnations = 0;
  readonly #operations = new Set<Operation>();
  readonly disk: Disk = { history: null, epochs: {}, config: undefined, previous: undefined };
  readonly troubles: Troubles = { startFails: 0, stopHangs: 0, dies: 0, persistMs: 20 };
  guard: Guard | undefined;
  agent: Agent | undefined;
  powered = false;

  constructor(world: World, name: string, send: (report: Report, way: 'socket' | 'post') => void) {
    this.world = world;
    this.name = name;
    this.#send = send;
    this.#rate = world.random.pick([1 - 1e-3, 1, 1 + 1e-3]);
  }

  /** CLOCK_BOOTTIME, whole ms. */
  exactMs(): number {
    return Math.floor(this.#bootOffset + (this.world.now - this.#bootedAt) * this.#rate);
  }

  /** CLOCK_BOOTTIME as the agent reads it. */
  bootMs(): number {
    return Math.floor(this.exactMs() / CLOCK_GRANULARITY_MS) * CLOCK_GRANULARITY_MS;
  }

  /** After that many milliseconds of this host's clock, if it is still the same boot. */
  afterOwn(ms: number, act: () => void): void {
    const boot = this.#boots;
    this.world.after(ms / this.#rate, () => {
      if (this.powered && this.#boots === boot) act();
    });
  }

  powerOn(): void {
    if (this.powered) return;
    this.powered = true;
    this.#boots += 1;
    this.#bootedAt = this.world.now;
    this.#bootOffset = this.world.random.between(1_000, 20_000);
    this.world.note(this.name, () => 'boots');
    this.startAgent();
  }

  powerOff(): void {
    if (!this.powered) return;
    this.world.note(this.name, () => 'loses power');
    this.killAgent('power', true);
    for (const operation of [...this.#operations]) operation.kill();
    this.powered = false;
    this.guard = undefined;
    this.#allDown();
  }

  /** The unit starts the agent again. */
  startAgent(): void {
    if (!this.powered || this.agent !== undefined) return;
    this.guard ??= new Guard(this);
    const { guard } = this;
    const adopted = guard.incarnation !== undefined;
    if (!adopted) {
      this.#incarnations += 1;
      guard.incarnation = `${this.name}-${this.#incarnations}`;
    }
    this.world.note(
      this.name,
      () => `agent starts, ${adopted ? 'goes on as' : 'new incarnation'} ${guard.incarnation}`,
    );
    this.agent = new Agent(this, guard, adopted, this.#send);
    this.agent.begin();
  }

  /** @param withOperations its scripts die with it, as under the guard's hand; alone, they may go on. */
  killAgent(why: string, withOperations: boolean): void {
    const { agent } = this;
    if (agent === undefined) return;
    this.world.note(this.name, () => `agent ends: ${why}`);
    this.agent = undefined;
    agent.dead = true;
    for (const operation of [...this.#operations])
      if (withOperations || this.world.random.chance(0.5)) operation.kill();
    this.afterOwn(this.world.random.between(100, 3_000), () => this.startAgent());
  }

  loseGuard(): void {
    const { guard, agent } = this;
    if (guard === undefined || agent === undefined) return;
    this.world.note(this.name, () => 'the guard is lost');
    guard.alive = false;
    this.guard = undefined;
    agent.onGuardLost();
  }

  receive(message: Parameters<Agent['receive']>[0]): void {
    this.agent?.receive(message);
  }

  holdsAny(group: string): boolean {
    return this.world.referee.where(group).some(({ host }) => host === this.name);
  }

  /** The guard's own system calls. */
  forceDown(group: string): void {
    for (const operation of [...this.#operations]) if (operation.group === group) operation.kill();
    for (const { host, resources } of this.world.referee.where(group))
      if (host === this.name) for (const resource of resources) this.world.referee.down(group, resource, host);
  }

  #allDown(): void {
    for (const group of this.disk.config?.groups ?? []) this.forceDown(group.name);
  }

  /** A process that ends after its time, or is ended. */
  operate(group: string, resource: string, ms: number, done: (ended: 'done' | 'aborted') => void): Operation {
    let open = true;
    const end = (ended: 'done' | 'aborted' | undefined) => {
      if (!open) return;
      open = false;
      this.#operations.delete(operation);
      if (ended !== undefined) done(ended);
    };
    const operation: Operation = {
      group,
      resource,
      abort: () => this.afterOwn(this.world.random.between(1, 5), () => end('aborted')),
      kill: () => end(undefined),
    };
    this.#operations.add(operation);
    this.afterOwn(ms, () => end('done'));
    return operation;
  }
}
