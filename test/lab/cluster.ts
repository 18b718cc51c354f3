/** A whole cluster for a test, in one call: laboratory, coordinator, joined nodes with running agents, a document in force. */
import type { Status, Why } from '../../schemas/api.ts';
import type { ClusterEvent } from '../../schemas/events.ts';
import type { Host } from './host.ts';
import { Lab } from './lab.ts';
import type { Observer, ObserverOptions } from './observer.ts';
import { type Front, Product } from './product.ts';
import { installMariadb, installNginx, installTestAgents, mariadb, nginx } from './services.ts';
import { slowDisk } from './slow-disk.ts';
import { monotonicMs, until } from './until.ts';

export const VIP = '192.0.2.10';

export interface ClusterOptions {
  /** Names of the nodes; alice, bob and carol when left out. */
  hosts?: readonly string[];
  /** More machines in the laboratory, which are no nodes: nothing is installed and nobody has joined. */
  spare?: readonly string[];
  /**
   * What is installed and allowed on every node; nginx when left out. `server` is the same nginx by an agent that takes no time: for tests
   * in which it starts and stops often, and not the agent of nginx is in question.
   */
  services?: readonly ('nginx' | 'server' | 'mariadb' | 'test-agents')[];
  /** Configuration; one group `web` with the address and nginx when left out. `null`: none is applied. */
  document?: string | null;
  /** More of `holdfast join --allow`. */
  allow?: readonly string[];
  /** What runs as PID 1 of the nodes. */
  init?: 'reaper' | 'systemd';
  observe?: ObserverOptions;
  /** Whether the coordinator opens its test hooks. */
  testHooks?: boolean;
  /** Sets up what stands in front of the coordinator; nothing when left out. */
  front?: (lab: Lab) => Promise<Front>;
  /** Whether the disks of all machines take long to sync; false when left out. */
  slowDisks?: boolean;
}

const parameters = (params: Readonly<Record<string, string>>) => JSON.stringify(params);

/** The lines of a document for the resources that the services above can run. */
export const resources = {
  vip: `      - vip: ${VIP}/24`,
  mariadb: `      - ocf: { agent: "${mariadb.agent}", params: ${parameters(mariadb.params)} }`,
  nginx: `      - ocf: { agent: "${nginx.agent}", params: ${parameters(nginx.params)} }`,
  server: '      - ocf: { agent: "holdfast-test:server" }',
} as const;

/** @param lines the resources of the one group, in order. */
export function documentOf(
  hosts: readonly string[],
  lines: readonly string[],
  options: { lease?: string; group?: string; requires?: 'uplink' } = {},
): string {
  const lease = options.lease === undefined ? '' : `lease: ${options.lease}\n`;
  const requires = options.requires === undefined ? '' : `    requires: ${options.requires}\n`;
  return `cluster: lab\nnodes: [${hosts.join(', ')}]\n${lease}groups:\n  ${options.group ?? 'web'}:\n    on: [${hosts.join(', ')}]\n${requires}    resources:\n${lines.join('\n')}\n`;
}

export class Cluster {
  readonly lab: Lab;
  readonly product: Product;
  readonly observer: Observer;
  readonly names: readonly string[];

  private constructor(lab: Lab, product: Product, observer: Observer, names: readonly string[]) {
    this.lab = lab;
    this.product = product;
    this.observer = observer;
    this.names = names;
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const names = options.hosts ?? ['alice', 'bob', 'carol'];
    const services = options.services ?? ['nginx'];
    const lab = await Lab.create({
      hosts: [...names, ...(options.spare ?? [])],
      ...(options.init === undefined ? {} : { init: options.init }),
    });
    try {
      const observer = await lab.observe(options.observe ?? { processes: ['nginx', 'mariadbd'] });
      const front = await options.front?.(lab);
      if (options.slowDisks === true)
        for (const machine of [lab.arbiter, ...lab.hosts.values()]) await slowDisk(machine);
      const product = await Product.create(lab, {
        testHooks: options.testHooks ?? false,
        ...(front === undefined ? {} : { front }),
      });
      await product.startCoordinator();
      await product.createCluster();
      const cluster = new Cluster(lab, product, observer, names);
      for (const name of names) await cluster.#equip(lab.host(name), services, options.allow ?? []);
      const document =
        options.document === undefined ? documentOf(names, [resources.vip, resources.nginx]) : options.document;
      if (document !== null) await product.apply(document);
      return cluster;
    } catch (error) {
      const logs = await lab.logs();
      await lab.close();
      throw new Error(`the cluster did not start: ${error instanceof Error ? error.message : String(error)}\n${logs}`, {
        cause: error,
      });
    }
  }

