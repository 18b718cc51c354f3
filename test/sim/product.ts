/**
 * The decision code under test. The simulator runs the product's own; a mutant (mutants.ts) wraps some of it, or takes a guard of the
 * shells away, to show that the simulator sees what goes wrong without.
 */
import { compose, composeAsks, keep } from '../../node-agent/agent/keep.ts';
import { buildReply, decide, restart } from '../../worker/decide/index.ts';

/** What the shells, which the simulator plays itself, are trusted with. */
export type ShellGuard =
  /** An agent that starts anew finds the promises of the one before in the guard (P1). */
  | 'promises-in-guard'
  /** A new incarnation activates nothing for as long as a promise may last (P3). */
  | 'quarantine'
  /** What an agent does not do in time, the guard does (O4). */
  | 'fuse'
  /** Nothing leaves the coordinator before it is on disk (C). */
  | 'output-gate'
  /** What an instance that was replaced writes is not written, and nothing it answers leaves (C5). */
  | 'one-instance';

export interface Product {
  readonly keep: typeof keep;
  readonly compose: typeof compose;
  readonly composeAsks: typeof composeAsks;
  readonly decide: typeof decide;
  readonly restart: typeof restart;
  readonly buildReply: typeof buildReply;
  readonly without: ReadonlySet<ShellGuard>;
}

export const PRODUCT: Product = { keep, compose, composeAsks, decide, restart, buildReply, without: new Set() };
