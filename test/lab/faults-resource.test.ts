/** Faults of what a group is made of, and of the node's own files: repaired in place, then elsewhere, then said. */
import { deepEqual, equal, match, notDeepEqual, ok } from 'node:assert/strict';
import { faultTest, lanInterface, lanMac, names, pidsOf, runningOnAlice, VIP6, withTestAgent } from './faults.ts';
import {
  Client,
  documentOf,
  type Host,
  mariadb,
  monotonicMs,
  resources,
  setFault,
  signalAll,
  until,
  VIP,
} from './index.ts';

const testAgent = (agent: string) => ({
  services: ['test-agents'] as const,
  allow: [`ocf=holdfast-test:${agent}`],
  document: null,
});

async function killAll(host: Host, ...comms: string[]): Promise<number[]> {
  const pids = comms.flatMap((comm) => pidsOf(host, comm));
  signalAll(pids, 'SIGKILL');
  return pids;
}

faultTest(
  'the address is deleted by hand: it is back in milliseconds, on the same node in the same epoch',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    const gaps: number[] = [];
    for (const round of [1, 2, 3]) {
      await alice.mustExec(['ip', 'address', 'delete', `${VIP}/32`, 'dev', lanInterface]);
      await until(async () => (await cluster.observer.history(VIP)).length === round + 1, {
        deadlineMs: 5_000,
        what: `the address to be back for the ${round}. time`,
        everyMs: 2,
      });
      const [before, after] = (await cluster.observer.history(VIP)).slice(-2);
      gaps.push(Number(/: ([\d.]+) to/.exec(after ?? '')?.[1]) - Number(/to ([\d.]+)$/.exec(before ?? '')?.[1]));
      await until(
        async () => (await cluster.events()).filter(({ kind }) => kind === 'resource.repaired').length === round,
        { deadlineMs: 10_000, what: 'the repair to be told' },
      );
    }
    t.diagnostic(`address absent for ${gaps.map((gap) => gap.toFixed(1)).join(', ')} ms`);
    await cluster.settled('running', { on: 'alice' });
    equal((await cluster.status()).groups.web?.epoch, 1);
    deepEqual(pidsOf(alice, 'nginx'), nginx, 'what comes after it was not restarted');
  },
);

faultTest(
  'a stranger on the LAN has the address: no node takes it, the reason names the stranger’s hardware address; cleanup starts the group once it has left',
  { document: null },
  async (cluster) => {
    const { client } = cluster.lab;
    await client.mustExec(['ip', 'address', 'add', `${VIP}/24`, 'dev', lanInterface]);
    await cluster.product.apply(documentOf(names, [resources.vip, resources.nginx]));
    await cluster.settled('failed', { deadlineMs: 45_000 });
    const why = await cluster.why();
    for (const { node, reasons } of why.candidates) {
      const failed = reasons.find((reason) => reason.rule === 'failed-here');
      ok(
        failed?.rule === 'failed-here' && failed.detail.includes(lanMac(client)),
        `${node}: ${JSON.stringify(reasons)}`,
      );
    }
    match((await cluster.event('group.failed', { group: 'web' })).detail, /is in use on the segment/);
    equal((await cluster.observer.history(VIP)).length, 0, 'no node ever had it');

    await client.mustExec(['ip', 'address', 'delete', `${VIP}/24`, 'dev', lanInterface]);
    await cluster.product.mustCli(['group', 'cleanup', 'web']);
    await cluster.settled('running');
    await cluster.event('group.cleaned-up', { group: 'web' });
  },
);

faultTest(
  'an IPv6 address fails over, and neighbours that knew its old place are told the new one',
  {
    document: documentOf(names, [`      - vip: ${VIP6}/64`, resources.nginx]),
  },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const { client } = cluster.lab;
    const web = await Client.start(client, { kind: 'http', address: VIP6 });
    equal((await web.nextAnswer(10_000)).text, 'alice');
    const neighbour = async () => (await client.mustExec(['ip', '-6', 'neigh', 'show', VIP6])).split(' ');
    ok((await neighbour()).includes(lanMac(alice)), 'the client has a cache entry that will be wrong');
    const cutMs = monotonicMs();
    await alice.powerCut();
    await until(() => cluster.observer.holders(VIP6).includes('bob'), {
      deadlineMs: 20_000,
      what: 'the address on bob',
      everyMs: 1,
    });
    const tookMs = monotonicMs();
    await until(async () => (await neighbour()).includes(lanMac(cluster.host('bob'))), {
      deadlineMs: 5_000,
      what: 'the client to know the new place',
      everyMs: 5,
    });
    const learnedMs = monotonicMs() - tookMs;
    await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 10_000, what: 'the web server on bob' });
    t.diagnostic(
      `web outage ${Math.round(web.longestGap(cutMs))} ms; neighbour cache right ${learnedMs.toFixed(0)} ms after the address was there`,
    );
    await cluster.settled('running', { on: 'bob' });
    await cluster.event('group.lease-expired', { group: 'web' });
    await web.stop();
  },
);

