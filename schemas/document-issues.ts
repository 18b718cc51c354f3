/**
 * What zod finds wrong with a document, in the words of someone who wrote it: where it stands, what was expected, which word was
 * probably meant. Knows nothing of single fields except through the schema itself.
 */
import * as z from 'zod';
import type { ProblemError } from './api.ts';
import { documentSchema } from './config.ts';
import { type Path, pathText, type Source } from './document-source.ts';
import { nearest } from './names.ts';

type Issue = z.core.$ZodIssue;

/** Every issue as problems of the document, the issues of a union being those of the branch that the writer meant. */
export function problemsOf(issues: readonly Issue[], source: Source, base: Path = []): ProblemError[] {
  return issues.flatMap((issue) => problemsOfIssue(issue, [...base, ...issue.path], source));
}

function problemsOfIssue(issue: Issue, path: Path, source: Source): ProblemError[] {
  const value = valueAt(source.value, path);
  const here = (detail: string, suggestion?: string): ProblemError[] => [
    problem(path, source.valueAt(path), detail, suggestion),
  ];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey([...path, key], path, source));
    case 'invalid_key': {
      const [first] = issue.issues;
      return [
        problem(
          path,
          source.keyAt(path),
          `“${String(path.at(-1))}” is no name here: ${first?.message ?? 'not allowed'}`,
        ),
      ];
    }
    case 'invalid_union': {
      if (value === undefined) return [missing(path, source)];
      const forms = formsOf(issue.errors, path);
      if (value === null) return here(`\`${String(path.at(-1))}\` is empty; it must be ${forms}`);
      const branch = meantBranch(issue.errors, value);
      if (branch !== undefined) return problemsOf(branch, source, path);
      const list = issue.errors.some(([first]) => first?.code === 'invalid_type' && first.expected === 'array');
      const fix = list && typeof value === 'string' ? `[${value}]` : undefined;
      return here(`must be ${forms}, not ${described(value)}`, fix);
    }
    case 'invalid_type':
      if (value === undefined) return [missing(path, source)];
      return wrongType(issue.expected, path, value, source);
    case 'invalid_value': {
      const words = issue.values.map(String);
      const choice = words.length === 1 ? words[0] : `one of ${listed(words, 'or')}`;
      return here(`must be ${choice}, not ${described(value)}`, nearest(String(value), words));
    }
    case 'too_big':
      if (typeof value === 'string') return here(`“${shortened(value)}”: at most ${issue.maximum} characters`);
      if (typeof value === 'number') return here(`must be at most ${issue.maximum}, not ${value}`);
      return here(issue.message);
    case 'too_small':
      if (typeof value === 'number') return here(`must be at least ${issue.minimum}, not ${value}`);
      return here(issue.message);
    default:
      return here(
        typeof value === 'string' && !issue.message.includes(' is ')
          ? `“${shortened(value)}”: ${issue.message}`
          : issue.message,
      );
  }
}

function problem(
  path: Path,
  position: { line?: number; column?: number },
  detail: string,
  suggestion?: string,
): ProblemError {
  return { path: pathText(path), ...position, detail, ...(suggestion === undefined ? {} : { suggestion }) };
}

function missing(path: Path, source: Source): ProblemError {
  const around = path.slice(0, -1);
  const position = around.length === 0 ? { line: 1, column: 1 } : source.keyAt(around);
  const where = around.length === 0 ? 'the document' : pathText(around);
  return problem(path, position, `${where} has no \`${String(path.at(-1))}\`, which it needs`);
}

function unknownKey(path: Path, around: Path, source: Source): ProblemError {
  const key = String(path.at(-1));
  const known = knownKeys(around);
  const where = around.length === 0 ? 'the document' : pathText(around);
  const position = source.keyAt(path);
  if (known.includes('resources') && knownKeys([...around, 'resources', 0]).includes(key))
    return problem(
      path,
      position,
      `\`${key}\` belongs to a resource: beside its \`vip\`, \`drbd\`, \`mount\`, \`service\` or \`ocf\``,
    );
  const home = known.find((word) => knownKeys([...around, word]).includes(key));
  if (home !== undefined) return problem(path, position, `\`${key}\` belongs inside \`${home}\``);
  const used = Object.keys((valueAt(source.value, around) ?? {}) as object);
  const free = known.filter((word) => !used.includes(word));
  return problem(path, position, `unknown key \`${key}\`; ${where} knows ${listed(known, 'and')}`, nearest(key, free));
}

const DURATION_PATTERN_HINT = 'a duration with its unit: 250ms, 5s, 2m or 1h';

