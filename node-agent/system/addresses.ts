import { existsSync, readFileSync } from 'node:fs';
import ipaddr from 'ipaddr.js';
import { type AddressListener, AddressMonitor, linkIsUp } from './address-monitor.ts';
import { errnoOf } from './errors.ts';
import { type Log, silent } from './log.ts';
import { run } from './process.ts';

export interface InterfaceAddress {
  readonly family: 4 | 6;
  /** As the kernel prints it: IPv6 in the short lower-case form of RFC 5952. */
  readonly address: string;
  readonly prefixLength: number;
  /** Duplicate address detection is still running: the address does not answer yet. */
  readonly tentative: boolean;
  /** Duplicate address detection found another owner; the address stays but is not used. */
  readonly dadFailed: boolean;
  /** Its lifetime is finite: the kernel takes it away by itself. */
  readonly finite: boolean;
}

export interface NetworkInterface {
  readonly name: string;
  /** Set up and with a carrier. */
  readonly up: boolean;
  readonly loopback: boolean;
  /** False where no neighbours are resolved (tun, dummy): nothing to probe or to announce. */
  readonly neighbours: boolean;
  readonly addresses: readonly InterfaceAddress[];
}

export interface AddedAddress {
  readonly interface: string;
  readonly address: string;
  readonly prefixLength: number;
  readonly lifetimeSeconds: number;
  /** The `ip` process runs in this cgroup, so that it does not outlive the group's processes. */
  readonly cgroup?: string | undefined;
}

/** The kernel's own answer to a command, e.g. `RTNETLINK answers: Operation not permitted`. */
export type IpOutcome = { readonly ok: true } | { readonly ok: false; readonly reason: string };

const IP_TIMEOUT_MS = 5_000;
const IP_PLACES = ['/usr/sbin/ip', '/sbin/ip', '/usr/bin/ip', '/bin/ip'];
/** `ip -j address` of a machine with a thousand interfaces is below this. */
const IP_OUTPUT_LIMIT = 4 * 1024 * 1024;

/** The addresses and links of the network namespace that the agent runs in, through iproute2. */
export class Addresses {
  readonly #ip: string;
  readonly #monitor: AddressMonitor;

  /** @throws when iproute2 is not installed. */
  constructor(log: Log = silent) {
    const ip = IP_PLACES.find((path) => existsSync(path));
    if (ip === undefined) throw new Error(`no ip command at ${IP_PLACES.join(', ')}; install iproute2`);
    this.#ip = ip;
    this.#monitor = new AddressMonitor(ip, log);
  }

  /** Pid of the shared `ip monitor` child while somebody watches. */
  get monitorPid(): number | undefined {
    return this.#monitor.pid;
  }

  /**
   * Reads all interfaces with their addresses, or with `only` just those interfaces that carry this one address.
   * @throws when `ip` fails.
   */
  async read(
    options: { readonly only?: string; readonly signal?: AbortSignal } = {},
  ): Promise<readonly NetworkInterface[]> {
    const filter = options.only === undefined ? [] : ['to', `${options.only}/${fullLength(options.only)}`];
    const result = await this.#run(['-j', 'address', 'show', ...filter], options.signal);
    if (result.code !== 0 || result.truncated) throw new Error(`ip address show: ${problemOf(result)}`);
    return parseAddresses(result.stdout);
  }

  /** Adds an address; IPv6 without duplicate address detection (the caller has asked the neighbours itself) and never as a source address of its own choice. */
  async add(added: AddedAddress, signal?: AbortSignal): Promise<IpOutcome> {
    const six = ipaddr.IPv6.isValid(added.address);
    const lifetime = String(Math.max(1, Math.ceil(added.lifetimeSeconds)));
    const command = ['address', 'add', `${added.address}/${added.prefixLength}`, 'dev', added.interface];
    const lifetimes = ['valid_lft', lifetime, 'preferred_lft', six ? '0' : lifetime];
    const result = await this.#run([...command, ...lifetimes, ...(six ? ['nodad'] : [])], signal, added.cgroup);
    return result.code === 0 ? { ok: true } : { ok: false, reason: problemOf(result) };
  }

