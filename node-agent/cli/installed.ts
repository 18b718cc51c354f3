/** Where the parts of Holdfast lie that are files of their own. */
import { dirname, resolve } from 'node:path';
import { isSea } from 'node:sea';

/** A part that lies beside the executable; run from the source tree, in dist/. */
export function besideExecutable(name: string): string {
  const home = isSea() ? dirname(process.execPath) : resolve(import.meta.dirname, '../../dist');
  return resolve(home, name);
}
