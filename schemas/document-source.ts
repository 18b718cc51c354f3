/**
 * The text of a configuration document as a plain value, and where in the text each part of that value stands. YAML 1.2 (JSON is
 * a subset of it), narrowed to what a configuration needs: one document, text keys, no tags, a bounded number of aliases.
 */
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import type { ProblemError } from './api.ts';
import { MAX_BODY_BYTES } from './limits.ts';

export type Path = readonly PropertyKey[];
export interface Position {
  readonly line?: number;
  readonly column?: number;
}

export interface Source {
  readonly value: unknown;
  /** Of what stands under `path`; for something that is missing, of the nearest part around it. */
  readonly valueAt: (path: Path) => Position;
  readonly keyAt: (path: Path) => Position;
  /** A scalar exactly as it was written, before YAML made a number of it. */
  readonly writtenAt: (path: Path) => string | undefined;
}

/** How many values aliases may stand for before the document counts as an attack. */
const MAX_ALIASES = 100;

/** No document needs what is deeper or has more entries; it would take a time that grows with their square. */
const MAX_DEPTH = 100;
const MAX_ENTRIES = 250;
/**
 * Lines, commas and brackets, each of which costs the reader the same, well formed or not: a few hundred milliseconds of them at most, in
 * which a coordinator on a machine of one's own answers nobody. The largest cluster has a third as many lines.
 */
const MAX_MARKS = 25_000;
/** `- - - …`: one level each. */
const COMPACT_NESTING = /(?:[-?:][ \t]+){40}/;
const TOO_DEEP = { detail: 'the document is nested too deeply' };

export type Reading = { ok: true; source: Source } | { ok: false; errors: ProblemError[] };

/** Reads YAML. Every syntax error is returned with its line; nothing is thrown. */
export function readSource(text: string): Reading {
  if (new TextEncoder().encode(text).length > MAX_BODY_BYTES)
    return refused({ detail: `the document is larger than ${MAX_BODY_BYTES / 1024} KiB` });
  const marks = text.match(/[,\n[\]{}]/g)?.length ?? 0;
  if (marks > MAX_MARKS)
    return refused({
      detail: `the document has ${marks} lines, commas and brackets; at most ${MAX_MARKS} are read: YAML, or JSON without line breaks, has fewer`,
    });
  if (isNestedTooDeeply(text)) return refused(TOO_DEEP);
  const lines = new LineCounter();
  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      resolveKnownTags: false,
      // it compares each key with every other one: see structureProblem
      uniqueKeys: false,
    });
  } catch (error) {
    if (error instanceof RangeError) return refused(TOO_DEEP);
    throw error;
  }
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const syntax = [...document.errors, ...document.warnings].map((error) => ({
    path: '',
    ...at(error.pos[0]),
    ...explained(error.code, error.message),
  }));
  if (syntax.length > 0) return { ok: false, errors: syntax };
  if (document.directives.yaml.version !== '1.2')
    return refused({ line: 1, column: 1, detail: 'the document must be YAML 1.2; leave the %YAML line out' });
  const structure = structureProblems(document, at);
  if (structure.length > 0) return { ok: false, errors: structure };
  const alias = firstAlias(document.contents);
  try {
    return { ok: true, source: located(document, document.toJS({ maxAliasCount: MAX_ALIASES }), at) };
  } catch (error) {
    if (error instanceof RangeError) return refused(TOO_DEEP);
    if (!(error instanceof ReferenceError)) throw error;
    const unresolved = /^Unresolved alias.*: (.*)$/.exec(error.message)?.[1];
    const position = alias === undefined ? {} : at(alias);
    return unresolved === undefined
      ? refused({ ...position, detail: `the aliases stand for more than ${MAX_ALIASES} values; write them out` })
      : refused({ ...position, detail: `the alias *${unresolved} has no anchor &${unresolved} before it` });
  }
}

/** Nothing that reads the text further has to fear its depth: to find out there costs a second, during which nobody renews a lease. */
function isNestedTooDeeply(text: string): boolean {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    if (depth > MAX_DEPTH) return true;
  }
  return COMPACT_NESTING.test(text);
}

