/** What a file system goes through, with the kernel of this machine: `node mount.scenarios.ts NAME` inside namespaces made by mount.test.ts. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Addresses, Cgroups, deviceClaim, type Log, readMounts } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import type { MountDeclaration } from './declaration.ts';
import { MountResource } from './mount.ts';
import type { ResourceContext } from './ports.ts';
import type { Outcome, Probe } from './resource.ts';

const root = process.env.ROOT ?? '';
const number = process.env.DISK ?? '';
const disk = '/dev/disk0';
const directory = join(root, 'data');

const log: { readonly warned: string[] } & Log = {
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
const signal = (ms = 20_000) => AbortSignal.timeout(ms);

const sh = (command: string, ...args: string[]) =>
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

async function make(more: Partial<MountDeclaration> = {}): Promise<MountResource> {
  const resource = await MountResource.create(
    { type: 'mount', device: disk, directory, fstype: 'ext4', ...more },
    context,
  );
  if ('problem' in resource) throw new Error(resource.problem);
  return resource;
}

const probe = (resource: MountResource, recurring = false) => resource.probe({ recurring, signal: signal() });

async function started(more: Partial<MountDeclaration> = {}): Promise<MountResource> {
  const resource = await make(more);
  await resource.holdings();
  assert.deepEqual(await resource.start(signal()), { ok: true });
  return resource;
}

function reasonOf(result: Outcome | Probe): string {
  assert.ok('reason' in result, JSON.stringify(result));
  return `${result.severity}: ${result.reason}`;
}

const mounted = () =>
  readMounts()
    .filter((entry) => entry.device === number)
    .map((entry) => entry.mountPoint);
const children: ChildProcess[] = [];

/** A process that does what the shell script says and then sleeps; resolves when it has said so. */
async function user(
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

async function gone(pid: number): Promise<void> {
  await until(`process ${pid} ends`, () => !isAlive(pid));
}

/** Stops it, and says how long that took. */
async function stopped(resource: MountResource, how: 'stop' | 'forceStop' = 'stop'): Promise<void> {
  const from = performance.now();
  assert.deepEqual(await resource[how](signal()), { ok: true });
  console.log(`${how}: ${(performance.now() - from).toFixed(0)} ms`);
  assert.deepEqual(mounted(), []);
  assert.equal(await deviceClaim(disk), 'free');
  assert.deepEqual(await probe(resource), { state: 'stopped' });
}

export const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  'a life: stopped, mounted, seen, unmounted; each action twice is fine, and a missing mount point is made':
    async () => {
      const resource = await make();
      assert.deepEqual(await probe(resource), { state: 'stopped' });
      assert.deepEqual(await resource.holdings(), [{ kind: 'mount', path: directory, device: number }]);
      const from = performance.now();
      for (let n = 0; n < 2; n++) assert.deepEqual(await resource.start(signal()), { ok: true });
      console.log(`two starts: ${(performance.now() - from).toFixed(0)} ms`);
      assert.deepEqual(mounted(), [directory]);
      assert.deepEqual(await probe(resource), { state: 'running' });
      assert.deepEqual(await probe(resource, true), { state: 'running' });
      assert.deepEqual(await resource.holdings(), [{ kind: 'mount', path: directory, device: number }]);
      for (let n = 0; n < 2; n++) await stopped(resource);
    },

  'the device is told by its number: a link to it will do, and so will a link that has moved on': async () => {
    symlinkSync('disk0', '/dev/by-name');
    const resource = await started({ device: '/dev/by-name', options: 'noatime' });
    assert.deepEqual(await probe(resource), { state: 'running' });
    assert.ok(readMounts().some((entry) => entry.mountPoint === directory && entry.options.includes('noatime')));
    unlinkSync('/dev/by-name');
    const without = await probe(resource, true);
    assert.deepEqual(without, { state: 'running', note: 'the device /dev/by-name has gone from /dev' });
    symlinkSync('null', '/dev/by-name');
    await stopped(resource);
  },

  'a successor takes over what is mounted, and lets go of it': async () => {
    await started();
    const successor = await make();
    assert.deepEqual(await probe(successor), { state: 'running' });
    await stopped(successor);
  },

  'a device that is not there is a soft failure, and no failure once it is there': async () => {
    unlinkSync(disk);
    const resource = await make();
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    assert.deepEqual(await resource.holdings(), []);
    assert.match(reasonOf(await resource.start(signal())), /^soft: the device \/dev\/disk0 is not there/);
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    const [major = '', minor = ''] = number.split(':');
    sh('mknod', disk, 'b', major, minor);
    await resource.holdings();
    assert.deepEqual(await resource.start(signal()), { ok: true });
    await stopped(resource);
  },

  'what is not the declared file system on the declared device is refused, and says what it is': async () => {
    assert.match(
      reasonOf(await (await make({ fstype: 'xfs' })).start(signal())),
      /^hard: .* has a ext4 on it \(blkid\), not xfs/,
    );
    sh('dd', 'if=/dev/zero', `of=${disk}`, 'bs=1M', 'count=1', 'conv=fsync');
    assert.match(reasonOf(await (await make()).start(signal())), /^hard: .* no file system on it \(blkid finds none\)/);
    writeFileSync('/dev/file', '');
    assert.match(
      reasonOf(await (await make({ device: '/dev/file' })).start(signal())),
      /^hard: \/dev\/file is no block device/,
    );
    symlinkSync(join(root, 'elsewhere'), '/dev/out');
    sh('cp', '-a', disk, join(root, 'elsewhere'));
    assert.match(
      reasonOf(await (await make({ device: '/dev/out' })).start(signal())),
      /^hard: .*which is not under \/dev/,
    );
    assert.deepEqual(mounted(), []);
  },

  'a mount point that is a link, or lies behind one, is refused': async () => {
    mkdirSync(join(root, 'real'));
    symlinkSync(join(root, 'real'), directory);
    assert.match(
      reasonOf(await (await make()).start(signal())),
      /^hard: .*data is a link to .*real; name that directory/,
    );
    const behind = await make({ directory: join(directory, 'below') });
    assert.match(reasonOf(await behind.start(signal())), /^hard: .*data is a link to/);
    assert.ok(!existsSync(join(root, 'real/below')), 'nothing was made behind the link');
    writeFileSync(join(root, 'file'), '');
    assert.match(
      reasonOf(await (await make({ directory: join(root, 'file') })).start(signal())),
      /^hard: .*is no directory/,
    );
    assert.deepEqual(mounted(), []);
  },

  'a device that is mounted elsewhere is not mounted again, and that mount is left alone': async () => {
    const other = join(root, 'other');
    mkdirSync(other);
    sh('mount', disk, other);
    const pid = await user(`exec 9>${other}/file`);
    const resource = await make();
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    assert.deepEqual(await resource.holdings(), [], 'nothing that the guard might take down');
    assert.match(reasonOf(await resource.start(signal())), /^hard: \/dev\/disk0 is mounted already at .*other/);
    for (const how of ['stop', 'forceStop'] as const) assert.deepEqual(await resource[how](signal()), { ok: true });
    assert.deepEqual(mounted(), [other]);
    assert.ok(isAlive(pid));
  },

  'a device that is mounted in another mount namespace only is not mounted': async () => {
    mkdirSync(directory);
    const pid = await user(
      `unshare -m --propagation private sh -c 'mount ${disk} ${directory} && echo ready && exec sleep 1000'; exit`,
    );
    assert.deepEqual(mounted(), []);
    assert.match(reasonOf(await (await make()).start(signal())), /^hard: .*data in the mount namespace of process \d+/);
    assert.ok(isAlive(pid));
  },

  'another file system at the mount point, below or on top, is a hard failure with the command that mends it':
    async () => {
      mkdirSync(directory);
      sh('mount', '-t', 'tmpfs', 'other', directory);
      const resource = await make();
      assert.match(
        reasonOf(await probe(resource)),
        /^hard: other \(tmpfs, .*\) is mounted at .*data, not \/dev\/disk0; unmount it: umount /,
      );
      assert.match(reasonOf(await resource.start(signal())), /^hard: other \(tmpfs\) is mounted at/);
      assert.deepEqual(await resource.stop(signal()), { ok: true });
      assert.ok(
        readMounts().some((entry) => entry.source === 'other'),
        'somebody else’s mount stays',
      );
      sh('umount', directory);
      await started();
      sh('mount', '-t', 'tmpfs', 'other', directory);
      assert.match(reasonOf(await probe(resource)), /^hard: other .* is mounted over \/dev\/disk0 at/);
      await stopped(resource);
    },

  'unmounted by hand: it does not run any more': async () => {
    const resource = await started();
    assert.deepEqual(await probe(resource, true), { state: 'running' });
    sh('umount', directory);
    assert.deepEqual(await probe(resource, true), { state: 'stopped' });
    await stopped(resource);
  },

  'made read-only by hand: the monitor says so, and one that was asked for is fine': async () => {
    const resource = await started();
    sh('mount', '-o', 'remount,ro', directory);
    assert.match(reasonOf(await probe(resource, true)), /^soft: .*read-only/);
    await stopped(resource);
    const asked = await started({ options: 'ro' });
    assert.deepEqual(await probe(asked, true), { state: 'running' });
    await stopped(asked);
  },

  'made read-only by the kernel after an error: found, unmounted, checked, mounted again': async () => {
    const resource = await started({ options: 'errors=remount-ro' });
    const name = readlinkSync(`/sys/dev/block/${number}`).split('/').at(-1) ?? '';
    writeFileSync(`/sys/fs/ext4/${name}/trigger_fs_error`, 'a test');
    assert.match(reasonOf(await probe(resource, true)), /^soft: .*read-only.* after errors/);
    await stopped(resource);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    assert.ok(log.warned.some((text) => /is not clean; it is checked before the mount/.test(text)));
    assert.deepEqual(await probe(resource, true), { state: 'running' });
    await stopped(resource);
  },

  'a file system without a journal that was not unmounted is checked; one that is clean is not': async () => {
    sh('mkfs.ext4', '-q', '-F', '-O', '^has_journal', disk);
    await stopped(await started());
    assert.deepEqual(log.warned, []);
    sh('debugfs', '-w', '-R', 'set_super_value state 0', disk);
    await stopped(await started({ fsck: 'never' }));
    assert.deepEqual(log.warned, []);
    sh('debugfs', '-w', '-R', 'set_super_value state 0', disk);
    await stopped(await started());
    assert.match(log.warned.join(), /e2fsck -p/);
  },

  'damage that needs a decision is refused with what e2fsck said': async () => {
    for (const request of ['clri <2>', 'set_super_value state 2']) sh('debugfs', '-w', '-R', request, disk);
    const outcome = await (await make()).start(signal());
    assert.match(
      reasonOf(outcome),
      /^hard: .*damaged beyond what is mended unasked; check it by hand: e2fsck \/dev\/disk0/,
    );
    assert.match('output' in outcome ? (outcome.output ?? '') : '', /INCONSISTENCY|Root inode/);
    assert.deepEqual(mounted(), []);
  },

  'an option that the file system does not know fails the start with what mount says': async () => {
    assert.match(
      reasonOf(await (await make({ options: 'nonsense' })).start(signal())),
      /^soft: mount: .*(bad option|wrong fs type)/,
    );
    assert.deepEqual(mounted(), []);
  },

  'who uses it ends on SIGTERM: open file, working directory, root, program, socket; nobody else does': async () => {
    const resource = await started();
    mkdirSync(join(directory, 'dir'));
    sh('cp', '/bin/sleep', join(directory, 'program'));
    mkdirSync(`${directory}2`);
    // They name the path, have a neighbour's path, or had a file open that they have closed.
    const strangers = [
      await user(':', { args: [directory, `${directory}/file`] }),
      await user(`exec 9>${directory}2/file`, { cwd: `${directory}2` }),
      await user(`exec 9>${directory}/dir/closed; exec 9>&-`),
      await user(':', { cwd: root }),
    ];
    const users = [
      await user(`exec 9>${directory}/open`),
      await user(`exec 9>${directory}/deleted; rm ${directory}/deleted`),
      await user(':', { cwd: join(directory, 'dir') }),
    ];
    const program = spawn(join(directory, 'program'), ['1000'], { cwd: '/', stdio: 'ignore' });
    children.push(program);
    await until('the program runs', () => readlinkSync(`/proc/${program.pid}/exe`).endsWith('/data/program'));
    const socket = spawn(
      process.execPath,
      [
        '-e',
        `require('net').createServer().listen(${JSON.stringify(join(directory, 'socket'))}, () => console.log('ready'))`,
      ],
      { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(socket);
    await new Promise((resolve) => socket.stdout.once('data', resolve));
    await stopped(resource);
    for (const pid of [...users, program.pid, socket.pid]) await gone(pid ?? 0);
    for (const pid of strangers) assert.ok(isAlive(pid), `${pid} had nothing to do with it`);
    assert.ok(!log.warned.some((text) => text.includes('SIGKILL')), log.warned.join('\n'));
    for (const what of ['its open file', 'its working directory', 'its program', 'a socket'])
      assert.ok(
        log.warned.some((text) => text.includes(what)),
        `${what} in ${log.warned.join('\n')}`,
      );
  },

  'a mapped file keeps it busy although it is closed': async () => {
    const resource = await started();
    sh('cp', '/bin/sleep', join(directory, 'program'));
    // Run by the loader: the program is a mapped file of it and neither its executable nor open.
    const loader =
      sh('sh', '-c', 'ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null || true').split('\n')[0] ??
      '';
    const child = spawn(loader, [join(directory, 'program'), '1000'], { cwd: '/', stdio: 'ignore' });
    children.push(child);
    await until('it is mapped', () => readFileSync(`/proc/${child.pid}/maps`, 'utf8').includes('/data/program'));
    await stopped(resource);
    await gone(child.pid ?? 0);
    assert.match(log.warned.join(), /its mapped file .*data\/program/);
  },

  'a chrooted process uses it': async () => {
    const resource = await started();
    sh('mkdir', '-p', ...['bin', 'lib', 'lib64', 'usr'].map((name) => join(directory, 'jail', name)));
    for (const name of ['bin', 'lib', 'lib64', 'usr'])
      sh('mount', '--rbind', `/${name}`, join(directory, 'jail', name));
    const child = spawn('chroot', [join(directory, 'jail'), '/bin/sh', '-c', 'echo ready; read x'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await stopped(resource);
    await gone(child.pid ?? 0);
    assert.ok(existsSync('/bin/sh') && existsSync('/usr/bin'), 'what was bound into it is still where it belongs');
  },

  'who ignores SIGTERM gets SIGKILL when its time is over': async () => {
    const resource = await started({ timeouts: { stopMs: 1_000 } });
    const pid = await user(`trap '' TERM; exec 9>${directory}/open`);
    await stopped(resource);
    await gone(pid);
    const signals = log.warned.map((text) => /SIG\w+/.exec(text)?.[0]);
    assert.deepEqual(signals, ['SIGTERM', 'SIGKILL']);
  },

  'a forced stop kills at once, and only who uses it': async () => {
    const resource = await started();
    const stranger = await user(':', { cwd: root });
    const pid = await user(`trap '' TERM; exec 9>${directory}/open`);
    await stopped(resource, 'forceStop');
    await gone(pid);
    assert.ok(isAlive(stranger));
    assert.match(log.warned.join(), /^mount-.*: SIGKILL to /);
  },

  'what is mounted inside goes first, and a bind mount of the root inside kills nobody outside': async () => {
    const resource = await started();
    const names = ['one', 'one/two', 'root'].map((name) => join(directory, name));
    const [one = '', two = '', bound = ''] = names;
    mkdirSync(one);
    sh('mount', '-t', 'tmpfs', 'nested', one);
    mkdirSync(two);
    sh('mount', '-t', 'tmpfs', 'nested', two);
    mkdirSync(bound);
    sh('mount', '--bind', '/', bound);
    const inside = [await user(':', { cwd: two }), await user(':', { cwd: join(bound, 'usr') })];
    const stranger = await user(':', { cwd: '/usr' });
    await stopped(resource);
    for (const pid of inside) await gone(pid);
    assert.ok(isAlive(stranger), 'a process on the root file system has nothing to do with a bind mount of it');
    assert.ok(!readMounts().some((entry) => entry.source === 'nested'));
  },

  'bind mounts of it elsewhere go too, also when it was unmounted by hand before': async () => {
    const resource = await started();
    const places = ['bound', 'part'].map((name) => join(root, name));
    const [bound = '', part = ''] = places;
    mkdirSync(join(directory, 'sub'));
    for (const place of places) mkdirSync(place);
    sh('mount', '--bind', directory, bound);
    sh('mount', '--bind', join(directory, 'sub'), part);
    const pid = await user(`exec 9>${part}/open`);
    sh('umount', directory);
    assert.match(
      reasonOf(await probe(resource, true)),
      /^soft: .* is not mounted any more, but \/dev\/disk0 still is at/,
    );
    await stopped(resource);
    await gone(pid);
  },

  'a mount that a private namespace has kept goes too': async () => {
    const resource = await started();
    const pid = await user(`unshare -m --propagation private sh -c 'echo ready && exec sleep 1000'; exit`);
    const inside = () => sh('sh', '-c', `cat /proc/[0-9]*/mountinfo | grep -c ' ${number} ' || true`).trim();
    assert.notEqual(inside(), '0');
    await stopped(resource);
    assert.equal(inside(), '0');
    assert.ok(isAlive(pid), 'nobody had to die for it');
  },

  'a loop device on a file of it, mounted or not, is taken down first': async () => {
    const resource = await started();
    const made = ['inner.img', 'idle.img'].map((name) => {
      const image = join(directory, name);
      sh('truncate', '-s', '8M', image);
      sh('mkfs.ext4', '-q', '-F', image);
      return sh('losetup', '--find', '--show', image).trim();
    });
    const [inner = ''] = made;
    const place = join(root, 'inner');
    mkdirSync(place);
    sh('mount', inner, place);
    const pid = await user(`exec 9>${place}/open`);
    await stopped(resource);
    await gone(pid);
    for (const path of made)
      assert.ok(!existsSync(`/sys/block/${path.slice(5)}/loop/backing_file`), `${path} has no file any more`);
  },

  'a stop that has no time left says who is in the way; the next one goes on': async () => {
    const resource = await started();
    const pid = await user(`trap '' TERM; exec 9>${directory}/open`);
    assert.match(
      reasonOf(await resource.stop(signal(400))),
      /^soft: .*data is still used by (sh|sleep) \(\d+, its open file .*data\/open\)/,
    );
    assert.deepEqual(mounted(), [directory]);
    assert.deepEqual(await probe(resource), { state: 'running' });
    await stopped(resource, 'forceStop');
    await gone(pid);
  },

  'the agent itself is never signalled: it is named, and the stop fails': async () => {
    const resource = await started();
    const held = openSync(join(directory, 'agent'), 'w');
    for (const how of ['stop', 'forceStop'] as const)
      assert.match(
        reasonOf(await resource[how](signal())),
        /^soft: .*\(1, its open file .*\), which is never signalled/,
      );
    closeSync(held);
    await stopped(resource);
  },
};

const scenario = scenarios[process.argv[2] ?? ''];
if (scenario !== undefined) {
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
