/** The packages that the machines get. */
import { spawn } from 'node:child_process';
import { globSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { currentRelease } from '../../scripts/package.ts';
import { nodePackage } from '../../scripts/packaging/contents.ts';
import { writeDeb } from '../../scripts/packaging/deb.ts';
import { repoRoot } from '../lab/index.ts';
import { distDir } from './paths.ts';
import { vmUnavailable } from './tools.ts';

/** Runs a program of this project, with its output on that of this one; @returns its exit code. */
export function runNode(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, args, {
    cwd: repoRoot,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  return new Promise((resolve) => {
    child.on('error', () => resolve(1));
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

/** Builds and packages, unless they are given or nothing can run. @returns what failed; undefined when they are there. */
export async function packagesBuilt(): Promise<string | undefined> {
  if (process.env.HOLDFAST_VM_DIST !== undefined || (await vmUnavailable()) !== undefined) return undefined;
  const dist = join(repoRoot, 'dist');
  if ((await runNode([join(repoRoot, 'scripts/build.ts')])) !== 0) return 'the build';
  // one of another version would be there beside the new one
  for (const old of globSync('holdfast*.deb', { cwd: dist })) rmSync(join(dist, old));
  if ((await runNode([join(repoRoot, 'scripts/package.ts')])) !== 0) return 'making the packages';
  return undefined;
}

/** @returns the path of a package. Throws if it has not been made, or is there in several versions. */
export function debFile(name: 'holdfast' | 'holdfast-coordinator'): string {
  const files = globSync(`${name}_*_amd64.deb`, { cwd: distDir });
  const [file] = files;
  if (file === undefined || files.length > 1)
    throw new Error(`${files.length} packages of ${name} are in ${distDir}, not one: run "npm run package" first`);
  return join(distDir, file);
}

/** The node's package once more, in a version that comes after that. @returns its path, in this directory. */
export async function newerPackage(dir: string): Promise<string> {
  const release = await currentRelease();
  const newer = { ...release, version: `${release.version}+newer` };
  const file = join(dir, `holdfast_${newer.version}_${newer.architecture}.deb`);
  await writeDeb(await nodePackage(distDir, newer), file, newer.epoch);
  return file;
}
