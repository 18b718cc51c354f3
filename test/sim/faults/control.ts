/** What people ask for at the worst moment. */
import { TIMINGS } from '../clusters.ts';
import type { Faults, Kinds } from './faults.ts';

/** Done by an operator, and taken back after a while. */
function forAWhile(faults: Faults, meanMs: number, act: () => void, back: () => void): void {
  faults.lasting(meanMs, act, back);
}

export const CONTROL: Kinds = {
  move: (faults) =>
    faults.act({
      type: 'move',
      group: faults.group(),
      to: faults.random.chance(0.5) ? null : faults.host().name,
      operation: faults.cluster.operation(),
    }),
  standby: (faults) => {
    const node = faults.host().name;
    forAWhile(
      faults,
      8_000,
      () => faults.act({ type: 'node-standby', node, operation: faults.cluster.operation() }),
      () => faults.act({ type: 'node-ready', node }),
    );
  },
  'group-stop': (faults) => {
    const group = faults.group();
    forAWhile(
      faults,
      5_000,
      () => faults.act({ type: 'group-stop', group, operation: faults.cluster.operation() }),
      () => faults.act({ type: 'group-start', group, operation: faults.cluster.operation() }),
    );
  },
  cleanup: (faults) => faults.act({ type: 'cleanup', group: faults.group() }),
  // half of them end by themselves
  'hands-off': (faults) => {
    const group = faults.random.pick([...faults.cluster.kind.groups, null]);
    const forMs = Math.ceil(faults.random.exponential(30_000));
    faults.act({ type: 'pause', group, forMs, reason: 'storm' });
    if (faults.random.chance(0.5))
      faults.later(10_000, () => faults.act({ type: 'resume', group: faults.random.pick([group, null]) }));
  },
  maintenance: (faults) => {
    const node = faults.host().name;
    const forMs = Math.ceil(faults.random.exponential(30_000));
    faults.act({ type: 'node-maintenance', node, forMs, reason: 'storm' });
    if (faults.random.chance(0.5)) faults.later(10_000, () => faults.act({ type: 'node-ready', node }));
  },
  // the machine is really off
  'declared-dead': (faults) => {
    const host = faults.host();
    faults.lasting(
      15_000,
      () => host.powerOff(),
      () => host.powerOn(),
    );
    faults.cluster.world.after(faults.random.between(500, 6_000), () => {
      if (!host.powered) faults.act({ type: 'confirm-dead', node: host.node });
    });
  },
  // while some of the nodes cannot hear of it
  'config-change': (faults) => {
    const { random, cluster } = faults;
    const { first } = cluster.kind;
    const variant = {
      timing: random.chance(0.5) ? first.timing : random.pick(TIMINGS),
      other: random.chance(0.5),
      withoutLog: false,
      requiresUplink: random.chance(0.2),
      fewer: cluster.hosts.length > 2 && random.chance(0.2),
    };
    forAWhile(
      faults,
      20_000,
      () => faults.act({ type: 'apply', config: cluster.kind.config(variant) }),
      () => faults.act({ type: 'apply', config: cluster.kind.config(first) }),
    );
  },
  'group-removed': (faults) => {
    const { kind } = faults.cluster;
    // what is in no configuration any more is kept apart from nothing
    if (kind.ruleName.includes('apart')) return;
    forAWhile(
      faults,
      8_000,
      () => faults.act({ type: 'apply', config: kind.config({ ...kind.first, withoutLog: true }) }),
      () => faults.act({ type: 'apply', config: kind.config(kind.first) }),
    );
  },
};
