/**
 * One machine of the simulator: its clock, its disk, what runs on it, its guard and its agent.
 *
 * A resource counts as up from the first moment its start script runs until its stop has succeeded: that is when it could do harm.
 */
import type { DownMessage, Report } from '../../schemas/wire.ts';
import { Agent } from './agent.ts';
import type { LanMessage } from './agent-lan.ts';
import { HostClock } from './clock.ts';
import { type Disk, emptyDisk } from './disk.ts';
import { Guard } from './guard.ts';
import type { World } from './world.ts';

/** An action of a resource, as a process on this host. */
export interface Operation {
  readonly group: string;
  /** Ends it as a signal would; its outcome is then a failure. */
  readonly abort: () => void;
  /** The processes are gone. */
  readonly kill: () => void;
}

const NO_TROUBLES = {
  /** Starts fail this often. */
  startFails: 0,
  /** Stops hang this often, also forced ones: only the guard helps. */
  stopHangs: 0,
  /** Resources die by themselves this often, once per monitor. */
  dies: 0,
  /** A durable write takes at most so long. */
  persistMs: 20,
  diskFails: false,
  /** The agent may lose the processor for so long between any two steps. */
  busyMs: 0,
  /** It is stopped (SIGSTOP) this often between two steps, … */
  freezes: 0,
  /** … or ends there. */
  crashes: 0,
  /** The guard is as late as it may be. */
  guardLate: false,
};

/** How the host reaches others. */
export interface Wires {
  readonly report: (from: Host, report: Report) => void;
  /** To whoever has this address. */
  readonly lan: (from: Host, address: string, message: LanMessage) => void;
}

export class Host {
  readonly world: World;
  /** Of the machine, also its address in the LAN. */
  readonly name: string;
  /** Who it says it is: a clone has the name of another. */
  readonly node: string;
  readonly wires: Wires;
  readonly clock: HostClock;
  readonly disk: Disk;
  readonly troubles = { ...NO_TROUBLES };
  /** Groups that the policy of the node forbids. */
  readonly refuses = new Set<string>();
  readonly #operations = new Set<Operation>();
  #held: (() => void)[] = [];
  #boots = 0;
  #sequence = 0;
  #incarnations = 0;
  guard: Guard | undefined;
  agent: Agent | undefined;
  powered = false;
  asleep = false;

  constructor(world: World, name: string, wires: Wires, original?: Host) {
    this.world = world;
    this.name = name;
    this.node = original?.node ?? name;
    this.wires = wires;
    this.clock = new HostClock(world);
    this.disk = original === undefined ? emptyDisk() : { ...original.disk };
  }

  /** Grows with every message to a peer, also over a restart of the agent (peer-sessions.ts). */
  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  newIncarnation(): string {
    this.#incarnations += 1;
    return `${this.name}-${this.#incarnations}`;
  }

  /** Now, or when the host has been woken. */
  whenAwake(act: () => void): void {
    if (this.asleep) this.#held.push(act);
    else act();
  }

  /** After that many milliseconds of this host's clock, if it is still the same boot. */
  afterOwn(ms: number, act: () => void): void {
    const boot = this.#boots;
    this.world.after(this.clock.trueMs(ms), () => {
      if (this.powered && this.#boots === boot) this.whenAwake(act);
    });
  }

  powerOn(): void {
    if (this.powered) return;
    this.powered = true;
    this.#boots += 1;
    this.clock.boot();
    this.world.note(this.name, () => 'boots');
    this.startAgent();
  }

  powerOff(): void {
    if (!this.powered) return;
    this.world.note(this.name, () => 'loses power');
    this.asleep = false;
    this.#held = [];
    this.killAgent('power', true);
    for (const operation of [...this.#operations]) operation.kill();
    this.powered = false;
    this.#loseGuard();
    this.#allDown();
    this.world.referee.wakes(this.name);
  }

  /** To memory: nothing runs, and the clock goes on. */
  suspend(): void {
    if (!this.powered || this.asleep) return;
    this.world.note(this.name, () => 'is suspended');
    this.asleep = true;
    this.world.referee.sleeps(this.name);
  }

  wake(): void {
    if (!this.asleep) return;
    this.world.note(this.name, () => 'wakes');
    this.asleep = false;
    this.guard?.wake();
    this.world.referee.wakes(this.name);
    const held = this.#held;
    this.#held = [];
    for (const act of held) this.whenAwake(act);
  }

  /** May it be suspended? Not while something is up that no guard answers for: after waking it would be up for a while. */
  get guarded(): boolean {
    const { guard, agent } = this;
    if (!this.powered || guard === undefined || agent?.ending === true) return false;
    return this.world.groups.every((group) => guard.groups.has(group) || !this.holdsAny(group));
  }

  /** The unit starts the agent again. */
  startAgent(): void {
    if (!this.powered || this.agent !== undefined) return;
    this.guard ??= new Guard(this);
    this.agent = Agent.start(this, this.guard);
  }

  /** @param withOperations its scripts die with it, as under the guard's hand; alone, they may go on. */
  killAgent(why: string, withOperations: boolean): void {
    const { agent } = this;
    if (agent === undefined) return;
    this.world.note(this.name, () => `agent ends: ${why}`);
    this.agent = undefined;
    agent.die();
    for (const operation of [...this.#operations])
      if (withOperations || this.world.random.chance(0.5)) operation.kill();
    this.afterOwn(this.world.random.between(100, 3_000), () => this.startAgent());
  }

  /** It is killed, and nobody protects what runs any more. */
  loseGuard(): void {
    const { agent } = this;
    this.world.note(this.name, () => 'the guard is lost');
    this.#loseGuard();
    agent?.onGuardLost();
  }

  #loseGuard(): void {
    if (this.guard !== undefined) this.guard.alive = false;
    this.guard = undefined;
  }

  receive(message: DownMessage): void {
    if (!this.asleep) this.agent?.receive(message);
  }

  changesWay(): void {
    if (!this.asleep) this.agent?.changesWay();
  }

  hear(message: LanMessage): void {
    if (!this.asleep) this.agent?.lan.receive(message);
  }

  holdsAny(group: string): boolean {
    return this.world.referee.on(group, this.name).length > 0;
  }

  /** The guard's own system calls. */
  forceDown(group: string): void {
    for (const operation of [...this.#operations]) if (operation.group === group) operation.kill();
    for (const resource of this.world.referee.on(group, this.name)) this.world.referee.down(group, resource, this.name);
  }

  #allDown(): void {
    for (const group of this.world.groups) this.forceDown(group);
  }

  /** A process that ends after its time, or is ended. */
  operate(group: string, ms: number, done: (ended: 'done' | 'aborted') => void): Operation {
    let open = true;
    const end = (ended: 'done' | 'aborted') => {
      if (!open) return;
      open = false;
      this.#operations.delete(operation);
      done(ended);
    };
    const operation: Operation = {
      group,
      abort: () => this.afterOwn(this.world.random.between(1, 5), () => end('aborted')),
      // its parent, where that lives, sees it end
      kill: () => end('aborted'),
    };
    this.#operations.add(operation);
    if (Number.isFinite(ms)) this.afterOwn(ms, () => end('done'));
    return operation;
  }

  /** The host is as it should be. */
  heal(): void {
    Object.assign(this.troubles, NO_TROUBLES);
    this.refuses.clear();
    this.powerOn();
    this.wake();
    this.agent?.process.resume();
    if (this.agent?.ending === true) {
      // a shutdown that has begun comes to its end
      this.powerOff();
      this.powerOn();
    }
    this.agent?.reconsider();
  }
}
