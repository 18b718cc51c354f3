/**
 * `npm run vm`: builds, packages, then plays every scenario on virtual machines. Files given as arguments run alone:
 * `npm run vm -- test/vm/power.vm.ts`. With HOLDFAST_VM_DIST the packages are taken from there, and nothing is built.
 */
import { globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from '../lab/index.ts';
import { packagesBuilt, runNode } from './packages.ts';
import { cacheDir } from './paths.ts';

const closingLine = join(cacheDir, 'closing-line.txt');

async function main(files: readonly string[]): Promise<number> {
  mkdirSync(cacheDir, { recursive: true });
  rmSync(closingLine, { force: true });
  const failed = await packagesBuilt();
  if (failed !== undefined) {
    process.stdout.write(`${failed} failed\n0 passed, 1 failed\n`);
    return 1;
  }
  const scenarios = files.length > 0 ? files : globSync('test/vm/*.vm.ts', { cwd: repoRoot }).toSorted();
  const code = await runNode([
    '--test',
    // in one process, so that all files have one cluster: its set-up takes two minutes
    '--test-isolation=none',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(repoRoot, 'test', 'closing-line.mjs')}`,
    `--test-reporter-destination=${closingLine}`,
    ...scenarios,
  ]);
  process.stdout.write(readFileSync(closingLine, 'utf8'));
  return code;
}

process.exitCode = await main(process.argv.slice(2));
