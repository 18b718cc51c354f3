import { lstat, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Follows the symbolic links of `path` as a process would whose root directory is `root`. Missing parts stay as they are. */
export async function resolveInside(root: string, path: string): Promise<string> {
  let parts = path.split('/').filter((part) => part !== '' && part !== '.');
  let resolved: string[] = [];
  for (let followed = 0; parts.length > 0; ) {
    const [part = '', ...rest] = parts;
    parts = rest;
    if (part === '..') {
      resolved.pop();
      continue;
    }
    const here = join(root, ...resolved, part);
    const isLink = (await lstat(here).catch(() => undefined))?.isSymbolicLink() ?? false;
    if (!isLink) {
      resolved.push(part);
      continue;
    }
    if (++followed > 40) throw new Error(`too many symbolic links in ${path}`);
    const target = await readlink(here);
    if (target.startsWith('/')) resolved = [];
    parts = [...target.split('/').filter((piece) => piece !== '' && piece !== '.'), ...parts];
  }
  return join(root, ...resolved);
}
