/**
 * What the agent asks of every kind of resource. One file beside this one per kind; the runner (agent/run.ts) decides
 * when each of these is called, an implementation only carries it out.
 *
 * Rules for implementations:
 * - Every action is idempotent: starting what runs and stopping what is stopped succeed.
 * - An action that outlives its AbortSignal has its processes killed by the implementation before it settles.
 * - Nothing is believed from an exit code that can be read back (an address is looked up after it was deleted).
 * - No promise rejects for a reason the operator caused: that is an outcome with `ok: false`.
 */
import type { Copy } from '../../schemas/copies.ts';
import type { OperationTimes } from '../../schemas/limits.ts';
import { textOf } from '../system/index.ts';

export type { OperationTimes };

/** Something only one node may have at a time; the guard takes it away when the lease ends. */
export type Holding =
  | { readonly kind: 'vip'; readonly interface: string; readonly address: string }
  | { readonly kind: 'cgroup'; readonly path: string }
  /** `device`: `major:minor` of the block device that is mounted at `path`. */
  | { readonly kind: 'mount'; readonly path: string; readonly device: string }
  /** The Primary role of a DRBD resource, by its name. */
  | { readonly kind: 'drbd'; readonly resource: string };

/**
 * How bad a failure is, in Pacemaker's terms (its real treatment of OCF exit codes):
 * soft: try again here; hard: this node gives it up, and may try again after a wait; fatal: so does every node, the configuration is wrong.
 */
export type Severity = 'soft' | 'hard' | 'fatal';

export type Outcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly severity: Severity; readonly reason: string; readonly output?: string };

export type Probe =
  | { readonly state: 'running'; readonly note?: string }
  | { readonly state: 'stopped' }
  | {
      readonly state: 'failed';
      readonly severity: Severity;
      readonly reason: string;
      readonly output?: string;
      /** Nothing of it is left: a second look could find no more. */
      readonly ended?: boolean;
    };

/** A look that could not be made counts as a failure: nothing says that it runs. */
export function couldNotLook(error: unknown): Probe {
  return { state: 'failed', severity: 'soft', reason: textOf(error) };
}

/** What a node says of its copy of replicated data; which resource of which group it is, is known to whoever asks. */
export type CopyFacts = Omit<Copy, 'group' | 'resource'>;

export interface Attendance {
  /** Looks now, and has told what it found when this settles. @returns false where it could not be seen. */
  look(): Promise<boolean>;
  end(): void;
}

export interface Resource {
  /** Unique in its group, e.g. `vip-192.0.2.10` or `nginx`. */
  readonly id: string;
  readonly type: string;
  readonly times: OperationTimes;
  /** What `start` will make exclusive here. Registered with the guard before `start` is called. */
  holdings(): Promise<readonly Holding[]>;
  /** Is it running? Called before anything else, after every action, and as the recurring monitor (`recurring: true`). */
  probe(options: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe>;
  start(signal: AbortSignal): Promise<Outcome>;
  stop(signal: AbortSignal): Promise<Outcome>;
  /** The second rung of the stop ladder: must release what is exclusive, by force, within the lease's stop budget. */
  forceStop(signal: AbortSignal): Promise<Outcome>;
  /**
   * Calls `changed` when the resource may have stopped by itself (a deleted address, the last process gone); the runner then probes.
   * @returns a function that ends the watch.
   */
  watch(changed: (what: string) => void): () => void;
  /**
   * Mends, under a lease that is still valid, what can be put back at once (a deleted address). Absent where only a restart helps.
   */
  repair?(signal: AbortSignal): Promise<Outcome>;
  /**
   * The standing work of a replica, on every node that may be asked to run it, with or without a lease: keeps it up and connected, makes
   * nothing of it active, and tells what there is of it, now and whenever that changes. Absent where nothing runs beside the owner.
   */
  attend?(tell: (copy: CopyFacts) => void): Attendance;
}
