/** The main job on real input: a host loses power, and the same services answer behind the same address on another host. */
import { deepEqual, equal, notEqual, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { Client, Cluster, documentOf, labUnavailable, monotonicMs, resources, until, VIP } from './index.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];

test('power loss: address, MariaDB and nginx come up in order on another host and answer behind the same address', {
  skip,
  timeout: 120_000,
}, async (t) => {
  await using cluster = await Cluster.start({
    services: ['nginx', 'mariadb'],
    document: documentOf(names, [resources.vip, resources.mariadb, resources.nginx]),
  });
  equal(await cluster.settled('running'), 'alice', 'the first of the `on` list');
  await cluster.healthy();
  const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  const database = await Client.start(cluster.lab.client, { kind: 'mariadb', address: VIP });
  equal((await web.nextAnswer(10_000)).text, 'alice');
  await database.nextAnswer(10_000);

  const cutMs = monotonicMs();
  await cluster.host('alice').powerCut();
  equal(await cluster.settled('running', { deadlineMs: 30_000, on: 'bob' }), 'bob', 'the next of the `on` list');
  await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 10_000, what: 'the web server on bob' });
  const later = await database.nextAnswer(10_000, cutMs);
  ok(later.answeredMs > cutMs);

  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), [], 'never two holders of the address');
  const why = await cluster.why();
  equal(why.lastGrant?.cause, 'lease-expired');
  equal(why.lastGrant?.from, 'alice');
  equal(why.lastGrant?.node, 'bob');
  equal(why.epoch, 2);
  const dead = why.lastGrant?.candidates.find((candidate) => candidate.node === 'alice');
  ok(
    dead?.reasons.some((reason) => reason.rule === 'lost'),
    'the story says why alice was passed over',
  );
  notEqual(why.lastGrant?.runningAt, null, 'the outage is measured');
  const kinds = (await cluster.events()).map((event) => event.kind);
  for (const kind of ['node.lost', 'group.lease-expired', 'group.granted', 'group.running'] as const)
    ok(kinds.includes(kind), `event ${kind}`);
  const status = await cluster.status();
  deepEqual(
    status.groups.web?.resources.map((resource) => [resource.id, resource.state]),
    [
      [`vip-${VIP}`, 'running'],
      ['mysql', 'running'],
      ['nginx', 'running'],
    ],
  );
  t.diagnostic(
    `web outage ${Math.round(web.longestGap(cutMs))} ms, database outage ${Math.round(database.longestGap(cutMs))} ms; starts ${status.groups.web?.resources.map((resource) => `${resource.id} ${resource.startMs} ms`).join(', ')}`,
  );
  await web.stop();
  await database.stop();
});

test('planned move: the group stops in order, is released, and starts on the node that was named; nothing is left behind', {
  skip,
  timeout: 90_000,
}, async (t) => {
  await using cluster = await Cluster.start();
  await cluster.settled('running');
  await cluster.healthy();
  const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  await web.nextAnswer(10_000);
  const movedMs = monotonicMs();
  await cluster.product.mustCli(['move', 'web', '--to', 'carol', '--wait', '30s']);
  equal((await cluster.status()).groups.web?.owner, 'carol');
  await until(() => web.lastAnswer?.text === 'carol', { deadlineMs: 10_000, what: 'the web server on carol' });
  t.diagnostic(`outage ${Math.round(web.longestGap(movedMs))} ms`);
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
  equal((await cluster.why()).lastGrant?.cause, 'released');

  // stay put: the node it came from gets no fail-back
  await cluster.healthy();
  equal((await cluster.status()).groups.web?.owner, 'carol');
  await web.stop();
});

test('standby drains a node, ready does not fetch back; group stop and start keep the node', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await Cluster.start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  await cluster.product.mustCli(['node', 'standby', 'alice', '--wait', '30s']);
  equal(await cluster.settled('running', { on: 'bob' }), 'bob');
  await cluster.product.mustCli(['node', 'ready', 'alice']);
  await cluster.healthy();
  equal((await cluster.status()).groups.web?.owner, 'bob');
  await cluster.product.mustCli(['group', 'stop', 'web', '--wait', '30s']);
  await cluster.settled('stopped');
  deepEqual(cluster.observer.holders(VIP), []);
  await cluster.product.mustCli(['group', 'start', 'web', '--wait', '30s']);
  equal(await cluster.settled('running'), 'bob');
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
});

test('confirm-dead: refused while the node lives; when it is off it frees its groups, as soon as no promise to it runs any more', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await Cluster.start({
    hosts: ['alice', 'bob'],
    document: documentOf(['alice', 'bob'], [resources.vip, resources.nginx], { lease: 'wan' }),
  });
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const refused = await cluster.product.cli(['confirm-dead', 'alice', '--accept-risk=not-really-off']);
  notEqual(refused.code, 0);
  ok(/alice reported \d+ ms ago/.test(refused.stderr), refused.stderr);
  const unaccepted = await cluster.product.cli(['confirm-dead', 'alice']);
  equal(unaccepted.code, 107);

  await cluster.host('alice').powerCut();
  await until(
    async () => (await cluster.product.cli(['confirm-dead', 'alice', '--accept-risk=not-really-off'])).code === 0,
    {
      deadlineMs: 12_000,
      what: 'the node to be silent long enough to be believed dead',
    },
  );
  await cluster.settled('running', { on: 'bob', deadlineMs: 25_000 });
  const { lastGrant } = await cluster.why();
  equal(lastGrant?.cause, 'declared-dead');
  // the word may be wrong: what bob has promised to alice, it keeps
  const afterMs = Date.parse(lastGrant?.at ?? '') - Date.parse(lastGrant?.lastRenewalAt ?? '');
  ok(afterMs > 0, `granted ${afterMs} ms after the word`);
  equal((await cluster.why()).epoch, 2);
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
});
