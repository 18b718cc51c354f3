import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import {
  MAX_EPOCH,
  MAX_LEASE_MS,
  MAX_NAME_LENGTH,
  MAX_PEER_MESSAGE_BYTES,
  MAX_PROMISES_PER_MESSAGE,
} from '../../schemas/limits.ts';
import { type PeerAnswer, type PeerAsk, peerMessageSchema } from '../../schemas/peer.ts';
import { decode, encode, PeerKeyError, pairKey } from './peer-code.ts';
import { publicPeerKey } from './peer-key.ts';

const keys = new Map<string, KeyObject>();
const keyOf = (node: string): KeyObject => {
  const key = keys.get(node) ?? generateKeyPairSync('x25519').privateKey;
  keys.set(node, key);
  return key;
};
/** The key that `node` has in common with `other`, as `node` computes it. */
const shared = (node: string, other: string, cluster = 'shop'): KeyObject =>
  pairKey({ key: keyOf(node), cluster, node }, { key: publicPeerKey(keyOf(other)), node: other });
/** What bob, who knows alice and carol, makes of a datagram. */
const bobReads = (datagram: Buffer) =>
  decode(datagram, 'bob', (sender) => (['alice', 'carol'].includes(sender) ? shared('bob', sender) : undefined));

const ask: PeerAsk = {
  type: 'ask',
  id: 'i1',
  from: 'alice',
  to: 'bob',
  incarnation: 'alice-1',
  sequence: 7,
  session: null,
  leaseMs: 4_000,
  leases: [{ group: 'db', epoch: 3 }],
};
const fromAlice = (message: PeerAsk = ask) => encode(message, shared('alice', 'bob'));
/** Any body, authenticated by alice. */
const signed = (body: string): Buffer => {
  const mac = createHmac('sha256', shared('alice', 'bob')).update(body).digest();
  return Buffer.concat([Buffer.from('HFP1'), mac, Buffer.from(body)]);
};

describe('the key of a pair', () => {
  it('is the same for both, and another one for every pair, cluster and name', () => {
    assert.ok(shared('alice', 'bob').equals(shared('bob', 'alice')));
    assert.ok(!shared('alice', 'bob').equals(shared('alice', 'carol')));
    assert.ok(!shared('alice', 'bob').equals(shared('alice', 'bob', 'lab')));
    const asDave = pairKey(
      { key: keyOf('alice'), cluster: 'shop', node: 'dave' },
      { key: publicPeerKey(keyOf('bob')), node: 'bob' },
    );
    assert.ok(!asDave.equals(shared('alice', 'bob')));
  });

  // RFC 7748 §6.1: with these the shared secret is zero, whatever the private key.
  for (const [what, hex] of Object.entries({
    zero: '00'.repeat(32),
    one: `01${'00'.repeat(31)}`,
    'of order 8': 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    'p − 1': `ec${'ff'.repeat(30)}7f`,
    'p, which is zero': `ed${'ff'.repeat(30)}7f`,
    'of 31 bytes': '42'.repeat(31),
  }))
    it(`is not made with a public key that is ${what}`, () => {
      const key = Buffer.from(hex, 'hex').toString('base64url');
      assert.throws(
        () => pairKey({ key: keyOf('alice'), cluster: 'shop', node: 'alice' }, { key, node: 'bob' }),
        (error) => {
          assert.ok(error instanceof PeerKeyError);
          assert.match(error.message, /public key of bob cannot be used.*remove peer\.key/);
          return true;
        },
      );
    });
});

