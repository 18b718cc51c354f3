/** docs/reference/configuration.md: every key of the document, from the JSON Schema that editors are given. */
import type { JSONSchema } from 'zod/v4/core';
import { durationPattern } from '../schemas/duration.ts';
import { MAX_BODY_BYTES, MAX_NAME_LENGTH, MAX_VALUE_LENGTH } from '../schemas/limits.ts';
import { namePattern } from '../schemas/names.ts';
import { configurationJsonSchema } from './write-json-schema.ts';

type Schema = JSONSchema.BaseSchema;

export interface Key {
  /** `groups.NAME.resources[].mount.fsck` */
  readonly path: string;
  /** How its value is written. */
  readonly shape: string;
  /** What holds when it is left out; undefined for a key that must be there. */
  readonly otherwise: string | undefined;
  readonly required: boolean;
  readonly description: string;
}

/** All keys in the order of the document, each before those inside it. */
export function configurationKeys(): Key[] {
  return keysOf(configurationJsonSchema(), '');
}

function keysOf(schema: Schema, path: string): Key[] {
  const keys: Key[] = [];
  for (const [name, value] of Object.entries(schema.properties ?? {})) {
    const property = asSchema(value);
    const here = path === '' ? name : `${path}.${name}`;
    keys.push(keyOf(here, property, schema.required?.includes(name) ?? false), ...inside(property, here));
  }
  return keys;
}

function inside(schema: Schema, path: string): Key[] {
  return [
    ...(schema.anyOf ?? []).flatMap((one) => inside(one, path)),
    ...(schema.type === 'object' ? keysOf(schema, path) : []),
    ...(schema.additionalProperties ? inside(asSchema(schema.additionalProperties), `${path}.NAME`) : []),
    ...(schema.items ? inside(asSchema(schema.items), `${path}[]`) : []),
  ];
}

function keyOf(path: string, schema: Schema, required: boolean): Key {
  const [description = '', leftOut] = (schema.description ?? '').split(/(?:^|[.;])\s*left out: /i);
  const value = schema.default === undefined ? undefined : `\`${JSON.stringify(schema.default).replaceAll('"', '')}\``;
  return { path, required, shape: shapeOf(schema), description: sentence(description), otherwise: value ?? leftOut };
}

function sentence(text: string): string {
  if (text === '') return '';
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function shapeOf(schema: Schema): string {
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(variantOf))].join(', or ');
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum !== undefined) return listed(schema.enum.map((value) => `\`${value}\``));
  switch (schema.type) {
    case 'string':
      if (schema.pattern === durationPattern.source) return 'duration';
      if (schema.pattern === namePattern.source) return 'name';
      return schema.maxLength === undefined || schema.maxLength === MAX_VALUE_LENGTH
        ? 'text'
        : `text, at most ${schema.maxLength} characters`;
    case 'array':
      return `list${between(schema)}, each: ${schema.items ? shapeOf(asSchema(schema.items)) : 'anything'}`;
    case 'object':
      if (!schema.additionalProperties) return 'mapping with the keys below';
      return `mapping from NAME to: ${shapeOf(asSchema(schema.additionalProperties))}`;
    case 'integer':
    case 'number': {
      const { minimum, maximum } = schema;
      const kind = schema.type === 'integer' ? 'whole number' : 'number';
      return minimum === undefined || maximum === undefined ? kind : `${kind}, ${minimum} to ${maximum}`;
    }
    case 'boolean':
      return '`true` or `false`';
    case 'null':
      return 'nothing';
    default:
      throw new Error(`the reference cannot show this shape: ${JSON.stringify(schema)}`);
  }
}

/** One way of writing a value that can be written in several; a short text says by its description how. */
function variantOf(schema: Schema): string {
  return schema.type === 'string' && schema.description !== undefined ? schema.description : shapeOf(schema);
}

function between({ minItems, maxItems }: Schema): string {
  if (maxItems === undefined) return minItems === undefined ? '' : ` of at least ${minItems}`;
  return minItems === undefined ? ` of at most ${maxItems}` : ` of ${minItems} to ${maxItems}`;
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function asSchema(schema: boolean | Schema | readonly Schema[] | readonly (boolean | Schema)[]): Schema {
  if (typeof schema === 'boolean' || Array.isArray(schema)) throw new Error('the reference knows schemas, not lists');
  return schema as Schema;
}

/** @returns the text of the page, ending with a line break. */
export function configurationReference(): string {
  const keys = configurationKeys();
  return `${[head(), ...keys.map(section)].join('\n\n')}\n`;
}

function head(): string {
  return `# Configuration reference

Every key of the document, generated from the schema that reads it (\`npm run schema\`). What the kinds of resource do, with examples:
[configuration.md](../configuration.md). The schema for editors: [config.v1.json](../schema/config.v1.json).

- A **name** is lower-case letters, digits, \`-\`, \`_\` and \`.\`, beginning and ending with a letter or digit, at most ${MAX_NAME_LENGTH} characters.
- A **duration** is a number with its unit: \`250ms\`, \`5s\`, \`2m\`, \`1h\`.
- A **text** is one line of at most ${MAX_VALUE_LENGTH} characters.
- The whole document is at most ${MAX_BODY_BYTES / 1024} KiB. A key that is not listed here is refused.`;
}

function section({ path, shape, otherwise, required, description }: Key): string {
  const needed = required ? '; required' : '';
  const left = otherwise === undefined ? '' : `\n- **Left out:** ${otherwise}`;
  return `## \`${path}\`\n\n- **Value:** ${shape}${needed}${left}\n\n${description}`;
}
