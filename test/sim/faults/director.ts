/**
 * Drives a cluster into chains of takeovers: an owner that loses its uplink lives on the promises of its voters; then those are silenced,
 * restarted or replaced, grants get lost, and the owner comes back at the worst moment. What random faults alone hardly ever reach.
 */
import type { Host } from '../host.ts';
import type { Faults } from './faults.ts';
import { lanCuts, wanCuts } from './network.ts';
import { shutDown } from './node.ts';

type Act = (chain: Chain) => void;

interface Chain {
  readonly faults: Faults;
  readonly group: string;
  /** Who has it by its own word. */
  readonly owner: Host;
  /** Somebody else. */
  readonly other: Host;
}

/** Who has it by the word of the coordinator. */
function granted({ faults, group }: Chain): Host | undefined {
  const owner = faults.cluster.coordinator.state?.durable.groups[group]?.lease?.owner;
  return faults.cluster.hosts.find(({ node }) => node === owner);
}

function reboot(faults: Faults, host: Host): void {
  faults.lasting(
    faults.random.pick([200, 3_000]),
    () => host.powerOff(),
    () => host.powerOn(),
  );
}

const ACTS: Readonly<Record<string, Act>> = {
  'a voter is not heard by the owner': ({ faults, owner, other }) =>
    faults.allLasting(5_000, [() => faults.cluster.lan.cut(other.name, owner.name)]),
  'a voter does not hear the owner': ({ faults, owner, other }) =>
    faults.allLasting(5_000, [() => faults.cluster.lan.cut(owner.name, other.name)]),
  'a voter is stopped': ({ faults, other: { agent } }) => {
    if (agent === undefined || agent.ending) return;
    faults.lasting(
      4_000,
      () => agent.process.pause(),
      () => agent.process.resume(),
    );
  },
  'the agent of a voter crashes': ({ other }) => other.killAgent('crash', false),
  'a voter reboots': ({ faults, other }) => reboot(faults, other),
  'a voter leaves': ({ faults, other }) => shutDown(faults, other),
  'the owner is stopped': ({ faults, owner: { agent } }) => {
    if (agent === undefined || agent.ending) return;
    faults.lasting(
      4_000,
      () => agent.process.pause(),
      () => agent.process.resume(),
    );
  },
  'the owner reboots': ({ faults, owner }) => reboot(faults, owner),
  'grants get lost': ({ faults }) => {
    const { cluster } = faults;
    faults.lasting(
      5_000,
      () => {
        cluster.grantsLost = 0.8;
      },
      () => {
        cluster.grantsLost = 0;
      },
    );
  },
  'who was granted it loses its uplink': (chain) => {
    const host = granted(chain);
    if (host !== undefined) chain.faults.allLasting(4_000, wanCuts(chain.faults, host, ['up', 'down']));
  },
  'who was granted it reboots': (chain) => {
    const host = granted(chain);
    if (host !== undefined) reboot(chain.faults, host);
  },
  'who was granted it is declared dead': (chain) => {
    const { faults } = chain;
    const host = granted(chain);
    if (host === undefined) return;
    faults.lasting(
      6_000,
      () => host.powerOff(),
      () => host.powerOn(),
    );
    faults.cluster.world.after(faults.random.between(1_000, 5_000), () => {
      if (!host.powered) faults.act({ type: 'confirm-dead', node: host.node });
    });
  },
  'the coordinator restarts': ({ faults: { cluster } }) => {
    cluster.coordinator.crash();
    cluster.coordinator.begin();
  },
  'the clock of the coordinator leaps': ({ faults: { cluster, random } }) =>
    cluster.coordinator.stepClock(random.pick([-20_000, 5_000, 60_000])),
  'the owner is alone in the LAN': ({ faults, owner }) => faults.allLasting(5_000, lanCuts(faults, owner)),
  'the group is to move': ({ faults, group, other }) =>
    faults.act({ type: 'move', group, to: other.name, operation: faults.cluster.operation() }),
};

const WAYS = [['up', 'down'], ['up', 'down'], ['up'], ['down']] as const;

export class Director {
  readonly #faults: Faults;

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  begin(): void {
    this.#after(8_000 * this.#faults.scale, () => this.#chain());
  }

  #after(meanMs: number, act: () => void): void {
    const { world } = this.#faults.cluster;
    world.after(this.#faults.random.exponential(meanMs), () => {
      if (!world.quiet) act();
    });
  }

  #struck(what: string): void {
    const { world } = this.#faults.cluster;
    world.count('fault');
    world.count('fault: chains');
    world.note('DIRECTOR', () => what);
  }

  #chain(): void {
    const { cluster, random } = this.#faults;
    const group = this.#faults.group();
    const owner = cluster.ownerOf(group);
    if (owner === undefined || this.#faults.calm) {
      this.#after(2_000, () => this.#chain());
      return;
    }
    const chain = { faults: this.#faults, group, owner, other: owner };
    if (random.chance(0.4)) {
      this.#leaver(chain);
      return;
    }
    this.#cutOff(chain);
  }

  /** Somebody leaves, is no voter any more, and comes back when the owner is out of reach: it has promised nothing. */
  #leaver(chain: Chain): void {
    const { cluster, random, scale } = this.#faults;
    const leaver = random.pick(cluster.hosts.filter((host) => host !== chain.owner));
    this.#struck(`${leaver.name} leaves`);
    shutDown(this.#faults, leaver);
    this.#after(2_000 * scale, () => this.#cutOff({ ...chain, other: leaver }));
  }

  #cutOff(chain: Chain): void {
    const { random } = this.#faults;
    this.#struck(`the owner of ${chain.group} loses its uplink`);
    this.#faults.allLasting(12_000, wanCuts(this.#faults, chain.owner, random.pick(WAYS)));
    this.#next(chain, 1 + Math.floor(random.between(1, 7)));
  }

  #next(chain: Chain, left: number): void {
    const { cluster, random } = this.#faults;
    const { leaseMs } = cluster.kind.first.timing;
    if (left === 0) {
      this.#after(3 * leaseMs, () => this.#chain());
      return;
    }
    this.#after(random.pick([0.2, 1]) * leaseMs, () => {
      if (!this.#faults.calm) {
        const other = random.pick(cluster.hosts.filter((host) => host !== chain.owner));
        const [what, act] = random.pick(Object.entries(ACTS));
        this.#struck(what);
        act({ ...chain, other });
      }
      this.#next(chain, left - 1);
    });
  }
}
