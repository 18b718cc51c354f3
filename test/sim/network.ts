/**
 * The two networks of the simulator, with all that goes wrong in them: the way of each host to the coordinator and back (`wan`), and the
 * ways between the hosts (`lan`). Whatever is carried may be lost, doubled, delayed, overtaken, cut off in one direction or held back.
 */
import type { World } from './world.ts';

type Arrival = () => void;

export const COORDINATOR = 'coordinator';

/** Troubles that are not those of one way. */
export interface Weather {
  /** Share of messages that get lost. */
  loss: number;
  /** Share that arrive twice. */
  duplicates: number;
  /** One in ten takes longer by about so much, so that later ones overtake it. */
  delayMs: number;
  /** Share that are held up, or come again, by up to SPIKE_MS. */
  spikes: number;
}

const FAIR: Weather = { loss: 0, duplicates: 0, delayMs: 0, spikes: 0 };
/** Beyond every lease, and within what a recorded or delayed message may take. */
export const SPIKE_MS = 60_000;

export class Network {
  readonly #world: World;
  readonly #fastestMs: number;
  readonly #slowestMs: number;
  readonly weather: Weather = { ...FAIR };
  /** By way, how many cuts of it there are. */
  #cuts = new Map<string, number>();
  /** By way, what waits for it to be free again. */
  #jams = new Map<string, Arrival[]>();
  #clears = 0;

  constructor(world: World, fastestMs: number, slowestMs: number) {
    this.#world = world;
    this.#fastestMs = fastestMs;
    this.#slowestMs = slowestMs;
  }

  /** Sends something on its way. */
  carry(from: string, to: string, arrive: Arrival): void {
    const { random } = this.#world;
    const { loss, duplicates, delayMs, spikes } = this.weather;
    const copies = duplicates > 0 && random.chance(duplicates) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (loss > 0 && random.chance(loss)) continue;
      let ms = random.between(this.#fastestMs, this.#slowestMs);
      if (copy > 0) ms += random.between(0, 3_000);
      if (delayMs > 0 && random.chance(0.1)) ms += random.exponential(delayMs);
      if (spikes > 0 && random.chance(spikes)) ms += random.between(0, SPIKE_MS);
      if (this.#cuts.size === 0 && this.#jams.size === 0) this.#world.after(ms, arrive);
      else this.#carryOn(`${from}>${to}`, ms, arrive);
    }
  }

  #carryOn(way: string, ms: number, arrive: Arrival): void {
    if (this.#cuts.has(way)) return;
    const jam = this.#jams.get(way);
    if (jam === undefined) this.#world.after(ms, arrive);
    else jam.push(arrive);
  }

  /** @returns what mends it; two cuts of one way need two. */
  cut(from: string, to: string): () => void {
    const way = `${from}>${to}`;
    const clears = this.#clears;
    this.#cuts.set(way, (this.#cuts.get(way) ?? 0) + 1);
    let mended = false;
    return () => {
      if (mended || clears !== this.#clears) return;
      mended = true;
      const left = (this.#cuts.get(way) ?? 1) - 1;
      if (left === 0) this.#cuts.delete(way);
      else this.#cuts.set(way, left);
    };
  }

  /** Slow but alive: nothing is lost, and all of it arrives at once when the jam is over. */
  jam(from: string, to: string): () => void {
    const way = `${from}>${to}`;
    if (!this.#jams.has(way)) this.#jams.set(way, []);
    return () => {
      const waiting = this.#jams.get(way) ?? [];
      this.#jams.delete(way);
      for (const arrive of waiting) this.#world.after(this.#world.random.between(0, 20), arrive);
    };
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  /** All troubles end. */
  clear(): void {
    this.#clears += 1;
    this.#cuts.clear();
    for (const waiting of this.#jams.values())
      for (const arrive of waiting) this.#world.after(this.#world.random.between(0, 20), arrive);
    this.#jams.clear();
    Object.assign(this.weather, FAIR);
  }
}
