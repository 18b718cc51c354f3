/** File systems on real ext4, on a disk that all hosts reach: moved, lost with a host, taken away by the guard. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { pidsOf } from './faults.ts';
import {
  Client,
  Cluster,
  type ClusterOptions,
  disksUnavailable,
  documentOf,
  type Host,
  labUnavailable,
  monotonicMs,
  resources,
  SharedDisk,
  signalAll,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? (await disksUnavailable()) ?? false;
const names = ['alice', 'bob'];
const directory = '/srv/mysql';
const mount = `      - mount: /dev/shared0 ${directory} ext4 noatime`;

interface Stage {
  readonly cluster: Cluster;
  readonly disk: SharedDisk;
  /** Every set of hosts that had the file system in use at once, as seen every few milliseconds. */
  readonly seen: ReadonlySet<string>;
}

/** A cluster whose hosts share a disk, with the document in force and the group running. */
async function stage(
  t: TestContext,
  lines: readonly string[],
  options: Pick<ClusterOptions, 'services'> & { fill?: (host: Host, place: string) => Promise<void> } = {},
): Promise<Stage> {
  const cluster = await Cluster.start({
    hosts: names,
    services: options.services ?? [],
    allow: ['mount=/srv/*'],
    document: null,
  });
  t.after(() => cluster.close());
  const disk = await SharedDisk.create(cluster.lab);
  const first = cluster.host('alice');
  await disk.fill(first, '/mnt', async () => options.fill?.(first, '/mnt'));
  const seen = new Set<string>();
  const watching = setInterval(() => seen.add(disk.users().join('+')), 5);
  t.after(() => clearInterval(watching));
  await cluster.product.apply(documentOf(names, lines));
  await cluster.settled('running', { deadlineMs: 40_000, on: 'alice' });
  await cluster.healthy('web', 40_000);
  return { cluster, disk, seen };
}

const neverTwo = (seen: ReadonlySet<string>) =>
  deepEqual(
    [...seen].filter((users) => users.includes('+')),
    [],
  );

const isAlive = (pid: number) => {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false; // there is no such process
  }
};

async function intruder(host: Host, script: string) {
  let ready = false;
  const started = await host.spawn(['/bin/sh', '-c', `${script}; echo ready; exec sleep 1000`], {
    onLine: () => {
      ready = true;
    },
  });
  await until(() => ready, { deadlineMs: 10_000, what: `"${script}" on ${host.name}` });
  return started;
}

test('the classic stack on one document: after a power cut address, file system, MariaDB and nginx run elsewhere, and an acknowledged row is there', {
  skip,
  timeout: 240_000,
}, async (t) => {
  const { cluster, disk, seen } = await stage(t, [resources.vip, mount, resources.mariadb, resources.nginx], {
    services: ['nginx', 'mariadb'],
    fill: async (host, place) => {
      // what the hosts have below the mount point themselves is hidden by the mount
      await host.mustExec(['cp', '-a', `${directory}/.`, place]);
    },
  });
  const { client } = cluster.lab;
  const sql = async (statement: string) =>
    await client.mustExec([
      'mariadb',
      '-h',
      VIP,
      '-u',
      'lab',
      '--connect-timeout=5',
      '-N',
      '-B',
      'lab',
      '-e',
      statement,
    ]);
  const web = await Client.start(client, { kind: 'http', address: VIP });
  const database = await Client.start(client, { kind: 'mariadb', address: VIP });
  equal((await web.nextAnswer(10_000)).text, 'alice');
  await sql('CREATE TABLE rows_ (id INT PRIMARY KEY)');
  const alice = cluster.host('alice');
  await alice.mustExec([
    'sh',
    '-c',
    `echo synced > ${directory}/synced && sync ${directory}/synced && sync ${directory}`,
  ]);
  for (let id = 1; id <= 10; id++) await sql(`INSERT INTO rows_ VALUES (${id})`);
  await alice.mustExec(['sh', '-c', `echo unsynced > ${directory}/unsynced`]);

  const cutMs = monotonicMs();
  await alice.powerCut();
  await cluster.settled('running', { deadlineMs: 60_000, on: 'bob' });
  await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 20_000, what: 'the web server on bob' });
  await database.nextAnswer(20_000, cutMs);
  deepEqual(disk.users(), ['bob']);
  neverTwo(seen);
  deepEqual(
    (await sql('SELECT id FROM rows_ ORDER BY id')).trim().split('\n').map(Number),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  const bob = cluster.host('bob');
  equal((await bob.exec(['cat', `${directory}/synced`])).stdout, 'synced\n');
  notEqual(
    (await bob.exec(['test', '-s', `${directory}/unsynced`])).code,
    0,
    'the power cut was one: nobody had synced this',
  );
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), [], 'never two holders of the address');
  const status = await cluster.status();
  const running = status.groups.web?.resources ?? [];
  deepEqual(
    running.map(({ id, state }) => `${id} ${state}`),
    [`vip-${VIP} running`, 'mount-srv-mysql running', 'mysql running', 'nginx running'],
  );
  t.diagnostic(
    `web outage ${Math.round(web.longestGap(cutMs))} ms, database outage ${Math.round(database.longestGap(cutMs))} ms; starts ${running.map(({ id, startMs }) => `${id} ${startMs} ms`).join(', ')}`,
  );

  // The host that lost power comes back: it finds nothing mounted, and nothing to do.
  await alice.boot();
  await cluster.healthy('web', 40_000);
  deepEqual(disk.users(), ['bob']);
  neverTwo(seen);
});

