/**
 * The agent's shell: turns the clock, the coordinator's answers, the guard and the groups into events of the lease keeper, and carries
 * out what it answers. No decision is taken here.
 *
 * Order matters in one place only: an epoch is on disk, then the fuse is armed, then the first resource starts. What stops a group is
 * never queued behind anything.
 */
import { randomUUID } from 'node:crypto';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { GroupReport, NodeConfig, Refusal, Reply } from '../../schemas/wire.ts';
import { GuardClient, GuardError, type GuardState } from '../guard/index.ts';
import type { ResourceContext } from '../resources/index.ts';
import { Addresses, bootMs, Cgroups, FileWriteError, type Log, subnetsOf } from '../system/index.ts';
import { Group } from './group.ts';
import { type Identity, saveNodeFile } from './identity.ts';
import { Journal } from './journal.ts';
import { compose, type KeepEffect, type KeepEvent, type KeepState, keep, nextDue, reportDue } from './keep.ts';
import { planGroup } from './plan.ts';
import { Policy, PolicyError } from './policy.ts';
import type { RunNews } from './run.ts';
import { StateFile } from './state-file.ts';
import { Transport } from './transport.ts';

export interface LoopOptions {
  readonly stateDir: string;
  readonly guardPath: string;
  readonly version: string;
  readonly identity: Identity;
  readonly log: Log;
}

/** What ends the agent: a lost guard, with everything stopped. The unit starts it again. */
export interface AgentEnd {
  readonly code: number;
  readonly reason: string;
}

/** Exit code of an agent whose guard was lost: start it again, it will be a new incarnation. */
export const EXIT_GUARD_LOST = 70;
/** How long the last words (releases, events) may take before the agent ends. */
const LAST_WORDS_MS = 1_500;

interface Told {
  readonly groups: readonly GroupReport[] | undefined;
  readonly refusals: string | undefined;
  readonly events: readonly string[];
}

export class AgentLoop {
  readonly #options: LoopOptions;
  readonly #files: StateFile;
  readonly #journal = new Journal(bootMs);
  readonly #addresses: Addresses;
  readonly #cgroups: Cgroups | undefined;
  readonly #groups = new Map<string, Group>();
  #refusals = new Map<string, readonly Refusal[]>();
  #guard: GuardClient;
  #keep: KeepState;
  #transport: Transport;
  #timer: NodeJS.Timeout | undefined;
  #configuring: Promise<void> = Promise.resolve();
  /** Activations in progress, by group: persist, arm, run in this order. */
  readonly #activations = new Map<string, Promise<void>>();
  #told = new Map<string, Told>();
  #ackedGroups = new Map<string, string>();
  #ackedRefusals: string | undefined;
  readonly #stuck = new Map<string, string>();
  #lastProblem = '';
  #ending: AgentEnd | undefined;
  readonly #ended = Promise.withResolvers<AgentEnd>();

