/** For the tests of rules between groups: a desk whose agents do by themselves what agents do, so that the outcome of many steps can be told. */
import type { Config, GroupConfig } from '../../schemas/config.ts';
import type { GroupReport, Observation, Release, Reply } from '../../schemas/wire.ts';
import { statusOf } from './explain.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

type Rules = Partial<Omit<GroupConfig, 'name' | 'resources'>>;

/** alice, bob and carol, and groups with these rules; `on` left out: all three. */
export function ruled(groups: Record<string, Rules>, labels: Config['labels'] = {}): Config {
  const plain = config(Object.fromEntries(Object.keys(groups).map((name) => [name, ['alice', 'bob', 'carol']])));
  const entries = Object.entries(plain.groups).map(([name, group]) => [name, { ...group, ...groups[name] }] as const);
  return { ...plain, labels, groups: Object.fromEntries(entries) };
}

interface Agent {
  alive: boolean;
  incarnation: number;
  /** Of each group that it has: the epoch, and what it tells of it. */
  readonly held: Map<string, { readonly epoch: number; state: GroupReport['state'] }>;
  releases: Release[];
  observed: readonly Observation[];
}

const ROUND_MS = 100;

/** Long enough for everything that needs no lease to run out. */
export const SOON_MS = 2_000;
/** Long enough for a lost node to be taken over from, one group after the other. */
export const TAKEOVERS_MS: number = TAKEOVER_MS + 4_000;

export class Floor extends Desk {
  readonly agents: ReadonlyMap<string, Agent>;
  /** `group/node` whose start fails there. */
  readonly failing = new Set<string>();
  /** Groups whose stop takes for ever. */
  readonly neverStops = new Set<string>();
  /** What came up and went down, in order: `+db alice`, `-db alice`. */
  readonly story: string[] = [];

  constructor(wanted: Config) {
    super(wanted);
    const agent = (): Agent => ({ alive: true, incarnation: 1, held: new Map(), releases: [], observed: [] });
    this.agents = new Map(wanted.nodes.map((node) => [node, agent()]));
  }

  agent(node: string): Agent {
    const agent = this.agents.get(node);
    if (agent === undefined) throw new Error(`no node ${node}`);
    return agent;
  }

  /** Time passes, and every living node reports once. */
  round(ms = ROUND_MS): void {
    this.now += ms;
    for (const [node, agent] of this.agents) if (agent.alive) this.#report(node, agent);
    this.does({ type: 'tick' });
  }

  /** Rounds until this much time has passed. */
  runs(ms: number): void {
    for (const until = this.now + ms; this.now < until; ) this.round();
  }

  #report(node: string, agent: Agent): void {
    const leases = [...agent.held].map(([group, { epoch }]) => ({ group, epoch }));
    const groups = [...agent.held].map(([group, { epoch, state }]) => ({
      group,
      epoch,
      state,
      forMs: 0,
      resources: [],
    }));
    const claims = agent.observed
      .filter((seen) => seen.claim !== 'never' && !agent.held.has(seen.group))
      .map(({ group, renewal }) => ({ group, renewal, seenForMs: TAKEOVER_MS }));
    const releases = agent.releases;
    agent.releases = [];
    const incarnation = `${node}-${agent.incarnation}`;
    this.#obey(node, agent, this.hears(node, { incarnation, leases, groups, claims, releases }));
  }

  #obey(node: string, agent: Agent, reply: Reply): void {
    agent.observed = reply.observed;
    for (const answer of reply.leases) {
      if (answer.verdict === 'refused' || answer.order !== 'release' || this.neverStops.has(answer.group)) continue;
      this.#down(node, agent, answer.group, { group: answer.group, epoch: answer.epoch });
    }
    for (const { group, epoch } of reply.grants) {
      agent.held.set(group, { epoch, state: 'running' });
      if (!this.failing.has(`${group}/${node}`)) this.story.push(`+${group} ${node}`);
      else {
        const failure = { resource: 'ip', severity: 'hard', reason: 'it does not start' } as const;
        agent.held.delete(group);
        agent.releases.push({ group, epoch, failure });
      }
    }
  }

  #down(node: string, agent: Agent, group: string, release: Release): void {
    agent.held.delete(group);
    agent.releases.push(release);
    this.story.push(`-${group} ${node}`);
  }

  /** The group gives up on its node after a failure. */
  fails(group: string): void {
    const node = this.place(group);
    const agent = this.agent(node);
    const epoch = agent.held.get(group)?.epoch ?? 0;
    const failure = { resource: 'ip', severity: 'hard', reason: 'it died' } as const;
    this.#down(node, agent, group, { group, epoch, failure });
  }

  dies(node: string): void {
    const agent = this.agent(node);
    agent.alive = false;
    for (const group of agent.held.keys()) this.story.push(`-${group} ${node}`);
    agent.held.clear();
    agent.observed = [];
  }

  returns(node: string): void {
    const agent = this.agent(node);
    agent.alive = true;
    agent.incarnation += 1;
  }

  /** Where the group runs; '' for nowhere. */
  place(group: string): string {
    for (const [node, { held }] of this.agents) if (held.has(group)) return node;
    return '';
  }

  get places(): Record<string, string> {
    return Object.fromEntries(
      Object.keys(this.state.durable.config?.groups ?? {}).map((name) => [name, this.place(name)]),
    );
  }

  standby(node: string): void {
    this.does({ type: 'node-standby', node, operation: `standby-${node}-${this.now}` });
  }

  /** The order in which these came and went since `from` of the story. */
  since(from: number): string[] {
    return this.story.slice(from);
  }
}

/** Of the group, as the status says it. */
export const reasonOf = (floor: Floor, group: string) => statusOf(floor.state, floor.now).groups[group]?.reason ?? '';
export const stateOf = (floor: Floor, group: string) => statusOf(floor.state, floor.now).groups[group]?.state;
