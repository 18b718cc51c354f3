/**
 * The agent's process: every step between two waits is one event, so it can be stopped (SIGSTOP) or killed between any two of them; what is
 * pending then happens when it goes on, or never.
 */
import type { Host } from './host.ts';
import type { Random } from './random.ts';

export class Process {
  readonly host: Host;
  readonly random: Random;
  #waiting: (() => void)[] | undefined;
  dead = false;

  constructor(host: Host) {
    this.host = host;
    this.random = host.world.random;
  }

  get paused(): boolean {
    return this.#waiting !== undefined;
  }

  /** Now, or as soon as the process runs; never, if it is killed before. */
  act(act: () => void): void {
    if (this.dead) return;
    if (this.#waiting !== undefined) this.#waiting.push(act);
    else if (this.host.asleep) this.host.whenAwake(() => this.act(act));
    else act();
  }

  /** After that many milliseconds of the host's clock. */
  later(ms: number, act: () => void): void {
    this.host.world.after(this.host.clock.trueMs(ms), () => this.act(act));
  }

  /**
   * Between two steps that follow each other at once, unless the process loses the processor just there: then everything may happen in
   * between.
   */
  soon(act: () => void): void {
    const { busyMs, freezes, crashes } = this.host.troubles;
    if (freezes > 0 && this.random.chance(freezes)) this.#freeze();
    if (crashes > 0 && this.random.chance(crashes)) {
      this.host.world.after(0, () => this.#crash());
      this.later(1, act);
    } else if (busyMs > 0) this.later(this.random.between(0, busyMs), act);
    else if (this.random.chance(0.1)) this.later(this.random.between(0, 3), act);
    else this.act(act);
  }

  #freeze(): void {
    this.pause();
    this.host.world.after(this.random.exponential(2_000), () => this.resume());
  }

  /** Only after this event: whoever called goes on to its end. */
  #crash(): void {
    if (!this.dead) this.host.killAgent('crash between two steps', false);
  }

  /** SIGSTOP. */
  pause(): void {
    this.#waiting ??= [];
  }

  /** SIGCONT: everything that came meanwhile happens now, in order. */
  resume(): void {
    const waiting = this.#waiting;
    if (this.dead || waiting === undefined) return;
    this.#waiting = undefined;
    for (const act of waiting) this.act(act);
  }
}
