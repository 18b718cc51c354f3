/** What the two packages consist of. */
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bashScript } from '../../node-agent/cli/completion/bash.ts';
import { fishScript } from '../../node-agent/cli/completion/fish.ts';
import { zshScript } from '../../node-agent/cli/completion/zsh.ts';
import type { Entry, PackageSpec, Script } from './deb.ts';
import { neededLibc } from './libc.ts';
import { manualPage } from './man-page.ts';
import { type BuiltIn, copyrightFile, importedPackages } from './notices.ts';

export interface Release {
  /** As dpkg compares it: a hyphen of a pre-release is a tilde. */
  readonly version: string;
  readonly architecture: string;
  /** Seconds: when what is packaged was last changed. */
  readonly epoch: number;
}

const root = resolve(import.meta.dirname, '../..');
const LIB = '/usr/lib/holdfast';
const UNITS = '/usr/lib/systemd/system';
const SCRIPTS: readonly Script[] = ['postinst', 'prerm', 'postrm'];
const NODE: BuiltIn = { name: 'Node.js', licenseFile: 'node_modules/node/node_modules/node-*/LICENSE' };
const WORKERD: BuiltIn = {
  name: 'workerd',
  terms: 'Apache License 2.0; https://github.com/cloudflare/workerd has it, and the terms of what workerd contains.',
};

/** Agent, guard and command line. @param dist where the build has put them. */
export async function nodePackage(dist: string, release: Release): Promise<PackageSpec> {
  const programs = ['holdfast', 'holdfast-guard', 'holdfast-drbd'].map((name) => join(dist, name));
  const source = sourceOf('holdfast');
  return {
    control: {
      ...shared('holdfast', release),
      // chrt, flock and setpriv are in util-linux, which every Debian has
      Depends: `libc6 (>= ${await neededLibc(programs)}), libgcc-s1, libstdc++6, iproute2, systemd`,
      Recommends: 'e2fsprogs',
      Suggests: 'holdfast-coordinator, resource-agents',
      Description: described('high availability for a handful of Linux machines', [
        'A coordinator decides who may run what; the agent on each node renews leases',
        'and starts or stops virtual IP addresses, file systems and services by the',
        'leases that it holds. When a machine dies, what it ran comes up on the next.',
        '',
        'This package has the agent, the guard that enforces the end of a lease, and',
        'the command line. It runs nothing before "holdfast join".',
      ]),
    },
    entries: [
      ...programs.map((from) => ({ path: `${LIB}/${from.slice(dist.length + 1)}`, from, mode: 0o755 })),
      { path: '/usr/bin/holdfast', link: '../lib/holdfast/holdfast' },
      { path: '/var/lib/holdfast', directory: true, mode: 0o700 },
      { path: `${UNITS}/holdfast.service`, content: await source('holdfast.service') },
      { path: `${UNITS}/holdfast-guard.service`, content: await source('holdfast-guard.service') },
      { path: '/etc/default/holdfast', content: await source('default') },
      { path: '/etc/needrestart/conf.d/holdfast.conf', content: await source('needrestart.conf') },
      { path: '/usr/share/bash-completion/completions/holdfast', content: `${bashScript}\n` },
      { path: '/usr/share/zsh/vendor-completions/_holdfast', content: `${zshScript}\n` },
      { path: '/usr/share/fish/vendor_completions.d/holdfast.fish', content: `${fishScript}\n` },
      manual('holdfast.8', await source('holdfast.8'), release),
      manual('holdfast-guard.8', await source('holdfast-guard.8'), release),
      { path: '/usr/share/doc/holdfast/examples/strict.conf', content: await source('strict.conf') },
      ...manuals(),
      ...(await documents('holdfast', release, [NODE, ...(await importedPackages(root))])),
    ],
    conffiles: ['/etc/default/holdfast', '/etc/needrestart/conf.d/holdfast.conf'],
    scripts: await maintainerScripts('holdfast'),
  };
}

