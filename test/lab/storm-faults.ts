/**
 * The faults of the storm: how each begins, and what ends it. All of them are of the kinds that the protocol promises to be safe from.
 *
 * Left out, because docs/safety.md says that they are not covered: guard and agent of one host gone at the same time for good, and
 * `confirm-dead` of a node that is not off. So at any moment a host has one fault of its own.
 */
import type { Random } from '../sim/random.ts';
import type { Cluster } from './cluster.ts';
import { pidsOf } from './faults.ts';
import type { Host } from './host.ts';
import type { Direction, LinkName } from './network.ts';
import { signalAll } from './signals.ts';
import { until } from './until.ts';

/** Where the storm happens. */
export interface Field {
  readonly cluster: Cluster;
  /** Group → its address. */
  readonly addresses: ReadonlyMap<string, string>;
}

/** Ends a fault. */
export type End = () => Promise<void>;

interface Kind {
  readonly kind: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  /** How long it lasts, in times of T_C; left out: it is over at once. */
  readonly lasts?: readonly [low: number, high: number];
}

interface HostFault extends Kind {
  readonly on: 'host';
  readonly begin: (field: Field, host: Host) => Promise<End | undefined>;
}

interface OtherFault extends Kind {
  /** At most one of each at a time. */
  readonly on: 'coordinator' | 'operator';
  /** @param draw what it needs to choose. */
  readonly begin: (field: Field, draw: Random) => Promise<End | undefined>;
}

export type Fault = HostFault | OtherFault;

export const isOn = (host: Host): boolean => host.state.is === 'on';

/** Starts the coordinator; the lock of one that was killed may need a moment to be free. */
export async function startCoordinator({ product }: Cluster): Promise<void> {
  const start = async () => {
    await product.startCoordinator();
    return true;
  };
  await until(start, { deadlineMs: 30_000, everyMs: 100, what: 'the coordinator to start again' });
}

const links: readonly (readonly [name: string, link: LinkName | undefined, weight: number])[] = [
  ['uplink', 'uplink', 2],
  ['lan', 'lan', 1],
  ['all', undefined, 2],
];
const ways: readonly (readonly [name: string, way: Direction])[] = [
  ['cut', 'both'],
  ['deaf', 'in'],
  ['mute', 'out'],
];

/** A cable pulled, or silent in one direction. */
const cuts: HostFault[] = links.flatMap(([name, link, weight]) =>
  ways.map(
    ([word, way]): HostFault => ({
      kind: `${name}-${word}`,
      on: 'host',
      weight,
      lasts: [0.2, 2.5],
      begin: async (_field, host) => {
        await host.cut(link, way);
        return () => host.mend(link);
      },
    }),
  ),
);

const hostFaults: HostFault[] = [
  ...cuts,
  {
    kind: 'power-cut',
    on: 'host',
    weight: 14,
    lasts: [0, 2],
    begin: async (_field, host) => {
      await host.powerCut();
      return () => host.boot();
    },
  },
  {
    kind: 'declared-dead',
    on: 'host',
    weight: 3,
    lasts: [0.5, 1.5],
    begin: async ({ cluster }, host) => {
      await host.powerCut();
      const said = async () =>
        (await cluster.product.cli(['confirm-dead', host.name, '--accept-risk=not-really-off'])).code === 0;
      // while nothing is known of it by the coordinator, or the coordinator is away, the word is not taken
      await until(said, { deadlineMs: 4_000, everyMs: 300, what: 'the word to be taken' }).catch(() => undefined);
      return () => host.boot();
    },
  },
  {
    kind: 'reboot',
    on: 'host',
    weight: 2,
    begin: async (_field, host) => {
      await host.shutdown(4_000);
      return () => host.boot();
    },
  },
  {
    kind: 'agent-stopped',
    on: 'host',
    weight: 6,
    lasts: [0.1, 2],
    begin: async ({ cluster }, host) => {
      cluster.product.agent(host).kill('SIGSTOP');
      return async () => cluster.product.agent(host).kill('SIGCONT');
    },
  },
  {
    kind: 'agent-killed',
    on: 'host',
    weight: 3,
    begin: async ({ cluster }, host) => {
      cluster.product.agent(host).kill('SIGKILL');
      return undefined;
    },
  },
  {
    kind: 'agent-upgraded',
    on: 'host',
    weight: 2,
    begin: async ({ cluster }, host) => {
      cluster.product.agent(host).kill('SIGTERM');
      return undefined;
    },
  },
  {
    kind: 'agent-away',
    on: 'host',
    weight: 4,
    lasts: [0.2, 2],
    begin: async ({ cluster }, host) => {
      const agent = cluster.product.agent(host);
      await agent.stop('SIGKILL');
      return () => agent.start();
    },
  },
  {
    kind: 'guard-killed',
    on: 'host',
    weight: 4,
    begin: async (_field, host) => {
      signalAll(pidsOf(host, 'holdfast-guard'), 'SIGKILL');
      return undefined;
    },
  },
  {
    kind: 'guard-stopped',
    on: 'host',
    weight: 2,
    lasts: [0.1, 2],
    begin: async (_field, host) => {
      const pids = pidsOf(host, 'holdfast-guard');
      signalAll(pids, 'SIGSTOP');
      return async () => {
        signalAll(pids, 'SIGCONT');
      };
    },
  },
  {
    kind: 'slow-network',
    on: 'host',
    weight: 3,
    lasts: [0.5, 3],
    begin: async (_field, host) => {
      await host.impair();
      return () => host.mend();
    },
  },
  {
    kind: 'service-killed',
    on: 'host',
    weight: 3,
    begin: async (_field, host) => {
      signalAll(pidsOf(host, 'nginx'), 'SIGKILL');
      return undefined;
    },
  },
  {
    kind: 'address-deleted',
    on: 'host',
    weight: 2,
    begin: async ({ cluster, addresses }, host) => {
      for (const address of addresses.values())
        if (cluster.observer.holders(address).includes(host.name))
          await host.exec(['ip', 'address', 'delete', `${address}/32`, 'dev', 'eth0']);
      return undefined;
    },
  },
];

