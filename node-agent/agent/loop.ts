/**
 * The agent's shell: turns the clock, the coordinator's answers, the guard and the groups into events of the lease keeper, and carries
 * out what it answers. No decision is taken here.
 *
 * Order matters in one place only: an epoch is on disk, then the fuse is armed, then the first resource starts. What stops a group is
 * never queued behind anything.
 */
import { randomUUID } from 'node:crypto';
import type { NodeConfig, Release, Reply } from '../../schemas/wire.ts';
import { GuardClient, GuardError, type GuardState } from '../guard/index.ts';
import { Addresses, bootMs, Cgroups, FileWriteError, type Log, processIdentity } from '../system/index.ts';
import { Fuse, heldBy } from './fuse.ts';
import { Groups, timingBefore } from './groups.ts';
import { type Identity, saveNodeFile } from './identity.ts';
import { Journal } from './journal.ts';
import {
  attemptOf,
  compose,
  type KeepEffect,
  type KeepEvent,
  type KeepState,
  keep,
  nextDue,
  reportDue,
} from './keep.ts';
import { Reporting } from './reporting.ts';
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
/** What the guard could not have, in words. */
const WEAKNESSES: Readonly<Record<string, string>> = {
  'no-memory-lock': 'its memory is not locked, so it may be late on a machine that swaps (needs CAP_IPC_LOCK)',
  'no-realtime': 'it has no real-time priority, so it may be late on a loaded machine (needs CAP_SYS_NICE)',
  'no-oom-protection': 'the kernel may end it when memory runs out (needs CAP_SYS_RESOURCE)',
};

/** How long the last words (releases, events) may take before the agent ends. */
const LAST_WORDS_MS = 1_500;

export class AgentLoop {
  readonly #options: LoopOptions;
  readonly #files: StateFile;
  readonly #journal = new Journal(bootMs);
  readonly #groups: Groups;
  readonly #cgroups: Cgroups | undefined;
  readonly #guard: GuardClient;
  readonly #fuse: Fuse;
  readonly #transport: Transport;
  #keep: KeepState;
  #timer: NodeJS.Timeout | undefined;
  readonly #reporting: Reporting = new Reporting(this.#journal);
  #lastProblem = '';
  #left = false;
  #ending: AgentEnd | undefined;
  readonly #ended = Promise.withResolvers<AgentEnd>();