/** The coordinator for a machine of one's own; `holdfast serve`, which runs it, is in the other package. */
export async function coordinatorPackage(dist: string, release: Release): Promise<PackageSpec> {
  const directory = join(dist, 'coordinator');
  const workerd = join(directory, 'workerd');
  const source = sourceOf('holdfast-coordinator');
  const imported = await importedPackages(root);
  return {
    control: {
      ...shared('holdfast-coordinator', release),
      Depends: `holdfast (= ${release.version}), ca-certificates, libc6 (>= ${await neededLibc([workerd])}), passwd, systemd`,
      Description: described('coordinator of Holdfast on a machine of your own', [
        'Decides which node of a Holdfast cluster may run what. The same coordinator',
        'runs on Cloudflare; this package is for a small machine of your own, which',
        'should not be one of the nodes.',
      ]),
    },
    entries: [
      { path: `${LIB}/coordinator/workerd`, from: workerd, mode: 0o755 },
      { path: `${LIB}/coordinator/worker.js`, from: join(directory, 'worker.js') },
      { path: `${LIB}/coordinator/config.capnp`, from: join(directory, 'config.capnp') },
      { path: `${UNITS}/holdfast-coordinator.service`, content: await source('holdfast-coordinator.service') },
      { path: '/usr/lib/sysusers.d/holdfast-coordinator.conf', content: await source('sysusers.conf') },
      { path: '/etc/default/holdfast-coordinator', content: await source('default') },
      manual('holdfast-coordinator.8', await source('holdfast-coordinator.8'), release),
      ...(await documents('holdfast-coordinator', release, [WORKERD, ...imported])),
    ],
    conffiles: ['/etc/default/holdfast-coordinator'],
    scripts: await maintainerScripts('holdfast-coordinator'),
  };
}

function sourceOf(name: string): (file: string) => Promise<string> {
  return async (file) => await readFile(join(root, 'packaging', name, file), 'utf8');
}

const MAINTAINER = 'Holdfast developers <holdfast@holdfast.invalid>';

function shared(name: string, { version, architecture }: Release) {
  return {
    Package: name,
    Version: version,
    Architecture: architecture,
    Maintainer: process.env.DEBEMAIL ?? MAINTAINER,
    Section: 'admin',
    Priority: 'optional',
  };
}

function described(summary: string, lines: readonly string[]): string {
  return [summary, ...lines.map((line) => ` ${line || '.'}`)].join('\n');
}

async function maintainerScripts(name: string): Promise<PackageSpec['scripts']> {
  const source = sourceOf(name);
  return Object.fromEntries(await Promise.all(SCRIPTS.map(async (script) => [script, await source(script)])));
}

function manual(name: string, source: string, { version, epoch }: Release): Entry {
  const section = name.split('.').at(-1);
  return { path: `/usr/share/man/man${section}/${name}.gz`, content: gzip(manualPage(source, version, epoch)) };
}

/** README and docs/ as they stand here, so that what messages and other texts point at is on the machine. */
function manuals(): Entry[] {
  const files = ['README.md', ...globSync('docs/**/*.{md,json}', { cwd: root }).toSorted()];
  return files.map((file) => ({ path: `/usr/share/doc/holdfast/${file}`, from: join(root, file) }));
}

async function documents(name: string, release: Release, builtIn: readonly BuiltIn[]): Promise<Entry[]> {
  const source = sourceOf(name);
  const changes = await readFile(join(root, 'CHANGELOG.md'), 'utf8');
  return [
    { path: `/usr/share/doc/${name}/copyright`, content: await copyrightFile(root, builtIn) },
    { path: `/usr/share/doc/${name}/changelog.gz`, content: gzip(debianChangelog(name, changes, release)) },
    { path: `/usr/share/lintian/overrides/${name}`, content: await source('lintian-overrides') },
  ];
}

/** The newest section of CHANGELOG.md in the form of deb-changelog(5). */
export function debianChangelog(name: string, changes: string, { version, epoch }: Release): string {
  const [, newest = ''] = changes.split(/^## .*$/m);
  const items = newest
    .trim()
    .split(/\n(?=- )/)
    .map((item) => item.replace(/^- /, '').split(/\n\s*/).join(' '));
  const date = new Date(epoch * 1_000).toUTCString().replace('GMT', '+0000');
  const text = items.map((item) => wrapped(item).join('\n')).join('\n');
  return `${name} (${version}) unstable; urgency=medium\n\n${text}\n\n -- ${process.env.DEBEMAIL ?? MAINTAINER}  ${date}\n`;
}

function wrapped(item: string): string[] {
  const lines: string[] = [];
  let line = '  *';
  for (const word of item.split(' ')) {
    if (line.length + 1 + word.length > 79) {
      lines.push(line);
      line = '   ';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** Without name and time in it, so that the same text gives the same bytes. */
function gzip(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}
