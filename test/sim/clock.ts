/** CLOCK_BOOTTIME of one host: it runs while the host runs or sleeps, a little too fast or too slow, and knows nothing of other clocks. */
import { CLOCK_GRANULARITY_MS, CLOCK_RATE_ERROR } from '../../schemas/limits.ts';
import type { World } from './world.ts';

export class HostClock {
  readonly #world: World;
  #rate: number;
  /** True time and own time at which the present rate began. */
  #since = 0;
  #atMs = 0;

  constructor(world: World) {
    this.#world = world;
    this.#rate = world.random.pick([1 - CLOCK_RATE_ERROR, 1, 1 + CLOCK_RATE_ERROR]);
  }

  /** It counts from the boot; how long that takes differs. */
  boot(): void {
    this.#since = this.#world.now;
    this.#atMs = this.#world.random.between(1_000, 20_000);
  }

  /** Another rate, within what the protocol tolerates. */
  drift(): void {
    this.#atMs = this.#reading();
    this.#since = this.#world.now;
    this.#rate = this.#world.random.between(1 - CLOCK_RATE_ERROR, 1 + CLOCK_RATE_ERROR);
  }

  #reading(): number {
    return this.#atMs + (this.#world.now - this.#since) * this.#rate;
  }

  /** As the kernel and the guard read it, whole ms. */
  exactMs(): number {
    return Math.floor(this.#reading());
  }

  /** As the agent reads it. */
  bootMs(): number {
    return Math.floor(this.#reading() / CLOCK_GRANULARITY_MS) * CLOCK_GRANULARITY_MS;
  }

  /** How long so many milliseconds of this clock really are. */
  trueMs(ms: number): number {
    return ms / this.#rate;
  }
}
