/** Reads what the judgement of the exchange between nodes needs: sockets of the kernel, and what the agent has on disk. */
import { readdirSync, readlinkSync } from 'node:fs';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { endianness, networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import { StateFile } from '../agent/state-file.ts';
import { errnoOf, type SeenProcess, textAt } from '../system/index.ts';
import type { ListenAt, PeerFacts } from './peers.ts';

export interface PeerQuestion {
  readonly node: string;
  readonly stateDir: string;
  readonly listen: ListenAt;
  readonly agentPid: number | undefined;
  readonly seen: readonly SeenProcess[];
  /** What the agent says of the exchange; undefined: it does not answer. */
  readonly agentSays: Pick<PeerFacts, 'heardMs'> | undefined;
  readonly exchanges: PeerFacts['exchanges'];
  readonly told: PeerFacts['told'];
}

export async function readPeers(question: PeerQuestion): Promise<PeerFacts> {
  const { node, stateDir, listen, agentSays, exchanges, told } = question;
  const peers = await new StateFile(stateDir).peers();
  return {
    node,
    stateDir,
    listen,
    addressHere: listen.address === undefined || isWildcard(listen.address) || isHere(listen.address),
    port: portHolder(question),
    agentRuns: agentSays !== undefined,
    known: peers && new Map(peers.list.map(({ node: name, addresses, port }) => [name, placeText(addresses, port)])),
    heardMs: agentSays?.heardMs,
    exchanges,
    told,
  };
}

function placeText(addresses: readonly string[], port: number): string {
  return `${addresses.join(' or ') || 'no address'}, UDP port ${port}`;
}

function isHere(address: string): boolean {
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  return own.some((one) => canonical(one.address) === canonical(address));
}

function portHolder({ listen, agentPid, seen }: PeerQuestion): PeerFacts['port'] {
  const sockets = [...udpSockets(textAt('/proc/net/udp') ?? ''), ...udpSockets(textAt('/proc/net/udp6') ?? '')];
  const inTheWay = sockets.filter((socket) => collides(socket, listen));
  if (inTheWay.length === 0) return 'free';
  const inodes = new Set(inTheWay.map(({ inode }) => inode));
  if (agentPid !== undefined && socketsOf(agentPid).some((inode) => inodes.has(inode))) return 'agent';
  const holder = seen.find(({ pid }) => socketsOf(pid).some((inode) => inodes.has(inode)));
  return { taken: holder === undefined ? 'another program' : `${basename(holder.argv[0] ?? '?')} (${holder.pid})` };
}

export interface UdpSocket {
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** Would a socket that is opened as the agent's find the port in use? Without an address it takes both families. */
export function collides(socket: UdpSocket, { address, port }: ListenAt): boolean {
  if (socket.port !== port) return false;
  if (address === undefined || isWildcard(address) || isWildcard(socket.address)) return true;
  return canonical(socket.address) === canonical(address);
}

/** `/proc/net/udp`, `/proc/net/udp6`: addresses are 32-bit words in the byte order of the machine. Source: proc_pid_net(5). */
export function udpSockets(text: string): UdpSocket[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, address, port] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(fields[1] ?? '') ?? [];
    const inode = fields[9];
    if (address === undefined || port === undefined || inode === undefined) return [];
    return [{ address: addressOf(address), port: Number.parseInt(port, 16), inode }];
  });
}

function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (endianness() === 'LE') bytes.swap32();
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  return canonical(groups.join(':'));
}

function socketsOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).flatMap((fd) => /^socket:\[(\d+)\]$/.exec(linkAt(`${directory}/${fd}`))?.[1] ?? []);
  } catch (error) {
    // ended meanwhile, or another user's
    if (['ENOENT', 'EACCES', 'EPERM', 'ESRCH'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

function linkAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM', 'ESRCH'].includes(errnoOf(error) ?? '')) return '';
    throw error;
  }
}

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || canonical(address) === '::';
}

/** One spelling for every address; an IPv4 address in IPv6 form is that IPv4 address. */
function canonical(address: string): string {
  const plain = isIPv6(address) ? new SocketAddress({ address, family: 'ipv6' }).address : address;
  const mapped = plain.startsWith('::ffff:') ? plain.slice(7) : plain;
  return isIP(mapped) === 4 ? mapped : plain;
}
