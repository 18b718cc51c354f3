/** Rules of the house that a machine can keep: lint and types are clean, and the arrows between the rooms point inward. */
import { deepEqual, equal } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function output(command: string, args: readonly string[]): Promise<{ code: number; text: string }> {
  return new Promise((done) => {
    execFile(
      join(root, 'node_modules', '.bin', command),
      args,
      { cwd: root, maxBuffer: 8 << 20 },
      (error, stdout, stderr) => done({ code: error === null ? 0 : 1, text: stdout + stderr }),
    );
  });
}

test('lint and format are clean', async () => {
  const { code, text } = await output('biome', ['ci', '.']);
  equal(code, 0, text);
});

for (const project of ['tsconfig.worker.json', 'tsconfig.node.json'])
  test(`types are sound (${project})`, async () => {
    const { code, text } = await output('tsc', ['-p', project]);
    equal(code, 0, text);
  });

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /(?<!\.test|\.scenarios)\.ts$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/** The helpers of tests stand beside the sources, and are no part of the product. */
const helpsTests = (file: string) => /[/-]testing(-[a-z]+)?\.ts$/.test(file);

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) =>
    relative(root, resolve(root, dirname(file), match[1] ?? '')),
  );
}

/** What a folder may import from the project, besides itself. */
const ALLOWED: Record<string, readonly string[]> = {
  schemas: [],
  'worker/decide': ['schemas'],
  worker: ['schemas'],
  'node-agent': ['schemas', 'package.json'],
};

for (const [folder, allowed] of Object.entries(ALLOWED))
  test(`${folder}/ imports nothing of the project but itself${allowed.length === 0 ? '' : ` and ${allowed.join(', ')}`}`, () => {
    const strays = sources(folder).flatMap((file) =>
      imports(file)
        .filter((target) => ![folder, ...allowed].some((place) => target === place || target.startsWith(`${place}/`)))
        .map((target) => `${file} -> ${target}`),
    );
    deepEqual(strays, []);
  });

test('a migration calls nothing that changes after its release', () => {
  const folder = 'worker/cluster/migrations';
  const strays = sources(folder).flatMap((file) => imports(file).filter((target) => !target.startsWith(`${folder}/`)));
  deepEqual(strays, []);
});

/** The rooms of a node, each with those it stands on. */
const ROOMS: Record<string, readonly string[]> = {
  system: [],
  resources: ['system'],
  guard: ['resources', 'system'],
  agent: ['guard', 'resources', 'system', 'version.ts'],
  doctor: ['agent', 'guard', 'resources', 'system'],
  cli: ['agent', 'doctor', 'guard', 'system', 'version.ts'],
};

test('in node-agent/ a room knows only those it stands on', () => {
  const strays = Object.entries(ROOMS).flatMap(([room, below]) =>
    sources(`node-agent/${room}`).flatMap((file) =>
      imports(file)
        .map((target) => target.split('/'))
        .filter(([top, place]) => top === 'node-agent' && place !== room && !below.includes(place ?? ''))
        .map((target) => `${file} -> ${target.join('/')}`),
    ),
  );
  deepEqual(strays, []);
});

test('only node-agent/system and the guard’s client start processes', () => {
  const starters = sources('node-agent').filter(
    (file) => !helpsTests(file) && /from 'node:child_process'/.test(readFileSync(join(root, file), 'utf8')),
  );
  const outside = starters.filter((file) => !file.startsWith('node-agent/system/'));
  // the guard's client starts the guard, serve starts workerd: both before anything that the network says is acted upon
  deepEqual(outside.sort(), ['node-agent/cli/serve.ts', 'node-agent/guard/guard.ts']);
});

test('the lease keeper, the runner and the decisions have no clock, no I/O and no chance of their own', () => {
  const pure = [
    ...sources('worker/decide'),
    ...sources('node-agent/agent').filter((file) => /\/(keep|run)(-[a-z]+)?\.ts$/.test(file)),
  ].filter((file) => !helpsTests(file));
  const impure = pure.filter((file) =>
    /Date\.now|performance\.|Math\.random|setTimeout|from 'node:|fetch\(/.test(readFileSync(join(root, file), 'utf8')),
  );
  deepEqual(impure, []);
});
