/** What becomes of a running cluster when its coordinator dies, restarts or stays away, and which coordinators do not start at all. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import {
  assertNeverTwo,
  assertNothingForgotten,
  Client,
  Cluster,
  documentOf,
  everyEvent,
  labUnavailable,
  memoryOf,
  monotonicMs,
  resources,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];

/** Waits for an instant; what happens then must not depend on having waited. */
async function reached(instantMs: number): Promise<void> {
  await until(() => monotonicMs() >= instantMs, { deadlineMs: 30_000, everyMs: 2, what: 'an instant' });
}

/** SIGKILLs the coordinator and starts it again; the lock of the one that died may need a moment to be free. */
async function crashCoordinator(cluster: Cluster): Promise<void> {
  await cluster.product.stopCoordinator('SIGKILL');
  const start = async () => {
    await cluster.product.startCoordinator();
    return true;
  };
  await until(start, { deadlineMs: 20_000, everyMs: 100, what: 'the coordinator to start again' });
}

test('killed at any moment around a takeover, it grants once, above the last epoch, and never to two', {
  skip,
  timeout: 240_000,
}, async (t) => {
  await using cluster = await Cluster.start({
    document: documentOf(names, [resources.vip, resources.nginx], { lease: 'fast' }),
  });
  const { takeoverMs, renewMs } = LEASE_PROFILES.fast;
  let owner = await cluster.settled('running');
  // The owner's last renewal came up to one interval before the cut, so the grant falls into the interval before T_C, or just after.
  const offsets = [takeoverMs - renewMs - 50, takeoverMs - renewMs / 2, takeoverMs - 100, takeoverMs, takeoverMs + 120];
  const told: string[] = [];
  for (const offsetMs of offsets) {
    await cluster.healthy();
    const before = await memoryOf(cluster);
    const cutMs = monotonicMs();
    await cluster.host(owner).powerCut();
    await reached(cutMs + offsetMs);
    await crashCoordinator(cluster);
    const dead = owner;
    // until it has heard of them, a coordinator that started anew shows groups as they were
    owner = await until(
      async () => {
        const { groups } = await cluster.status();
        return groups.web?.state === 'running' && groups.web.owner !== dead && groups.web.owner;
      },
      { deadlineMs: 30_000, what: 'a living node to run it' },
    );
    const upMs = monotonicMs() - cutMs;
    const since = (await everyEvent(cluster)).slice(before.events.length).map((event) => event.kind);
    const order = since.indexOf('group.granted') < since.indexOf('coordinator.started') ? 'after' : 'before';
    told.push(`${Math.round(offsetMs)} ms (${order} the grant): up after ${Math.round(upMs)} ms`);
    ok(((await cluster.status()).groups.web?.epoch ?? 0) > (before.epochs.web ?? 0), 'an epoch above');
    await assertNothingForgotten(cluster, before);
    await cluster.host(dead).boot();
  }
  await cluster.healthy();
  const grants = (await everyEvent(cluster)).filter((event) => event.kind === 'group.granted');
  const epochs = grants.map((event) => event.epoch ?? 0);
  deepEqual(
    epochs,
    [...new Set(epochs)].toSorted((a, b) => a - b),
    'every epoch was granted once, in order',
  );
  equal((await everyEvent(cluster)).filter((event) => event.kind === 'coordinator.started').length, offsets.length);
  await assertNeverTwo(cluster);
  t.diagnostic(`killed after ${told.join('; ')}`);
});

test('restarted while the cluster runs, in order or by SIGKILL: services untouched, no question of a client unanswered', {
  skip,
  timeout: 90_000,
}, async (t) => {
  await using cluster = await Cluster.start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  await client.nextAnswer(10_000);
  const sinceMs = monotonicMs();
  const server = await cluster.host('alice').readFile('/run/nginx.pid');
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const stoppedMs = monotonicMs();
    if (signal === 'SIGTERM') await cluster.product.restartCoordinator();
    else await crashCoordinator(cluster);
    t.diagnostic(`${signal}: ready again after ${Math.round(monotonicMs() - stoppedMs)} ms`);
    const startedMs = monotonicMs();
    // longer than a lease, so that a renewal that was lost would show
    await reached(startedMs + LEASE_PROFILES.default.leaseMs + 500);
    await cluster.healthy();
  }
  deepEqual(
    client.failures.filter((failure) => failure.sentMs >= sinceMs),
    [],
    'every question was answered',
  );
  t.diagnostic(`longest pause between two answers ${Math.round(client.longestGap(sinceMs))} ms`);
  equal(await cluster.host('alice').readFile('/run/nginx.pid'), server, 'the same nginx still runs');
  const { groups } = await cluster.status();
  equal(groups.web?.owner, 'alice');
  equal(groups.web?.epoch, before.epochs.web, 'the same epoch');
  await assertNothingForgotten(cluster, before);
  const kinds = (await everyEvent(cluster)).slice(before.events.length).map((event) => event.kind);
  deepEqual(kinds.filter((kind) => kind === 'coordinator.started').length, 2);
  for (const kind of ['group.granted', 'group.lease-expired', 'agent.lease-lost', 'node.lost'] as const)
    ok(!kinds.includes(kind), `no ${kind}: ${kinds.join(' ')}`);
  await assertNeverTwo(cluster);
  await client.stop();
});