test('a member in the middle fails: what comes before it is not touched, what comes after it waits; where it cannot start, the next node takes all three', {
  skip,
  timeout: 240_000,
}, async (t) => {
  const lines = [resources.vip, mount, resources.mariadb, resources.nginx];
  const { cluster, disk, seen } = await stage(t, lines, {
    services: ['nginx', 'mariadb'],
    fill: async (host, place) => {
      await host.mustExec(['cp', '-a', `${directory}/.`, place]);
    },
  });
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  const database = await Client.start(cluster.lab.client, { kind: 'mariadb', address: VIP });
  await database.nextAnswer(10_000);
  const mountOf = async () => (await alice.mustExec(['findmnt', '-n', '-o', 'ID', directory])).trim();
  const mounted = await mountOf();
  const nginx = pidsOf(alice, 'nginx');
  const killDatabase = () => {
    for (const comm of ['mysqld_safe', 'mariadbd-safe', 'mariadbd']) signalAll(pidsOf(alice, comm), 'SIGKILL');
  };

  const killedMs = monotonicMs();
  killDatabase();
  await database.nextAnswer(30_000, killedMs + 200);
  await cluster.settled('running', { deadlineMs: 30_000, on: 'alice' });
  equal(await mountOf(), mounted, 'the file system stayed mounted');
  equal((await cluster.observer.history(VIP)).length, 1, 'the address stayed');
  deepEqual(
    pidsOf(alice, 'nginx').filter((pid) => nginx.includes(pid)),
    [],
    'the web server made way for it',
  );
  equal((await cluster.status()).groups.web?.epoch, 1);

  // it cannot start here any more, and bob has all that it needs
  await alice.mustExec(['mv', '/etc/mysql/my.cnf', '/etc/mysql/away.cnf']);
  const brokenMs = monotonicMs();
  killDatabase();
  await cluster.settled('running', { deadlineMs: 60_000, on: 'bob' });
  await database.nextAnswer(20_000);
  t.diagnostic(`no answers of the database for ${Math.round(database.longestGap(brokenMs))} ms`);
  match(
    (await cluster.event('group.failed-on-node', { node: 'alice', resource: 'mysql' })).detail,
    /^start: Config .* doesn't exist/,
  );
  equal((await cluster.why()).lastGrant?.cause, 'released', 'nobody waited for a lease');
  deepEqual(disk.users(), ['bob']);
  deepEqual([pidsOf(alice, 'nginx'), pidsOf(alice, 'mariadbd')], [[], []]);
  ok(pidsOf(bob, 'nginx').length > 0 && pidsOf(bob, 'mariadbd').length === 1);
  neverTwo(seen);
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
  for (const comm of ['nginx', 'mariadbd']) deepEqual(await cluster.observer.processOverlaps(comm), []);
});

