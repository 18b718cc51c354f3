/** Counterexamples of mutants, shown to the code: somewhere on the way it must refuse to go along. */
import type { Bounds } from '../bounds.ts';
import { Explorer } from '../explore.ts';
import { type GuardName, guardsWithout } from '../guards.ts';
import { Machine } from '../machine.ts';
import { words } from '../trace.ts';
import { type Choice, type Step, VERSIONS } from '../walk.ts';
import { Disagreement, Lockstep, moveName } from './lockstep.ts';

export interface Shown {
  readonly steps: number;
  /** The step that the code refuses, and why; or after which it is in another state than the mutant. Undefined: it went all the way. */
  readonly refused: { readonly step: string; readonly why: string } | undefined;
}

/** A shortest counterexample without these guards. */
function find(bounds: Bounds, dropped: readonly GuardName[]): readonly Step[] {
  const { trace, violation } = new Explorer(bounds, guardsWithout(dropped)).run({ states: 3e6, seconds: 120 });
  if (violation === undefined) throw new Error(`no counterexample without ${dropped.join(', ')}`);
  return trace;
}

/** A reduced search may name in passing what a move has no use for, so the words are compared. */
const sameStep = (a: Step) => (b: Step) => words(a) === words(b) && (!VERSIONS.has(a.move) || a.other === b.other);

/** What only lengthens a lease is no step of a reduced trace: it happens at once. */
const LENGTHENS: ReadonlySet<string> = new Set(['extends by answer', 'extends by promise']);

export function show(bounds: Bounds, dropped: readonly GuardName[]): Shown {
  const trace = find(bounds, dropped);
  const { eager } = new Machine(bounds, guardsWithout(dropped));
  const both = new Lockstep(bounds, dropped);
  for (const node of both.code.nodes) node.bold = true;
  const shown = (step: Step, why: string): Shown => ({ steps: trace.length, refused: { step: words(step), why } });
  const refuses = (choice: Choice): string | undefined => {
    try {
      return both.take(choice);
    } catch (error) {
      if (!(error instanceof Disagreement)) throw error;
      return error.message.split('\n')[0] ?? '';
    }
  };
  let behind: Shown | undefined;
  for (const step of trace) {
    for (let delivered = eager; delivered; ) {
      delivered = false;
      for (const choice of both.walk.choices().filter((each) => LENGTHENS.has(moveName(each.step)))) {
        const why = refuses(choice);
        if (why === undefined) delivered = true;
        else behind = shown(choice.step, why);
        if (delivered) break;
      }
    }
    const choice = both.walk.choices().find((offered) => sameStep(step)(offered.step));
    if (choice === undefined && behind !== undefined) return behind;
    if (choice === undefined) throw new Error(`the model itself does not offer “${words(step)}” again`);
    const why = refuses(choice);
    if (why !== undefined) return shown(step, why);
  }
  return { steps: trace.length, refused: undefined };
}
