/** Many groups and many nodes: the same guarantees, and how long it takes. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES, MAX_NODES } from '../../schemas/limits.ts';
import { assertNeverTwo, Cluster, everyEvent, labUnavailable, monotonicMs, until } from './index.ts';

const skip = labUnavailable() ?? false;

/** `count` groups of one address each, all of them best on the first node. */
function documentOfAddresses(nodes: readonly string[], addresses: readonly string[]): string {
  const groups = addresses.map((address, index) => `  g${index}:\n    resources:\n      - vip: ${address}/24\n`);
  return `cluster: lab\nnodes: [${nodes.join(', ')}]\ngroups:\n${groups.join('')}`;
}

const addressesOf = (count: number) => Array.from({ length: count }, (_, index) => `192.0.2.${120 + index}`);

/** Waits until each address is on exactly one host other than `dead`; @returns when the first and the last came up, after `sinceMs`. */
async function allTaken(
  cluster: Cluster,
  addresses: readonly string[],
  dead: string | undefined,
  sinceMs: number,
): Promise<{ firstMs: number; lastMs: number }> {
  let firstMs: number | undefined;
  const taken = () => addresses.filter((address) => cluster.observer.holders(address).some((host) => host !== dead));
  const all = () => {
    const count = taken().length;
    if (count > 0) firstMs ??= monotonicMs() - sinceMs;
    return count === addresses.length;
  };
  await until(all, { deadlineMs: 60_000, what: `all ${addresses.length} addresses` });
  return { firstMs: firstMs ?? 0, lastMs: monotonicMs() - sinceMs };
}

async function allRunning(cluster: Cluster, count: number): Promise<void> {
  const running = async () => {
    const groups = Object.values((await cluster.status()).groups);
    return groups.length === count && groups.every((group) => group.state === 'running');
  };
  await until(running, { deadlineMs: 60_000, everyMs: 100, what: `${count} groups to run` });
}

test('thirty groups on one node that loses power all come up on the others, each once, in one takeover', {
  skip,
  timeout: 120_000,
}, async (t) => {
  const nodes = ['alice', 'bob', 'carol'];
  const addresses = addressesOf(30);
  await using cluster = await Cluster.start({ hosts: nodes, services: [], document: null });
  // whoever has the document first may start a group: the others are let in when all of them run on alice
  for (const other of ['bob', 'carol']) await cluster.product.mustCli(['node', 'standby', other]);
  await cluster.product.apply(documentOfAddresses(nodes, addresses));
  await allRunning(cluster, addresses.length);
  for (const other of ['bob', 'carol']) await cluster.product.mustCli(['node', 'ready', other]);
  await cluster.healthy('g0');
  for (const address of addresses) deepEqual(cluster.observer.holders(address), ['alice']);
  const cutMs = monotonicMs();
  await cluster.host('alice').powerCut();
  const { firstMs, lastMs } = await allTaken(cluster, addresses, 'alice', cutMs);
  t.diagnostic(
    `30 addresses taken over: the first ${Math.round(firstMs)} ms after the cut, the last ${Math.round(lastMs)} ms`,
  );
  ok(lastMs < LEASE_PROFILES.default.takeoverMs + 6_000, `the last one only after ${lastMs} ms`);
  await allRunning(cluster, addresses.length);
  const grants = (await everyEvent(cluster)).filter((event) => event.kind === 'group.granted' && event.epoch === 2);
  equal(grants.length, addresses.length, 'one grant for each group');
  for (const { epoch } of Object.values((await cluster.status()).groups)) equal(epoch, 2);
  await assertNeverTwo(cluster);
});

test('a cluster of as many nodes as there may be: a group moves on and on as its owners lose power', {
  skip,
  timeout: 180_000,
}, async (t) => {
  const nodes = Array.from({ length: MAX_NODES }, (_, index) => `node${index + 1}`);
  const addresses = addressesOf(8);
  const startMs = monotonicMs();
  await using cluster = await Cluster.start({
    hosts: nodes,
    services: [],
    document: documentOfAddresses(nodes, addresses),
  });
  await allRunning(cluster, addresses.length);
  await cluster.healthy('g0', 60_000);
  t.diagnostic(
    `${nodes.length} nodes with ${addresses.length} groups up after ${Math.round(monotonicMs() - startMs)} ms`,
  );
  for (const node of nodes.slice(0, 2)) {
    const cutMs = monotonicMs();
    await cluster.host(node).powerCut();
    const { lastMs } = await allTaken(cluster, addresses, node, cutMs);
    t.diagnostic(`${addresses.length} addresses taken over from ${node} ${Math.round(lastMs)} ms after the cut`);
    await allRunning(cluster, addresses.length);
  }
  await assertNeverTwo(cluster);
});
