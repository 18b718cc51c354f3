/**
 * Nonces for signed requests: random, good once, known to this instance alone, so that a recorded request is worth nothing without
 * trusting any node's clock.
 *
 * Anyone may ask for a nonce in a node's name; only the node itself is handed one with an authenticated answer. The two are kept
 * apart, so that a stranger who asks all day cannot push out the nonce that the node is about to use.
 */
import { randomHex } from './encoding.ts';

const MAX_PER_NODE = 8;

export type NonceSource = 'asked-for' | 'authenticated';

export class Nonces {
  readonly #instance: string;
  readonly #outstanding = new Map<string, string[]>();

  constructor(instance: string) {
    this.#instance = instance;
  }

  issue(node: string, source: NonceSource): string {
    const nonce = `${this.#instance}.${randomHex(16)}`;
    const slot = `${source}/${node}`;
    const kept = this.#outstanding.get(slot) ?? [];
    this.#outstanding.set(slot, [...kept.slice(1 - MAX_PER_NODE), nonce]);
    return nonce;
  }

  /** Takes the nonce out of the book. @returns whether it was there. */
  take(node: string, nonce: string): boolean {
    for (const source of ['authenticated', 'asked-for'] as const) {
      const slot = `${source}/${node}`;
      const kept = this.#outstanding.get(slot) ?? [];
      if (!kept.includes(nonce)) continue;
      this.#outstanding.set(
        slot,
        kept.filter((other) => other !== nonce),
      );
      return true;
    }
    return false;
  }

  /** The node is gone or has a new key. */
  forget(node: string): void {
    this.#outstanding.delete(`authenticated/${node}`);
    this.#outstanding.delete(`asked-for/${node}`);
  }
}
