import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseDuration } from '../schemas/duration.ts';
import { configurationKeys } from './configuration-reference.ts';
import { referenceDirectory, referencePages } from './write-reference.ts';

for (const [name, text] of Object.entries(referencePages))
  it(`the committed ${name} is the one that the product gives; \`npm run schema\` writes it anew`, () => {
    assert.equal(readFileSync(join(referenceDirectory, name), 'utf8'), text());
  });

describe('the configuration reference', () => {
  const keys = configurationKeys();
  /** Kinds of resource: one of them must be there, and none of them has a default. */
  const kinds = /^groups\.NAME\.resources\[\]\.(vip|mount|service|ocf|drbd)$/;
  const isMapping = ({ shape }: { shape: string }) => shape === 'mapping with the keys below';

  it('explains every key (`.describe` in schemas/config.ts)', () => {
    assert.deepEqual(
      keys.filter(({ description }) => description === '').map(({ path }) => path),
      [],
    );
  });

  it('says of every key that may be left out what holds then (`Left out: …` or a default in schemas/config.ts)', () => {
    const silent = keys.filter((key) => !key.required && key.otherwise === undefined);
    assert.deepEqual(
      silent.filter((key) => !kinds.test(key.path) && !isMapping(key)).map(({ path }) => path),
      [],
    );
  });

  it('writes times as durations that the document takes', () => {
    const texts = keys.flatMap(({ description, otherwise }) => [description, otherwise ?? '']);
    const times = texts.flatMap((text) => text.match(/\b\d[\d.]*[a-z]+\b/g) ?? []);
    assert.ok(times.length > 10);
    assert.deepEqual(
      times.filter((time) => /(?:s|m|h)$/.test(time) && parseDuration(time) === undefined),
      [],
    );
    assert.deepEqual(
      texts.filter((text) => /\d{4,}(?! characters)/.test(text)),
      [],
      'no bare milliseconds',
    );
  });
});
