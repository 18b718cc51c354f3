/** Hands off: what people paused or put into maintenance is left exactly as it is, shown as it is, and mended when that ends. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import {
  backAndReady,
  checked,
  faultTest,
  lasting,
  names,
  nothingLeft,
  pidsOf,
  restartAgent,
  runningOnAlice,
} from './faults.ts';
import { Client, type Cluster, documentOf, type Host, monotonicMs, resources, signalAll, until, VIP } from './index.ts';

const { leaseMs, renewMs } = LEASE_PROFILES.default;
/** A lease and two renewals: whatever was going to happen by itself has happened. */
const SETTLED_MS = leaseMs + 2 * renewMs;
const OTHER = '192.0.2.20';

const web = documentOf(names, [resources.vip, `${resources.nginx}\n        interval: 1s`]);
const requiringUplink = web.replace('    resources:', '    requires: uplink\n    resources:');
const withOther = `${web}  other:\n    on: [bob, alice]\n    resources:\n      - vip: ${OTHER}/24\n`;

const statesOf = async (cluster: Cluster, group = 'web') =>
  (await cluster.status()).groups[group]?.resources.map(({ state }) => state);

/** Kills nginx and deletes the address, as a careless hand would, and waits until the status says so. */
async function breakEverything(cluster: Cluster, alice: Host): Promise<void> {
  signalAll(pidsOf(alice, 'nginx'), 'SIGKILL');
  await alice.mustExec(['ip', 'address', 'delete', `${VIP}/32`, 'dev', 'eth0']);
  await until(async () => (await statesOf(cluster))?.every((state) => state === 'failed'), {
    deadlineMs: 15_000,
    what: 'the status to show what is down',
  });
}

/** Nothing of the group was touched, and nobody else has it. */
async function leftBroken(cluster: Cluster, alice: Host): Promise<void> {
  await lasting(SETTLED_MS, 'a lease and two renewals');
  deepEqual(pidsOf(alice, 'nginx'), [], 'nginx was not started');
  deepEqual(cluster.observer.holders(VIP), [], 'the address was not put back');
  const status = (await cluster.status()).groups.web;
  deepEqual([status?.owner, status?.epoch], ['alice', 1], 'the owner keeps its lease');
}

/** @returns how long it took until a client was answered, ms. */
async function mended(cluster: Cluster, client: Client): Promise<number> {
  const fromMs = monotonicMs();
  const { answeredMs, text } = await client.nextAnswer(10_000, fromMs);
  equal(text, 'alice');
  await cluster.settled('running', { on: 'alice' });
  equal((await cluster.status()).groups.web?.epoch, 1, 'in place');
  return Math.round(answeredMs - fromMs);
}

