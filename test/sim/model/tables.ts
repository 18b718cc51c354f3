/** The tables of docs/model.md, made from what runs have recorded. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import * as z from 'zod';
import { type Bounds, boundsText, FAULTS } from './bounds.ts';
import type { Exploration } from './explore.ts';
import { GUARDS, type GuardName } from './guards.ts';
import { MUTANTS, type Mutant } from './mutants.ts';

const DOCUMENT = new URL('../../../docs/model.md', import.meta.url);

const runSchema = z.object({
  /** As boundsText names it. */
  bounds: z.string(),
  dropped: z.array(z.string()),
  nodes: z.int(),
  voters: z.int(),
  lease: z.int(),
  faults: z.string(),
  violated: z.boolean(),
  complete: z.boolean(),
  states: z.int(),
  depth: z.int(),
  seconds: z.number(),
});
type Run = z.infer<typeof runSchema>;

export function recordRun(
  file: string | undefined,
  bounds: Bounds,
  dropped: readonly GuardName[],
  result: Exploration,
): void {
  if (file === undefined) return;
  const faults = FAULTS.filter((fault) => bounds.faults[fault] > 0).map((fault) =>
    bounds.faults[fault] === 1 ? fault : `${fault}=${bounds.faults[fault]}`,
  );
  const run: Run = {
    bounds: boundsText(bounds),
    dropped: [...dropped],
    nodes: bounds.nodes,
    voters: bounds.voters,
    lease: bounds.lease,
    faults: faults.join(', ') || 'no faults',
    violated: result.violation !== undefined,
    complete: result.complete,
    states: result.states,
    depth: result.depth,
    seconds: result.seconds,
  };
  appendFileSync(file, `${JSON.stringify(run)}\n`);
}

function runsIn(file: string): Run[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => runSchema.parse(JSON.parse(line)));
}

/** @returns the states of each configuration of the whole protocol that is exhausted in this record. */
export function exhaustedIn(file: string | undefined): ReadonlyMap<string, number> {
  if (file === undefined || !existsSync(file)) return new Map();
  const whole = runsIn(file).filter(({ complete, dropped }) => complete && dropped.length === 0);
  return new Map(whole.map(({ bounds, states }) => [bounds, states]));
}

/** Fills what stands between the markers of docs/model.md. Of a configuration that was run more than once the last run counts. */
export function writeTables(files: readonly string[]): void {
  const runs = files.flatMap(runsIn);
  const last = new Map(runs.map((run) => [`${run.dropped.join()} ${run.bounds}`, run]));
  let text = readFileSync(DOCUMENT, 'utf8');
  text = filled(text, 'VERDICTS', verdicts([...last.values()].filter(({ dropped }) => dropped.length === 0)));
  text = filled(text, 'MUTANTS', mutants(last));
  writeFileSync(DOCUMENT, text);
}

function filled(text: string, marker: string, lines: readonly string[]): string {
  const [begin, end] = [`<!-- ${marker} -->`, `<!-- /${marker} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < 0) throw new Error(`docs/model.md has no ${begin} … ${end}`);
  return [text.slice(0, from + begin.length), '', ...lines, '', text.slice(to)].join('\n');
}

function table(heads: readonly string[], rows: readonly (readonly string[])[], right: ReadonlySet<number>): string[] {
  const widths = heads.map((head, index) => Math.max(head.length, ...rows.map((row) => row[index]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, index) => (right.has(index) ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0))).join(' | ')} |`;
  const rule = widths.map((width, index) => (right.has(index) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(heads), line(rule), ...rows.map(line)];
}

const grouped = (count: number) => count.toLocaleString('en');

function verdicts(runs: readonly Run[]): string[] {
  const faultsOf = ({ faults }: Run) => (faults === 'no faults' ? 0 : faults.split(', ').length);
  const sorted = runs.toSorted(
    (a, b) => a.nodes - b.nodes || faultsOf(a) - faultsOf(b) || a.faults.localeCompare(b.faults) || a.voters - b.voters,
  );
  const rows = sorted.map((run) => [
    ...[run.nodes, run.voters, run.lease].map(String),
    run.faults,
    grouped(run.states),
    `${run.depth}`,
    run.violated ? 'COUNTEREXAMPLE' : run.complete ? 'none' : 'none so far, not exhausted',
  ]);
  const exhausted = runs.filter(({ complete }) => complete);
  const cut = runs.filter(({ complete, violated }) => !complete && !violated);
  const sum = (some: readonly Run[]) => grouped(some.reduce((total, { states }) => total + states, 0));
  return [
    ...table(['nodes', 'voters', 'L', 'faults', 'states', 'depth', 'violation'], rows, new Set([4, 5])),
    '',
    `Exhausted: ${exhausted.length} configurations, ${sum(exhausted)} states. Cut short: ${cut.length}, ${sum(cut)} states. Together ${sum(runs)}.`,
  ];
}

function mutants(last: ReadonlyMap<string, Run>): string[] {
  const runOf = ({ drop, bounds }: Mutant) => last.get(`${drop.join()} ${boundsText(bounds)}`);
  const ruleOf = ({ drop }: Mutant) => [...new Set(drop.map((name) => GUARDS[name].rule))].join('; ');
  const namesOf = ({ drop }: Mutant) => drop.map((name) => `\`${name}\``).join(', ');
  const killed = MUTANTS.filter(({ redundant }) => redundant !== true).map((mutant) => {
    const run = runOf(mutant);
    return [
      namesOf(mutant),
      ruleOf(mutant),
      run === undefined ? 'not run' : run.violated ? `${run.depth}` : 'SURVIVES',
      mutant.why,
    ];
  });
  const spare = MUTANTS.filter(({ redundant }) => redundant === true).map((mutant) => {
    const run = runOf(mutant);
    const states = run === undefined ? 'not run' : run.complete ? grouped(run.states) : 'NEEDED';
    return [namesOf(mutant), ruleOf(mutant), states, mutant.why];
  });
  return [
    ...table(['without', 'rule', 'steps', 'what goes wrong'], killed, new Set([2])),
    '',
    'Redundant, as long as the others are there: exhausted without them within small bounds, and on three nodes with one to three faults as well.',
    '',
    ...table(['guard', 'rule', 'states', 'why nothing goes wrong without it'], spare, new Set([2])),
  ];
}
