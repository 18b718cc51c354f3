/**
 * Writes worker/openapi.json, the description of the HTTP API (OpenAPI 3.1) that the coordinator serves at /openapi.json. Made of the
 * table of routes (worker/routes/access.ts, described.ts) and of the schemas that the handlers use; a test fails when the committed file is
 * out of date.
 *
 * @example npm run schema
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as z from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { idempotencyKeyPattern } from '../schemas/access.ts';
import { doneSchema, operationSchema, PROBLEMS, type ProblemCode, problemSchema } from '../schemas/api.ts';
import { copySchema } from '../schemas/copies.ts';
import { eventSchema } from '../schemas/events.ts';
import { incidentSchema } from '../schemas/incident.ts';
import { MAX_BODY_BYTES } from '../schemas/limits.ts';
import { namePattern } from '../schemas/names.ts';
import { candidateSchema, decisionSchema, reasonSchema } from '../schemas/reasons.ts';
import { deliverySchema, webhookSchema } from '../schemas/webhook.ts';
import { resourceReportSchema } from '../schemas/wire.ts';
import { accessOf, type RouteKey, splitKey, takesKey } from '../worker/routes/access.ts';
import { DESCRIBED, type Described } from '../worker/routes/described.ts';

export const openapiPath = resolve(import.meta.dirname, '../worker/openapi.json');

const NAMES: readonly string[] = ['cluster', 'group', 'node'];
const FLAGS: readonly string[] = ['dryRun', 'force'];
/** What a part of a path that is not there is answered with. */
const UNKNOWN: Readonly<Record<string, ProblemCode>> = {
  cluster: 'cluster-unknown',
  group: 'group-unknown',
  node: 'node-unknown',
  operation: 'operation-unknown',
  webhook: 'webhook-unknown',
  incident: 'incident-unknown',
  token: 'token-unknown',
};

const bodySchema = (schema: z.ZodType) => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return rest;
};

/** What stands in many answers, by the name under which they refer to it. */
const SHARED = {
  Problem: problemSchema,
  Reason: reasonSchema,
  Candidate: candidateSchema,
  Decision: decisionSchema,
  Event: eventSchema,
  Resource: resourceReportSchema,
  Copy: copySchema,
  Operation: operationSchema,
  Done: doneSchema,
  Webhook: webhookSchema,
  Delivery: deliverySchema,
  Incident: incidentSchema,
} as const;

const reference = (name: string) => `#/components/schemas/${name}`;

/** Every schema of an answer, each once, with the name it has there. */
function answerSchemas() {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(SHARED)) registry.add(schema, { id });
  for (const { id, answer } of Object.values<Described>(DESCRIBED))
    if (answer !== 'metrics' && !registry.has(answer))
      registry.add(answer, { id: `${id[0]?.toUpperCase()}${id.slice(1)}Answer` });
  const { schemas } = z.toJSONSchema(registry, {
    io: 'output',
    unrepresentable: 'any',
    uri: reference,
    override({ jsonSchema }) {
      // answers only ever gain fields: who reads them has to expect more than is known today
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  const plain = Object.entries(schemas).map(([id, { $id: _, $schema: __, ...schema }]) => [id, schema] as const);
  return { registry, schemas: Object.fromEntries(plain) };
}

const answers = answerSchemas();

/** The problems that a request may be answered with, by the operation's own table and by what every such request may meet. */
export function problemsOf(key: keyof typeof DESCRIBED): readonly ProblemCode[] {
  const { who } = accessOf(key);
  const { body, problems = [] }: Described = DESCRIBED[key];
  const parts = partsOf(key);
  return [
    ...problems,
    ...parts.flatMap((part) => UNKNOWN[part] ?? []),
    ...(parts.length > 0 ? (['not-found'] as const) : []),
    ...(who === 'public' ? [] : (['unauthorized'] as const)),
    ...(who === 'public' || who === 'node' ? [] : (['forbidden', 'too-many-requests'] as const)),
    ...(who === 'public' ? [] : (['invalid-value'] as const)),
    ...(body === undefined ? [] : (['malformed-body', 'body-too-large', 'unsupported-media-type'] as const)),
    'internal',
  ];
}

function partsOf(key: RouteKey): string[] {
  return [...splitKey(key).path.matchAll(/:(\w+)/g)].map(([, part = '']) => part);
}

function parametersOf(key: keyof typeof DESCRIBED) {
  const { query = [] } = accessOf(key);
  const inPath = partsOf(key).map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: NAMES.includes(name) ? { type: 'string', pattern: namePattern.source } : { type: 'string' },
  }));
  const inQuery = query.map((name) => ({
    name,
    in: 'query',
    required: false,
    schema: FLAGS.includes(name) ? { enum: ['0', '1', 'true', 'false'] } : { type: 'integer', minimum: 0 },
  }));
  const described: Described = DESCRIBED[key];
  const resumable =
    described.streams === undefined
      ? []
      : [
          {
            name: 'Last-Event-ID',
            in: 'header',
            required: false,
            description: 'Of a stream: the newest event that is known.',
            schema: { type: 'string', pattern: '^[0-9]{1,15}$' },
          },
        ];
  const conditional = DESCRIBED[key].conditional
    ? [
        {
          name: 'If-Match',
          in: 'header',
          required: false,
          description:
            'The revision that is replaced, as `ETag` of the configuration says it; not needed for a dry run.',
          schema: { type: 'string', pattern: '^"rev-[0-9]{1,15}"$' },
        },
      ]
    : [];
  const repeatable = takesKey(key)
    ? [
        {
          name: 'Idempotency-Key',
          in: 'header',
          required: false,
          description:
            'Asked for again with the same key, the action is not done again, and answered as the first time.',
          schema: { type: 'string', pattern: idempotencyKeyPattern.source },
        },
      ]
    : [];
  return [...inPath, ...inQuery, ...conditional, ...repeatable, ...resumable];
}

