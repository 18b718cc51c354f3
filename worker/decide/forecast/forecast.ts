/**
 * What would happen if …: the real decisions and the real answers (`decide`, `buildReply`) in virtual time, with a model agent for every
 * living node. Nothing here knows a rule of placement or of leases; what is assumed is made so, and time goes on until nothing
 * changes any more.
 *
 * Orders (a drain, a document) take effect before the coordinator goes away; power is lost in the moment in which it does. From then on nothing
 * is decided: who has a group keeps it for as long as its voters promise to keep out, and loses it a lease later otherwise.
 *
 * The state it starts from is never changed, so a forecast may be run in slices (`advance`) while the cluster goes on.
 *
 * Bounds: HORIZON_MS of virtual time beyond what leases and known starts take, and MAX_WORK reports × groups. The largest cluster that a
 * document can name (200 groups on 16 nodes) is decided in about 0.3 s; MAX_WORK ends whatever would take longer than about a second.
 */
import { isServed, type Simulation } from '../../../schemas/api.ts';
import type { Config } from '../../../schemas/config.ts';
import { decide, nextTick } from '../decide.ts';
import { statusOf } from '../explain.ts';
import { restoredUntil } from '../history.ts';
import { freedom, holder, timingOf } from '../lease.ts';
import { outageOf } from '../outage.ts';
import { startBar } from '../pause.ts';
import { buildReply } from '../reply.ts';
import type { ClusterState, Effect, GroupRecord, Outcome } from '../state.ts';
import { keptOut } from '../voters.ts';
import { assumed, assumptionProblem, type Liveliness, liveliness, type NotAssumed, type WhatIf } from './assume.ts';
import { Ledger, StartTimes } from './ledger.ts';
import { MOMENT_MS, ModelAgent } from './model-agent.ts';
import { type Ending, simulationOf } from './verdict.ts';

/** A wait that ends within this time is waited for, with what leases and known starts take after it. What waits longer is told as later. */
const HORIZON_MS = 60_000;
const MAX_WORK = 200_000;
/** Nothing changes any more when nothing has for so many renewal intervals, and nothing is pending: everybody has reported twice. */
const QUIET_RENEWALS = 2.5;
/** A tick that concludes nothing is repeated with a growing pause, as the coordinator does. */
const TICK_PAUSE_FIRST_MS = 5;
const TICK_PAUSE_LAST_MS = 1_000;

export class Forecast {
  readonly #whatIf: WhatIf;
  readonly #original: ClusterState;
  readonly #beganAt: number;
  readonly #ledger = new Ledger();
  readonly #starts: StartTimes;
  readonly #alive: ReadonlyMap<string, Liveliness>;
  /** What owners have said of the promises of these voters, where that can be relied on. */
  readonly #said: ReadonlyMap<string, { readonly epoch: number; readonly voters: string; readonly backed: boolean }>;
  /** Groups that live on promises now, unheard by the coordinator, and on which node. */
  readonly #unheard: ReadonlyMap<string, string>;
  /** Nodes that promise nothing any more. */
  #dead: ReadonlySet<string>;
  #horizon = 0;
  #agents: readonly ModelAgent[];
  #state: ClusterState;
  #now: number;
  #changedAt: number;
  #lookAt: number;
  #tickAt: number | null = null;
  #tickPauseMs = TICK_PAUSE_FIRST_MS;
  #reports = 0;
  #ended: Ending['how'] | undefined;
  /** The coordinator has gone away. */
  #outage: Ending['outage'];

