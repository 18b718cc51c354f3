/** One guard of the product taken out: what is changed and where, what goes wrong without it, and which test has to notice. */
import { GUARDS } from '../sim/model/guards.ts';

/** A change of one source file, whose text `find` occurs there exactly once. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A test by its name, or by a part of it that no other test of the file has. */
export interface Check {
  readonly file: string;
  readonly test: string;
}

export interface Mutant extends Edit {
  /** Of the guard, as in the model where that has it. One that stands in several places: `send-time`, `send-time/grant`. */
  readonly name: string;
  /** Of protocol.md, or the number of a decision. */
  readonly rule: string;
  /** The guard in words. Left out: those of the model. */
  readonly guard?: string;
  /** What goes wrong without it. */
  readonly why: string;
  /** File and name of the test. */
  readonly check: readonly [file: string, test: string];
  /** Where one guard is behind another of the same kind, both have to go. */
  readonly and?: readonly Edit[];
  /** Why it is not tried in `npm test`. */
  readonly slow?: string;
}

/** The guard that it belongs to. */
export function guardOf({ name }: Pick<Mutant, 'name'>): string {
  return name.split('/')[0] ?? name;
}

/** What the guard does. */
export function wordsOf(mutant: Mutant): string {
  const name = guardOf(mutant);
  const ofModel = Object.hasOwn(GUARDS, name) ? GUARDS[name as keyof typeof GUARDS].text : undefined;
  return mutant.guard ?? ofModel ?? name;
}

export function editsOf(mutant: Mutant): readonly Edit[] {
  return [mutant, ...(mutant.and ?? [])];
}

export function checkOf({ check: [file, test] }: Mutant): Check {
  return { file, test };
}

/** @returns how often the text occurs. */
export function occurrences(source: string, text: string): number {
  return source.split(text).length - 1;
}