describe('a datagram', () => {
  it('comes out as the message that went in', () => {
    assert.deepEqual(bobReads(fromAlice()), { message: ask });
  });

  it('is refused with any of its bits turned', () => {
    const datagram = fromAlice();
    for (let bit = 0; bit < datagram.length * 8; bit++) {
      const bent = Buffer.from(datagram);
      bent.writeUInt8(bent.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.ok('problem' in bobReads(bent), `bit ${bit}`);
    }
  });

  it('is refused when it was cut, at any length, or has something after it', () => {
    const datagram = fromAlice();
    for (let length = 0; length < datagram.length; length++)
      assert.ok('problem' in bobReads(datagram.subarray(0, length)), `${length} bytes`);
    assert.deepEqual(bobReads(Buffer.concat([datagram, Buffer.from(' ')])), { problem: 'forged' });
  });

  it('is refused, and not looked at, when it is longer than allowed', () => {
    const long = signed(JSON.stringify({ ...ask, id: 'x'.repeat(MAX_PEER_MESSAGE_BYTES) }));
    assert.deepEqual(bobReads(long), { problem: 'too-long' });
    assert.throws(() => fromAlice({ ...ask, id: 'x'.repeat(MAX_PEER_MESSAGE_BYTES) }), RangeError);
  });

  const { from, ...rest } = ask;
  const table: Record<string, [Buffer, string]> = {
    'from a node that is no peer': [encode({ ...ask, from: 'dave' }, shared('dave', 'bob')), 'unknown-sender'],
    'from one peer in the name of another': [encode({ ...ask, from: 'carol' }, shared('alice', 'bob')), 'forged'],
    'of another cluster': [encode(ask, shared('alice', 'bob', 'lab')), 'forged'],
    'for another node, by the key of that pair': [encode({ ...ask, to: 'carol' }, shared('alice', 'carol')), 'forged'],
    'for another node, by the key of this pair': [fromAlice({ ...ask, to: 'carol' }), 'misdirected'],
    'that this node could have sent itself': [
      encode({ ...ask, from: 'bob', to: 'alice' }, shared('alice', 'bob')),
      'own',
    ],
    'that names its sender twice': [
      signed(`{"from":"alice",${JSON.stringify({ ...rest, from: 'carol' }).slice(1)}`),
      'malformed',
    ],
    'that does not begin with its sender': [signed(JSON.stringify({ ...rest, from })), 'malformed'],
    'that is authentic and no JSON': [signed('{"from":"alice",'), 'malformed'],
    'that is authentic and not of the schema': [signed(JSON.stringify({ from, ...rest, sequence: -1 })), 'malformed'],
    'of another version': [Buffer.concat([Buffer.from('HFP2'), fromAlice().subarray(4)]), 'malformed'],
    'whose name has no end': [signed(`{"from":"${'a'.repeat(MAX_NAME_LENGTH + 1)}"`), 'malformed'],
  };
  for (const [what, [datagram, problem]] of Object.entries(table))
    it(`${what} is refused: ${problem}`, () => assert.deepEqual(bobReads(datagram), { problem }));
});

describe('the longest messages that the schema allows', () => {
  const longest = (letter: string) => letter.repeat(MAX_NAME_LENGTH);
  const leases = Array.from({ length: MAX_PROMISES_PER_MESSAGE }, () => ({ group: longest('g'), epoch: MAX_EPOCH }));
  const common = { id: 'i'.repeat(36), from: longest('a'), to: longest('b') };
  const longAsk: PeerAsk = {
    ...{ type: 'ask', ...common, incarnation: 'n'.repeat(64), sequence: Number.MAX_SAFE_INTEGER },
    ...{ session: 's'.repeat(22), leaseMs: MAX_LEASE_MS, leases },
  };
  const longAnswer: PeerAnswer = {
    type: 'answer',
    ...common,
    session: 's'.repeat(22),
    unheard: false,
    promised: leases,
    refused: [],
  };
  const key = shared('alice', 'bob');

  it('fit into one datagram', () => {
    for (const message of [longAsk, longAnswer]) {
      assert.ok(peerMessageSchema.safeParse(message).success);
      assert.ok(encode(message, key).length <= MAX_PEER_MESSAGE_BYTES);
    }
    // and no field could be longer
    for (const field of ['id', 'from', 'to', 'session', 'incarnation'] as const)
      assert.ok(!peerMessageSchema.safeParse({ ...longAsk, [field]: `${longAsk[field]}x` }).success, field);
  });

  it('an answer is shorter than the question, whatever it says', () => {
    const first = longAsk.leases.slice(0, 4);
    for (const said of [
      { promised: leases, refused: [] },
      { promised: [], refused: leases },
      { promised: first, refused: leases.slice(4) },
    ])
      assert.ok(encode({ ...longAnswer, ...said }, key).length <= encode(longAsk, key).length);
    const unheard: PeerAnswer = { ...longAnswer, unheard: true, promised: [], refused: [] };
    const least: PeerAsk = { ...longAsk, incarnation: 'n', sequence: 0, session: null, leaseMs: 1, leases: [] };
    assert.ok(encode(unheard, key).length <= encode(least, key).length + 40);
  });
});
