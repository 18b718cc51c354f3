/**
 * The referee sees every host at once, and judges by true time: one host per group, epochs that only rise, nothing without a durable
 * grant, nothing before its epoch is on disk and its fuse armed.
 */
import type { World } from './world.ts';

/** What must never happen has happened. */
export class Violation extends Error {
  override name = 'Violation';
}

export interface Activation {
  readonly epoch: number;
  readonly host: string;
  /** Who the host says it is. */
  readonly node: string;
  readonly incarnation: string;
  /** The highest epoch of the group on the host's disk. */
  readonly onDisk: number;
  /** The epoch that the host's guard has armed. */
  readonly armed: number | undefined;
}

export class Referee {
  readonly #world: World;
  /** What is up, by group: host → resources. */
  readonly #up = new Map<string, Map<string, Set<string>>>();
  readonly #activations = new Map<string, Activation>();
  readonly #granted = new Set<string>();
  /** Hosts that are suspended: what is up there answers nobody. */
  readonly #asleep = new Set<string>();
  /** Groups of which never two are on one host. */
  apart: readonly string[] = [];
  /** Told of whatever goes down. */
  onDown: ((group: string, resource: string, host: string) => void) | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** A grant is on the coordinator's disk. */
  granted(group: string, epoch: number, node: string): void {
    this.#granted.add(`${group} ${epoch} ${node}`);
  }

  /** Something of the group is up from now on. */
  up(group: string, resource: string, now: Activation): void {
    const { epoch, host } = now;
    this.#judgePlace(group, now);
    this.#judgeEpoch(group, now);
    const last = this.#activations.get(group);
    if (last !== undefined && last.host !== host) this.#world.count('change of host');
    this.#activations.set(group, now);
    this.#world.count('start');
    const hosts = this.#up.get(group) ?? new Map<string, Set<string>>();
    this.#up.set(group, hosts);
    hosts.set(host, (hosts.get(host) ?? new Set()).add(resource));
    this.#world.note(host, () => `UP   ${group}/${resource} epoch ${epoch}`);
  }

  #judgePlace(group: string, { epoch, host }: Activation): void {
    for (const [other, resources] of this.#up.get(group) ?? [])
      if (other !== host && resources.size > 0 && !this.#asleep.has(other))
        throw new Violation(`${group} comes up on ${host} (epoch ${epoch}) while ${[...resources]} is up on ${other}`);
    for (const other of this.apart.includes(group) ? this.apart : [])
      if (other !== group && (this.#up.get(other)?.get(host)?.size ?? 0) > 0)
        throw new Violation(`${group} comes up on ${host} beside ${other}, from which it is kept apart`);
  }

  #judgeEpoch(group: string, { epoch, host, node, incarnation, onDisk, armed }: Activation): void {
    if (!this.#granted.has(`${group} ${epoch} ${node}`))
      throw new Violation(`${host} starts ${group} in epoch ${epoch}, which was never durably granted to it`);
    if (onDisk < epoch)
      throw new Violation(`${host} starts ${group} in epoch ${epoch} with no more than epoch ${onDisk} on its disk`);
    if (armed !== epoch)
      throw new Violation(`${host} starts ${group} in epoch ${epoch}, and its guard has ${armed ?? 'nothing'} armed`);
    const last = this.#activations.get(group);
    if (last === undefined) return;
    if (epoch < last.epoch)
      throw new Violation(`${host} starts ${group} in epoch ${epoch} after epoch ${last.epoch} ran on ${last.host}`);
    if (last.epoch === epoch && (last.host !== host || last.incarnation !== incarnation))
      throw new Violation(`epoch ${epoch} of ${group} starts twice: ${last.incarnation} and ${incarnation}`);
  }

  down(group: string, resource: string, host: string): void {
    if (this.#up.get(group)?.get(host)?.delete(resource) !== true) return;
    this.#world.note(host, () => `DOWN ${group}/${resource}`);
    this.onDown?.(group, resource, host);
  }

  /** The host is suspended: nothing of it answers, and nothing of it goes on. */
  sleeps(host: string): void {
    this.#asleep.add(host);
  }

  /** It goes on, and its guard, which comes first, has acted: what is up there now must be its own. */
  wakes(host: string): void {
    this.#asleep.delete(host);
    for (const [group, hosts] of this.#up) {
      const up = [...hosts].filter(([name, resources]) => resources.size > 0 && !this.#asleep.has(name));
      if (up.length > 1 && up.some(([name]) => name === host))
        throw new Violation(
          `${host} wakes with ${group}, which is up on ${up.map(([name]) => name).filter((name) => name !== host)}`,
        );
    }
  }

  isUp(group: string, resource: string, host: string): boolean {
    return this.#up.get(group)?.get(host)?.has(resource) ?? false;
  }

  /** What of the group is up on this host. */
  on(group: string, host: string): readonly string[] {
    return [...(this.#up.get(group)?.get(host) ?? [])];
  }

  /** Hosts on which something of the group is up, with what. */
  where(group: string): { host: string; resources: string[] }[] {
    return [...(this.#up.get(group) ?? [])]
      .filter(([, resources]) => resources.size > 0)
      .map(([host, resources]) => ({ host, resources: [...resources] }));
  }
}
