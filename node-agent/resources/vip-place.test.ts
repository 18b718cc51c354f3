import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkInterface } from '../system/index.ts';
import { choosePlace, parseVipAddress } from './vip-place.ts';

function link(name: string, addresses: readonly string[], more: Partial<NetworkInterface> = {}): NetworkInterface {
  return {
    name,
    up: true,
    loopback: name === 'lo',
    neighbours: true,
    addresses: addresses.map((text) => {
      const [address = '', prefix] = text.split('/');
      return {
        family: address.includes(':') ? 6 : 4,
        address,
        prefixLength: Number(prefix),
        tentative: false,
        dadFailed: false,
        finite: false,
      };
    }),
    ...more,
  };
}

function choose(vip: string, interfaces: readonly NetworkInterface[], wanted?: string): string {
  const parsed = parseVipAddress(vip);
  if ('problem' in parsed) return parsed.problem;
  const place = choosePlace(interfaces, parsed, wanted);
  return 'problem' in place ? `${place.severity}: ${place.problem}` : `${place.interface}/${place.prefixLength}`;
}

const lo = link('lo', ['127.0.0.1/8']);
const lan = link('eth0', ['192.0.2.1/24', '2001:db8::1/64', 'fe80::1/64']);
const wan = link('eth1', ['198.51.100.1/24']);

test('the interface is found by its subnet, and the address becomes a single one there', () => {
  assert.equal(choose('192.0.2.10/24', [lo, wan, lan]), 'eth0/32');
  assert.equal(choose('2001:DB8:0::0:10/64', [lo, wan, lan]), 'eth0/128');
  assert.equal(choose('192.0.2.10/32', [lan, wan]), 'eth0/32');
});

test('the network of the interface counts before the declared one', () => {
  const one = link('a', ['10.0.1.1/24']);
  const two = link('b', ['10.0.2.1/24']);
  assert.equal(choose('10.0.1.5/16', [one, two]), 'a/32');
  assert.equal(choose('10.0.3.5/16', [one]), 'a/32');
  assert.match(choose('10.0.3.5/16', [one, two]), /^hard: a and b are both in the subnet of 10.0.3.5\/16; name one/);
});

test('no interface: the message lists what was seen', () => {
  assert.equal(
    choose('203.0.113.5/24', [lo, lan, link('eth2', [], { up: false })]),
    'soft: no interface that is up has an address in the subnet of 203.0.113.5/24; seen: eth0 (192.0.2.1/24, 2001:db8::1/64, fe80::1/64); eth2 (down, no address)',
  );
});

test('an interface that is down is no candidate', () => {
  assert.match(choose('192.0.2.10/24', [lo, { ...lan, up: false }]), /^soft: no interface that is up/);
  assert.match(choose('192.0.2.10/24', [{ ...lan, up: false }], 'eth0'), /^soft: the link of eth0 is down/);
});

test('two interfaces in the subnet are refused by name unless one is declared', () => {
  const second = link('eth9', ['192.0.2.2/24']);
  assert.match(choose('192.0.2.10/24', [lan, second]), /^hard: eth0 and eth9 are both in the subnet/);
  assert.equal(choose('192.0.2.10/24', [lan, second], 'eth9'), 'eth9/32');
  assert.match(choose('192.0.2.10/24', [lan], 'eth7'), /^soft: there is no interface eth7/);
});

test('on an interface without another address of the subnet the declared prefix length is used', () => {
  assert.equal(choose('192.0.2.10/24', [wan], 'eth1'), 'eth1/24');
  assert.equal(choose('192.0.2.10/24', [link('eth1', ['192.0.2.10/24'])], 'eth1'), 'eth1/24');
});
