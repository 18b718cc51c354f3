import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { MAX_EPOCH, MAX_NAME_LENGTH, MAX_PEER_MESSAGE_BYTES, MAX_PROMISES_PER_MESSAGE } from '../../schemas/limits.ts';
import { until } from '../system/testing.ts';
import { SILENT_MS } from './peer-sessions.ts';
import { PeerListenError } from './peers.ts';
import { cluster, Host, lease, leaseMs, NO_EXCLUSIONS, opened, pair, readBy, socketAt, Wire } from './peers-testing.ts';

describe('peers', () => {
  it('ask and answer, the first time with a second try by itself, since the session was not known', async () => {
    const [alice, bob] = await pair();
    const wire = await Wire.between(alice, bob);
    const id = alice.asksFor('bob');
    const answer = await alice.answerTo(id);
    assert.deepEqual([answer.from, answer.unheard, answer.promised, answer.refused], ['bob', false, [lease], []]);
    const asked = readBy(bob, alice, wire.passed);
    assert.deepEqual(
      asked.map((message) => message.id),
      [id, id],
    );
    assert.equal(bob.asks.length, 1, 'the first was not looked at');
    assert.deepEqual(bob.asks[0]?.leases, [lease]);
    assert.equal(bob.asks[0]?.leaseMs, leaseMs);
    await alice.speaksWith('bob');
    assert.equal(readBy(bob, alice, wire.passed).length, 3, 'now it is known');
    assert.deepEqual(alice.peers.dropped, {});
    assert.deepEqual(bob.peers.dropped, {});
    assert.deepEqual(alice.lines.concat(bob.lines), []);
  });

  it('know when each other was heard last', async () => {
    const [alice, bob] = await pair();
    assert.equal(alice.peers.lastHeard('bob'), undefined);
    await alice.speaksWith('bob');
    assert.equal(alice.peers.lastHeard('bob'), alice.nowMs);
    assert.equal(bob.peers.lastHeard('alice'), bob.nowMs);
    assert.equal(alice.peers.lastHeard('carol'), undefined);
  });

  it('answer when they are ready: several questions, in any order', async () => {
    const [alice, bob] = await pair();
    await alice.speaksWith('bob');
    const open: (() => void)[] = [];
    bob.onAsk = (ask, answer) => open.push(() => answer({ promised: [], refused: ask.leases }));
    const ids = [alice.asksFor('bob'), alice.asksFor('bob')];
    await until('both have come', () => open.length === 2);
    for (const answer of open.reverse()) answer();
    for (const id of ids) assert.deepEqual((await alice.answerTo(id)).refused, [lease]);
  });

  it('of three speak with the one that is meant', async () => {
    const [alice, bob, carol] = await cluster('alice', 'bob', 'carol');
    assert.ok(alice && bob && carol);
    const answers = await Promise.all([alice.speaksWith('bob'), bob.speaksWith('carol'), carol.speaksWith('alice')]);
    assert.deepEqual(
      answers.map(({ from }) => from),
      ['bob', 'carol', 'alice'],
    );
    assert.ok(alice.asks.every(({ from }) => from === 'carol'));
  });

  for (const address of ['::1', undefined])
    it(`listen on ${address ?? 'every address, for IPv4 and IPv6 at once'}`, async () => {
      const [alice, bob] = await Promise.all([Host.start('alice', { address }), Host.start('bob', { address })]);
      for (const own of address === undefined ? ['127.0.0.1', '::1'] : [address]) {
        alice.peers.setPeers([{ ...bob.peer, addresses: [own] }]);
        bob.peers.setPeers([{ ...alice.peer, addresses: [own] }]);
        await alice.speaksWith('bob');
      }
    });

  it('with the longest names and all the leases that a message holds reach each other', async () => {
    const long = (letter: string) => letter.repeat(MAX_NAME_LENGTH);
    const [alice, bob] = await Promise.all([
      Host.start(long('a'), { incarnation: 'i'.repeat(64) }),
      Host.start(long('b')),
    ]);
    alice.nowMs = Math.floor(Number.MAX_SAFE_INTEGER / 1_000) - 1;
    const wire = await Wire.between(alice, bob);
    const leases = Array.from({ length: MAX_PROMISES_PER_MESSAGE }, () => ({ group: long('g'), epoch: MAX_EPOCH }));
    const id = randomUUID();
    alice.peers.ask(bob.name, { id, leaseMs, leases });
    assert.deepEqual((await alice.answerTo(id)).promised, leases);
    assert.ok(wire.passed.every(({ length }) => length <= MAX_PEER_MESSAGE_BYTES));
    const tooMany = [...leases, ...leases];
    assert.throws(() => alice.peers.ask(bob.name, { id: randomUUID(), leaseMs, leases: tooMany }), /fewer leases/);
  });

  it('find each other at a new address of one of them without being told', async () => {
    const [alice, bob] = await pair();
    await alice.speaksWith('bob');
    bob.peers.close();
    const moved = await Host.start('bob', { key: bob.key });
    moved.peers.setPeers([alice.peer]);
    await moved.speaksWith('alice');
    await alice.speaksWith('bob');
    assert.ok(moved.asks.length > 0);
    // also after it has left a question unanswered there
    moved.onAsk = () => undefined;
    const id = alice.asksFor('bob');
    await until('it is left unanswered', () => moved.asks.some((ask) => ask.id === id));
    moved.onAsk = (ask, answer) => answer({ promised: ask.leases, refused: [] });
    alice.nowMs += SILENT_MS;
    await alice.speaksWith('bob');
  });

  it('try every address when there is no answer from the one that was heard', async () => {
    const alice = await Host.start('alice', { address: undefined });
    const before = await Host.start('bob');
    alice.peers.setPeers([{ ...before.peer, addresses: ['127.0.0.1', '::1'] }]);
    before.peers.setPeers([{ ...alice.peer, addresses: ['127.0.0.1'] }]);
    await alice.speaksWith('bob');
    const { port } = before.peer;
    before.peers.close();
    const bob = await Host.start('bob', { key: before.key, address: '::1', port });
    bob.peers.setPeers([{ ...alice.peer, addresses: ['::1'] }]);
    alice.asksFor('bob');
    alice.nowMs += SILENT_MS;
    await alice.speaksWith('bob');
  });

  it('have the addresses of a peer that does not answer tried in turn, each copy a message of its own', async () => {
    const alice = await Host.start('alice', { address: undefined });
    const bob = new Host({ name: 'bob' });
    const four = await socketAt('127.0.0.1');
    const six = await socketAt('::1', four.address().port);
    alice.peers.setPeers([{ ...bob.peer, addresses: ['127.0.0.1', '::1'], port: four.address().port }]);
    const arrived: { readonly way: string; readonly sequence: number; readonly id: string }[] = [];
    for (const [way, socket] of Object.entries({ four, six }))
      socket.on('message', (datagram) => {
        for (const message of readBy(bob, alice, [datagram]))
          if (message.type === 'ask') arrived.push({ way, sequence: message.sequence, id: message.id });
      });
    const ids = [1, 2, 3].map(() => {
      alice.nowMs += SILENT_MS;
      return alice.asksFor('bob');
    });
    await until('all have arrived', () => arrived.length === 6);
    arrived.sort((a, b) => a.sequence - b.sequence);
    assert.deepEqual(
      arrived.map(({ way }) => way),
      ['four', 'six', 'six', 'four', 'four', 'six'],
    );
    assert.deepEqual([...new Set(arrived.map(({ id }) => id))], ids);
    assert.equal(new Set(arrived.map(({ sequence }) => sequence)).size, 6);
  });

  it('never speak with themselves', async () => {
    const [alice, bob] = await pair();
    alice.peers.setPeers([alice.peer, bob.peer]);
    alice.asksFor('alice');
    await alice.speaksWith('bob');
    assert.equal(alice.peers.dropped.own, undefined);
  });

  it('that were removed and came back are asked for their session anew', async () => {
    const [alice, bob] = await pair();
    const wire = await Wire.between(alice, bob);
    await alice.speaksWith('bob');
    alice.peers.setPeers([]);
    alice.peers.setPeers([{ ...bob.peer, port: wire.port }]);
    const passed = wire.passed.length;
    await alice.speaksWith('bob');
    const [first] = readBy(bob, alice, wire.passed.slice(passed));
    assert.ok(first?.type === 'ask');
    assert.equal(first.session, null);
  });

  it('that are not there, or not reachable by this socket, cost nothing but the question', async () => {
    const [alice, bob] = await pair();
    const nowhere = await socketAt();
    const { port } = nowhere.address();
    const carol = { ...bob.peer, node: 'carol', port, addresses: ['127.0.0.1', '::1', 'localhost', '255.255.255.255'] };
    alice.peers.setPeers([bob.peer, carol]);
    nowhere.close();
    opened.splice(opened.indexOf(nowhere), 1);
    for (let n = 0; n < 20; n++) {
      alice.asksFor('carol');
      alice.nowMs += SILENT_MS;
    }
    alice.asksFor('nobody');
    await alice.speaksWith('bob');
    assert.ok(alice.lines.length <= 1, alice.lines.join('\n'));
  });
});

