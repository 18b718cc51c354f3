/** A cluster of the simulator: its hosts and its coordinator, and the wires between them. */
import type { DownMessage, Report } from '../../schemas/wire.ts';
import type { LanMessage } from './agent-lan.ts';
import { ClusterKind } from './clusters.ts';
import { Coordinator } from './coordinator.ts';
import { Host } from './host.ts';
import { COORDINATOR, Network } from './network.ts';
import { World, type WorldOptions } from './world.ts';

export class Cluster {
  readonly world: World;
  readonly kind: ClusterKind;
  readonly coordinator: Coordinator;
  readonly wan: Network;
  readonly lan: Network;
  readonly hosts: readonly Host[];
  /** Machines that came out of a copy of another's disk. */
  readonly clones: Host[] = [];
  /** Hosts whose reports still reach an instance that was replaced. */
  readonly staleFor = new Set<string>();
  /** Where each node last spoke from. */
  readonly #sockets = new Map<string, Host>();
  /** With which instance of the coordinator each host has its session. */
  readonly #sessions = new Map<Host, string>();
  /** How often a reply that carries a grant gets lost. */
  grantsLost = 0;
  /** What an incarnation said that is over may arrive long after it. */
  lateIncarnations = false;
  #operations = 0;

  constructor(options: WorldOptions) {
    this.world = new World(options);
    this.kind = new ClusterKind(this.world.random);
    this.world.groups = this.kind.groups;
    if (this.kind.ruleName.includes('apart')) this.world.referee.apart = this.kind.groups;
    if (this.kind.ruleName !== '') this.world.count(`rule: ${this.kind.ruleName}`);
    this.wan = new Network(this.world, 1, 25);
    this.lan = new Network(this.world, 0.1, 2);
    this.coordinator = new Coordinator(this.world, this.kind.config(this.kind.first), (node, message) => {
      const host = this.#sockets.get(node);
      if (host !== undefined) this.#toHost(host, message);
    });
    this.hosts = this.kind.hosts.map((name) => this.#host(name));
  }

  #host(name: string, original?: Host): Host {
    const wires = {
      report: (from: Host, report: Report) => this.#toCoordinator(from, report),
      lan: (from: Host, address: string, message: LanMessage) => this.#overLan(from, address, message),
    };
    return new Host(this.world, name, wires, original);
  }

  #toCoordinator(from: Host, report: Report): void {
    const sentAt = this.world.now;
    this.wan.carry(from.name, COORDINATOR, () => {
      if (!this.lateIncarnations && this.#isOutlived(from, report, sentAt)) return;
      this.#sockets.set(from.node, from);
      this.#opensSession(from);
      const answer = (message: DownMessage) => this.#toHost(from, message);
      this.coordinator.receive(report, answer, this.staleFor.has(from.name));
    });
  }

  /** A coordinator that began anew knows no session of before: the host opens one, and what is under way no longer counts. */
  #opensSession(host: Host): void {
    const instance = this.coordinator.state?.volatile.instance;
    if (instance === undefined || this.#sessions.get(host) === instance) return;
    this.#sessions.set(host, instance);
    host.changesWay();
  }

  /** Its incarnation was over before it arrived, and another one speaks for the host by now. */
  #isOutlived({ guard }: Host, { incarnation, leaseMs }: Report, sentAt: number): boolean {
    if (guard?.incarnation === undefined || guard.incarnation === incarnation) return false;
    return this.world.now - sentAt > leaseMs / 2;
  }

  #toHost(host: Host, message: DownMessage): void {
    if (
      this.grantsLost > 0 &&
      message.type === 'reply' &&
      message.grants.length > 0 &&
      this.world.random.chance(this.grantsLost)
    ) {
      this.world.count('grant lost');
      this.world.note(host.name, () => 'the answer with its grant gets lost');
      return;
    }
    this.wan.carry(COORDINATOR, host.name, () => host.receive(message));
  }

  #overLan(from: Host, address: string, message: LanMessage): void {
    const to = this.hosts.find(({ name }) => name === address) ?? this.clones.find(({ name }) => name === address);
    if (to !== undefined && to !== from) this.lan.carry(from.name, address, () => to.hear(message));
  }

  /** Another machine with a copy of this one's disk. */
  clone(original: Host): Host {
    const clone = this.#host(`${original.name}${this.clones.length + 2}`, original);
    this.clones.push(clone);
    return clone;
  }

  /** Of an action of an operator. */
  operation(): string {
    this.#operations += 1;
    return `op-${this.#operations}`;
  }

  /** Who has the group now, by its own word. */
  ownerOf(group: string): Host | undefined {
    return this.hosts.find(({ agent }) => {
      const held = agent?.keep.held[group];
      return held !== undefined && held.phase !== 'lost' && held.phase !== 'stuck';
    });
  }
}