  private constructor(options: LoopOptions, files: StateFile, guard: GuardClient, guardPid: number, state: KeepState) {
    const { log, stateDir } = options;
    this.#options = options;
    this.#files = files;
    this.#guard = guard;
    this.#keep = state;
    const addresses = new Addresses(log);
    const cgroups = Cgroups.locate();
    if ('problem' in cgroups) log.warn(`no cgroups: ${cgroups.problem}; only addresses can be run here`);
    this.#cgroups = 'problem' in cgroups ? undefined : cgroups;
    const process = { pid: guardPid, identity: processIdentity(guardPid) };
    this.#fuse = new Fuse({ guard, process, cgroups: this.#cgroups, addresses, log });
    this.#groups = new Groups({
      stateDir,
      files,
      guard,
      addresses,
      cgroups: this.#cgroups,
      log,
      heldEpoch: (group) => this.#keep.held[group]?.epoch,
      lifetimeSeconds: (group) =>
        Math.max(1, Math.floor(((this.#keep.held[group]?.deadlineMs ?? 0) - bootMs()) / 1_000)),
      onNews: (group, news) => this.#onNews(group, news),
      onDown: (group, failure) => void this.#onDown(group, failure),
      onStuck: (group) => this.#onStuck(group),
      onChange: (group) => this.#onGroupChange(group),
      onReconsider: () => this.#reconsider(),
      onStateNotWritable: (error) => this.#notWritable(error),
    });
    this.#transport = new Transport({
      identity: options.identity,
      incarnation: state.incarnation,
      log,
      onReply: (reply) => this.#onReply(reply),
      onRefused: (problem) => this.#decide({ type: 'refused', problem }),
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
    const timing = timingBefore(config);
    let loop: AgentLoop | undefined;
    // Epochs of another life of the cluster, from before this node joined again, say nothing about this one.
    const otherLife = identity.history !== null && epochs.history !== null && epochs.history !== identity.history;
    const seen = otherLife ? {} : epochs.epochs;
    const guard = await GuardClient.connect(stateDir, {
      spawn: options.guardPath,
      onLost: (reason) => loop?.onGuardLost(reason.message),
    });
    const hello = await guard.hello();
    for (const weakness of hello.weaknesses) log.warn(`guard: ${WEAKNESSES[weakness] ?? weakness}`);
    const found = await guard.state();
    const incarnation = found.incarnation ?? `${identity.node}-${randomUUID().slice(0, 13)}`;
    if (found.incarnation === undefined) {
      // A node that never worked under a lease has promised nothing to anyone. Noted first: an incarnation always has its quarantine.
      const endMs = Object.keys(seen).length === 0 ? 0 : bootMs() + timing.promiseMs;
      await guard.note('quarantine', String(endMs));
      await guard.setIncarnation(incarnation);
    }
    const quarantineEndMs = Number((await guard.state()).notes.get('quarantine') ?? 0);
    const state: KeepState = {
      node: identity.node,
      incarnation,
      timing,
      revision: 0,
      history: identity.history ?? epochs.history,
      epochs: seen,
      quarantineEndMs,
      held: heldBy(found, bootMs(), timing.stopMs),
      claimable: new Set(),
      releases: {},
      observed: {},
      requests: {},
      nextReportMs: 0,
      unanswered: 0,
      unansweredSinceMs: bootMs(),
      lastAnswerMs: bootMs(),
      toldInstance: null,
      instance: null,
    };
    loop = new AgentLoop(options, files, guard, hello.pid, state);
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
      groups: this.#groups.all().map((group) => {
        const held = this.#keep.held[group.name];
        return {
          ...group.report(),
          phase: held?.phase ?? null,
          leaseRemainingMs: held === undefined ? null : held.deadlineMs - nowMs,
          refusals: this.#groups.refusalsOf(group.name),
        };
      }),
    };
  }

  /** Leaves everything as it is: the guard and the services go on, and a successor takes over within the lease. */
  leave(end: AgentEnd = { code: 0, reason: 'told to end' }): void {
    this.#left = true;
    clearTimeout(this.#timer);
    this.#transport.close();
    this.#groups.dispose();
    this.#guard.close();
    this.#ended.resolve(end);
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
      await this.#groups.restore(config);
    }
    if (!adopted) await this.#endForbidden(config !== undefined);
    for (const [group, held] of Object.entries(this.#keep.held)) await this.#takeUp(group, held);
    this.#groups.begin();
    this.#transport.start();
    this.#tick();
  }

  /** A lease that the guard remembers: it goes on, or what of it is still here is ended. */
  async #takeUp(group: string, held: KeepState['held'][string]): Promise<void> {
    const runner = this.#groups.get(group);
    if (held.phase === 'active' && runner !== undefined && this.#groups.refusalsOf(group).length === 0) {
      await this.#fuse.adopt(group);
      runner.up(held.epoch);
      return;
    }
    this.#decide({ type: 'unprotected', group, why: 'this agent has no plan for it that it may carry out' });
    if (runner !== undefined) runner.down('forced');
    else await this.#onDown(group, undefined);
  }

  /** P3: what a new incarnation finds running and has no plan for (the policy forbids it by now, or nothing is known of it) is ended. */
  async #endForbidden(configured: boolean): Promise<void> {
    if (!configured) await this.#cgroups?.all().kill();
    for (const { group } of this.#groups.refusals()) await this.#cgroups?.group(group).kill();
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
    // nothing more is claimed: what cannot be protected must not be granted
    this.#reconsider();
    for (const group of Object.keys(this.#keep.held))
      this.#decide({ type: 'unprotected', group, why: 'the guard was lost' });
    this.#endWhenDown();
  }

  /** Everything is down and told: the agent may end. Bounded, because nobody protects what might still run. */
  #endWhenDown(): void {
    const ending = this.#ending;
    if (ending === undefined) return;
    const finish = () => this.leave(ending);
    const quiet = Object.keys(this.#keep.held).length === 0;
    if (quiet && Object.keys(this.#keep.releases).length === 0 && this.#journal.pending === 0) {
      finish();
      return;
    }
    setTimeout(finish, LAST_WORDS_MS + this.#keep.timing.stopMs).unref();
    this.#ended.promise.catch(() => undefined);
  }

  #decide(event: KeepEvent): void {
    if (this.#left) return;
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
    const id = randomUUID();
    const running = this.#groups.all().filter((group) => this.#keep.held[group.name] !== undefined);
    const told = this.#reporting.next(
      id,
      running.map((group) => group.report()),
      this.#groups.refusals(),
    );
    const attempt = attemptOf(this.#keep, nowMs);
    const composed = compose(
      this.#keep,
      id,
      this.#options.version,
      {
        ...told,
        ...(this.#ending === undefined || Object.keys(this.#keep.held).length > 0 ? {} : { retiring: true }),
      },
      nowMs,
    );
    this.#keep = composed.state;
    this.#reporting.forgetAllBut(this.#keep.requests);
    this.#transport.send(composed.report, attempt, this.#keep.timing.renewMs * 2);
  }

  #onReply(reply: Reply): void {
    if (reply.problem === undefined) this.#reporting.answered(reply.id, reply.instance !== this.#keep.instance);
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
          this.#fuse.arm(effect, persisted ?? Promise.resolve(), () => this.#runs(effect.group, effect.epoch));
          break;
        case 'run':
          this.#start(effect.group, effect.epoch);
          break;
        case 'pet':
          this.#pet(effect);
          break;
        case 'stop':
          this.#groups.get(effect.group)?.down(effect.how);
          break;
        case 'configure':
          this.#groups.configure(effect.config);
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

  /** Is this lease one to run the group by? */
  #runs(group: string, epoch: number): boolean {
    const held = this.#keep.held[group];
    return held?.epoch === epoch && held.phase === 'active';
  }

  /** P2, O4: the epoch on disk, the fuse armed, and only then the first start. */
  #start(group: string, epoch: number): void {
    this.#fuse.armed(group).then(
      () => {
        if (this.#runs(group, epoch)) this.#groups.get(group)?.up(epoch);
      },
      (error: unknown) => {
        if (!this.#runs(group, epoch)) return;
        const runner = this.#groups.get(group);
        const reason = `not started: ${textOf(error)}`;
        // a lost guard is no fault of the group; what cannot be written here cannot be run here until somebody looks
        if (error instanceof GuardError) this.#decide({ type: 'unprotected', group, why: reason });
        else runner?.giveUp({ resource: 'state', severity: 'hard', reason });
      },
    );
  }

  #pet(effect: Extract<KeepEffect, { kind: 'pet' }>): void {
    const stillHeld = () => this.#keep.held[effect.group]?.epoch === effect.epoch;
    this.#fuse.pet(effect, stillHeld).catch((error: unknown) => {
      if (!stillHeld()) return;
      this.#options.log.warn(`${effect.group}: the fuse was not petted: ${textOf(error)}`);
      this.#decide({ type: 'unprotected', group: effect.group, why: 'its fuse could not be petted' });
    });
  }

  /**
   * The resources say that they are down. O5: the lease is given back only when the guard, which knows what was made exclusive under
   * it, finds nothing of it left; without that certainty it is left to run out.
   */
  async #onDown(name: string, failure: Release['failure']): Promise<void> {
    const epoch = this.#keep.held[name]?.epoch;
    if (epoch !== undefined) {
      const closing = await this.#fuse.close(name, epoch);
      if (closing.is === 'held') {
        this.#groups.stuck(name, closing.what);
        this.#onStuck(name);
        return;
      }
      if (closing.is === 'unsure') {
        this.#options.log.warn(`${name}: not given back, because the guard does not answer: ${closing.why}`);
        this.#endWhenDown();
        return;
      }
    }
    if (this.#keep.held[name]?.epoch === epoch && epoch !== undefined)
      this.#decide({ type: 'stopped', group: name, ...(failure === undefined ? {} : { failure }) });
    this.#groups.settled(name);
    this.#reconsider();
    if (this.#ending !== undefined) this.#endWhenDown();
  }

  #onNews(group: string, news: RunNews): void {
    this.#options.log[news.severity === 'info' ? 'info' : 'warn'](`${group}: ${news.resource}: ${news.detail}`);
    this.#journal.add({ ...news, group, epoch: this.#keep.held[group]?.epoch ?? 0 });
    this.#decide({ type: 'news' });
  }

  /** Under a lease the fuse will end it. Without one, the node may not take the group, and says why. */
  #onStuck(name: string): void {
    this.#decide({ type: 'stuck', group: name });
    this.#decide({ type: 'news' });
  }

  #onGroupChange(name: string): void {
    if (this.#keep.held[name] === undefined) return;
    const report = this.#groups.get(name)?.report();
    if (report !== undefined && this.#reporting.isUrgent(report)) this.#decide({ type: 'news' });
  }

  #reconsider(): void {
    const groups = this.#ending === undefined ? this.#groups.claimable() : new Set<string>();
    this.#decide({ type: 'claimable', groups });
    if (!this.#reporting.refusalsAreKnown(this.#groups.refusals())) this.#decide({ type: 'news' });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
