/** Wakes the object of webhooks when there are events, until it has heard. */
import type { Env } from '../env.ts';

/** Pause after a call that failed: doubles from the first to the last. */
const AGAIN_FIRST_MS = 500;
const AGAIN_LAST_MS = 30_000;

export class Follower {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  /** Name of the cluster while somebody follows it. */
  #cluster: string | null = null;
  #waking = false;
  #more = false;

  constructor(ctx: DurableObjectState, env: Env) {
    this.#ctx = ctx;
    this.#env = env;
  }

  /** @param cluster null: nobody follows any more. */
  set(cluster: string | null): void {
    this.#cluster = cluster;
  }

  /** There are events. */
  wake(): void {
    if (this.#cluster === null) return;
    this.#more = true;
    if (this.#waking) return;
    this.#waking = true;
    this.#ctx.waitUntil(this.#tell(this.#cluster));
  }

  async #tell(cluster: string): Promise<void> {
    let pauseMs = AGAIN_FIRST_MS;
    while (this.#more && this.#cluster !== null) {
      this.#more = false;
      try {
        await this.#env.WEBHOOKS.get(this.#env.WEBHOOKS.idFromName(cluster)).wake();
      } catch (error) {
        console.warn('webhooks cannot be woken:', error instanceof Error ? error.message : error);
        this.#more = true;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        pauseMs = Math.min(2 * pauseMs, AGAIN_LAST_MS);
      }
    }
    this.#waking = false;
  }
}
