/**
 * Writes docs/reference/: the pages that are generated from the product itself, so that they cannot be wrong about it. A test fails
 * when a committed page is out of date.
 *
 * @example npm run schema
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { commandReference } from './command-reference.ts';
import { configurationReference } from './configuration-reference.ts';

export const referenceDirectory = resolve(import.meta.dirname, '../docs/reference');

export const referencePages: Readonly<Record<string, () => string>> = {
  'configuration.md': configurationReference,
  'commands.md': commandReference,
};

if (import.meta.main) {
  mkdirSync(referenceDirectory, { recursive: true });
  for (const [name, text] of Object.entries(referencePages)) writeFileSync(join(referenceDirectory, name), text());
}
