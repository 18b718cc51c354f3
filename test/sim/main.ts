/**
 * `npm run sim`: the decision code of coordinator and agents in simulated clusters, one after the other, each out of one seed (docs/simulator.md).
 *
 * `npm run sim -- --seed 42` replays one seed and tells its last moments.
 */
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import { Tally } from './report.ts';
import { KINDS, type StormOptions, storm, UNCOVERED_KINDS } from './storm.ts';

const USAGE = `npm run sim [-- OPTION…]
  --hours N         simulate N cluster-hours (10), seed by seed
  --seeds N         … or so many seeds
  --seed S          begin with this seed (1); without --hours and --seeds: this seed alone, with its timeline
  --only KIND,…     these kinds of fault, all of them in every seed: ${[...KINDS, ...UNCOVERED_KINDS].join(', ')}
  --mutant NAME     take a guard away, until a seed fails: ${Object.keys(MUTANTS).join(', ')}
  --mutants         each of them in turn, at most --seeds N (300) seeds each
  --json            the summary as JSON`;

const PROGRESS_MS = 5_000;
const MUTANT_SEEDS = 300;
const DEFAULT_HOURS = 10;

class UsageError extends Error {}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value >= 0) || (option !== 'hours' && !Number.isInteger(value)))
    throw new UsageError(`--${option} ${text}: a number is wanted`);
  return value;
}

function optionsOf(argv: readonly string[]) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      hours: { type: 'string' },
      seeds: { type: 'string' },
      seed: { type: 'string' },
      only: { type: 'string' },
      mutant: { type: 'string' },
      mutants: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const only = values.only?.split(',').filter((kind) => kind !== '');
  for (const kind of only ?? [])
    if (!KINDS.includes(kind) && !UNCOVERED_KINDS.includes(kind)) throw new UsageError(`--only ${kind}: no such kind`);
  if (values.mutant !== undefined && !(values.mutant in MUTANTS))
    throw new UsageError(`--mutant ${values.mutant}: there are ${Object.keys(MUTANTS).join(', ')}`);
  return {
    ...values,
    hours: numberOf('hours', values.hours),
    seeds: numberOf('seeds', values.seeds),
    seed: numberOf('seed', values.seed) ?? 1,
    only,
  };
}

type Options = ReturnType<typeof optionsOf>;

function stormOptions({ only, mutant }: Options, seed: number): StormOptions {
  const removed = mutant === undefined ? undefined : MUTANTS[mutant];
  const kinds = only ?? removed?.only;
  return {
    seed,
    ...(kinds === undefined ? {} : { only: kinds }),
    ...(removed === undefined ? {} : { product: removed.product }),
  };
}

function replayCommand({ only, mutant }: Options, seed: number): string {
  const more = [
    ...(only === undefined ? [] : [`--only ${only.join(',')}`]),
    ...(mutant === undefined ? [] : [`--mutant ${mutant}`]),
  ];
  return ['npm run sim --', `--seed ${seed}`, ...more].join(' ');
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** One seed, with its last moments. @returns whether it failed. */
function replay(options: Options, seed: number): boolean {
  const { timeline, violation } = storm({ ...stormOptions(options, seed), record: true });
  print(timeline);
  print(violation === undefined ? `seed ${seed}: no violation` : `seed ${seed}: VIOLATION: ${violation}`);
  return violation !== undefined;
}

/** Seed by seed, until there is enough of it or one has failed. */
function simulate(options: Options, limit: { readonly hours: number; readonly seeds: number }): Tally {
  const tally = new Tally();
  let toldAt = performance.now();
  for (let seed = options.seed; tally.hours < limit.hours && tally.seeds < limit.seeds; seed++) {
    const result = storm(stormOptions(options, seed));
    tally.add(seed, result);
    if (result.violation !== undefined) break;
    if (performance.now() - toldAt < PROGRESS_MS) continue;
    toldAt = performance.now();
    process.stderr.write(`${tally.line()}\n`);
  }
  return tally;
}

function simulateAll(options: Options): number {
  const { hours = options.seeds === undefined ? DEFAULT_HOURS : Number.POSITIVE_INFINITY } = options;
  const { seeds = options.mutant === undefined ? Number.POSITIVE_INFINITY : MUTANT_SEEDS } = options;
  const tally = simulate(options, { hours, seeds });
  const { failed } = tally;
  if (failed !== undefined && !options.json) {
    replay(options, failed.seed);
    print(`replay it: ${replayCommand(options, failed.seed)}\n`);
  }
  print(options.json ? JSON.stringify(tally.json(), null, 2) : tally.text());
  if (options.mutant !== undefined) {
    print(failed === undefined ? `${options.mutant} survives` : `${options.mutant} is found out`);
    return failed === undefined ? 1 : 0;
  }
  return failed === undefined ? 0 : 1;
}

/** Every guard taken away in turn. @returns 0 if each was missed. */
function simulateMutants(options: Options): number {
  let survivors = 0;
  for (const [name, { rule, about }] of Object.entries(MUTANTS)) {
    const tally = simulate(
      { ...options, mutant: name },
      { hours: Number.POSITIVE_INFINITY, seeds: options.seeds ?? MUTANT_SEEDS },
    );
    const { failed } = tally;
    if (failed === undefined) survivors += 1;
    const found = failed === undefined ? 'SURVIVES' : `seed ${failed.seed}: ${failed.violation}`;
    print(`${name.padEnd(18)} ${rule.padEnd(10)} ${tally.hours.toFixed(1).padStart(7)} h  ${about}\n    ${found}`);
  }
  return survivors === 0 ? 0 : 1;
}

function main(argv: readonly string[]): number {
  try {
    const options = optionsOf(argv);
    if (options.help) {
      print(USAGE);
      return 0;
    }
    if (options.mutants) return simulateMutants(options);
    const many = options.hours !== undefined || options.seeds !== undefined || !argv.includes('--seed');
    return many ? simulateAll(options) : Number(replay(options, options.seed));
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n${USAGE}\n`);
    return 2;
  }
}

process.exitCode = main(process.argv.slice(2));
