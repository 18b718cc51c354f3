/** Mutants tried two at a time, each in one of two copies of the tree. */
import type { Mutant } from './mutant.ts';
import { unsound, type Verdict, Workspace } from './workspace.ts';

/** Some tests measure time, and machines are small. */
export const AT_ONCE = 2;

export interface Tried {
  readonly mutant: Mutant;
  readonly verdict: Verdict;
  readonly ms: number;
}

/** Do these tests of a file pass without any mutant? */
export interface Sound {
  readonly file: string;
  readonly problem: string | undefined;
  readonly ms: number;
}

/** Whatever is asked of it at once is done in its order, so many at a time. */
export class Trial {
  readonly #all: readonly Workspace[];
  readonly #free: Workspace[];
  readonly #waiting: ((workspace: Workspace) => void)[] = [];

  constructor() {
    const first = new Workspace();
    // of the copy, so that all are of one moment
    this.#all = [first, ...Array.from({ length: AT_ONCE - 1 }, () => new Workspace(first.directory))];
    this.#free = [...this.#all];
  }

  /** A test that fails anyway would kill every mutant. */
  sound(file: string, tests: readonly string[]): Promise<Sound> {
    return this.#inOne(async (workspace) => {
      const run = await workspace.run(file, tests);
      return { file, problem: unsound(run, tests), ms: run.ms };
    });
  }

  try(mutant: Mutant): Promise<Tried> {
    return this.#inOne(async (workspace) => {
      const { verdict, run } = await workspace.try(mutant);
      return { mutant, verdict, ms: run?.ms ?? 0 };
    });
  }

  remove(): void {
    for (const workspace of this.#all) workspace.remove();
  }

  async #inOne<Out>(act: (workspace: Workspace) => Promise<Out>): Promise<Out> {
    const workspace = this.#free.pop() ?? (await new Promise<Workspace>((resolve) => this.#waiting.push(resolve)));
    try {
      return await act(workspace);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(workspace);
      else next(workspace);
    }
  }
}
