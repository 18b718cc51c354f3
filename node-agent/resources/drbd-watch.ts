/** The one `drbdsetup events2` of the agent, shared by all DRBD resources of all groups. Runs while somebody listens. */
import { followLines } from '../system/index.ts';
import type { Drbd } from './drbd-command.ts';
import { type DrbdResourceState, type DrbdState, drbdLine, NOTHING_TOLD } from './drbd-state.ts';

/** Something of the resource has changed, or the kernel has just begun to tell. What there is now has to be asked. */
export type DrbdListener = (resource: DrbdResourceState | undefined) => void;

export class DrbdWatch {
  readonly #drbd: Drbd;
  readonly #listeners = new Map<string, Set<DrbdListener>>();
  #state: DrbdState = NOTHING_TOLD;
  #end: (() => void) | undefined;

  constructor(drbd: Drbd) {
    this.#drbd = drbd;
  }

  listen(name: string, listener: DrbdListener): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    if (this.#end === undefined) this.#start();
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(name);
      if (this.#listeners.size > 0) return;
      this.#end?.();
      this.#end = undefined;
      this.#state = NOTHING_TOLD;
    };
  }

  #start(): void {
    const path = this.#drbd.path('drbdsetup');
    if (path === undefined) return;
    this.#end = followLines([path, 'events2', 'all'], {
      env: this.#drbd.env,
      onStart: () => {
        this.#state = NOTHING_TOLD;
      },
      onLine: (line) => this.#onLine(line),
      // without the module it ends at once; whoever needs it says so
      onEnd: () => {
        this.#state = NOTHING_TOLD;
      },
    });
  }

  #onLine(line: string): void {
    const before = this.#state;
    const after = drbdLine(before, line);
    this.#state = after;
    if (!after.complete || after === before) return;
    for (const [name, listeners] of this.#listeners) {
      if (before.complete && before.resources[name] === after.resources[name]) continue;
      for (const listener of [...listeners]) listener(after.resources[name]);
    }
  }
}
