/**
 * Nonces for signed requests: good once, and only with the instance that gave them out, so that a recorded request is worth nothing
 * without trusting any node's clock.
 *
 * They are a count under the random name of this instance, and of each node only the highest that came back with a valid signature
 * is remembered: an older one is stale. So asking for nonces costs nothing and takes nothing from anyone, however often strangers do.
 * Of two requests on their way at once the later-numbered may overtake the other, which is then signed again.
 */
export class Nonces {
  readonly #instance: string;
  #issued = 0;
  readonly #highestUsed = new Map<string, number>();

  constructor(instance: string) {
    this.#instance = instance;
  }

  issue(): string {
    this.#issued += 1;
    return `${this.#instance}.${this.#issued}`;
  }

  /** Could this nonce still be used by the node? */
  isFresh(node: string, nonce: string): boolean {
    return this.#number(nonce) > (this.#highestUsed.get(node) ?? 0);
  }

  /** Uses it up; called when the signature over it was found good. @returns whether it was still fresh. */
  use(node: string, nonce: string): boolean {
    if (!this.isFresh(node, nonce)) return false;
    this.#highestUsed.set(node, this.#number(nonce));
    return true;
  }

  /** @returns 0 for what this instance never gave out. */
  #number(nonce: string): number {
    const prefix = `${this.#instance}.`;
    const digits = nonce.slice(prefix.length);
    if (!nonce.startsWith(prefix) || !/^[1-9]\d{0,15}$/.test(digits)) return 0;
    const number = Number(digits);
    return number <= this.#issued ? number : 0;
  }
}