test('a planned move unmounts whoever uses the file system, and nobody else has to end', {
  skip,
  timeout: 150_000,
}, async (t) => {
  const { cluster, disk, seen } = await stage(t, [resources.vip, mount, resources.nginx], { services: ['nginx'] });
  const alice = cluster.host('alice');
  await alice.mustExec([
    'sh',
    '-c',
    `mkdir ${directory}/dir /srv/bound /srv/other && cp /bin/sleep ${directory}/program`,
  ]);
  await alice.mustExec(['mount', '--bind', `${directory}/dir`, '/srv/bound']);
  await alice.mustExec(['sh', '-c', `mkdir ${directory}/nested && mount -t tmpfs nested ${directory}/nested`]);
  const users = [
    await intruder(alice, `exec 9>${directory}/open`),
    await intruder(alice, `cd ${directory}/nested`),
    await intruder(alice, 'cd /srv/bound'),
    await intruder(alice, `echo ready; exec ${directory}/program 1000`),
  ];
  const stranger = await intruder(alice, `cd /srv/other; : ${directory}/open`);
  await cluster.product.mustCli(['move', 'web', '--to', 'bob', '--wait', '60s']);
  equal((await cluster.status()).groups.web?.owner, 'bob');
  deepEqual(disk.users(), ['bob']);
  neverTwo(seen);
  for (const user of users) ok(!isAlive(user.pid), user.argv.join(' '));
  ok(isAlive(stranger.pid), 'who does not use it is left alone');
  equal((await cluster.host('bob').exec(['test', '-f', `${directory}/open`])).code, 0, 'what was written is there');
});

test('the guard unmounts while the agent is stopped, and another host goes on', {
  skip,
  timeout: 150_000,
}, async (t) => {
  const { cluster, disk, seen } = await stage(t, [resources.vip, mount, resources.nginx], { services: ['nginx'] });
  const alice = cluster.host('alice');
  const user = await intruder(alice, `trap '' TERM; cd ${directory}; exec 9>open`);
  const from = monotonicMs();
  const agent = cluster.product.agent(alice);
  agent.restart = 'no';
  agent.kill('SIGSTOP');
  await until(() => !disk.inUseOn(alice), { deadlineMs: 15_000, everyMs: 2, what: 'the guard to unmount on alice' });
  t.diagnostic(`unmounted ${Math.round(monotonicMs() - from)} ms after the agent was stopped`);
  await until(() => !isAlive(user.pid), { deadlineMs: 5_000, what: 'the user of the file system to be dead' });
  await cluster.settled('running', { deadlineMs: 40_000, on: 'bob' });
  deepEqual(disk.users(), ['bob']);
  neverTwo(seen);
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
});

test('a device that is gone fails the group here and not elsewhere; one that comes back is mounted', {
  skip,
  timeout: 150_000,
}, async (t) => {
  const { cluster, disk, seen } = await stage(t, [resources.vip, mount, resources.nginx], { services: ['nginx'] });
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  await bob.mustExec(['rm', disk.device]);
  await cluster.product.cli(['move', 'web', '--to', 'bob', '--wait', '60s']);
  await cluster.settled('running', { deadlineMs: 60_000, on: 'alice' });
  const refused = (await cluster.why()).candidates.find(({ node }) => node === 'bob');
  match(JSON.stringify(refused?.reasons), /the device \/dev\/shared0 is not there/);
  const [major = '', minor = ''] = (await disk.numberOn(bob)).split(':');
  await bob.mustExec(['mknod', disk.device, 'b', major, minor]);
  await cluster.product.mustCli(['group', 'cleanup', 'web']);
  await cluster.healthy('web', 40_000);
  await alice.powerCut();
  await cluster.settled('running', { deadlineMs: 40_000, on: 'bob' });
  deepEqual(disk.users(), ['bob']);
  neverTwo(seen);
});
