/**
 * The classic stack on two machines: one document, a virtual address, a disk replicated by DRBD, a file system, a database and a web
 * server. Everything it makes ends with `close`, or with this process.
 */
import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../lab/index.ts';
import { AddressWatch } from './address-watch.ts';
import type { Machine } from './machine.ts';
import { linkNames, type Network, networks } from './network.ts';
import { Product } from './product.ts';
import { numberOf, Rack } from './rack.ts';

export const VIP = '192.0.2.10';
export const GROUP = 'db';
const NODES = ['alice', 'bob'] as const;

interface Choice {
  /** Whether the group is given up by a node that has lost the coordinator, though its voters still hear of it. */
  readonly requiresUplink?: boolean;
  readonly lease?: 'default' | 'wan';
}

const documentWith = ({ requiresUplink = false, lease = 'default' }: Choice) => `cluster: shop
nodes: [alice, bob]
lease: ${lease}
groups:
  ${GROUP}:
    on: [alice, bob]${requiresUplink ? '\n    requires: uplink' : ''}
    resources:
      - vip: ${VIP}/24
      - drbd: r0
      - mount: /dev/drbd0 /srv/mysql ext4
      - service: mariadb
      - service: nginx
`;

const ALLOW = ['mount=/srv/*', 'service=mariadb.service', 'service=nginx.service'];

/** As docs/configuration.md has it, and quicker to catch up: by itself DRBD makes way for the writer, and each repair would take a minute. */
const DRBD = `resource r0 {
  device /dev/drbd0;
  meta-disk internal;
  disk { fencing resource-and-stonith; resync-rate 100M; c-plan-ahead 0; }
  net { protocol C; timeout 25; ping-int 3; ping-timeout 5; }
  handlers {
    fence-peer   "/usr/lib/holdfast/holdfast-drbd fence-peer";
    unfence-peer "/usr/lib/holdfast/holdfast-drbd unfence-peer";
  }
${NODES.map((name, index) => `  on ${name} { disk /dev/vdb; address ${networks.replication.ipv4}${numberOf(index)}:7788; }\n`).join('')}}
`;

export class VmCluster {
  readonly product: Product;
  readonly addresses: AddressWatch;
  readonly #rack: Rack;

  private constructor(rack: Rack, product: Product) {
    this.#rack = rack;
    this.product = product;
    this.addresses = AddressWatch.start(rack.network, rack.tools, VIP);
  }

  /** Boots both machines, installs, joins, applies. Resolves when the group runs and the other node could take it. */
  static async start(): Promise<VmCluster> {
    const rack = await Rack.create({ names: NODES });
    const cluster = new VmCluster(rack, await Product.create(rack.network, rack.dir));
    try {
      await cluster.#setUp();
    } catch (error) {
      throw await cluster.failed('set-up', error);
    }
    return cluster;
  }

  get network(): Network {
    return this.#rack.network;
  }

  get machines(): readonly Machine[] {
    return this.#rack.machines;
  }

  async #setUp(): Promise<void> {
    const [first] = this.machines;
    if (first === undefined) throw new Error('there is no machine');
    await this.product.startCoordinator();
    await this.product.createCluster();
    await Promise.all(
      this.machines.map(async (machine) => {
        await machine.start();
        await machine.mustExec('hostname > /var/www/html/index.html');
        await machine.write('/etc/drbd.d/r0.res', DRBD);
        await machine.mustExec('drbdadm create-md --force r0 && drbdadm up r0');
        await this.product.install(machine);
      }),
    );
    // both disks are copies of one: there is nothing to synchronise
    await first.mustExec('drbdadm wait-connect r0 && drbdadm new-current-uuid --clear-bitmap r0/0');
    await first.mustExec('drbdadm primary r0 && drbdadm secondary r0');
    await Promise.all(this.machines.map(async (machine) => await this.product.join(machine, ALLOW)));
    await this.configure({});
    // on whichever node tells first that its copy is complete
    await this.product.settled(GROUP, 'running', { deadlineMs: 180_000 });
    await this.product.healthy(GROUP);
  }

  /** Applies the document with these choices; restarts nothing. */
  async configure(choice: Choice): Promise<void> {
    const file = join(this.#rack.dir, 'shop.yaml');
    await writeFile(file, documentWith(choice));
    await this.product.apply(file);
  }

  machine(name: string): Machine {
    return this.#rack.machine(name);
  }

  /** Where the group runs now. */
  async owner(): Promise<Machine> {
    return this.machine(await this.product.settled(GROUP, 'running'));
  }

  other(machine: Machine): Machine {
    const found = this.machines.find((one) => one !== machine);
    if (found === undefined) throw new Error(`there is only ${machine.name}`);
    return found;
  }

  /** Whose cards have an address of the cluster's, as a name of a machine. */
  nameOf(mac: string): string {
    const number = Number.parseInt(mac.slice(-2), 16);
    return this.machines.find((machine) => machine.number === number)?.name ?? mac;
  }

  /** The role of each running machine in DRBD. */
  async roles(): Promise<Record<string, string>> {
    const asked = this.machines
      .filter((machine) => machine.on)
      .map(async (machine) => {
        const said = await machine.exec('drbdadm role r0');
        return [machine.name, said.code === 0 ? (said.stdout.trim().split('/')[0] ?? '') : 'none'] as const;
      });
    return Object.fromEntries(await Promise.all(asked));
  }

  /**
   * Resolves when it is not Primary, or not any more. A Primary of DRBD 8.4 that is frozen without its peer is demoted by its agent, which the
   * guard has ended and systemd starts anew; until then nothing that it has is acknowledged.
   */
  async demoted(machine: Machine): Promise<void> {
    await until(async () => (await this.roles())[machine.name] !== 'Primary', {
      deadlineMs: 90_000,
      everyMs: 250,
      what: `${machine.name} to be Primary no more`,
    });
  }

  /** The running machines that have the virtual address on a card. */
  async holders(): Promise<string[]> {
    const asked = this.machines
      .filter((machine) => machine.on)
      .map(async (machine) => [machine.name, await machine.mustExec(`ip -o addr show to ${VIP}`)] as const);
    return (await Promise.all(asked)).filter(([, said]) => said !== '').map(([name]) => name);
  }

  /** Switches on, mends and thaws whatever a scenario has left broken, and waits until the cluster is healthy again. */
  async repair(): Promise<void> {
    await Promise.all(
      this.machines.map(async (machine) => {
        machine.thaw();
        for (const link of linkNames) await machine.mend(link);
        if (!machine.on) await machine.start();
      }),
    );
    await this.product.healthy(GROUP);
  }

  /** Keeps what is needed to understand it, ends the cluster, and @returns the error with the place. */
  async failed(what: string, error: unknown): Promise<Error> {
    const place = await this.#rack.keep(what);
    await writeFile(join(place, 'story.txt'), await this.product.story().catch((cause) => String(cause)));
    if (existsSync(this.product.logFile)) await copyFile(this.product.logFile, join(place, 'coordinator.log'));
    await this.close();
    const message = error instanceof Error ? error.message : String(error);
    return new Error(`${message}\n(consoles, journals and events are in ${place})`, { cause: error });
  }

  /** May be called twice. */
  async close(): Promise<void> {
    this.addresses.stop();
    try {
      await this.product.stopCoordinator();
    } finally {
      await this.#rack.close();
    }
  }
}
