import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { RESOURCE_KINDS } from '../schemas/config.ts';
import { jsonSchemaPath, jsonSchemaText } from './write-json-schema.ts';

it('the committed JSON Schema is the one that the schemas give; `npm run schema` writes it anew', () => {
  assert.equal(readFileSync(jsonSchemaPath, 'utf8'), jsonSchemaText());
});

it('an editor is told that a resource is exactly one thing and that unknown keys are mistakes', () => {
  const schema = JSON.parse(jsonSchemaText());
  const resource = schema.properties.groups.additionalProperties.properties.resources.items;
  assert.deepEqual(
    resource.oneOf,
    RESOURCE_KINDS.map((kind) => ({ required: [kind] })),
  );
  assert.equal(resource.additionalProperties, false);
  assert.equal(schema.additionalProperties, false);
  assert.deepEqual(schema.required, ['cluster', 'nodes']);
});
