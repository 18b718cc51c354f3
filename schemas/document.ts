/**
 * From the text of a configuration document to the configuration of a cluster, or to every problem that keeps it from being one,
 * each with its line, the reason and the nearest valid word. The coordinator and the command line both read documents through this.
 */
import type { ProblemError } from './api.ts';
import { type Config, documentSchema, groupSchema, resourceSchema } from './config.ts';
import { check, type Parts, type PartsOfGroup } from './document-checks.ts';
import { problemsOf } from './document-issues.ts';
import { type Path, readSource, type Source } from './document-source.ts';
import { nameSchema } from './names.ts';

export type DocumentResult = { ok: true; config: Config } | { ok: false; errors: ProblemError[] };

/** More than this helps nobody; the rest shows when these are mended. */
const MAX_PROBLEMS = 100;

/**
 * Reads a document (YAML, or JSON as a subset of it). Never throws because of what the text holds.
 * @returns the configuration with every default filled in, or the problems in the order of their lines.
 */
export function parseDocument(text: string): DocumentResult {
  const reading = readSource(text);
  if (!reading.ok) return { ok: false, errors: reading.errors.slice(0, MAX_PROBLEMS) };
  const { source } = reading;
  if (source.value === null || source.value === undefined)
    return failed([
      { path: '', line: 1, column: 1, detail: 'the document is empty; it needs at least `cluster` and `nodes`' },
    ]);
  const value = withParametersAsWritten(source);
  const parsed = documentSchema.safeParse(value);
  const hidden = hiddenKeys(value, source);
  const { errors, config } = check(partsOf(value), source);
  if (parsed.success && hidden.length === 0 && errors.length === 0) return { ok: true, config };
  return failed([...(parsed.success ? [] : problemsOf(parsed.error.issues, source)), ...hidden, ...errors]);
}

function failed(errors: ProblemError[]): DocumentResult {
  const place = (error: ProblemError) => (error.line ?? 0) * 100_000 + (error.column ?? 0);
  return { ok: false, errors: errors.toSorted((a, b) => place(a) - place(b)).slice(0, MAX_PROBLEMS) };
}

/** The parts of a document that are well formed, whatever the others are. */
function partsOf(value: unknown): Parts {
  const shape = documentSchema.shape;
  const groups = property(value, 'groups');
  const cluster = nameSchema.safeParse(property(value, 'cluster'));
  const lease = shape.lease.safeParse(property(value, 'lease'));
  return {
    cluster: cluster.data,
    nodes: names(property(value, 'nodes')),
    lease: lease.data,
    groups: isMapping(groups) ? Object.entries(groups).map(([name, group]) => partsOfGroup(name, group)) : [],
  };
}

function partsOfGroup(name: string, group: unknown): PartsOfGroup {
  const resources = property(group, 'resources');
  return {
    name,
    on: names(property(group, 'on')),
    resources: Array.isArray(resources) ? resources.map((resource) => resourceSchema.safeParse(resource).data) : [],
  };
}

function names(value: unknown): (string | undefined)[] | undefined {
  return Array.isArray(value) ? value.map((name) => nameSchema.safeParse(name).data) : undefined;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function property(value: unknown, key: string): unknown {
  return isMapping(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** Numbers and booleans of OCF parameters as text, exactly as written: `port: 0080` and `version: 1.10` keep their digits. */
function withParametersAsWritten(source: Source): unknown {
  const groups = property(source.value, 'groups');
  if (!isMapping(groups)) return source.value;
  for (const [name, group] of Object.entries(groups)) {
    const resources = property(group, 'resources');
    if (!Array.isArray(resources)) continue;
    resources.forEach((resource, index) => {
      const params = property(property(resource, 'ocf'), 'params');
      if (!isMapping(params)) return;
      const path: Path = ['groups', name, 'resources', index, 'ocf', 'params'];
      for (const [key, parameter] of Object.entries(params)) {
        if (typeof parameter !== 'number' && typeof parameter !== 'boolean') continue;
        const written = source.writtenAt([...path, key]);
        if (written !== undefined) params[key] = written;
      }
    });
  }
  return source.value;
}

/** `__proto__` as a key, which validators skip, and problems inside a group whose name already is one. */
function hiddenKeys(value: unknown, source: Source): ProblemError[] {
  const found: ProblemError[] = [];
  const walk = (part: unknown, path: Path) => {
    if (typeof part !== 'object' || part === null) return;
    for (const [key, inner] of Object.entries(part)) {
      const here = [...path, Array.isArray(part) ? Number(key) : key];
      if (key === '__proto__') found.push({ path: key, ...source.keyAt(here), detail: `\`${key}\` cannot be a key` });
      walk(inner, here);
    }
  };
  walk(value, []);
  const groups = property(value, 'groups');
  for (const [name, group] of Object.entries(isMapping(groups) ? groups : {})) {
    if (nameSchema.safeParse(name).success) continue;
    const parsed = groupSchema.safeParse(group);
    if (!parsed.success) found.push(...problemsOf(parsed.error.issues, source, ['groups', name]));
  }
  return found;
}
