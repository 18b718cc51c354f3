import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Cgroup, Cgroups, cgroupName, findCgroup2Mount, killOneByOne, ownCgroup } from './cgroup.ts';
import { isAlive, noCgroups, testCgroups, until } from './testing.ts';

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:5 - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw`;

test('cgroup v2 is found where a hybrid system keeps it, in a container, and under a path with blanks', () => {
  assert.equal(findCgroup2Mount(hybrid)?.mountPoint, '/sys/fs/cgroup/unified');
  assert.equal(findCgroup2Mount('30 23 0:26 / /my\\040cgroups rw - cgroup2 none rw')?.mountPoint, '/my cgroups');
  assert.equal(findCgroup2Mount('31 23 0:28 / / rw - ext4 /dev/cgroup2 rw'), undefined);
  assert.equal(
    ownCgroup(hybrid, '4:memory:/x\n0::/system.slice/holdfast.service\n'),
    '/sys/fs/cgroup/unified/system.slice/holdfast.service',
  );
  const container = '30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw';
  assert.equal(ownCgroup(container, '0::/docker/abc/init\n'), '/sys/fs/cgroup/init');
  assert.equal(ownCgroup(container, '0::/\n'), '/sys/fs/cgroup');
});

test('an agent started by one of its own groups does not build its tree inside that group', () => {
  assert.equal(ownCgroup(hybrid, '0::/a/holdfast-groups/db/nginx\n'), '/sys/fs/cgroup/unified/a');
});

test('no name of a resource is a way out, a file of the kernel, or the place of the operations', () => {
  assert.equal(cgroupName('vip-2001:db8::10'), 'vip-2001:db8::10');
  assert.equal(cgroupName('mount-/srv/a b'), 'mount-%2fsrv%2fa%20b');
  assert.equal(cgroupName('..'), '%2e.');
  assert.equal(cgroupName('.ops'), '%2eops');
  assert.equal(cgroupName('cgroup.procs'), 'cgroup%2eprocs');
  assert.equal(cgroupName('memory.max'), 'memory%2emax');
});

/** A process in the cgroup that forks two more. */
async function populate(cgroup: Cgroup): Promise<number[]> {
  cgroup.create();
  const child = spawn('/bin/sh', ['-c', 'sleep 60 & sleep 60 & wait'], { stdio: 'ignore' });
  assert.ok(child.pid !== undefined);
  writeFileSync(join(cgroup.path, 'cgroup.procs'), String(child.pid));
  // The first two may have been forked before the move.
  const { pid } = child;
  const children = () =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter((text) => text !== '')
      .map(Number);
  await until('both children run', () => children().length === 2);
  for (const forked of children()) writeFileSync(join(cgroup.path, 'cgroup.procs'), String(forked));
  return [pid, ...children()];
}

test('cgroups', { skip: noCgroups() }, async (t) => {
  const tree = testCgroups();

  await t.test('killing a group ends daemons and operations with all they forked', async () => {
    const group = tree.group('db');
    const pids = [...(await populate(group.resource('mysql'))), ...(await populate(group.operation()))];
    assert.ok(group.populated());
    assert.ok(await group.kill());
    assert.deepEqual(pids.filter(isAlive), []);
    assert.ok(group.remove());
    assert.ok(!existsSync(group.path));
  });

  await t.test('a kernel without cgroup.kill has them killed one by one', async () => {
    const cgroup = tree.group('old').resource('r');
    const pids = await populate(cgroup);
    assert.ok(await killOneByOne(cgroup.path));
    assert.deepEqual(pids.filter(isAlive), []);
  });

  await t.test(
    'the end of the last process is told within milliseconds, also of a life too short to be seen',
    async () => {
      const cgroup = tree.group('w').resource('r');
      const pids = await populate(cgroup);
      let told = 0;
      const end = cgroup.watchEmpty(() => {
        told += 1;
      });
      process.kill(pids[1] ?? 0, 'SIGKILL');
      await until('one is gone', () => !isAlive(pids[1] ?? 0));
      assert.equal(told, 0);
      const killedAt = performance.now();
      for (const pid of [pids[0], pids[2]]) process.kill(pid ?? 0, 'SIGKILL');
      await until('told', () => told > 0);
      t.diagnostic(`populated → empty seen after ${(performance.now() - killedAt).toFixed(1)} ms`);
      told = 1;
      await populate(cgroup);
      await cgroup.kill();
      await until('told again', () => told > 1);
      end();
    },
  );

  await t.test('a cgroup that was never made is empty, and can be killed and removed', async () => {
    const cgroup = tree.group('none').resource('r');
    assert.ok(!cgroup.populated());
    assert.ok(await cgroup.kill());
    assert.ok(cgroup.remove());
    assert.deepEqual(cgroup.processNames(), []);
  });

  await t.test('the cgroup of an operation that left something behind goes when that has ended', async () => {
    const group = tree.group('left');
    const operation = group.operation();
    await populate(operation);
    assert.ok(!operation.remove());
    await operation.kill();
    const next = group.operation();
    assert.ok(!existsSync(operation.path));
    assert.ok(next.remove());
  });

  await t.test('two operations of a group at once are two cgroups, whoever asked for them', () => {
    const [one, two] = [tree.group('two').operation(), tree.group('two').operation()];
    assert.notEqual(one.path, two.path);
    assert.ok(one.remove() && two.remove());
  });

  await t.test('the tree is located below the cgroup of this process', () => {
    const located = Cgroups.locate();
    assert.ok('root' in located);
    assert.match(located.root, /\/holdfast-groups$/);
  });
});

test('an operation that was just given its cgroup keeps it when the next one tidies up', { skip: noCgroups() }, () => {
  const cgroups = testCgroups();
  const group = cgroups.group('race');
  const first = group.operation();
  const second = group.operation();
  assert.ok(existsSync(first.path), 'still empty, and under way');
  first.remove();
  second.remove();
  cgroups.all().remove();
});
