import type { Addresses, Cgroups, Log } from '../system/index.ts';

/** Speaks to the neighbours of an interface: announces an address, asks whether somebody has it. The guard does this. */
export interface Announcer {
  /** Tells the segment that the address is here (gratuitous ARP request and reply, or an unsolicited neighbour advertisement). Address without prefix. */
  announce(interfaceName: string, address: string): Promise<void>;
  /** Asks the segment who has the address and listens for so long. */
  probe(
    interfaceName: string,
    address: string,
    timeoutMs: number,
  ): Promise<{ readonly taken: false } | { readonly taken: true; readonly mac: string }>;
}

/** What the resources of one group are given to work with. */
export interface ResourceContext {
  /** Name of the group; names its cgroup. */
  readonly group: string;
  readonly announcer: Announcer;
  readonly addresses: Addresses;
  /** Undefined where the kernel gives this process none; then only addresses can be run. */
  readonly cgroups: Cgroups | undefined;
  /** How long an address may live without being refreshed: what is left of the group's lease, in seconds. */
  lifetimeSeconds(): number;
  readonly log: Log;
}