function bodyOf({ body }: Described) {
  if (body === undefined) return {};
  const required = body === 'document' || !body.safeParse({}).success;
  const content =
    body === 'document'
      ? { 'application/yaml': { schema: { type: 'string', maxLength: MAX_BODY_BYTES } } }
      : { 'application/json': { schema: bodySchema(body) } };
  return { requestBody: { required, content } };
}

function contentOf({ answer, streams }: Described) {
  if (answer === 'metrics') return { 'text/plain': { schema: { type: 'string' } } };
  const referTo = (schema: z.ZodType) => ({ schema: { $ref: reference(answers.registry.get(schema)?.id ?? '') } });
  return {
    'application/json': referTo(answer),
    ...(streams === undefined ? {} : { 'text/event-stream': referTo(streams) }),
  };
}

function answersOf(key: keyof typeof DESCRIBED) {
  const { status, sends = [] }: Described = DESCRIBED[key];
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of problemsOf(key)) byStatus.set(PROBLEMS[code], [...(byStatus.get(PROBLEMS[code]) ?? []), code]);
  const problems = [...byStatus].sort(([a], [b]) => a - b);
  return {
    [status]: {
      description: 'Done, or as asked for.',
      ...(sends.length === 0
        ? {}
        : { headers: Object.fromEntries(sends.map((name) => [name, { schema: { type: 'string' } }])) }),
      content: contentOf(DESCRIBED[key]),
    },
    ...Object.fromEntries(
      problems.map(([code, names]) => [
        code,
        {
          description: [...new Set(names)].map((name) => `\`${name}\``).join(', '),
          content: { 'application/problem+json': { schema: { $ref: reference('Problem') } } },
        },
      ]),
    ),
  };
}

export function openapi() {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const key of Object.keys(DESCRIBED) as (keyof typeof DESCRIBED)[]) {
    const { method, path } = splitKey(key);
    const { who } = accessOf(key);
    const template = path.replaceAll(/:(\w+)/g, '{$1}');
    const described: Described = DESCRIBED[key];
    paths[template] = {
      ...paths[template],
      [method.toLowerCase()]: {
        operationId: described.id,
        summary: described.summary,
        ...(who === 'public' ? { security: [] } : { description: `For the role \`${who}\`.` }),
        parameters: parametersOf(key),
        ...bodyOf(described),
        responses: answersOf(key),
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdfast',
      version: packageJson.version,
      summary: 'High availability for a handful of Linux machines: the coordinator',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'The administrator’s token, or one of the cluster.' },
      },
      schemas: answers.schemas,
    },
  };
}

/** @returns the text of the file, ending with a line break. */
export function openapiText(): string {
  return `${JSON.stringify(openapi(), null, 1)}\n`;
}

if (import.meta.main) writeFileSync(openapiPath, openapiText());
