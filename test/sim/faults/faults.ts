/** What every kind of fault works with: the cluster that it strikes, chance, and faults that last for a while and can all be ended. */
import type { Cluster } from '../cluster.ts';
import type { Host } from '../host.ts';
import type { Random } from '../random.ts';

/** Strikes once; what lasts ends by itself. */
export type Strike = (faults: Faults) => void;
/** By name, as `--only` takes them. */
export type Kinds = Readonly<Record<string, Strike>>;

export class Faults {
  readonly cluster: Cluster;
  readonly random: Random;
  readonly #lasting = new Set<() => void>();
  /** Nothing new strikes. */
  calm = false;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.random = cluster.world.random;
  }

  /** @param meanMs how long it lasts, on average; mostly less, sometimes much more. */
  lasting(meanMs: number, begin: () => void, end: () => void): void {
    this.lastingFor(this.random.exponential(meanMs * this.scale), begin, end);
  }

  /** Of all times of faults: they are made for leases of four seconds. */
  get scale(): number {
    return this.cluster.kind.scale;
  }

  lastingFor(ms: number, begin: () => void, end: () => void): void {
    begin();
    const over = () => {
      if (this.#lasting.delete(over)) end();
    };
    this.#lasting.add(over);
    this.cluster.world.after(ms, over);
  }

  /** Several, which end together. */
  allLasting(meanMs: number, faults: readonly (() => () => void)[]): void {
    let ends: readonly (() => void)[] = [];
    this.lasting(
      meanMs,
      () => {
        ends = faults.map((begin) => begin());
      },
      () => {
        for (const end of ends) end();
      },
    );
  }

  get any(): boolean {
    return this.#lasting.size > 0;
  }

  /** Every fault ends now. */
  endAll(): void {
    for (const over of [...this.#lasting]) over();
  }

  host(): Host {
    return this.random.pick(this.cluster.hosts);
  }

  /** One whose agent runs and does not end on purpose. */
  hostWithAgent(): Host | undefined {
    const host = this.host();
    return host.agent === undefined || host.agent.ending || host.asleep ? undefined : host;
  }

  group(): string {
    return this.random.pick(this.cluster.kind.groups);
  }

  act(event: Parameters<Cluster['coordinator']['act']>[0]): void {
    this.cluster.coordinator.act(event);
  }

  later(meanMs: number, act: () => void): void {
    this.lasting(meanMs, () => undefined, act);
  }
}
