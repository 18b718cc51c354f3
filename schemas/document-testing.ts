/** For the tests of documents: documents that are right but for one place, and what is to be said of it. */
import { parseDocument } from './document.ts';

/** A document that is right but for the lines given: they replace what stands after `cluster` and `nodes`. */
export const withGroups = (lines: string): string => `cluster: shop\nnodes: [alice, bob]\ngroups:\n${lines}`;
export const withResource = (resource: string): string =>
  withGroups(`  db:\n    resources:\n      - ${resource.replaceAll('\n', '\n        ')}\n`);

/** A document with a mistake, and the problem that has to be found. */
export interface Bad {
  readonly what: string;
  readonly text: string;
  readonly line: number;
  readonly path?: string;
  readonly column?: number;
  readonly detail: RegExp;
  readonly suggestion?: string;
}

/** @returns what is missing from the answer to this document; undefined when the problem is found where and as it should be. */
export function missedIn(bad: Bad): string | undefined {
  const result = parseDocument(bad.text);
  if (result.ok) return 'was accepted';
  const [first] = result.errors.filter((error) => bad.detail.test(error.detail));
  if (first === undefined) return `no such problem in ${JSON.stringify(result.errors, null, 1)}`;
  const right =
    first.line === bad.line &&
    (bad.column === undefined || first.column === bad.column) &&
    (bad.path === undefined || first.path === bad.path) &&
    first.suggestion === bad.suggestion;
  return right ? undefined : `found elsewhere or with another word: ${JSON.stringify(first)}`;
}
