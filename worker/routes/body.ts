/** Reading bodies and query parameters: bounded, typed, and refused with the field that is wrong. */
import type * as z from 'zod';
import type { ProblemError } from '../../schemas/api.ts';
import { MAX_BODY_BYTES } from '../../schemas/limits.ts';
import type { RequestContext } from './context.ts';
import { problem } from './problem.ts';

/** Reads a body of at most `limit` bytes; never holds more of it than that. */
export async function readBytes(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = () => problem('body-too-large', `at most ${limit} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw tooLarge();
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > limit) throw tooLarge();
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw problem('malformed-body', 'the body is not UTF-8');
  }
}

function mediaType(c: RequestContext): string {
  return (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/** Reads a JSON body by its schema. A body may be absent where the schema accepts `{}`. */
export async function readJson<T>(c: RequestContext, schema: z.ZodType<T>): Promise<T> {
  const text = decode(await readBytes(c.req.raw, MAX_BODY_BYTES));
  if (text === '') return parseWith(schema, {});
  if (mediaType(c) !== 'application/json') {
    throw problem('unsupported-media-type', 'send JSON, with content-type: application/json');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw problem('malformed-body', `the body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  const twice = keyThatStandsTwice(text);
  // which of the two is meant nobody knows: a proxy in between may read the other one
  if (twice !== undefined) throw problem('malformed-body', `“${twice}” stands twice in one object; keep one of them`);
  const parsed = parseWith(schema, value);
  // for the record of what was done (audited.ts)
  if (typeof parsed === 'object' && parsed !== null && 'reason' in parsed) c.set('reason', String(parsed.reason));
  return parsed;
}

/** @param json what is valid JSON. */
function keyThatStandsTwice(json: string): string | undefined {
  /** Of each object or list that is open, the keys so far. */
  const open: Set<string>[] = [];
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (token.endsWith(':')) {
      const key: string = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1));
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map(
    (issue): ProblemError => ({ path: issue.path.join('.'), detail: issue.message }),
  );
  const [first] = errors;
  const where = first === undefined || first.path === '' ? '' : `${first.path}: `;
  throw problem('invalid-value', `${where}${first?.detail ?? 'not what is expected here'}`, errors);
}

/** Reads the text of a configuration document: YAML, of which JSON is a part. */
export async function readDocumentText(c: RequestContext): Promise<string> {
  const accepted = ['application/yaml', 'text/yaml', 'application/x-yaml', 'text/x-yaml', 'application/json'];
  const bytes = await readBytes(c.req.raw, MAX_BODY_BYTES);
  if (!accepted.includes(mediaType(c))) {
    throw problem('unsupported-media-type', 'send the document as application/yaml, text/yaml or application/json');
  }
  return decode(bytes);
}

/** A query parameter that is a whole number; null when it is absent. */
export function numberFrom(c: RequestContext, name: string, { min, max }: { min: number; max: number }): number | null {
  const text = c.req.query(name);
  if (text === undefined) return null;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  const detail = `${name} must be a whole number from ${min} to ${max}`;
  throw problem('invalid-value', detail, [{ path: name, detail }]);
}

/** A query parameter that is a switch: absent is off, `1` and `true` are on. */
export function flagFrom(c: RequestContext, name: string): boolean {
  const text = c.req.query(name);
  if (text === undefined || text === '0' || text === 'false') return false;
  if (text === '1' || text === 'true') return true;
  const detail = `${name} must be 1 or 0`;
  throw problem('invalid-value', detail, [{ path: name, detail }]);
}
