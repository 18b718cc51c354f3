/** For the scenarios of file systems: a file system on a loop device, a /dev of its own, and those who use it. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { Addresses, Cgroups, deviceClaim, type Log, readMounts } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import type { MountDeclaration } from './declaration.ts';
import { MountResource } from './mount.ts';
import type { ResourceContext } from './ports.ts';
import type { Outcome, Probe } from './resource.ts';

export const root = process.env.ROOT ?? '';
export const number = process.env.DISK ?? '';
export const disk = '/dev/disk0';
export const directory = join(root, 'data');

export const log: { readonly warned: string[] } & Log = {
  warned: [],
  info: () => undefined,
  warn(message) {
    this.warned.push(message);
  },
};

const located = Cgroups.locate();
const cgroups = 'problem' in located ? undefined : new Cgroups(join(located.root, `mount-${number.replace(':', '-')}`));
const context: ResourceContext = {
  group: 'g',
  announcer: { announce: async () => undefined, probe: async () => ({ taken: false }) },
  addresses: new Addresses(),
  cgroups,
  lifetimeSeconds: () => 10,
  log,
};
export const signal = (ms = 20_000) => AbortSignal.timeout(ms);

export const sh = (command: string, ...args: string[]) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** A /dev of its own, so that a device can go and come back. */
function ownDev(): void {
  const dev = join(root, 'dev');
  const node = (name: string, type: string, major: string, minor: string) =>
    sh('mknod', join(dev, name), type, major, minor);
  sh('mount', '-t', 'tmpfs', 'tmpfs', dev);
  node('null', 'c', '1', '3');
  node('zero', 'c', '1', '5');
  node('urandom', 'c', '1', '9');
  node('loop-control', 'c', '10', '237');
  for (let n = 0; n < 64; n++) node(`loop${n}`, 'b', '7', String(n));
  const [major = '', minor = ''] = number.split(':');
  node('disk0', 'b', major, minor);
  sh('mount', '--move', dev, '/dev');
}

export async function make(more: Partial<MountDeclaration> = {}): Promise<MountResource> {
  const resource = await MountResource.create(
    { type: 'mount', device: disk, directory, fstype: 'ext4', ...more },
    context,
  );
  if ('problem' in resource) throw new Error(resource.problem);
  return resource;
}

export const probe = (resource: MountResource, recurring = false) => resource.probe({ recurring, signal: signal() });

export async function started(more: Partial<MountDeclaration> = {}): Promise<MountResource> {
  const resource = await make(more);
  await resource.holdings();
  assert.deepEqual(await resource.start(signal()), { ok: true });
  return resource;
}

export function reasonOf(result: Outcome | Probe): string {
  assert.ok('reason' in result, JSON.stringify(result));
  return `${result.severity}: ${result.reason}`;
}

export const mounted = () =>
  readMounts()
    .filter((entry) => entry.device === number)
    .map((entry) => entry.mountPoint);
export const children: ChildProcess[] = [];

/** A process that does what the shell script says and then sleeps; resolves when it has said so. */
export async function user(
  script: string,
  options: { readonly cwd?: string; readonly args?: readonly string[] } = {},
): Promise<number> {
  const child = spawn('/bin/sh', ['-c', `${script}; echo ready; exec sleep 1000`, ...(options.args ?? [])], {
    cwd: options.cwd ?? '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  assert.ok(child.pid !== undefined);
  const said = await new Promise((resolve) => child.stdout.once('data', (text: Buffer) => resolve(String(text))));
  assert.equal(said, 'ready\n');
  return child.pid;
}

export async function gone(pid: number): Promise<void> {
  await until(`process ${pid} ends`, () => !isAlive(pid));
}

/** Stops it, and says how long that took. */
export async function stopped(resource: MountResource, how: 'stop' | 'forceStop' = 'stop'): Promise<void> {
  const from = performance.now();
  assert.deepEqual(await resource[how](signal()), { ok: true });
  console.log(`${how}: ${(performance.now() - from).toFixed(0)} ms`);
  assert.deepEqual(mounted(), []);
  assert.equal(await deviceClaim(disk), 'free');
  assert.deepEqual(await probe(resource), { state: 'stopped' });
}

export type Scenarios = Readonly<Record<string, () => Promise<void>>>;

/** Plays the scenario that the command line names; none when it names none, as in mount.test.ts. */
export async function play(scenarios: Scenarios): Promise<void> {
  const scenario = scenarios[process.argv[2] ?? ''];
  if (scenario === undefined) return;
  let code = 0;
  ownDev();
  try {
    await scenario();
  } catch (error) {
    console.error(error);
    code = 1;
  } finally {
    for (const child of children) child.kill('SIGKILL');
    const all = cgroups?.all();
    await all?.kill();
    all?.remove();
  }
  // It is the first process of its namespace: with it ends everything that it has started.
  process.exit(code);
}
