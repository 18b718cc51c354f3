import { constants, watch } from 'node:fs';
import { type FileHandle, open, readFile, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errnoOf, textOf } from './errors.ts';

/** Editors write a file in several steps. */
const SETTLE_MS = 200;

/** A file could not be made durable. The file that was there before is untouched. */
export class FileWriteError extends Error {
  /** errno name such as `ENOSPC`, `EROFS`, `EACCES`; `UNKNOWN` where the system gave none. */
  readonly code: string;
  readonly path: string;

  constructor(path: string, cause: unknown) {
    const code = errnoOf(cause) ?? 'UNKNOWN';
    super(`cannot write ${path}: ${explain(code, cause)}; the previous content is unchanged`, { cause });
    this.name = 'FileWriteError';
    this.code = code;
    this.path = path;
  }
}

function explain(code: string, cause: unknown): string {
  switch (code) {
    case 'ENOSPC':
      return 'no space left on the device; free some (df, df -i)';
    case 'EDQUOT':
      return 'the disk quota is used up';
    case 'EROFS':
      return 'the file system is read-only; look for disk errors in the kernel log';
    case 'ENOENT':
      return 'the directory does not exist';
    default:
      return textOf(cause);
  }
}

/** @returns undefined if there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

const pending = new Map<string, Promise<void>>();

/**
 * Replaces a file so that after a power cut there is either the whole old content or the whole new one, and after this
 * has resolved only the new one. Writes to one path are carried out one after the other.
 * @throws {FileWriteError}
 */
export function writeFileDurably(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const key = resolve(path);
  const before = pending.get(key) ?? Promise.resolve();
  const write = before.then(
    () => replace(key, content, mode),
    () => replace(key, content, mode),
  );
  pending.set(key, write);
  const forget = () => {
    if (pending.get(key) === write) pending.delete(key);
  };
  write.then(forget, forget);
  return write;
}

async function replace(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  // One fixed name: what a power cut leaves behind is overwritten by the next write instead of piling up.
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  let file: FileHandle | undefined;
  try {
    await removeIfThere(temporary);
    file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
    await file.writeFile(content);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await file?.close();
    await removeIfThere(temporary).catch(() => {
      // The error that matters is the one being thrown; the next write removes the file.
    });
    throw new FileWriteError(path, error);
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** What was renamed in it is so after a power cut, too. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Tells when a file of a directory was written or replaced; several changes within a moment are told once. @returns a function that ends the watch. */
export function watchForFile(directory: string, name: string, changed: () => void): () => void {
  let settle: NodeJS.Timeout | undefined;
  const watcher = watch(directory, (_kind, file) => {
    if (file !== name) return;
    clearTimeout(settle);
    settle = setTimeout(changed, SETTLE_MS);
    settle.unref();
  });
  watcher.unref();
  return () => {
    clearTimeout(settle);
    watcher.close();
  };
}
