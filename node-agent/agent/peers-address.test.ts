import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { peerSchema } from '../../schemas/peer.ts';
import { publicPeerKey } from './peer-key.ts';
import { reachableAt } from './peers.ts';
import { Host, NO_EXCLUSIONS } from './peers-testing.ts';

describe('where a node is found', () => {
  type Info = NonNullable<ReturnType<typeof networkInterfaces>[string]>[number];
  const four = (address: string, internal = false): Info => ({
    ...{ address, netmask: '255.255.255.0', family: 'IPv4', mac: '00:00:00:00:00:00', internal, cidr: null },
  });
  const six = (address: string, internal = false): Info => ({
    ...{ address, netmask: 'ffff::', family: 'IPv6', mac: '00:00:00:00:00:00', internal, cidr: null, scopeid: 0 },
  });
  const interfaces = {
    lo: [four('127.0.0.1', true), six('::1', true)],
    eth0: [six('2001:db8::5'), six('fe80::1'), four('192.0.2.5'), four('192.0.2.100')],
    eth1: [four('10.0.0.5'), four('169.254.3.4'), six('fd00::100'), six('fd00::5'), six('febf::1')],
  };

  it('are its addresses, IPv4 first, without those that only this host or this link knows', () => {
    assert.deepEqual(reachableAt(interfaces, NO_EXCLUSIONS), [
      ...['192.0.2.5', '192.0.2.100', '10.0.0.5'],
      ...['2001:db8::5', 'fd00::100', 'fd00::5'],
    ]);
  });

  it('without virtual addresses, however those are written', () => {
    assert.deepEqual(reachableAt(interfaces, new Set(['192.0.2.100', 'FD00:0::0100'])), [
      ...['192.0.2.5', '10.0.0.5'],
      ...['2001:db8::5', 'fd00::5'],
    ]);
  });

  it('of the family that it listens on', () => {
    assert.deepEqual(reachableAt(interfaces, NO_EXCLUSIONS, 'IPv6'), ['2001:db8::5', 'fd00::100', 'fd00::5']);
  });

  it('no more than are told', () => {
    const many = { eth0: Array.from({ length: 20 }, (_, n) => four(`10.0.0.${n + 1}`)) };
    assert.equal(reachableAt(many, NO_EXCLUSIONS).length, 8);
  });

  it('is the one that it was told to listen on, or those of this host', async () => {
    const told = await Host.start('alice');
    assert.deepEqual(told.peer.addresses, ['127.0.0.1']);
    assert.equal(told.peer.key, publicPeerKey(told.key));
    assert.ok(peerSchema.safeParse(told.peer).success);
    for (const address of [undefined, '::', '0.0.0.0']) {
      const host = await Host.start('bob', { address });
      assert.deepEqual(host.peer.addresses, reachableAt(networkInterfaces(), NO_EXCLUSIONS));
    }
  });
});
