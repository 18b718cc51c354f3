/** `--lan-address IP[:PORT]`: where a node listens for the others. */
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { networkInterfaces } from 'node:os';
import { PEER_PORT } from '../../schemas/limits.ts';
import { CliError, EXIT } from './exit.ts';

export interface LanAddress {
  /** Undefined: every address. */
  readonly address?: string;
  readonly port: number;
}

/**
 * `192.0.2.7`, `192.0.2.7:7481`, `2001:db8::7`, `[2001:db8::7]:7481`; `0.0.0.0` and `::` stand for every address.
 * @param here the addresses of this machine.
 * @throws {CliError} for what is no address, or none of this machine.
 */
export function lanAddress(text: string, here: readonly string[] = ownAddresses()): LanAddress {
  const { address, port } = parts(text);
  if (isIP(address) === 0) throw refused(text, 'is no IP address', here);
  if (address.includes('%') || /^fe[89ab]/i.test(address))
    throw refused(text, 'a link-local address means something on this machine alone', here);
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
    throw refused(text, `“${port}” is no port (1 to 65535)`, here);
  const number = Number(port);
  if (sameAddress(address, '0.0.0.0') || sameAddress(address, '::')) return { port: number };
  if (!here.some((own) => sameAddress(own, address))) throw refused(text, 'is no address of this machine', here);
  return { address, port: number };
}

/** An IPv6 address that bears a port stands in brackets. */
function parts(text: string): { address: string; port: string } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return { address: bracketed[1] ?? '', port: bracketed[2] ?? String(PEER_PORT) };
  if (isIPv6(text)) return { address: text, port: String(PEER_PORT) };
  const [address = '', port = String(PEER_PORT), ...rest] = text.split(':');
  return rest.length > 0 ? { address: text, port: String(PEER_PORT) } : { address, port };
}

function refused(text: string, why: string, here: readonly string[]): CliError {
  const known = here.length === 0 ? '' : `this machine has ${here.join(', ')}; `;
  return new CliError(EXIT.usage, `--lan-address ${text}: ${why}`, {
    next: `${known}give one of its own addresses that the other nodes reach, as IP, IP:PORT or [IPV6]:PORT, or leave it out for all of them`,
  });
}

export function sameAddress(a: string, b: string): boolean {
  return canonical(a) === canonical(b);
}

function canonical(address: string): string {
  return isIPv6(address) ? new SocketAddress({ address, family: 'ipv6' }).address : address;
}

/** Those that others may reach. */
function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ address }) => !/^fe[89ab]/i.test(address))
    .map(({ address }) => address);
}
