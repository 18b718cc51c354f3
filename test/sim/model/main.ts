/**
 * `npm run model`: checks the lease protocol within the bounds of the standard suite, and that every guard is needed.
 *
 * `npm run model -- --nodes 3 --faults voters,power=2` explores what it is told to instead.
 */
import { parseArgs } from 'node:util';
import { type Bounds, boundsOf, boundsText, FAULTS, type Fault, NODE_NAMES } from './bounds.ts';
import type { Exploration, Limits } from './explore.ts';
import { GUARD_NAMES, type GuardName } from './guards.ts';
import { MUTANTS, type Mutant } from './mutants.ts';
import { SITUATIONS } from './properties.ts';
import { check, counterexample, resultText, UNLIMITED, verdict } from './report.ts';
import { LONG, LONG_STATES, STANDARD } from './suite.ts';
import { exhaustedIn, recordRun, writeTables } from './tables.ts';

const USAGE = `npm run model [-- OPTION…]
  without options   the standard suite, and a mutant for every guard
  --long            the long suite: hundreds of millions of states, about an hour, some GB of memory
  --mutants         the mutants alone
  --nodes N         explore one configuration of N nodes (2 to 4) …
  --faults LIST     … with these faults, FAULT or FAULT=TIMES, by commas: ${FAULTS.join(', ')}
  --voters N        … N voters at the start
  --lease N         … a lease of N ticks (2)
  --epochs N        … N epochs that matter at one time
  --drop LIST       … without these guards: ${GUARD_NAMES.join(', ')}
  --states N, --seconds N   … and stop there
  --minutes N       with a suite: what has not ended by then is cut short, or not begun
  --record FILE     adds what came out to FILE, a line of JSON for each run; a suite does not repeat what is exhausted there
  --tables FILE…    writes the tables of docs/model.md from such files`;

const LONG_LIMITS: Limits = { states: LONG_STATES, seconds: UNLIMITED.seconds };

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

class UsageError extends Error {}

function numberOf(option: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UsageError(`--${option} ${text}: a whole number from ${least} to ${most} is wanted`);
  return value;
}

function listOf(text: string | undefined): string[] {
  return (text ?? '').split(',').filter((word) => word !== '');
}

function faultsOf(text: string | undefined): Partial<Record<Fault, number>> {
  const faults: Partial<Record<Fault, number>> = {};
  for (const word of listOf(text)) {
    const [name = '', times] = word.split('=');
    const fault = FAULTS.find((known) => known === name);
    if (fault === undefined) throw new UsageError(`--faults ${name}: there are ${FAULTS.join(', ')}`);
    faults[fault] = numberOf('faults', times, 0, 8) ?? 1;
  }
  return faults;
}

function guardsOf(text: string | undefined): GuardName[] {
  return listOf(text).map((word) => {
    const guard = GUARD_NAMES.find((known) => known === word);
    if (guard === undefined) throw new UsageError(`--drop ${word}: there are ${GUARD_NAMES.join(', ')}`);
    return guard;
  });
}

