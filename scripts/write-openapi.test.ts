import { deepEqual, equal, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { DESCRIBED } from '../worker/routes/described.ts';
import { openapi, openapiPath, openapiText } from './write-openapi.ts';

test('the committed description of the API is up to date', () => {
  equal(readFileSync(openapiPath, 'utf8'), openapiText(), 'run `npm run schema`');
});

test('it is a valid OpenAPI 3.1 document', async () => {
  const { valid, errors } = await new Validator().validate(JSON.parse(openapiText()));
  ok(valid, JSON.stringify(errors));
});

test('every operation has a name of its own and a summary', () => {
  const described = Object.values(DESCRIBED);
  equal(new Set(described.map(({ id }) => id)).size, described.length);
  deepEqual(
    described.filter(({ summary }) => summary === ''),
    [],
  );
});

test('every reference leads somewhere', () => {
  const { components } = openapi();
  const names = new Set([...openapiText().matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name));
  deepEqual(
    [...names].filter((name) => name === undefined || !(name in components.schemas)),
    [],
  );
});
