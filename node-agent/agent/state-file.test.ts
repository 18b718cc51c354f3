import { deepEqual, equal } from 'node:assert/strict';
import { mkdtemp, readFile, rm, watch } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StateFile } from './state-file.ts';

test('two hundred epochs that come at once are on disk after two writes, each before whoever asked is told', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-state-'));
  try {
    const files = new StateFile(dir);
    let writes = 0;
    const ending = new AbortController();
    const watching = (async () => {
      for await (const { filename } of watch(dir, { signal: ending.signal }))
        if (filename === 'epochs.json') writes += 1;
    })().catch((error: Error) => equal(error.name, 'AbortError'));
    const epochs: Record<string, number> = {};
    const saved = Array.from({ length: 200 }, async (_, index) => {
      epochs[`g${index}`] = 1;
      await files.saveEpochs({ history: 'h', epochs: { ...epochs }, promiseMs: 0, coordinator: null });
      const onDisk = JSON.parse(await readFile(join(dir, 'epochs.json'), 'utf8')) as { epochs: object };
      equal(Object.hasOwn(onDisk.epochs, `g${index}`), true);
    });
    await Promise.all(saved);
    await files.saveEpochs({ history: 'h', epochs: { ...epochs, last: 2 }, promiseMs: 0, coordinator: null });
    deepEqual((await files.epochs()).epochs.last, 2);
    ending.abort();
    await watching;
    equal(writes <= 3, true, `${writes} writes`);
  } finally {
    await rm(dir, { recursive: true });
  }
});
