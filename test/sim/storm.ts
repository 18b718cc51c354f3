/**
 * A cluster of three hosts in a storm: faults of a few kinds, chosen by the seed, for some minutes; then quiet, in which every group
 * has to come up somewhere again.
 */
import type { Config } from '../../schemas/config.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { DownMessage, Report } from '../../schemas/wire.ts';
import { Coordinator } from './coordinator.ts';
import { Host } from './host.ts';
import { Violation, World } from './world.ts';

export interface StormResult {
  readonly violation: string | undefined;
  readonly counts: ReadonlyMap<string, number>;
  readonly timeline: string;
}

const HOSTS = ['a', 'b', 'c'];
const PROFILES = Object.values(LEASE_PROFILES);
/** In the quiet every group is up again after this time at the latest: leases of 15 s run out, quarantines and back-offs end. */
const QUIET_MS = 75_000;

function configOf(timing: Config['timing'], second: boolean): Config {
  const ip = (id: string) => ({ type: 'vip', id, address: '192.0.2.10/24', times: {} }) as const;
  return {
    cluster: 'storm',
    nodes: HOSTS,
    timing,
    groups: {
      db: { name: 'db', on: HOSTS, resources: [ip('ip'), ip(second ? 'mail' : 'web')] },
      log: { name: 'log', on: ['b', 'c'], resources: [ip('ip')] },
    },
  };
}

class Storm {
  readonly world: World;
  readonly coordinator: Coordinator;
  readonly hosts: readonly Host[];
  /** Ways that are cut: `a>` to the coordinator, `>a` from it. */
  readonly #cut = new Set<string>();
  #loss = 0;
  #duplicates = 0;
  #delayMs = 0;
  #operations = 0;

  constructor(seed: number, record: boolean) {
    this.world = new World(seed, record);
    const profile = this.world.random.pick([LEASE_PROFILES.default, LEASE_PROFILES.default, LEASE_PROFILES.fast]);
    this.coordinator = new Coordinator(this.world, configOf(profile, false), (node, message) =>
      this.#toHost(node, message),
    );
    this.hosts = HOSTS.map((name) => new Host(this.world, name, (report) => this.#toCoordinator(name, report)));
  }

  #toCoordinator(name: string, report: Report): void {
    this.#travel(`${name}>`, () => this.coordinator.receive(report));
  }

  #toHost(name: string, message: DownMessage): void {
    const host = this.hosts.find((candidate) => candidate.name === name);
    this.#travel(`>${name}`, () => host?.receive(message));
  }

  #travel(way: string, arrive: () => void): void {
    const { random } = this.world;
    const copies = random.chance(this.#duplicates) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#cut.has(way) || random.chance(this.#loss)) continue;
      const spike = random.chance(0.1) ? random.exponential(this.#delayMs + 1) : 0;
      this.world.after(random.between(1, 25) + spike + (copy > 0 ? random.between(0, 3_000) : 0), arrive);
    }
  }