faultTest(
  'nginx is killed: restarted in place without waiting for a monitor; its master alone: found by the monitor',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await web.nextAnswer(10_000);
    const killedMs = monotonicMs();
    const old = await killAll(alice, 'nginx');
    notDeepEqual(old, []);
    await web.nextAnswer(9_000, killedMs + 50);
    await cluster.event('resource.restarting', { node: 'alice', resource: 'nginx' });
    await cluster.settled('running', { on: 'alice' });
    t.diagnostic(`all of nginx killed: no answers for ${Math.round(web.longestGap(killedMs))} ms`);

    const [master, ...workers] = pidsOf(alice, 'nginx');
    ok(master !== undefined && workers.length > 0);
    const failures = async () => (await cluster.events()).filter(({ kind }) => kind === 'resource.failed').length;
    const before = await failures();
    const beheadedMs = monotonicMs();
    process.kill(master, 'SIGKILL');
    await until(async () => (await failures()) > before, {
      deadlineMs: 25_000,
      what: 'the monitor to notice',
      everyMs: 50,
    });
    t.diagnostic(`master of nginx killed: noticed after ${((monotonicMs() - beheadedMs) / 1000).toFixed(1)} s`);
    await cluster.settled('running', { on: 'alice' });
    await until(
      () => pidsOf(alice, 'nginx').length >= 2 && !pidsOf(alice, 'nginx').some((pid) => workers.includes(pid)),
      {
        deadlineMs: 10_000,
        what: 'orphaned workers to be replaced',
      },
    );
    equal((await cluster.status()).groups.web?.epoch, 1);
    equal((await cluster.observer.history(VIP)).length, 1, 'what comes before it was left alone');
    await web.stop();
  },
);

faultTest(
  'MariaDB is killed with its supervisor: restarted in place, what depends on it as well',
  {
    services: ['nginx', 'mariadb'],
    document: documentOf(names, [resources.vip, resources.mariadb, resources.nginx]),
  },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const database = await Client.start(cluster.lab.client, { kind: 'mariadb', address: VIP });
    await database.nextAnswer(10_000);
    const nginx = pidsOf(alice, 'nginx');
    const killedMs = monotonicMs();
    notDeepEqual(await killAll(alice, 'mysqld_safe', 'mariadbd-safe', 'mariadbd'), []);
    const failed = await cluster.event('resource.failed', { node: 'alice', resource: 'mysql' });
    await database.nextAnswer(20_000, killedMs + 200);
    await cluster.settled('running', { on: 'alice', deadlineMs: 30_000 });
    t.diagnostic(`${failed.detail}; no answers for ${Math.round(database.longestGap(killedMs))} ms`);
    equal(
      pidsOf(alice, 'nginx').some((pid) => nginx.includes(pid)),
      false,
      'nginx comes after it and was restarted with it',
    );
    equal((await cluster.status()).groups.web?.epoch, 1);
    equal(mariadb.agent, 'heartbeat:mysql');
    await database.stop();
  },
);

faultTest(
  'a resource that does not start on one node runs on the next; on no node: failed with the reason, cleanup forgives',
  {
    ...testAgent('failstart'),
  },
  async (cluster) => {
    await setFault(cluster.host('alice'), 'failstart', 'failstart', 'on');
    await cluster.product.apply(withTestAgent('failstart'));
    equal(await cluster.settled('running', { deadlineMs: 45_000 }), 'bob');
    const given = await cluster.event('group.failed-on-node', { node: 'alice', resource: 'failstart' });
    match(given.detail, /failed 3 times.*told to fail by/s);
    for (const node of ['bob', 'carol']) await setFault(cluster.host(node), 'failstart', 'failstart', 'on');
    const moved = await cluster.product.cli(['move', 'web', '--to', 'carol', '--wait', '60s'], { deadlineMs: 90_000 });
    ok(moved.code !== 0, 'a move that leads nowhere is no success');
    await cluster.settled('failed', { deadlineMs: 45_000 });
    match((await cluster.status()).groups.web?.reason ?? '', /alice failstart failed here.*start:.*cleanup/);
    await cluster.event('group.failed', { group: 'web' });
    for (const node of names) await setFault(cluster.host(node), 'failstart', 'failstart', undefined);
    await cluster.product.mustCli(['group', 'cleanup', 'web']);
    await cluster.settled('running');
  },
);

