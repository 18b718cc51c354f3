/** What comes from others: only what is locked by its hash, and nothing that runs a program while it is installed but what is known to. */
import { deepEqual, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repoRoot } from './lab/paths.ts';

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
}
const read = (file: string) => JSON.parse(readFileSync(join(repoRoot, file), 'utf8'));
const { packages } = read('package-lock.json') as { packages: Record<string, Locked> };
const project = read('package.json') as {
  allowScripts: Record<string, boolean>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};
const others = Object.entries(packages).filter(([path]) => path !== '');
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

test('what runs a script while it is installed is what package.json allows, and no more', () => {
  const scripts = others.filter(([, { hasInstallScript }]) => hasInstallScript === true).map(([path]) => nameOf(path));
  deepEqual([...new Set(scripts)].sort(), Object.keys(project.allowScripts).sort());
});

test('every package is locked by a SHA-512 and comes from a registry', () => {
  ok(others.length > 20, `${others.length} packages`);
  for (const [path, { resolved, integrity }] of others) {
    ok(/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''), `${path}: ${integrity}`);
    // left out: from the registry that npm is set to
    ok(resolved === undefined || resolved.startsWith('https://registry.npmjs.org/'), `${path}: ${resolved}`);
  }
});

test('every dependency is named by one version, and none that ships brings others along', () => {
  for (const [name, version] of Object.entries({ ...project.dependencies, ...project.devDependencies }))
    ok(/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version), `${name}: ${version}`);
  const shipped = others.filter(([, { dev }]) => dev !== true).map(([path]) => nameOf(path));
  deepEqual(shipped.sort(), Object.keys(project.dependencies).sort());
});
