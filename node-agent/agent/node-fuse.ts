/**
 * The fuse that this node really has: the guard, and the last word that it was started with. The timing of the cluster is checked against it
 * here, and what cannot be kept is told with the reports, so that nothing is granted that could not be fenced.
 */
import { type Fuse as FuseReport, fuseProblem, timingWith } from '../../schemas/fuse.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import { type GuardClient, GuardError, type GuardReset } from '../guard/index.ts';
import { type Log, textOf } from '../system/index.ts';
import type { Journal } from './journal.ts';

/** A watchdog that could not be armed is tried again after so long. */
const TRY_AGAIN_MS = 60_000;
/** How often is looked whether something else has taken the watchdog, which a node that runs nothing would else hear of with its first lease. */
const LOOK_MS = 10_000;

export interface NodeFuseOptions {
  readonly guard: Pick<GuardClient, 'setReset' | 'resetReport'>;
  readonly reset: GuardReset;
  /** What the administrator has asked of this agent: `--reset`. */
  readonly asked: string;
  readonly log: Log;
  /** This node holds no lease. With one the device is the guard's. */
  readonly isIdle: () => boolean;
  /** What can be seen of a device without opening it: whether it runs, and who has it that is not the guard, if that can be found. */
  readonly seen: {
    readonly runs: (device: string) => boolean;
    readonly holder: (device: string) => string | undefined;
  };
  readonly journal: Pick<Journal, 'add'>;
  /** What this node may claim, or what it tells of its fuse, has changed. */
  readonly onChange: () => void;
}

export class NodeFuse {
  readonly #options: NodeFuseOptions;
  #timing: LeaseTiming | undefined;
  /** Why the timing cannot be kept. */
  #unfit: string | undefined;
  /** Why the watchdog could not be armed, for a while. */
  #unarmed: string | undefined;
  #again: NodeJS.Timeout | undefined;
  /** That something else has the watchdog, and what. */
  #taken: string | undefined;
  readonly #looking: NodeJS.Timeout | undefined;

  constructor(options: NodeFuseOptions) {
    this.#options = options;
    const { reset, asked, log } = options;
    if (asked !== reset.kind)
      log.warn(
        `the guard that runs has --reset=${reset.kind}, and this agent --reset=${asked}: it goes by the guard until that is replaced (docs/operations.md, Watchdog)`,
      );
    if (reset.kind === 'watchdog' && reset.noWayOut)
      log.warn(
        `${reset.device} cannot be stopped once it is armed (nowayout): from the first lease on the machine is reset where its guard ends`,
      );
    if (reset.kind === 'watchdog') this.#looking = setInterval(() => void this.look(), LOOK_MS).unref();
  }

  /** Looks whether something else has taken the watchdog; says so when that has changed. */
  async look(): Promise<void> {
    const { reset, guard, isIdle, seen, onChange } = this.#options;
    if (reset.kind !== 'watchdog') return;
    const { device } = reset;
    let isOpen: boolean;
    try {
      isOpen = (await guard.resetReport()).open;
    } catch (error) {
      // a guard that is lost ends the agent by itself
      if (error instanceof GuardError) return;
      throw error;
    }
    // The guard was asked first: what it had just closed does not run any more by now. With a lease it may open the device any time.
    const isTaken = !isOpen && seen.runs(device) && isIdle();
    if (isTaken === (this.#taken !== undefined)) return;
    if (isTaken) this.#notFree(`${device} is in use by ${seen.holder(device) ?? 'something that cannot be found'}`);
    else this.#free(device);
    onChange();
  }

  #notFree(taken: string): void {
    const { log, journal } = this.#options;
    this.#taken = taken;
    log.warn(`nothing is started here: ${taken}`);
    const detail = `${taken}: nothing that this node could not guard is granted to it (holdfast doctor there)`;
    journal.add({ kind: 'agent.watchdog-taken', severity: 'warning', detail });
  }

  #free(device: string): void {
    const { log, journal } = this.#options;
    this.#taken = undefined;
    this.#unarmed = undefined;
    clearTimeout(this.#again);
    log.info(`${device} is free again`);
    journal.add({ kind: 'agent.watchdog-free', severity: 'info', detail: `${device} is free again` });
  }

  /** The timing of the cluster as it is on this node. */
  timing(timing: LeaseTiming): LeaseTiming {
    return timingWith(timing, this.#options.reset);
  }

  /** Before anything is armed by this timing. */
  follow(timing: LeaseTiming): void {
    if (timing === this.#timing) return;
    const { guard, reset, log } = this.#options;
    const before = this.#unfit;
    const first = this.#timing === undefined;
    this.#timing = timing;
    if (reset.kind === 'none') return;
    this.#unfit = fuseProblem(timing, reset);
    if (this.#unfit !== undefined && this.#unfit !== before) log.warn(`nothing is started here: ${this.#unfit}`);
    const { watchdogMs = 1_000, resetMs } = this.timing(timing);
    guard.setReset(watchdogMs / 1_000, resetMs).catch((error: unknown) => {
      // a guard that is lost ends the agent by itself
      if (!(error instanceof GuardError) || error.code !== 'lost')
        log.warn(`the guard did not take the timing of its last word: ${textOf(error)}`);
    });
    if (!first && this.#unfit !== before) this.#options.onChange();
  }

  /** The watchdog could not be armed: nothing is claimed for a while. */
  notArmed(why: string): void {
    this.#unarmed = why;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      this.#unarmed = undefined;
      this.#options.onChange();
    }, TRY_AGAIN_MS);
    this.#again.unref();
    this.#options.onChange();
  }

  dispose(): void {
    clearTimeout(this.#again);
    clearInterval(this.#looking);
  }

  report(): FuseReport {
    const { reset } = this.#options;
    const problem = this.#unfit ?? this.#taken ?? this.#unarmed;
    const why = problem === undefined ? {} : { problem: problem.slice(0, 1_000) };
    if (reset.kind === 'none') return { kind: 'guard' };
    if (reset.kind === 'sysrq') return { kind: 'sysrq', ...why };
    const timeoutMs = this.#timing === undefined ? undefined : this.timing(this.#timing).watchdogMs;
    return { kind: 'watchdog', ...(timeoutMs === undefined ? {} : { timeoutMs }), ...why };
  }

  /** May a group that demands this run here? */
  isEnoughFor(fence: 'guard' | 'watchdog'): boolean {
    const { kind, problem } = this.report();
    return problem === undefined && (fence === 'guard' || kind === 'watchdog');
  }
}
