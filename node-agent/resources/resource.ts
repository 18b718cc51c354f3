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

/** Something only one node may have at a time; the guard takes it away when the lease ends. */
export type Holding =
  | { readonly kind: 'vip'; readonly interface: string; readonly address: string }
  | { readonly kind: 'cgroup'; readonly path: string }
  /** `device`: `major:minor` of the block device that is mounted at `path`. */
  | { readonly kind: 'mount'; readonly path: string; readonly device: string };

/**
 * How bad a failure is, in Pacemaker's terms (its real treatment of OCF exit codes):
 * soft: try again here; hard: not on this node until an operator cleans up; fatal: nowhere, the configuration is wrong.
 */
export type Severity = 'soft' | 'hard' | 'fatal';

export type Outcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly severity: Severity; readonly reason: string; readonly output?: string };

export type Probe =
  | { readonly state: 'running'; readonly note?: string }
  | { readonly state: 'stopped' }
  | { readonly state: 'failed'; readonly severity: Severity; readonly reason: string; readonly output?: string };

/** Time-outs of the actions and the pause between monitors, ms. From the agent's meta-data unless the document says otherwise. */
export interface OperationTimes {
  readonly startMs: number;
  readonly stopMs: number;
  readonly monitorMs: number;
  readonly monitorIntervalMs: number;
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
}
