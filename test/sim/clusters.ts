/** What clusters the simulator runs: each seed draws its hosts, its timing, its groups with their rules, and their failure policies. */
import {
  type Config,
  DEFAULT_POLICY,
  type FailurePolicy,
  type GroupConfig,
  NO_RULES,
  ON_FAIL,
} from '../../schemas/config.ts';
import { customTiming, LEASE_PROFILES, type LeaseTiming } from '../../schemas/limits.ts';
import type { Random } from './random.ts';

const GROUPS = ['db', 'log'] as const;
type Rules = Readonly<Record<(typeof GROUPS)[number], Partial<GroupConfig>>>;

const NONE: Rules = { db: {}, log: {} };
/** What the two groups may have to do with each other. `log` may not run everywhere, so `db` can follow it and not the reverse. */
const RULES: Readonly<Record<string, Rules>> = {
  'log after db': { db: {}, log: { after: ['db'] } },
  'db with log': { db: { with: ['log'] }, log: {} },
  'db after and with log': { db: { with: ['log'], after: ['log'] }, log: { failbackMs: 5_000 } },
  'log apart from db': { db: {}, log: { apart: ['db'] } },
  'db apart from log, log after db': { db: { apart: ['log'], prefer: ['fast=yes'] }, log: { after: ['db'] } },
  failback: { db: { prefer: ['fast=yes', 'b'], failbackMs: 3_000 }, log: { failbackMs: 5_000, after: ['db'] } },
  'manual failover': { db: { failover: 'manual' }, log: { failover: 'manual', after: ['db'] } },
};

const { fast, wan } = LEASE_PROFILES;
const slow = customTiming(30_000, 6_000);
/** By how often they are drawn. A storm is as many leases long with each, and its faults as many leases apart. */
export const TIMINGS: readonly LeaseTiming[] = [
  ...new Array<LeaseTiming>(8).fill(LEASE_PROFILES.default),
  ...new Array<LeaseTiming>(7).fill(wan),
  ...new Array<LeaseTiming>(3).fill(slow),
  fast,
];

/** What of its configuration changes while a cluster runs. */
export interface Variant {
  readonly timing: LeaseTiming;
  /** `db` has other resources. */
  readonly other: boolean;
  readonly withoutLog: boolean;
  readonly requiresUplink: boolean;
  /** `on` without the last node. */
  readonly fewer: boolean;
}

export class ClusterKind {
  readonly hosts: readonly string[];
  /** '' for none. */
  readonly ruleName: string;
  readonly first: Variant;
  readonly #policies = new Map<string, FailurePolicy>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    this.hosts = random.pick([
      ['a', 'b'],
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
      ['a', 'b', 'c', 'd'],
    ]);
    this.ruleName = this.hosts.length > 2 && random.chance(0.4) ? random.pick(Object.keys(RULES)) : '';
    this.first = {
      timing: random.pick(TIMINGS),
      other: false,
      withoutLog: false,
      requiresUplink: random.chance(0.1),
      fewer: false,
    };
  }

  get groups(): readonly string[] {
    return GROUPS;
  }

  /** How much longer everything takes than with leases of four seconds, for which the times of the faults are made. */
  get scale(): number {
    return this.first.timing.leaseMs / LEASE_PROFILES.default.leaseMs;
  }

  config({ timing, other, withoutLog, requiresUplink, fewer }: Variant): Config {
    const rules = RULES[this.ruleName] ?? NONE;
    const ip = (id: string) =>
      ({ type: 'vip', id, address: '192.0.2.10/24', times: {}, policy: this.#policyOf(id) }) as const;
    const { hosts } = this;
    const logOn = hosts.length > 2 ? hosts.slice(1, 3) : hosts;
    const log: GroupConfig = { name: 'log', on: logOn, resources: [ip('ip')], ...NO_RULES, ...rules.log };
    const db: GroupConfig = {
      name: 'db',
      on: fewer ? hosts.slice(0, -1) : hosts,
      resources: [ip('ip'), ip(other ? 'mail' : 'web')],
      ...NO_RULES,
      ...rules.db,
      requires: requiresUplink ? 'uplink' : null,
    };
    return {
      cluster: 'storm',
      nodes: hosts,
      labels: { c: ['fast=yes'] },
      timing,
      groups: withoutLog ? { db: withoutNames(db, 'log') } : { db, log },
    };
  }

  /** Most often the default, else one drawn for each resource. */
  #policyOf(id: string): FailurePolicy {
    const random = this.#random;
    const known = this.#policies.get(id);
    if (known !== undefined) return known;
    const critical = !random.chance(0.2);
    const onFail = random.chance(0.5) ? 'restart' : random.pick(critical ? ON_FAIL : (['restart', 'ignore'] as const));
    const inARow = () => (random.chance(0.5) ? 1 : 3);
    const policy = random.chance(0.5)
      ? DEFAULT_POLICY
      : { ...DEFAULT_POLICY, onFail, critical, fall: inARow(), rise: inARow() };
    this.#policies.set(id, policy);
    return policy;
  }
}

function withoutNames(group: GroupConfig, name: string): GroupConfig {
  const others = (names: readonly string[]) => names.filter((other) => other !== name);
  return { ...group, after: others(group.after), with: others(group.with), apart: others(group.apart) };
}