  private constructor(options: LoopOptions, files: StateFile, guard: GuardClient, state: KeepState) {
    this.#options = options;
    this.#files = files;
    this.#guard = guard;
    this.#keep = state;
    this.#addresses = new Addresses(options.log);
    const cgroups = Cgroups.locate();
    if ('problem' in cgroups) options.log.warn(`no cgroups: ${cgroups.problem}; only addresses can be run here`);
    this.#cgroups = 'problem' in cgroups ? undefined : cgroups;
    this.#transport = new Transport({
      identity: options.identity,
      incarnation: state.incarnation,
      log: options.log,
      onReply: (reply) => this.#onReply(reply),
      onNudge: () => this.#decide({ type: 'nudge' }),
      onRenewals: (renewals) => this.#decide({ type: 'renewals', renewals }),
    });
  }

  /**
   * Connects to the guard (starting it if none runs) and takes up what it knows: an agent that finds its guard alive is the same
   * incarnation and goes on; otherwise it is a new one, verifies that everything is stopped, and waits out its quarantine (P3).
   */
  static async start(options: LoopOptions): Promise<AgentLoop> {
    const { stateDir, identity, log } = options;
    const files = new StateFile(stateDir);
    const [epochs, config] = await Promise.all([files.epochs(), files.config()]);
    const timing = config?.timing ?? LEASE_PROFILES.default;
    let loop: AgentLoop | undefined;
    const guard = await GuardClient.connect(stateDir, {
      spawn: options.guardPath,
      onLost: (reason) => loop?.onGuardLost(reason.message),
    });
    const hello = await guard.hello();
    for (const weakness of hello.weaknesses) log.warn(`guard: ${weakness}`);
    const found = await guard.state();
    const incarnation = found.incarnation ?? `${identity.node}-${randomUUID().slice(0, 13)}`;
    if (found.incarnation === undefined) {
      await guard.setIncarnation(incarnation);
      // A node that never worked under a lease has promised nothing to anyone.
      const quarantineEndMs = Object.keys(epochs.epochs).length === 0 ? 0 : bootMs() + timing.promiseMs;
      await guard.note('quarantine', String(quarantineEndMs));
    }
    const quarantineEndMs = Number((await guard.state()).notes.get('quarantine') ?? 0);
    const state: KeepState = {
      node: identity.node,
      incarnation,
      timing,
      revision: 0,
      history: epochs.history ?? identity.history,
      epochs: epochs.epochs,
      quarantineEndMs,
      held: heldBy(found, bootMs(), timing.stopMs),
      claimable: new Set(),
      releases: {},
      observed: {},
      requests: {},
      nextReportMs: 0,
      unanswered: 0,
      lastAnswerMs: bootMs(),
      toldInstance: null,
      instance: null,
    };
    loop = new AgentLoop(options, files, guard, state);
    log.info(
      `${identity.node} of ${identity.cluster}: incarnation ${incarnation}${found.incarnation === undefined ? '' : ' goes on'}`,
    );
    await loop.#begin(found, config, found.incarnation !== undefined);
    return loop;
  }

  /** Settles when the agent has to end. */
  get ended(): Promise<AgentEnd> {
    return this.#ended.promise;
  }

  /** What this node knows by itself, for `holdfast status` when the coordinator does not answer. */
  status(): Record<string, unknown> {
    const nowMs = bootMs();
    return {
      schema: 'holdfast/local-status/v1',
      node: this.#keep.node,
      cluster: this.#options.identity.cluster,
      incarnation: this.#keep.incarnation,
      revision: this.#keep.revision,
      connected: this.#keep.unanswered <= 1,
      coordinator: { lastAnswerMs: nowMs - this.#keep.lastAnswerMs, way: this.#transport.way },
      quarantineMs: Math.max(0, this.#keep.quarantineEndMs - nowMs),
      groups: [...this.#groups.values()].map((group) => {
        const held = this.#keep.held[group.name];
        return {
          ...group.report(),
          phase: held?.phase ?? null,
          leaseRemainingMs: held === undefined ? null : held.deadlineMs - nowMs,
          refusals: this.#refusals.get(group.name) ?? [],
        };
      }),
    };
  }

  /** Leaves everything as it is: the guard and the services go on, and a successor takes over within the lease. */
  leave(): void {
    clearTimeout(this.#timer);
    this.#transport.close();
    for (const group of this.#groups.values()) group.dispose();
    this.#guard.close();
    this.#ended.resolve({ code: 0, reason: 'told to end' });
  }

  async #begin(found: GuardState, config: NodeConfig | undefined, adopted: boolean): Promise<void> {
    this.#journal.add({
      kind: 'agent.started',
      severity: 'info',
      detail: adopted
        ? 'the agent was restarted; its incarnation goes on'
        : `new incarnation ${this.#keep.incarnation}`,
    });
    for (const [group, lease] of found.groups)
      if (lease.state === 'fired')
        this.#journal.add({
          kind: 'agent.fuse-fired',
          severity: 'error',
          group,
          epoch: lease.epoch,
          detail: `the guard took everything of ${group} away: its lease was not renewed in time (${lease.clean ? 'nothing is held any more' : 'something is still held'}; ${(lease.latenessUs / 1_000).toFixed(1)} ms after the instant)`,
        });
    if (config !== undefined) {
      this.#keep = { ...this.#keep, revision: config.revision };
      await this.#configure(config, true);
    }
    for (const [group, held] of Object.entries(this.#keep.held)) {
      const runner = this.#groups.get(group);
      if (runner === undefined) {
        this.#options.log.warn(
          `the guard holds ${group}, which no configuration here names: its fuse will take it down`,
        );
        continue;
      }
      const [refusal] = this.#refusals.get(group) ?? [];
      if (refusal !== undefined)
        runner.giveUp({ resource: refusal.resource, severity: 'hard', reason: refusal.reason });
      else if (held.phase === 'active') runner.up(held.epoch);
      else runner.down('forced');
    }
    for (const group of this.#groups.values()) group.begin();
    this.#transport.start();
    this.#tick();
  }

  onGuardLost(reason: string): void {
    if (this.#ending !== undefined) return;
    this.#options.log.warn(`the guard is lost (${reason}): stopping everything`);
    this.#journal.add({
      kind: 'agent.guard-lost',
      severity: 'error',
      detail: `${reason}; everything is stopped, the agent starts anew as another incarnation`,
    });
    this.#ending = { code: EXIT_GUARD_LOST, reason: 'the guard was lost' };
    for (const group of Object.keys(this.#keep.held)) this.#decide({ type: 'unprotected', group });
    this.#endWhenDown();
  }

  /** Everything is down and told: the agent may end. Bounded, because nobody protects what might still run. */
  #endWhenDown(): void {
    const ending = this.#ending;
    if (ending === undefined) return;
    const finish = () => {
      this.leave();
      this.#ended.resolve(ending);
    };
    const quiet = Object.keys(this.#keep.held).length === 0;
    if (quiet && Object.keys(this.#keep.releases).length === 0 && this.#journal.pending === 0) {
      finish();
      return;
    }
    setTimeout(finish, LAST_WORDS_MS + this.#keep.timing.stopMs).unref();
    this.#ended.promise.catch(() => undefined);
  }

  #decide(event: KeepEvent): void {
    const outcome = keep(this.#keep, event, bootMs());
    this.#keep = outcome.state;
    this.#carryOut(outcome.effects);
    this.#tick();
  }

  /** Sends what is due and sets the timer for what comes next. */
  #tick(): void {
    clearTimeout(this.#timer);
    const lost = keep(this.#keep, { type: 'tick' }, bootMs());
    this.#keep = lost.state;
    this.#carryOut(lost.effects);
    if (reportDue(this.#keep, bootMs())) this.#report();
    const waitMs = Math.max(1, nextDue(this.#keep, bootMs()) - bootMs());
    this.#timer = setTimeout(() => this.#tick(), waitMs);
  }

  #report(): void {
    const nowMs = bootMs();
    const changed = [...this.#groups.values()]
      .filter((group) => this.#keep.held[group.name] !== undefined)
      .map((group) => group.report())
      .filter((report) => this.#ackedGroups.get(report.group) !== signature(report));
    const refusals = this.#allRefusals();
    const refusalsText = JSON.stringify(refusals);
    const tellRefusals = this.#ackedRefusals !== refusalsText;
    const events = this.#journal.next();
    const attempt = this.#keep.unanswered;
    const id = randomUUID();
    const composed = compose(
      this.#keep,
      id,
      this.#options.version,
      {
        ...(changed.length === 0 ? {} : { groups: changed }),
        ...(tellRefusals ? { refusals } : {}),
        ...(events.length === 0 ? {} : { events }),
        ...(this.#ending === undefined || Object.keys(this.#keep.held).length > 0 ? {} : { retiring: true }),
      },
      nowMs,
    );
    this.#keep = composed.state;
    this.#told.set(id, {
      groups: changed,
      refusals: tellRefusals ? refusalsText : undefined,
      events: events.map((event) => event.id),
    });
    for (const old of this.#told.keys()) if (this.#keep.requests[old] === undefined) this.#told.delete(old);
    this.#transport.send(composed.report, attempt, this.#keep.timing.renewMs * 2);
  }

  #onReply(reply: Reply): void {
    const told = this.#told.get(reply.id);
    this.#told.delete(reply.id);
    if (told !== undefined && reply.problem === undefined) {
      // A coordinator that started anew may have lost what it was told.
      if (reply.instance !== this.#keep.instance) {
        this.#ackedGroups.clear();
        this.#ackedRefusals = undefined;
      }
      for (const report of told.groups ?? []) this.#ackedGroups.set(report.group, signature(report));
      if (told.refusals !== undefined) this.#ackedRefusals = told.refusals;
      this.#journal.acknowledge(told.events);
    }
    this.#decide({ type: 'reply', reply });
    if (this.#journal.pending > 0 && reply.problem === undefined) this.#decide({ type: 'news' });
    if (this.#ending !== undefined) this.#endWhenDown();
  }

  #carryOut(effects: readonly KeepEffect[]): void {
    let persisted: Promise<void> | undefined;
    for (const effect of effects) {
      switch (effect.kind) {
        case 'persist':
          persisted = this.#persist(effect.history, effect.epochs);
          // a failure is judged where an activation waits for it; a history alone is written again with the next epoch
          persisted.catch((error: unknown) => this.#notWritable(error));
          break;
        case 'arm':
          this.#activations.set(effect.group, this.#arm(effect, persisted ?? Promise.resolve()));
          break;
        case 'run':
          this.#start(effect.group, effect.epoch);
          break;
        case 'pet':
          this.#pet(effect);
          break;
        case 'disarm':
          void this.#disarm(effect.group, effect.epoch);
          break;
        case 'stop':
          this.#groups.get(effect.group)?.down(effect.how);
          break;
        case 'configure':
          this.#configuring = this.#configuring.then(() => this.#configure(effect.config, false));
          break;
        case 'lost':
          this.#options.log.warn(`${effect.group}: lease of epoch ${effect.epoch} lost: ${effect.why}`);
          this.#journal.add({
            kind: 'agent.lease-lost',
            severity: 'error',
            group: effect.group,
            epoch: effect.epoch,
            detail: effect.why,
          });
          break;
        case 'refused':
          if (this.#lastProblem !== effect.code)
            this.#options.log.warn(`the coordinator refuses this agent (${effect.code}): ${effect.detail}`);
          this.#lastProblem = effect.code;
          break;
        case 'reconnected':
          this.#lastProblem = '';
          this.#journal.add({
            kind: 'agent.coordinator-reachable',
            severity: 'warning',
            detail: `the coordinator had not answered for ${effect.awayMs} ms`,
          });
          break;
        default:
          effect satisfies never;
      }
    }
  }

  async #persist(history: string | null, epochs: Readonly<Record<string, number>>): Promise<void> {
    await this.#files.saveEpochs({ history, epochs: { ...epochs } });
    if (history !== this.#options.identity.history)
      await saveNodeFile(this.#options.stateDir, { ...this.#options.identity, history });
  }

  #notWritable(error: unknown): void {
    const reason = error instanceof FileWriteError ? error.message : String(error);
    this.#options.log.warn(`state cannot be written: ${reason}`);
    this.#journal.add({
      kind: 'agent.state-not-writable',
      severity: 'error',
      detail: `${reason}; free space in ${this.#options.stateDir}`,
    });
  }

  /** P2, O4: the epoch on disk, the fuse armed with everything the group may run in. */
  async #arm(effect: Extract<KeepEffect, { kind: 'arm' }>, persisted: Promise<void>): Promise<void> {
    await persisted;
    await this.#guard.arm(
      { group: effect.group, epoch: effect.epoch, deadlineMs: effect.deadlineMs, fireAtMs: effect.fireMs },
      effect.voters,
    );
    const cgroup = this.#cgroups?.group(effect.group);
    if (cgroup === undefined) return;
    cgroup.create();
    await this.#guard.hold(effect.group, { kind: 'cgroup', path: cgroup.path });
  }

  #start(group: string, epoch: number): void {
    const armed = this.#activations.get(group) ?? Promise.reject(new Error('the fuse was not armed'));
    armed.then(
      () => {
        const held = this.#keep.held[group];
        if (held?.epoch === epoch && held.phase === 'active') this.#groups.get(group)?.up(epoch);
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        const resource = error instanceof GuardError ? 'guard' : 'state';
        this.#groups.get(group)?.giveUp({ resource, severity: 'hard', reason: `not started: ${reason}` });
      },
    );
  }

  #pet(effect: Extract<KeepEffect, { kind: 'pet' }>): void {
    const activation = this.#activations.get(effect.group) ?? Promise.resolve();
    activation
      .then(() =>
        this.#guard.pet({
          group: effect.group,
          epoch: effect.epoch,
          deadlineMs: effect.deadlineMs,
          fireAtMs: effect.fireMs,
        }),
      )
      .catch((error: unknown) => {
        if (this.#keep.held[effect.group]?.epoch !== effect.epoch) return;
        this.#options.log.warn(
          `${effect.group}: the fuse was not petted: ${error instanceof Error ? error.message : String(error)}`,
        );
        this.#decide({ type: 'unprotected', group: effect.group });
      });
  }

  async #disarm(group: string, epoch: number): Promise<void> {
    this.#activations.delete(group);
    try {
      await this.#guard.disarm(group, epoch);
    } catch (error) {
      // What is really still held keeps the fuse armed, and that is right; say so.
      const code = error instanceof GuardError ? error.code : 'internal';
      if (code !== 'unknown' && code !== 'lost')
        this.#options.log.warn(`${group}: the guard keeps epoch ${epoch} armed: ${String(error)}`);
    }
  }

  async #configure(config: NodeConfig, atStart: boolean): Promise<void> {
    const { policy, problem } = await this.#loadPolicy();
    const refusals = new Map<string, readonly Refusal[]>();
    for (const declared of config.groups) {
      const plan = await planGroup(declared, policy, problem, (group) => this.#context(group));
      refusals.set(declared.name, plan.refusals);
      const group = this.#groups.get(declared.name);
      if (plan.refusals.length > 0) {
        const [first] = plan.refusals;
        if (first !== undefined && group?.wanted === 'up')
          group.giveUp({
            resource: first.resource,
            severity: 'hard',
            reason: `the new configuration is refused here: ${first.reason}`,
          });
        if (group === undefined && plan.planned.length > 0) this.#addGroup(declared.name, plan.planned, atStart);
        continue;
      }
      if (group === undefined) this.#addGroup(declared.name, plan.planned, atStart);
      else group.declare(plan.planned);
    }
    this.#refusals = refusals;
    // Groups that left the configuration: the coordinator orders their release; what is down is forgotten.
    const named = new Set(config.groups.map((group) => group.name));
    for (const [name, group] of this.#groups) {
      if (named.has(name) || this.#keep.held[name] !== undefined) continue;
      group.dispose();
      this.#groups.delete(name);
    }
    if (!atStart) await this.#files.saveConfig(config).catch((error: unknown) => this.#notWritable(error));
    this.#reconsider();
    if (!atStart) this.#decide({ type: 'news' });
  }

  #addGroup(name: string, planned: ConstructorParameters<typeof Group>[1], atStart: boolean): void {
    const group = new Group(
      {
        name,
        guard: () => this.#guard,
        now: bootMs,
        log: this.#options.log,
        onNews: (news) => this.#onNews(name, news),
        onDown: (failure) => {
          this.#stuck.delete(name);
          if (this.#keep.held[name] !== undefined)
            this.#decide({ type: 'stopped', group: name, ...(failure === undefined ? {} : { failure }) });
          this.#reconsider();
          if (this.#ending !== undefined) this.#endWhenDown();
        },
        onStuck: (reason) => this.#onStuck(name, reason),
        onChange: () => this.#onGroupChange(name),
      },
      planned,
    );
    this.#groups.set(name, group);
    if (!atStart) group.begin();
  }

  async #loadPolicy(): Promise<{ policy?: Policy; problem?: string }> {
    try {
      const subnets = subnetsOf(await this.#addresses.read());
      return { policy: await Policy.load(`${this.#options.stateDir}/policy.yaml`, { subnets }) };
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      this.#options.log.warn(error.message);
      return { problem: error.message };
    }
  }

  #context(group: string): ResourceContext {
    return {
      group,
      announcer: {
        announce: (name, address) => this.#guard.announce(name, address),
        probe: (name, address, timeoutMs) => this.#guard.probe(name, address, timeoutMs),
      },
      addresses: this.#addresses,
      cgroups: this.#cgroups,
      lifetimeSeconds: () => Math.max(1, Math.floor(((this.#keep.held[group]?.deadlineMs ?? 0) - bootMs()) / 1_000)),
      log: this.#options.log,
    };
  }

  #onNews(group: string, news: RunNews): void {
    this.#options.log[news.severity === 'info' ? 'info' : 'warn'](`${group}: ${news.resource}: ${news.detail}`);
    this.#journal.add({ ...news, group, epoch: this.#keep.held[group]?.epoch ?? 0 });
    this.#decide({ type: 'news' });
  }

  /** Under a lease the fuse will end it. Without one, the node may not take the group, and says why. */
  #onStuck(name: string, reason: string): void {
    if (this.#stuck.get(name) !== reason) {
      this.#options.log.warn(`${name}: cannot be stopped: ${reason}`);
      this.#stuck.set(name, reason);
    }
    this.#decide({ type: 'stuck', group: name });
    this.#decide({ type: 'news' });
  }

  /** What this node will not do: by its policy, by what is installed, and because something of it cannot be stopped here. */
  #allRefusals(): Refusal[] {
    const stuck = [...this.#stuck]
      .filter(([group]) => this.#keep.held[group] === undefined)
      .map(([group, reason]) => ({
        group,
        resource: group,
        reason: `runs here without a lease and cannot be stopped: ${reason}`.slice(0, 1_900),
      }));
    return [...this.#refusals.values()].flat().concat(stuck);
  }

  #onGroupChange(name: string): void {
    if (this.#keep.held[name] === undefined) return;
    const report = this.#groups.get(name)?.report();
    if (report === undefined || this.#ackedGroups.get(name) === signature(report)) return;
    // a resource more or less can wait for the next renewal; a change of the group's own state is told at once
    if (this.#ackedGroups.get(name)?.startsWith(`${report.epoch} ${report.state} `) === true) return;
    this.#decide({ type: 'news' });
  }

  /** Groups that are verified to be down, and that this node may and can run. */
  #reconsider(): void {
    const claimable = new Set(
      [...this.#groups.values()]
        .filter(
          (group) => group.isDown && (this.#refusals.get(group.name) ?? []).length === 0 && this.#ending === undefined,
        )
        .map((group) => group.name),
    );
    this.#decide({ type: 'claimable', groups: claimable });
  }
}

function signature(report: GroupReport): string {
  const { forMs: _since, epoch, state, ...rest } = report;
  return `${epoch} ${state} ${JSON.stringify(rest)}`;
}

/** What a living guard remembers: leases that still run go on, those that have fired or are about to are to be stopped. */
function heldBy(found: GuardState, nowMs: number, stopMs: number): KeepState['held'] {
  return Object.fromEntries(
    [...found.groups].map(([group, lease]) => [
      group,
      {
        epoch: lease.epoch,
        voters: lease.voters,
        deadlineMs: lease.deadlineMs,
        phase: lease.state === 'armed' && nowMs < lease.deadlineMs - stopMs ? 'active' : 'lost',
      } as const,
    ]),
  );
}
