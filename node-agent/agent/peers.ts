/**
 * How agents reach each other: one UDP socket that delivers authentic, new messages and does nothing else. What a message asks for or is
 * worth, the lease keeper knows (protocol.md O2, P1).
 *
 * What cannot be authenticated is dropped without an answer, and nobody can make this node send more than was sent to it.
 */
import { type KeyObject, randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIP, SocketAddress } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import type { Peer, PeerAnswer, PeerAsk, PeerEndpoint, PeerMessage } from '../../schemas/peer.ts';
import { errnoOf, type Log, textAt, textOf } from '../system/index.ts';
import { decode, encode, pairKey, type Undecodable } from './peer-code.ts';
import { publicPeerKey } from './peer-key.ts';
import { type AskBody, HeardAsks, SentAsks } from './peer-sessions.ts';

/** As many as schemas/peer.ts allows. */
const MAX_ADDRESSES = 8;
/** Between two lines about the same trouble. */
const SAY_AGAIN_MS = 60_000;

export type Verdict = Pick<PeerAnswer, 'promised' | 'refused'>;

export interface PeersOptions {
  readonly node: string;
  readonly cluster: string;
  /** Of this agent: a message of its own incarnation never has the sequence of an earlier one. */
  readonly incarnation: string;
  /** X25519 private key. */
  readonly key: KeyObject;
  /** No address: every one that this host has. Port 0: any free one. */
  readonly listen: { readonly address?: string | undefined; readonly port: number };
  /** CLOCK_BOOTTIME, whole ms. */
  readonly bootMs: () => number;
  readonly log: Log;
  /** An authentic and new question. Answered now or later, or not at all; the answer goes where the question came from. */
  readonly onAsk: (ask: PeerAsk, answer: (verdict: Verdict) => void) => void;
  /** The first authentic answer to a question of this agent that is no older than its lease. */
  readonly onAnswer: (answer: PeerAnswer) => void;
}

/** The agent cannot listen for its peers. The message says why and what to do. */
export class PeerListenError extends Error {
  /** errno name such as `EADDRINUSE`; `UNKNOWN` where the system gave none. */
  readonly code: string;
  constructor(address: string | undefined, port: number, cause: unknown) {
    const code = errnoOf(cause) ?? 'UNKNOWN';
    const where = `UDP port ${port}${address === undefined ? '' : ` of ${address}`}`;
    super(`cannot listen for the other nodes on ${where}: ${explain(code, port, cause)}`, { cause });
    this.name = 'PeerListenError';
    this.code = code;
  }
}

function explain(code: string, port: number, cause: unknown): string {
  switch (code) {
    case 'EADDRINUSE':
      return `another process has it (\`ss -ulpn 'sport = :${port}'\` names it); end that one, or give this agent another port (lan in node.json), and start it again`;
    case 'EADDRNOTAVAIL':
      return 'this host does not have the address; add it, or correct lan in node.json, and start the agent again';
    case 'EACCES':
      return 'not permitted; choose a port above 1023 (lan in node.json), or let the agent bind it (CAP_NET_BIND_SERVICE)';
    default:
      return textOf(cause);
  }
}

/** Why something that arrived was not delivered. */
export type Dropped = Undecodable | 'replayed' | 'spare' | 'unasked';

/** Those left out happen where nothing is wrong: copies of one message that went to several addresses. */
const WORDS: Readonly<Partial<Record<Dropped, string>>> = {
  'too-long': 'longer than a message may be',
  malformed: 'no message of this format',
  'unknown-sender': 'from no node that this one knows as a peer',
  forged: 'not authenticated by the key of the peer that it names',
  misdirected: 'for another node',
  replayed: 'no newer than what has been heard of its sender: recorded and repeated, or overtaken',
  unasked: 'answers to nothing that is being asked',
};

interface Source {
  readonly address: string;
  readonly port: number;
}

interface KnownPeer {
  readonly peer: Peer;
  /** Undefined: its public key cannot be used, so that it can say nothing and is not asked. */
  readonly key: KeyObject | undefined;
  /** Where its last message that was authentic and new came from, and when. */
  heard: (Source & { readonly atMs: number }) | undefined;
  /** How often all of its addresses were tried: each time another is the first. */
  turns: number;
}

type Family = 'IPv4' | 'IPv6' | 'both';

