/**
 * One seed of the simulator: a cluster, faults of a few kinds that the seed chooses, and the referee who looks at every event; then quiet,
 * in which every group has to come up somewhere again.
 */
import type { ClusterState } from '../../worker/decide/index.ts';
import { Availability } from './availability.ts';
import { Calm } from './calm.ts';
import { Cluster } from './cluster.ts';
import { Director } from './faults/director.ts';
import { COVERED, Faults, UNCOVERED } from './faults/index.ts';
import { Violation } from './referee.ts';
import type { WorldOptions } from './world.ts';

/** In the quiet every group is up again after this time and so many leases at the latest: those run out, quarantines and back-offs end. */
const QUIET_MS = 75_000;
const QUIET_LEASES = 5;
const GRACE = 10;
const GRACE_MS = 2_000;
/** Beside the kinds of fault: what `--only` knows as well. */
export const CHAINS = 'chains';
export const OUTAGES = 'outages';
export const KINDS: readonly string[] = [...Object.keys(COVERED), CHAINS, OUTAGES];
export const UNCOVERED_KINDS: readonly string[] = Object.keys(UNCOVERED);

export interface StormOptions extends WorldOptions {
  /** Left out: the seed draws it. */
  readonly stormMs?: number;
  /** These kinds of fault, all of them. Left out: the seed draws some of those that are covered. */
  readonly only?: readonly string[];
}

export interface StormResult {
  readonly violation: string | undefined;
  readonly counts: ReadonlyMap<string, number>;
  readonly timeline: string;
  readonly simulatedMs: number;
}

export class Storm {
  readonly cluster: Cluster;
  readonly #faults: Faults;
  readonly #calm: Calm;
  readonly #options: StormOptions;
  readonly #stormMs: number;
  readonly #quietMs: number;

  constructor(options: StormOptions) {
    this.#options = options;
    this.cluster = new Cluster(options);
    this.#faults = new Faults(this.cluster);
    this.#calm = new Calm(this.#faults, new Availability(this.cluster));
    const { random } = this.cluster.world;
    const { scale, first } = this.cluster.kind;
    this.#stormMs = options.stormMs ?? random.pick([3, 5, 5, 8]) * 60_000 * scale;
    this.#quietMs = QUIET_MS + QUIET_LEASES * first.timing.leaseMs;
  }

  /** Each seed draws its own few kinds: rare combinations come up that a mixture of everything would drown. */
  #begin(): void {
    const { random } = this.cluster.world;
    const { only } = this.#options;
    // some seeds leave a cluster hardly any peace, others let it settle in between
    const pace = random.pick([0.5, 1, 2, 4]);
    const share = random.pick([0.15, 0.3, 0.6]);
    const isDrawn = (name: string, chance: number) =>
      only === undefined ? random.chance(chance) && name in COVERED : only.includes(name);
    for (const [name, strike] of Object.entries({ ...COVERED, ...UNCOVERED })) {
      if (!isDrawn(name, share)) continue;
      const meanMs = pace * random.between(8_000, 60_000) * this.#faults.scale;
      this.#again(meanMs, () => {
        this.#struck(name);
        strike(this.#faults);
      });
    }
    const directed = only === undefined ? random.chance(0.5) : only.includes(CHAINS);
    if (directed) new Director(this.#faults).begin();
    const outages = only === undefined ? random.chance(0.3) : only.includes(OUTAGES);
    if (outages) this.#again(120_000 * this.#faults.scale, () => this.#calm.outage());
  }

  #again(meanMs: number, strike: () => void): void {
    const { world } = this.cluster;
    world.after(world.random.exponential(meanMs), () => {
      if (world.quiet) return;
      if (!this.#faults.calm) strike();
      this.#again(meanMs, strike);
    });
  }

  #struck(kind: string): void {
    const { world } = this.cluster;
    world.count('fault');
    world.count(`fault: ${kind}`);
    world.note('FAULT', () => kind);
  }

  run(): StormResult {
    const { world } = this.cluster;
    const violation = this.#violation();
    return { violation, counts: world.counts, timeline: world.timeline, simulatedMs: world.now };
  }

  #violation(): string | undefined {
    const { world, hosts } = this.cluster;
    try {
      // V is asymmetric at first: who comes later is no voter yet
      const late = world.random.chance(0.5);
      for (const host of hosts)
        if (late && host !== hosts[1] && world.random.chance(0.4))
          world.after(world.random.between(5_000, 40_000), () => host.powerOn());
        else host.powerOn();
      world.run(5_000);
      this.#begin();
      world.run(this.#stormMs);
      world.quiet = true;
      this.#calm.heal();
      const end = this.#stormMs + this.#quietMs;
      world.run(end);
      // something may be starting just now
      for (let again = 1; this.#unhealed() !== undefined && again <= GRACE; again++) world.run(end + again * GRACE_MS);
      return this.#unhealed();
    } catch (error) {
      if (error instanceof Violation) return error.message;
      throw error;
    }
  }

  #unhealed(): string | undefined {
    const { world, coordinator } = this.cluster;
    for (const [group, wanted] of [
      ['db', 2],
      ['log', 1],
    ] as const) {
      const [place] = world.referee.where(group);
      const shown = coordinator.state?.durable.groups[group]?.shown;
      if (place?.resources.length !== wanted)
        return `${group} is not up ${this.#quietMs / 1_000} s after the last fault (${JSON.stringify(place ?? 'nowhere')}, shown as ${shown})`;
      if (shown !== 'running') return `${group} runs on ${place.host} and is shown as ${shown}`;
    }
    for (const { node } of this.cluster.hosts)
      if (coordinator.state?.volatile.nodes[node]?.epochsKnown !== true)
        return `${node} can take nothing over: the coordinator has not heard which epochs it knows`;
    return undefined;
  }
}

export function storm(options: StormOptions): StormResult {
  return new Storm(options).run();
}

/** A storm in which somebody looks at what the coordinator knows, every so often, while it runs. */
export function watchStorm(
  options: StormOptions,
  everyMs: number,
  look: (state: ClusterState, now: number) => void,
): void {
  const weather = new Storm(options);
  const { world, coordinator } = weather.cluster;
  const next = () =>
    world.after(everyMs, () => {
      if (coordinator.state !== undefined) look(coordinator.state, coordinator.wall());
      next();
    });
  next();
  weather.run();
}
