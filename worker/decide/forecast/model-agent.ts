/**
 * A node as a forecast sees it: it speaks the wire as an agent does and decides nothing that the coordinator decides. It renews what it
 * holds, claims what it is told it may claim, obeys orders, and reports a group running after the start times that were measured
 * before. Whatever it starts, starts; what it stops is down a moment later, because how long a stop takes nobody has measured.
 */
import type { ResourceDeclaration } from '../../../schemas/config.ts';
import { type LeaseTiming, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../../schemas/limits.ts';
import type {
  Claim,
  GroupReport,
  LeaseAnswer,
  NodeConfig,
  Observation,
  Release,
  Reply,
  Report,
  Voters,
} from '../../../schemas/wire.ts';
import { firstDifference } from '../plan.ts';
import type { GroupRun } from '../state.ts';
import type { Ledger, StartTimes } from './ledger.ts';

/** What a message or the smallest action takes, so that virtual time goes on. */
export const MOMENT_MS = 5;

/** A lease that the node holds. */
interface Term {
  readonly epoch: number;
  /** By whose promises it would live. */
  readonly voters: Voters;
}

/** A group that the node holds the lease of. */
interface Held extends Term {
  /** up: as the node reported it, running or not. */
  readonly phase: 'starting' | 'up' | 'stopping';
  /** When the phase ends by itself; null: it does not. */
  readonly endsAt: number | null;
  readonly state: GroupReport['state'];
  /** Its resources that are being started, and whether it is known how long that takes. */
  readonly toStart: readonly ResourceDeclaration[];
  /** It was paused while it started. */
  readonly paused: boolean;
  /** The node gives it up because of this. */
  readonly failure?: Release['failure'];
}

interface Seen extends Observation {
  readonly since: number;
}

export interface ModelAgentOptions {
  readonly node: string;
  readonly incarnation: string;
  readonly agentVersion: string;
  readonly history: string;
  readonly revision: number;
  readonly timing: LeaseTiming;
  readonly readyAt: number;
  readonly epochsKnown: boolean;
  readonly leaving: boolean;
  /** Declarations of the groups as the node knows them. */
  readonly resources: ReadonlyMap<string, readonly ResourceDeclaration[]>;
  /** What it has promised another owner, in what epoch, and until when. */
  readonly promised: ReadonlyMap<string, { readonly epoch: number; readonly until: number }>;
  /** Have these voters promised it to keep out of the group? */
  readonly backs: (group: string, epoch: number, voters: readonly string[]) => boolean;
  /** Renewals, by their id, that it has been told of before the forecast begins, and when. */
  readonly told: ReadonlyMap<string, number>;
  readonly ledger: Ledger;
  readonly starts: StartTimes;
}

export class ModelAgent {
  readonly node: string;
  readonly #options: ModelAgentOptions;
  readonly #held = new Map<string, Held>();
  readonly #resources: Map<string, readonly ResourceDeclaration[]>;
  readonly #promised: Map<string, { readonly epoch: number; readonly until: number }>;
  /** Groups whose state the coordinator has yet to hear of. */
  readonly #news = new Set<string>();
  #seen = new Map<string, Seen>();
  #releases: Release[] = [];
  #timing: LeaseTiming;
  #revision: number;
  #epochsTold: boolean;
  #sentAt: number;
  #nextReportAt: number;
  #reports = 0;

  constructor(options: ModelAgentOptions, now: number) {
    this.#options = options;
    this.node = options.node;
    this.#resources = new Map(options.resources);
    this.#promised = new Map(options.promised);
    this.#timing = options.timing;
    this.#revision = options.revision;
    this.#epochsTold = options.epochsKnown;
    this.#sentAt = now - 1;
    this.#nextReportAt = now;
  }

  /** A lease that it holds when the forecast begins. `run`: how the group fares there, as it reported it; null: it has not yet. */
  holds(group: string, { epoch, voters }: Term, run: GroupRun | null, now: number): void {
    const term: Term = { epoch, voters };
    switch (run?.state) {
      case 'running':
      case 'degraded':
      case 'held':
        this.#held.set(group, { ...term, phase: 'up', endsAt: null, state: run.state, toStart: [], paused: false });
        return;
      case 'starting':
      case undefined:
        this.#start(group, term, this.#declared(group), now);
        this.#news.delete(group);
        return;
      case 'stopping':
      case 'stopped':
        this.#stop(group, term, now);
        return;
      case 'failed': {
        const failed = run.resources.find((resource) => resource.state === 'failed') ?? run.resources[0];
        const reason = failed?.reason ?? run.reason ?? 'failed';
        const failure =
          failed === undefined ? {} : { failure: { resource: failed.id, severity: 'soft', reason } as const };
        this.#stop(group, term, now, failure);
        return;
      }
      default:
        run?.state satisfies undefined;
    }
  }

  /** Groups that something of may be up here. */
  get groups(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** Something is being started or stopped here, or its end is yet to be told. */
  get busy(): boolean {
    return (
      this.#news.size > 0 || this.#releases.length > 0 || [...this.#held.values()].some((held) => held.endsAt !== null)
    );
  }

  /** It counts the time until it may claim this group. */
  waitsFor(group: string, now: number): boolean {
    const seen = this.#seen.get(group);
    if (seen === undefined || seen.claim === 'never') return false;
    const from = this.#claimableFrom(group, seen);
    return from > now && Number.isFinite(from);
  }

  /** The owner that it has promised to keep out of this group asks no more. */
  askedNoMore(group: string, now: number): void {
    const promise = this.#promised.get(group);
    if (promise !== undefined) this.#promised.set(group, { ...promise, until: now + this.#timing.promiseMs });
  }

  /** What becomes of a group that lives on by promises when nobody answers reports: it goes on as it is, and what starts, starts. */
  standing(): ReadonlyMap<string, { readonly starts: boolean; readonly endsAt: number | null }> {
    return new Map(
      [...this.#held].map(([group, { phase, endsAt }]) => [group, { starts: phase === 'starting', endsAt }]),
    );
  }

  /** When it reports next. */
  due(): number {
    let due = this.#nextReportAt;
    const { readyAt } = this.#options;
    if (this.#sentAt < readyAt) due = Math.min(due, readyAt);
    for (const { endsAt } of this.#held.values()) if (endsAt !== null) due = Math.min(due, endsAt);
    for (const [group, seen] of this.#seen) {
      if (seen.claim === 'never' || this.#held.has(group)) continue;
      const at = this.#claimableFrom(group, seen);
      if (this.#sentAt < at) due = Math.min(due, at);
    }
    return due;
  }

  /** When the wait for the lease and the promise that keeps this node out are both over (P4); 0: nothing has to be waited for. */
  #claimableFrom(group: string, { claim, since, waitMs, released }: Seen): number {
    const promise = this.#promised.get(group);
    const keptOut = promise === undefined || (released !== null && promise.epoch <= released) ? 0 : promise.until;
    return Math.max(claim === 'after' ? since + waitMs : 0, keptOut);
  }

  nudge(at: number): void {
    this.#nextReportAt = Math.min(this.#nextReportAt, at);
  }

  /** What it has to say now. */
  report(now: number): Report {
    const options = this.#options;
    this.#endPhases(now);
    this.#reports += 1;
    this.#sentAt = now;
    this.#nextReportAt = now + this.#timing.renewMs;
    return {
      type: 'report',
      version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
      id: `forecast-${this.#reports}`,
      node: this.node,
      incarnation: options.incarnation,
      agentVersion: options.agentVersion,
      history: options.history,
      revision: this.#revision,
      quarantineMs: Math.max(0, options.readyAt - now),
      leaseMs: this.#timing.leaseMs,
      leases: [...this.#held].map(
        ([
          group,
          {
            epoch,
            voters: { version, names },
          },
        ]) => ({
          group,
          epoch,
          voters: version,
          backed: options.backs(group, epoch, names),
        }),
      ),
      claims: this.#claims(now),
      releases: [...this.#releases],
      ...this.#keptOut(now),
      ...(this.#epochsTold ? {} : { epochs: {} }),
      ...(this.#news.size === 0 ? {} : { groups: this.#groupReports() }),
      ...(options.leaving ? { leaving: true } : {}),
    };
  }

  /** The answer to the report that it has just sent. */
  answered(report: Report, reply: Reply, now: number): void {
    this.#nextReportAt = now + reply.renewInMs;
    if (reply.problem !== undefined) {
      for (const group of this.#held.keys()) this.#lose(group, now);
      return;
    }
    this.#epochsTold = true;
    this.#releases = this.#releases.filter((release) => !report.releases.includes(release));
    for (const told of report.groups ?? []) this.#news.delete(told.group);
    for (const answer of reply.leases) this.#onLease(answer, now);
    for (const { group, epoch, voters } of reply.grants) {
      if (this.#held.has(group)) continue;
      this.#promised.delete(group);
      this.#options.ledger.granted(group, now);
      this.#start(group, { epoch, voters }, this.#declared(group), now);
    }
    if (reply.config !== undefined) this.#configure(reply.config, now);
    this.#observe(reply.observed, report, now);
  }

  /** By the deadlines of these leases everything of them is down: nobody renews them. */
  cutOff(groups: readonly string[], at: number): void {
    for (const group of groups) this.#lose(group, at);
  }

  /** What was under way has come to its end, although nobody hears of it. */
  endPhases(now: number): void {
    this.#endPhases(now);
  }

  #declared(group: string): readonly ResourceDeclaration[] {
    return this.#resources.get(group) ?? [];
  }

  #start(group: string, { epoch, voters }: Term, toStart: readonly ResourceDeclaration[], now: number): void {
    const { ms } = this.#options.starts.of(group, toStart);
    const endsAt = now + Math.max(MOMENT_MS, ms);
    this.#held.set(group, { epoch, voters, phase: 'starting', endsAt, state: 'starting', toStart, paused: false });
    this.#news.add(group);
  }

  #stop(group: string, { epoch, voters }: Term, now: number, failure: Pick<Held, 'failure'> = {}): void {
    const ending = { phase: 'stopping', endsAt: now + MOMENT_MS, state: 'stopping' } as const;
    this.#held.set(group, { epoch, voters, ...ending, toStart: [], paused: false, ...failure });
    this.#options.ledger.stops(group, now);
  }

  #lose(group: string, now: number): void {
    this.#held.delete(group);
    this.#news.delete(group);
    this.#options.ledger.stops(group, now);
  }

  #endPhases(now: number): void {
    for (const [group, held] of this.#held) {
      if (held.endsAt === null || held.endsAt > now) continue;
      if (held.phase === 'stopping') {
        this.#held.delete(group);
        this.#news.delete(group);
        this.#releases.push({
          group,
          epoch: held.epoch,
          ...(held.failure === undefined ? {} : { failure: held.failure }),
        });
      } else {
        this.#held.set(group, { ...held, phase: 'up', endsAt: null, state: 'running', toStart: [] });
        this.#news.add(group);
        this.#options.ledger.runs(group, now, this.#options.starts.of(group, held.toStart).known);
      }
    }
  }

  #claims(now: number): Claim[] {
    if (now < this.#options.readyAt) return [];
    return [...this.#seen].flatMap(([group, seen]) => {
      const may = seen.claim !== 'never' && this.#claimableFrom(group, seen) <= now;
      return may && !this.#held.has(group) ? [{ group, renewal: seen.renewal, seenForMs: now - seen.since }] : [];
    });
  }

  /** P4: what nothing but a promise keeps it from claiming. */
  #keptOut(now: number): Pick<Report, 'promised'> {
    if (this.#promised.size === 0 || now < this.#options.readyAt) return {};
    const promised = [...this.#promised].flatMap(([group, { epoch }]) =>
      this.#isKeptOut(group, now) ? [{ group, epoch }] : [],
    );
    return promised.length === 0 ? {} : { promised };
  }

  /** Until the first answer it is as it was when the forecast began. */
  #isKeptOut(group: string, now: number): boolean {
    const seen = this.#seen.get(group);
    if (seen === undefined) return this.#seen.size === 0 && (this.#promised.get(group)?.until ?? 0) > now;
    const inSight = seen.claim === 'now' || (seen.claim === 'after' && now - seen.since >= seen.waitMs);
    return inSight && this.#claimableFrom(group, seen) > now;
  }

  #groupReports(): GroupReport[] {
    return [...this.#news].flatMap((group) => {
      const held = this.#held.get(group);
      if (held === undefined) return [];
      const each = held.phase === 'starting' ? 'starting' : 'running';
      const resources = this.#options.starts.reported(group, this.#declared(group), each);
      return [{ group, epoch: held.epoch, state: held.state, forMs: 0, resources }];
    });
  }

  #onLease(answer: LeaseAnswer, now: number): void {
    const before = this.#held.get(answer.group);
    if (before === undefined || before.epoch !== answer.epoch) return;
    if (answer.verdict === 'refused') {
      this.#lose(answer.group, now);
      this.#releases.push({ group: answer.group, epoch: answer.epoch, forced: true });
      return;
    }
    // C3: the next report names them
    const held = answer.voters === undefined ? before : { ...before, voters: answer.voters };
    this.#held.set(answer.group, held);
    switch (answer.order) {
      case 'release':
        if (held.phase !== 'stopping') this.#stop(answer.group, held, now);
        return;
      case 'pause':
        if (held.phase === 'starting') this.#held.set(answer.group, { ...held, endsAt: null, paused: true });
        return;
      case 'run':
        if (held.paused) this.#start(answer.group, held, held.toStart, now);
        return;
      default:
        answer.order satisfies never;
    }
  }

  /** A new configuration: what differs in it restarts, from the first resource that does. */
  #configure(config: NodeConfig, now: number): void {
    this.#revision = config.revision;
    this.#timing = config.timing;
    this.#nextReportAt = now + MOMENT_MS;
    for (const { name, resources } of config.groups) {
      const held = this.#held.get(name);
      const first = firstDifference({ resources: this.#declared(name) }, { resources });
      this.#resources.set(name, resources);
      const index = resources.findIndex(({ id }) => id === first);
      if (held === undefined || held.phase === 'stopping' || index < 0) continue;
      this.#options.ledger.stops(name, now);
      this.#start(name, held, held.phase === 'starting' ? resources : resources.slice(index), now);
    }
  }

  #observe(observed: readonly Observation[], report: Report, now: number): void {
    const claimed = new Set(report.claims.map(({ group }) => group));
    const before = this.#seen;
    this.#seen = new Map();
    for (const one of observed) {
      const known = before.get(one.group);
      const since = known?.renewal === one.renewal ? known.since : (this.#options.told.get(one.renewal ?? '') ?? now);
      this.#seen.set(one.group, { ...one, since });
      // a permission that is new is used at once, a claim that was just refused is repeated with the next renewal
      const usable = one.claim === 'now' && now >= this.#options.readyAt && !this.#isKeptOut(one.group, now);
      if (usable && !claimed.has(one.group) && !this.#held.has(one.group)) this.nudge(now + MOMENT_MS);
    }
  }
}
