/**
 * `npm run mutants`: takes each guard out of a copy of the product and asks whether the test notices that is to.
 *
 * `npm run mutants -- send-time fuse/clock` tries those alone.
 */
import { parseArgs } from 'node:util';
import { chosenBy, EXEMPT, MUTANTS } from './all.ts';
import { checkOf, wordsOf } from './mutant.ts';
import { writeDocs } from './table.ts';
import { type Sound, Trial, type Tried } from './trial.ts';
import { checksOf } from './workspace.ts';

const USAGE = `npm run mutants [-- OPTION… NAME…]
  NAME…          those mutants, or all of a guard; left out: every one
  --list         the names and what they take out, and nothing is tried
  --json         one line of JSON for each
  --write-docs   writes the table of docs/safety.md, and tries nothing`;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

function textOfSound({ file, problem, ms }: Sound): string {
  return problem === undefined ? `passes    ${file} (${seconds(ms)})` : `UNSOUND   ${file}: ${problem}`;
}

function textOfTried({ mutant, verdict, ms }: Tried): string {
  const [file, test] = mutant.check;
  const where = `${mutant.name.padEnd(32)} ${mutant.file}`;
  switch (verdict.is) {
    case 'killed':
      return `killed    ${where} (${seconds(ms)})`;
    case 'survived':
      return `SURVIVED  ${where}: ${file} “${test}” passes without it`;
    case 'does not apply':
    case 'does not run':
      return `${verdict.is.toUpperCase()}  ${where}: ${verdict.why}`;
    default:
      return verdict satisfies never;
  }
}

function jsonOfTried({ mutant, verdict, ms }: Tried): string {
  const { name, rule, file, check } = mutant;
  return JSON.stringify({ name, rule, file, check, verdict, ms });
}

/** @returns the exit code. */
async function tryOut(names: readonly string[], json: boolean): Promise<number> {
  const mutants = chosenBy(names);
  const started = performance.now();
  const trial = new Trial();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      trial.remove();
      process.exit(1);
    });
  try {
    const broken = new Set<string>();
    await Promise.all(
      [...checksOf(mutants.map(checkOf))].map(async ([file, tests]) => {
        const sound = await trial.sound(file, tests);
        if (sound.problem !== undefined) broken.add(file);
        if (!json || sound.problem !== undefined) print(json ? JSON.stringify(sound) : textOfSound(sound));
      }),
    );
    const sane = mutants.filter(({ check: [file] }) => !broken.has(file));
    let killed = 0;
    await Promise.all(
      sane.map(async (mutant) => {
        const tried = await trial.try(mutant);
        if (tried.verdict.is === 'killed') killed += 1;
        print(json ? jsonOfTried(tried) : textOfTried(tried));
      }),
    );
    const untried = mutants.length - sane.length;
    if (!json)
      print(
        `${killed} of ${mutants.length} mutants killed${untried === 0 ? '' : `, ${untried} not tried`}; ${Object.keys(EXEMPT).length} guards are exempt; ${seconds(performance.now() - started)}`,
      );
    return killed === mutants.length ? 0 : 1;
  } finally {
    trial.remove();
  }
}

async function main(args: readonly string[]): Promise<number> {
  const flag = { type: 'boolean', default: false } as const;
  const options = { list: flag, json: flag, 'write-docs': flag, help: flag };
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const unknown = positionals.find((name) => chosenBy([name]).length === 0);
  if (unknown !== undefined) {
    process.stderr.write(`no mutant ${unknown}; \`npm run mutants -- --list\` shows them\n`);
    return 2;
  }
  if (values.help) print(USAGE);
  else if (values['write-docs']) writeDocs();
  else if (values.list)
    for (const mutant of MUTANTS)
      print(`${mutant.name.padEnd(32)} ${mutant.rule.padEnd(12)} without: ${wordsOf(mutant)}`);
  else return await tryOut(positionals, values.json);
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
