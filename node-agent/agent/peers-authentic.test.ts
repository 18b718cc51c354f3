import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_PEER_MESSAGE_BYTES } from '../../schemas/limits.ts';
import type { PeerAsk } from '../../schemas/peer.ts';
import { encode } from './peer-code.ts';
import { publicPeerKey } from './peer-key.ts';
import type { Peers } from './peers.ts';
import { cluster, lease, leaseMs, newKey, pair, pairKeyOf, socketAt, Wire } from './peers-testing.ts';

describe('what is not authentic', () => {
  it('is dropped: the key is another', async () => {
    const [alice, bob] = await pair();
    bob.peers.setPeers([{ ...alice.peer, key: publicPeerKey(newKey()) }]);
    alice.asksFor('bob');
    await bob.dropped('forged');
    assert.deepEqual(bob.asks, []);
    assert.equal(bob.peers.lastHeard('alice'), undefined);
    assert.match(bob.lines.join(), /dropped what 127\.0\.0\.1 sent .*not authenticated by the key of the peer/);
  });

  it('is dropped without an answer: cut, bent, too long, from strangers, in the name of another', async () => {
    const [alice, bob, carol] = await cluster('alice', 'bob', 'carol');
    assert.ok(alice && bob && carol);
    const wire = await Wire.between(alice, bob);
    await alice.speaksWith('bob');
    const [good] = wire.passed;
    assert.ok(good);
    const bent = Buffer.from(good);
    bent.writeUInt8(bent.readUInt8(bent.length - 2) ^ 1, bent.length - 2);
    const body: PeerAsk = {
      ...{ type: 'ask', id: 'i1', from: 'carol', to: 'bob', incarnation: 'carol-1', sequence: 9, session: null },
      ...{ leaseMs, leases: [lease] },
    };
    const bad: [Buffer, keyof Peers['dropped']][] = [
      [good.subarray(0, good.length - 1), 'forged'],
      [good.subarray(0, 20), 'malformed'],
      [Buffer.alloc(0), 'malformed'],
      [bent, 'forged'],
      [Buffer.concat([good, Buffer.alloc(MAX_PEER_MESSAGE_BYTES)]), 'too-long'],
      // carol is no peer of bob's now; alice's key does not speak for her
      [encode(body, pairKeyOf(carol, bob)), 'unknown-sender'],
      [encode({ ...body, from: 'alice' }, pairKeyOf(carol, bob)), 'forged'],
      [encode({ ...body, from: 'alice', to: 'carol' }, pairKeyOf(alice, bob)), 'misdirected'],
      [encode({ ...body, from: 'bob', to: 'alice' }, pairKeyOf(alice, bob)), 'own'],
    ];
    const stranger = await socketAt();
    let answers = 0;
    stranger.on('message', () => answers++);
    const asks = bob.asks.length;
    for (const [datagram, reason] of bad) {
      const before = bob.peers.dropped[reason] ?? 0;
      stranger.send(datagram, bob.peer.port, '127.0.0.1');
      await bob.dropped(reason, before + 1);
    }
    await alice.speaksWith('bob');
    assert.equal(answers, 0);
    assert.equal(bob.asks.length - asks, 1);
  });

  it('is said once a minute for each reason, with how often it was', async () => {
    const [alice, bob] = await pair();
    const stranger = await socketAt();
    const say = async (text: string, count: number) => {
      for (let n = 0; n < count; n++) {
        stranger.send(text, bob.peer.port, '127.0.0.1');
        await bob.dropped('malformed', (bob.peers.dropped.malformed ?? 0) + 1);
      }
    };
    await say('what', 5);
    assert.equal(bob.lines.length, 1);
    stranger.send(Buffer.alloc(MAX_PEER_MESSAGE_BYTES + 1), bob.peer.port, '127.0.0.1');
    await bob.dropped('too-long');
    assert.equal(bob.lines.length, 2);
    bob.nowMs += 60_000;
    await say('what', 2);
    assert.equal(bob.lines.length, 3);
    assert.match(bob.lines[2] ?? '', /no message of this format \(and 4 times more/);
    await alice.speaksWith('bob');
  });

  it('cannot crowd out what is: ten thousand datagrams, and the answer comes', async () => {
    const [alice, bob] = await pair();
    const wire = await Wire.between(alice, bob);
    await alice.speaksWith('bob');
    const [good] = wire.passed;
    assert.ok(good);
    const bent = Buffer.from(good);
    bent.writeUInt8(bent.readUInt8(8) ^ 1, 8);
    const garbage = [bent, Buffer.alloc(600, 'x'), Buffer.from('HFP1'), Buffer.alloc(MAX_PEER_MESSAGE_BYTES + 1)];
    const stranger = await socketAt();
    const answersBefore = alice.answers.length;
    const asksBefore = bob.asks.length;
    let sent = 0;
    const flood = new Promise<void>((done) => {
      const more = () => {
        for (let n = 0; n < 100; n++, sent++) stranger.send(garbage[sent % 4] ?? bent, bob.peer.port, '127.0.0.1');
        if (sent < 10_000) setImmediate(more);
        else done();
      };
      more();
    });
    await alice.reaches('bob');
    await flood;
    await alice.reaches('bob');
    const { dropped } = bob.peers;
    const total = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    assert.ok(total > 100 && total <= 10_000, `${total}`);
    assert.ok(alice.answers.length > answersBefore && bob.asks.length > asksBefore);
    assert.ok(bob.lines.length <= Object.keys(dropped).length, bob.lines.join('\n'));
  });

  it('is a peer that was removed', async () => {
    const [alice, bob] = await pair();
    await alice.speaksWith('bob');
    bob.peers.setPeers([]);
    assert.equal(bob.peers.lastHeard('alice'), undefined);
    const asks = bob.asks.length;
    alice.asksFor('bob');
    await bob.dropped('unknown-sender');
    assert.equal(bob.asks.length, asks);
    bob.peers.setPeers([alice.peer]);
    await alice.speaksWith('bob');
  });

  it('is a peer whose public key everybody could compute with; the others are heard', async () => {
    const [alice, bob, carol] = await cluster('alice', 'bob', 'carol');
    assert.ok(alice && bob && carol);
    bob.peers.setPeers([{ ...alice.peer, key: 'A'.repeat(43) }, carol.peer]);
    assert.match(bob.lines.join(), /public key of alice cannot be used.*no promises are exchanged with it/);
    bob.asksFor('alice');
    alice.asksFor('bob');
    await bob.dropped('unknown-sender');
    await carol.speaksWith('bob');
  });
});
