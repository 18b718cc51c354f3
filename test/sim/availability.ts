/**
 * What an outage of the coordinator may cost: nothing, while the voters of a group are up and hear each other. The watch is set when an
 * outage begins with nothing else wrong, and lifted when it is over.
 */
import type { Cluster } from './cluster.ts';
import { Violation } from './referee.ts';

interface Watched {
  readonly host: string;
  readonly resources: readonly string[];
}

export class Availability {
  readonly #cluster: Cluster;
  readonly #watched = new Map<string, Watched>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    cluster.world.referee.onDown = (group, resource, host) => this.#onDown(group, resource, host);
  }

  /** The coordinator is about to be away. Groups that run, by a lease that has nothing else in its way, are to run on. */
  watch(): void {
    const { world, kind } = this.#cluster;
    for (const group of kind.groups) {
      const [place, ...others] = world.referee.where(group);
      if (place === undefined || others.length > 0 || !this.#mayOutlive(group, place.host)) continue;
      this.#watched.set(group, place);
      world.count('outage watched');
    }
  }

  lift(): void {
    this.#watched.clear();
  }

  #mayOutlive(group: string, hostName: string): boolean {
    const { hosts, coordinator } = this.#cluster;
    const host = hosts.find(({ name }) => name === hostName);
    const keep = host?.agent?.keep;
    const held = keep?.held[group];
    if (host === undefined || keep === undefined || held === undefined) return false;
    if (held.phase !== 'active' || keep.groups[group]?.requiresUplink === true) return false;
    const record = coordinator.state?.durable.groups[group];
    // an order may be on its way: a move, a stop, the end of a group
    if (record === undefined || record.target !== null || record.desired === 'stopped' || record.halt !== null)
      return false;
    // its voters have been asked, and have answered
    const hadMs = coordinator.wall() - (record.lease?.grantedAt ?? coordinator.wall());
    if (record.lease?.epoch !== held.epoch || hadMs < 1_000 + 2 * keep.timing.renewMs) return false;
    return held.voters.names.every((name) => hosts.some(({ node, agent }) => node === name && agent !== undefined));
  }

  #onDown(group: string, resource: string, host: string): void {
    const watched = this.#watched.get(group);
    if (watched?.host !== host || !watched.resources.includes(resource)) return;
    const held = this.#cluster.hosts.find(({ name }) => name === host)?.agent?.keep.held[group];
    // the coordinator had ordered it before it went away
    if (held?.phase === 'draining') {
      this.#watched.delete(group);
      return;
    }
    throw new Violation(`${group} goes down on ${host}, although nothing but the coordinator is away`);
  }
}
