/** A coordinator that comes back with older data than the nodes have seen (protocol C7): it holds back, and goes on above. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { lasting } from './faults.ts';
import {
  assertNeverTwo,
  Client,
  Cluster,
  documentOf,
  everyEvent,
  labUnavailable,
  monotonicMs,
  resources,
  until,
  VIP,
} from './index.ts';
import { safe } from './outages.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];
const document = documentOf(names, [resources.vip, resources.nginx], { lease: 'fast' });
const copy = '/srv/copy';

/** Stops the coordinator for as long as `cp -a` takes, and starts it again. */
async function withStopped(cluster: Cluster, argv: readonly string[]): Promise<void> {
  await cluster.product.stopCoordinator();
  await cluster.lab.arbiter.mustExec(argv);
  await cluster.product.startCoordinator();
}

const takeCopy = (cluster: Cluster) => withStopped(cluster, ['cp', '-a', cluster.product.dataDir, copy]);
const restoreCopy = (cluster: Cluster) =>
  withStopped(cluster, ['sh', '-c', `rm -rf ${cluster.product.dataDir} && cp -a ${copy} ${cluster.product.dataDir}`]);

/** The owner loses power, another node takes the group, and the first one comes back. */
async function failOver(cluster: Cluster): Promise<void> {
  await cluster.healthy();
  const owner = await cluster.settled('running');
  await cluster.host(owner).powerCut();
  const moved = async () => {
    const { groups } = await cluster.status();
    return groups.web?.state === 'running' && groups.web.owner !== owner;
  };
  await until(moved, { deadlineMs: 20_000, what: `a takeover from ${owner}` });
  await cluster.host(owner).boot();
  await cluster.healthy();
}

async function epoch(cluster: Cluster): Promise<number> {
  return (await cluster.status()).groups.web?.epoch ?? 0;
}

test('restored from before two failovers: nothing is granted until every node has reported, then above every epoch seen', {
  skip,
  timeout: 180_000,
}, async (t) => {
  await using cluster = await Cluster.start({ document });
  await cluster.settled('running');
  await cluster.healthy();
  const copied = await everyEvent(cluster);
  await takeCopy(cluster);
  await failOver(cluster);
  await failOver(cluster);
  const highest = await epoch(cluster);
  ok(highest >= 3, `epoch ${highest} after two failovers`);
  await cluster.product.apply(`${document}# the newest revision\n`);
  await cluster.healthy();
  const owner = (await cluster.status()).groups.web?.owner ?? '';
  const absent = names.findLast((name) => name !== owner) ?? '';
  await cluster.host(absent).powerCut();

  const restoredMs = monotonicMs();
  await restoreCopy(cluster);
  const restored = await cluster.event('coordinator.restored');
  match(restored.detail, /older than what the nodes have seen: .* has seen epoch \d+ of web, the data ends at \d+/);
  deepEqual((await everyEvent(cluster)).slice(0, copied.length), copied, 'what the copy held is there');
  await until(() => cluster.observer.holders(VIP).length === 0, { deadlineMs: 10_000, what: 'the owner to stop' });
  const held = async () => {
    const { restored: holding, groups } = await cluster.status();
    return holding?.waitingFor.join() === absent && groups.web?.state === 'waiting' && groups.web.reason;
  };
  const reason = await until(held, { deadlineMs: 10_000, what: `everyone but ${absent} to have reported` });
  match(reason, new RegExp(`restored; waiting for ${absent}`));
  // much longer than any wait for a lease: only the absent node's word, or an operator's, ends this
  await until(() => monotonicMs() - restoredMs > 3 * LEASE_PROFILES.fast.takeoverMs, {
    deadlineMs: 10_000,
    what: 'three times the wait for a lease',
  });
  deepEqual(cluster.observer.holders(VIP), [], 'nothing was granted');
  equal((await everyEvent(cluster)).slice(copied.length).filter((event) => event.kind === 'group.granted').length, 0);

  const bootMs = monotonicMs();
  await cluster.host(absent).boot();
  await cluster.settled('running', { deadlineMs: 20_000 });
  t.diagnostic(`running ${Math.round(monotonicMs() - bootMs)} ms after the last node was switched on`);
  ok((await epoch(cluster)) > highest, `epoch ${await epoch(cluster)} is above ${highest}`);
  match((await cluster.event('coordinator.history-confirmed')).detail, /every node has reported/);
  equal((await cluster.status()).revision, 1, 'the configuration of the copy is in force');
  await cluster.healthy();
  await failOver(cluster);
  await assertNeverTwo(cluster);
});

