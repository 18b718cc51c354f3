/** What goes wrong on a machine of the cluster. */
import { NO_EPOCHS } from '../disk.ts';
import type { Host } from '../host.ts';
import type { Faults, Kinds } from './faults.ts';

type Troubles = Host['troubles'];

function trouble<K extends keyof Troubles>(faults: Faults, key: K, value: Troubles[K], meanMs = 15_000): void {
  const { troubles } = faults.host();
  const normal = troubles[key];
  if (normal === value) return;
  faults.lasting(
    meanMs,
    () => {
      troubles[key] = value;
    },
    () => {
      troubles[key] = normal;
    },
  );
}

function off(faults: Faults, meanMs: number, leastMs = 0): Host {
  const host = faults.host();
  faults.lastingFor(
    leastMs + faults.random.exponential(meanMs * faults.scale),
    () => host.powerOff(),
    () => host.powerOn(),
  );
  return host;
}

/** Its host is shut down in order: everything is handed over first, unless that takes too long. */
export function shutDown(faults: Faults, host: Host): void {
  const { agent } = host;
  const { world } = faults.cluster;
  if (agent === undefined || agent.ending) return;
  let over = false;
  const end = (how: string) => {
    if (over || host.agent !== agent) return;
    over = true;
    world.count(how);
    faults.lasting(
      8_000,
      () => host.powerOff(),
      () => host.powerOn(),
    );
    if (world.quiet) host.powerOn();
  };
  agent.handOver(() => end('handed over'));
  world.after(60_000, () => end('shut down too late'));
}

export const NODE: Kinds = {
  'agent-pause': (faults) => {
    const agent = faults.hostWithAgent()?.agent;
    if (agent === undefined) return;
    faults.lasting(
      4_000,
      () => agent.process.pause(),
      () => agent.process.resume(),
    );
  },
  // between decide and start, start and stop, grant and disk, …
  'pauses-between-steps': (faults) => trouble(faults, 'freezes', 0.02),
  'crashes-between-steps': (faults) => trouble(faults, 'crashes', 0.01),
  'agent-crash': (faults) => faults.hostWithAgent()?.killAgent('crash', false),
  reboot: (faults) => {
    off(faults, faults.random.pick([500, 8_000]));
  },
  // longer than a voter that is not heard of stays one
  'long-absence': (faults) => {
    off(faults, 20_000, 61_000);
  },
  shutdown: (faults) => shutDown(faults, faults.host()),
  // unless nobody is left who could stop what runs: that is not covered (docs/safety.md)
  'guard-lost': (faults) => {
    const host = faults.hostWithAgent();
    if (host === undefined || host.guard === undefined || host.asleep) return;
    const { agent, troubles } = host;
    if (agent?.process.paused === true || troubles.stopHangs > 0 || troubles.freezes > 0 || troubles.crashes > 0)
      return;
    host.loseGuard();
  },
  'guard-late': (faults) => trouble(faults, 'guardLate', true, 60_000),
  'clock-rate': (faults) => {
    const host = faults.host();
    host.clock.drift();
    host.guard?.rewatch();
  },
  suspend: (faults) => {
    const host = faults.host();
    if (!host.guarded) return;
    faults.lasting(
      faults.random.pick([300, 8_000]),
      () => host.suspend(),
      () => host.wake(),
    );
  },
  'busy-agent': (faults) => trouble(faults, 'busyMs', faults.random.pick([30, 400])),
  'slow-disk': (faults) => trouble(faults, 'persistMs', 2_000),
  'full-disk': (faults) => trouble(faults, 'diskFails', true, 8_000),
  'failing-starts': (faults) => trouble(faults, 'startFails', 0.5),
  'hanging-stops': (faults) => trouble(faults, 'stopHangs', 0.4),
  'dying-resources': (faults) => trouble(faults, 'dies', 0.5),
  'policy-forbids': (faults) => {
    const host = faults.host();
    const group = faults.group();
    faults.lasting(
      15_000,
      () => {
        host.refuses.add(group);
        host.agent?.review();
      },
      () => {
        host.refuses.delete(group);
        host.agent?.review();
      },
    );
  },
};

/** Beyond what the protocol covers (docs/simulator.md): only by name. */
export const UNCOVERED_NODE_FAULTS: Kinds = {
  'cloned-identity': (faults) => {
    const original = faults.host();
    if (faults.cluster.clones.length >= 3) return;
    const clone = faults.cluster.clone(original);
    faults.lasting(
      20_000,
      () => clone.powerOn(),
      () => clone.powerOff(),
    );
  },
  'disk-lost': (faults) => {
    const host = faults.host();
    faults.lasting(
      faults.random.pick([500, 6_000]),
      () => {
        host.powerOff();
        host.disk.epochs = NO_EPOCHS;
        host.disk.config = undefined;
        host.disk.peers = undefined;
      },
      () => host.powerOn(),
    );
  },
  'disk-rolled-back': (faults) => {
    const host = faults.host();
    const { epochs } = host.disk;
    faults.later(30_000, () =>
      faults.lasting(
        faults.random.pick([500, 6_000]),
        () => {
          host.powerOff();
          host.disk.epochs = epochs;
        },
        () => host.powerOn(),
      ),
    );
  },
};