faultTest(
  'a paused group is neither mended nor taken over, also by an agent that was restarted; resumed, or at its end, it is mended at once',
  { document: withOther, timeoutMs: 180_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    await cluster.settled('running', { group: 'other', on: 'bob' });
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    const { product } = cluster;
    equal((await checked(cluster)).code, 0);

    const unsaid = await product.cli(['group', 'pause', 'web']);
    equal(unsaid.code, 64);
    match(unsaid.stderr, /say why with --reason/);
    await product.mustCli(['group', 'pause', 'web', '--reason', 'a new disk', '--for', '10m']);
    equal((await cluster.status()).groups.web?.paused?.reason, 'a new disk');
    const warned = await checked(cluster);
    equal(warned.code, 1, warned.line);
    match(warned.line, /paused/);
    await cluster.settled('running', { on: 'alice' });

    // what runs is left alone by the next agent, too
    const nginx = pidsOf(alice, 'nginx');
    await restartAgent(cluster, alice);
    await until(async () => (await statesOf(cluster))?.every((state) => state === 'running'), {
      deadlineMs: 10_000,
      what: 'the next agent to see what runs',
    });
    deepEqual(pidsOf(alice, 'nginx'), nginx);

    await breakEverything(cluster, alice);
    await leftBroken(cluster, alice);
    await restartAgent(cluster, alice);
    await leftBroken(cluster, alice);
    match(await product.mustCli(['status']), /web is paused .*a new disk.*nobody takes it over meanwhile/);
    match(await product.mustCli(['status', 'web']), /nginx +(failed|stopped)/);
    const refused = await product.cli(['move', 'web', '--to', 'bob']);
    equal(refused.code !== 0, true);
    match(refused.stderr, /holdfast group resume web/);
    await product.mustCli(['group', 'resume', 'web']);
    t.diagnostic(`answered ${await mended(cluster, client)} ms after the resume`);

    // it ends by itself
    await product.mustCli(['group', 'pause', 'web', '--reason', 'short', '--for', '9s']);
    const pausedMs = monotonicMs();
    await breakEverything(cluster, alice);
    const { answeredMs } = await client.nextAnswer(20_000);
    const afterMs = answeredMs - pausedMs;
    ok(afterMs >= 8_500 && afterMs < 13_000, `mended ${afterMs} ms after a pause of 9 s began`);
    match((await cluster.event('group.resumed', { group: 'web' })).detail, /ended by itself \(short\)/);
    await mended(cluster, client);

    // all of them at once
    await product.mustCli(['group', 'pause', '--all', '--reason', 'the switch']);
    const { groups } = await cluster.status();
    deepEqual(
      Object.values(groups).map(({ paused }) => paused?.reason),
      ['the switch', 'the switch'],
    );
    await cluster.host('bob').mustExec(['ip', 'address', 'delete', `${OTHER}/32`, 'dev', 'eth0']);
    await until(async () => (await statesOf(cluster, 'other'))?.[0] === 'failed', {
      deadlineMs: 15_000,
      what: 'the lost address to be shown',
    });
    deepEqual(cluster.observer.holders(OTHER), []);
    await product.mustCli(['group', 'resume', '--all']);
    await cluster.settled('running', { group: 'other', on: 'bob' });
    deepEqual(cluster.observer.holders(OTHER), ['bob']);
    equal((await checked(cluster)).code, 0);
    await client.stop();
  },
);

faultTest(
  'a node in maintenance keeps what it runs as it is and is given nothing new; `node ready` mends, and gives again',
  { document: web, timeoutMs: 120_000 },
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    const nginx = pidsOf(alice, 'nginx');
    await cluster.product.mustCli(['node', 'maintenance', 'alice', '--reason', 'new memory', '--for', '10m']);
    await cluster.product.apply(`${web}  other:\n    on: [alice, bob]\n    resources:\n      - vip: ${OTHER}/24\n`);
    await cluster.settled('running', { group: 'other', on: 'bob' });
    await cluster.settled('running', { group: 'web', on: 'alice' });
    deepEqual(pidsOf(alice, 'nginx'), nginx, 'what runs was left running');
    match(await cluster.product.mustCli(['status']), /alice is in maintenance .*new memory/);
    equal((await checked(cluster)).code, 1);
    await breakEverything(cluster, alice);
    await leftBroken(cluster, alice);
    const refused = await cluster.product.cli(['move', 'other', '--to', 'alice']);
    ok(refused.code !== 0);
    match(refused.stderr, /maintenance/);
    await cluster.product.mustCli(['node', 'ready', 'alice']);
    await mended(cluster, client);
    await cluster.product.mustCli(['move', 'other', '--to', 'alice', '--wait', '30s']);
    await cluster.settled('running', { group: 'other', on: 'alice' });
    await client.stop();
  },
);

faultTest(
  'a pause that ends while the coordinator is away: what requires the uplink went with the lease, and comes back once when the coordinator does',
  { document: requiringUplink, timeoutMs: 120_000 },
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    await cluster.product.mustCli(['group', 'pause', 'web', '--reason', 'short', '--for', '8s']);
    const pausedMs = monotonicMs();
    await cluster.product.stopCoordinator('SIGKILL');
    await nothingLeft(cluster, alice);
    const goneMs = monotonicMs() - pausedMs;
    ok(goneMs < 8_000, `the lease ended before the pause did, ${goneMs} ms after it began`);
    await until(() => monotonicMs() - pausedMs > 9_000, { deadlineMs: 15_000, what: 'the pause to be over' });
    deepEqual(cluster.observer.holders(VIP), [], 'nobody takes what nobody granted');
    equal((await checked(cluster)).code, 3, 'a monitor is told that nothing is known');
    const backMs = monotonicMs();
    await cluster.product.startCoordinator();
    await client.nextAnswer(30_000, backMs);
    await cluster.settled('running', { deadlineMs: 30_000 });
    match((await cluster.event('group.resumed', { group: 'web' })).detail, /ended by itself \(short\)/);
    equal((await cluster.status()).groups.web?.paused, undefined);
    equal(cluster.observer.holders(VIP).length, 1);
    await client.stop();
  },
);

