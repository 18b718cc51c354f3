/** Who and what is in the way of an unmount: `node mount-users.scenarios.ts NAME` inside namespaces made by mount.test.ts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { readMounts } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import {
  children,
  directory,
  gone,
  log,
  mounted,
  number,
  play,
  probe,
  reasonOf,
  root,
  type Scenarios,
  sh,
  signal,
  started,
  stopped,
  user,
} from './mount-testing.ts';

export const scenarios: Scenarios = {
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

await play(scenarios);
