/** Hosts that are shut down, with systemd as PID 1: groups that come after each other leave in order before the host is gone. */
import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterEvent } from '../../schemas/events.ts';
import { runAgentByUnit, saidByAgent } from './agent-unit.ts';
import {
  assertNeverTwo,
  Client,
  Cluster,
  everyEvent,
  type Host,
  labUnavailable,
  monotonicMs,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const hosts = ['alice', 'bob'];
const DATABASE = '192.0.2.20';

/** Stands in for a database: it notes when it began and ended. */
const databaseUnit = `[Service]
ExecStart=/bin/sh -c 'trap "echo down $(date +%%s%%3N) >>/srv/database.log; exit 0" TERM; echo up >>/srv/database.log; while :; do sleep 0.05; done'
`;

const document = `cluster: lab
nodes: [alice, bob]
groups:
  web: { after: db, resources: [{ vip: ${VIP}/24 }, { service: nginx }] }
  db: { resources: [{ vip: ${DATABASE}/24 }, { service: database }] }
`;

const off = async (host: Host) =>
  await until(() => host.state.is === 'off', { deadlineMs: 60_000, what: `${host.name} to power off` });

async function allOn(cluster: Cluster, node: string): Promise<void> {
  for (const group of ['db', 'web']) await cluster.settled('running', { group, on: node, deadlineMs: 30_000 });
}

/** What happened to the groups after `since`, in order. */
const steps = (events: readonly ClusterEvent[], since: number, kinds: readonly ClusterEvent['kind'][]) =>
  events
    .filter(({ seq, kind }) => seq > since && kinds.includes(kind))
    .map(({ kind, group }) => `${kind.replace('group.', '')} ${group}`);

const quiet = (log: string) => {
  doesNotMatch(log, /by force|lease of epoch .* lost/);
  match(log, /the agent ends: the host is being shut down, and nothing of it is held here any more/);
};

/** Both hosts boot systemd, which runs their agents; both groups run on alice, and bob could take them. */
async function bothOnAlice(): Promise<Cluster> {
  const cluster = await Cluster.start({
    hosts,
    init: 'systemd',
    document: null,
    allow: ['service=nginx.service', 'service=database.service'],
  });
  for (const host of hosts.map((name) => cluster.host(name))) {
    await host.writeFile('/etc/systemd/system/database.service', databaseUnit);
    await runAgentByUnit(cluster, host);
  }
  await cluster.product.apply(document);
  await allOn(cluster, 'alice');
  for (const group of ['db', 'web']) await cluster.healthy(group);
  return cluster;
}

test('a host that is shut down hands over the web server, then the database it comes after; the last host stops both in that order', {
  skip,
  timeout: 240_000,
}, async (t) => {
  await using cluster = await bothOnAlice();
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  equal((await web.nextAnswer(10_000)).text, 'alice');

  let since = (await everyEvent(cluster)).at(-1)?.seq ?? 0;
  const downMs = monotonicMs();
  await alice.exec(['systemctl', 'poweroff', '--no-block']);
  await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 40_000, what: 'bob to answer' });
  await off(alice);
  const offMs = monotonicMs() - downMs;
  await allOn(cluster, 'bob');
  const outageMs = Math.round(web.longestGap(downMs));
  t.diagnostic(`no answers for ${outageMs} ms; alice was off ${Math.round(offMs)} ms after poweroff`);
  ok(outageMs < 5_000, `${outageMs} ms`);
  quiet(await saidByAgent(alice));
  deepEqual(
    steps(await everyEvent(cluster), since, [
      'group.released',
      'group.granted',
      'group.running',
      'group.lease-expired',
      'resource.stop-failed',
      'agent.lease-lost',
    ]),
    ['released web', 'released db', 'granted db', 'running db', 'granted web', 'running web'],
  );
  match(await alice.readFile('/srv/database.log'), /^up\ndown \d+\n$/, 'it was stopped gracefully');

  // nobody is left to take over: it stops all the same, in order and before the host is gone
  since = (await everyEvent(cluster)).at(-1)?.seq ?? 0;
  await bob.exec(['systemctl', 'poweroff', '--no-block']);
  await off(bob);
  quiet(await saidByAgent(bob));
  deepEqual(
    steps(await everyEvent(cluster), since, [
      'group.released',
      'group.granted',
      'group.lease-expired',
      'resource.stop-failed',
      'agent.lease-lost',
    ]),
    ['released web', 'released db'],
  );
  match(await bob.readFile('/srv/database.log'), /^up\ndown \d+\n$/);
  deepEqual([cluster.observer.holders(VIP), cluster.observer.holders(DATABASE)], [[], []]);
  for (const group of ['db', 'web']) equal((await cluster.status()).groups[group]?.owner, null);
  await assertNeverTwo(cluster);
  deepEqual(await cluster.observer.processOverlaps('nginx', 0), []);
  await web.stop();
});

test('of a host that is shut down, what is paused or on hold is stopped in order too, and nobody takes it over meanwhile', {
  skip,
  timeout: 240_000,
}, async (t) => {
  await using cluster = await bothOnAlice();
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  await cluster.product.mustCli(['group', 'pause', '--all', '--reason', 'a new kernel', '--for', '10m']);
  const since = (await everyEvent(cluster)).at(-1)?.seq ?? 0;
  const downMs = monotonicMs();
  await alice.exec(['systemctl', 'poweroff', '--no-block']);
  await off(alice);
  t.diagnostic(`alice was off ${Math.round(monotonicMs() - downMs)} ms after poweroff`);
  quiet(await saidByAgent(alice));
  match(await alice.readFile('/srv/database.log'), /^up\ndown \d+\n$/);
  deepEqual(
    steps(await everyEvent(cluster), since, [
      'group.released',
      'group.granted',
      'group.lease-expired',
      'resource.stop-failed',
    ]),
    ['released web', 'released db'],
  );
  for (const group of ['db', 'web']) await cluster.settled('waiting', { group });
  match((await cluster.status()).groups.web?.reason ?? '', /paused until .*a new kernel/);
  const sinceMs = monotonicMs();
  await until(() => monotonicMs() - sinceMs > 6_000, { deadlineMs: 10_000, what: 'more than a takeover' });
  deepEqual([cluster.observer.holders(VIP), cluster.observer.holders(DATABASE)], [[], []]);
  await cluster.product.mustCli(['group', 'resume', '--all']);
  await allOn(cluster, 'bob');

  // a database on hold, and a web server that is not: it does not lose its address first
  await cluster.product.apply(document.replace('service: database', 'service: database, onFail: hold'));
  await allOn(cluster, 'bob');
  await bob.mustExec(['systemctl', 'kill', '--signal=SIGKILL', 'database.service']);
  await cluster.event('resource.held', { node: 'bob', resource: 'database' });
  const heldSince = (await everyEvent(cluster)).at(-1)?.seq ?? 0;
  await bob.exec(['systemctl', 'poweroff', '--no-block']);
  await off(bob);
  quiet(await saidByAgent(bob));
  deepEqual(steps(await everyEvent(cluster), heldSince, ['group.released', 'group.granted', 'group.lease-expired']), [
    'released web',
    'released db',
  ]);
  deepEqual([cluster.observer.holders(VIP), cluster.observer.holders(DATABASE)], [[], []]);
  await assertNeverTwo(cluster);
});
