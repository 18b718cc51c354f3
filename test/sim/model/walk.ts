/** Goes through the model one step at a time, and keeps the names that nodes and epochs had at the start. */
import type { Machine, Taken } from './machine.ts';
import { moveOf } from './moves.ts';
import { normalise, Ranks } from './normal.ts';
import { applyAll } from './rules.ts';
import { Symmetry } from './symmetry.ts';

/** A step by the names at the start: nodes in their first order, epochs as the coordinator would number them. */
export interface Step extends Taken {
  readonly move: number;
}

interface Names {
  /** Node inside → its name. */
  readonly nodes: readonly number[];
  /** Epoch inside → its number. */
  readonly epochs: readonly number[];
  readonly lastEpoch: number;
}

export interface Choice {
  readonly step: Step;
  /** The state that it leads to, in normal form. */
  readonly state: Uint8Array;
  readonly names: Names;
}

/** Moves whose `other` is a set of nodes. */
const SETS: ReadonlySet<number> = new Set(
  (['grants', 'grants to a dead incarnation', 'grants and forgets', 'changes voters'] as const).map(moveOf),
);
/** Moves whose `other` is a version of the voters. */
export const VERSIONS: ReadonlySet<number> = new Set(
  (['learns', 'extends by answer', 'adopts', 'renews'] as const).map(moveOf),
);
const TICK = moveOf('time passes');

export class Walk {
  readonly #m: Machine;
  readonly #ranks: Ranks;
  readonly #symmetry: Symmetry | undefined;
  readonly steps: Step[] = [];
  #names: Names;

  /** @param reduced as for the search that is retraced; without it nodes keep their places. */
  constructor(machine: Machine, reduced: boolean) {
    this.#m = machine;
    this.#ranks = new Ranks(machine.at.epochs);
    this.#symmetry = reduced ? new Symmetry(machine) : undefined;
    const nodes = Array.from({ length: machine.at.nodes }, (_, node) => node);
    machine.initial();
    this.#names = this.#settle({ nodes, epochs: [0, 1], lastEpoch: 1 });
    machine.from.set(machine.to);
  }

  get names(): Names {
    return this.#names;
  }

  /** Puts `to` into its normal form. @returns the names in it. */
  #settle(before: Names): Names {
    const m = this.#m;
    normalise(m, this.#ranks);
    const epochs = [0];
    this.#ranks.rank.forEach((rank, epoch) => {
      if (rank > 0) epochs[rank] = before.epochs[epoch] ?? before.lastEpoch + 1;
    });
    const lastEpoch = Math.max(before.lastEpoch, ...epochs);
    if (this.#symmetry === undefined) return { nodes: before.nodes, epochs, lastEpoch };
    this.#symmetry.apply(m);
    return { nodes: [...this.#symmetry.order].map((node) => before.nodes[node] ?? 0), epochs, lastEpoch };
  }

  /** The same set of nodes, by their names. */
  namedSet(nodes: number): number {
    let named = 0;
    this.#names.nodes.forEach((name, node) => {
      if (((nodes >> node) & 1) === 1) named |= 1 << name;
    });
    return named;
  }

  named(taken: Taken): Step {
    const { nodes, epochs, lastEpoch } = this.#names;
    const { other } = taken;
    return {
      move: taken.move,
      node: nodes[taken.node] ?? taken.node,
      other: SETS.has(taken.move) ? this.namedSet(other) : VERSIONS.has(taken.move) ? other : (nodes[other] ?? other),
      epoch: taken.epoch === 0 ? 0 : (epochs[taken.epoch] ?? lastEpoch + 1),
      extra: taken.move === TICK ? this.namedSet(taken.extra) : taken.extra,
    };
  }

  /** Everything that can happen next. */
  choices(): Choice[] {
    const m = this.#m;
    const found: Choice[] = [];
    m.onTaken = (move, node, other, epoch, extra) => {
      const step = this.named({ move, node, other, epoch, extra });
      const names = this.#settle(this.#names);
      found.push({ step, state: m.to.slice(), names });
    };
    applyAll(m);
    return found;
  }

  take(choice: Choice): void {
    this.#names = choice.names;
    this.#m.from.set(choice.state);
    this.steps.push(choice.step);
  }

  takeFirst(wanted: (state: Uint8Array) => boolean): void {
    const choice = this.choices().find(({ state }) => wanted(state));
    if (choice === undefined)
      throw new Error('a step of the trace cannot be repeated: the rules are not functions of the state');
    this.take(choice);
  }
}
