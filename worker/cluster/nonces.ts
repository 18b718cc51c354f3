/** How many of a node's used nonces are remembered one by one: more than it has requests on their way at once. */
const REMEMBERED = 16;

/**
 * Nonces for signed requests: good once, and only with the instance that gave them out, so that a recorded request is worth nothing
 * without trusting any node's clock.
 *
 * They are a count under the random name of this instance. Of each node the last used ones are remembered, and everything below those is
 * stale: so requests that are on their way at once may arrive in any order, and asking for nonces costs nothing and takes nothing from
 * anyone, however often strangers do.
 */
/** What a node has used up: every number up to `floor`, and those `above` it, in order. */
interface Used {
  readonly floor: number;
  readonly above: readonly number[];
}

const NONE_USED: Used = { floor: 0, above: [] };

function withUsed(used: Used, number: number): Used {
  const above = [...used.above, number].sort((a, b) => a - b);
  const [lowest = 0, ...rest] = above;
  return above.length > REMEMBERED ? { floor: lowest, above: rest } : { floor: used.floor, above };
}

export class Nonces {
  readonly #instance: string;
  #issued = 0;
  readonly #used = new Map<string, Used>();

  constructor(instance: string) {
    this.#instance = instance;
  }

  issue(): string {
    this.#issued += 1;
    return `${this.#instance}.${this.#issued}`;
  }

  /** Could this nonce still be used by the node? */
  isFresh(node: string, nonce: string): boolean {
    const number = this.#number(nonce);
    const used = this.#used.get(node) ?? NONE_USED;
    return number > used.floor && !used.above.includes(number);
  }

  /** Uses it up; called when the signature over it was found good. @returns whether it was still fresh. */
  use(node: string, nonce: string): boolean {
    if (!this.isFresh(node, nonce)) return false;
    this.#used.set(node, withUsed(this.#used.get(node) ?? NONE_USED, this.#number(nonce)));
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
