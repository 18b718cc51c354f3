/** What a forecast found, in the words of the API: what becomes of each group, what would be down, what is to be thought of. */
import { isServed, type SimulatedEnd, type Simulation, type Status } from '../../../schemas/api.ts';
import { lacksSuccessor } from '../../../schemas/takeover.ts';
import { statusOf } from '../explain.ts';
import { timingOf } from '../lease.ts';
import { firstDifference } from '../plan.ts';
import { iso } from '../records.ts';
import type { ClusterState } from '../state.ts';
import type { Liveliness, WhatIf } from './assume.ts';
import type { Entry, Ledger } from './ledger.ts';

export interface Ending {
  readonly whatIf: WhatIf;
  readonly before: ClusterState;
  readonly after: ClusterState;
  readonly beganAt: number;
  readonly endedAt: number;
  /** settled: nothing changes any more. horizon, unfinished: something still does, at the end of what is looked at or of the work that is done. */
  readonly how: 'settled' | 'horizon' | 'unfinished';
  readonly alive: ReadonlyMap<string, Liveliness>;
  readonly ledger: Ledger;
  /** When the coordinator went away: what was so, which groups go on, and why others do not. */
  readonly outage:
    | {
        readonly shown: Status['groups'];
        readonly goesOn: ReadonlyMap<string, { readonly starts: boolean }>;
        readonly ends: ReadonlyMap<string, string>;
      }
    | undefined;
}

type Shown = Status['groups'][string];
type SimulatedGroup = Simulation['groups'][string];

export function simulationOf(ending: Ending): Simulation {
  const { whatIf, before, after, beganAt, endedAt } = ending;
  const shownBefore = statusOf(before, beganAt).groups;
  const shownAfter =
    ending.outage === undefined ? statusOf(after, endedAt).groups : withoutCoordinator(ending.outage, after);
  const groups: Simulation['groups'] = {};
  for (const name of new Set([...Object.keys(shownBefore), ...Object.keys(shownAfter)]))
    groups[name] = groupOf(ending, name, shownBefore[name], shownAfter[name]);
  return {
    schema: 'holdfast/simulation/v1',
    cluster: before.durable.cluster,
    at: iso(beganAt),
    revision: before.durable.revision,
    assumed: {
      down: [...new Set(whatIf.down)],
      standby: [...new Set(whatIf.standby)],
      coordinatorDown: whatIf.coordinatorDown,
      document: whatIf.config !== null,
    },
    simulatedMs: endedAt - beganAt,
    settled: ending.how === 'settled',
    ...(ending.outage === undefined ? {} : { absence: absenceOf(after, ending.outage) }),
    groups,
    down: Object.keys(groups).filter((name) => groups[name]?.how === 'down'),
    warnings: warningsOf(ending, groups, shownAfter),
  };
}

/** An owner that has just renewed bears the absence longest, one that was about to renew shortest. */
function absenceOf(state: ClusterState, { goesOn }: NonNullable<Ending['outage']>): NonNullable<Simulation['absence']> {
  const { leaseMs, stopMs, renewMs } = timingOf(state);
  return {
    unnoticedMs: Math.max(0, leaseMs - stopMs - renewMs),
    stoppedMs: leaseMs - stopMs,
    goesOn: [...goesOn.keys()],
  };
}

/** What is so when the leases that nobody renews have run out, and nobody is there to grant another. */
function withoutCoordinator(
  { shown, goesOn, ends }: NonNullable<Ending['outage']>,
  { durable }: ClusterState,
): Status['groups'] {
  const then = (name: string, { state: _, reason: __, ...group }: Shown): Shown => {
    const alone = { ...group, owner: null, candidates: [] };
    if (durable.groups[name]?.desired === 'stopped') return { ...alone, state: 'stopped' };
    const why = ends.get(name);
    const because = why === undefined ? '' : `; ${why}`;
    const reason = `the coordinator is away: no lease is renewed or granted${because}`;
    return { ...alone, state: 'waiting', reason };
  };
  return Object.fromEntries(
    Object.entries(shown).map(([name, group]) => {
      const stands = goesOn.get(name);
      if (stands === undefined) return [name, then(name, group)];
      const { reason: _, ...started } = group;
      return [name, stands.starts ? { ...started, state: 'running', candidates: [] } : { ...group, candidates: [] }];
    }),
  );
}

function groupOf(ending: Ending, name: string, before: Shown | undefined, after: Shown | undefined): SimulatedGroup {
  const entry = ending.ledger.entry(name);
  const how = endOf(ending, name, before, after, entry);
  const reason = after?.reason === undefined ? {} : { reason: after.reason };
  return {
    before: before === undefined ? null : { state: before.state, owner: before.owner },
    after: after === undefined ? null : { state: after.state, owner: after.owner, ...reason },
    how,
    ...interruptionOf(ending, how, entry),
    candidates: (how === 'down' ? undefined : entry.lastGrant?.candidates.slice()) ?? after?.candidates ?? [],
  };
}

function endOf(
  { after: state }: Ending,
  name: string,
  before: Shown | undefined,
  after: Shown | undefined,
  entry: Entry,
): SimulatedEnd {
  const wanted = after !== undefined && state.durable.groups[name]?.desired === 'started' && isConfigured(state, name);
  if (!wanted) return before?.owner == null ? 'stays' : 'stops';
  if (!isServed(after.state)) return 'down';
  if (before === undefined || !isServed(before.state)) return 'starts';
  if (before.owner === after.owner) return entry.interrupted ? 'restarts' : 'stays';
  return entry.lastGrant?.cause === 'released' ? 'moves' : 'fails-over';
}