export class Peers {
  readonly #options: PeersOptions;
  readonly #known = new Map<string, KnownPeer>();
  readonly #heardAsks: HeardAsks;
  readonly #sentAsks = new SentAsks();
  readonly #dropped = new Map<Dropped, number>();
  readonly #said = new Map<string, { readonly atMs: number; count: number }>();
  #socket: Socket | undefined;
  #closed = false;
  #family: Family = 'both';

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#heardAsks = new HeardAsks(() => randomBytes(16).toString('base64url'), options.bootMs());
  }

  /** Listens. @throws {PeerListenError} when that is not possible; it may be tried again, and until then nothing is heard and nothing sent. */
  async start(): Promise<void> {
    const { listen } = this.#options;
    try {
      [this.#socket, this.#family] = await listenOn(this.#address, listen.port);
    } catch (error) {
      throw new PeerListenError(this.#address, listen.port, error);
    }
    if (this.#closed) return this.close();
    this.#socket.on('message', (datagram, source) => this.#onDatagram(datagram, source));
    this.#socket.on('error', (error) => this.#say('socket', `the socket to the other nodes: ${textOf(error)}`));
  }

  /** For good. */
  close(): void {
    this.#closed = true;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  /** Whom this node speaks with from now on; everybody else is not heard. What is known of those that stay is kept. */
  setPeers(peers: readonly Peer[]): void {
    const { node } = this.#options;
    const others = new Map(peers.filter((peer) => peer.node !== node).map((peer) => [peer.node, peer]));
    for (const [name, { peer }] of this.#known) {
      if (others.get(name)?.key === peer.key) continue;
      this.#known.delete(name);
      this.#heardAsks.forget(name, this.#options.bootMs());
      this.#sentAsks.forget(name);
      this.#said.delete(`send ${name}`);
    }
    for (const [name, peer] of others) {
      const { key = this.#keyOf(peer), heard, turns = 0 } = this.#known.get(name) ?? {};
      this.#known.set(name, { peer, key, heard, turns });
    }
  }

  /**
   * Sends a question; its answer comes through `onAnswer`, or never. To a node that is no peer, nothing is sent.
   * @throws {RangeError} for more leases than one message holds (MAX_PROMISES_PER_MESSAGE).
   */
  ask(to: string, body: AskBody): void {
    const known = this.#known.get(to);
    if (known?.key === undefined || this.#socket === undefined) return;
    const nowMs = this.#options.bootMs();
    const targets = this.#targets(known, nowMs);
    this.#sentAsks.sent(to, body, nowMs);
    for (const target of targets) this.#sendAsk(to, body, target, nowMs);
  }

  /** Where this node is found: at the address that it was told to listen on, or at those of this host. @param exclude virtual addresses. */
  endpoint(exclude: ReadonlySet<string>): PeerEndpoint {
    const { key, listen } = this.#options;
    const own = this.#address;
    return {
      addresses: own === undefined ? reachableAt(networkInterfaces(), exclude, this.#family) : [own],
      port: this.#socket?.address().port ?? listen.port,
      key: publicPeerKey(key),
    };
  }

  /** When an authentic, new message of this peer was received last, on this host's CLOCK_BOOTTIME, ms. */
  lastHeard(node: string): number | undefined {
    return this.#known.get(node)?.heard?.atMs;
  }

  /** How many datagrams were not delivered, and why. */
  get dropped(): Readonly<Partial<Record<Dropped, number>>> {
    return Object.fromEntries(this.#dropped);
  }

  /** The one address that this node listens on; undefined: all. */
  get #address(): string | undefined {
    const { address } = this.#options.listen;
    return address === undefined || isWildcard(address) ? undefined : address;
  }

  #keyOf(peer: Peer): KeyObject | undefined {
    try {
      return pairKey(this.#options, peer);
    } catch (error) {
      this.#options.log.warn(textOf(error));
      return undefined;
    }
  }

  /** Where the peer was last heard; if it does not answer there, or was never heard, everywhere. */
  #targets(known: KnownPeer, nowMs: number): Source[] {
    const { heard, peer } = known;
    if (heard !== undefined && !this.#sentAsks.isSilent(peer.node, nowMs)) return [heard];
    const all: Source[] = peer.addresses.map((address) => ({ address: unmapped(address), port: peer.port }));
    if (heard !== undefined && !all.some(({ address, port }) => address === heard.address && port === heard.port))
      all.push(heard);
    // Of several copies it may be the first alone that is answered, and the way back from there may be cut.
    const first = all.length === 0 ? 0 : known.turns++ % all.length;
    return [...all.slice(first), ...all.slice(0, first)];
  }

  /** Every copy is a message of its own: one that overtakes the others does not make replays of them. */
  #sendAsk(to: string, body: AskBody, target: Source, nowMs: number): void {
    const { node, incarnation } = this.#options;
    const { id, leaseMs, leases } = body;
    const stamp = this.#sentAsks.stamp(to, nowMs);
    this.#send({ type: 'ask', id, from: node, to, incarnation, ...stamp, leaseMs, leases }, target);
  }

  #send(message: PeerMessage, { address, port }: Source): void {
    const key = this.#known.get(message.to)?.key;
    const destination = this.#destination(address);
    if (key === undefined || destination === undefined) return;
    this.#socket?.send(encode(message, key), port, destination, (error) => {
      if (error === null) return;
      this.#say(`send ${message.to}`, `cannot send to ${message.to}: ${textOf(error)}`);
    });
  }

  /** The address as the socket takes it; undefined if it cannot reach any such. Names are never looked up. */
  #destination(address: string): string | undefined {
    switch (isIP(address)) {
      case 4:
        return this.#family === 'both' ? `::ffff:${address}` : this.#family === 'IPv4' ? address : undefined;
      case 6:
        return this.#family === 'IPv4' ? undefined : address;
      default:
        return undefined;
    }
  }

  #onDatagram(datagram: Buffer, { address, port }: RemoteInfo): void {
    const source = { address: unmapped(address), port };
    const decoded = decode(datagram, this.#options.node, (sender) => this.#known.get(sender)?.key);
    if ('problem' in decoded) this.#drop(decoded.problem, source);
    else if (decoded.message.type === 'ask') this.#onAsk(decoded.message, source);
    else this.#onAnswer(decoded.message, source);
  }

  #onAsk(ask: PeerAsk, source: Source): void {
    const nowMs = this.#options.bootMs();
    const hearing = this.#heardAsks.hear(ask, nowMs);
    switch (hearing) {
      case 'replayed':
        this.#drop('replayed', source);
        break;
      case 'unheard':
        this.#answer(ask, { unheard: true, promised: [], refused: [] }, source);
        break;
      case 'fresh':
        this.#heard(ask.from, source, nowMs);
        this.#options.onAsk(ask, ({ promised, refused }) =>
          this.#answer(ask, { unheard: false, promised, refused }, source),
        );
        break;
      default:
        hearing satisfies never;
    }
  }

  #answer(ask: PeerAsk, said: Pick<PeerAnswer, 'unheard' | 'promised' | 'refused'>, target: Source): void {
    const session = this.#heardAsks.session(this.#options.bootMs());
    this.#send({ type: 'answer', id: ask.id, from: this.#options.node, to: ask.from, session, ...said }, target);
  }

  #onAnswer(answer: PeerAnswer, source: Source): void {
    const nowMs = this.#options.bootMs();
    const worth = this.#sentAsks.onAnswer(answer, nowMs);
    switch (worth.is) {
      case 'spare':
      case 'unasked':
        this.#drop(worth.is, source);
        break;
      case 'again':
        this.#heard(answer.from, source, nowMs);
        this.#sendAsk(answer.from, worth.body, source, nowMs);
        break;
      case 'answer':
        this.#heard(answer.from, source, nowMs);
        this.#options.onAnswer(answer);
        break;
      default:
        worth satisfies never;
    }
  }

  #heard(node: string, { address, port }: Source, atMs: number): void {
    const known = this.#known.get(node);
    if (known !== undefined) known.heard = { address, port, atMs };
  }

  #drop(reason: Dropped, { address }: Source): void {
    this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1);
    const words = WORDS[reason];
    if (words !== undefined)
      this.#say(reason, `dropped what ${address} sent to the port for the other nodes: ${words}`);
  }

  /** One line a minute about each trouble, whoever makes it. */
  #say(trouble: string, text: string): void {
    const nowMs = this.#options.bootMs();
    const said = this.#said.get(trouble);
    if (said !== undefined && nowMs < said.atMs + SAY_AGAIN_MS) {
      said.count += 1;
      return;
    }
    const more =
      said === undefined || said.count === 0 ? '' : ` (and ${said.count} times more since this was last said)`;
    this.#said.set(trouble, { atMs: nowMs, count: 0 });
    this.#options.log.warn(`${text}${more}`);
  }
}

