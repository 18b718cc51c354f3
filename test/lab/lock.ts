import { mkdir, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ownedName, ownerIsDead } from './owner.ts';
import { cacheDir } from './paths.ts';
import { until } from './until.ts';

/** One process at a time does `work` on the cache; a lock whose owner died is taken over. */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const lockFile = join(cacheDir, `${name}.lock`);
  await mkdir(cacheDir, { recursive: true });
  await until(() => takeLock(lockFile), {
    deadlineMs: 900_000,
    everyMs: 100,
    what: `another process to finish with ${lockFile}`,
  });
  try {
    return await work();
  } finally {
    await unlink(lockFile);
  }
}

async function takeLock(lockFile: string): Promise<boolean> {
  try {
    const file = await open(lockFile, 'wx');
    await file.writeFile(ownedName());
    await file.close();
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const owner = await readFile(lockFile, 'utf8').catch(() => '');
  if (ownerIsDead(owner)) await unlink(lockFile).catch(() => undefined);
  return false;
}
