/** The documents keep up with the product: links lead somewhere, and nothing that an operator may meet is missing from the handbook. */
import { deepEqual } from 'node:assert/strict';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { EXIT } from '../node-agent/cli/exit.ts';
import { PROBLEMS } from '../schemas/api.ts';
import { parseDocument } from '../schemas/document.ts';
import { eventKinds } from '../schemas/events.ts';
import { reasonSchema } from '../schemas/reasons.ts';
import { problemCodes } from '../schemas/wire.ts';

const root = resolve(import.meta.dirname, '..');

const documents = globSync('{*.md,docs/**/*.md}', { cwd: root }).toSorted();

const withoutCode = (text: string) => text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, '');

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(path: string): Set<string> {
  const text = readFileSync(path, 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '');
  const found = new Set<string>();
  for (const [, heading = ''] of text.matchAll(/^#+ (.+)$/gm)) {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-');
    let unique = anchor;
    for (let number = 1; found.has(unique); number++) unique = `${anchor}-${number}`;
    found.add(unique);
  }
  return found;
}

function brokenLinks(document: string): string[] {
  const text = withoutCode(readFileSync(join(root, document), 'utf8'));
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return targets.filter((target) => !/^[a-z]+:/.test(target)).filter((target) => !leadsSomewhere(document, target));
}

function leadsSomewhere(document: string, target: string): boolean {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? join(root, document) : resolve(root, dirname(document), path);
  if (relative(root, file).startsWith('..') || !existsSync(file)) return false;
  if (anchor === undefined) return true;
  return statSync(file).isFile() && anchors(file).has(anchor);
}

for (const document of documents)
  test(`every link in ${document} leads somewhere`, () => deepEqual(brokenLinks(document), []));

for (const document of documents)
  for (const [, example = ''] of readFileSync(join(root, document), 'utf8').matchAll(/^```yaml.*\n([\s\S]*?)^```$/gm))
    if (example.startsWith('cluster:'))
      test(`the configuration in ${document} is one that the product takes`, () => {
        const parsed = parseDocument(example);
        deepEqual(parsed.ok ? [] : parsed.errors, []);
      });

describe('the handbook knows', () => {
  const handbook = readFileSync(join(root, 'docs/handbook.md'), 'utf8');
  const missing = (words: readonly string[]) => words.filter((word) => !handbook.includes(`\`${word}\``));

  test('every kind of event', () => deepEqual(missing(eventKinds), []));
  test('every reason', () => deepEqual(missing(reasonSchema.options.map((option) => option.shape.rule.value)), []));
  test('every problem that the coordinator names', () => deepEqual(missing(Object.keys(PROBLEMS)), []));
  test('every problem that an agent is told of', () => deepEqual(missing(problemCodes), []));
  test('every exit code', () => {
    const codes = Object.values(EXIT).filter((code) => !new RegExp(`^\\| ${code} +\\|`, 'm').test(handbook));
    deepEqual(codes, []);
  });
});
