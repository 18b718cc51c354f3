/** The groups of a host, as node-agent/agent/groups.ts keeps them: made and changed by the configuration, kept away by the node's policy. */
import type { GiveUp } from '../../node-agent/agent/run.ts';
import type { NodeConfig, Refusal } from '../../schemas/wire.ts';
import type { Agent } from './agent.ts';
import type { Host } from './host.ts';
import { Runner } from './runner.ts';

const NONE: readonly Refusal[] = [];

export class Groups {
  readonly #host: Host;
  readonly #agent: Agent;
  readonly #runners = new Map<string, Runner>();
  readonly #stuck = new Map<string, string>();
  /** Groups that no configuration names here any more and that are still being stopped. */
  readonly #leaving = new Set<string>();
  #config: NodeConfig | undefined;
  /** Not on disk yet: what it leaves out is not verified to be down. */
  #unsaved = false;
  #begun = false;
  /** One configuration at a time, in the order in which they came. */
  #readyAt = 0;

  constructor(host: Host, agent: Agent) {
    this.#host = host;
    this.#agent = agent;
  }

  get(name: string): Runner | undefined {
    return this.#runners.get(name);
  }

  all(): IterableIterator<Runner> {
    return this.#runners.values();
  }

  /** The configuration of an earlier life, before anything is begun. */
  restore(config: NodeConfig): void {
    this.#configure(config);
  }

  /** A configuration that just came. */
  configure(config: NodeConfig): void {
    const { world } = this.#host;
    this.#readyAt = Math.max(this.#readyAt, world.now + world.random.between(1, 40));
    this.#agent.process.later(this.#readyAt - world.now, () => {
      this.#configure(config);
      this.#unsaved = true;
      this.#save();
      this.#agent.reconsider();
    });
  }

  /** Begins to look at every group: without a lease, what runs is stopped. */
  begin(): void {
    this.#begun = true;
    for (const runner of this.#runners.values()) runner.apply({ type: 'tick' });
  }

  #configure(config: NodeConfig): void {
    this.#config = config;
    for (const { name, resources } of config.groups) {
      this.#leaving.delete(name);
      const runner = this.#runners.get(name);
      if (runner === undefined) {
        const made = new Runner(this.#agent, this.#host, name, resources);
        this.#runners.set(name, made);
        if (this.#begun) made.apply({ type: 'tick' });
      } else if (this.#host.refuses.has(name)) runner.down('graceful');
      else runner.declare(resources);
    }
    for (const [name, runner] of this.#runners) {
      if (config.groups.some((group) => group.name === name)) continue;
      this.#leaving.add(name);
      if (!this.#agent.holds(name)) runner.down('forced');
    }
  }

  /** The policy of the node has changed. */
  review(): void {
    for (const name of this.#host.refuses) this.#runners.get(name)?.down('graceful');
  }

  /** On disk only when everything that the new configuration leaves out is down: a host that restarts must know what to verify. */
  #save(): void {
    const config = this.#config;
    if (!this.#unsaved || config === undefined || this.#leaving.size > 0) return;
    for (const runner of this.#runners.values()) if (runner.pending) return;
    this.#unsaved = false;
    this.#agent.process.later(this.#host.world.random.between(1, 20), () => {
      if (this.#host.troubles.diskFails) this.#unsaved = true;
      else this.#host.disk.config = config;
    });
  }

  onChange(): void {
    this.#save();
  }

  /** The fuse was closed: nothing of the group is held here any more. */
  settled(name: string): void {
    this.#stuck.delete(name);
    if (!this.#leaving.delete(name)) return;
    this.#runners.delete(name);
    this.#save();
  }

  stuck(name: string, reason: string): void {
    this.#stuck.set(name, reason);
  }

  /** Groups that are verified to be down, and that this node may and can run. */
  claimable(): Set<string> {
    const names = new Set<string>();
    for (const { name, isDown } of this.#runners.values())
      if (isDown && !this.#leaving.has(name) && !this.#host.refuses.has(name)) names.add(name);
    return names;
  }

  refusals(): readonly Refusal[] {
    if (this.#host.refuses.size === 0 && this.#stuck.size === 0) return NONE;
    const forbidden = [...this.#host.refuses].map((group) => ({ group, resource: 'ip', reason: 'policy.yaml' }));
    const stuck = [...this.#stuck].map(([group, reason]) => ({ group, resource: group, reason }));
    return [...forbidden, ...stuck];
  }

  giveUp(name: string, failure: GiveUp): void {
    this.#runners.get(name)?.giveUp(failure);
  }
}