  /** One fault of each kind, which ends by itself. */
  readonly #kinds: Readonly<Record<string, () => void>> = {
    'lossy network': () =>
      this.#for(
        10_000,
        () => (this.#loss = 0.3),
        () => (this.#loss = 0),
      ),
    duplicates: () =>
      this.#for(
        20_000,
        () => (this.#duplicates = 0.3),
        () => (this.#duplicates = 0),
      ),
    'slow network': () =>
      this.#for(
        15_000,
        () => (this.#delayMs = 2_000),
        () => (this.#delayMs = 0),
      ),
    isolation: () => this.#cutFor(['>', '<'], 10_000),
    'one-way cut': () => this.#cutFor([this.world.random.pick(['>', '<'])], 10_000),
    'cut of all': () => {
      for (const { name } of this.hosts) this.#cutFor(['>', '<'], 5_000, name);
    },
    pause: () => {
      const { agent } = this.#someHost();
      if (agent === undefined || agent.ending) return;
      this.#for(
        4_000,
        () => agent.pause(),
        () => agent.resume(),
      );
    },
    'agent crash': () => {
      const host = this.#someHost();
      if (host.agent !== undefined && !host.agent.ending) host.killAgent('crash', false);
    },
    reboot: () => {
      const host = this.#someHost();
      this.#for(
        8_000,
        () => host.powerOff(),
        () => host.powerOn(),
      );
    },
    'declared dead': () => {
      const host = this.#someHost();
      this.#for(
        15_000,
        () => host.powerOff(),
        () => host.powerOn(),
      );
      this.world.after(this.world.random.between(500, 6_000), () => {
        if (!host.powered) this.coordinator.act({ type: 'confirm-dead', node: host.name });
      });
    },
    'guard lost': () => {
      const host = this.#someHost();
      if (host.agent !== undefined && !host.agent.paused && host.troubles.stopHangs === 0) host.loseGuard();
    },
    'coordinator restarts': () =>
      this.#for(
        200,
        () => this.coordinator.crash(),
        () => this.coordinator.begin(),
      ),
    'coordinator away': () =>
      this.#for(
        12_000,
        () => this.coordinator.crash(),
        () => this.coordinator.begin(),
      ),
    'slow storage': () =>
      this.#for(
        10_000,
        () => (this.coordinator.slowDiskMs = 1_500),
        () => (this.coordinator.slowDiskMs = 0),
      ),
    'clock forward': () => this.coordinator.stepClock(this.world.random.exponential(30_000)),
    'clock back': () => this.coordinator.stepClock(-this.world.random.exponential(30_000)),
    'failing starts': () => this.#trouble('startFails', 0.5, 0),
    'hanging stops': () => this.#trouble('stopHangs', 0.4, 0),
    'dying resources': () => this.#trouble('dies', 0.5, 0),
    'slow disk': () => this.#trouble('persistMs', 2_000, 20),
    'other timing': () => {
      const { random } = this.world;
      this.coordinator.act({ type: 'apply', config: configOf(random.pick(PROFILES), random.chance(0.5)) });
    },
    move: () =>
      this.coordinator.act({
        type: 'move',
        group: this.world.random.pick(['db', 'log']),
        to: this.world.random.chance(0.5) ? null : this.world.random.pick(HOSTS),
        operation: this.#operation(),
      }),
    standby: () => {
      const node = this.#someHost().name;
      this.coordinator.act({ type: 'node-standby', node, operation: this.#operation() });
      this.world.after(this.world.random.exponential(8_000), () => this.coordinator.act({ type: 'node-ready', node }));
    },
    'group stop': () => {
      const group = this.world.random.pick(['db', 'log']);
      this.coordinator.act({ type: 'group-stop', group, operation: this.#operation() });
      this.world.after(this.world.random.exponential(5_000), () =>
        this.coordinator.act({ type: 'group-start', group, operation: this.#operation() }),
      );
    },
    cleanup: () => this.coordinator.act({ type: 'cleanup', group: 'db' }),
  };

  #operation(): string {
    this.#operations += 1;
    return `op-${this.#operations}`;
  }

  #someHost(): Host {
    return this.world.random.pick(this.hosts);
  }

  #for(meanMs: number, begin: () => void, end: () => void): void {
    begin();
    this.world.after(this.world.random.exponential(meanMs), end);
  }

  #cutFor(directions: readonly string[], meanMs: number, host = this.#someHost().name): void {
    const ways = directions.map((direction) => (direction === '>' ? `${host}>` : `>${host}`));
    const change = (what: 'add' | 'delete') => {
      for (const way of ways) this.#cut[what](way);
    };
    this.#for(
      meanMs,
      () => change('add'),
      () => change('delete'),
    );
  }

  #trouble(key: keyof Host['troubles'], value: number, normal: number): void {
    const { troubles } = this.#someHost();
    this.#for(
      15_000,
      () => (troubles[key] = value),
      () => (troubles[key] = normal),
    );
  }

  /** Each seed draws its own few kinds: rare combinations come up that a mixture of everything would drown. */
  #begin(): void {
    const { random } = this.world;
    for (const [kind, strike] of Object.entries(this.#kinds)) {
      if (random.chance(0.5)) continue;
      const meanMs = random.between(8_000, 60_000);
      const next = () =>
        this.world.after(random.exponential(meanMs), () => {
          if (this.world.quiet) return;
          this.world.count('fault');
          this.world.note('FAULT', () => kind);
          strike();
          next();
        });
      next();
    }
  }

  /** Every fault ends, whatever its own time. */
  #heal(): void {
    this.world.quiet = true;
    this.world.note('FAULT', () => 'all faults end');
    this.#cut.clear();
    this.#loss = this.#duplicates = this.#delayMs = this.coordinator.slowDiskMs = 0;
    this.coordinator.begin();
    for (const host of this.hosts) {
      Object.assign(host.troubles, { startFails: 0, stopHangs: 0, dies: 0, persistMs: 20 });
      host.powerOn();
      host.agent?.resume();
      host.startAgent();
      this.coordinator.act({ type: 'node-ready', node: host.name });
    }
    for (const group of ['db', 'log']) {
      this.coordinator.act({ type: 'cleanup', group });
      this.coordinator.act({ type: 'group-start', group, operation: this.#operation() });
    }
  }

  run(stormMs: number): string | undefined {
    try {
      for (const host of this.hosts) host.powerOn();
      this.world.run(5_000);
      this.#begin();
      this.world.run(stormMs);
      this.#heal();
      this.world.run(stormMs + QUIET_MS);
      return this.#unhealed();
    } catch (error) {
      if (error instanceof Violation) return error.message;
      throw error;
    }
  }

  #unhealed(): string | undefined {
    for (const [group, wanted] of [
      ['db', 2],
      ['log', 1],
    ] as const) {
      const [place] = this.world.referee.where(group);
      const shown = this.coordinator.state?.durable.groups[group]?.shown;
      if (place?.resources.length !== wanted)
        return `${group} is not up ${QUIET_MS / 1_000} s after the last fault (${JSON.stringify(place ?? 'nowhere')}, shown as ${shown})`;
      if (shown !== 'running') return `${group} runs on ${place.host} and is shown as ${shown}`;
    }
    return undefined;
  }
}

/** @param record also keep a timeline of the last moments. */
export function storm(seed: number, stormMs: number, record: boolean): StormResult {
  const weather = new Storm(seed, record);
  const violation = weather.run(stormMs);
  return { violation, counts: weather.world.counts, timeline: weather.world.timeline };
}