/** Tells every few seconds how far a long run has come. */
function progress(): ((states: number, depth: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  return (states, depth) => process.stderr.write(`\r  depth ${depth}, ${states.toLocaleString('en')} states `);
}

function runOne(bounds: Bounds, dropped: readonly GuardName[], limits: Limits, record?: string): Exploration {
  const result = check(bounds, dropped, limits, progress());
  print([...resultText(bounds, dropped, result), ...counterexample(result)]);
  recordRun(record, bounds, dropped, result);
  return result;
}

/** @param endsMs performance.now() from which on nothing more is begun. @returns what is wrong, if anything. */
function runSuite(suite: readonly Bounds[], limits: Limits, endsMs: number, record?: string): string[] {
  const problems: string[] = [];
  const reached = new Float64Array(SITUATIONS.length);
  let states = 0;
  let exhausted = 0;
  const known = exhaustedIn(record);
  for (const bounds of suite) {
    const before = known.get(boundsText(bounds));
    if (before !== undefined) {
      print([`${boundsText(bounds)}: exhausted before, ${before.toLocaleString('en')} states`]);
      states += before;
      exhausted += 1;
      continue;
    }
    const seconds = Math.min(limits.seconds, (endsMs - performance.now()) / 1_000);
    if (seconds <= 0) {
      print([`${boundsText(bounds)}: not begun, the time is over`]);
      continue;
    }
    const result = runOne(bounds, [], { ...limits, seconds }, record);
    states += result.states;
    result.reached.counts.forEach((count, index) => {
      reached[index] = (reached[index] ?? 0) + count;
    });
    if (result.violation !== undefined || (!result.complete && limits === UNLIMITED && endsMs === Infinity))
      problems.push(verdict(result));
    if (result.complete) exhausted += 1;
  }
  SITUATIONS.forEach((situation, index) => {
    if (endsMs === Infinity && known.size === 0 && reached[index] === 0) problems.push(`never reached: ${situation}`);
  });
  print([`${suite.length} configurations, ${exhausted} of them exhausted, ${states.toLocaleString('en')} states\n`]);
  return problems;
}

function runMutant({ drop, bounds, redundant, why }: Mutant, record?: string): string | undefined {
  const result = check(bounds, drop);
  recordRun(record, bounds, drop, result);
  const found = result.violation !== undefined;
  const label = redundant === true ? 'redundant' : found ? 'killed   ' : 'SURVIVES ';
  print([`${label} ${drop.join(' + ')}: ${verdict(result)}, ${result.states.toLocaleString('en')} states. ${why}`]);
  if (found) print(counterexample(result));
  if (redundant === true) return found ? `${drop.join(' + ')} is not redundant` : undefined;
  return found ? undefined : `the mutant without ${drop.join(' + ')} survives`;
}

function runMutants(record?: string): string[] {
  const problems: string[] = [];
  for (const mutant of MUTANTS) {
    const problem = runMutant(mutant, record);
    if (problem !== undefined) problems.push(problem);
  }
  for (const guard of GUARD_NAMES)
    if (!MUTANTS.some(({ drop }) => drop.length === 1 && drop[0] === guard))
      problems.push(`no mutant is without ${guard}`);
  return problems;
}

function main(args: readonly string[]): number {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      tables: flag,
      record: text,
      minutes: text,
      help: flag,
      long: flag,
      mutants: flag,
      nodes: text,
      faults: text,
      voters: text,
      lease: text,
      epochs: text,
      drop: text,
      states: text,
      seconds: text,
    },
  });
  if (values.help === true) {
    print([USAGE]);
    return 0;
  }
  if (values.tables === true) {
    writeTables(positionals);
    return 0;
  }
  const nodes = numberOf('nodes', values.nodes, 2, NODE_NAMES.length);
  if (nodes !== undefined) {
    const voters = numberOf('voters', values.voters, 1, nodes);
    const lease = numberOf('lease', values.lease, 1, 9);
    const epochs = numberOf('epochs', values.epochs, 2, 9);
    const bounds = boundsOf(nodes, faultsOf(values.faults), {
      ...(voters === undefined ? {} : { voters }),
      ...(lease === undefined ? {} : { lease }),
      ...(epochs === undefined ? {} : { epochs }),
    });
    const limits = {
      states: numberOf('states', values.states, 1, 4e9) ?? UNLIMITED.states,
      seconds: numberOf('seconds', values.seconds, 1, 1e6) ?? UNLIMITED.seconds,
    };
    return runOne(bounds, guardsOf(values.drop), limits, values.record).violation === undefined ? 0 : 1;
  }
  const minutes = numberOf('minutes', values.minutes, 1, 1e5);
  const endsMs = minutes === undefined ? Infinity : performance.now() + minutes * 60_000;
  const problems = [
    ...(values.mutants === true
      ? []
      : values.long === true
        ? runSuite(LONG, LONG_LIMITS, endsMs, values.record)
        : runSuite(STANDARD, UNLIMITED, endsMs, values.record)),
    ...(values.long === true ? [] : runMutants(values.record)),
  ];
  print(
    problems.length === 0 ? ['the protocol holds within these bounds, and every guard is accounted for'] : problems,
  );
  return problems.length === 0 ? 0 : 1;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError) && !(error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}\n`);
  process.exitCode = 2;
}
