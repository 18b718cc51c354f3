import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { parseJson } from './json.ts';

test('JSON is what it says, and what is none is undefined', () => {
  deepEqual(parseJson('{"a": [1, null]}'), { a: [1, null] });
  for (const text of ['', '{', '<html>', '{"a": 1} x']) equal(parseJson(text), undefined, text);
});
