/**
 * The product's coordinator, with its clock: `decide`, `restart`, `buildReply`. Which nodes vote it would choose by who is there; here the
 * model says it, and that is written into the state: with a grant, and when a change begins.
 */
import { type Config, DEFAULT_POLICY, NO_RULES } from '../../../../schemas/config.ts';
import type { LeaseTiming } from '../../../../schemas/limits.ts';
import type { Reply, Report } from '../../../../schemas/wire.ts';
import { buildReply, type ClusterState, decide, emptyState, restart } from '../../../../worker/decide/index.ts';
import { freedom, timingOf } from '../../../../worker/decide/lease.ts';
import type { Lease } from '../../../../worker/decide/state.ts';
import { eligibleVoters, newestVoters } from '../../../../worker/decide/voters.ts';
import { GROUP } from './guard.ts';

const HOUR_MS = 3_600_000;

/** Why the code does not do what was tried: a rule of its own, or nothing to try it with. */
export type Refusal = string;

/** What one report has led to. */
interface Judged {
  readonly reply: Reply;
  /** By which rules a claim was refused. */
  readonly reasons: readonly string[];
}

export class Desk {
  state: ClusterState;
  readonly #names: readonly string[];
  #offsetMs = 1_700_000_000_000;
  #instances = 1;

  constructor(names: readonly string[], timing: LeaseTiming, nowMs: number) {
    this.#names = names;
    const address = { type: 'vip', id: 'ip', address: '192.0.2.10/24', times: {}, policy: DEFAULT_POLICY } as const;
    const config: Config = {
      cluster: 'shop',
      nodes: [...names],
      labels: {},
      timing,
      groups: { [GROUP]: { name: GROUP, on: [...names], resources: [address], ...NO_RULES } },
    };
    this.state = emptyState('shop', 'h1', 'i1', this.#wall(nowMs));
    for (const node of names) this.happens({ type: 'enrol', node, publicKey: `key of ${node}` }, nowMs);
    this.happens({ type: 'apply', config }, nowMs);
  }

  /** @returns what puts everything back as it is now. */
  save(): () => void {
    const { state } = this;
    const offsetMs = this.#offsetMs;
    return () => {
      this.state = state;
      this.#offsetMs = offsetMs;
    };
  }

  #wall(nowMs: number): number {
    return nowMs + this.#offsetMs;
  }

  get lease(): Lease | null {
    return this.state.durable.groups[GROUP]?.lease ?? null;
  }

  /** May the lease be granted, by the coordinator's clock? */
  free(nowMs: number): boolean {
    return freedom(this.lease, this.state.volatile.renewals[GROUP], timingOf(this.state), this.#wall(nowMs)).free;
  }

  /** The nodes that may be granted it. */
  get eligible(): readonly string[] {
    return eligibleVoters(this.lease) ?? this.#names;
  }

  get newest(): number | undefined {
    return this.lease === null ? undefined : newestVoters(this.lease).version;
  }

  happens(event: Parameters<typeof decide>[1], nowMs: number): ReturnType<typeof decide> {
    const before = this.lease;
    const outcome = decide(this.state, event, this.#wall(nowMs));
    this.state = outcome.state;
    const { lease } = this;
    const same = before?.epoch === lease?.epoch && before?.voters.version === lease?.voters.version;
    if (lease?.pendingVoters != null && !(same && before?.pendingVoters != null))
      this.#withLease({ pendingVoters: null });
    return outcome;
  }

  #withLease(change: Partial<Lease>): void {
    const { durable } = this.state;
    const group = durable.groups[GROUP];
    if (group?.lease == null) return;
    const groups = { ...durable.groups, [GROUP]: { ...group, lease: { ...group.lease, ...change } } };
    this.state = { ...this.state, durable: { ...durable, groups } };
  }

  hears(report: Report, nowMs: number): Judged {
    this.state = { ...this.state, volatile: { ...this.state.volatile, lastRefusals: {} } };
    const { verdicts, effects } = this.happens({ type: 'report', report }, nowMs);
    const none = { problem: undefined, leases: [], grants: [], refused: [] };
    const reply = buildReply(this.state, report, verdicts ?? none, this.#wall(nowMs));
    const reasons = effects.flatMap((effect) =>
      effect.kind === 'decision' && effect.decision.kind === 'refusal'
        ? effect.decision.reasons.map((reason) =>
            reason.rule === 'lease-runs' ? `lease-runs, ${reason.clock}` : reason.rule,
          )
        : [],
    );
    return { reply, reasons: reply.problem === undefined ? reasons : [reply.problem.code] };
  }

  /** A claim arrives. Its node is the only candidate then: placement is not what is checked. */
  hearsClaim(report: Report, voters: readonly string[], nowMs: number): Judged {
    const { config } = this.state.durable;
    const epoch = this.lease?.epoch;
    this.#listOnly(report.node);
    const { reply, reasons } = this.hears(report, nowMs);
    this.state = { ...this.state, durable: { ...this.state.durable, config } };
    const [grant] = reply.grants;
    if (grant === undefined || grant.epoch === epoch) return { reply, reasons };
    const first = { version: 1, names: [...voters] };
    this.#withLease({ voters: first });
    return { reply: { ...reply, grants: [{ ...grant, voters: first }] }, reasons };
  }

  #listOnly(name: string): void {
    const { durable } = this.state;
    const { config } = durable;
    const group = config?.groups[GROUP];
    if (config === null || group === undefined) return;
    const alone = { ...config, groups: { ...config.groups, [GROUP]: { ...group, on: [name] } } };
    this.state = { ...this.state, durable: { ...durable, config: alone } };
  }

  changeVoters(names: readonly string[]): Refusal | undefined {
    const { lease } = this;
    if (lease === null || lease.released || lease.provenDeadAt !== null || lease.pendingVoters !== null)
      return 'not-now';
    if (lease.confirmedAt === null) return 'not-confirmed';
    this.#withLease({ pendingVoters: names });
    return undefined;
  }

  /** A moment has passed in which nothing was heard of the node: the operator's word is not taken of one that has just spoken. */
  hearsNothingOf(node: string, forMs: number): void {
    const { volatile } = this.state;
    const live = volatile.nodes[node];
    if (live === undefined) return;
    const nodes = { ...volatile.nodes, [node]: { ...live, lastSeenAt: live.lastSeenAt - forMs } };
    this.state = { ...this.state, volatile: { ...volatile, nodes } };
  }

  confirmDead(node: string, atOnce: boolean, nowMs: number): Refusal | undefined {
    const outcome = this.happens({ type: 'confirm-dead', node }, nowMs);
    if (outcome.refused !== undefined) return outcome.refused.code;
    if (this.lease?.provenDeadAt === null) return 'not-proven';
    return atOnce && !this.free(nowMs) ? 'waits-longer' : undefined;
  }

  restart(nowMs: number): void {
    this.#instances += 1;
    this.state = restart(this.state.durable, `i${this.#instances}`, this.#wall(nowMs)).state;
  }

  stepClock(direction: 1 | -1, nowMs: number): void {
    this.#offsetMs += direction * HOUR_MS;
    this.happens({ type: 'tick' }, nowMs);
  }
}
