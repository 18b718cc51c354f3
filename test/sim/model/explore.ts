/** Breadth first through every state that the rules can reach, so that the first counterexample is a shortest one. */
import type { Bounds } from './bounds.ts';
import { Fingerprints } from './fingerprints.ts';
import type { Guards } from './guards.ts';
import { Machine, type Taken } from './machine.ts';
import { normalise, Ranks } from './normal.ts';
import { nodesUp, Reached, type Violation, violated } from './properties.ts';
import { applyAll } from './rules.ts';
import { Symmetry } from './symmetry.ts';
import { type Step, Walk } from './walk.ts';

export interface Exploration {
  readonly violation: Violation | undefined;
  /** The nodes on which the group is up when it is violated, as a set. */
  readonly up: number;
  /** The steps to it, from the initial state; the last one violates. */
  readonly trace: readonly Step[];
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  readonly seconds: number;
  /** Every reachable state was visited, and no grant was left out for want of places for epochs. */
  readonly complete: boolean;
  /** Grants that were not followed because every place for an epoch was taken. */
  readonly untried: number;
  readonly reached: Reached;
}

export interface Limits {
  readonly states: number;
  readonly seconds: number;
}

const CHUNK = 1 << 14;

/** States that wait to be expanded, first in first out, in chunks that are given back when they are used up. */
class Frontier {
  readonly #size: number;
  readonly #chunks: Uint8Array[] = [];
  readonly #spare: Uint8Array[] = [];
  #head = 0;
  #tail = 0;
  #dropped = 0;

  constructor(size: number) {
    this.#size = size;
  }

  get empty(): boolean {
    return this.#head === this.#tail;
  }

  push(state: Uint8Array): void {
    const chunk = Math.floor(this.#tail / CHUNK) - this.#dropped;
    if (this.#chunks.length === chunk) this.#chunks.push(this.#spare.pop() ?? new Uint8Array(CHUNK * this.#size));
    this.#chunks[chunk]?.set(state, (this.#tail % CHUNK) * this.#size);
    this.#tail += 1;
  }

  shift(into: Uint8Array): void {
    const offset = (this.#head % CHUNK) * this.#size;
    const chunk = this.#chunks[0];
    if (chunk !== undefined) into.set(chunk.subarray(offset, offset + this.#size));
    this.#head += 1;
    if (this.#head % CHUNK !== 0) return;
    const used = this.#chunks.shift();
    this.#dropped += 1;
    if (used !== undefined && this.#spare.length < 4) this.#spare.push(used);
  }
}

export class Explorer {
  readonly machine: Machine;
  readonly #seen = new Fingerprints();
  readonly #reduced: boolean;
  readonly #ranks: Ranks;
  readonly #symmetry: Symmetry;
  readonly #words: Uint32Array;
  readonly #frontier: Frontier;
  readonly #reached = new Reached();
  #transitions = 0;
  #expanding = 0;
  #found: { violation: Violation; number: number; taken: Taken; up: number } | undefined;

  /** @param reduced without it, nodes keep their names and nothing is delivered at once: to check the reductions against. */
  constructor(bounds: Bounds, guards: Guards, { reduced = true }: { reduced?: boolean } = {}) {
    this.machine = new Machine(bounds, guards, reduced);
    this.#reduced = reduced;
    this.#ranks = new Ranks(bounds.epochs);
    this.#symmetry = new Symmetry(this.machine);
    this.#words = new Uint32Array(this.machine.to.buffer);
    this.#frontier = new Frontier(this.machine.at.size);
  }

  run(limits: Limits, onProgress: (states: number, depth: number) => void = () => {}): Exploration {
    const m = this.machine;
    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1_000;
    m.initial();
    this.#normalise();
    this.#seen.mark(this.#words);
    this.#seen.add(0);
    this.#frontier.push(m.to);
    m.onTaken = (move, node, other, epoch, extra) => this.#taken(move, node, other, epoch, extra);
    let depth = 0;
    let levelEnd = 1;
    while (!this.#frontier.empty && this.#found === undefined) {
      if (this.#expanding === levelEnd) {
        depth += 1;
        levelEnd = this.#seen.size;
        onProgress(this.#seen.size, depth);
      }
      if (this.#seen.size >= limits.states) break;
      if ((this.#expanding & 0xfff) === 0 && seconds() > limits.seconds) break;
      this.#frontier.shift(m.from);
      applyAll(m);
      this.#expanding += 1;
    }
    const found = this.#found;
    return {
      violation: found?.violation,
      ...(found === undefined ? { trace: [], up: 0 } : this.#trace(found.number, found.taken, found.up)),
      states: this.#seen.size,
      transitions: this.#transitions,
      depth: found === undefined ? depth : depth + 1,
      seconds: seconds(),
      complete: found === undefined && this.#frontier.empty && m.untried === 0,
      untried: m.untried,
      reached: this.#reached,
    };
  }

  #normalise(): void {
    normalise(this.machine, this.#ranks);
    if (this.#reduced) this.#symmetry.apply(this.machine);
  }

  #taken(move: number, node: number, other: number, epoch: number, extra: number): void {
    if (this.#found !== undefined) return;
    const m = this.machine;
    this.#transitions += 1;
    const violation = violated(m, move, epoch);
    if (violation !== undefined) {
      this.#found = { violation, number: this.#expanding, taken: { move, node, other, epoch, extra }, up: nodesUp(m) };
      return;
    }
    this.#reached.noteStep(m, move, node, epoch);
    this.#normalise();
    this.#seen.mark(this.#words);
    if (!this.#seen.add(this.#expanding)) return;
    this.#frontier.push(m.to);
    this.#reached.noteState(m, move, epoch);
  }

  /** Walks from the initial state to the one being expanded when the violation came up, and names what happened. */
  #trace(from: number, last: Taken, up: number): { trace: Step[]; up: number } {
    const m = this.machine;
    const path: number[] = [];
    for (let number = from; number !== 0; number = this.#seen.parentOf(number)) path.push(number);
    path.reverse();
    const walk = new Walk(m, this.#reduced);
    for (const number of path)
      walk.takeFirst((state) => {
        m.to.set(state);
        this.#seen.mark(this.#words);
        return this.#seen.is(number);
      });
    return { trace: [...walk.steps, walk.named(last)], up: walk.namedSet(up) };
  }
}
