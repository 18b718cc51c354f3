/**
 * Makes the Debian packages out of what `npm run build` has made: holdfast_VERSION_ARCH.deb and holdfast-coordinator_VERSION_ARCH.deb.
 *
 *   npm run package                        builds, then writes them into dist/
 *   node scripts/package.ts [DIR]          only writes them
 *
 * The same dist/ gives the same packages, byte for byte: their files have the date SOURCE_DATE_EPOCH, or else that of the last commit.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { coordinatorPackage, nodePackage, type Release } from './packaging/contents.ts';
import { writeDeb } from './packaging/deb.ts';

const root = resolve(import.meta.dirname, '..');

/** Node's names of architectures, and Debian's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** @returns the paths of the packages. @throws when something is missing, with what to do. */
export async function makePackages(dist: string, outDir: string, release?: Release): Promise<string[]> {
  const { version, architecture, epoch } = release ?? (await currentRelease());
  await mkdir(outDir, { recursive: true });
  const made: string[] = [];
  for (const make of [nodePackage, coordinatorPackage]) {
    const spec = await make(dist, { version, architecture, epoch });
    const file = join(outDir, `${spec.control.Package}_${version}_${architecture}.deb`);
    await writeDeb(spec, file, epoch);
    made.push(file);
  }
  return made;
}

/** Of this source, on this machine. */
export async function currentRelease(): Promise<Release> {
  const manifest: { version: string } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`there is no package for ${process.arch}: build on x64 or arm64`);
  return { version: manifest.version.replaceAll('-', '~'), architecture, epoch: await sourceDate() };
}

async function sourceDate(): Promise<number> {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) {
    if (!/^\d{1,11}$/.test(given)) throw new Error(`SOURCE_DATE_EPOCH is no number of seconds: ${given}`);
    return Number(given);
  }
  try {
    const { stdout } = await promisify(execFile)('git', ['log', '-1', '--format=%ct'], { cwd: root });
    return Number(stdout.trim());
  } catch {
    // not a clone, but an unpacked archive: it keeps the dates of its files
    return Math.floor((await stat(join(root, 'package.json'))).mtimeMs / 1_000);
  }
}

if (import.meta.main) {
  const outDir = resolve(process.argv[2] ?? join(root, 'dist'));
  try {
    for (const file of await makePackages(join(root, 'dist'), outDir))
      console.log(`${relative(process.cwd(), file)}  ${((await stat(file)).size / 1e6).toFixed(1)} MB`);
  } catch (error) {
    console.error(`package: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
