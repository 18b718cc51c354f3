import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MAX_AGENT_MESSAGE_BYTES } from '../../schemas/limits.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import type { TestNode } from '../../test/coordinator/node.ts';

let coordinator: Coordinator;
let alice: TestNode;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('sockets');
  // Short leases: an object with a timer pending is not evicted, and it has one until its silent nodes are lost.
  await coordinator.apply('sockets', `lease: fast\n${documentOf('sockets', ['alice'])}`);
  alice = await coordinator.join('sockets', 'alice');
  alice.revision = 1;
});
after(() => coordinator.close());

test('hibernation keeps the socket, whom it belongs to, and everything durable', async () => {
  const socket = await alice.connect();
  const first = await socket.ask(alice.report());
  const before = (await coordinator.admin('GET', '/v1/clusters/sockets/events?after=0')).body.events;
  await coordinator.evict('sockets', 'hibernate');
  const second = await socket.ask(alice.report());
  assert.notEqual(second.instance, first.instance);
  assert.equal(second.history, first.history);
  const kept = (await coordinator.admin('GET', '/v1/clusters/sockets/events?after=0')).body.events;
  assert.deepEqual(kept.slice(0, before.length), before);
  assert.ok(kept.slice(before.length).some((event: { kind: string }) => event.kind === 'coordinator.started'));
  socket.close();
});

test('a newer socket of the same incarnation replaces the older', async () => {
  const older = await alice.connect();
  await older.ask(alice.report());
  const newer = await alice.connect();
  const { code, reason } = await older.closed;
  assert.deepEqual({ code, reason }, { code: 4000, reason: 'replaced' });
  assert.equal((await newer.ask(alice.report())).problem, undefined);
  newer.close();
});

test('the socket of another incarnation is left open for the decisions to judge', async () => {
  const rightful = await alice.connect();
  await rightful.ask(alice.report());
  const { incarnation } = alice;
  alice.incarnation = 'a-clone';
  const clone = await alice.connect();
  const refused = await clone.ask(alice.report());
  assert.equal(refused.problem?.code, 'identity-conflict');
  alice.incarnation = incarnation;
  assert.equal((await rightful.ask(alice.report())).problem, undefined);
  rightful.close();
  clone.close();
});

test('a malformed report is told so where it has an id, and ends the connection where it has none', async () => {
  const socket = await alice.connect();
  const wrong = { ...alice.report(), leases: 'many' };
  socket.send(wrong);
  const reply = await socket.message((message) => message.id === wrong.id, 'a reply');
  assert.equal(reply.problem.code, 'malformed');
  assert.match(reply.problem.detail, /^leases: /);
  assert.equal((await socket.ask(alice.report())).problem, undefined);
  socket.send('{"type":');
  assert.equal((await socket.closed).code, 1007);
});

test('an agent of an unserved version is told which, whatever else its report looks like', async () => {
  const socket = await alice.connect();
  socket.send({ type: 'report of tomorrow', version: [2, 7], id: 'r-1' });
  const reply = await socket.message((message) => message.id === 'r-1', 'a reply');
  assert.equal(reply.problem.code, 'version-unsupported');
  const { code, reason } = await socket.closed;
  assert.equal(code, 4426);
  assert.match(reason, /2\.7/);
  const overHttp = await alice.signedPost('report', { version: [2, 7] });
  assert.equal(overHttp.status, 426);
  assert.equal(overHttp.body.code, 'version-unsupported');
});

test('a message above the limit ends the connection', async () => {
  const socket = await alice.connect();
  socket.send('x'.repeat(MAX_AGENT_MESSAGE_BYTES + 1));
  assert.equal((await socket.closed).code, 1009);
  const overHttp = await alice.signedPost('report', 'x'.repeat(MAX_AGENT_MESSAGE_BYTES + 1));
  assert.equal(overHttp.status, 413);
});

test('binary messages are refused', async () => {
  const socket = await alice.connect();
  socket.send(new ArrayBuffer(8));
  assert.equal((await socket.closed).code, 1003);
});

test('what concerns a node nudges its socket and its long poll', async () => {
  const socket = await alice.connect();
  await socket.ask(alice.report());
  const waiting = alice.signedPost('wait', {});
  await coordinator.apply('sockets', `lease: fast\n${documentOf('sockets', ['alice'], '192.0.2.11/24')}`);
  await socket.message((message) => message.type === 'nudge', 'a nudge');
  assert.deepEqual((await waiting).body, { nudge: true });
  alice.revision = 2;
  socket.close();
});
