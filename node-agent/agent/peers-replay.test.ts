import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerAnswer } from '../../schemas/peer.ts';
import { until } from '../system/testing.ts';
import { encode } from './peer-code.ts';
import { MAX_INCARNATIONS, SESSION_MS } from './peer-sessions.ts';
import { cluster, Host, lease, leaseMs, pair, pairKeyOf, readBy, socketAt, Wire } from './peers-testing.ts';

describe('what is not new', () => {
  /** Alice and bob, the wire between them, and a question of alice's that bob has promised. */
  async function recorded() {
    const [alice, bob] = await pair();
    const wire = await Wire.between(alice, bob);
    const { session } = await alice.speaksWith('bob');
    const ask = wire.passed.findLast((datagram) => readBy(bob, alice, [datagram])[0]?.type === 'ask');
    const answer = wire.passed.findLast((datagram) => readBy(alice, bob, [datagram])[0]?.type === 'answer');
    assert.ok(ask && answer);
    return { alice, bob, wire, session, ask, answer };
  }

  it('a question repeated in the same session is dropped, without an answer', async () => {
    const { alice, bob, wire, ask } = await recorded();
    const asks = bob.asks.length;
    const passed = wire.passed.length;
    wire.say(ask, bob.peer);
    await bob.dropped('replayed');
    assert.equal(bob.asks.length, asks);
    assert.equal(wire.passed.length, passed);
    assert.match(bob.lines.join(), /no newer than what has been heard of its sender/);
    await alice.speaksWith('bob');
  });

  it('a question repeated after its listener has started again promises nothing', async () => {
    const { alice, bob, wire, ask, session } = await recorded();
    const { port } = bob.peer;
    bob.peers.close();
    const again = await Host.start('bob', { key: bob.key, port });
    again.peers.setPeers([{ ...alice.peer, port: wire.port }]);
    const passed = wire.passed.length;
    wire.say(ask, again.peer);
    await until('it is told the session', () => wire.passed.length > passed);
    const [told] = readBy(alice, again, wire.passed.slice(passed));
    assert.ok(told?.type === 'answer' && told.unheard);
    assert.deepEqual([told.promised, told.refused], [[], []]);
    assert.notEqual(told.session, session);
    assert.deepEqual(again.asks, []);
    assert.equal(again.peers.lastHeard('alice'), undefined, 'a recording is no sign of life');
    // alice waits for nothing of the kind, and is not led astray by it
    await alice.dropped('spare');
    await alice.speaksWith('bob');
    assert.equal(again.asks.length, 1);
  });

  it('a question that arrives after a later one is dropped', async () => {
    const { alice, bob, wire } = await recorded();
    const held: Buffer[] = [];
    wire.passes = (datagram) => held.push(datagram) === 0;
    const late = alice.asksFor('bob');
    await until('it is on the wire', () => held.length === 1);
    wire.passes = () => true;
    await alice.speaksWith('bob');
    const [first] = held;
    assert.ok(first);
    wire.say(first, bob.peer);
    await bob.dropped('replayed');
    assert.ok(bob.asks.every(({ id }) => id !== late));
  });

  it('a question that was held back for long promises nothing', async () => {
    const { alice, bob, wire } = await recorded();
    const held: Buffer[] = [];
    wire.passes = (datagram) => held.push(datagram) === 0;
    const late = alice.asksFor('bob');
    await until('it is on the wire', () => held.length === 1);
    wire.passes = () => true;
    alice.peers.close();
    bob.nowMs += 2 * SESSION_MS;
    const passed = wire.passed.length;
    const [first] = held;
    assert.ok(first);
    wire.say(first, bob.peer);
    await until('it is told the session', () => wire.passed.length > passed);
    assert.ok(bob.asks.every(({ id }) => id !== late));
  });

  it('an answer repeated, or to a question that is too old, is not delivered', async () => {
    const { alice, wire, answer } = await recorded();
    const count = alice.answers.length;
    wire.say(answer, alice.peer);
    await alice.dropped('spare');
    alice.nowMs += leaseMs;
    wire.say(answer, alice.peer);
    await alice.dropped('unasked');
    assert.equal(alice.answers.length, count);
  });

  it('an answer to a question that was put to another peer is not delivered', async () => {
    const [alice, bob, carol] = await cluster('alice', 'bob', 'carol');
    assert.ok(alice && bob && carol);
    bob.onAsk = () => undefined;
    const id = alice.asksFor('bob');
    await until('bob has it', () => bob.asks.length === 1);
    const lie: PeerAnswer = {
      ...{ type: 'answer', id, from: 'carol', to: 'alice', session: 's', unheard: false },
      ...{ promised: [lease], refused: [] },
    };
    const stranger = await socketAt();
    stranger.send(encode(lie, pairKeyOf(carol, alice)), alice.peer.port, '127.0.0.1');
    await alice.dropped('unasked');
    assert.deepEqual(alice.answers, []);
  });

  it('what was recorded of a peer is worth nothing when it was removed and came back', async () => {
    const { alice, bob, wire, ask } = await recorded();
    const asks = bob.asks.length;
    bob.peers.setPeers([]);
    bob.peers.setPeers([{ ...alice.peer, port: wire.port }]);
    const passed = wire.passed.length;
    wire.say(ask, bob.peer);
    await until('it is told the session', () => wire.passed.length > passed);
    assert.equal(bob.asks.length, asks);
  });

  it('one incarnation more than are remembered makes all recordings worthless, and is heard when it asks again', async () => {
    const { alice, bob, wire, ask, session } = await recorded();
    for (let n = 2; n <= MAX_INCARNATIONS + 1; n++) {
      const next = await Host.start('alice', { key: alice.key, incarnation: `alice-${n}` });
      next.peers.setPeers([bob.peer]);
      const told = await next.reaches('bob');
      assert.equal(told.session === session, n <= MAX_INCARNATIONS, `incarnation ${n}`);
      next.peers.close();
    }
    const asks = bob.asks.length;
    const passed = wire.passed.length;
    wire.say(ask, bob.peer);
    await until('it is told the session', () => wire.passed.length > passed);
    assert.equal(bob.asks.length, asks);
    await alice.speaksWith('bob');
  });

  it('an agent that starts again in its incarnation is heard at once', async () => {
    const { alice, bob } = await recorded();
    const again = await Host.start('alice', { key: alice.key });
    again.nowMs = alice.nowMs + 10;
    again.peers.setPeers([bob.peer]);
    await again.speaksWith('bob');
    assert.equal(bob.peers.dropped.replayed, undefined);
  });

  it('goes on through the terms of a session without an extra message', async () => {
    const { alice, bob, wire, session } = await recorded();
    let last = session;
    let changes = 0;
    for (let n = 0; n < 30; n++) {
      bob.nowMs += 3_000;
      alice.nowMs += 3_000;
      const passed = wire.passed.length;
      const answer = await alice.speaksWith('bob');
      assert.equal(wire.passed.length, passed + 2);
      if (answer.session !== last) changes += 1;
      last = answer.session;
    }
    assert.ok(changes >= 5);
  });
});
