/**
 * Builds what `holdfast serve` runs: the Worker in one file, workerd, and its configuration.
 *
 *   node scripts/build-coordinator.ts [DIR]      default dist/coordinator
 */
import { chmod, copyFile, mkdir, readFile, rename } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type BuildOptions, build } from 'esbuild';

const root = resolve(import.meta.dirname, '..');

/** How a Worker is bundled for workerd, whatever it is. */
export const WORKER_BUNDLE = {
  bundle: true,
  format: 'esm',
  target: 'es2024',
  platform: 'browser',
  conditions: ['workerd', 'worker', 'browser'],
  // of workerd: from compatibility date 2026-08-04 on it brings the modules of Node that it has
  external: ['cloudflare:*', 'node:crypto'],
  logLevel: 'warning',
} satisfies BuildOptions;

/** Writes `worker.js`, `workerd` and `config.capnp` into `outDir`, which is made if it is missing. */
export async function buildCoordinator(outDir: string): Promise<void> {
  await mkdir(outDir, { recursive: true });
  await checkCompatibilityDates();
  await build({
    ...WORKER_BUNDLE,
    entryPoints: [join(root, 'worker/index.ts')],
    outfile: join(outDir, 'worker.js'),
    minify: true,
    legalComments: 'eof',
  });
  await copyFile(join(root, 'worker/config.capnp'), join(outDir, 'config.capnp'));
  // renamed into place: a workerd that runs cannot be written over
  await copyFile(workerdBinary(), join(outDir, 'workerd.new'));
  await chmod(join(outDir, 'workerd.new'), 0o755);
  await rename(join(outDir, 'workerd.new'), join(outDir, 'workerd'));
}

/** The same code must mean the same on Cloudflare and on a machine of one's own. */
async function checkCompatibilityDates(): Promise<void> {
  const dateIn = async (file: string, pattern: RegExp) => {
    const date = pattern.exec(await readFile(join(root, file), 'utf8'))?.[1];
    if (date === undefined) throw new Error(`${file} names no compatibility date`);
    return date;
  };
  const deployed = await dateIn('wrangler.toml', /^compatibility_date = "([\d-]+)"/m);
  const hosted = await dateIn('worker/config.capnp', /^ *compatibilityDate = "([\d-]+)"/m);
  if (deployed !== hosted) {
    throw new Error(
      `wrangler.toml has compatibility date ${deployed}, worker/config.capnp ${hosted}: make them the same`,
    );
  }
}

/** The binary belongs to a package of its own for each platform, which the package `workerd` depends on. */
function workerdBinary(): string {
  const platform = `@cloudflare/workerd-${process.platform}-${process.arch === 'x64' ? '64' : process.arch}`;
  const fromWorkerd = createRequire(createRequire(import.meta.url).resolve('workerd/package.json'));
  try {
    return fromWorkerd.resolve(`${platform}/bin/workerd`);
  } catch (cause) {
    throw new Error(`${platform} is not installed: run npm install on this platform`, { cause });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await buildCoordinator(resolve(process.argv[2] ?? join(root, 'dist/coordinator')));
}