  /** Use {@link beginForecast}. */
  constructor(original: ClusterState, whatIf: WhatIf, now: number) {
    this.#whatIf = whatIf;
    this.#original = original;
    this.#state = original;
    this.#beganAt = this.#now = this.#changedAt = this.#lookAt = now;
    this.#starts = new StartTimes(original);
    this.#alive = liveliness(original, now);
    const here = (verdict: Liveliness | undefined) => verdict === 'alive' || verdict === 'unheard';
    const names = [...this.#alive].filter(([, verdict]) => here(verdict)).map(([name]) => name);
    this.#dead = new Set([...this.#alive].filter(([, verdict]) => verdict === 'silent').map(([name]) => name));
    this.#said = saidOfPromises(original, now);
    this.#unheard = new Map(
      Object.values(original.durable.groups).flatMap((group) => {
        const owner = group.lease?.owner;
        const lives = owner !== undefined && !names.includes(owner) && keptOut(original, group, now).length > 0;
        return lives ? [[group.name, owner]] : [];
      }),
    );
    this.#agents = names.map((name) => this.#agentOf(name));
    this.#noteWhatIsDown();
  }

  /** Makes what is assumed so. @returns why that cannot be. */
  assume(): NotAssumed | undefined {
    const { standby, config, coordinatorDown } = this.#whatIf;
    const ordersFirst = coordinatorDown && (standby.length > 0 || config !== null);
    if (!ordersFirst) this.#losePower();
    const outcome = assumed(this.#state, this.#whatIf, this.#now);
    if (outcome.refused !== undefined) return outcome.refused;
    this.#state = outcome.state;
    const { durable } = this.#state;
    this.#horizon = this.#now + HORIZON_MS + 2 * timingOf(this.#state).takeoverMs + this.#longestStart(durable.config);
    this.#schedule();
    if (coordinatorDown && !ordersFirst) this.#loseCoordinator('settled');
    return undefined;
  }

  /**
   * Goes on for at most so many events (a report or a tick each).
   * @returns true when it is done.
   */
  advance(events: number): boolean {
    for (let left = events; left > 0 && this.#ended === undefined; left--) this.#step();
    return this.#ended !== undefined;
  }

  /** By node, the groups that something of may be up there now. */
  holders(): ReadonlyMap<string, readonly string[]> {
    return new Map(this.#agents.map((agent) => [agent.node, agent.groups]));
  }

  result(): Simulation {
    return simulationOf({
      whatIf: this.#whatIf,
      before: this.#original,
      after: this.#state,
      beganAt: this.#beganAt,
      endedAt: this.#now,
      how: this.#ended ?? 'unfinished',
      outage: this.#outage,
      alive: this.#alive,
      ledger: this.#ledger,
    });
  }

  #agentOf(node: string): ModelAgent {
    const { durable, volatile } = this.#original;
    const live = volatile.nodes[node];
    const leases = Object.values(durable.groups).filter((group) => holder(this.#original, group, this.#now) === node);
    const config = durable.config?.groups ?? {};
    const incarnation = live?.incarnation ?? leases[0]?.lease?.incarnation ?? `forecast-${node}`;
    const agent = new ModelAgent(
      {
        node,
        incarnation,
        agentVersion: durable.nodes[node]?.agentVersion ?? 'unknown',
        history: durable.history,
        revision: live?.revision ?? durable.revision,
        timing: timingOf(this.#original),
        readyAt: live?.readyAt ?? 0,
        epochsKnown: live?.epochsKnown ?? false,
        leaving: live?.leaving ?? false,
        resources: new Map(Object.values(config).map(({ name, resources }) => [name, resources])),
        promised: new Map(
          (live?.promised ?? []).flatMap(({ group, epoch }) =>
            this.#unheard.has(group) ? [[group, { epoch, until: Number.POSITIVE_INFINITY }]] : [],
          ),
        ),
        backs: (group, epoch, voters) => this.#backs(node, group, epoch, voters),
        // whoever is connected is told of each renewal when it is counted
        told: new Map(live === undefined ? [] : Object.values(volatile.renewals).map(({ id, at }) => [id, at])),
        ledger: this.#ledger,
        starts: this.#starts,
      },
      this.#now,
    );
    for (const { name, lease, run } of leases)
      if (lease?.incarnation === incarnation)
        agent.holds(name, lease, run?.epoch === lease.epoch ? run : null, this.#now);
    return agent;
  }

  /** What is not served when the forecast begins; what a node that reports no more served is down from the beginning. */
  #noteWhatIsDown(): void {
    const held = new Set([...this.#unheard.keys(), ...this.#agents.flatMap((agent) => agent.groups)]);
    const names = new Set([
      ...Object.keys(this.#original.durable.groups),
      ...Object.keys(this.#whatIf.config?.groups ?? {}),
    ]);
    const { groups } = statusOf(this.#original, this.#now);
    for (const name of names) {
      const served = isServed(groups[name]?.state);
      if (!served) this.#ledger.isDown(name, this.#now);
      else if (!held.has(name)) this.#ledger.stops(name, this.#now);
    }
  }

  #longestStart(config: Config | null): number {
    const each = Object.values(config?.groups ?? {}).map(({ name, resources }) => this.#starts.of(name, resources).ms);
    return Math.max(0, ...each);
  }

  #losePower(): void {
    const { down } = this.#whatIf;
    const dying = this.#agents.filter(({ node }) => down.includes(node));
    // the worst moment: each of them dies when its renewal has just been counted, so the whole wait lies ahead
    for (const agent of dying) this.#hear(agent, false);
    for (const agent of dying) agent.cutOff(agent.groups, this.#now);
    this.#agents = this.#agents.filter((agent) => !dying.includes(agent));
    this.#dead = new Set([...this.#dead, ...down]);
    for (const [group, owner] of this.#unheard) {
      if (!down.includes(owner)) continue;
      this.#ledger.stops(group, this.#now);
      for (const agent of this.#agents) agent.askedNoMore(group, this.#now);
    }
  }

  /** O2: would the voters of this owner answer it? What it has said itself counts, where there is such a word. */
  #backs(owner: string, group: string, epoch: number, voters: readonly string[]): boolean {
    const { durable } = this.#state;
    if (durable.config?.groups[group]?.requires === 'uplink') return false;
    const others = voters.filter((node) => node !== owner);
    if (others.some((node) => this.#dead.has(node))) return false;
    const said = this.#said.get(group);
    if (said?.epoch === epoch && said.voters === nodesText(voters)) return said.backed;
    const listens = (node: string) => (durable.nodes[node]?.endpoint ?? null) !== null;
    const answers = (node: string) => listens(node) && this.#agents.some((agent) => agent.node === node);
    return others.length === 0 || (listens(owner) && others.every(answers));
  }

  /** @returns why the group does not outlive the coordinator; undefined if it does. */
  #whyItEnds(group: string, owner: string): string | undefined {
    const lease = this.#state.durable.groups[group]?.lease;
    if (lease == null || this.#backs(owner, group, lease.epoch, lease.voters.names)) return undefined;
    if (this.#state.durable.config?.groups[group]?.requires === 'uplink')
      return 'it asks for that (`requires: uplink`)';
    const dead = lease.voters.names.filter((node) => node !== owner && this.#dead.has(node));
    if (dead.length > 0)
      return `${dead.join(' and ')}, ${dead.length === 1 ? 'a voter of it, does' : 'voters of it, do'} not answer ${owner}`;
    const record = this.#original.durable.groups[group];
    const reason = record === undefined ? undefined : outageOf(this.#original, record, this.#beganAt).reason;
    return reason ?? `its voters have not all promised ${owner} to keep out`;
  }

  /** Nothing is decided any more: what its voters do not promise to keep out of ends with its lease, the rest goes on. */
  #loseCoordinator(how: Ending['how']): void {
    const { leaseMs, stopMs } = timingOf(this.#state);
    const goneAt = this.#now;
    const stoppedAt = goneAt + leaseMs - stopMs;
    const ends = new Map<string, string>();
    for (const agent of this.#agents)
      for (const group of agent.groups) {
        const why = this.#whyItEnds(group, agent.node);
        if (why !== undefined) ends.set(group, why);
      }
    for (const [group, owner] of this.#unheard) {
      const why = this.#dead.has(owner) ? `${owner}, which had it, is down` : this.#whyItEnds(group, owner);
      if (why === undefined) continue;
      ends.set(group, why);
      this.#ledger.stops(group, stoppedAt);
    }
    for (const agent of this.#agents)
      agent.cutOff(
        agent.groups.filter((group) => ends.has(group)),
        stoppedAt,
      );
    const standing = new Map(this.#agents.flatMap((agent) => [...agent.standing()]));
    const endings = [...standing.values()].flatMap(({ endsAt }) => endsAt ?? []).toSorted((a, b) => a - b);
    for (const at of endings) for (const agent of this.#agents) agent.endPhases(at);
    const goesOn = new Map<string, { readonly starts: boolean }>(
      this.#agents.flatMap((agent) => agent.groups.map((group) => [group, standing.get(group) ?? { starts: false }])),
    );
    for (const [group] of this.#unheard) if (!ends.has(group)) goesOn.set(group, { starts: false });
    this.#outage = { shown: statusOf(this.#state, goneAt).groups, goesOn, ends };
    this.#now = Math.max(stoppedAt, ...endings);
    this.#ended = how;
  }

  #step(): void {
    const agent = this.#agents.reduce<ModelAgent | undefined>(
      (first, one) => (first === undefined || one.due() < first.due() ? one : first),
      undefined,
    );
    const reportAt = agent?.due() ?? Number.POSITIVE_INFINITY;
    const tickAt = this.#tickAt ?? Number.POSITIVE_INFINITY;
    const at = Math.max(this.#now, Math.min(reportAt, tickAt));
    if (at >= this.#lookAt && this.#settled(at)) this.#ended = 'settled';
    else if (at > this.#horizon) this.#ended = this.#quiet(at) ? 'settled' : 'horizon';
    else if (this.#reports * Math.max(1, Object.keys(this.#state.durable.groups).length) > MAX_WORK)
      this.#ended = 'unfinished';
    if (this.#ended !== undefined) {
      if (this.#whatIf.coordinatorDown) this.#goDark(this.#ended);
      return;
    }
    this.#now = at;
    if (agent !== undefined && reportAt <= tickAt) this.#hear(agent, true);
    else this.#tick();
    this.#schedule();
  }

  /** Every order has taken effect. */
  #goDark(how: Ending['how']): void {
    this.#losePower();
    this.#loseCoordinator(how);
  }

  #hear(agent: ModelAgent, answered: boolean): void {
    this.#reports += 1;
    const report = agent.report(this.#now);
    const outcome = this.#take(decide(this.#state, { type: 'report', report }, this.#now));
    const { verdicts } = outcome;
    if (answered && verdicts !== undefined)
      agent.answered(report, buildReply(this.#state, report, verdicts, this.#now), this.#now);
  }

  #tick(): void {
    const { durable } = this.#state;
    const outcome = this.#take(decide(this.#state, { type: 'tick' }, this.#now));
    const fruitful = outcome.state.durable !== durable || outcome.effects.length > 0;
    this.#tickPauseMs = fruitful ? TICK_PAUSE_FIRST_MS : Math.min(2 * this.#tickPauseMs, TICK_PAUSE_LAST_MS);
  }

  #take(outcome: Outcome): Outcome {
    if (outcome.state.durable !== this.#state.durable || outcome.effects.length > 0) this.#changedAt = this.#now;
    this.#state = outcome.state;
    for (const effect of outcome.effects) this.#follow(effect);
    return outcome;
  }

  #follow(effect: Effect): void {
    if (effect.kind === 'decision' && effect.decision.kind === 'grant')
      this.#ledger.entry(effect.decision.group).lastGrant = effect.decision;
    if (effect.kind === 'nudge')
      for (const agent of this.#agents) if (agent.node === effect.node) agent.nudge(this.#now + MOMENT_MS);
  }

  #schedule(): void {
    const due = nextTick(this.#state, this.#now);
    this.#tickAt = due === null ? null : Math.max(this.#now + this.#tickPauseMs, due);
  }

  /** Has everybody had their say since the last change? Between now and `at` nothing happens. */
  #quiet(at: number): boolean {
    const quietMs = QUIET_RENEWALS * timingOf(this.#state).renewMs;
    return at >= this.#changedAt + quietMs && !this.#agents.some((agent) => agent.busy);
  }

  /** Does nothing change any more, as far as is known? What follows when a wait has ended takes its time as well. */
  #settled(at: number): boolean {
    this.#lookAt = at + timingOf(this.#state).renewMs / 2;
    if (!this.#pending()) return this.#quiet(at);
    this.#changedAt = this.#now;
    return false;
  }

  /** Something will come of time alone before the horizon. */
  #pending(): boolean {
    const { durable, volatile } = this.#state;
    if (volatile.doubtUntil > this.#now || (durable.restored !== null && restoredUntil(this.#state) > this.#now))
      return true;
    const here = new Set(this.#agents.map(({ node }) => node));
    for (const [name, live] of Object.entries(volatile.nodes))
      if (here.has(name) ? live.readyAt > this.#now : live.ended === null && durable.nodes[name]?.lost === false)
        return true;
    const held = new Set(this.#agents.flatMap((agent) => agent.groups));
    const wanted = ({ name, desired }: GroupRecord) =>
      desired === 'started' && durable.config?.groups[name] !== undefined;
    const open = Object.values(durable.groups).filter((group) => wanted(group) && !held.has(group.name));
    const waited = (group: GroupRecord) =>
      this.#leaseRuns(group) || this.#agents.some((agent) => agent.waitsFor(group.name, this.#now));
    return open.some(waited) || (open.length > 0 && this.#retriedSoon(open));
  }

  /** Its lease may still run, although nobody is there who renews it. */
  #leaseRuns({ name, lease }: GroupRecord): boolean {
    return (
      lease !== null && !freedom(lease, this.#state.volatile.renewals[name], timingOf(this.#state), this.#now).free
    );
  }

  /** A node, or the whole group, is held back until an instant that is looked at. */
  #retriedSoon(open: readonly GroupRecord[]): boolean {
    const { groups } = statusOf(this.#state, this.#now);
    const waits = open.flatMap((group) => [
      ...(groups[group.name]?.candidates ?? []).flatMap(({ reasons }) => reasons),
      ...[startBar(this.#state, group, this.#now)].filter((bar) => bar !== undefined),
    ]);
    return waits.some((reason) => {
      const until = 'until' in reason && reason.until !== undefined ? Date.parse(reason.until) : 0;
      return until > this.#now && until <= this.#beganAt + HORIZON_MS;
    });
  }
}

const nodesText = (nodes: readonly string[]) => nodes.toSorted().join(' ');

/** What the newest renewals say, but for those that say nothing yet. */
function saidOfPromises(
  state: ClusterState,
  now: number,
): Map<string, { readonly epoch: number; readonly voters: string; readonly backed: boolean }> {
  return new Map(
    Object.values(state.durable.groups).flatMap((group) => {
      const { name, lease } = group;
      if (lease === null || lease.released) return [];
      const { survives, settling } = outageOf(state, group, now);
      if (settling === true && !survives) return [];
      return [[name, { epoch: lease.epoch, voters: nodesText(lease.voters.names), backed: survives }] as const];
    }),
  );
}

/** @param now the coordinator's clock; of a state whose newest event is later, that. */
export function beginForecast(
  state: ClusterState,
  whatIf: WhatIf,
  now: number,
): { readonly forecast: Forecast } | { readonly refused: NotAssumed } {
  const problem = assumptionProblem(state, whatIf);
  if (problem !== undefined) return { refused: problem };
  const forecast = new Forecast(state, whatIf, Math.max(now, state.volatile.lastEventAt));
  const refused = forecast.assume();
  return refused === undefined ? { forecast } : { refused };
}
