/**
 * From the text of a configuration document to the configuration of a cluster, or to every problem that keeps it from being one,
 * each with its line, the reason and the nearest valid word. The coordinator and the command line both read documents through this.
 */
import type { ProblemError } from './api.ts';
import { type Config, documentSchema, groupSchema, labelSchema, resourceSchema } from './config.ts';
import { check } from './document-checks.ts';
import { problemsOf } from './document-issues.ts';
import type { Parts, PartsOfGroup } from './document-parts.ts';
import { type Path, readSource, type Source } from './document-source.ts';
import { nameSchema } from './names.ts';

export type DocumentResult = { ok: true; config: Config } | { ok: false; errors: ProblemError[] };

/** More than this helps nobody; the rest shows when these are mended. */
const MAX_PROBLEMS = 100;
/** So many are looked at, to find those that stand first: each takes a search for its place. */
const MAX_LOOKED_AT = 500;

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
  return failed([...(parsed.success ? [] : firstProblems(parsed.error.issues, source)), ...hidden, ...errors]);
}

function firstProblems(issues: Parameters<typeof problemsOf>[0], source: Source): ProblemError[] {
  const found: ProblemError[] = [];
  for (const issue of issues) {
    found.push(...problemsOf([issue], source));
    if (found.length >= MAX_LOOKED_AT) break;
  }
  return found;
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
    nodes: nodeNames(property(value, 'nodes')),
    labels: labelsOf(property(value, 'nodes')),
    lease: lease.data,
    groups: isMapping(groups) ? Object.entries(groups).map(([name, group]) => partsOfGroup(name, group)) : [],
  };
}

function partsOfGroup(name: string, group: unknown): PartsOfGroup {
  const resources = property(group, 'resources');
  const { shape } = groupSchema;
  return {
    name,
    on: names(property(group, 'on')),
    resources: Array.isArray(resources) ? resources.map((resource) => resourceSchema.safeParse(resource).data) : [],
    rules: {
      after: shape.after.safeParse(property(group, 'after')).data,
      with: shape.with.safeParse(property(group, 'with')).data,
      apart: shape.apart.safeParse(property(group, 'apart')).data,
      prefer: shape.prefer.safeParse(property(group, 'prefer')).data,
      failback: shape.failback.safeParse(property(group, 'failback')).data,
      failover: shape.failover.safeParse(property(group, 'failover')).data,
      requires: shape.requires.safeParse(property(group, 'requires')).data,
      fence: shape.fence.safeParse(property(group, 'fence')).data,
    },
  };
}

/** A list of names, or a mapping whose keys are names. */
function nodeNames(value: unknown): (string | undefined)[] | undefined {
  return names(isMapping(value) ? Object.keys(value) : value);
}

function labelsOf(value: unknown): Record<string, readonly string[]> {
  if (!isMapping(value)) return {};
  const labels: Record<string, readonly string[]> = {};
  for (const [name, node] of Object.entries(value)) {
    const given = property(node, 'labels');
    const read = Array.isArray(given) ? given.map((label) => labelSchema.safeParse(label).data) : [];
    if (read.length > 0) labels[name] = read.filter((label) => label !== undefined);
  }
  return labels;
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
