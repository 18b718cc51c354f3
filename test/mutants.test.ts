/**
 * Every guard of the product is needed, and something notices when it goes: `npm run mutants` (docs/safety.md has the table). Those whose test
 * takes long are tried there alone, and so is what a slow machine finds no time for here.
 */
import { deepEqual, equal, notEqual } from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EXEMPT, MUTANTS } from './mutants/all.ts';
import { checkOf, editsOf, guardOf, type Mutant } from './mutants/mutant.ts';
import { renderTable, tableInDocs, unaligned } from './mutants/table.ts';
import { AT_ONCE, type Sound, Trial } from './mutants/trial.ts';
import { checksOf, problemOf, root } from './mutants/workspace.ts';
import { GUARD_NAMES } from './sim/model/guards.ts';

/** For all mutants together; two cores that have nothing else to do need two thirds of it. */
const TIME_BOX_MS = 180_000;

const command = ({ name }: Mutant) => `npm run mutants -- ${name}`;

describe('the table of mutants', () => {
  test('has every text that is replaced exactly once in the source', () => {
    const problems = MUTANTS.flatMap((mutant) =>
      editsOf(mutant).flatMap((edit) => {
        const path = join(root, edit.file);
        const problem = problemOf(edit, existsSync(path) ? readFileSync(path, 'utf8') : '');
        return problem === undefined ? [] : [`${mutant.name}: ${problem}`];
      }),
    );
    deepEqual(problems, []);
  });

  test('names each mutant once, and a test file that is there', () => {
    const names = MUTANTS.map(({ name }) => name);
    deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index || /[^a-z0-9/-]/.test(name)),
      [],
    );
    deepEqual(
      MUTANTS.filter(({ check: [file] }) => !existsSync(join(root, file))).map(({ name }) => name),
      [],
    );
  });

  test('has every guard of the model, or says why not', () => {
    const covered = new Set(MUTANTS.map(guardOf));
    deepEqual(
      GUARD_NAMES.filter((name) => !covered.has(name) && !Object.hasOwn(EXEMPT, name)),
      [],
    );
    deepEqual(
      MUTANTS.filter(({ name }) => Object.hasOwn(EXEMPT, name)).map(({ name }) => name),
      [],
    );
  });

  test('stands in docs/safety.md as it is', { skip: tableInDocs() === undefined && 'no markers there' }, () => {
    equal(unaligned(tableInDocs() ?? ''), unaligned(renderTable()), '`npm run mutants -- --write-docs` writes it');
  });
});

/** A slow machine does not find time for all of them: where it begins is another place every day. */
function fromToday(mutants: readonly Mutant[]): readonly Mutant[] {
  const day = Math.floor(Date.now() / 86_400_000);
  const first = (day * 53) % mutants.length;
  return [...mutants.slice(first), ...mutants.slice(0, first)];
}

describe('without a guard its test fails', { concurrency: AT_ONCE }, () => {
  const quick = fromToday(MUTANTS.filter(({ slow }) => slow === undefined));
  let trial: Trial;
  let begunMs: number;
  const sound = new Map<string, Sound>();

  before(async () => {
    trial = new Trial();
    const checks = [...checksOf(quick.map(checkOf))];
    for (const one of await Promise.all(checks.map(([file, tests]) => trial.sound(file, tests))))
      sound.set(one.file, one);
    begunMs = performance.now();
  });
  after(() => trial.remove());

  for (const mutant of quick)
    test(`${mutant.rule}: ${mutant.name}`, async (t) => {
      const [file, name] = mutant.check;
      const problem = sound.get(file)?.problem;
      if (problem?.endsWith('is skipped on this machine') === true) return t.skip(problem);
      equal(problem, undefined, `the test does not pass as it is: ${problem}`);
      if (performance.now() - begunMs > TIME_BOX_MS) return t.skip(`out of time: ${command(mutant)}`);
      const { verdict } = await trial.try(mutant);
      notEqual(verdict.is, 'survived', `${file} “${name}” passes without it: ${mutant.why}`);
      equal(verdict.is, 'killed', 'why' in verdict ? verdict.why : verdict.is);
    });

  for (const mutant of MUTANTS)
    if (mutant.slow !== undefined)
      test(`${mutant.rule}: ${mutant.name}`, { skip: `${mutant.slow}: ${command(mutant)}` }, () => undefined);
});
