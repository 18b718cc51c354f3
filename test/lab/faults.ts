/** What the tests of faults share: a cluster with a fault in it, and what must be true of it whatever the fault was. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { labUnavailable } from './available.ts';
import { Cluster, type ClusterOptions, documentOf, resources, VIP } from './cluster.ts';
import type { Host } from './host.ts';
import { everyEvent } from './memory.ts';
import { networks } from './network.ts';
import { monotonicMs, until } from './until.ts';

export const names = ['alice', 'bob', 'carol'] as const;
export const stateDir = '/var/lib/holdfast';
export const VIP6 = '2001:db8:10::10';

/** A test with a cluster of its own. At its end `assertIntact`; when it fails, the newest events and the logs of all units are in its message. */
export function faultTest(
  name: string,
  options: ClusterOptions & { timeoutMs?: number },
  body: (cluster: Cluster, t: TestContext) => Promise<void>,
): void {
  test(name, { skip: labUnavailable() ?? false, timeout: options.timeoutMs ?? 120_000 }, async (t) => {
    await using cluster = await Cluster.start(options);
    try {
      await body(cluster, t);
      await assertIntact(cluster);
    } catch (error) {
      const history = await cluster.observer.history(VIP).catch(String);
      const events = await cluster.product.mustCli(['events']).catch(String);
      throw new Error(
        `${error instanceof Error ? error.message : String(error)}\n${VIP}: ${String(history)}\n${events}\n${await cluster.lab.logs()}`,
        { cause: error },
      );
    }
  });
}

/**
 * One of several stories that share a cluster, each of which leaves it as it found it. The first that fails ends the test: what comes after
 * would meet another cluster than it expects.
 */
export async function step(t: TestContext, name: string, body: (t: TestContext) => Promise<void>): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  await t.test(name, async (inner) => {
    try {
      await body(inner);
    } catch (error) {
      failure = { error };
      throw error;
    }
  });
  if (failure !== undefined) throw failure.error;
}

/** Never two holders in any sample; every grant above the one before; no node remembers less than it was granted. */
async function assertIntact(cluster: Cluster): Promise<void> {
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), [], 'never two holders of an address');
  for (const comm of ['nginx', 'mariadbd'])
    deepEqual(await cluster.observer.processOverlaps(comm), [], `never two nodes that run ${comm}`);
  // it may be granted while this looks at it
  const before = (await cluster.status()).groups;
  const events = await everyEvent(cluster);
  deepEqual(
    events.map((event) => event.seq),
    events.map((_, index) => (events[0]?.seq ?? 1) + index),
    'no event is missing',
  );
  const { groups } = await cluster.status();
  const highest = new Map<string, number>();
  for (const { kind, group = '', epoch = 0 } of events) {
    if (kind !== 'group.granted') continue;
    ok(epoch > (highest.get(group) ?? 0), `epoch ${epoch} of ${group} was granted after ${highest.get(group)}`);
    highest.set(group, epoch);
  }
  for (const [group, { epoch }] of Object.entries(groups)) {
    const told = highest.get(group) ?? 0;
    ok(
      (before[group]?.epoch ?? 0) <= told && told <= epoch,
      `epoch ${told} of ${group} is told, the status has ${epoch}`,
    );
  }
  for (const host of cluster.lab.hosts.values())
    for (const [group, epoch] of Object.entries(await rememberedEpochs(host)))
      ok(
        epoch <= (groups[group]?.epoch ?? highest.get(group) ?? 0),
        `${host.name} remembers epoch ${epoch} of ${group}, never granted`,
      );
}

/** The highest epochs that a node has on disk. */
export async function rememberedEpochs(host: Host): Promise<Record<string, number>> {
  const text = await host.readFile(`${stateDir}/epochs.json`).catch(() => '{"epochs":{}}');
  return (JSON.parse(text) as { epochs: Record<string, number> }).epochs;
}

