/** What the tests of outages share: a client that must not notice, what nodes know by themselves, and what the status foretells. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { Client } from './client.ts';
import { type Cluster, documentOf, resources, VIP } from './cluster.ts';
import { lasting, names, pidsOf, stateDir } from './faults.ts';
import type { Host } from './host.ts';
import { monotonicMs, until } from './until.ts';

export const { leaseMs, renewMs, takeoverMs } = LEASE_PROFILES.default;
/** Whatever was going to happen by itself has happened. */
export const SETTLED_MS = 2 * takeoverMs;

/** What a client sees before a fault is compared with what it sees after it. */
const REFERENCE_MS = 5_000;

/** One group `web` on these nodes: the address, and nginx by an agent that takes no time. */
export function served(hosts: readonly string[] = names, options: { lease?: string } = {}) {
  return {
    hosts,
    services: ['server'] as const,
    document: documentOf(hosts, [resources.vip, resources.server], options),
  };
}

/** What of it a test reads. */
export interface LocalStatus {
  readonly incarnation: string;
  readonly connected: boolean;
  readonly peersHeardMs: Readonly<Record<string, number | null>>;
  readonly groups: readonly {
    readonly group: string;
    readonly state: string;
    readonly epoch: number;
    readonly voters: readonly string[];
    readonly livesOnPromises: boolean;
    readonly leaseRemainingMs: number | null;
  }[];
}

/** What the agent of a node says on its socket; undefined while none answers. */
export async function localStatus(host: Host): Promise<LocalStatus | undefined> {
  const script = `const s=require('net').connect('${stateDir}/agent.sock',()=>s.write('{"query":"status"}\\n'));s.pipe(process.stdout)`;
  const asked = await host.exec([process.execPath, '-e', script]);
  return asked.code === 0 ? (JSON.parse(asked.stdout) as LocalStatus) : undefined;
}

/** Waits until this node runs the group without the coordinator's word. */
export async function livesOnPromises(host: Host, group = 'web', deadlineMs = 15_000): Promise<void> {
  const lives = async () =>
    (await localStatus(host))?.groups.some((known) => known.group === group && known.livesOnPromises);
  await until(lives, { deadlineMs, everyMs: 100, what: `${group} to go on at ${host.name} without the coordinator` });
}

/** One of those by whose promises this node, the owner, lives now. */
export async function anotherVoter(owner: Host, group = 'web'): Promise<string> {
  const known = (await localStatus(owner))?.groups.find((one) => one.group === group);
  return known?.voters.findLast((name) => name !== owner.name) ?? '';
}

type Outage = NonNullable<Status['groups'][string]['outage']>;

/** Waits until the status says this of an outage that would begin now. @returns what it says. */
export async function foretold(
  cluster: Cluster,
  is: (outage: Outage) => boolean,
  what: string,
  options: { readonly group?: string; readonly deadlineMs?: number } = {},
): Promise<Outage> {
  const { group = 'web', deadlineMs = 20_000 } = options;
  let last: Outage | undefined;
  try {
    return await until(
      async () => {
        const asked = await cluster.product.cli(['status', '--json']);
        if (asked.code !== 0) return undefined;
        last = (JSON.parse(asked.stdout) as Status).groups[group]?.outage;
        return last !== undefined && is(last) ? last : undefined;
      },
      { deadlineMs, everyMs: 100, what },
    );
  } catch (error) {
    throw new Error(`${String(error)}; the status says ${JSON.stringify(last)}`, { cause: error });
  }
}

/** Waits until an outage that begins now would cost the group nothing, by the status. */
export async function safe(cluster: Cluster, group = 'web'): Promise<Outage> {
  return await foretold(cluster, ({ survives }) => survives, `${group} to be safe from an outage`, { group });
}

/** As `safe`, with another voter beside the owner. @returns both. */
export async function safeByAnother(cluster: Cluster): Promise<{ owner: string; voter: string }> {
  const { voters } = await foretold(
    cluster,
    (outage) => outage.survives && outage.voters.length > 1,
    'web to be safe from an outage by the promise of another node',
    { deadlineMs: 40_000 },
  );
  const owner = (await cluster.status()).groups.web?.owner ?? '';
  return { owner, voter: voters.findLast((name) => name !== owner) ?? '' };
}

