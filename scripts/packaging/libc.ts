/** What an executable needs of the system's libraries, as a Debian dependency. */
import { readFile } from 'node:fs/promises';

const VERSIONED = /\bGLIBC_(2\.\d+)\b/g;

/**
 * The newest version of the C library that these programs name a symbol of.
 * @throws when one of them names none: then it is not what was expected.
 */
export async function neededLibc(programs: readonly string[]): Promise<string> {
  let newest = 0;
  for (const program of programs) {
    const text = (await readFile(program)).toString('latin1');
    const minors = [...text.matchAll(VERSIONED)].map(([, version = '']) => Number(version.split('.')[1]));
    if (minors.length === 0)
      throw new Error(`${program} names no version of the GNU C library: is it dynamically linked?`);
    newest = Math.max(newest, ...minors);
  }
  return `2.${newest}`;
}
