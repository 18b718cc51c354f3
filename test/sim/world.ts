/**
 * The world of the storm: true time, an order of events, chance, and the referee who sees every host at once.
 *
 * Nobody in the world reads true time. Hosts and the coordinator have clocks of their own; only the referee judges by what is really so.
 */
import { Random } from './random.ts';

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

/** What must never happen has happened. */
export class Violation extends Error {
  override name = 'Violation';
}

/** Lines of the timeline that are kept for the report. */
const TIMELINE_LINES = 160;

export class World {
  readonly random: Random;
  readonly #timeline: string[] | undefined;
  #heap: Scheduled[] = [];
  #order = 0;
  /** True time, ms. */
  now = 0;
  /** No more faults: everything heals. */
  quiet = false;
  readonly referee: Referee;
  readonly counts = new Map<string, number>();

  /** @param record keep a timeline; costs time, so it is done only to explain a seed that failed. */
  constructor(seed: number, record: boolean) {
    this.random = new Random(seed);
    this.#timeline = record ? [] : undefined;
    this.referee = new Referee(this);
  }

  after(ms: number, act: () => void): void {
    const heap = this.#heap;
    const entry = { at: this.now + Math.max(0, ms), order: this.#order++, act };
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !sooner(entry, parent)) break;
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

  /** How often something happened: a storm that never reaches the protocol proves nothing. */
  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
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
      const right = heap[child + 1];
      if (left === undefined) break;
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

interface Activation {
  readonly epoch: number;
  readonly host: string;
  readonly incarnation: string;
}

/** Judges by true time: one host per group, epochs that only rise, nothing without a durable grant. */
export class Referee {
  readonly #world: World;
  /** What is up, by group: host → resources. */
  readonly #up = new Map<string, Map<string, Set<string>>>();
  readonly #activations = new Map<string, Activation>();
  readonly #granted = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  /** A grant is on the coordinator's disk. */
  granted(group: string, epoch: number, host: string): void {
    this.#granted.add(`${group} ${epoch} ${host}`);
  }

  wasGranted(group: string, epoch: number, host: string): boolean {
    return this.#granted.has(`${group} ${epoch} ${host}`);
  }

  /** Something of the group is up from now on. */
  up(group: string, resource: string, now: Activation): void {
    const { epoch, host, incarnation } = now;
    const hosts = this.#up.get(group) ?? new Map<string, Set<string>>();
    this.#up.set(group, hosts);
    for (const [other, resources] of hosts)
      if (other !== host && resources.size > 0)
        throw new Violation(`${group} comes up on ${host} (epoch ${epoch}) while ${[...resources]} is up on ${other}`);
    const last = this.#activations.get(group);
    if (!this.wasGranted(group, epoch, host))
      throw new Violation(`${host} starts ${group} in epoch ${epoch}, which was never durably granted to it`);
    if (last !== undefined && epoch < last.epoch)
      throw new Violation(`${host} starts ${group} in epoch ${epoch} after epoch ${last.epoch} ran on ${last.host}`);
    if (last?.epoch === epoch && (last.host !== host || last.incarnation !== incarnation))
      throw new Violation(`epoch ${epoch} of ${group} starts twice: ${last.incarnation} and ${incarnation}`);
    if (last !== undefined && last.host !== host) this.#world.count('change of host');
    this.#activations.set(group, now);
    this.#world.count('start');
    hosts.set(host, (hosts.get(host) ?? new Set()).add(resource));
    this.#world.note(host, () => `UP   ${group}/${resource} epoch ${epoch}`);
  }

  down(group: string, resource: string, host: string): void {
    if (this.#up.get(group)?.get(host)?.delete(resource) === true)
      this.#world.note(host, () => `DOWN ${group}/${resource}`);
  }

  isUp(group: string, resource: string, host: string): boolean {
    return this.#up.get(group)?.get(host)?.has(resource) ?? false;
  }

  /** Hosts on which something of the group is up, with what. */
  where(group: string): { host: string; resources: string[] }[] {
    return [...(this.#up.get(group) ?? [])]
      .filter(([, resources]) => resources.size > 0)
      .map(([host, resources]) => ({ host, resources: [...resources] }));
  }
}