/** One socket for both families, where the host has both. */
async function listenOn(address: string | undefined, port: number): Promise<[Socket, Family]> {
  if (address !== undefined)
    return isIP(address) === 6
      ? [await bound('udp6', address, port), 'IPv6']
      : [await bound('udp4', address, port), 'IPv4'];
  // not there without IPv6; 1 makes its sockets deaf to IPv4
  if (textAt('/proc/sys/net/ipv6/bindv6only') === '0') {
    try {
      return [await bound('udp6', '::', port), 'both'];
    } catch (error) {
      if (errnoOf(error) !== 'EAFNOSUPPORT') throw error;
    }
  }
  return [await bound('udp4', '0.0.0.0', port), 'IPv4'];
}

function bound(type: 'udp4' | 'udp6', address: string, port: number): Promise<Socket> {
  const socket = createSocket(type);
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      socket.close();
      reject(error);
    };
    socket.once('error', failed);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/**
 * Addresses by which others may find this host: none that is internal, link-local or excluded, IPv4 first.
 * @param exclude in any spelling.
 */
export function reachableAt(
  interfaces: Readonly<Partial<Record<string, readonly NetworkInterfaceInfo[]>>>,
  exclude: ReadonlySet<string>,
  family: Family = 'both',
): string[] {
  const excluded = new Set([...exclude].map(canonical));
  const found = Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({ internal, address }) => !internal && !isLinkLocal(address) && !excluded.has(canonical(address)))
    .filter((info) => family === 'both' || info.family === family);
  const inOrder = [
    ...found.filter((info) => info.family === 'IPv4'),
    ...found.filter((info) => info.family === 'IPv6'),
  ];
  return [...new Set(inOrder.map(({ address }) => address))].slice(0, MAX_ADDRESSES);
}

function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || /^fe[89ab]/i.test(address);
}

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || canonical(address) === '::';
}

/** One spelling for every address. */
function canonical(address: string): string {
  return isIP(address) === 6 ? new SocketAddress({ address, family: 'ipv6' }).address : address;
}

/** An IPv4 address as a socket for both families shows it, without what that adds. */
function unmapped(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}
