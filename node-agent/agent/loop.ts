/**
 * The agent's shell: turns the clock, the coordinator's answers, the guard and the groups into events of the lease keeper, and has
 * carried out what it answers (effects.ts). No decision is taken here.
 */
import { type KeyObject, randomUUID } from 'node:crypto';
import { MAX_TIMER_MS, PEER_PORT } from '../../schemas/limits.ts';
import type { NodeConfig, Reply } from '../../schemas/wire.ts';
import { GuardClient, type GuardState } from '../guard/index.ts';
import {
  Addresses,
  bootMs,
  Cgroups,
  type Log,
  processIdentity,
  watchdogHolder,
  watchdogRuns,
} from '../system/index.ts';
import { beginning } from './beginning.ts';
import { Effects } from './effects.ts';
import { Fences, type FenceVerdict } from './fences.ts';
import { Fuse } from './fuse.ts';
import { Groups, timingBefore } from './groups.ts';
import { type Identity, nodeKeys, updateNodeFile } from './identity.ts';
import { Journal } from './journal.ts';
import {
  askDue,
  attemptOf,
  compose,
  composeAsks,
  type KeepEvent,
  type KeepState,
  keep,
  nextDue,
  reportDue,
} from './keep.ts';
import { withCleanups } from './keep-orders.ts';
import { Lan } from './lan.ts';
import { localStatus } from './local-status.ts';
import { NodeFuse } from './node-fuse.ts';
import { Notifier } from './notifier.ts';
import { loadPeerKey } from './peer-key.ts';
import { Reporting } from './reporting.ts';
import { guardArguments, type ResetChoice } from './reset-choice.ts';
import type { RunNews } from './run.ts';
import { SeenEpochs } from './seen-epochs.ts';
import { StateFile } from './state-file.ts';
import { Telling } from './telling.ts';
import { Transport } from './transport.ts';

export interface LoopOptions {
  readonly stateDir: string;
  readonly guardPath: string;
  /** What a guard that this agent starts has as its last word: `none`, or `watchdog` with its device, or `sysrq`. */
  readonly reset?: ResetChoice;
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
/** Between two reports, so that what many groups have to tell at one moment goes into few of them. */
const REPORT_GAP_MS = 10;

export class AgentLoop {
  readonly #options: LoopOptions;
  readonly #journal = new Journal(bootMs);
  readonly #groups: Groups;
  readonly #cgroups: Cgroups | undefined;
  readonly #guard: GuardClient;
  readonly #fuse: Fuse;
  readonly #nodeFuse: NodeFuse;
  readonly #transport: Transport;
  readonly #lan: Lan;
  readonly #seen: SeenEpochs;
  readonly #notifier: Notifier;
  readonly #fences = new Fences();
  readonly #effects: Effects;
  #keep: KeepState;
  #timer: NodeJS.Timeout | undefined;
  readonly #reporting: Reporting = new Reporting(this.#journal);
  /** When the last report left, performance.now(). */
  #reportedMs = Number.NEGATIVE_INFINITY;
  #left = false;
  #ending: AgentEnd | undefined;
  /** A report has said that nothing runs here any more and that this agent ends. */
  #retired = false;
  readonly #ended = Promise.withResolvers<AgentEnd>();

