import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { labUnavailable } from './available.ts';
import { cgroupMount, removeCgroup } from './cgroup.ts';
import { detachLoopsOf } from './disk.ts';
import { Host } from './host.ts';
import { nativeProgram } from './native.ts';
import { type LinkName, Network, networks } from './network.ts';
import { Observer, type ObserverOptions } from './observer.ts';
import { ownedName, ownerIsDead } from './owner.ts';
import { labPackages, preparePackages } from './packages.ts';
import { labsDir } from './paths.ts';
import { systemdPackages } from './systemd.ts';
import { DeadlineError } from './until.ts';

export interface LabOptions {
  /** Names of the machines of the cluster; numbered 11, 12, … in this order. */
  hosts: readonly string[];
  /** Packages beside those of `labPackages`. */
  packages?: readonly string[];
  /** What runs as PID 1 of the machines of the cluster; a program that only reaps when left out. */
  init?: 'reaper' | 'systemd';
}

const hostNumbers = { arbiter: 1, first: 11, client: 100 };

interface Plan {
  name: string;
  number: number;
  links: readonly LinkName[];
}

/** Hosts, a coordinator's machine and a client on two networks. Everything it makes ends with `close`, or with this process. */
export class Lab {
  /** Owned name: says which process made it. */
  readonly id: string;
  /** The lab's own directory on the machine. */
  readonly dir: string;
  /** Machines of the cluster, by name. */
  readonly hosts: ReadonlyMap<string, Host>;
  /** The coordinator's machine: only on the uplink, 198.51.100.1. */
  readonly arbiter: Host;
  /** Asks services: only on the LAN, 192.0.2.100. */
  readonly client: Host;
  readonly #network: Network;
  readonly #cgroup: string;
  readonly #observers: Observer[] = [];
  readonly #closers: (() => Promise<void>)[] = [];

  private constructor(parts: {
    id: string;
    dir: string;
    cgroup: string;
    network: Network;
    hosts: readonly Host[];
    arbiter: Host;
    client: Host;
  }) {
    this.id = parts.id;
    this.dir = parts.dir;
    this.#cgroup = parts.cgroup;
    this.#network = parts.network;
    this.hosts = new Map(parts.hosts.map((host) => [host.name, host]));
    this.arbiter = parts.arbiter;
    this.client = parts.client;
  }

  /** Makes a laboratory with all hosts on. The first one on a machine downloads packages. Throws with the reason if it cannot. */
  static async create(options: LabOptions): Promise<Lab> {
    const reason = labUnavailable();
    if (reason !== undefined) throw new Error(reason);
    await sweep();
    const wanted = [...(options.packages ?? []), ...(options.init === 'systemd' ? systemdPackages : [])];
    const packagesRoot = await preparePackages([...labPackages, ...wanted]);
    const labHost = await nativeProgram('lab-host');
    const id = ownedName();
    const dir = join(labsDir, id);
    const cgroup = join(cgroupMount() ?? '', id);
    await mkdir(dir, { mode: 0o711 });
    const network = await Network.create(labHost);
    const plans: Plan[] = [
      ...options.hosts.map(
        (name, index): Plan => ({ name, number: hostNumbers.first + index, links: ['lan', 'uplink'] }),
      ),
      { name: 'arbiter', number: hostNumbers.arbiter, links: ['uplink'] },
      { name: 'client', number: hostNumbers.client, links: ['lan'] },
    ];
    const names = new Map(plans.map(({ name, number, links }) => [name, addressesOf(number, links)]));
    const made: Host[] = [];
    try {
      const boots = await Promise.allSettled(
        plans.map(async ({ name, number, links }) => {
          const init = options.hosts.includes(name) ? (options.init ?? 'reaper') : 'reaper';
          const own = {
            dir: join(dir, name),
            cgroup: join(cgroup, name),
            hostname: name,
            number,
            links,
            init,
          } as const;
          const host = await Host.create({ ...own, packagesRoot, names, labHost, network });
          made.push(host);
          await host.boot();
        }),
      );
      for (const boot of boots) if (boot.status === 'rejected') throw boot.reason;
      const byName = (name: string) => made.find((host) => host.name === name) ?? missing(name);
      const hosts = options.hosts.map(byName);
      return new Lab({ id, dir, cgroup, network, hosts, arbiter: byName('arbiter'), client: byName('client') });
    } catch (error) {
      await cleanUp(made, network, cgroup, dir);
      throw error;
    }
  }

  /** A machine of the cluster. Throws for a name that is none. */
  host(name: string): Host {
    return this.hosts.get(name) ?? missing(name);
  }

  /** Watches all machines of the cluster from now on, through all their boots. Ends with the lab at the latest. */
  async observe(options: ObserverOptions = {}): Promise<Observer> {
    const observer = await Observer.start(options);
    this.#observers.push(observer);
    for (const host of this.hosts.values()) await observer.add(host);
    return observer;
  }

  /** What all units wrote, the last 4000 characters of each, for the message of a test that fails: their files go with the laboratory. */
  async logs(): Promise<string> {
    const parts: string[] = [];
    for (const host of [this.arbiter, ...this.hosts.values()]) {
      for (const { name, logFile, exits } of host.units) {
        const text = logFile === undefined ? '' : await readFile(logFile, 'utf8').catch(() => '');
        parts.push(`=== ${host.name} ${name} (ended ${exits.length} times)\n${text.slice(-4000)}`);
      }
    }
    return parts.join('\n');
  }

  /** Called when the hosts have ended, before the lab's directory is removed. */
  onClose(closer: () => Promise<void>): void {
    this.#closers.push(closer);
  }

  /** Ends every process and removes every trace. May be called twice. */
  async close(): Promise<void> {
    for (const observer of this.#observers) await observer.close();
    const hosts = [...this.hosts.values(), this.arbiter, this.client];
    await cleanUp(hosts, this.#network, this.#cgroup, this.dir, this.#closers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Goes on when a step fails, so that as little as possible is left; then throws what failed first. */
async function cleanUp(
  hosts: readonly Host[],
  network: Network,
  cgroup: string,
  dir: string,
  closers: readonly (() => Promise<void>)[] = [],
): Promise<void> {
  const results = await Promise.allSettled(hosts.map((host) => host.close()));
  for (const step of [
    ...closers,
    () => network.close(),
    () => removeCgroup(cgroup),
    () => rm(dir, { recursive: true, force: true }),
  ]) {
    results.push(...(await Promise.allSettled([step()])));
  }
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * Removes what laboratories left behind whose process was killed. Their processes, mounts and namespaces ended with it;
 * what stays are directories, loop devices over files in them, and empty control groups, which carry the owner in their names. A control group that is
 * still busy (its last zombies not yet reaped by the machine's PID 1) is left to the next sweep.
 */
async function sweep(): Promise<void> {
  const root = cgroupMount();
  for (const name of root === undefined ? [] : await readdir(root)) {
    if (root === undefined || !ownerIsDead(name)) continue;
    await removeCgroup(join(root, name), 1000).catch((error: unknown) => {
      if (!(error instanceof DeadlineError)) throw error;
    });
  }
  for (const name of await readdir(labsDir)) {
    if (!ownerIsDead(name)) continue;
    await detachLoopsOf(`${join(labsDir, name)}/`);
    await rm(join(labsDir, name), { recursive: true, force: true });
  }
}

function addressesOf(number: number, links: readonly LinkName[]): string[] {
  return links.flatMap((link) => [`${networks[link].ipv4}${number}`, `${networks[link].ipv6}${number}`]);
}

function missing(name: string): never {
  throw new Error(`the laboratory has no host ${name}`);
}
