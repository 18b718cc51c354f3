/** The packages that the machines get. */
import { spawn } from 'node:child_process';
import { globSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from '../lab/index.ts';
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
  for (const old of globSync('holdfast_*.deb', { cwd: dist })) rmSync(join(dist, old));
  if ((await runNode([join(repoRoot, 'scripts/package.ts')])) !== 0) return 'making the packages';
  return undefined;
}
