/** For the tests beside this file: a small cluster that is talked to as the shell talks to it. */
import { type Config, DEFAULT_POLICY, NO_RULES } from '../../schemas/config.ts';
import { LEASE_PROFILES, type LeaseTiming } from '../../schemas/limits.ts';
import type { Claim, Reply, Report } from '../../schemas/wire.ts';
import { decide, emptyState, restart } from './decide.ts';
import { buildReply } from './reply.ts';
import type {
  ClusterState,
  CoordinatorEvent,
  Effect,
  GroupRecord,
  Lease,
  NewDecision,
  NewEvent,
  Outcome,
} from './state.ts';

const address = { type: 'vip', id: 'ip', address: '192.0.2.10/24', times: {}, policy: DEFAULT_POLICY } as const;

export function config(
  groups: Record<string, readonly string[]>,
  timing: LeaseTiming = LEASE_PROFILES.default,
): Config {
  return {
    cluster: 'shop',
    nodes: ['alice', 'bob', 'carol'],
    labels: {},
    timing,
    groups: Object.fromEntries(
      Object.entries(groups).map(([name, on]) => [name, { name, on, resources: [address], ...NO_RULES }]),
    ),
  };
}

/** T_C of the default profile. */
export const TAKEOVER_MS: number = LEASE_PROFILES.default.takeoverMs;

/** A coordinator with alice, bob and carol, all ready, and one group `db` that may run on each of them. */
export class Desk {
  state: ClusterState;
  /** The coordinator's wall clock. */
  now = 1_700_000_000_000;
  /** Effects of the last event. */
  effects: readonly Effect[] = [];
  #reports = 0;

  constructor(wanted: Config = config({ db: ['alice', 'bob', 'carol'] })) {
    this.state = emptyState('shop', 'h1', 'i1', this.now);
    for (const node of wanted.nodes) this.does({ type: 'enrol', node, publicKey: `key of ${node}` });
    this.does({ type: 'apply', config: wanted });
    for (const node of wanted.nodes) this.hears(node);
  }

  does(event: CoordinatorEvent): Outcome {
    const outcome = decide(this.state, event, this.now);
    this.state = outcome.state;
    this.effects = outcome.effects;
    return outcome;
  }

  /** A report of this node, with everything that is not given as it is on a node at rest. */
  hears(node: string, told: Partial<Report> = {}): Reply {
    return this.#answers({ ...this.#atRest(node), ...told });
  }

  #atRest(node: string): Report {
    this.#reports += 1;
    return {
      type: 'report',
      version: [1, 0],
      id: `r${this.#reports}`,
      node,
      incarnation: `${node}-1`,
      agentVersion: '0.1.0',
      history: 'h1',
      revision: this.state.durable.revision,
      quarantineMs: 0,
      leaseMs: LEASE_PROFILES.default.leaseMs,
      leases: [],
      claims: [],
      releases: [],
      epochs: {},
    };
  }

  /** A report of an agent that has told its epochs already, or believes so. */
  hearsWithoutEpochs(node: string): Reply {
    const { epochs: _told, ...report } = this.#atRest(node);
    return this.#answers(report);
  }

  #answers(report: Report): Reply {
    const { verdicts } = this.does({ type: 'report', report });
    if (verdicts === undefined) throw new Error('a report was not judged');
    return buildReply(this.state, report, verdicts, this.now);
  }

  /** Claims db as an agent would that has done all it has to. */
  claims(node: string, claim: Partial<Claim> = {}, told: Partial<Report> = {}): Reply {
    const renewal = this.#seen(node, told);
    return this.hears(node, { ...told, claims: [{ group: 'db', renewal, seenForMs: TAKEOVER_MS, ...claim }] });
  }

  renews(node: string, epoch: number, told: Partial<Report> = {}): Reply {
    const voters = this.group().lease?.voters.version ?? 1;
    return this.hears(node, { leases: [{ group: 'db', epoch, voters }], ...told });
  }

  /** db runs on this node: granted, renewed once, reported running. */
  runsOn(node: string): number {
    const epoch = this.claims(node).grants[0]?.epoch;
    if (epoch === undefined) throw new Error(`db was not granted to ${node}`);
    this.renews(node, epoch, { groups: [{ group: 'db', epoch, state: 'running', forMs: 0, resources: [] }] });
    return epoch;
  }

  /** Lets time pass; the other nodes go on reporting. */
  passes(ms: number, alive: readonly string[] = []): void {
    this.now += ms;
    for (const node of alive) this.hears(node);
  }

  /** The object starts anew with what is durable. */
  restarts(instance = 'i2'): void {
    const outcome = restart(this.state.durable, instance, this.now);
    this.state = outcome.state;
    this.effects = outcome.effects;
  }

  #seen(node: string, told: Partial<Report>): string | null {
    return this.hears(node, told).observed.find((seen) => seen.group === 'db')?.renewal ?? null;
  }

  group(name = 'db'): GroupRecord {
    const group = this.state.durable.groups[name];
    if (group === undefined) throw new Error(`no group ${name}`);
    return group;
  }

  lease(name = 'db'): Lease {
    const { lease } = this.group(name);
    if (lease === null) throw new Error(`${name} has no lease`);
    return lease;
  }

  get events(): NewEvent[] {
    return this.effects.flatMap((effect) => (effect.kind === 'event' ? [effect.event] : []));
  }

  get kinds(): string[] {
    return this.events.map((event) => event.kind);
  }

  get decision(): NewDecision | undefined {
    return this.effects.flatMap((effect) => (effect.kind === 'decision' ? [effect.decision] : []))[0];
  }

  get nudged(): string[] {
    return this.effects.flatMap((effect) => (effect.kind === 'nudge' ? [effect.node] : []));
  }
}