const otherFaults: OtherFault[] = [
  {
    kind: 'coordinator-killed',
    on: 'coordinator',
    weight: 4,
    begin: async ({ cluster }) => {
      await cluster.product.stopCoordinator('SIGKILL');
      return () => startCoordinator(cluster);
    },
  },
  {
    kind: 'coordinator-away',
    on: 'coordinator',
    weight: 6,
    lasts: [0.5, 5],
    begin: async ({ cluster }) => {
      await cluster.product.stopCoordinator('SIGKILL');
      return () => startCoordinator(cluster);
    },
  },
  {
    kind: 'coordinator-hangs',
    on: 'coordinator',
    weight: 3,
    lasts: [0.2, 3],
    begin: async ({ cluster }) => {
      const { arbiter } = cluster.lab;
      const pids = arbiter.processes().filter((pid) => pid !== arbiter.initPid);
      signalAll(pids, 'SIGSTOP');
      return async () => {
        signalAll(pids, 'SIGCONT');
      };
    },
  },
  {
    kind: 'all-uplinks-cut',
    on: 'coordinator',
    weight: 3,
    lasts: [0.5, 4],
    begin: async ({ cluster }) => {
      const hosts = [...cluster.lab.hosts.values()];
      for (const host of hosts) if (isOn(host)) await host.cut('uplink').catch(() => undefined);
      return async () => {
        for (const host of hosts) if (isOn(host)) await host.mend('uplink').catch(() => undefined);
      };
    },
  },
  {
    kind: 'move',
    on: 'operator',
    weight: 6,
    begin: async ({ cluster, addresses }, draw) => {
      const [group, to] = [draw.pick([...addresses.keys()]), draw.pick(cluster.names)];
      await cluster.product.cli(['move', group, '--to', to, '--wait', '0s']);
      return undefined;
    },
  },
  {
    kind: 'standby',
    on: 'operator',
    weight: 3,
    lasts: [0.2, 2],
    begin: async ({ cluster }, draw) => {
      const node = draw.pick(cluster.names);
      await cluster.product.cli(['node', 'standby', node, '--wait', '0s']);
      return async () => {
        await cluster.product.cli(['node', 'ready', node]);
      };
    },
  },
];

const catalog: readonly Fault[] = [...hostFaults, ...otherFaults];

/** The kinds that a storm may be limited to. */
export const kinds: readonly string[] = catalog.map(({ kind }) => kind);

/** One fault of an episode, with everything that chance has to say about it, drawn before it begins. */
export interface Planned {
  readonly fault: Fault;
  /** 0 ≤ n < 1: which host, see `hostFor`. */
  readonly place: number;
  readonly delayMs: number;
  readonly lastsMs: number;
  readonly draw: Random;
}

export interface Episode {
  readonly planned: readonly Planned[];
  /** The next one does not wait until everything is well again. */
  readonly hasty: boolean;
}

/** Chance alone decides here, never what happens: the same seed plans the same episodes. */
export function nextEpisode(random: Random, newRandom: (seed: number) => Random, takeoverMs: number): Episode {
  const outage = random.chance(0.25) ? [pickKind(random, 'coordinator-away')] : [];
  const count = outage.length > 0 ? 1 : random.chance(0.5) ? 1 : random.chance(0.7) ? 2 : 3;
  const faults = [...outage, ...Array.from({ length: count }, () => pickFault(random))];
  const planned = faults.map((fault, index): Planned => {
    const [low, high] = fault.lasts ?? [0, 0];
    const delay = index === 0 ? 0 : outage.length > 0 ? random.between(0.3, 2.5) : random.between(0, 1.5);
    const lasts = random.between(low, high);
    return {
      fault,
      place: random.next(),
      delayMs: delay * takeoverMs,
      lastsMs: lasts * takeoverMs,
      draw: newRandom(Math.floor(random.next() * 2 ** 31)),
    };
  });
  return { planned, hasty: random.chance(0.3) };
}

function pickFault(random: Random): Fault {
  let left = random.next() * catalog.reduce((sum, { weight }) => sum + weight, 0);
  for (const fault of catalog) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  return random.pick(catalog);
}

function pickKind(random: Random, wanted: string): Fault {
  return catalog.find(({ kind }) => kind === wanted) ?? pickFault(random);
}

/** Mostly the owner of the web server, else another owner, or any host. */
export function hostFor({ cluster, addresses }: Field, place: number, taken: ReadonlySet<string>): Host | undefined {
  const owners = [...addresses.values()].flatMap((address) => cluster.observer.holders(address));
  const candidates = (place < 0.6 ? owners.slice(0, 1) : place < 0.8 ? owners : [...cluster.names]).filter(
    (name) => !taken.has(name),
  );
  const free = candidates.length > 0 ? candidates : cluster.names.filter((name) => !taken.has(name));
  const name = free[Math.floor(((place * 997) % 1) * free.length)];
  return name === undefined ? undefined : cluster.host(name);
}