/** Waits until the group runs in an epoch above this one: a coordinator that has just started shows it as it was. */
export async function runsAbove(cluster: Cluster, epoch: number, deadlineMs = 30_000): Promise<string> {
  return await until(
    async () => {
      const asked = await cluster.product.cli(['status', '--json']);
      if (asked.code !== 0) return undefined;
      const { web } = (JSON.parse(asked.stdout) as Status).groups;
      return web?.state === 'running' && web.epoch > epoch ? web.owner : undefined;
    },
    { deadlineMs, everyMs: 50, what: `web to run in an epoch above ${epoch}` },
  );
}

/** Somebody who uses the group all the time. */
export class Watch {
  readonly client: Client;
  readonly #cluster: Cluster;

  private constructor(cluster: Cluster, client: Client) {
    this.#cluster = cluster;
    this.client = client;
  }

  static async start(cluster: Cluster): Promise<Watch> {
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    return new Watch(cluster, client);
  }

  /**
   * Does `body`, and asserts that nobody noticed: no question of the client unanswered (see `Client.missed`), the address never gone by
   * the kernel's own events, the very same processes, the same owner and epoch. The longest pause between two answers is reported, with that of
   * the 5 s before it.
   */
  async unnoticed(t: TestContext, what: string, on: string, body: () => Promise<void>): Promise<void> {
    const { observer } = this.#cluster;
    const host = this.#cluster.host(on);
    const [nginx, history] = [pidsOf(host, 'nginx'), await observer.history(VIP)];
    const sinceMs = monotonicMs();
    await body();
    const took = monotonicMs() - sinceMs;
    await this.client.nextAnswer(5_000);
    const { unanswered, downtimeMs, pauseMs } = this.client.missed(sinceMs);
    const usual = this.client.missed(sinceMs - REFERENCE_MS, sinceMs);
    t.diagnostic(
      `${what}, ${(took / 1_000).toFixed(0)} s: ${unanswered} questions unanswered, ${downtimeMs.toFixed(0)} ms of downtime; longest pause between two answers ${pauseMs.toFixed(0)} ms (before it ${usual.pauseMs.toFixed(0)} ms)`,
    );
    deepEqual(this.client.failures.filter(({ sentMs }) => sentMs >= sinceMs).slice(0, 3), [], `${what}: all answered`);
    deepEqual(await observer.history(VIP), history, `${what}: the address never left`);
    deepEqual(pidsOf(host, 'nginx'), nginx, `${what}: the very same processes`);
  }

  async stop(): Promise<void> {
    await this.client.stop();
  }
}

/** The owner stops what it runs within a lease that nobody lengthens any more. @returns how long it took, ms. */
export async function stopsInTime(cluster: Cluster, owner: Host, sinceMs: number): Promise<number> {
  await until(() => !cluster.observer.holders(VIP).includes(owner.name), {
    deadlineMs: leaseMs + 10_000,
    everyMs: 2,
    what: `${owner.name} to let the address go`,
  });
  const tookMs = monotonicMs() - sinceMs;
  ok(tookMs <= leaseMs + 500, `down by the deadline of the lease: ${tookMs.toFixed(0)} ms`);
  await until(() => pidsOf(owner, 'nginx').length === 0, { deadlineMs: 5_000, what: 'nginx to end' });
  return tookMs;
}

/**
 * Why its agent gave the lease up, by its own log: when the machine is slow, a forced stop may not be done in time, and the guard ends the agent
 * before it has told anybody.
 */
export async function saidOnLoss(cluster: Cluster, owner: Host, why: RegExp): Promise<void> {
  const log = await readFile(cluster.product.agent(owner).logFile ?? '', 'utf8');
  match([...log.matchAll(/^warning: web: lease of epoch \d+ lost: (.*)$/gm)].at(-1)?.[1] ?? '', why);
}

/** Nobody has anything of the group, now and for as long as a takeover could take. */
export async function nobodyStarts(cluster: Cluster): Promise<void> {
  await lasting(SETTLED_MS, 'two takeovers');
  deepEqual(cluster.observer.holders(VIP), [], 'nobody takes what nobody granted');
  for (const host of cluster.lab.hosts.values()) deepEqual(pidsOf(host, 'nginx'), [], `nginx on ${host.name}`);
}

/** The coordinator is back with the data it had: the same owner in the same epoch. */
export async function backAsBefore(cluster: Cluster, on: string, epoch: number): Promise<void> {
  await cluster.product.startCoordinator();
  await cluster.settled('running', { on, deadlineMs: 20_000 });
  equal((await cluster.status()).groups.web?.epoch, epoch, 'the same epoch');
}