/** Pids out here of the processes of a host that have this name (`comm`), lowest first. */
export function pidsOf(host: Host, comm: string): number[] {
  const hasName = (pid: number) => {
    try {
      // an OCF agent's script has, for a moment, the name of what it looks after, and heartbeat:nginx asks nginx for its version
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      // (one that is ending has no words left, only its name)
      return (
        words !== '' &&
        !/\/usr\/lib\/ocf\/|\0-[tvV]\0/.test(words) &&
        readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === comm
      );
    } catch {
      return false; // It ended while we looked.
    }
  };
  return host
    .processes()
    .filter(hasName)
    .sort((a, b) => a - b);
}

/** The pid of the guard of a node. */
export function guardPid(host: Host): number {
  const [pid] = pidsOf(host, 'holdfast-guard');
  if (pid === undefined) throw new Error(`no guard runs on ${host.name}`);
  return pid;
}

/** The one address and nginx, running on alice, with everybody able to take over. */
export async function runningOnAlice(cluster: Cluster): Promise<Host> {
  equal(await cluster.settled('running'), 'alice', 'the first of the `on` list');
  await cluster.healthy();
  return cluster.host('alice');
}

/** Waits until nothing of the group is on this host. */
export async function nothingLeft(cluster: Cluster, host: Host, deadlineMs = 10_000): Promise<void> {
  await until(() => !cluster.observer.holders(VIP).includes(host.name) && pidsOf(host, 'nginx').length === 0, {
    deadlineMs,
    what: `the address and nginx to be gone from ${host.name}`,
  });
}

/** Waits until the node reports again, as one that may take over or that runs something. */
export async function backAndReady(cluster: Cluster, node: string, deadlineMs = 20_000): Promise<void> {
  await until(async () => (await cluster.status()).nodes[node]?.state === 'ready', {
    deadlineMs,
    what: `${node} to be ready again`,
  });
}

/** How long nobody held the address, from its loss by one host to its arrival at the next, in ms. */
export async function addressGaps(cluster: Cluster, address = VIP): Promise<string[]> {
  const spans = (await cluster.observer.history(address)).map((line) => {
    const [, host = '', from = '', to = ''] = /^(\S+): (\S+) to (\S+)$/.exec(line) ?? [];
    return { host, from: Number(from), to: Number(to) };
  });
  return spans
    .slice(1)
    .map(
      (span, index) => `${spans[index]?.host} → ${span.host} ${(span.from - (spans[index]?.to ?? 0)).toFixed(1)} ms`,
    );
}

/** The hardware address of a host on the LAN. */
export function lanMac(host: Host): string {
  return `02:00:00:00:0a:${host.number.toString(16).padStart(2, '0')}`;
}

/** Lets this much time pass on the clock of the observer: for faults that have to last. */
export async function lasting(ms: number, what: string): Promise<void> {
  const since = monotonicMs();
  await until(() => monotonicMs() - since >= ms, { deadlineMs: ms + 5_000, what, everyMs: 50 });
}

/** One group on the nodes named, with the address and one test agent. */
export function withTestAgent(
  agent: string,
  options: { hosts?: readonly string[]; more?: string; lease?: string } = {},
): string {
  const line = `      - { ocf: { agent: "holdfast-test:${agent}" }${options.more === undefined ? '' : `, ${options.more}`} }`;
  return documentOf(options.hosts ?? names, [resources.vip, line], {
    ...(options.lease === undefined ? {} : { lease: options.lease }),
  });
}

/** Restarts the agent as an upgrade does, and waits until the coordinator has heard the next one. */
export async function restartAgent(cluster: Cluster, host: Host): Promise<void> {
  const agent = cluster.product.agent(host);
  const since = (await cluster.events()).at(-1)?.seq ?? 0;
  await agent.stop('SIGTERM');
  await agent.start();
  await until(
    async () =>
      (await cluster.events()).some(
        ({ kind, seq, node }) => kind === 'agent.started' && seq > since && node === host.name,
      ),
    { deadlineMs: 10_000, what: `the next agent of ${host.name} to be heard` },
  );
}

/** What a monitor would be told: exit code and line of `status --check`. */
export async function checked(cluster: Cluster): Promise<{ code: number | null; line: string }> {
  const { code, stdout } = await cluster.product.cli(['status', '--check']);
  return { code, line: stdout.trim() };
}

export const lanInterface = networks.lan.interface;