function isConfigured(state: ClusterState, group: string): boolean {
  return state.durable.config?.groups[group] !== undefined;
}

const LISTED = 8;

function listed(names: readonly string[]): string {
  const more = names.length - LISTED;
  return `${names.slice(0, LISTED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

function starts({ startsKnown, startedMs }: Entry): string {
  return startsKnown ? `its starts, ${seconds(startedMs)} when last measured` : 'its starts, whose time is not known';
}

function interruptionOf(
  { whatIf }: Ending,
  how: SimulatedEnd,
  entry: Entry,
): Pick<SimulatedGroup, 'interruptedMs' | 'interruption'> {
  const took = seconds(entry.startedMs);
  // how long a stop takes nobody has measured
  const andItsStop = entry.startsKnown
    ? `at least ${took} (its starts when last measured), and what its stop takes, which is not known`
    : 'what its stop and its starts take, which is not known';
  switch (how) {
    case 'stays':
      return { interruptedMs: 0, interruption: 'none' };
    case 'restarts':
    case 'moves':
      return { interruptedMs: null, interruption: andItsStop };
    case 'fails-over':
      return {
        interruptedMs: entry.startsKnown ? entry.waitedMs + entry.startedMs : null,
        interruption: `at most ${seconds(entry.waitedMs)} until its lease has run out and a node can take it, and ${starts(entry)}`,
      };
    case 'starts':
      return {
        interruptedMs: null,
        interruption: `not served now; served after ${seconds(entry.waitedMs)} and ${starts(entry)}`,
      };
    case 'stops':
      return { interruptedMs: null, interruption: 'stopped, as is wanted' };
    case 'down':
      return {
        interruptedMs: null,
        interruption: whatIf.coordinatorDown
          ? 'until the coordinator is back'
          : 'until something is done, or a wait has ended',
      };
    default:
      return how satisfies never;
  }
}

function warningsOf(ending: Ending, groups: Simulation['groups'], after: Status['groups']): string[] {
  const { whatIf, before, alive, how } = ending;
  const of = (verdict: Liveliness) => [...alive].filter(([, found]) => found === verdict).map(([name]) => name);
  const assumedLost = of('silent').filter((name) => !whatIf.down.includes(name));
  const assumedAlive = of('unheard').filter((name) => !whatIf.down.includes(name));
  return [
    ...whatIf.down
      .filter((name) => alive.get(name) === undefined || alive.get(name) === 'gone')
      .map((name) => `${name} does not report now: that it is down changes nothing`),
    ...assumedLost.map((name) => `${name} has missed its renewals a moment ago: it is taken for lost`),
    ...assumedAlive.map(
      (name) => `the coordinator has just started and has not heard from ${name}: it is taken for alive`,
    ),
    ...(whatIf.coordinatorDown ? [] : lastNodes(groups, after)),
    ...notYetJoined(ending),
    ...unknownPolicies(ending),
    ...(whatIf.coordinatorDown ? [] : failbacks(ending)),
    ...(how === 'settled' ? [] : [unfinished(ending)]),
    ...(before.durable.restored === null
      ? []
      : ['the coordinator’s data was restored: what the nodes know beyond it is not simulated']),
  ];
}

/** Groups that may run on several nodes, and whose owner would have no successor. */
function lastNodes(groups: Simulation['groups'], after: Status['groups']): string[] {
  const byOwner = new Map<string, string[]>();
  for (const name of Object.keys(groups)) {
    const group = after[name];
    if (group === undefined || group.owner === null || !lacksSuccessor(group)) continue;
    byOwner.set(group.owner, [...(byOwner.get(group.owner) ?? []), name]);
  }
  return [...byOwner].map(([owner, names]) => `${owner} would be the last node for ${listed(names)}: no takeover left`);
}

function notYetJoined({ whatIf, before }: Ending): string[] {
  const missing = (whatIf.config?.nodes ?? []).filter((name) => before.durable.nodes[name]?.removed !== false);
  return missing.map((name) => `${name} is named in the document, but has not joined`);
}

/** What a node's administrator allows is known only for what it was asked to run before. */
function unknownPolicies({ whatIf, before }: Ending): string[] {
  const known = before.durable.config?.groups ?? {};
  const changed = Object.values(whatIf.config?.groups ?? {}).filter(({ name, on, resources }) => {
    const now = known[name];
    return (
      now === undefined ||
      firstDifference(now, { resources }) !== undefined ||
      on.some((node) => !now.on.includes(node))
    );
  });
  if (changed.length === 0) return [];
  const names = listed(changed.map(({ name }) => name));
  return [`whether the nodes may and can run what is new in ${names} is known only once it is applied`];
}

/** What waits for longer than is looked ahead. */
function failbacks({ after }: Ending): string[] {
  return Object.entries(after.volatile.better).flatMap(([group, { node, since }]) => {
    const waitMs = after.durable.config?.groups[group]?.failbackMs ?? null;
    return waitMs === null
      ? []
      : [`${group} moves back to ${node} later, not before ${iso(since + waitMs)} (failback)`];
  });
}

function unfinished({ how, beganAt, endedAt }: Ending): string {
  const reached = `after ${seconds(endedAt - beganAt)}`;
  return how === 'horizon'
    ? `something still changes ${reached}, which is as far as is looked ahead`
    : `the simulation was ended ${reached}, because the cluster is large: what comes later is not in it`;
}
