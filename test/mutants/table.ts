/** The table of docs/safety.md: every guard, where it stands in the code, what goes wrong without it, and the test that notices. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXEMPT, MUTANTS } from './all.ts';
import { editsOf, type Mutant, wordsOf } from './mutant.ts';
import { functionAt } from './place.ts';
import { root } from './workspace.ts';

const DOCUMENT = join(root, 'docs/safety.md');
const BEGIN = '<!-- GUARDS -->';
const END = '<!-- /GUARDS -->';

/** As the protocol orders them. */
const RULES = [
  ...['O1', 'O2', 'O3', 'O4', 'O5', 'P1', 'P2', 'P3', 'P4', 'I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'guard'],
  ...['C', 'C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7', 'proof', 'clock', '0002', '0008', '0009', '0015'],
  ...['transport: authenticity', 'transport: replay'],
];

function rank(rule: string): number {
  const place = RULES.indexOf(rule.split(', ')[0] ?? rule);
  return place < 0 ? RULES.length : place;
}

/** The functions that are changed, `file` `function`. */
function placeOf(mutant: Mutant): string {
  const places = editsOf(mutant).map(({ file, find }) => {
    const source = readFileSync(join(root, file), 'utf8');
    // inside of what is replaced: a text may begin with the end of the line before
    const position = source.indexOf(find) + find.search(/\S/) + 1;
    return `\`${file}\` \`${functionAt(source, position, file)}\``;
  });
  return [...new Set(places)].join(', ');
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** What stands between the markers. */
export function renderTable(): string {
  const mutants = MUTANTS.toSorted((a, b) => rank(a.rule) - rank(b.rule));
  const exempt = Object.entries(EXEMPT).toSorted(([, a], [, b]) => rank(a.rule) - rank(b.rule));
  return [
    row(['rule', 'guard', 'place in the code', 'mutant: what goes wrong without it', 'test that fails then']),
    row(['---', '---', '---', '---', '---']),
    ...mutants.map((mutant) => {
      const [file, test] = mutant.check;
      const without = `\`${mutant.name}\`: ${mutant.why}`;
      return row([mutant.rule, wordsOf(mutant), placeOf(mutant), without, `\`${file}\` “${test}”`]);
    }),
    '',
    'Without a mutant of their own:',
    '',
    row(['rule', 'guard', 'why']),
    row(['---', '---', '---']),
    ...exempt.map(([name, { rule, guard, why }]) => row([rule, guard, `\`${name}\`: ${why}`])),
  ].join('\n');
}

/** The same table, whether its columns are aligned or not: the formatter aligns them. */
export function unaligned(table: string): string {
  return table.replaceAll(/-{3,}/g, '---').replaceAll(/ {2,}/g, ' ');
}

/** @returns what stands between the markers of the document; undefined where there are none. */
export function tableInDocs(): string | undefined {
  const [, rest] = readFileSync(DOCUMENT, 'utf8').split(`${BEGIN}\n`);
  return rest?.split(END)[0]?.trim();
}

/** @throws when the document has no markers. */
export function writeDocs(): void {
  if (tableInDocs() === undefined) throw new Error(`${DOCUMENT} has no line ${BEGIN} with a line ${END} behind it`);
  const [before = '', rest = ''] = readFileSync(DOCUMENT, 'utf8').split(`${BEGIN}\n`);
  const after = rest.slice(rest.indexOf(END));
  writeFileSync(DOCUMENT, `${before}${BEGIN}\n\n${renderTable()}\n\n${after}`);
}
