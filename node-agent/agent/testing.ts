/** For the tests beside this file: the pure cores of the agent, with what stands around them written out. */
import { DEFAULT_POLICY, type FailurePolicy } from '../../schemas/config.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Grant, GroupReport, LeaseAnswer, Observation, Reply, Report } from '../../schemas/wire.ts';
import type { CopyFacts, Outcome, Probe } from '../resources/index.ts';
import { testCluster } from './cluster-testing.ts';
import type { JoinRequest } from './identity.ts';
import { compose, type Held, type KeepEffect, type KeepEvent, type KeepState, keep, newKeep } from './keep.ts';
import {
  type Declared,
  type GiveUp,
  groupReport,
  newRun,
  type RunEffect,
  type RunEvent,
  type RunState,
  run,
  runDue,
} from './run.ts';

export const START = 100_000;

/** A copy of replicated data that nobody writes to. */
export const copyFacts = (disk: string): CopyFacts => ({
  name: 'r0',
  host: 'n1',
  role: 'Secondary',
  disk,
  guarded: true,
  peers: [],
});

/** alice joins the cluster shop, and is taken. */
export const joinRequest = (stateDir: string, changes: Partial<JoinRequest> = {}): JoinRequest => ({
  stateDir,
  url: 'https://ha.example.org/',
  cluster: 'shop',
  node: 'alice',
  token: testCluster.token,
  policy: 'allow: {}\n',
  reset: { text: 'none\n', chosen: false },
  enrol: async (body) => testCluster.enrolled(body),
  ...changes,
});

/** The lease keeper of alice, between its clock and what the coordinator answers. */
export class Keeper {
  state: KeepState;
  now = START;
  effects: readonly KeepEffect[] = [];
  #reports = 0;

  constructor(changes: Partial<KeepState> = {}) {
    const known = {
      node: 'alice',
      incarnation: 'alice-1',
      timing: LEASE_PROFILES.default,
      revision: 1,
      history: 'h1',
      groups: { db: { on: ['alice', 'bob', 'carol'], requiresUplink: false } },
      epochs: {},
      promises: {},
      coordinator: { generation: 1, instance: 'i1' },
      longestPromise: { ms: 0, untilMs: 0 },
      quarantineEndMs: 0,
      held: {},
    };
    const spoken = { nextReportMs: START, toldInstance: 'i1', instance: 'i1' };
    this.state = { ...newKeep(known, START), claimable: new Set(['db']), ...spoken, ...changes };
  }

  does(event: KeepEvent): readonly KeepEffect[] {
    const outcome = keep(this.state, event, this.now);
    this.state = outcome.state;
    this.effects = outcome.effects;
    return outcome.effects;
  }

  /** Composes a report now. */
  sends(): Report {
    this.#reports += 1;
    const composed = compose(this.state, `r${this.#reports}`, '0.1.0', {}, this.now);
    this.state = composed.state;
    return composed.report;
  }

  answered(report: Pick<Report, 'id'>, told: Partial<Reply> = {}): readonly KeepEffect[] {
    return this.does({
      type: 'reply',
      reply: {
        type: 'reply',
        version: [1, 0],
        id: report.id,
        history: 'h1',
        instance: 'i1',
        generation: 1,
        renewInMs: LEASE_PROFILES.default.renewMs,
        leases: [],
        grants: [],
        refused: [],
        observed: [],
        ...told,
      },
    });
  }

  /** Told that it may claim, claims, and is granted the epoch, `delayMs` after it asked. It is on disk and in the guard at once. */
  acquires(epoch = 1, delayMs = 20): readonly KeepEffect[] {
    this.answered(this.sends(), { observed: [free] });
    const claim = this.sends();
    this.now += delayMs;
    const effects = this.answered(claim, { grants: [grant(epoch)] });
    if (this.held !== undefined) this.does({ type: 'kept', group: 'db', epoch, version: 1 });
    this.effects = effects;
    return effects;
  }

  renews(epoch = 1, order: Order = 'run', delayMs = 20, cleanups = 0): readonly KeepEffect[] {
    const report = this.sends();
    this.now += delayMs;
    return this.answered(report, { leases: [renewed(epoch, order, cleanups)] });
  }

  get held() {
    return this.state.held.db;
  }

  get kinds(): string[] {
    return this.effects.map(({ kind }) => kind);
  }
}

/** A lease that alice holds alone, as it is in the guard. */
export function heldLease(given: Pick<Held, 'epoch' | 'deadlineMs'> & Partial<Held>): Held {
  return {
    voters: { version: 1, names: ['alice'] },
    kept: true,
    promised: {},
    coordinatorMs: given.deadlineMs,
    phase: 'active',
    ...given,
  };
}