faultTest(
  'a pause lasts through an outage of the coordinator: what went with the lease (requires: uplink) stays down until it is resumed',
  { document: requiringUplink, timeoutMs: 120_000 },
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    await cluster.product.mustCli(['group', 'pause', 'web', '--reason', 'long', '--for', '10m']);
    await cluster.product.stopCoordinator('SIGKILL');
    await nothingLeft(cluster, alice);
    await cluster.product.startCoordinator();
    await cluster.settled('waiting', { deadlineMs: 20_000 });
    await lasting(SETTLED_MS, 'a lease and two renewals');
    deepEqual(cluster.observer.holders(VIP), [], 'nobody starts it');
    const critical = await checked(cluster);
    equal(critical.code, 2, critical.line);
    match((await cluster.status()).groups.web?.reason ?? '', /paused until .*long/);
    await cluster.product.mustCli(['group', 'resume', 'web']);
    await cluster.settled('running');
  },
);

faultTest(
  'a paused group goes on by promises through an outage: what is broken is left alone, also when the pause has ended meanwhile, and mended when the coordinator is back',
  { document: web, timeoutMs: 120_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    await cluster.product.mustCli(['group', 'pause', 'web', '--reason', 'short', '--for', '12s']);
    const pausedMs = monotonicMs();
    await breakEverything(cluster, alice);
    await cluster.product.stopCoordinator('SIGKILL');
    await until(() => monotonicMs() - pausedMs > 12_000 + leaseMs, {
      deadlineMs: 30_000,
      what: 'the pause to be over, and a lease',
    });
    deepEqual([pidsOf(alice, 'nginx'), cluster.observer.holders(VIP)], [[], []], 'only looked at');
    await cluster.product.startCoordinator();
    t.diagnostic(`answered ${await mended(cluster, client)} ms after the coordinator was back`);
    match((await cluster.event('group.resumed', { group: 'web' })).detail, /ended by itself \(short\)/);
    await cluster.event('agent.lives-on-promises', { node: 'alice', group: 'web' });
    await client.stop();
  },
);

faultTest(
  'the owner of a paused group loses power: nobody takes it over before the end, nor does the owner when it is back; the status says so loudly, then it is started',
  { document: web, timeoutMs: 120_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);
    await cluster.product.mustCli(['group', 'pause', 'web', '--reason', 'careful', '--for', '16s']);
    const pausedMs = monotonicMs();
    await alice.powerCut();
    await cluster.settled('waiting', { deadlineMs: 15_000 });
    await alice.boot();
    await backAndReady(cluster, 'alice');
    await until(() => monotonicMs() - pausedMs > 12_000, { deadlineMs: 15_000, what: 'more than a takeover' });
    deepEqual(cluster.observer.holders(VIP), []);
    const critical = await checked(cluster);
    equal(critical.code, 2, critical.line);
    match(critical.line, /CRITICAL.*not served/);
    const said = await cluster.product.mustCli(['status']);
    match(said, /web is waiting: .*paused until .*careful/);
    match(said, /nobody takes it over meanwhile -> holdfast group resume web/);
    ok(monotonicMs() - pausedMs < 15_500, 'the pause still lasted');
    const { answeredMs, text } = await client.nextAnswer(20_000);
    const afterMs = answeredMs - pausedMs;
    ok(afterMs >= 15_500, `not before the end of the pause: ${afterMs} ms`);
    t.diagnostic(`${text} answered ${Math.round(afterMs)} ms after a pause of 16 s began`);
    await cluster.settled('running', { on: text });
    await client.stop();
  },
);
