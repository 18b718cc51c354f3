/**
 * Builds what is installed: dist/holdfast (agent and command line, one executable without Node), dist/holdfast-guard and
 * dist/holdfast-drbd (C) and dist/coordinator/ (workerd and the worker). A part whose inputs have not changed is left alone.
 *
 * @example npm run build                  everything
 * @example npm run build -- guard         only the parts that are named: holdfast, guard, drbd-handler, coordinator
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, glob, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { build as bundle } from 'esbuild';

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');
const working = join(dist, '.build');

interface Part {
  readonly name: string;
  /** What it makes, below dist/. */
  readonly output: string;
  /** Everything that its output depends on. */
  readonly inputs: () => Promise<readonly string[]>;
  readonly build: (output: string) => Promise<void>;
}

/** A reason to stop that needs no stack trace. */
class BuildError extends Error {}

const parts: readonly Part[] = [
  { name: 'holdfast', output: 'holdfast', inputs: bundled, build: executable },
  {
    name: 'guard',
    output: 'holdfast-guard',
    inputs: () => files('node-agent/guard/*.{c,h}'),
    build: (output) => compile('node-agent/guard', output),
  },
  {
    name: 'drbd-handler',
    output: 'holdfast-drbd',
    inputs: () => files('node-agent/drbd-handler/*.{c,h}'),
    build: (output) => compile('node-agent/drbd-handler', output),
  },
  {
    name: 'coordinator',
    output: 'coordinator',
    inputs: () => files('worker/**/*', 'schemas/**/*', 'scripts/build-coordinator.ts', 'package-lock.json'),
    async build(output) {
      const { buildCoordinator } = await import('./build-coordinator.ts');
      await buildCoordinator(output);
    },
  },
];

/** Regular files by pattern below the root, without tests, in a fixed order. */
async function files(...patterns: string[]): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of glob(patterns, { cwd: root, withFileTypes: true })) {
    if (entry.isFile() && !entry.name.endsWith('.test.ts')) found.push(join(entry.parentPath, entry.name));
  }
  return found.sort();
}

const bundlePath = join(working, 'holdfast.cjs');
const node = join(root, 'node_modules/node/bin/node');

/** One CommonJS file: what a single-executable Node can run. Bundling takes less time than finding out whether it is needed. */
async function bundled(): Promise<readonly string[]> {
  await mkdir(working, { recursive: true });
  await bundle({
    entryPoints: [join(root, 'node-agent/main.ts')],
    outfile: bundlePath,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    define: { 'import.meta.dirname': '__dirname', 'import.meta.main': 'false' },
    legalComments: 'none',
    logLevel: 'warning',
    absWorkingDir: root,
  });
  return [bundlePath, join(root, 'sea-config.json'), join(root, 'node_modules/node/package.json')];
}

/**
 * The flags of sea-config.json are those the executable runs with: no debugger by signal; and no optimising compilers and a small young
 * generation, since an agent that idles at one report a second gains nothing by them and they cost it 9 MiB (docs/benchmarks.md). V8's
 * code cache is only taken by a process with the flags of the one that made it.
 */
async function executable(output: string): Promise<void> {
  const { execArgv }: { execArgv: string[] } = JSON.parse(await readFile(join(root, 'sea-config.json'), 'utf8'));
  await run(node, [...execArgv, '--experimental-sea-config', 'sea-config.json']);
  const unfinished = `${output}.new`;
  await copyFile(node, unfinished);
  await chmod(unfinished, 0o755);
  const fuse = ['--sentinel-fuse', 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'];
  const inject = join(root, 'node_modules/postject/dist/cli.js');
  await run(node, [inject, unfinished, 'NODE_SEA_BLOB', join(working, 'holdfast.blob'), ...fuse]);
  await rename(unfinished, output);
}

async function compile(folder: string, output: string): Promise<void> {
  const sources = await files(`${folder}/*.c`);
  if (sources.length === 0) throw new BuildError(`${folder}/ holds no C source`);
  const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'];
  const unfinished = `${output}.new`;
  try {
    await run(process.env.CC || 'cc', [...flags, '-o', unfinished, ...sources]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw new BuildError(
        `${folder}/ is written in C and no C compiler (cc) is installed: apt-get install gcc libc6-dev`,
      );
    throw error;
  }
  await rename(unfinished, output);
}

function run(program: string, args: readonly string[]): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    child.on('error', fail);
    child.on('close', (code, signal) => {
      if (code === 0) done();
      else fail(new BuildError(`${[program, ...args].join(' ')} failed (${signal ?? code}):\n${said.trim()}`));
    });
  });
}

/** Hash over names and contents, so that a file that moved counts as changed. */
async function fingerprint(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  hash.update(await readFile(import.meta.filename));
  for (const path of paths) hash.update(`\n${relative(root, path)}\n`).update(await readFile(path));
  return hash.digest('hex');
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path);
  if (!found.isDirectory()) return found.size;
  let sum = 0;
  for await (const entry of glob('**/*', { cwd: path, withFileTypes: true }))
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size;
  return sum;
}

const megabytes = (bytes: number) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

async function buildPart(part: Part): Promise<void> {
  const started = performance.now();
  const output = join(dist, part.output);
  const stamp = join(dist, `.stamp-${part.name}`);
  const wanted = await fingerprint(await part.inputs());
  const unchanged = (await readIfThere(stamp)) === wanted && (await exists(output));
  if (!unchanged) {
    await rm(stamp, { force: true });
    await part.build(output);
    await writeFile(stamp, wanted);
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const how = unchanged ? 'unchanged' : `built in ${seconds} s`;
  console.log(`${relative(root, output).padEnd(20)} ${megabytes(await sizeOf(output)).padStart(9)}  ${how}`);
}

async function readIfThere(path: string): Promise<string | undefined> {
  return (await exists(path)) ? await readFile(path, 'utf8') : undefined;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** Builds the named parts, or all of them. @throws {BuildError} with what to do about it. */
async function build(names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !parts.some((part) => part.name === name));
  if (unknown !== undefined)
    throw new BuildError(`no part ${unknown}; there are: ${parts.map(({ name }) => name).join(', ')}`);
  const started = performance.now();
  await mkdir(dist, { recursive: true });
  for (const part of parts) if (names.length === 0 || names.includes(part.name)) await buildPart(part);
  console.log(`total ${((performance.now() - started) / 1_000).toFixed(1)} s`);
}

build(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof BuildError ? `build: ${error.message}` : error);
  process.exitCode = 1;
});
