/** Judgements of the exchange between nodes, and what is read for them. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StateFile } from '../agent/state-file.ts';
import type { Declared } from './declared.ts';
import { type PeerFacts, peerFindings } from './peers.ts';
import { collides, type PeerQuestion, readPeers, udpSockets } from './read-peers.ts';
import { declaredBy, expectFindings } from './testing.ts';

type Expected = readonly [RegExp, RegExp?];

const here = declaredBy(['vip: 192.0.2.10/24']);
const sound: PeerFacts = {
  node: 'alice',
  stateDir: '/var/lib/holdfast',
  listen: { port: 7480 },
  addressHere: true,
  port: 'agent',
  agentRuns: true,
  known: new Map([['bob', '192.0.2.2, UDP port 7480']]),
  heardMs: { bob: 420 },
  exchanges: new Map([['bob', ['web']]]),
  told: true,
};
const listens: Expected = [/^ok UDP port 7480: the agent listens there, at every address/];

const table: readonly (readonly [string, Partial<PeerFacts>, ...Expected[]])[] = [
  ['as it should be', {}, listens, [/^ok bob: was heard 0\.4 s ago/]],
  [
    'at one address',
    { listen: { address: '192.0.2.1', port: 7481 } },
    [/^ok UDP port 7481: .*at 192\.0\.2\.1/],
    [/^ok bob/],
  ],
  [
    'with an address that the machine does not have',
    { listen: { address: '192.0.2.9', port: 7480 }, addressHere: false, port: 'free' },
    [
      /^error UDP port 7480: .*192\.0\.2\.9, which this machine does not have/,
      /correct `lan` in .*node\.json; then: systemctl/,
    ],
    [/^ok bob/],
  ],
  [
    'with a port that another program has',
    { port: { taken: 'dnsmasq (812)' } },
    [/^error UDP port 7480: dnsmasq \(812\) has it.*stops when the coordinator is away/, /"lan": \{"port": 7481\} in/],
    [/^ok bob/],
  ],
  [
    'of an agent that does not listen',
    { port: 'free' },
    [/^error UDP port 7480: the agent does not listen there/, /journalctl -u holdfast/],
    [/^ok bob/],
  ],
  [
    'of an agent that does not run',
    { port: 'free', agentRuns: false, heardMs: undefined },
    [/^ok UDP port 7480: is free for the agent/],
    [/^unknown peers: the agent does not run/],
  ],
  [
    'that the coordinator does not know of',
    { told: false },
    [/^warning UDP port 7480: .*the coordinator does not know it/, /reaches the coordinator/],
    [/^ok bob/],
  ],
  ['of which the coordinator was not asked', { told: undefined }, listens, [/^ok bob/]],
  [
    'without any peer known yet',
    { known: undefined },
    listens,
    [/^warning peers: the agent has not been told of any/, /reaches it/],
  ],
  [
    'with a node that has not told where it listens',
    { known: new Map() },
    listens,
    [/^warning bob: has told nobody where it listens/, /^on bob: holdfast doctor/],
  ],
  [
    'with a node that is silent',
    { heardMs: { bob: 33_000 } },
    listens,
    [
      /^warning bob: was heard 33\.0 s ago: an outage of the coordinator would stop web$/,
      /^let UDP through .*\(bob: 192\.0\.2\.2, UDP port 7480\).*`lan` in node\.json/,
    ],
  ],
  [
    'with a node that was never heard',
    { heardMs: { bob: null } },
    listens,
    [/^warning bob: was not heard since the agent started/, /^let UDP through/],
  ],
  [
    'with a node that nothing is exchanged with',
    { heardMs: { bob: null }, exchanges: new Map() },
    listens,
    [/^ok bob: nothing is exchanged with it now/],
  ],
  ['of an agent that does not tell', { heardMs: undefined }, listens, [/^unknown bob/]],
];
for (const [what, differs, ...expected] of table)
  test(`an exchange ${what}`, () => expectFindings(peerFindings({ ...sound, ...differs }, here), expected));

test('where no group may run elsewhere, or all require the uplink, no promise is needed', () => {
  const [group] = here.groups;
  assert.ok(group);
  const of = (differs: Partial<typeof group>): Declared => ({ ...here, groups: [{ ...group, ...differs }] });
  for (const declared of [of({ on: ['alice'] }), of({ requiresUplink: true })])
    expectFindings(peerFindings({ ...sound, port: 'free' }, declared), [
      [/^ok peers: no group here needs the promise/],
    ]);
});

test('sockets of the kernel are read, and known to be in the way', { skip: endianness() !== 'LE' }, () => {
  const heading =
    '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops';
  const line = (address: string) =>
    `  437: ${address} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 22334 2 0000000000000000 0`;
  const read = (address: string) => udpSockets(`${heading}\n${line(address)}\n`)[0];
  assert.deepEqual(read('0100007F:1D38'), { address: '127.0.0.1', port: 7480, inode: '22334' });
  assert.deepEqual(read('00000000000000000000000000000000:1D38'), { address: '::', port: 7480, inode: '22334' });
  assert.equal(read('B80D0120000000000000000007000000:1D39')?.address, '2001:db8::7');
  assert.equal(read('0000000000000000FFFF00000100007F:1D38')?.address, '127.0.0.1');
  const socket = (address: string, port = 7480) => ({ address, port, inode: '1' });
  for (const [found, listen, expected] of [
    [socket('127.0.0.1'), { port: 7480 }, true],
    [socket('::'), { address: '192.0.2.1', port: 7480 }, true],
    [socket('192.0.2.2'), { address: '192.0.2.1', port: 7480 }, false],
    [socket('2001:db8::7'), { address: '2001:0db8::0007', port: 7480 }, true],
    [socket('0.0.0.0', 7481), { port: 7480 }, false],
  ] as const)
    assert.equal(collides(found, listen), expected, JSON.stringify([found, listen]));
});

test('who has a port is found out, and where peers listen is read from the disk', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'holdfast-peers-test-'));
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  try {
    const { port } = socket.address();
    const question: PeerQuestion = {
      node: 'alice',
      stateDir,
      listen: { address: '127.0.0.1', port },
      agentPid: process.pid,
      seen: [],
      agentSays: undefined,
      exchanges: new Map(),
      told: undefined,
    };
    const facts = await readPeers(question);
    assert.deepEqual([facts.port, facts.addressHere, facts.known], ['agent', true, undefined]);
    const argv = ['/usr/sbin/dnsmasq', '-k'];
    const other = await readPeers({ ...question, agentPid: undefined, seen: [{ pid: process.pid, argv }] });
    assert.deepEqual(other.port, { taken: `dnsmasq (${process.pid})` });
    assert.deepEqual((await readPeers({ ...question, agentPid: undefined })).port, { taken: 'another program' });
    assert.equal((await readPeers({ ...question, listen: { address: '192.0.2.1', port } })).addressHere, false);
    const bob = { node: 'bob', addresses: ['192.0.2.2', '2001:db8::2'], port: 7480, key: 'A'.repeat(43) };
    await new StateFile(stateDir).savePeers({ version: 'v', list: [bob] });
    assert.equal((await readPeers(question)).known?.get('bob'), '192.0.2.2 or 2001:db8::2, UDP port 7480');
  } finally {
    socket.close();
    await rm(stateDir, { recursive: true });
  }
  assert.equal((await readPeers({ ...(await free(stateDir)), stateDir })).port, 'free');
});

async function free(stateDir: string): Promise<PeerQuestion> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return {
    node: 'alice',
    stateDir,
    listen: { port },
    agentPid: process.pid,
    seen: [],
    agentSays: { heardMs: {} },
    exchanges: new Map(),
    told: undefined,
  };
}
