/**
 * The groups of this node: made and changed by the configuration that the coordinator sends, bounded by the policy of the node. Also
 * what this node will not do, and why.
 */
import type { Copy } from '../../schemas/copies.ts';
import { LEASE_PROFILES, MAX_GROUPS } from '../../schemas/limits.ts';
import type { NodeConfig, NodeGroup, Refusal } from '../../schemas/wire.ts';
import type { GuardClient } from '../guard/index.ts';
import { drbdResources, type ResourceContext, releaseUnits } from '../resources/index.ts';
import { type Addresses, bootMs, type Cgroups, type Log, subnetsOf, textOf, watchForFile } from '../system/index.ts';
import { Group, type Planned } from './group.ts';
import type { NodeFuse } from './node-fuse.ts';
import { type GroupPlan, planGroup } from './plan.ts';
import { Policy, PolicyError } from './policy.ts';
import type { GiveUp, RunNews } from './run.ts';
import type { StateFile } from './state-file.ts';

/** Of all refusals together, characters: they must fit into one report beside the leases. */
const MAX_REASONS = 40_000;
const MAX_REASON = 1_000;

/** How often it is looked whether what keeps a group from running here was mended, and whether a unit can be given back. */
const LOOK_AGAIN_MS = 10_000;

/** What the groups need of the agent around them. */
export interface Surroundings {
  readonly stateDir: string;
  readonly files: StateFile;
  readonly guard: GuardClient;
  readonly addresses: Addresses;
  readonly cgroups: Cgroups | undefined;
  readonly log: Log;
  /** Epoch under which the group is to run here, if there is one. */
  heldEpoch(group: string): number | undefined;
  lifetimeSeconds(group: string): number;
  onNews(group: string, news: RunNews): void;
  onDown(group: string, failure: GiveUp | undefined): void;
  onStuck(group: string): void;
  onChange(group: string): void;
  /** Refusals, or which groups may be claimed, may have changed. */
  onReconsider(): void;
  /** A copy of replicated data is not any more as it was told. */
  onCopies(): void;
  onStateNotWritable(error: unknown): void;
}

export class Groups {
  readonly #around: Surroundings;
  readonly #groups = new Map<string, Group>();
  #refusals = new Map<string, readonly Refusal[]>();
  readonly #stuck = new Map<string, string>();
  /** Groups that no configuration names here any more and that are still being stopped. */
  readonly #leaving = new Set<string>();
  #config: NodeConfig | undefined;
  /** The configuration on disk, to write it only when it changes. */
  #saved = '';
  /** Not on disk yet: what it leaves out is not verified to be down. */
  #unsaved = false;
  /** From `begin` on a new group is looked at as soon as it is known. */
  #begun = false;
  /** One configuration at a time. */
  #busy: Promise<void> = Promise.resolve();
  #again: NodeJS.Timeout | undefined;
  readonly #endWatch: () => void;

