/** Whoever is told that his epoch is on disk finds it there, also when others were writing. */
import { deepEqual } from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StateFile } from './state-file.ts';

test('epochs that share a write are all in it', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-state-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const files = new StateFile(dir);
  const seen: Record<string, number> = {};
  const saves = ['a', 'b', 'c'].map(async (group) => {
    seen[group] = 1;
    const epochs = { ...seen };
    await files.saveEpochs({ history: 'h1', epochs, promiseMs: 0, coordinator: null });
    const onDisk = JSON.parse(readFileSync(join(dir, 'epochs.json'), 'utf8')) as { epochs: object };
    deepEqual({ ...onDisk.epochs, ...epochs }, onDisk.epochs);
  });
  await Promise.all(saves);
});
