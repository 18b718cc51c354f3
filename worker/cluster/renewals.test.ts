import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import type { TestNode, TestSocket } from '../../test/coordinator/node.ts';
import { until } from '../../test/lab/until.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

interface Member {
  readonly node: TestNode;
  readonly socket: TestSocket;
}

/** A cluster with one group, its nodes joined, connected and at the applied revision. */
async function clusterOf(cluster: string, names: readonly string[], lease: 'default' | 'fast'): Promise<Member[]> {
  await coordinator.createCluster(cluster);
  await coordinator.apply(cluster, `lease: ${lease}\n${documentOf(cluster, names)}`);
  const members: Member[] = [];
  for (const name of names) {
    const node = await coordinator.join(cluster, name);
    node.revision = 1;
    members.push({ node, socket: await node.connect() });
  }
  for (const { node, socket } of members) await socket.ask(node.report());
  return members;
}

async function ticks(cluster: string): Promise<number> {
  const [row] = await coordinator.sql(cluster, 'SELECT n FROM tick');
  return Number(row?.n);
}

const claimWeb = { group: 'web', renewal: null, seenForMs: 0 };

test('three nodes that report together share one row per tick', async () => {
  const members = await clusterOf('rows', ['alice', 'bob', 'carol'], 'default');
  const [alice] = members;
  assert.ok(alice);
  const granted = await alice.socket.ask(alice.node.report({ claims: [claimWeb] }));
  const epoch = granted.grants[0]?.epoch ?? 0;
  assert.equal(epoch, 1);
  const leases = [{ group: 'web', epoch, voters: 1 }];
  const tickTogether = async () => {
    const asked = members.map(({ node, socket }) => socket.ask(node.report(node === alice.node ? { leases } : {})));
    return await Promise.all(asked);
  };
  // The first tick after the grant also stores that the lease is confirmed.
  const renewInMs = Math.max(...(await tickTogether()).map((reply) => reply.renewInMs));
  const rows = await coordinator.sql('rows', 'SELECT total_changes() AS written, n FROM tick');
  let wait = renewInMs;
  for (let tick = 0; tick < 3; tick++) {
    const due = performance.now() + wait;
    await until(() => performance.now() >= due, { deadlineMs: 5_000, what: 'the next tick' });
    const replies = await tickTogether();
    assert.deepEqual(replies[0]?.leases, [{ verdict: 'renewed', group: 'web', epoch, order: 'run', cleanups: 0 }]);
    wait = Math.max(...replies.map((reply) => reply.renewInMs));
  }
  const [last] = await coordinator.sql('rows', 'SELECT total_changes() AS written, n FROM tick');
  assert.equal(Number(last?.n) - Number(rows[0]?.n), 3);
  assert.equal(Number(last?.written) - Number(rows[0]?.written), 3, 'and nothing else is written');
});

test('a renewal waits for nobody longer than the gathering time, and is answered when others stay away', async () => {
  const [alice, bob] = await clusterOf('apart', ['alice', 'bob'], 'default');
  assert.ok(alice && bob);
  const before = await ticks('apart');
  const reply = await alice.socket.ask(alice.node.report());
  assert.equal(reply.problem, undefined);
  assert.equal((await ticks('apart')) - before, 1);
});

test('a report repeated within a tick hurries everything that is being gathered', async () => {
  const [alice, bob] = await clusterOf('retry', ['alice', 'bob'], 'default');
  assert.ok(alice && bob);
  const report = alice.node.report();
  const [first, second] = await Promise.all([alice.socket.ask(report), alice.socket.ask(alice.node.report())]);
  assert.equal(first.id, report.id);
  assert.equal(second.problem, undefined);
});

test('a claim whose answer was lost with the instance is granted again, in the same epoch', async () => {
  const [alice] = await clusterOf('again', ['alice'], 'fast');
  assert.ok(alice);
  const granted = await alice.socket.ask(alice.node.report({ claims: [claimWeb] }));
  assert.equal(granted.grants[0]?.epoch, 1);
  await coordinator.evict('again', 'close');
  const socket = await alice.node.connect();
  const repeated = await socket.ask(alice.node.report({ claims: [claimWeb] }));
  assert.notEqual(repeated.instance, granted.instance);
  assert.deepEqual(repeated.grants, granted.grants);
  const why = await coordinator.admin('GET', '/v1/clusters/again/groups/web/why');
  assert.equal(why.body.lastGrant.epoch, 1);
  const decisions = await coordinator.sql('again', "SELECT count(*) AS n FROM decision WHERE kind = 'grant'");
  assert.equal(decisions[0]?.n, 1);
});

test('after a restart the coordinator waits before it grants what another may hold', async () => {
  const [alice, bob] = await clusterOf('wait', ['alice', 'bob'], 'fast');
  assert.ok(alice && bob);
  const granted = await alice.socket.ask(alice.node.report({ claims: [claimWeb] }));
  await coordinator.evict('wait', 'hibernate');
  await bob.socket.ask(bob.node.report());
  const renewal = `suspect-${granted.grants[0]?.epoch}`;
  const [row] = await coordinator.sql('wait', "SELECT record FROM service_group WHERE name = 'web'");
  const { lease } = JSON.parse(String(row?.record));
  assert.ok(lease.suspectSince > 0, `${renewal} is counted from the restart`);
  const early = await bob.socket.ask(
    bob.node.report({
      claims: [{ group: 'web', renewal: `suspect-${lease.epoch}-${lease.suspectSince}`, seenForMs: 60_000 }],
    }),
  );
  assert.deepEqual(early.grants, []);
  assert.equal(early.refused[0]?.group, 'web');
});

test('the coordinator’s clock stepped back: every lease is suspect from then on', async () => {
  const [alice] = await clusterOf('step', ['alice'], 'default');
  assert.ok(alice);
  await alice.socket.ask(alice.node.report({ claims: [claimWeb] }));
  await coordinator.shiftClock(-60_000);
  try {
    await alice.socket.ask(alice.node.report());
    const { body } = await coordinator.admin('GET', '/v1/clusters/step/events?after=0');
    assert.ok(body.events.some((event: { kind: string }) => event.kind === 'coordinator.clock-stepped'));
  } finally {
    await coordinator.shiftClock(0);
  }
});

test('the coordinator’s clock leapt forward: nobody is lost by that, and nothing expires', async () => {
  const [alice] = await clusterOf('leap', ['alice', 'bob'], 'default');
  assert.ok(alice);
  await alice.socket.ask(alice.node.report({ claims: [claimWeb] }));
  await coordinator.shiftClock(3_600_000);
  try {
    await alice.socket.ask(alice.node.report());
    const { body } = await coordinator.admin('GET', '/v1/clusters/leap/events?after=0');
    const kinds = body.events.map((event: { kind: string }) => event.kind);
    assert.ok(kinds.includes('coordinator.clock-stepped'), kinds.join());
    assert.deepEqual(
      kinds.filter((kind: string) => kind === 'node.lost' || kind === 'group.lease-expired'),
      [],
    );
  } finally {
    await coordinator.shiftClock(0);
  }
});
