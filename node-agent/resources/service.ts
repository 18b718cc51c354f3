import { OPERATION_TIMES } from '../../schemas/limits.ts';
import {
  type Activity,
  type Cgroup,
  cgroupAt,
  controlGroupOf,
  DbusError,
  Systemd,
  textOf,
  type UnitState,
} from '../system/index.ts';
import { resourceId, type ServiceDeclaration } from './declaration.ts';
import type { ResourceContext } from './ports.ts';
import {
  couldNotLook,
  type Holding,
  type OperationTimes,
  type Outcome,
  type Probe,
  type Resource,
} from './resource.ts';
import {
  AGENT_UNIT,
  dropInInForce,
  dropInText,
  removeDropIn,
  unitsWithDropIn,
  writeDropIn,
} from './service-drop-in.ts';
import {
  activatorProblem,
  activatorsOf,
  isDown,
  isSettled,
  isUp,
  unitProblem,
  whyDown,
  whyNotActive,
} from './service-state.ts';

export interface ServiceOptions {
  readonly systemd?: Systemd;
}

const DEFAULT_TIMES: OperationTimes = OPERATION_TIMES.service;
/** The unit's own time-outs are systemd's to judge; ours comes right after, in case it does not. */
const AFTER_SYSTEMD_MS = 2_000;
/** How long processes may take to end after a stop that said it had stopped them; what is left then is killed. */
const LEFTOVER_GRACE_MS = 2_000;
const KILL_AGAIN_MS = 50;
/** How long a start that was called off may take to be undone. */
const UNDO_MS = 1_500;
const SIGKILL = 9;

const sharedSystemd = new Systemd();

/**
 * Gives units back that the configuration does not name any more: their `Restart=` and time-outs are their own again. One that still
 * runs is not given back yet: nothing may revive it while it is being stopped. Speaks to systemd only when there is something to do.
 * @returns whether all are given back.
 */
export async function releaseUnits(kept: ReadonlySet<string>, systemd = sharedSystemd): Promise<boolean> {
  const others = unitsWithDropIn().filter((unit) => !kept.has(unit));
  const activities = await Promise.all(others.map((unit) => systemd.activity(unit)));
  const down = others.filter((_, index) => isDown(activities[index]?.active ?? ''));
  for (const unit of down) removeDropIn(unit);
  if (down.length > 0) await systemd.reload();
  return down.length === others.length;
}

/**
 * A unit of systemd, which starts and stops it and tells of every change; Holdfast decides when. `Restart=` is off, so that nothing
 * revives what was taken away, and the unit's cgroup is where the guard finds all of its processes.
 */
export class ServiceResource implements Resource {
  readonly id: string;
  readonly type = 'service';
  readonly times: OperationTimes;
  readonly #unit: string;
  readonly #declared: Partial<OperationTimes>;
  readonly #context: ResourceContext;
  readonly #systemd: Systemd;
  /** Every cgroup that it was ever seen in or expected in, by path. */
  readonly #cgroups = new Map<string, Cgroup>();
  /** Those that the guard was told of. */
  #told: readonly string[] = [];

  private constructor(declaration: ServiceDeclaration, context: ResourceContext, systemd: Systemd, state: UnitState) {
    this.id = resourceId(declaration);
    this.#unit = declaration.unit;
    this.#declared = declaration.timeouts ?? {};
    this.times = { ...timesOf(state), ...declaration.timeouts };
    this.#context = context;
    this.#systemd = systemd;
  }

