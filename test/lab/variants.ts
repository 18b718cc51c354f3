/** The product as it would be with another protocol version, for tests of agents and coordinators that were not upgraded together. */
import { rmSync } from 'node:fs';
import { chmod, copyFile, link, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { WORKER_BUNDLE } from '../../scripts/build-coordinator.ts';
import { ownedName } from './owner.ts';
import { repoRoot } from './paths.ts';

const limits = join(repoRoot, 'schemas/limits.ts');
/** Two directories below the repository, as the sources are: an agent that is no executable looks for its guard in ../../dist. */
const variantsDir = join(repoRoot, '.cache/variants');

/** Changes the two constants and nothing else. */
function protocol(major: number, minor: number): Plugin {
  return {
    name: 'protocol version',
    setup({ onLoad }) {
      onLoad({ filter: /\/schemas\/limits\.ts$/ }, async () => {
        const contents = (await readFile(limits, 'utf8'))
          .replace(/^(export const PROTOCOL_MAJOR =) \d+/m, `$1 ${major}`)
          .replace(/^(export const PROTOCOL_MINOR =) \d+/m, `$1 ${minor}`);
        return { contents, loader: 'ts' };
      });
    },
  };
}

/** @returns a program for Node that is `holdfast` of this version; it finds its guard in dist/. */
export async function agentOfVersion(major: number, minor: number): Promise<string> {
  const outfile = join(variantsDir, `agent-${major}.${minor}-${ownedName()}.cjs`);
  await build({
    entryPoints: [join(repoRoot, 'node-agent/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    define: { 'import.meta.dirname': '__dirname', 'import.meta.main': 'false' },
    logLevel: 'warning',
    absWorkingDir: repoRoot,
    plugins: [protocol(major, minor)],
  });
  process.once('exit', () => rmSync(outfile, { force: true }));
  return outfile;
}

/** @returns the executable `holdfast` beside a coordinator of this version. */
export async function coordinatorOfVersion(major: number, minor: number): Promise<string> {
  const home = join(variantsDir, `coordinator-${major}.${minor}-${ownedName()}`);
  const dist = join(repoRoot, 'dist');
  process.once('exit', () => rmSync(home, { recursive: true, force: true }));
  await mkdir(join(home, 'coordinator'), { recursive: true });
  await link(join(dist, 'holdfast'), join(home, 'holdfast'));
  await link(join(dist, 'coordinator/workerd'), join(home, 'coordinator/workerd'));
  await copyFile(join(dist, 'coordinator/config.capnp'), join(home, 'coordinator/config.capnp'));
  await build({
    entryPoints: [join(repoRoot, 'worker/index.ts')],
    outfile: join(home, 'coordinator/worker.js'),
    ...WORKER_BUNDLE,
    plugins: [protocol(major, minor)],
  });
  await chmod(join(home, 'holdfast'), 0o755);
  return join(home, 'holdfast');
}