  /** Deletes an address. The outcome is the command's own; whether the address is gone is read with {@link read}. */
  async delete(from: string, address: string, prefixLength: number, signal?: AbortSignal): Promise<IpOutcome> {
    const result = await this.#run(['address', 'delete', `${address}/${prefixLength}`, 'dev', from], signal);
    return result.code === 0 ? { ok: true } : { ok: false, reason: problemOf(result) };
  }

  /** Tells when an address is deleted, or its link changes. One child process serves all watches. @returns a function that ends the watch. */
  watch(listener: AddressListener): () => void {
    return this.#monitor.listen(listener);
  }

  /** The setting that keeps secondary addresses when a primary one of the subnet is deleted. */
  promoteSecondaries(name: string): boolean {
    return ['all', name].some((scope) => {
      try {
        return readFileSync(`/proc/sys/net/ipv4/conf/${scope}/promote_secondaries`, 'utf8').trim() === '1';
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return false;
        throw error;
      }
    });
  }

  #run(args: readonly string[], signal: AbortSignal | undefined, cgroup?: string) {
    return run([this.#ip, ...args], {
      env: { LC_ALL: 'C' },
      timeoutMs: IP_TIMEOUT_MS,
      stdoutLimit: IP_OUTPUT_LIMIT,
      signal,
      cgroup,
    });
  }
}

function problemOf(result: Awaited<ReturnType<typeof run>>): string {
  if (result.notStarted !== undefined) return result.notStarted;
  if (result.timedOut) return `no answer from ip within ${IP_TIMEOUT_MS} ms`;
  if (result.aborted) return 'stopped before ip had ended';
  if (result.truncated) return 'more output than fits';
  return result.output.trim().split('\n').at(-1) || `ip ended with ${result.signal ?? result.code}`;
}

/** 32 for IPv4, 128 for IPv6. */
export function fullLength(address: string): number {
  return ipaddr.IPv6.isValid(address) ? 128 : 32;
}

/** Makes sense of `ip -j address show`. Interfaces that a filter left empty are dropped. */
function parseAddresses(json: string): NetworkInterface[] {
  const parsed: unknown = JSON.parse(json === '' ? '[]' : json);
  if (!Array.isArray(parsed)) throw new Error('ip -j address show printed no list');
  return parsed.filter(isRecord).flatMap((link) => {
    if (typeof link.ifname !== 'string') return [];
    const flags = Array.isArray(link.flags) ? link.flags.filter((flag) => typeof flag === 'string') : [];
    const list = Array.isArray(link.addr_info) ? link.addr_info.filter(isRecord) : [];
    return [
      {
        name: link.ifname,
        up: linkIsUp(flags),
        loopback: flags.includes('LOOPBACK'),
        neighbours: !flags.includes('NOARP') && !flags.includes('LOOPBACK'),
        addresses: list.flatMap(parseAddress),
      },
    ];
  });
}

function parseAddress(info: Record<string, unknown>): InterfaceAddress[] {
  const address = info.local;
  const prefixLength = info.prefixlen;
  if (typeof address !== 'string' || typeof prefixLength !== 'number') return [];
  return [
    {
      family: info.family === 'inet6' ? 6 : 4,
      address,
      prefixLength,
      tentative: info.tentative === true,
      dadFailed: info.dadfailed === true,
      finite: info.valid_life_time !== 0xffff_ffff,
    },
  ];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The subnets that a node is really part of: no single addresses, no loopback, no link-local ones. Shape `192.0.2.0/24`. */
export function subnetsOf(interfaces: readonly NetworkInterface[]): string[] {
  const found = new Set<string>();
  for (const link of interfaces.filter((candidate) => !candidate.loopback)) {
    for (const { address, prefixLength, family } of link.addresses) {
      const range = ipaddr.parse(address).range();
      if (prefixLength >= (family === 4 ? 32 : 128) || prefixLength === 0 || range === 'linkLocal') continue;
      const network = family === 4 ? ipaddr.IPv4 : ipaddr.IPv6;
      found.add(`${network.networkAddressFromCIDR(`${address}/${prefixLength}`)}/${prefixLength}`);
    }
  }
  return [...found];
}