function wrongType(expected: string, path: Path, value: unknown, source: Source): ProblemError[] {
  const position = source.valueAt(path);
  if (value === null)
    return [
      problem(
        path,
        position,
        `\`${String(path.at(-1) ?? 'the document')}\` is empty; it must be ${typeWord(expected, path)}`,
      ),
    ];
  if (expected === 'string' && isDuration(path)) {
    const fix = typeof value === 'number' && value > 0 ? `${value}s` : undefined;
    return [problem(path, position, `must be ${DURATION_PATTERN_HINT}, not ${described(value)}`, fix)];
  }
  if (expected === 'string' && (typeof value === 'number' || typeof value === 'boolean')) {
    const written = source.writtenAt(path) ?? String(value);
    return [
      problem(
        path,
        position,
        `must be text, but YAML reads ${written} as ${described(value)}; quote it`,
        `"${written}"`,
      ),
    ];
  }
  if (expected === 'string' && path.length === 2 && path[0] === 'nodes' && typeof value === 'object')
    return [
      problem(
        path,
        position,
        'in a list a node is a bare name; to give nodes labels, write `nodes` without dashes: `alice: { labels: [disk=ssd] }`',
      ),
    ];
  const listFix = expected === 'array' ? asList(value) : undefined;
  return [problem(path, position, `must be ${typeWord(expected, path)}, not ${described(value)}`, listFix)];
}

/** What was written without the brackets of a list, or as a mapping where labels are a list. */
function asList(value: unknown): string | undefined {
  if (typeof value === 'string') return `[${value}]`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const pairs = Object.entries(value);
  const plain = pairs.length > 0 && pairs.every(([, inner]) => typeof inner === 'string');
  return plain ? `[${pairs.map(([key, inner]) => `${key}=${inner}`).join(', ')}]` : undefined;
}

/** The branch of a union that fits the type of what was written; undefined if none does. */
function meantBranch(branches: readonly (readonly Issue[])[], value: unknown): readonly Issue[] | undefined {
  return branches.find((issues) =>
    issues.every((issue) => {
      if (issue.path.length > 0) return true;
      if (issue.code === 'invalid_type') return false;
      return issue.code !== 'invalid_value' || typeof value === 'string';
    }),
  );
}

function formsOf(branches: readonly (readonly Issue[])[], path: Path): string {
  const forms = branches.map(([first]) => (first === undefined ? 'another form' : formOf(first, path)));
  return listed([...new Set(forms)], 'or');
}

function formOf(issue: Issue, path: Path): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')}`;
  return issue.code === 'invalid_type' ? typeWord(issue.expected, path) : issue.message;
}

function typeWord(expected: string, path: Path): string {
  switch (expected) {
    case 'string':
      return 'text';
    case 'array':
      return 'a list';
    case 'object': {
      const keys = knownKeys(path);
      return keys.length === 0 ? 'a mapping' : `a mapping with ${listed(keys, 'and')}`;
    }
    case 'record':
      return 'a mapping';
    case 'number':
      return 'a number';
    case 'int':
      return 'a whole number';
    case 'boolean':
      return 'true or false';
    default:
      return expected;
  }
}

function described(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return `“${shortened(value)}”`;
  return typeof value === 'number' ? `the number ${value}` : `the word ${String(value)}`;
}

const shortened = (text: string) => (text.length > 60 ? `${text.slice(0, 57)}…` : text);

/** `a, b or c` */
export function listed(words: readonly string[], last: 'and' | 'or'): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`;
}

function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = Reflect.get(here, step);
  }
  return here;
}

/** The keys that the schema knows for the mapping at `path`. */
function knownKeys(path: Path): string[] {
  const schema = objectSchema(schemaAt(path));
  return schema === undefined ? [] : Object.keys(schema.shape);
}

function isDuration(path: Path): boolean {
  return schemaAt(path) instanceof z.ZodPipe;
}

function schemaAt(path: Path): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = documentSchema;
  for (const step of path) {
    const bare = unwrapped(schema);
    schema = bare instanceof z.ZodUnion ? firstOf(bare.options, step) : partOf(bare, step);
  }
  return unwrapped(schema);
}

function firstOf(options: readonly z.core.$ZodType[], step: PropertyKey): z.core.$ZodType | undefined {
  return options.map((option) => partOf(unwrapped(option), step)).find((part) => part !== undefined);
}

function partOf(schema: z.core.$ZodType | undefined, step: PropertyKey): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodArray) return typeof step === 'number' ? schema.element : undefined;
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return objectSchema(schema)?.shape[String(step)];
}

function unwrapped(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return unwrapped(schema.unwrap());
  return schema;
}

function objectSchema(schema: z.core.$ZodType | undefined): z.ZodObject | undefined {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodUnion) return schema.options.map(objectSchema).find((option) => option !== undefined);
  return undefined;
}
