/** How a cluster is healed; and outages of the coordinator that find everything else in order, for which no group may pay. */
import type { Availability } from './availability.ts';
import type { Faults } from './faults/faults.ts';
import { wanCuts } from './faults/network.ts';

/** In the calm everything comes up before the coordinator goes away. */
const SETTLE_MS = 30_000;
/** What is not up this long, and so many leases, after everything was healed does not come up by itself. */
const STRANDED_MS = 15_000;
const STRANDED_LEASES = 1.5;
const OUTAGE_LONGEST_MS = 3_600_000;

export class Calm {
  readonly #faults: Faults;
  readonly #availability: Availability;
  #healedAt = 0;
  #mends = false;

  constructor(faults: Faults, availability: Availability) {
    this.#faults = faults;
    this.#availability = availability;
  }

  /** Every fault ends, whatever its own time. */
  heal(): void {
    const { cluster } = this.#faults;
    const { world, coordinator } = cluster;
    world.note('FAULT', () => 'all faults end');
    this.#healedAt = world.now;
    this.#faults.endAll();
    cluster.wan.clear();
    cluster.lan.clear();
    cluster.grantsLost = 0;
    Object.assign(coordinator, { slowDiskMs: 0, timersLateMs: 0, writeFails: false });
    coordinator.begin();
    coordinator.act({ type: 'apply', config: cluster.kind.config(cluster.kind.first) });
    for (const clone of cluster.clones) clone.powerOff();
    for (const host of cluster.hosts) {
      host.heal();
      coordinator.act({ type: 'node-ready', node: host.node });
    }
    coordinator.act({ type: 'resume', group: null });
    for (const group of cluster.kind.groups)
      coordinator.act({ type: 'group-start', group, operation: cluster.operation() });
    if (!this.#mends) {
      this.#mends = true;
      this.#cleanUp();
    }
  }

  /** Also in the quiet a start takes too long now and then; what is on hold or ignored waits for somebody to clean up. */
  #cleanUp(): void {
    const { cluster } = this.#faults;
    for (const group of cluster.kind.groups) cluster.coordinator.act({ type: 'cleanup', group });
    this.#freeStranded();
    cluster.world.after(10_000, () => {
      if (this.#mends) this.#cleanUp();
    });
  }

  /**
   * A group whose owner never gave it back may be taken by the voters of then alone, and where rules keep those away, by nobody
   * (docs/simulator.md). What helps is that its last owner is switched off, and said to be.
   */
  #freeStranded(): void {
    const { cluster } = this.#faults;
    const { world, coordinator } = cluster;
    const { leaseMs } = cluster.kind.first.timing;
    if (world.now - this.#healedAt < STRANDED_MS + STRANDED_LEASES * leaseMs) return;
    for (const { shown, lease } of Object.values(coordinator.state?.durable.groups ?? {})) {
      const owner = cluster.hosts.find(({ node }) => node === lease?.owner);
      if (shown !== 'waiting' || lease?.expired !== true || lease.provenDeadAt !== null) continue;
      if (owner === undefined || !owner.powered) continue;
      world.count('stranded');
      owner.powerOff();
      world.after(1.5 * lease.leaseMs, () => {
        coordinator.act({ type: 'confirm-dead', node: owner.node });
        owner.powerOn();
      });
    }
  }

  /** Calm, then the coordinator is away, by one way or another, and nothing else is wrong. */
  outage(): void {
    const { cluster, random } = this.#faults;
    const { world } = cluster;
    if (this.#faults.calm) return;
    this.#faults.calm = true;
    this.heal();
    world.after(SETTLE_MS * Math.max(1, this.#faults.scale) + random.between(0, 10_000), () => {
      if (world.quiet) return;
      this.#mends = false;
      world.count('fault');
      world.count('fault: outages');
      const lengthMs = random.chance(0.02) ? random.between(600_000, OUTAGE_LONGEST_MS) : random.exponential(40_000);
      this.#availability.watch();
      world.note('FAULT', () => `the coordinator is away for ${Math.round(lengthMs / 1_000)} s`);
      const back = this.#away();
      world.after(lengthMs, () => {
        back();
        world.note('FAULT', () => 'the coordinator is back');
        world.after(random.between(5_000, 20_000), () => this.#over());
      });
    });
  }

  #away(): () => void {
    const { cluster, random } = this.#faults;
    const { coordinator, hosts } = cluster;
    if (random.chance(0.5)) {
      coordinator.crash();
      return () => coordinator.begin();
    }
    const cuts = hosts.flatMap((host) => wanCuts(this.#faults, host, random.pick([['up', 'down'], ['up'], ['down']])));
    const mend = cuts.map((cut) => cut());
    return () => {
      for (const end of mend) end();
    };
  }

  #over(): void {
    this.#availability.lift();
    this.#faults.calm = false;
  }
}