test('away for longer than the lease: what requires the uplink stops by the deadline, and all of it comes back', {
  skip,
  timeout: 90_000,
}, async (t) => {
  await using cluster = await Cluster.start({
    document: documentOf(names, [resources.vip, resources.nginx], { requires: 'uplink' }),
  });
  const owner = await cluster.settled('running');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const stoppedMs = monotonicMs();
  await cluster.product.stopCoordinator('SIGKILL');
  await until(() => cluster.observer.holders(VIP).length === 0, { deadlineMs: 15_000, what: 'the address to go' });
  const heldMs = monotonicMs() - stoppedMs;
  t.diagnostic(`the address was given up ${Math.round(heldMs)} ms after the coordinator went away`);
  ok(
    heldMs <= LEASE_PROFILES.default.leaseMs + 100,
    `held for ${heldMs} ms, the lease lasts ${LEASE_PROFILES.default.leaseMs}`,
  );
  await until(() => cluster.observer.runners('nginx').length === 0, { deadlineMs: 5_000, what: 'nginx to end' });
  await reached(stoppedMs + 3 * LEASE_PROFILES.default.leaseMs);
  deepEqual(cluster.observer.holders(VIP), [], 'nobody takes what nobody granted');

  const startedMs = monotonicMs();
  await cluster.product.startCoordinator();
  await cluster.settled('running', { deadlineMs: 30_000 });
  t.diagnostic(`running again ${Math.round(monotonicMs() - startedMs)} ms after the coordinator was started`);
  for (const node of names) {
    const event = await cluster.event('agent.coordinator-reachable', { node });
    match(event.detail, /had not answered for \d+ ms/);
  }
  await cluster.event('agent.lease-lost', { node: owner, group: 'web' });
  await cluster.healthy();
  ok(((await cluster.status()).groups.web?.epoch ?? 0) > (before.epochs.web ?? 0), 'an epoch above');
  await assertNothingForgotten(cluster, before);
  await assertNeverTwo(cluster);
});

test('a coordinator that must not start says why, ends with its exit code, and leaves the running one alone', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await Cluster.start();
  await cluster.settled('running');
  const { arbiter } = cluster.lab;
  const { binary, dataDir, url } = cluster.product;
  const serve = (listen: string, data: string, wrapper: readonly string[] = []) =>
    arbiter.exec([...wrapper, binary, 'serve', '--listen', listen, '--data', data], { deadlineMs: 20_000 });

  const second = await serve('127.0.0.1:9443', dataDir);
  equal(second.code, 75, second.stderr);
  match(second.stderr, /process \d+ \(.+\) serves .* already/);
  equal(second.stdout, '');

  const port = await serve(new URL(url).host, '/srv/another');
  equal(port.code, 1, port.stderr);
  match(port.stderr, /is in use: choose another port/);

  await arbiter.mustExec(['install', '-d', '-m', '0777', '/srv/open']);
  const open = await serve('127.0.0.1:9443', '/srv/open');
  equal(open.code, 78, open.stderr);
  match(open.stderr, /others may enter .*chmod 700/);

  await arbiter.mustExec(['install', '-d', '-m', '0700', '/srv/token']);
  await arbiter.writeFile('/srv/token/admin.token', 'a-token-that-anyone-here-may-read\n', 0o644);
  const token = await serve('127.0.0.1:9443', '/srv/token');
  equal(token.code, 78, token.stderr);
  match(token.stderr, /can be read by others.*chmod 600/);

  await arbiter.mustExec(['install', '-d', '-m', '0755', '/srv/locked']);
  const unprivileged = ['setpriv', '--reuid', 'nobody', '--clear-groups', '--regid', 'nogroup'];
  const unwritable = await serve('127.0.0.1:9443', '/srv/locked', unprivileged);
  equal(unwritable.code, 78, unwritable.stderr);
  match(unwritable.stderr, /\/srv\/locked/);
  ok(!/^\s+at /m.test(unwritable.stderr), `no stack trace: ${unwritable.stderr}`);
  const unmade = await serve('127.0.0.1:9443', '/etc/hostname/data');
  equal(unmade.code, 78, unmade.stderr);
  ok(!/^\s+at /m.test(unmade.stderr), `no stack trace: ${unmade.stderr}`);

  equal((await cluster.status()).groups.web?.state, 'running');
  equal((await everyEvent(cluster)).filter((event) => event.kind === 'coordinator.started').length, 0);
  await assertNeverTwo(cluster);
});