/** What the rest takes for granted: no mapping has a key twice, nothing has more entries than anybody needs, and nothing stands inside itself. */
function structureProblems(document: Document.Parsed, at: (offset: number) => Position): ProblemError[] {
  const problems: ProblemError[] = [];
  const around = new Set<unknown>();
  const report = (node: unknown, detail: string) => {
    const offset = (node as Partial<Node> | null)?.range?.[0];
    problems.push({ path: '', ...(offset === undefined ? {} : at(offset)), detail });
  };
  const walk = (node: unknown): void => {
    if (isAlias(node) && around.has(node.resolve(document)))
      report(node, `the alias *${node.source} stands inside what it names`);
    if (!isMap(node) && !isSeq(node)) return;
    const { length } = node.items;
    if (length > MAX_ENTRIES)
      report(node, `${isMap(node) ? 'a mapping' : 'a list'} of ${length} entries; none has more than ${MAX_ENTRIES}`);
    around.add(node);
    if (isMap(node)) keysOf(node);
    for (const item of node.items) walk(isPair(item) ? item.value : item);
    around.delete(node);
  };
  const keysOf = (map: YAMLMap): void => {
    const seen = new Set<string>();
    for (const { key } of map.items) {
      const name = isScalar(key) ? String(key.value) : '';
      if (seen.has(name)) report(key, 'this key stands twice in the same mapping; keep one of them');
      seen.add(name);
    }
  };
  walk(document.contents);
  return problems;
}

function refused(problem: Omit<ProblemError, 'path'>): Reading {
  return { ok: false, errors: [{ path: '', ...problem }] };
}

/** The reader's errors in words that say what to do. */
function explained(code: string, message: string): { detail: string } {
  switch (code) {
    case 'MULTIPLE_DOCS':
      return { detail: 'a second document begins here; a file holds one document' };
    case 'TAB_AS_INDENT':
      return { detail: 'a tab cannot indent YAML; use spaces' };
    case 'NON_STRING_KEY':
      return { detail: 'a key must be plain text' };
    case 'TAG_RESOLVE_FAILED':
      return { detail: 'tags (`!…`) are not used here; leave it out' };
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'MULTILINE_IMPLICIT_KEY':
      return { detail: `not YAML: ${lowerFirst(message)}; is the line indented as its neighbours are?` };
    default:
      return { detail: `not YAML: ${lowerFirst(message)}` };
  }
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

function firstAlias(node: unknown): number | undefined {
  if (isAlias(node)) return node.range?.[0];
  if (!isMap(node) && !isSeq(node)) return undefined;
  for (const item of node.items) {
    const found = firstAlias(isMap(node) ? (item as { value: unknown }).value : item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function located(document: Document.Parsed, value: unknown, at: (offset: number) => Position): Source {
  const find = (path: Path) => {
    let node: unknown = document.contents;
    let key: Node | undefined;
    let last = node;
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document);
      const found = child(node, step);
      if (found === undefined) return { key, node: undefined, last };
      key = found.key ?? undefined;
      node = found.value;
      last = node ?? key;
    }
    return { key, node, last };
  };
  const start = (node: unknown): Position => {
    const offset = (node as Node | null | undefined)?.range?.[0];
    return offset === undefined ? {} : at(offset);
  };
  return {
    value,
    valueAt(path) {
      const { key, node, last } = find(path);
      if (node === undefined) return start(key ?? last);
      return start(isScalar(node) && node.value === null && key !== undefined ? key : node);
    },
    keyAt(path) {
      const { key, node, last } = find(path);
      return start(key ?? node ?? last);
    },
    writtenAt(path) {
      const { node } = find(path);
      const scalar = isAlias(node) ? node.resolve(document) : node;
      return isScalar(scalar) ? scalar.source : undefined;
    },
  };
}

function child(node: unknown, step: PropertyKey): { key: Node | null; value: unknown } | undefined {
  if (isMap(node)) {
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
    return pair === undefined ? undefined : { key: pair.key as Node, value: pair.value };
  }
  if (isSeq(node) && typeof step === 'number' && step < node.items.length) {
    return { key: null, value: node.items[step] };
  }
  return undefined;
}

/** `groups.db.on[1]`; a name that is more than one word is quoted. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (!/^[A-Za-z0-9_-]+$/.test(String(step))) text += `[${JSON.stringify(String(step))}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}
