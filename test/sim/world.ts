/**
 * The world of the simulator: true time, an order of events, chance, and the referee who sees every host at once.
 *
 * Nobody in the world reads true time. Hosts and the coordinator have clocks of their own; only the referee judges by what is really so.
 */
import { PRODUCT, type Product } from './product.ts';
import { Random } from './random.ts';
import { Referee } from './referee.ts';

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

/** Lines of the timeline that are kept for the report. */
const TIMELINE_LINES = 400;

export interface WorldOptions {
  readonly seed: number;
  /** Keep a timeline; costs time, so it is done only to explain a seed that failed. */
  readonly record?: boolean;
  /** The decision code under test; left out: the product's own. */
  readonly product?: Product;
}

export class World {
  readonly random: Random;
  readonly product: Product;
  readonly referee: Referee;
  readonly counts = new Map<string, number>();
  readonly #timeline: string[] | undefined;
  readonly #heap: Scheduled[] = [];
  #order = 0;
  #ids = 0;
  /** True time, ms. */
  now = 0;
  /** No more faults: everything heals. */
  quiet = false;
  /** By group, the epoch that last lived on promises. */
  readonly continued = new Map<string, number>();
  /** Names of all groups there ever are. */
  groups: readonly string[] = [];

  constructor({ seed, record = false, product = PRODUCT }: WorldOptions) {
    this.random = new Random(seed);
    this.product = product;
    this.#timeline = record ? [] : undefined;
    this.referee = new Referee(this);
  }

  after(ms: number, act: () => void): void {
    const heap = this.#heap;
    const at = this.now + Math.max(0, ms);
    const order = this.#order++;
    const entry = { at, order, act };
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      // what comes later in the order is never sooner at the same time
      if (parent === undefined || parent.at <= at) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = entry;
  }

  /** Lets everything happen that is due until then. */
  run(until: number): void {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.at > until) break;
      this.#removeFirst();
      this.now = first.at;
      first.act();
    }
    this.now = until;
  }

  /** An id that was never before. */
  newId(): string {
    this.#ids += 1;
    return String(this.#ids);
  }

  /** How often something happened: a storm that never reaches the protocol proves nothing. */
  count(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }

  note(who: string, what: () => string): void {
    if (this.#timeline === undefined) return;
    this.#timeline.push(`${(this.now / 1_000).toFixed(3).padStart(9)} ${who.padEnd(11)} ${what()}`);
    if (this.#timeline.length > TIMELINE_LINES) this.#timeline.shift();
  }

  get timeline(): string {
    return (this.#timeline ?? []).join('\n');
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let best = left;
      if (right !== undefined && sooner(right, left)) {
        best = right;
        child += 1;
      }
      if (!sooner(best, last)) break;
      heap[index] = best;
      index = child;
    }
    heap[index] = last;
  }
}

function sooner(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * One moment at which something is to be done next, set again and again. An event that was scheduled for an earlier moment is left where
 * it is and only looks again: most moments are moved before they come.
 */
export class Timer {
  readonly #world: World;
  readonly #act: () => void;
  #wanted = Number.POSITIVE_INFINITY;
  #next = Number.POSITIVE_INFINITY;

  constructor(world: World, act: () => void) {
    this.#world = world;
    this.#act = act;
  }

  /** @param at true time; infinite: not at all. */
  set(at: number): void {
    this.#wanted = at;
    if (at < this.#next) this.#schedule(at);
  }

  get isSet(): boolean {
    return this.#wanted !== Number.POSITIVE_INFINITY;
  }

  #schedule(at: number): void {
    this.#next = at;
    this.#world.after(at - this.#world.now, () => this.#fire(at));
  }

  #fire(at: number): void {
    if (at !== this.#next) return;
    this.#next = Number.POSITIVE_INFINITY;
    if (this.#world.now < this.#wanted) {
      if (this.isSet) this.#schedule(this.#wanted);
      return;
    }
    this.#wanted = Number.POSITIVE_INFINITY;
    this.#act();
  }
}
