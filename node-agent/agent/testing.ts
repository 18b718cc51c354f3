/** For the tests beside this file: the pure cores of the agent, with what stands around them written out. */
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Grant, GroupReport, LeaseAnswer, Observation, Reply, Report } from '../../schemas/wire.ts';
import type { Outcome, Probe } from '../resources/index.ts';
import { compose, type KeepEffect, type KeepEvent, type KeepState, keep } from './keep.ts';
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

/** The lease keeper of alice, between its clock and what the coordinator answers. */
export class Keeper {
  state: KeepState;
  now = START;
  effects: readonly KeepEffect[] = [];
  #reports = 0;

  constructor(changes: Partial<KeepState> = {}) {
    this.state = {
      node: 'alice',
      incarnation: 'alice-1',
      timing: LEASE_PROFILES.default,
      revision: 1,
      history: 'h1',
      epochs: {},
      quarantineEndMs: 0,
      held: {},
      claimable: new Set(['db']),
      releases: {},
      observed: {},
      requests: {},
      nextReportMs: START,
      unanswered: 0,
      unansweredSinceMs: 0,
      lastAnswerMs: START,
      toldInstance: 'i1',
      instance: 'i1',
      ...changes,
    };
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
        renewInMs: LEASE_PROFILES.default.renewMs,
        leases: [],
        grants: [],
        refused: [],
        observed: [],
        ...told,
      },
    });
  }

  /** Told that it may claim, claims, and is granted the epoch, `delayMs` after it asked. */
  acquires(epoch = 1, delayMs = 20): readonly KeepEffect[] {
    this.answered(this.sends(), { observed: [free] });
    const claim = this.sends();
    this.now += delayMs;
    return this.answered(claim, { grants: [grant(epoch)] });
  }

  renews(epoch = 1, order: 'run' | 'release' = 'run', delayMs = 20): readonly KeepEffect[] {
    const report = this.sends();
    this.now += delayMs;
    return this.answered(report, { leases: [renewed(epoch, order)] });
  }

  get held() {
    return this.state.held.db;
  }

  get kinds(): string[] {
    return this.effects.map(({ kind }) => kind);
  }
}

export const free: Observation = { group: 'db', renewal: null, claim: 'now', waitMs: 0 };
export const grant = (epoch: number, incarnation = 'alice-1'): Grant => ({
  group: 'db',
  epoch,
  incarnation,
  voters: ['alice', 'bob'],
  released: null,
});
export const renewed = (epoch: number, order: 'run' | 'release' = 'run'): LeaseAnswer => ({
  verdict: 'renewed',
  group: 'db',
  epoch,
  order,
});
const times = { startMs: 20_000, stopMs: 15_000, monitorMs: 5_000, monitorIntervalMs: 10_000 };

export function declared(id: string, key = id): Declared {
  return { key, id, times, repairable: false };
}

/** The runner of one group. What it does is read as words: `start a`, `force b`, `down`. */
export class Track {
  state: RunState;
  now = START;
  effects: string[] = [];
  failure: GiveUp | undefined;
  readonly #declared: Declared[];

  constructor(...resources: (string | Declared | { id: string; repairable: boolean })[]) {
    this.#declared = resources.map((one) =>
      typeof one === 'string' ? declared(one) : { ...declared(one.id), ...one },
    );
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

  declare(...ids: string[]): string[] {
    return this.apply({ type: 'declare', resources: ids.map((id) => declared(id)) });
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
