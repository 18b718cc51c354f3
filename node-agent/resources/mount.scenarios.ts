/** What a file system goes through, with the kernel of this machine: `node mount.scenarios.ts NAME` inside namespaces made by mount.test.ts. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readlinkSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMounts } from '../system/index.ts';
import { isAlive } from '../system/testing.ts';
import {
  directory,
  disk,
  log,
  make,
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
};

await play(scenarios);
