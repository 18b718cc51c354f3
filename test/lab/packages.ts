/**
 * Debian packages for hosts, without installing them: the machine's package database, its files and its services stay
 * as they are. `apt-get` only downloads, `dpkg -x` unpacks beside, and each host overlays the result on the machine's
 * root. What maintainer scripts would have done (users, alternatives) is done per host, in `host-files.ts`.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, run } from './command.ts';
import { withLock } from './lock.ts';
import { cacheDir } from './paths.ts';

/** What OCF agents heartbeat:mysql and heartbeat:nginx, the demo and the tests need. */
export const labPackages: readonly string[] = [
  'mariadb-server',
  'mariadb-client',
  'nginx',
  'resource-agents',
  'iputils-arping',
  'iputils-ping',
  'iproute2',
  'procps',
  'psmisc',
  'curl',
  'openssl',
];

const archivesDir = join(cacheDir, 'archives');
const aptEnv = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };

/** Each list of packages has a stamp of its own, so that two of them do not make each other look again. */
function stampOf(packages: readonly string[]): string {
  if (sameList(packages, labPackages)) return join(cacheDir, 'packages.json');
  return join(cacheDir, `packages-${createHash('sha256').update(packages.join('\n')).digest('hex').slice(0, 12)}.json`);
}

/** What was unpacked, and how to see quickly that nothing has changed since. */
interface Stamp {
  packages: readonly string[];
  /** Changes whenever the machine's installed packages or its package lists do. */
  machine: string;
  /** name=version of every package that the machine itself does not have. */
  missing: readonly string[];
  root: string;
}

/**
 * Makes sure that the packages are unpacked and returns the directory, ready to be the upper of two read-only layers.
 * Instant when nothing changed; several processes may call it at once. Reports progress on standard error.
 */
export async function preparePackages(packages: readonly string[] = labPackages): Promise<string> {
  await mkdir(join(archivesDir, 'partial'), { recursive: true });
  const machine = await machineState();
  const known = await readStamp(packages);
  if (known && known.machine === machine && sameList(known.packages, packages)) return known.root;
  return await withLock('packages', async () => await unpackMissing(packages, machine));
}

async function unpackMissing(packages: readonly string[], machine: string): Promise<string> {
  let missing = await missingPackages(packages);
  if (missing === undefined) {
    progress('reading package lists (apt-get update)');
    await mustRun(['apt-get', 'update', '-qq'], { env: aptEnv });
    missing = await missingPackages(packages);
  }
  if (missing === undefined) throw new Error(`apt-get knows no candidate for one of: ${packages.join(' ')}`);
  const key = createHash('sha256').update(missing.join('\n')).digest('hex').slice(0, 12);
  const root = join(cacheDir, `root-${key}`);
  if (!(await exists(root))) await unpack(packages, missing, root);
  const stamp: Stamp = { packages, machine, missing, root };
  const stampFile = stampOf(packages);
  await writeFile(`${stampFile}.new`, JSON.stringify(stamp, null, 2));
  await rename(`${stampFile}.new`, stampFile);
  return root;
}

/** name=version of what an installation would add or upgrade, in a fixed order; undefined if apt knows no candidate. */
async function missingPackages(packages: readonly string[]): Promise<string[] | undefined> {
  const plan = await run(['apt-get', 'install', '--simulate', '--no-install-recommends', ...packages], { env: aptEnv });
  if (plan.code !== 0) return undefined;
  return [...plan.stdout.matchAll(/^Inst (\S+)(?: \[\S+\])? \((\S+)/gm)].map((m) => `${m[1]}=${m[2]}`).sort();
}

async function unpack(packages: readonly string[], missing: readonly string[], root: string): Promise<void> {
  const building = `${root}.building`;
  await rm(building, { recursive: true, force: true });
  await mkdir(building);
  if (missing.length > 0) {
    progress(`downloading ${missing.length} packages (they are not installed on this machine)`);
    const options = ['--yes', '--quiet=2', '--download-only', '--no-install-recommends'];
    options.push(
      '-o',
      `Dir::Cache::archives=${archivesDir}`,
      '-o',
      'APT::Sandbox::User=root',
      '-o',
      'DPkg::Lock::Timeout=300',
    );
    await mustRun(['apt-get', 'install', ...options, ...packages], { env: aptEnv });
    const archives = await archivesByPackage();
    for (const [index, wanted] of missing.entries()) {
      const archive = archives.get(wanted);
      if (archive === undefined) throw new Error(`${wanted} was not downloaded into ${archivesDir}`);
      if (index % 10 === 0) progress(`unpacking ${index + 1} of ${missing.length}`);
      await mustRun(['dpkg', '-x', archive, building]);
    }
  }
  await mergeUsr(building);
  await rename(building, root);
}

/** Packages still ship /bin, /sbin and /lib, which on the machine are links into /usr: moves their content there. */
async function mergeUsr(root: string): Promise<void> {
  for (const dir of ['bin', 'sbin', 'lib', 'lib32', 'lib64']) {
    if (!(await exists(join(root, dir)))) continue;
    await mkdir(join(root, 'usr', dir), { recursive: true });
    await mustRun(['cp', '-a', `${join(root, dir)}/.`, join(root, 'usr', dir)]);
    await rm(join(root, dir), { recursive: true });
  }
}

/** name=version → file. apt writes a colon in a version as %3a. */
async function archivesByPackage(): Promise<Map<string, string>> {
  const files = (await readdir(archivesDir)).filter((name) => name.endsWith('.deb'));
  return new Map(
    files.map((file) => {
      const [name, version] = decodeURIComponent(file).split('_');
      return [`${name}=${version}`, join(archivesDir, file)];
    }),
  );
}

async function machineState(): Promise<string> {
  const parts: string[] = [];
  for (const path of [
    '/var/lib/dpkg/status',
    '/var/lib/apt/lists',
    '/etc/apt/sources.list',
    '/etc/apt/sources.list.d',
  ]) {
    const info = await stat(path).catch(() => undefined);
    parts.push(`${path}:${info?.mtimeMs ?? 'none'}`);
  }
  return parts.join(' ');
}

async function readStamp(packages: readonly string[]): Promise<Stamp | undefined> {
  try {
    const stamp: Stamp = JSON.parse(await readFile(stampOf(packages), 'utf8'));
    return (await exists(stamp.root)) ? stamp : undefined;
  } catch {
    // No stamp, or one cut short by a crash: both mean "look again", which is always right and only slower.
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

function progress(text: string): void {
  process.stderr.write(`lab: ${text}\n`);
}
