/** Documents whose reading would take a time that grows with their square: refused before that, with what is too much. */
import { equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { parseDocument } from './document.ts';
import { MAX_GROUPS, MAX_RESOURCES_PER_GROUP } from './limits.ts';

const many = (count: number, line: (n: number) => string) => Array.from({ length: count }, (_, n) => line(n)).join('');
const head = 'cluster: shop\nnodes: [alice]\n';

const cases: readonly (readonly [what: string, document: string, line: number | undefined, says: RegExp])[] = [
  ['20,000 keys', head + many(20_000, (n) => `k${n}: 1\n`), 1, /a mapping of 20002 entries; none has more than 250/],
  [
    '6,000 resources of one group',
    `${head}groups:\n  web:\n    resources:\n${'      - vip: 192.0.2.10/24\n'.repeat(6_000)}`,
    6,
    /a list of 6000 entries; none has more than 250/,
  ],
  ['brackets that open nothing', `cluster: ${']'.repeat(200_000)}`, undefined, /has 200000 lines, commas and brackets/],
  ['lists without commas', '[]'.repeat(100_000), undefined, /lines, commas and brackets; at most 25000 are read/],
  ['lines that are wrong', 'a: *\n'.repeat(50_000), undefined, /has 50000 lines, commas and brackets/],
  ['flow lists in each other', `cluster: ${'['.repeat(101)}${']'.repeat(101)}`, undefined, /nested too deeply/],
  ['mappings in each other', `cluster: ${'{a: '.repeat(101)}`, undefined, /nested too deeply/],
  ['lists in each other in one line', `cluster:\n ${'- '.repeat(50_000)}a`, undefined, /nested too deeply/],
  ['what stands inside itself', `${head}groups: &a { web: *a }\n`, 3, /the alias \*a stands inside what it names/],
  ['a key that stands twice', `${head}cluster: shop\n`, 3, /this key stands twice/],
];
for (const [what, document, line, says] of cases)
  test(`${what}: refused at once`, () => {
    const startedMs = performance.now();
    const result = parseDocument(document);
    ok(!result.ok);
    match(result.errors[0]?.detail ?? '', says);
    equal(result.errors[0]?.line, line);
    ok(performance.now() - startedMs < 5_000, `${performance.now() - startedMs} ms`);
  });

test('of a mistake in every line the first are told, without looking for the place of each', () => {
  const startedMs = performance.now();
  const result = parseDocument(`${head}groups:\n${many(100, (g) => `  g${g}: {${many(200, (n) => `k${n}: 1, `)}}\n`)}`);
  ok(!result.ok);
  equal(result.errors.length, 100);
  ok(performance.now() - startedMs < 10_000, `${performance.now() - startedMs} ms`);
});

test('the largest cluster that there may be is not too large', () => {
  const group = (g: number) =>
    `  g${g}:\n    resources:\n${many(MAX_RESOURCES_PER_GROUP, (n) => `      - service: s${g}x${n}\n`)}`;
  const result = parseDocument(`${head}groups:\n${many(MAX_GROUPS, group)}`);
  ok(result.ok, JSON.stringify(result));
  ok(parseDocument(JSON.stringify(parse(`${head}groups:\n${many(MAX_GROUPS, group)}`))).ok, 'nor as JSON');
});