export const free: Observation = { group: 'db', renewal: null, claim: 'now', released: null, waitMs: 0 };
export const grant = (epoch: number, incarnation = 'alice-1'): Grant => ({
  group: 'db',
  epoch,
  incarnation,
  voters: { version: 1, names: ['alice', 'bob'] },
  released: null,
});
type Renewed = Extract<LeaseAnswer, { verdict: 'renewed' }>;
type Order = Renewed['order'];
export const renewed = (epoch: number, order: Order = 'run', cleanups = 0): Renewed => ({
  verdict: 'renewed',
  group: 'db',
  epoch,
  order,
  cleanups,
});
const times = { startMs: 20_000, stopMs: 15_000, monitorMs: 5_000, monitorIntervalMs: 10_000 };

export function declared(id: string, key = id): Declared {
  return { key, id, times, policy: DEFAULT_POLICY, repairable: false };
}

/** A resource as a test writes it: what differs from the default policy stands beside its name. */
export type Described = { id: string; repairable?: boolean } & Partial<FailurePolicy>;

function described(one: string | Declared | Described): Declared {
  if (typeof one === 'string') return declared(one);
  if ('policy' in one) return one;
  const { id, repairable = false, ...policy } = one;
  return { ...declared(id), repairable, policy: { ...DEFAULT_POLICY, ...policy } };
}

/** The runner of one group. What it does is read as words: `start a`, `force b`, `down`. */
export class Track {
  state: RunState;
  now = START;
  effects: string[] = [];
  failure: GiveUp | undefined;
  readonly #declared: Declared[];

  constructor(...resources: (string | Declared | Described)[]) {
    this.#declared = resources.map(described);
    this.state = newRun('db', this.#declared, this.now);
  }

  /** As an agent that has just started: nothing is known. */
  reset(): void {
    this.state = newRun('db', this.#declared, this.now);
  }

  apply(event: RunEvent): string[] {
    const outcome = run(this.state, event, this.now);
    this.state = outcome.state;
    for (const effect of outcome.effects) if (effect.kind === 'down') this.failure = effect.failure;
    this.effects = outcome.effects.map(words);
    return this.effects;
  }

  pause(paused = true): string[] {
    return this.apply({ type: 'pause', paused });
  }

  /** A person's cleanup, told in the answer to a request that left just now. */
  cleanup(askedMs = this.now): string[] {
    return this.apply({ type: 'cleanup', askedMs });
  }

  want(want: RunState['want'], epoch = 1): string[] {
    return this.apply({ type: 'want', want, epoch });
  }

  tick(): string[] {
    return this.apply({ type: 'tick' });
  }

  /** Everything is looked at for the first time, and is stopped. */
  discover(): void {
    this.tick();
    for (const { key } of this.#declared) this.probed(key, { state: 'stopped' });
  }

  declare(...resources: (string | Described)[]): string[] {
    return this.apply({ type: 'declare', resources: resources.map(described) });
  }

  probed(key: string, probe: Probe): string[] {
    return this.apply({ type: 'probed', key, probe });
  }

  started(key: string, outcome: Outcome = { ok: true }): string[] {
    return this.apply({ type: 'started', key, outcome });
  }

  start(...keys: string[]): void {
    for (const key of keys) this.started(key);
  }

  stopped(key: string, outcome: Outcome = { ok: true }, rung: 'stop' | 'force' = 'stop'): string[] {
    return this.apply({ type: 'stopped', key, rung, outcome });
  }

  /** Ends every stop that is asked for, until none is. */
  stopAll(): void {
    for (;;) {
      const next = this.state.resources.find(({ state }) => state.is === 'stopping');
      if (next === undefined) return;
      this.stopped(next.key);
    }
  }

  is(id: string): string | undefined {
    return this.state.resources.find((resource) => resource.id === id)?.state.is;
  }

  /** A declaration waits. */
  get pending(): boolean {
    return this.state.next !== undefined;
  }

  due(): number | undefined {
    return runDue(this.state, this.now);
  }

  report(): GroupReport {
    return groupReport(this.state, this.now);
  }

  get shown(): string {
    return this.report().state;
  }
}

function words(effect: RunEffect): string {
  switch (effect.kind) {
    case 'event':
      return `${effect.event.kind} ${effect.event.resource}`;
    case 'down':
      return effect.failure === undefined
        ? 'down'
        : `down: ${effect.failure.resource} ${effect.failure.severity} ${effect.failure.reason}`;
    case 'stuck':
      return `stuck ${effect.id} ${effect.reason}`;
    case 'stop':
      return `${effect.rung === 'force' ? 'force' : 'stop'} ${effect.key}`;
    default:
      return `${effect.kind} ${effect.key}`;
  }
}
