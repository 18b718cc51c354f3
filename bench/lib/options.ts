/** The command line that all benchmarks share. */
import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** Measurements of each thing. */
  readonly runs: number;
  /** A short look: fewer and shorter measurements, for trying the benchmark and not for figures. */
  readonly quick: boolean;
  /** Names of the parts to measure; undefined: all. */
  readonly only: readonly string[] | undefined;
}

/**
 * Reads `--runs N`, `--quick` and `--only A,B`.
 * @param defaults how many runs without `--runs`, in full and quick. Throws for anything it does not know.
 */
export function benchOptions(defaults: { runs: number; quickRuns: number }): BenchOptions {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
    },
  });
  const runs = values.runs === undefined ? (values.quick ? defaults.quickRuns : defaults.runs) : Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1 || runs > 100) throw new Error('--runs: a whole number from 1 to 100');
  return { runs, quick: values.quick, only: values.only?.split(',') };
}

/** Is this part to be measured? */
export function wanted(options: BenchOptions, part: string): boolean {
  return options.only?.includes(part) ?? true;
}
