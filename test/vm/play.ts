/** What all scenarios have in common: a healthy cluster and a busy writer before, the same demands on data, roles and address after. */
import { deepEqual, ok } from 'node:assert/strict';
import { monotonicMs } from '../lab/index.ts';
import { GROUP, VIP, type VmCluster } from './cluster.ts';
import type { Machine } from './machine.ts';
import { Writer } from './writer.ts';

export interface Stage {
  /** Tells a figure. */
  readonly say: (text: string) => void;
  readonly cluster: VmCluster;
  readonly writer: Writer;
  /** Where the group runs, and the other one. */
  readonly owner: Machine;
  readonly other: Machine;
  /** When the scenario began, on CLOCK_MONOTONIC. */
  readonly sinceMs: number;
  /** Of the group's grant then. */
  readonly epoch: number;
}

/** One scenario on a healthy cluster, which is healthy again afterwards. Throws when what it demands is not so. */
export async function playOn(
  cluster: VmCluster,
  play: (stage: Stage) => Promise<void>,
  say: (text: string) => void,
): Promise<void> {
  const owner = await cluster.owner();
  const writer = await Writer.start(cluster.network, VIP, owner);
  try {
    const epoch = (await cluster.product.status()).groups[GROUP]?.epoch ?? 0;
    const stage = { say, cluster, writer, owner, other: cluster.other(owner), sinceMs: monotonicMs(), epoch };
    await play(stage);
    await verify(stage);
    await verifyStory(stage);
    await cluster.repair();
    deepEqual(await writer.missing(await cluster.owner()), [], 'rows that were acknowledged, after the repair');
  } finally {
    writer.stop();
  }
}

async function verify({ say, cluster, writer, sinceMs }: Stage): Promise<void> {
  const owner = await cluster.owner();
  // one that is just booting is asked when it is up
  await Promise.all(cluster.machines.filter(({ on }) => on).map(async (machine) => await machine.ready()));
  await writer.acknowledgedAfter(monotonicMs(), 60_000);
  deepEqual(await writer.missing(owner), [], 'rows that were acknowledged');
  const roles = Object.entries(await cluster.roles());
  deepEqual(
    roles.filter(([, role]) => role === 'Primary').map(([name]) => name),
    [owner.name],
    'who is Primary',
  );
  deepEqual(await cluster.holders(), [owner.name], 'who has the address');
  const turns = cluster.addresses.turns(sinceMs).map((mac) => cluster.nameOf(mac));
  deepEqual(turns, [...new Set(turns)], 'nobody answers for the address again after another one has');
  deepEqual(await cluster.product.page(VIP), owner.name, 'who serves the page');
  const { lastGrant } = await cluster.product.why(GROUP);
  const gap = writer.longestGap(sinceMs);
  say(
    `${writer.acknowledged.length} rows acknowledged, none lost; longest pause ${(gap.ms / 1000).toFixed(1)} s; ${owner.name} has it, epoch ${lastGrant?.epoch}, by ${lastGrant?.cause}`,
  );
}

/** A failover is told as an incident, from its sign to its end. One that was handed over in order is none. */
async function verifyStory({ say, cluster, epoch }: Stage): Promise<void> {
  const { lastGrant } = await cluster.product.why(GROUP);
  if (lastGrant?.cause !== 'lease-expired' || lastGrant.epoch === epoch) return;
  const { incident, grants, timeline } = await cluster.product.incident();
  deepEqual(
    { group: incident.group, to: incident.to, cause: incident.cause, state: incident.state },
    { group: GROUP, to: (await cluster.owner()).name, cause: 'lease-expired', state: 'over' },
  );
  ok((incident.outageMs ?? 0) > 0, 'it says how long nobody was served');
  ok(
    grants.some((grant) => grant.epoch === lastGrant.epoch),
    'the grant with its candidates',
  );
  ok(
    timeline.some((event) => event.kind === 'group.running' && event.epoch === lastGrant.epoch),
    'its end',
  );
  say(
    `incident ${incident.id}: ${incident.trigger}; outage ${((incident.outageMs ?? 0) / 1_000).toFixed(1)} s at most`,
  );
}
