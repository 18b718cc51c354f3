/** Rules between groups on real processes: who starts after whom, beside whom, never beside whom, and who waits for a person. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterEvent } from '../../schemas/events.ts';
import { MAX_GROUPS } from '../../schemas/limits.ts';
import { assertNeverTwo, Cluster, everyEvent, labUnavailable, monotonicMs, setFault, until } from './index.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];

async function owners(cluster: Cluster): Promise<Record<string, string | null>> {
  const { groups } = await cluster.status();
  return Object.fromEntries(Object.entries(groups).map(([name, { owner }]) => [name, owner]));
}

async function allRun(cluster: Cluster, groups: readonly string[], deadlineMs = 30_000): Promise<void> {
  for (const group of groups) await cluster.settled('running', { group, deadlineMs });
}

/** Where in the story something first happened after `since`; -1 if it did not. */
function first(events: readonly ClusterEvent[], since: number, kind: ClusterEvent['kind'], group: string): number {
  return events.find((event) => event.seq > since && event.kind === kind && event.group === group)?.seq ?? -1;
}

/** These happened, in this order. */
function inOrder(
  events: readonly ClusterEvent[],
  since: number,
  steps: readonly (readonly [ClusterEvent['kind'], string])[],
): void {
  const found = steps.map(([kind, group]) => first(events, since, kind, group));
  const told = steps.map(([kind, group], index) => `${kind} ${group}: ${found[index]}`).join(', ');
  ok(!found.includes(-1), `not all of it happened: ${told}`);
  deepEqual(
    found,
    found.toSorted((a, b) => a - b),
    told,
  );
}

const lastSeq = async (cluster: Cluster) => (await everyEvent(cluster)).at(-1)?.seq ?? 0;

const family = `cluster: lab
nodes: [alice, bob, carol]
groups:
  web: { after: app, with: db, resources: [{ vip: 192.0.2.203/24 }] }
  app: { after: db, resources: [{ vip: 192.0.2.202/24 }] }
  db: { resources: [{ vip: 192.0.2.201/24 }, { ocf: { agent: "holdfast-test:failstart" } }] }
  batch: { apart: db, resources: [{ vip: 192.0.2.204/24 }] }
`;
const groups = ['db', 'app', 'web', 'batch'];