  async #equip(host: Host, services: NonNullable<ClusterOptions['services']>, more: readonly string[]): Promise<void> {
    const allow = ['vip=192.0.2.0/24', 'vip=2001:db8:10::/64', ...more];
    if (services.includes('nginx')) {
      await installNginx(host);
      allow.push(...allowed(nginx));
    }
    if (services.includes('server')) {
      await installNginx(host);
      allow.push('ocf=holdfast-test:server');
    }
    if (services.includes('mariadb')) {
      await installMariadb(host);
      allow.push(...allowed(mariadb));
    }
    if (services.includes('test-agents') || services.includes('server')) await installTestAgents(host);
    await this.product.enrol(host, { allow });
    await this.product.startAgent(host);
  }

  host(name: string): Host {
    return this.lab.host(name);
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.product.mustCli(['status', '--json'])) as Status;
  }

  async why(group = 'web'): Promise<Why> {
    return JSON.parse(await this.product.mustCli(['why', group, '--json'])) as Why;
  }

  async events(): Promise<ClusterEvent[]> {
    // without a time only the newest are shown
    const all = ['events', '--since', '1970-01-01T00:00:00Z', '--json'];
    const lines = (await this.product.mustCli(all)).split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as ClusterEvent);
  }

  /** Waits until the group is in this state; @returns its owner ('' for none). */
  async settled(
    state: Status['groups'][string]['state'] = 'running',
    options: { group?: string; deadlineMs?: number; on?: string } = {},
  ): Promise<string> {
    const group = options.group ?? 'web';
    let last: Status | undefined;
    try {
      await until(
        async () => {
          const asked = await this.product.cli(['status', '--json']);
          if (asked.code !== 0) return false;
          last = JSON.parse(asked.stdout) as Status;
          const found = last.groups[group];
          return found?.state === state && (options.on === undefined || found.owner === options.on);
        },
        {
          deadlineMs: options.deadlineMs ?? 20_000,
          what: `group ${group} to be ${state}${options.on === undefined ? '' : ` on ${options.on}`}`,
        },
      );
    } catch (error) {
      throw new Error(
        `${error instanceof Error ? error.message : String(error)}; last status: ${JSON.stringify(last?.groups[group])}\n${await this.lab.logs()}`,
        { cause: error },
      );
    }
    return last?.groups[group]?.owner ?? '';
  }

  /** Waits until every node (those of the start, or `count`) could take the group, so that a fault meets a healthy cluster. */
  async healthy(group = 'web', deadlineMs = 20_000, count = this.names.length): Promise<void> {
    let last: Why | undefined;
    const able = async () => {
      const asked = await this.product.cli(['why', group, '--json']);
      if (asked.code !== 0) return false;
      last = JSON.parse(asked.stdout) as Why;
      return (
        last.state === 'running' &&
        last.candidates.length === count &&
        last.candidates.every((candidate) => candidate.eligible)
      );
    };
    try {
      await until(able, { deadlineMs, what: `every node to be able to take ${group}` });
    } catch (error) {
      const unable = last?.candidates.filter(({ eligible }) => !eligible) ?? [];
      throw new Error(
        `${error instanceof Error ? error.message : String(error)}; it is ${last?.state}, and who cannot: ${JSON.stringify(unable)}`,
        { cause: error },
      );
    }
  }

  /** Waits until the coordinator has heard of the node after this moment (`monotonicMs`). */
  async heard(node: string, sinceMs: number, deadlineMs = 20_000): Promise<void> {
    const heard = async () => {
      const askedMs = monotonicMs();
      const { nodes } = await this.status();
      return askedMs - (nodes[node]?.lastSeenMs ?? Number.POSITIVE_INFINITY) > sinceMs;
    };
    await until(heard, { deadlineMs, what: `${node} to have reported` });
  }

  /** Waits for an event of this kind; @returns it. */
  async event(
    kind: ClusterEvent['kind'],
    match: Partial<ClusterEvent> = {},
    deadlineMs = 15_000,
  ): Promise<ClusterEvent> {
    let found: ClusterEvent | undefined;
    await until(
      async () => {
        const asked = await this.product.cli(['events', '--json']);
        if (asked.code !== 0) return false;
        const events = asked.stdout
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as ClusterEvent);
        found = events.findLast(
          (event) =>
            event.kind === kind &&
            Object.entries(match).every(([key, value]) => event[key as keyof ClusterEvent] === value),
        );
        return found !== undefined;
      },
      { deadlineMs, what: `an event ${kind} ${JSON.stringify(match)}` },
    );
    if (found === undefined) throw new Error('unreachable');
    return found;
  }

  async close(): Promise<void> {
    await this.lab.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function allowed({ agent, params }: { agent: string; params: Readonly<Record<string, string>> }): string[] {
  return Object.entries(params).map(([name, value]) => `ocf=${agent}:${name}=${value}`);
}
