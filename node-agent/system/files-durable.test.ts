/** A file that was said to be written outlasts a power cut: what nothing but a power cut would show. */
import { deepEqual } from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeFileDurably } from './files.ts';

test('content is synced before it takes the old one’s place, and its directory after', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-durable-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'state.json');
  await writeFileDurably(path, 'old');
  const probe = await open(path);
  const prototype = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  const { sync } = prototype;
  const synced: string[] = [];
  t.mock.method(prototype, 'sync', async function (this: FileHandle) {
    const kind = (await this.stat()).isDirectory() ? 'directory' : 'file';
    synced.push(`${kind}, while ${readFileSync(path, 'utf8')} is in place`);
    await sync.call(this);
  });
  await writeFileDurably(path, 'new');
  deepEqual(synced, ['file, while old is in place', 'directory, while new is in place']);
});