faultTest(
  'a stop that hangs is forced: its processes are killed, and the move goes on',
  {
    ...testAgent('stubborn'),
  },
  async (cluster, t) => {
    const alice = cluster.host('alice');
    await cluster.product.apply(withTestAgent('stubborn', { more: 'timeouts: { stop: 2s }' }));
    equal(await cluster.settled('running'), 'alice');
    await cluster.healthy();
    await setFault(alice, 'stubborn', 'stubborn', 'on');
    const movedMs = monotonicMs();
    await cluster.product.mustCli(['move', 'web', '--to', 'bob', '--wait', '30s']);
    t.diagnostic(`moved after ${((monotonicMs() - movedMs) / 1000).toFixed(1)} s (stop time-out 2 s)`);
    const event = await cluster.event('resource.stop-failed', { node: 'alice', resource: 'stubborn' });
    match(event.detail, /did not end within 2 s.*by force/);
    equal((await cluster.why()).lastGrant?.cause, 'released');
    equal(cluster.product.agent(alice).exits.length, 0, 'the fuse had not to act');
    deepEqual(pidsOf(alice, 'sleep'), []);
  },
);

faultTest(
  'a stop that cannot be forced either: the lease is not renewed any more, and the group runs elsewhere when it has ended',
  {
    ...testAgent('hangstop'),
  },
  async (cluster) => {
    const alice = cluster.host('alice');
    // no process to kill, and its monitor goes on saying that it runs
    await cluster.product.apply(withTestAgent('hangstop', { more: 'timeouts: { stop: 2s }' }));
    equal(await cluster.settled('running'), 'alice');
    await cluster.healthy();
    await setFault(alice, 'hangstop', 'hangstop', 'on');
    await cluster.product.mustCli(['move', 'web', '--to', 'bob', '--wait', '40s'], { deadlineMs: 60_000 });
    await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
    await cluster.event('resource.stop-failed', { node: 'alice', resource: 'hangstop' });
    await setFault(alice, 'hangstop', 'hangstop', undefined);
    await cluster.healthy('web', 30_000);
  },
);

faultTest(
  'a monitor that denies a running resource: restarted in place, then moved away',
  {
    ...testAgent('liar'),
  },
  async (cluster) => {
    const alice = cluster.host('alice');
    await cluster.product.apply(withTestAgent('liar', { more: 'interval: 1s' }));
    equal(await cluster.settled('running'), 'alice');
    await cluster.healthy();
    await setFault(alice, 'liar', 'liar', 'stopped');
    await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
    const kinds = (await cluster.events()).filter(({ node }) => node === 'alice').map(({ kind }) => kind);
    equal(kinds.filter((kind) => kind === 'resource.restarting').length, 2);
    match((await cluster.event('group.failed-on-node', { node: 'alice' })).detail, /does not run any more/);
  },
);

faultTest(
  'a monitor that claims what does not run: without a lease the node may not take the group, and says why, until it is mended',
  {
    ...testAgent('liar'),
  },
  async (cluster) => {
    const bob = cluster.host('bob');
    await setFault(bob, 'liar', 'liar', 'running');
    await cluster.product.apply(withTestAgent('liar', { more: 'interval: 1s' }));
    equal(await cluster.settled('running'), 'alice');
    await cluster.event('resource.stopped-without-lease', { node: 'bob', resource: 'liar' });
    await cluster.event('node.refuses', { node: 'bob', group: 'web' });
    match(
      (await cluster.status()).nodes.bob?.refusals[0]?.reason ?? '',
      /runs here without a lease and cannot be stopped: .*its monitor says that it still runs/,
    );
    await cluster.host('alice').powerCut();
    await cluster.settled('running', { on: 'carol', deadlineMs: 20_000 });
    await setFault(bob, 'liar', 'liar', undefined);
    await cluster.event('node.accepts', { node: 'bob' });
    await cluster.product.mustCli(['move', 'web', '--to', 'bob', '--wait', '30s']);
    ok((await bob.readFile('/run/resource-agents/liar-liar.state')) === '', 'it was really started there');
  },
);
