import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOurHandler } from './drbd-attend.ts';
import { addressOf, hostAt, optionOf, parseDrbdConfig } from './drbd-config.ts';
import { dumpXml } from './drbd-testing.ts';

test('resources, their hosts and options, with those of common beneath', () => {
  const read = parseDrbdConfig(dumpXml({ net: { timeout: '25' }, options: { 'auto-promote': 'no' } }));
  const r0 = read.get('r0');
  assert.ok(r0 !== undefined);
  assert.deepEqual([...read.keys()], ['r0']);
  assert.deepEqual(
    r0.hosts.map(({ name, addresses, volumes }) => [name, addresses, volumes]),
    [
      ['n1', ['10.77.0.1'], [{ number: 0, minor: 0, device: '/dev/drbd0' }]],
      ['n2', ['10.77.0.2'], [{ number: 0, minor: 0, device: '/dev/drbd0' }]],
    ],
  );
  assert.equal(optionOf(r0, 'fencing', 'net', 'disk'), 'resource-and-stonith');
  assert.equal(optionOf(r0, 'protocol', 'net'), 'C');
  assert.equal(optionOf(r0, 'timeout', 'net'), '25');
  assert.equal(optionOf(r0, 'auto-promote', 'options'), 'no');
  assert.equal(optionOf(r0, 'quorum', 'options'), undefined);
});

test('a configuration is alike on two nodes, wherever its files lie, and not alike when something that matters differs', () => {
  const digest = (xml: string) => parseDrbdConfig(xml).get('r0')?.digest;
  const mine = digest(dumpXml());
  assert.equal(
    digest(dumpXml().replace('/etc/drbd.d/r0.res:1', '/etc/drbd.d/other.res:9').replace('/dev/vdb', '/dev/sdc')),
    mine,
  );
  assert.notEqual(digest(dumpXml({ net: { timeout: '25' } })), mine);
  assert.notEqual(digest(dumpXml({ disk: {} })), mine);
  assert.notEqual(digest(dumpXml({ hosts: ['n1', 'n3'] })), mine);
});

test('characters that XML writes as entities', () => {
  const r0 = parseDrbdConfig(dumpXml({ handlers: { 'fence-peer': 'a &amp;&amp; &quot;b&quot; &lt;c&gt;' } })).get('r0');
  assert.equal(r0?.options.handlers?.['fence-peer'], 'a && "b" <c>');
});

test('what is no whole configuration is an error', () => {
  for (const text of ['', '<config file="x">', '<config><resource name="r0"></config>', 'no resources defined!'])
    assert.throws(() => parseDrbdConfig(text), /drbdadm dump-xml/, text);
  assert.equal(parseDrbdConfig('<config file="x">\n</config>').size, 0);
});

test('the machine of a connection, by its address or by its name', () => {
  const r0 = parseDrbdConfig(dumpXml()).get('r0');
  assert.ok(r0 !== undefined);
  assert.equal(addressOf('ipv4:10.77.0.2:7789'), '10.77.0.2');
  assert.equal(addressOf('ipv6:[2001:db8::2]:7789'), '2001:db8::2');
  assert.equal(hostAt(r0, 'n1', { address: '10.77.0.2', name: '' }), 'n2');
  assert.equal(hostAt(r0, 'n1', { address: undefined, name: 'peer' }), 'n2', 'of two it is the other');
  assert.equal(hostAt(r0, 'n2', { address: undefined, name: '' }), 'n1');
  const three = parseDrbdConfig(dumpXml({ hosts: ['n1', 'n2', 'n3'] })).get('r0');
  assert.ok(three !== undefined);
  assert.equal(hostAt(three, 'n1', { address: undefined, name: 'n3' }), 'n3');
  assert.equal(hostAt(three, 'n1', { address: '10.77.0.2', name: 'link' }), 'n2');
  assert.equal(hostAt(three, 'n1', { address: '10.9.9.9', name: 'elsewhere' }), 'elsewhere');
});

test('the handler is ours wherever the executable lies', () => {
  for (const ours of [
    '/usr/lib/holdfast/holdfast-drbd fence-peer',
    '/opt/holdfast-drbd --state-dir /srv/h fence-peer',
    '/usr/lib/holdfast/holdfast-drbd fence-peer --state-dir /x',
  ])
    assert.ok(isOurHandler(ours), ours);
  for (const other of [
    undefined,
    '/usr/lib/drbd/crm-fence-peer.9.sh',
    '/usr/bin/holdfast status',
    'echo notholdfast-drbd fence-peer',
    '/usr/bin/holdfast drbd fence-peer',
  ])
    assert.ok(!isOurHandler(other), other);
});
