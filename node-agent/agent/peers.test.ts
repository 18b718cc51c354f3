import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, it } from 'node:test';
import {
  LEASE_PROFILES,
  MAX_EPOCH,
  MAX_NAME_LENGTH,
  MAX_PEER_MESSAGE_BYTES,
  MAX_PROMISES_PER_MESSAGE,
} from '../../schemas/limits.ts';
import { type Peer, type PeerAnswer, type PeerAsk, peerSchema } from '../../schemas/peer.ts';
import { until } from '../system/testing.ts';
import { decode, encode, pairKey } from './peer-code.ts';
import { publicPeerKey } from './peer-key.ts';
import { MAX_INCARNATIONS, SESSION_MS, SILENT_MS } from './peer-sessions.ts';
import { PeerListenError, Peers, reachableAt, type Verdict } from './peers.ts';

const { leaseMs } = LEASE_PROFILES.default;
const lease = { group: 'db', epoch: 1 };
const NO_EXCLUSIONS: ReadonlySet<string> = new Set();

const opened: { close(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

interface HostOptions {
  readonly name: string;
  readonly address?: string | undefined;
  readonly port?: number;
  readonly incarnation?: string;
  readonly key?: KeyObject;
}

const newKey = () => generateKeyPairSync('x25519').privateKey;

/** A node whose answer to every question is yes, until it is told otherwise. */
class Host {
  readonly name: string;
  readonly key: KeyObject;
  readonly peers: Peers;
  readonly asks: PeerAsk[] = [];
  readonly answers: PeerAnswer[] = [];
  readonly lines: string[] = [];
  nowMs = 1_000_000;
  onAsk = (ask: PeerAsk, answer: (verdict: Verdict) => void): void => answer({ promised: ask.leases, refused: [] });

  constructor(options: HostOptions) {
    this.name = options.name;
    this.key = options.key ?? newKey();
    const say = (line: string) => this.lines.push(line);
    this.peers = new Peers({
      node: this.name,
      cluster: 'shop',
      incarnation: options.incarnation ?? `${this.name}-1`,
      key: this.key,
      listen: { address: 'address' in options ? options.address : '127.0.0.1', port: options.port ?? 0 },
      bootMs: () => this.nowMs,
      log: { info: say, warn: say },
      onAsk: (ask, answer) => {
        this.asks.push(ask);
        this.onAsk(ask, answer);
      },
      onAnswer: (answer) => this.answers.push(answer),
    });
    opened.push(this.peers);
  }

  static async start(name: string, options: Omit<HostOptions, 'name'> = {}): Promise<Host> {
    const host = new Host({ name, ...options });
    await host.peers.start();
    return host;
  }

  /** As its peers know it. */
  get peer(): Peer {
    return { node: this.name, ...this.peers.endpoint(NO_EXCLUSIONS) };
  }

  asksFor(to: string): string {
    const id = randomUUID();
    this.peers.ask(to, { id, leaseMs, leases: [lease] });
    return id;
  }

  answerTo(id: string): Promise<PeerAnswer> {
    return until(`an answer to ${this.name}`, () => this.answers.find((answer) => answer.id === id));
  }

  /** Asks once, and waits for the answer. */
  speaksWith(to: string): Promise<PeerAnswer> {
    return this.answerTo(this.asksFor(to));
  }

  /** Asks again and again, as the keeper does, until there is an answer. */
  async reaches(to: string): Promise<PeerAnswer> {
    const ids: string[] = [];
    return until(`an answer of ${to} to ${this.name}`, () => {
      ids.push(this.asksFor(to));
      return this.answers.find(({ id }) => ids.includes(id));
    });
  }

  dropped(reason: keyof Peers['dropped'], count = 1): Promise<true> {
    return until(`${this.name} drops ${count}: ${reason}`, () => (this.peers.dropped[reason] ?? 0) >= count);
  }
}

/** Hosts that know each other. */
async function cluster(...names: string[]): Promise<Host[]> {
  const hosts = await Promise.all(names.map((name) => Host.start(name)));
  for (const host of hosts) host.peers.setPeers(hosts.map(({ peer }) => peer));
  return hosts;
}

async function pair(): Promise<[Host, Host]> {
  const [alice, bob] = await cluster('alice', 'bob');
  assert.ok(alice && bob);
  return [alice, bob];
}

const socketAt = async (address = '127.0.0.1', port = 0): Promise<Socket> => {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  opened.push(socket);
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket;
};

/** The wire between two hosts, in the hands of somebody who records what passes, may hold it back and may say it again. */
class Wire {
  readonly #socket: Socket;
  readonly #ends: readonly [Peer, Peer];
  readonly passed: Buffer[] = [];
  /** Is this one passed on? */
  passes = (_datagram: Buffer): boolean => true;

  private constructor(socket: Socket, ends: readonly [Peer, Peer]) {
    this.#socket = socket;
    this.#ends = ends;
    socket.on('message', (datagram, { port }) => {
      this.passed.push(datagram);
      const [one, other] = this.#ends;
      if (this.passes(datagram)) this.say(datagram, port === one.port ? other : one);
    });
  }

  static async between(one: Host, other: Host): Promise<Wire> {
    const wire = new Wire(await socketAt(), [one.peer, other.peer]);
    one.peers.setPeers([{ ...other.peer, port: wire.port }]);
    other.peers.setPeers([{ ...one.peer, port: wire.port }]);
    return wire;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  say(datagram: Buffer, { port }: Pick<Peer, 'port'>): void {
    this.#socket.send(datagram, port, '127.0.0.1');
  }
}

/** What the datagrams of a wire say, for the one who was meant. */
const readBy = (host: Host, from: Host, datagrams: readonly Buffer[]) =>
  datagrams.flatMap((datagram) => {
    const decoded = decode(datagram, host.name, () => pairKeyOf(host, from));
    return 'message' in decoded ? [decoded.message] : [];
  });

const pairKeyOf = (own: Host, other: Host) =>
  pairKey({ key: own.key, cluster: 'shop', node: own.name }, { key: publicPeerKey(other.key), node: other.name });

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