  constructor(around: Surroundings) {
    this.#around = around;
    // an administrator who changes the policy is obeyed at once, also where he narrows it
    this.#endWatch = watchForFile(around.stateDir, 'policy.yaml', () => {
      if (this.#config === undefined) return;
      around.log.info('policy.yaml has changed: read again');
      this.#enqueue(this.#config, false);
    });
  }

  get(name: string): Group | undefined {
    return this.#groups.get(name);
  }

  all(): Group[] {
    return [...this.#groups.values()];
  }

  /** Of replicated data, of every group that may run here. */
  copies(): Copy[] {
    return this.all().flatMap((group) => group.copies);
  }

  /** The group whose data this DRBD resource is, by the configuration. */
  groupOfDrbd(resource: string): string | undefined {
    return this.#config?.groups.find(({ resources }) =>
      resources.some((one) => one.type === 'drbd' && one.resource === resource),
    )?.name;
  }

  refusalsOf(name: string): readonly Refusal[] {
    return this.#refusals.get(name) ?? [];
  }

  /** Addresses, without prefix, that belong to groups and not to this node. */
  virtualAddresses(): ReadonlySet<string> {
    const resources = (this.#config?.groups ?? []).flatMap((group) => group.resources);
    return new Set(resources.flatMap((one) => (one.type === 'vip' ? [one.address.split('/')[0] ?? one.address] : [])));
  }

  /** The configuration of an earlier life, before anything is begun. */
  async restore(config: NodeConfig): Promise<void> {
    this.#saved = JSON.stringify(config);
    await this.#configure(config);
  }

  /** A configuration that just came. */
  configure(config: NodeConfig): void {
    this.#enqueue(config, true);
  }

  /** Begins to look at every group: without a lease, what runs is stopped. */
  begin(): void {
    this.#begun = true;
    for (const group of this.#groups.values()) group.begin();
  }

  dispose(): void {
    this.#endWatch();
    clearTimeout(this.#again);
    for (const group of this.#groups.values()) group.dispose();
  }

  /** The fuse was closed: nothing of the group is held here any more. */
  settled(name: string): void {
    this.#stuck.delete(name);
    if (!this.#leaving.delete(name)) return;
    this.#groups.get(name)?.dispose();
    this.#groups.delete(name);
    this.#save();
  }

  stuck(name: string, reason: string): void {
    if (this.#stuck.get(name) === reason) return;
    this.#around.log.warn(`${name}: cannot be stopped: ${reason}`);
    this.#stuck.set(name, reason);
  }

  /** Groups that are verified to be down, and that this node may and can run, with the fuse it has. */
  claimable(fuse?: Pick<NodeFuse, 'isEnoughFor'>): Set<string> {
    const fences = new Map(this.#config?.groups.map(({ name, fence }) => [name, fence]));
    const ready = this.all().filter(
      (group) =>
        group.isDown &&
        fuse?.isEnoughFor(fences.get(group.name) ?? 'guard') !== false &&
        !this.#leaving.has(group.name) &&
        this.refusalsOf(group.name).length === 0,
    );
    return new Set(ready.map((group) => group.name));
  }

  /** What this node will not do: by its policy, by what is installed, and because something of it cannot be stopped here. */
  refusals(): Refusal[] {
    // whatever of a lease there still was is lost with it
    const stuck = [...this.#stuck].map(([group, reason]) => ({
      group,
      resource: group,
      reason: `runs here without a lease and cannot be stopped: ${reason}`,
    }));
    // one reason for each group is enough to keep it away
    const first = [...this.#refusals.values()].flatMap((refusals) => refusals.slice(0, 1));
    const all = [...first, ...stuck].slice(0, MAX_GROUPS);
    const length = Math.min(MAX_REASON, Math.floor(MAX_REASONS / Math.max(1, all.length)));
    return all.map((refusal) => ({ ...refusal, reason: refusal.reason.slice(0, length) }));
  }

  #enqueue(config: NodeConfig, isNew: boolean): void {
    this.#busy = this.#busy
      .then(() => this.#configure(config))
      .then(() => {
        if (isNew) this.#unsaved = JSON.stringify(config) !== this.#saved;
        this.#save();
        this.#around.onReconsider();
      })
      .catch((error: unknown) => {
        this.#around.log.warn(`the configuration could not be put in force: ${textOf(error)}`);
      });
  }

  async #configure(config: NodeConfig): Promise<void> {
    this.#config = config;
    const { policy, problem } = await this.#loadPolicy();
    const refusals = new Map<string, readonly Refusal[]>();
    for (const declared of config.groups) {
      const plan = await planGroup(declared, policy, problem, (group) => this.#context(group));
      refusals.set(declared.name, plan.refusals);
      this.#leaving.delete(declared.name);
      this.#take(declared.name, plan);
    }
    this.#refusals = refusals;
    this.#letGo(new Set(config.groups.map((group) => group.name)));
    await this.#lookAgainLater(config);
  }

  #take(name: string, { planned, refusals }: GroupPlan): void {
    const group = this.#groups.get(name);
    if (refusals.length > 0) {
      // the coordinator keeps it away by the refusal; what runs is stopped in order and given back
      group?.down('graceful');
      if (group === undefined && planned.length > 0) this.#add(name, planned);
    } else if (group === undefined) this.#add(name, planned);
    else group.declare(planned);
  }

  /** An administrator may have mended what kept a group away: a missing agent, an enabled unit. */
  async #review(config: NodeConfig): Promise<void> {
    if (config !== this.#config) return;
    const refused = config.groups.filter(({ name }) => this.refusalsOf(name).length > 0);
    const { policy, problem } = refused.length === 0 ? {} : await this.#loadPolicy();
    let changed = false;
    for (const declared of refused) {
      const plan = await planGroup(declared, policy, problem, (group) => this.#context(group));
      if (JSON.stringify(plan.refusals) === JSON.stringify(this.refusalsOf(declared.name))) continue;
      changed = true;
      this.#refusals.set(declared.name, plan.refusals);
      this.#take(declared.name, plan);
    }
    if (changed) this.#around.onReconsider();
    await this.#lookAgainLater(config);
  }

  async #lookAgainLater(config: NodeConfig): Promise<void> {
    clearTimeout(this.#again);
    const givenBack = await releaseUnits(unitsOf(config.groups)).catch((error: unknown) => {
      this.#around.log.warn(`units that are not named any more could not be given back: ${textOf(error)}`);
      return false;
    });
    if (givenBack && ![...this.#refusals.values()].some((refusals) => refusals.length > 0)) return;
    this.#again = setTimeout(() => {
      this.#busy = this.#busy
        .then(() => this.#review(config))
        .catch((error: unknown) => this.#around.log.warn(`refusals could not be reviewed: ${textOf(error)}`));
    }, LOOK_AGAIN_MS);
    this.#again.unref();
  }

  /** Groups that left the configuration: one that is held waits for the coordinator's order, any other is stopped and then forgotten. */
  #letGo(named: ReadonlySet<string>): void {
    for (const [name, group] of this.#groups) {
      if (named.has(name)) continue;
      this.#leaving.add(name);
      if (this.#around.heldEpoch(name) === undefined) group.down('forced');
    }
  }

  #add(name: string, planned: readonly Planned[]): void {
    const { log, guard, onNews, onDown, onChange, onStuck, onCopies } = this.#around;
    const group = new Group(
      {
        name,
        guard,
        now: bootMs,
        log,
        onNews: (news) => onNews(name, news),
        onDown: (failure) => onDown(name, failure),
        onStuck: (reason) => {
          this.stuck(name, reason);
          onStuck(name);
        },
        onChange: () => {
          this.#save();
          onChange(name);
        },
        onCopies,
      },
      planned,
    );
    this.#groups.set(name, group);
    if (this.#begun) group.begin();
  }

  /** On disk only when everything that the new configuration leaves out is down: a host that restarts must know what to verify. */
  #save(): void {
    if (!this.#unsaved || this.#leaving.size > 0 || this.#config === undefined) return;
    if (this.all().some((group) => group.pending)) return;
    this.#unsaved = false;
    const config = this.#config;
    this.#around.files.saveConfig(config).then(
      () => {
        this.#saved = JSON.stringify(config);
      },
      (error: unknown) => {
        this.#unsaved = true;
        this.#around.onStateNotWritable(error);
      },
    );
  }

  async #loadPolicy(): Promise<{ policy?: Policy; problem?: string }> {
    try {
      const subnets = subnetsOf(await this.#around.addresses.read());
      const replicated = this.#config?.groups.some(({ resources }) => resources.some(({ type }) => type === 'drbd'));
      const drbd = replicated === true ? await drbdResources() : [];
      return { policy: await Policy.load(`${this.#around.stateDir}/policy.yaml`, { subnets, drbd }) };
    } catch (error) {
      // whatever is wrong with it: what cannot be read allows nothing
      if (!(error instanceof PolicyError)) return { problem: `the policy cannot be read: ${textOf(error)}` };
      this.#around.log.warn(error.message);
      return { problem: error.message };
    }
  }

  #context(group: string): ResourceContext {
    const { guard, addresses, cgroups, log } = this.#around;
    return {
      group,
      announcer: {
        announce: (name, address) => guard.announce(name, address),
        probe: (name, address, timeoutMs) => guard.probe(name, address, timeoutMs),
      },
      addresses,
      cgroups,
      lifetimeSeconds: () => this.#around.lifetimeSeconds(group),
      log,
    };
  }
}

function unitsOf(groups: readonly NodeGroup[]): Set<string> {
  const resources = groups.flatMap((group) => group.resources);
  return new Set(resources.flatMap((resource) => (resource.type === 'service' ? [resource.unit] : [])));
}

/** The timing to go by before the coordinator has said anything. */
export function timingBefore(config: NodeConfig | undefined) {
  return config?.timing ?? LEASE_PROFILES.default;
}