test('restored while a node is gone for good: an operator’s confirm-history lets the others go on, above every epoch seen', {
  skip,
  timeout: 120_000,
}, async () => {
  await using cluster = await Cluster.start({ document });
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const early = await cluster.product.cli(['cluster', 'confirm-history']);
  equal(early.code, 1, 'refused while nothing is in doubt');
  match(early.stderr, /not in doubt/);
  await takeCopy(cluster);
  await cluster.healthy();
  await cluster.product.mustCli(['move', 'web', '--to', 'bob']);
  await cluster.product.mustCli(['move', 'web', '--to', 'alice']);
  const highest = await epoch(cluster);
  await cluster.host('carol').powerCut();
  await restoreCopy(cluster);
  await cluster.event('coordinator.restored');
  await until(() => cluster.observer.holders(VIP).length === 0, { deadlineMs: 10_000, what: 'the owner to stop' });
  const explained = async () => /restored; waiting for carol/.test(await cluster.product.mustCli(['why', 'web']));
  await until(explained, { deadlineMs: 10_000, what: '`why` to name carol' });
  await cluster.product.mustCli(['cluster', 'confirm-history']);
  await cluster.settled('running', { deadlineMs: 20_000 });
  ok((await epoch(cluster)) > highest, `epoch ${await epoch(cluster)} is above ${highest}`);
  match((await cluster.event('coordinator.history-confirmed')).detail, /an operator confirmed .*not heard: carol/);
  await cluster.host('carol').boot();
  await cluster.healthy();
  await assertNeverTwo(cluster);
});

test('restored from when the group was stopped: nobody is granted it while the node that runs it may still do so (requires: uplink)', {
  skip,
  timeout: 120_000,
}, async () => {
  await using cluster = await Cluster.start({
    document: documentOf(names, [resources.vip, resources.nginx], { requires: 'uplink' }),
  });
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  await cluster.product.mustCli(['group', 'stop', 'web']);
  await cluster.product.mustCli(['group', 'start', 'web', '--wait', '0s']);
  await takeCopy(cluster);
  await cluster.settled('running');
  await cluster.healthy();
  await cluster.product.mustCli(['move', 'web', '--to', 'carol']);
  // carol runs it and cannot be heard when the copy is back: only time can tell that its lease has ended
  await cluster.product.stopCoordinator();
  await cluster.host('carol').cut('uplink');
  await restoreCopy(cluster);
  // the others have heard a later start of the coordinator: only carol, or a person, can say what the copy does not know
  await until(async () => (await cluster.status()).restored?.waitingFor.join() === 'carol', {
    deadlineMs: 30_000,
    what: 'the coordinator to wait for carol',
  });
  await lasting(8_000, 'two leases');
  equal((await cluster.status()).groups.web?.owner ?? null, null);
  await cluster.product.mustCli(['cluster', 'confirm-history']);
  await cluster.settled('running', { deadlineMs: 30_000 });
  await assertNeverTwo(cluster);
});

test('restored while the node that runs the group cannot be heard: it runs on by promises that the data does not know of, until it is heard', {
  skip,
  timeout: 150_000,
}, async (t) => {
  await using cluster = await Cluster.start({ document: documentOf(names, [resources.vip, resources.nginx]) });
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  await cluster.product.mustCli(['group', 'stop', 'web']);
  await cluster.product.mustCli(['group', 'start', 'web', '--wait', '0s']);
  await takeCopy(cluster);
  await cluster.settled('running');
  await cluster.healthy();
  await cluster.product.mustCli(['move', 'web', '--to', 'carol']);
  await cluster.healthy();
  await safe(cluster);
  const highest = await epoch(cluster);
  const carol = cluster.host('carol');
  const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  await client.nextAnswer(10_000);
  const sinceMs = monotonicMs();
  await cluster.product.stopCoordinator();
  await carol.cut('uplink');
  await restoreCopy(cluster);
  await cluster.event('coordinator.restored');
  const held = async (ms: number) => {
    await until(() => monotonicMs() - sinceMs > ms, { deadlineMs: ms, what: 'more than a takeover' });
    deepEqual(cluster.observer.holders(VIP), ['carol']);
    deepEqual(client.failures.filter(({ sentMs }) => sentMs >= sinceMs).slice(0, 3), [], 'no client noticed');
  };
  await held(2 * LEASE_PROFILES.default.takeoverMs);
  // an operator who says that carol need not be waited for is no better informed than the data: the voters keep their word
  await cluster.product.mustCli(['cluster', 'confirm-history']);
  await held(5 * LEASE_PROFILES.default.takeoverMs);
  t.diagnostic(`meanwhile: ${JSON.stringify((await cluster.status()).groups.web?.reason)}`);
  await carol.mend('uplink');
  await until(() => !cluster.observer.holders(VIP).includes('carol'), {
    deadlineMs: 15_000,
    what: 'carol to hear that its epoch is not known, and to stop',
  });
  await cluster.settled('running', { deadlineMs: 30_000 });
  ok((await epoch(cluster)) > highest, `epoch ${await epoch(cluster)} is above ${highest}`);
  await cluster.healthy('web', 30_000);
  await assertNeverTwo(cluster);
  await client.stop();
});