  private constructor(
    options: LoopOptions,
    files: StateFile,
    guard: GuardClient,
    hello: Awaited<ReturnType<GuardClient['hello']>>,
    peerKey: KeyObject,
    state: KeepState,
  ) {
    const { log, stateDir, identity } = options;
    this.#options = options;
    this.#guard = guard;
    this.#keep = state;
    this.#seen = new SeenEpochs({ stateDir, identity, files, journal: this.#journal, log });
    const { node, cluster } = identity;
    this.#notifier = new Notifier({ stateDir, node, cluster, journal: this.#journal, log });
    const addresses = new Addresses(log);
    const cgroups = Cgroups.locate();
    if ('problem' in cgroups) log.warn(`no cgroups: ${cgroups.problem}; only addresses can be run here`);
    this.#cgroups = 'problem' in cgroups ? undefined : cgroups;
    const process = { pid: hello.pid, identity: processIdentity(hello.pid) };
    const onNotArmed = (why: string) => this.#nodeFuse.notArmed(why);
    this.#fuse = new Fuse({ guard, process, cgroups: this.#cgroups, addresses, log, onNotArmed });
    this.#nodeFuse = new NodeFuse({
      guard,
      reset: hello.reset,
      asked: options.reset?.kind ?? 'none',
      log,
      isIdle: () => this.#holdsNothing(),
      seen: { runs: watchdogRuns, holder: (device) => watchdogHolder(hello.pid, device) },
      journal: this.#journal,
      onChange: () => queueMicrotask(() => this.#reconsider()),
    });
    this.#nodeFuse.follow(state.timing);
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
      onDown: (group, failure) => void this.#effects.onDown(group, failure),
      onStuck: (group) => this.#effects.onStuck(group),
      onChange: (group) => this.#onGroupChange(group),
      onReconsider: () => this.#reconsider(),
      onCopies: () => this.#decide({ type: 'news' }),
      onStateNotWritable: (error) => this.#seen.notWritable(error),
    });
    this.#transport = new Transport({
      identity: options.identity,
      incarnation: state.incarnation,
      log,
      onReply: (reply) => this.#onReply(reply),
      onRefused: (problem) => this.#decide({ type: 'refused', problem }),
      onNudge: () => this.#decide({ type: 'nudge' }),
      onOtherWay: () => this.#decide({ type: 'other-way' }),
      onLost: (id) => this.#decide({ type: 'lost-report', id }),
      onRenewals: (renewals) => this.#decide({ type: 'renewals', renewals }),
      onClusterKey: (clusterKey) => updateNodeFile(stateDir, { clusterKey }),
      keys: () => nodeKeys(stateDir),
    });
    this.#lan = new Lan({
      node: identity.node,
      cluster: identity.cluster,
      incarnation: state.incarnation,
      key: peerKey,
      listen: identity.lan ?? { port: PEER_PORT },
      files,
      log,
      virtualAddresses: () => this.#groups.virtualAddresses(),
      onAsk: (ask) => this.#decide({ type: 'ask', ask }),
      onAnswer: (answer) => this.#decide({ type: 'promised', answer }),
    });
    this.#effects = new Effects({
      groups: this.#groups,
      fuse: this.#fuse,
      seen: this.#seen,
      lan: this.#lan,
      telling: new Telling(this.#journal, log),
      log,
      keep: () => this.#keep,
      decide: (event) => this.#decide(event),
      onSettled: () => {
        this.#reconsider();
        this.#endWhenDown();
      },
    });
  }

  /**
   * Connects to the guard (starting it if none runs) and takes up what it knows: an agent that finds its guard alive is the same
   * incarnation and goes on; otherwise it is a new one, verifies that everything is stopped, and waits out its quarantine (P3).
   */
  static async start(options: LoopOptions): Promise<AgentLoop> {
    const { stateDir, identity, log } = options;
    const files = new StateFile(stateDir);
    const [epochs, config, peerKey] = await Promise.all([files.epochs(), files.config(), loadPeerKey(stateDir)]);
    let loop: AgentLoop | undefined;
    const guard = await GuardClient.connect(stateDir, {
      spawn: options.guardPath,
      arguments: guardArguments(options.reset ?? { kind: 'none' }),
      onLost: (reason) => loop?.onGuardLost(reason.message),
    });
    const hello = await guard.hello();
    for (const weakness of hello.weaknesses) log.warn(`guard: ${WEAKNESSES[weakness] ?? weakness}`);
    const { state, found, adopted } = await beginning(
      guard,
      identity,
      epochs,
      timingBefore(config),
      hello.reset,
      config,
    );
    loop = new AgentLoop(options, files, guard, hello, peerKey, state);
    log.info(`${identity.node} of ${identity.cluster}: incarnation ${state.incarnation}${adopted ? ' goes on' : ''}`);
    await loop.#begin(found, config, adopted);
    return loop;
  }

  /** Settles when the agent has to end. */
  get ended(): Promise<AgentEnd> {
    return this.#ended.promise;
  }

  /** What this node knows by itself, for `holdfast status` when the coordinator does not answer. */
  status(): Record<string, unknown> {
    return localStatus({
      keep: this.#keep,
      cluster: this.#options.identity.cluster,
      transport: this.#transport,
      fuse: this.#nodeFuse.report(),
      peersHeardMs: this.#lan.heard(),
      groups: this.#groups,
    });
  }

  /** What DRBD's fence-peer handler asks: see fences.ts. */
  async fencePeer(resource: string): Promise<FenceVerdict> {
    const name = this.#groups.groupOfDrbd(resource);
    if (name === undefined)
      return { verdict: 'none', why: `no group that may run here has the DRBD resource ${resource}` };
    if (!this.#holds(name))
      return this.#keep.observed[name]?.claim === 'after'
        ? { verdict: 'owned' }
        : { verdict: 'none', why: `this node has no lease of ${name}` };
    const seen = await this.lookAtDrbd(resource);
    const copy = this.#groups.copies().find((one) => one.group === name && one.name === resource);
    const frozen = copy?.role === 'Primary';
    if (!seen || copy === undefined)
      return { verdict: 'pending', frozen, why: `what has become of ${resource} could not be seen` };
    this.#reporting.tellCopies();
    const answer = this.#fences.wait(name, this.#keep.sent);
    this.#decide({ type: 'news' });
    if (await answer) return { verdict: 'outdated' };
    if (!this.#holds(name)) return { verdict: 'none', why: `the lease of ${name} has ended` };
    return { verdict: 'pending', frozen, why: 'the coordinator has not answered' };
  }

  /** Looks at a DRBD resource now, so that what it finds is told without delay. */
  async lookAtDrbd(resource: string): Promise<boolean> {
    const name = this.#groups.groupOfDrbd(resource);
    return name !== undefined && (await this.#groups.get(name)?.lookAtCopies()) === true;
  }

  /** Leaves everything as it is: the guard and the services go on, and a successor takes over within the lease. */
  leave(end: AgentEnd = { code: 0, reason: 'told to end' }): void {
    this.#left = true;
    clearTimeout(this.#timer);
    this.#notifier.close();
    this.#transport.close();
    this.#lan.close();
    this.#groups.dispose();
    this.#nodeFuse.dispose();
    this.#guard.close();
    this.#ended.resolve(end);
  }

  /**
   * No agent follows this one here: the coordinator is told and has everything here handed over in its order; then the agent ends for
   * good. It is bounded by what ends it from outside (TimeoutStopSec= of its unit); what is left then, the guard takes down with the lease.
   * @param reason what is happening to the host, in words.
   */
  handOver(reason: string): void {
    if (this.#left || this.#ending !== undefined) return;
    this.#options.log.info(`${reason}: what runs here is handed over`);
    this.#ending = { code: 0, reason: `${reason}, and nothing of it is held here any more` };
    this.#decide({ type: 'leave' });
    this.#reconsider();
    if (this.#holdsNothing()) this.#endWhenDown();
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
    // a guard that has fired ends whatever runs in the group's cgroup, this agent's own looks too: where it finds nothing held, it forgets
    for (const [group, lease] of found.groups)
      if (lease.state === 'fired' && lease.clean) await this.#fuse.forgetFired(group, lease.epoch);
    for (const [group, held] of Object.entries(this.#keep.held)) await this.#takeUp(group, held);
    await this.#lan.start();
    this.#groups.begin();
    // before the first report: a watchdog that is taken is no news to learn of ten seconds later
    await this.#nodeFuse.look();
    this.#transport.start();
    this.#tick();
  }

  /** A lease that the guard remembers: it goes on, or what of it is still here is ended. */
  async #takeUp(group: string, held: KeepState['held'][string]): Promise<void> {
    const runner = this.#groups.get(group);
    if (held.phase === 'active' && runner !== undefined && this.#groups.refusalsOf(group).length === 0) {
      await this.#fuse.adopt(group);
      runner.up(held.epoch, held.paused ?? false);
      return;
    }
    this.#decide({ type: 'unprotected', group, why: 'this agent has no plan for it that it may carry out' });
    if (runner !== undefined) runner.down('forced');
    else await this.#effects.onDown(group, undefined);
  }

  /** P3: what a new incarnation finds running and has no plan for (the policy forbids it by now, or nothing is known of it) is ended. */
  async #endForbidden(configured: boolean): Promise<void> {
    if (!configured) await this.#cgroups?.all().kill();
    for (const { group } of this.#groups.refusals()) await this.#cgroups?.group(group).kill();
  }

  onGuardLost(reason: string): void {
    if (this.#ending?.code === EXIT_GUARD_LOST) return;
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

  /** Everything is down and told: the agent may end. */
  #endWhenDown(): void {
    const ending = this.#ending;
    if (ending === undefined) return;
    const finish = () => this.leave(ending);
    const quiet = this.#holdsNothing();
    if (quiet && this.#retired && Object.keys(this.#keep.releases).length === 0 && this.#journal.pending === 0) {
      finish();
      return;
    }
    // bounded once nobody protects what might still run, or nothing runs any more
    if (quiet || ending.code === EXIT_GUARD_LOST) setTimeout(finish, LAST_WORDS_MS + this.#keep.timing.stopMs).unref();
  }

  #decide(event: KeepEvent): void {
    if (this.#left) return;
    const outcome = keep(this.#keep, event, bootMs());
    this.#keep = outcome.state;
    this.#nodeFuse.follow(this.#keep.timing);
    this.#effects.carryOut(outcome.effects);
    this.#tick();
  }

  /** Sends what is due and sets the timer for what comes next. */
  #tick(): void {
    clearTimeout(this.#timer);
    const lost = keep(this.#keep, { type: 'tick' }, bootMs());
    this.#keep = lost.state;
    this.#effects.carryOut(lost.effects);
    const gapMs = this.#reportedMs + REPORT_GAP_MS - performance.now();
    const due = reportDue(this.#keep, bootMs());
    if (due && gapMs <= 0) this.#report();
    this.#askVoters(due && gapMs <= 0);
    const nextMs = due && gapMs > 0 ? gapMs : nextDue(this.#keep, bootMs()) - bootMs();
    const waitMs = Math.min(Math.max(1, nextMs), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.#tick(), waitMs);
  }

  /** With a report, or by themselves while nobody answers those. */
  #askVoters(reported: boolean): void {
    const nowMs = bootMs();
    const dueMs = askDue(this.#keep);
    if (dueMs === undefined || nowMs < dueMs || (!reported && this.#keep.unanswered <= 1)) return;
    const composed = composeAsks(this.#keep, randomUUID, nowMs);
    this.#keep = composed.state;
    for (const question of composed.questions) this.#lan.ask(question);
  }

  #report(): void {
    const nowMs = bootMs();
    const id = randomUUID();
    const running = this.#groups.all().filter((group) => this.#keep.held[group.name] !== undefined);
    const told = this.#reporting.next(
      id,
      running.map((group) => withCleanups(group.report(), this.#keep.held[group.name])),
      this.#groups.refusals(),
      this.#lan.endpoint(),
      this.#groups.copies(),
      this.#nodeFuse.report(),
    );
    const attempt = attemptOf(this.#keep, nowMs);
    const retiring = this.#ending !== undefined && this.#holdsNothing();
    this.#retired ||= retiring;
    const composed = compose(
      this.#keep,
      id,
      this.#options.version,
      {
        ...told,
        peers: this.#lan.version,
        ...(retiring ? { retiring } : {}),
      },
      nowMs,
    );
    this.#keep = composed.state;
    this.#reportedMs = performance.now();
    this.#reporting.forgetAllBut(this.#keep.requests);
    this.#transport.send(composed.report, attempt, this.#keep.timing.renewMs * 2);
  }

  #onReply(reply: Reply): void {
    if (reply.problem === undefined) this.#reporting.answered(reply.id, reply.instance !== this.#keep.instance);
    if (reply.peers !== undefined) this.#lan.learn(reply.peers);
    const number = this.#keep.requests.get(reply.id)?.number;
    this.#decide({ type: 'reply', reply });
    this.#fences.answered(reply, number);
    if (this.#journal.pending > 0 && reply.problem === undefined) this.#decide({ type: 'news' });
    if (this.#ending !== undefined) this.#endWhenDown();
  }

  #holdsNothing(): boolean {
    return Object.keys(this.#keep.held).length === 0;
  }

  #holds(group: string): boolean {
    const phase = this.#keep.held[group]?.phase;
    return phase === 'active' || phase === 'draining';
  }

  #onNews(group: string, news: RunNews): void {
    this.#options.log[news.severity === 'info' ? 'info' : 'warn'](`${group}: ${news.resource}: ${news.detail}`);
    this.#journal.add({ ...news, group, epoch: this.#keep.held[group]?.epoch ?? 0 });
    this.#decide({ type: 'news' });
  }

  #onGroupChange(name: string): void {
    if (this.#keep.held[name] === undefined) return;
    const report = this.#groups.get(name)?.report();
    if (report !== undefined && this.#reporting.isUrgent(report)) this.#decide({ type: 'news' });
  }

  #reconsider(): void {
    if (this.#left) return;
    const groups = this.#ending === undefined ? this.#groups.claimable(this.#nodeFuse) : new Set<string>();
    this.#decide({ type: 'claimable', groups });
    if (
      !this.#reporting.refusalsAreKnown(this.#groups.refusals()) ||
      !this.#reporting.fuseIsKnown(this.#nodeFuse.report())
    )
      this.#decide({ type: 'news' });
  }
}
