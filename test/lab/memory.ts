/** What a coordinator must still know after whatever happened to it. */
import { deepEqual, ok } from 'node:assert/strict';
import type { ClusterEvent } from '../../schemas/events.ts';
import type { Cluster } from './cluster.ts';

export interface Memory {
  readonly revision: number;
  readonly document: string;
  /** Epoch of each group. */
  readonly epochs: Readonly<Record<string, number>>;
  readonly events: readonly ClusterEvent[];
}

/** Everything that happened so far, not only the newest. */
export async function everyEvent(cluster: Cluster): Promise<ClusterEvent[]> {
  const text = await cluster.product.mustCli(['events', '--json', '--since', '2000-01-01T00:00:00Z']);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ClusterEvent);
}

export async function memoryOf(cluster: Cluster): Promise<Memory> {
  const { revision, groups } = await cluster.status();
  return {
    revision,
    document: await cluster.product.mustCli(['config', 'get']),
    epochs: Object.fromEntries(Object.entries(groups).map(([name, { epoch }]) => [name, epoch])),
    events: await everyEvent(cluster),
  };
}

/** Asserts that configuration, epochs and events of `before` are all still there. */
export async function assertNothingForgotten(cluster: Cluster, before: Memory): Promise<void> {
  const after = await memoryOf(cluster);
  ok(after.revision >= before.revision, `revision ${after.revision} after ${before.revision}`);
  if (after.revision === before.revision) deepEqual(after.document, before.document);
  for (const [group, epoch] of Object.entries(before.epochs)) {
    const now = after.epochs[group] ?? 0;
    ok(now >= epoch, `epoch of ${group} is ${now} after ${epoch}`);
  }
  deepEqual(after.events.slice(0, before.events.length), before.events, 'every event is still there, in its place');
}

/** Asserts that no address was ever on two living hosts. */
export async function assertNeverTwo(cluster: Cluster): Promise<void> {
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), [], 'no address was ever on two hosts');
}