describe('the listener', () => {
  it('that finds its port taken says which and what to do, and can be started when it is free', async () => {
    const alice = await Host.start('alice');
    const { port } = alice.peer;
    const bob = new Host({ name: 'bob', port });
    await assert.rejects(bob.peers.start(), (error: unknown) => {
      assert.ok(error instanceof PeerListenError);
      assert.equal(error.code, 'EADDRINUSE');
      assert.match(error.message, new RegExp(`UDP port ${port} of 127\\.0\\.0\\.1: another process has it .*ss -ulpn`));
      return true;
    });
    bob.peers.setPeers([alice.peer]);
    bob.asksFor('alice');
    alice.peers.close();
    await bob.peers.start();
  });

  it('that is to listen on an address which is not here says so', async () => {
    const host = new Host({ name: 'alice', address: '192.0.2.123' });
    await assert.rejects(host.peers.start(), /192\.0\.2\.123: this host does not have the address/);
  });

  it('that is ended while it starts leaves no socket behind', async () => {
    const host = new Host({ name: 'alice', address: undefined });
    const starting = host.peers.start();
    host.peers.close();
    await starting;
    assert.equal(host.peers.endpoint(NO_EXCLUSIONS).port, 0);
  });

  it('sends and hears nothing after its end', async () => {
    const [alice, bob] = await pair();
    bob.onAsk = (ask, answer) => {
      bob.peers.close();
      answer({ promised: ask.leases, refused: [] });
    };
    alice.asksFor('bob');
    await until('bob has ended', () => bob.asks.length > 0);
    bob.asksFor('alice');
    bob.peers.close();
    // what bob had sent before this would have come before it
    (await socketAt()).send('the last', alice.peer.port, '127.0.0.1');
    await alice.dropped('malformed');
    assert.deepEqual([alice.answers, alice.asks], [[], []]);
  });
});