  /**
   * Asks systemd for the unit and has it take over what Holdfast changes about it; starts and stops nothing.
   * @returns the resource; or why this node may not run it. Then the resource comes along wherever the unit exists: should it run here
   * without a lease, it has to be stopped.
   */
  static async create(
    declaration: ServiceDeclaration,
    context: ResourceContext,
    options: ServiceOptions = {},
  ): Promise<ServiceResource | { readonly problem: string; readonly resource?: ServiceResource }> {
    const systemd = options.systemd ?? sharedSystemd;
    const { unit } = declaration;
    if (context.cgroups === undefined || cgroupAt('/') === undefined)
      return { problem: `service ${unit}: no cgroup v2, so the guard could not kill it with all its children` };
    if (`${context.cgroups.root}/`.includes(`/${unit}/`))
      return { problem: `${unit} is the unit of this agent itself` };
    try {
      const state = await systemd.unit(unit);
      const resource = new ServiceResource(declaration, context, systemd, state);
      const problem = await resource.#problem(state);
      if (problem !== undefined)
        return state.load === 'not-found' && isDown(state.active) ? { problem } : { problem, resource };
      if (writeDropIn(unit, dropInText(resource.#declared)) || !resource.#inForce(state)) await systemd.reload();
      return resource;
    } catch (error) {
      return { problem: `service ${unit}: ${textOf(error)}` };
    }
  }

  /** The unit's cgroup. While it does not run: the one that systemd will give it. */
  async holdings(): Promise<readonly Holding[]> {
    this.#told = this.#cgroupsOf(await this.#systemd.unit(this.#unit)).map(({ path }) => path);
    return this.#told.map((path) => ({ kind: 'cgroup', path }));
  }

  probe(options: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    return this.#probe(options).catch(couldNotLook);
  }

  async #probe({ recurring, signal }: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    if (recurring && isUp((await this.#until(isSettled, signal))?.active ?? '')) return { state: 'running' };
    const state = await this.#systemd.unit(this.#unit);
    const { active, sub } = state;
    if (isUp(active)) return { state: 'running' };
    // What is on its way is neither down nor broken. Where it may not run at all, that is enough to have it stopped.
    if (!isDown(active)) {
      if (!recurring || active === 'activating') return { state: 'running', note: `systemd: ${active} (${sub})` };
      return { state: 'failed', severity: 'soft', reason: `it does not get out of state ${active} (${sub})` };
    }
    const left = this.#cgroupsOf(state).filter((cgroup) => cgroup.populated());
    if (left.length > 0)
      return {
        state: 'failed',
        severity: 'soft',
        reason: `systemd says ${active}, but it has processes: ${namesOf(left)}`,
      };
    return recurring ? { state: 'failed', ...whyDown(this.#unit, state), ended: true } : { state: 'stopped' };
  }

  start(signal: AbortSignal): Promise<Outcome> {
    return this.#start(withinTime(this.times.startMs, signal), signal).catch(failure);
  }

  /** @param signal ends with its time-out, or with `calledOff`. */
  async #start(signal: AbortSignal, calledOff: AbortSignal): Promise<Outcome> {
    const startedAt = performance.now();
    await this.#until(isSettled, signal);
    let state = await this.#systemd.unit(this.#unit);
    const problem = await this.#problem(state);
    if (problem !== undefined) return { ok: false, severity: 'hard', reason: problem };
    if (writeDropIn(this.#unit, dropInText(this.#declared)) || !this.#inForce(state)) {
      await this.#systemd.reload();
      state = await this.#systemd.unit(this.#unit);
      if (!this.#inForce(state))
        return {
          ok: false,
          severity: 'hard',
          reason: `systemd does not take what Holdfast sets for ${this.#unit} (Restart=${state.restart}): another drop-in overrules it; systemctl cat ${this.#unit}`,
        };
    }
    if (isUp(state.active)) return this.#inItsPlace(state);
    if (signal.aborted) return fail('the start was called off');
    await this.#systemd.resetFailed(this.#unit);
    const { ended } = await this.#systemd.enqueue('StartUnit', this.#unit);
    const result = await Promise.race([ended, aborted(signal)]);
    state = await this.#systemd.unit(this.#unit);
    if (result === 'lost') {
      await this.#until(isSettled, signal);
      state = await this.#systemd.unit(this.#unit);
    }
    if (signal.aborted) {
      const undone = await this.forceStop(AbortSignal.timeout(UNDO_MS));
      const afterMs = calledOff.aborted ? Math.round(performance.now() - startedAt) : this.times.startMs;
      const reason = whyNotActive(state, afterMs);
      return fail(undone.ok ? reason : `${reason}; and it could not be stopped: ${undone.reason}`);
    }
    if (isUp(state.active)) return this.#inItsPlace(state);
    if (result === 'dependency')
      return fail(`a unit that it requires did not start; systemctl list-dependencies ${this.#unit}`);
    if (result === 'canceled') return fail('its start was cancelled by another job of systemd (systemctl list-jobs)');
    return { ok: false, ...whyDown(this.#unit, state, { starting: true }) };
  }

  /** The guard was told where it would run; anywhere else it could not be killed. */
  #inItsPlace(state: UnitState): Outcome {
    const told = this.#told;
    const [strange] = this.#cgroupsOf(state).filter(({ path }) => !told.includes(path));
    if (strange === undefined || told.length === 0) return { ok: true };
    return fail(
      `it runs in ${strange.path}, which the guard was not told of (its Slice= has changed); it has to be started again`,
    );
  }

  stop(signal: AbortSignal): Promise<Outcome> {
    return this.#stop(withinTime(this.times.stopMs, signal)).catch(failure);
  }

  async #stop(signal: AbortSignal): Promise<Outcome> {
    const before = await this.#systemd.unit(this.#unit);
    const cgroups = this.#cgroupsOf(before);
    if (!isDown(before.active) || before.job) {
      await this.#enqueueStop();
      await this.#until((state) => isDown(state.active) && !state.job, signal);
    }
    const { active, sub } = await this.#systemd.activity(this.#unit);
    if (!isDown(active)) return fail(`it does not stop: systemd says ${active} (${sub})`);
    for (const cgroup of cgroups) {
      if (await cgroup.waitEmpty(LEFTOVER_GRACE_MS, signal)) continue;
      const left = namesOf([cgroup]);
      this.#context.log.warn(`${this.#unit}: its stop left ${left} (KillMode=?); killed`);
      if (!(await cgroup.kill())) return fail(`${left} does not end after SIGKILL`);
    }
    return { ok: true };
  }

  /** Kills its processes in the cgroup itself, which needs nobody's help, and believes only systemd and the kernel together. */
  async forceStop(signal: AbortSignal): Promise<Outcome> {
    try {
      for (const cgroup of this.#cgroups.values()) cgroup.killNow();
      return (await Promise.race([this.#force(signal), aborted(signal)])) ?? fail('systemd did not answer in time');
    } catch (error) {
      const known = [...this.#cgroups.values()];
      const empty = await Promise.all(known.map((cgroup) => cgroup.waitEmpty(LEFTOVER_GRACE_MS, signal)));
      const gone = known.length > 0 && empty.every((is) => is);
      if (!(error instanceof DbusError) || !gone) return failure(error);
      // Nothing of it is left, and with Restart=no nothing comes back, whatever has become of systemd.
      this.#context.log.warn(`${this.#unit}: killed without systemd: ${error.message}`);
      return { ok: true };
    }
  }

  async #force(signal: AbortSignal): Promise<Outcome> {
    const state = await this.#systemd.unit(this.#unit);
    const cgroups = this.#cgroupsOf(state);
    for (const cgroup of cgroups) cgroup.killNow();
    if (!isDown(state.active) || state.job) {
      // What hangs in the kernel, as on a disk of DRBD that is frozen, the next agent may be the one to free. By the drop-in's `Before=` a stop of
      // the unit that systemd waits for would hold up its start: none is left, and none is ordered before everything has ended.
      if (state.job) await this.#systemd.cancelJob(this.#unit);
      await this.#systemd.kill(this.#unit, SIGKILL).catch(() => undefined); // There is nothing to kill any more.
      const left = await this.#leftOf(cgroups, signal);
      if (left !== undefined) return fail(`${namesOf([left])} does not end after SIGKILL`);
      await this.#enqueueStop();
      // The unit's own stop commands come next, one after the other; none of them is waited for.
      await this.#until((now) => {
        for (const cgroup of cgroups) cgroup.killNow();
        return isDown(now.active) && !now.job;
      }, signal);
    }
    const { active, sub } = await this.#systemd.activity(this.#unit);
    for (const cgroup of cgroups)
      if (!(await cgroup.waitEmpty(LEFTOVER_GRACE_MS, signal)))
        return fail(`${namesOf([cgroup])} does not end after SIGKILL`);
    return isDown(active) ? { ok: true } : fail(`after its processes were killed systemd says ${active} (${sub})`);
  }

  /** Kills again and again what systemd may start next. @returns one in which something is left when the signal came; undefined: all ended. */
  async #leftOf(cgroups: readonly Cgroup[], signal: AbortSignal): Promise<Cgroup | undefined> {
    for (;;) {
      let left: Cgroup | undefined;
      for (const cgroup of cgroups) {
        cgroup.killNow();
        if (!(await cgroup.waitEmpty(KILL_AGAIN_MS, signal))) left = cgroup;
      }
      if (left === undefined || signal.aborted) return left;
    }
  }

  /**
   * The drop-in's `Before=` has the unit's stop wait for that of the agent. Where the agent's is under way (it is being stopped, or the
   * whole machine), the agent would wait for itself: then systemd is told not to wait.
   */
  async #enqueueStop(): Promise<void> {
    const agent = await this.#systemd.activity(AGENT_UNIT);
    const alone = agent.active === 'deactivating' || (await this.#systemd.isStopping());
    await this.#systemd.enqueue('StopUnit', this.#unit, alone ? 'ignore-dependencies' : 'replace');
  }

  watch(changed: (what: string) => void): () => void {
    let up = true;
    return this.#systemd.watch(this.#unit, (news) => {
      if (news === 'lost') {
        up = true;
        changed('systemd was away; changes may have been missed');
        return;
      }
      const was = up;
      up = isUp(news.active);
      if (was && !up) changed(`systemd: ${news.active} (${news.sub})`);
    });
  }

  /** Waits for what systemd is to say: looks at once, then at every change of the unit. @returns it; undefined if the signal came first. */
  async #until(condition: (state: Activity) => boolean, signal: AbortSignal): Promise<Activity | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Activity | undefined>();
    const judge = (state: Activity) => {
      if (condition(state)) resolve(state);
    };
    const look = () => {
      this.#systemd.activity(this.#unit).then(judge).catch(reject);
    };
    const unwatch = this.#systemd.watch(this.#unit, (news) => (news === 'lost' ? look() : judge(news)));
    look();
    try {
      return await Promise.race([promise, aborted(signal)]);
    } finally {
      unwatch();
    }
  }

  async #problem(state: UnitState): Promise<string | undefined> {
    const problem = unitProblem(this.#unit, state);
    if (problem !== undefined) return problem;
    for (const activator of activatorsOf(state)) {
      const { active } = await this.#systemd.activity(activator);
      if (!isDown(active)) return activatorProblem(this.#unit, activator);
    }
    return undefined;
  }

  #inForce(state: UnitState): boolean {
    return dropInInForce(this.#unit, this.#declared, state);
  }

  /** Where it runs, and where it would. */
  #cgroupsOf(state: UnitState): Cgroup[] {
    const expected = state.slice === '' ? '' : controlGroupOf(state.slice, this.#unit);
    for (const path of new Set([state.controlGroup, expected])) {
      const cgroup = path === '' ? undefined : cgroupAt(path);
      if (cgroup !== undefined) this.#cgroups.set(cgroup.path, this.#cgroups.get(cgroup.path) ?? cgroup);
    }
    return [...this.#cgroups.values()];
  }
}

/** The unit's own patience where it has an end. */
function timesOf(state: UnitState): OperationTimes {
  const own = (ms: number, otherwise: number) => (Number.isFinite(ms) && ms > 0 ? ms + AFTER_SYSTEMD_MS : otherwise);
  return {
    ...DEFAULT_TIMES,
    startMs: own(state.startTimeoutMs, DEFAULT_TIMES.startMs),
    stopMs: own(state.stopTimeoutMs, DEFAULT_TIMES.stopMs),
  };
}

function namesOf(cgroups: readonly Cgroup[]): string {
  return cgroups.flatMap((cgroup) => cgroup.processNames()).join(', ');
}

/** Whoever calls waits a little longer, so that the reason names the time-out itself. */
function withinTime(ms: number, calledOff: AbortSignal): AbortSignal {
  return AbortSignal.any([calledOff, AbortSignal.timeout(ms)]);
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function fail(reason: string): Outcome & { readonly ok: false } {
  return { ok: false, severity: 'soft', reason };
}

function failure(error: unknown): Outcome {
  return fail(textOf(error));
}
