/** The copyright file of a package: Holdfast's own terms, and those of what is built into its programs. */
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface BuiltIn {
  readonly name: string;
  /** Where its terms are, below the root of the repository; a pattern that fits exactly one file. Without: `terms`. */
  readonly licenseFile?: string;
  readonly terms?: string;
}

/** What the bundler takes into the executable and the worker: the packages that the program imports. */
export async function importedPackages(root: string): Promise<BuiltIn[]> {
  const manifest: { dependencies: Record<string, string> } = JSON.parse(
    await readFile(join(root, 'package.json'), 'utf8'),
  );
  return Object.keys(manifest.dependencies)
    .toSorted()
    .map((name) => ({ name, licenseFile: `node_modules/${name}/LICENSE*` }));
}

export async function copyrightFile(root: string, builtIn: readonly BuiltIn[]): Promise<string> {
  const own = await readFile(join(root, 'packaging/copyright'), 'utf8');
  const parts = await Promise.all(builtIn.map((one) => paragraph(root, one)));
  return [own.trimEnd(), ...parts].join('\n\n').concat('\n');
}

async function paragraph(root: string, { name, licenseFile, terms }: BuiltIn): Promise<string> {
  const text = terms ?? (licenseFile === undefined ? '' : await readFile(await theOne(root, licenseFile), 'utf8'));
  if (text.trim() === '') throw new Error(`${name}: no licence was found`);
  // the continuation lines of a field: a blank line is a dot
  const body = text
    .trim()
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : `  ${line.trimEnd()}`))
    .join('\n');
  return `Comment: ${name} is part of the programs of this package. Its terms:\n .\n${body}`;
}

async function theOne(root: string, pattern: string): Promise<string> {
  const found: string[] = [];
  for await (const path of glob(pattern, { cwd: root })) found.push(path);
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new Error(`${pattern} fits ${found.length} files, not one: run npm install`);
  return join(root, only);
}
