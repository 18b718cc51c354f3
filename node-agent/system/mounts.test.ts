import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import {
  deviceNumber,
  escapeOctal,
  findDevice,
  liesOn,
  type MountEntry,
  mountsWithAllUpon,
  parseMountinfo,
  readMounts,
  topAt,
  unescapeOctal,
} from './mounts.ts';

const MOUNTINFO = String.raw`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 7:3 / /srv/with\040blank\011tab\134back rw,noatime shared:20 master:3 - ext4 /dev/loop3 rw,errors=remount-ro
41 40 0:50 / /srv/with\040blank\011tab\134back/tmp rw - tmpfs tmp\040fs rw,size=1k
42 22 7:3 /sub /bound ro,relatime - ext4 /dev/loop3 rw,errors=remount-ro
cut short 22 7:3
`;

test('mountinfo: fields, escapes, optional fields; a line that is cut short is left out', () => {
  const mounts = parseMountinfo(MOUNTINFO);
  assert.equal(mounts.length, 4);
  assert.deepEqual(mounts[1], {
    id: 40,
    parent: 22,
    device: '7:3',
    root: '/',
    mountPoint: '/srv/with blank\ttab\\back',
    options: ['rw', 'noatime'],
    fstype: 'ext4',
    source: '/dev/loop3',
    superOptions: ['rw', 'errors=remount-ro'],
  });
  assert.deepEqual([mounts[2]?.source, mounts[3]?.root, mounts[3]?.options], ['tmp fs', '/sub', ['ro', 'relatime']]);
});

test('escaping is what the kernel does, and undone', () => {
  for (const path of ['/srv/a', '/srv/with blank\ttab\\back\nline', '/srv/\\040']) {
    assert.match(escapeOctal(path), /^[^\s]+$/);
    assert.equal(unescapeOctal(escapeOctal(path)), path);
  }
  assert.equal(escapeOctal('/a b'), '/a\\040b');
});

const entry = (id: number, parent: number, device: string, mountPoint: string): MountEntry => ({
  ...{ id, parent, device, mountPoint, root: '/', options: ['rw'], fstype: 'ext4', source: 'x', superOptions: ['rw'] },
});

test('what is upon a file system goes before it, whatever the order in which the kernel lists the mounts', () => {
  const mounts = [
    entry(9, 7, '0:9', '/srv/a/b'),
    entry(1, 0, '254:0', '/'),
    entry(7, 5, '0:7', '/srv/a'),
    entry(5, 1, '7:1', '/srv/a'),
    entry(6, 1, '7:1', '/bound'),
    entry(8, 1, '7:2', '/srv/ab'),
  ];
  const order = mountsWithAllUpon(mounts, '7:1')
    .toReversed()
    .map(({ id }) => id);
  assert.deepEqual(order.slice(0, 2), [9, 7]);
  assert.deepEqual(order.toSorted(), [5, 6, 7, 9]);
  assert.equal(topAt(mounts, '/srv/a')?.id, 7);
  assert.equal(topAt(mounts, '/srv/ab')?.id, 8);
  assert.equal(topAt(mounts, '/srv'), undefined);
  const circle = [entry(1, 2, '7:1', '/a'), entry(2, 1, '7:2', '/b')];
  assert.equal(mountsWithAllUpon(circle, '7:1').length, 2, 'a list that was read while it changed ends all the same');
});

test('a path lies on a directory by whole names', () => {
  assert.ok(liesOn('/srv/data', ['/srv/data']) && liesOn('/srv/data/x', ['/mnt', '/srv/data']));
  assert.ok(!liesOn('/srv/data2', ['/srv/data']) && !liesOn('/srv', ['/srv/data']));
});

test('device numbers are those that the kernel shows', () => {
  assert.deepEqual(
    [deviceNumber(0x0701), deviceNumber(0x10_0000 + 0x0801), deviceNumber(0xfe00)],
    ['7:1', '8:257', '254:0'],
  );
  const { dev } = statSync('/proc/self');
  assert.ok(readMounts().some(({ device, fstype }) => fstype === 'proc' && device === deviceNumber(dev)));
});

test('a device that is missing, and one that is none, are told apart', () => {
  assert.deepEqual(findDevice('/dev/no-such-device'), { is: 'missing' });
  assert.equal(findDevice('/dev/null').is, 'other');
  assert.equal(findDevice('/etc/passwd').is, 'other');
});
