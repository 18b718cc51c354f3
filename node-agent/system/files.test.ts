import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FileWriteError, writeFileDurably } from './files.ts';
import { notRoot } from './testing.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-files-'));
after(() => rmSync(directory, { recursive: true, force: true }));

test('a file is replaced as a whole, readable by its owner only, with nothing left beside it', async () => {
  const path = join(directory, 'state.json');
  await writeFileDurably(path, 'one');
  await writeFileDurably(path, 'two');
  assert.equal(readFileSync(path, 'utf8'), 'two');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(directory), ['state.json']);
});

test('the last of many writes at once is the one that stays', async () => {
  const path = join(directory, 'many');
  await Promise.all(Array.from({ length: 30 }, (_, n) => writeFileDurably(path, `number ${n}`)));
  assert.equal(readFileSync(path, 'utf8'), 'number 29');
});

test('what a power cut left half written is overwritten', async () => {
  writeFileSync(join(directory, '.state.json.new'), 'half', { mode: 0o666 });
  await writeFileDurably(join(directory, 'state.json'), 'three');
  assert.equal(readFileSync(join(directory, 'state.json'), 'utf8'), 'three');
  assert.equal(statSync(join(directory, 'state.json')).mode & 0o777, 0o600);
});

test('a missing directory is an error that says so', async () => {
  await assert.rejects(writeFileDurably(join(directory, 'no', 'file'), ''), (error: unknown) => {
    assert.ok(error instanceof FileWriteError);
    assert.equal(error.code, 'ENOENT');
    assert.match(error.message, /directory does not exist/);
    return true;
  });
});

test('on a full disk the old file stays intact and the next write can succeed', { skip: notRoot }, async () => {
  const mount = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount]);
  try {
    const path = join(mount, 'state.json');
    await writeFileDurably(path, 'old');
    await assert.rejects(writeFileDurably(path, 'x'.repeat(200_000)), (error: unknown) => {
      assert.ok(error instanceof FileWriteError);
      assert.equal(error.code, 'ENOSPC');
      return true;
    });
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.deepEqual(readdirSync(mount), ['state.json']);
    await writeFileDurably(path, 'new');
    assert.equal(readFileSync(path, 'utf8'), 'new');
  } finally {
    execFileSync('umount', [mount]);
    rmSync(mount, { recursive: true });
  }
});