test('groups that come after another wait for it and say so, start in order, follow it at a power cut, and leave before it', {
  skip,
  timeout: 180_000,
}, async () => {
  await using cluster = await Cluster.start({
    services: ['test-agents'],
    allow: ['ocf=holdfast-test:failstart'],
    document: null,
  });
  for (const node of names) await setFault(cluster.host(node), 'failstart', 'failstart', 'on');
  await cluster.product.apply(family);
  await cluster.settled('failed', { group: 'db' });
  await cluster.settled('running', { group: 'batch' });
  const { reason = '' } = await cluster.why('web');
  match(reason, /waits for app, which is waiting \(for db, which is failed \(/);
  const said = await cluster.product.mustCli(['why', 'app']);
  match(said, /app is waiting and runs nowhere\n {2}because waits for db, which is failed/);
  deepEqual([(await owners(cluster)).app, (await owners(cluster)).web], [null, null]);

  const cold = await lastSeq(cluster);
  for (const node of names) await setFault(cluster.host(node), 'failstart', 'failstart', undefined);
  await cluster.product.mustCli(['group', 'cleanup', 'db']);
  await allRun(cluster, groups);
  inOrder(await everyEvent(cluster), cold, [
    ['group.granted', 'db'],
    ['group.running', 'db'],
    ['group.granted', 'app'],
    ['group.running', 'app'],
    ['group.granted', 'web'],
    ['group.running', 'web'],
  ]);
  const before = await owners(cluster);
  equal(before.web, before.db, 'web runs with db');
  notEqual(before.batch, before.db, 'batch is kept apart from db');

  const refused = await cluster.product.cli(['move', 'web']);
  match(refused.stderr, /move db instead, what runs with it follows: `holdfast move db`/);

  // everything that belongs to db is on one node, so that the cut takes all of it
  if (before.app !== before.db)
    await cluster.product.mustCli(['move', 'app', '--to', before.db ?? '', '--wait', '30s']);
  const cut = await lastSeq(cluster);
  await cluster.host(before.db ?? '').powerCut();
  await until(async () => !Object.values(await owners(cluster)).includes(before.db ?? null), {
    deadlineMs: 30_000,
    what: 'everything to be taken over',
    everyMs: 100,
  });
  await allRun(cluster, groups);
  inOrder(await everyEvent(cluster), cut, [
    ['group.lease-expired', 'db'],
    ['group.granted', 'db'],
    ['group.running', 'db'],
    ['group.granted', 'app'],
    ['group.running', 'app'],
    ['group.granted', 'web'],
  ]);
  const after = await owners(cluster);
  equal(after.web, after.db);
  notEqual(after.batch, after.db, 'also when the nodes become few');

  await cluster.host(before.db ?? '').reboot();
  await until(async () => (await cluster.status()).nodes[before.db ?? '']?.state === 'ready', {
    deadlineMs: 30_000,
    what: 'the node to be back',
    everyMs: 100,
  });
  await cluster.product.mustCli(['move', 'app', '--to', after.db ?? '', '--wait', '30s']).catch(() => undefined);
  const drained = await lastSeq(cluster);
  await cluster.product.mustCli(['node', 'standby', after.db ?? '', '--wait', '30s']);
  await allRun(cluster, groups);
  inOrder(await everyEvent(cluster), drained, [
    ['group.released', 'web'],
    ['group.released', 'app'],
    ['group.released', 'db'],
    ['group.granted', 'db'],
    ['group.granted', 'app'],
    ['group.granted', 'web'],
  ]);
  const last = await owners(cluster);
  equal(last.web, last.db);
  notEqual(last.batch, last.db);
  await assertNeverTwo(cluster);
});

test('failback moves a group to the better node once it could run it for long enough; failover: manual waits for a person', {
  skip,
  timeout: 150_000,
}, async () => {
  await using cluster = await Cluster.start({
    services: [],
    document: `cluster: lab
nodes: { alice: , bob: , carol: { labels: [disk=ssd] } }
groups:
  db: { prefer: disk=ssd, failback: 3s, resources: [{ vip: 192.0.2.201/24 }] }
  ledger: { on: [alice, bob], failover: manual, resources: [{ vip: 192.0.2.202/24 }] }
`,
  });
  await cluster.settled('running', { group: 'db', on: 'carol', deadlineMs: 30_000 });
  await cluster.product.mustCli(['node', 'standby', 'carol', '--wait', '30s']);
  await cluster.settled('running', { group: 'db' });
  notEqual((await owners(cluster)).db, 'carol');
  const since = await lastSeq(cluster);
  await cluster.product.mustCli(['node', 'ready', 'carol']);
  const readyMs = monotonicMs();
  await cluster.settled('running', { group: 'db', on: 'carol' });
  ok(monotonicMs() - readyMs >= 3_000, 'not before the time is over');
  const asked = (await everyEvent(cluster)).find((event) => event.seq > since && event.kind === 'group.move-requested');
  match(asked?.detail ?? '', /could run it for 3s \(failback\)$/);
  match(
    (await cluster.product.mustCli(['why', 'db'])).replaceAll(/ +/g, ' '),
    /carol runs it 1114 .*preferred \(disk=ssd\) \+100/,
  );

  const owner = await cluster.settled('running', { group: 'ledger' });
  const other = owner === 'alice' ? 'bob' : 'alice';
  await cluster.host(owner).powerCut();
  await cluster.event('group.lease-expired', { group: 'ledger' });
  await cluster.settled('waiting', { group: 'ledger' });
  match(
    (await cluster.why('ledger')).reason ?? '',
    new RegExp(`${other} takes it only by .holdfast move ledger --to ${other}.`),
  );
  deepEqual(
    cluster.observer.holders('192.0.2.202').filter((host) => host !== owner),
    [],
  );
  match(
    await cluster.product.mustCli(['why', 'ledger', '--on', other]),
    new RegExp(`For ${other} to be chosen:\n {2}.holdfast move ledger --to ${other}.`),
  );
  await cluster.product.mustCli(['move', 'ledger', '--to', other, '--wait', '30s']);
  equal(await cluster.settled('running', { group: 'ledger' }), other);
  await assertNeverTwo(cluster);
});

test('as many groups as there may be, in chains, on slow disks, start in order on two nodes, and all move at a standby', {
  skip,
  timeout: 1_200_000,
}, async (t) => {
  // ten seconds each on two idle processors: a machine with others on it is slower by the whole factor
  const deadlineMs = 300_000;
  const chain = 5;
  const addresses = Array.from({ length: MAX_GROUPS }, (_, index) => `192.0.2.${index < 70 ? 30 + index : 31 + index}`);
  const lines = addresses.map((address, index) => {
    const rule = index % chain === 0 ? '' : index % chain === 1 ? `with: g${index - 1}, ` : `after: g${index - 1}, `;
    return `  g${index}: { ${rule}resources: [{ vip: ${address}/24 }] }\n`;
  });
  await using cluster = await Cluster.start({ hosts: ['alice', 'bob'], services: [], document: null, slowDisks: true });
  const appliedMs = monotonicMs();
  await cluster.product.apply(`cluster: lab\nnodes: [alice, bob]\ngroups:\n${lines.join('')}`);
  const all = async (on?: string) => {
    const states = Object.values((await cluster.status()).groups);
    return (
      states.length === MAX_GROUPS &&
      states.every(({ state, owner }) => state === 'running' && (on === undefined || owner === on))
    );
  };
  await until(all, { deadlineMs, everyMs: 500, what: 'every group to run' });
  t.diagnostic(`${MAX_GROUPS} groups up ${Math.round(monotonicMs() - appliedMs)} ms after they were applied`);
  const movedMs = monotonicMs();
  await cluster.product.mustCli(['node', 'standby', 'alice', '--wait', '300s'], { deadlineMs: deadlineMs + 10_000 });
  await until(() => all('bob'), { deadlineMs, everyMs: 500, what: 'every group to run on bob' });
  t.diagnostic(`all of them on bob ${Math.round(monotonicMs() - movedMs)} ms after the standby`);
  const events = await everyEvent(cluster);
  for (let index = 0; index < MAX_GROUPS; index += 1)
    if (index % chain > 1)
      ok(
        first(events, 0, 'group.running', `g${index - 1}`) < first(events, 0, 'group.granted', `g${index}`),
        `g${index} was granted before g${index - 1} ran`,
      );
  await assertNeverTwo(cluster);
});
