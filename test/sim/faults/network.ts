/** What goes wrong between the machines. */
import type { Host } from '../host.ts';
import { COORDINATOR, type Network, type Weather } from '../network.ts';
import type { Faults, Kinds } from './faults.ts';

type Direction = 'up' | 'down';

/** Ways of a host to the coordinator and back. */
export function wanCuts({ cluster }: Faults, { name }: Host, directions: readonly Direction[]): (() => () => void)[] {
  return directions.map(
    (direction) => () => (direction === 'up' ? cluster.wan.cut(name, COORDINATOR) : cluster.wan.cut(COORDINATOR, name)),
  );
}

/** Everything between this host and the others in the LAN. */
export function lanCuts({ cluster }: Faults, { name }: Host): (() => () => void)[] {
  return cluster.hosts.flatMap((other) =>
    other.name === name ? [] : [() => cluster.lan.cut(name, other.name), () => cluster.lan.cut(other.name, name)],
  );
}

const BOTH = ['up', 'down'] as const;

function weather(faults: Faults, network: Network, key: keyof Weather, value: number, meanMs: number): void {
  faults.lasting(
    meanMs,
    () => {
      network.weather[key] = value;
    },
    () => {
      network.weather[key] = 0;
    },
  );
}

/** Up and down again, faster than anybody settles. */
function flap(faults: Faults, cut: () => () => void): void {
  const { random, cluster } = faults;
  let over = false;
  let mend: (() => void) | undefined;
  const turn = () => {
    if (over) return;
    if (mend === undefined) mend = cut();
    else {
      mend();
      mend = undefined;
    }
    cluster.world.after(random.exponential(700 * faults.scale), turn);
  };
  faults.lasting(10_000, turn, () => {
    over = true;
    mend?.();
  });
}

function twoHosts({ random, cluster }: Faults): readonly [string, string] {
  const from = random.pick(cluster.hosts);
  return [from.name, random.pick(cluster.hosts.filter((host) => host !== from)).name];
}

export const NETWORK: Kinds = {
  'wan-loss': (faults) => weather(faults, faults.cluster.wan, 'loss', 0.3, 10_000),
  'lan-loss': (faults) => weather(faults, faults.cluster.lan, 'loss', faults.random.pick([0.1, 0.5]), 15_000),
  'wan-duplicates': (faults) => weather(faults, faults.cluster.wan, 'duplicates', 0.3, 20_000),
  'lan-duplicates': (faults) => weather(faults, faults.cluster.lan, 'duplicates', 0.3, 20_000),
  // later messages overtake those that are delayed
  'wan-delays': (faults) => weather(faults, faults.cluster.wan, 'delayMs', 2_000 * faults.scale, 15_000),
  'lan-delays': (faults) => weather(faults, faults.cluster.lan, 'delayMs', 1_500 * faults.scale, 15_000),
  'wan-spikes': (faults) => weather(faults, faults.cluster.wan, 'spikes', 0.1, 15_000),
  'lan-spikes': (faults) => weather(faults, faults.cluster.lan, 'spikes', 0.1, 15_000),
  'wan-cut': (faults) => faults.allLasting(10_000, wanCuts(faults, faults.host(), BOTH)),
  'wan-cut-one-way': (faults) => faults.allLasting(10_000, wanCuts(faults, faults.host(), [faults.random.pick(BOTH)])),
  'wan-cut-of-all': (faults) =>
    faults.allLasting(
      8_000,
      faults.cluster.hosts.flatMap((host) => wanCuts(faults, host, BOTH)),
    ),
  'lan-cut': (faults) => faults.allLasting(8_000, lanCuts(faults, faults.host())),
  'lan-cut-one-way': (faults) => {
    const [from, to] = twoHosts(faults);
    faults.allLasting(10_000, [() => faults.cluster.lan.cut(from, to)]);
  },
  isolation: (faults) => {
    const host = faults.host();
    faults.allLasting(10_000, [...wanCuts(faults, host, BOTH), ...lanCuts(faults, host)]);
  },
  'wan-flapping': (faults) => {
    const { name } = faults.host();
    flap(faults, () => faults.cluster.wan.cut(name, COORDINATOR));
  },
  'lan-flapping': (faults) => {
    const [from, to] = twoHosts(faults);
    flap(faults, () => faults.cluster.lan.cut(from, to));
  },
  'wan-jam': (faults) => {
    const { name } = faults.host();
    const up = faults.random.chance(0.5);
    faults.allLasting(4_000, [
      () => (up ? faults.cluster.wan.jam(name, COORDINATOR) : faults.cluster.wan.jam(COORDINATOR, name)),
    ]);
  },
  'lan-jam': (faults) => {
    const [from, to] = twoHosts(faults);
    faults.allLasting(3_000, [() => faults.cluster.lan.jam(from, to)]);
  },
};

/** Against this the code does not hold yet (docs/simulator.md): only by name. */
export const BROKEN_NETWORK: Kinds = {
  'late-incarnations': (faults) => {
    faults.cluster.lateIncarnations = true;
    weather(faults, faults.cluster.wan, 'spikes', 0.1, 15_000);
  },
};
