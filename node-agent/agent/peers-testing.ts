/** For the tests of what peers say to each other: hosts on loopback, and the wire between them in the hands of a stranger. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Peer, PeerAnswer, PeerAsk } from '../../schemas/peer.ts';
import { until } from '../system/testing.ts';
import { decode, pairKey } from './peer-code.ts';
import { publicPeerKey } from './peer-key.ts';
import { Peers, type Verdict } from './peers.ts';

export const { leaseMs } = LEASE_PROFILES.default;
export const lease = { group: 'db', epoch: 1 };
export const NO_EXCLUSIONS: ReadonlySet<string> = new Set();

/** Closed after each test. */
export const opened: { close(): void }[] = [];
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

export const newKey = () => generateKeyPairSync('x25519').privateKey;

/** A node whose answer to every question is yes, until it is told otherwise. */
export class Host {
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
export async function cluster(...names: string[]): Promise<Host[]> {
  const hosts = await Promise.all(names.map((name) => Host.start(name)));
  for (const host of hosts) host.peers.setPeers(hosts.map(({ peer }) => peer));
  return hosts;
}

export async function pair(): Promise<[Host, Host]> {
  const [alice, bob] = await cluster('alice', 'bob');
  assert.ok(alice && bob);
  return [alice, bob];
}

export const socketAt = async (address = '127.0.0.1', port = 0): Promise<Socket> => {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  opened.push(socket);
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket;
};

/** The wire between two hosts, in the hands of somebody who records what passes, may hold it back and may say it again. */
export class Wire {
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
export const readBy = (host: Host, from: Host, datagrams: readonly Buffer[]) =>
  datagrams.flatMap((datagram) => {
    const decoded = decode(datagram, host.name, () => pairKeyOf(host, from));
    return 'message' in decoded ? [decoded.message] : [];
  });

export const pairKeyOf = (own: Host, other: Host) =>
  pairKey({ key: own.key, cluster: 'shop', node: own.name }, { key: publicPeerKey(other.key), node: other.name });
