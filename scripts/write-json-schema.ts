/**
 * Writes docs/schema/config.v1.json, which lets editors complete and check a configuration document while it is being written.
 * Generated from the same schema that the product reads documents with; a test fails when the committed file is out of date.
 *
 * @example npm run schema
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as z from 'zod';
import { documentSchema, RESOURCE_KINDS, resourceSchema } from '../schemas/config.ts';

export const jsonSchemaPath = resolve(import.meta.dirname, '../docs/schema/config.v1.json');

/** The schema as editors are given it. */
export function configurationJsonSchema() {
  return z.toJSONSchema(documentSchema, {
    target: 'draft-7',
    io: 'input',
    override({ zodSchema, jsonSchema }) {
      // One resource is one thing: zod knows the kinds as optional keys, the document check insists on exactly one.
      // zod takes defaults out of whatever is transformed when it is read, such as durations
      const known = z.globalRegistry.get(zodSchema);
      if (known !== undefined && 'default' in known) jsonSchema.default = known.default;
      if (zodSchema === resourceSchema) jsonSchema.oneOf = RESOURCE_KINDS.map((kind) => ({ required: [kind] }));
    },
  });
}

/** @returns the text of the file, ending with a line break. */
export function jsonSchemaText(): string {
  return `${JSON.stringify({ ...configurationJsonSchema(), title: 'Holdfast cluster configuration, version 1' }, null, 2)}\n`;
}

if (import.meta.main) {
  mkdirSync(dirname(jsonSchemaPath), { recursive: true });
  writeFileSync(jsonSchemaPath, jsonSchemaText());
}
