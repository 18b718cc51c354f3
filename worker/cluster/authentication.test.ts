import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { SIGNATURE_HEADERS } from '../../schemas/session.ts';
import { type Coordinator, startCoordinator } from '../../test/coordinator/harness.ts';
import { TestNode } from '../../test/coordinator/node.ts';

let coordinator: Coordinator;
let alice: TestNode;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('auth');
  // Short leases: an object with a timer pending is not evicted, and it has one until its silent nodes are lost.
  await coordinator.apply('auth', 'cluster: auth\nnodes: [alice]\nlease: fast\n');
  alice = await coordinator.join('auth', 'alice');
});
after(() => coordinator.close());

test('a signed report is answered, and the answer carries the nonce for the next one', async () => {
  const first = await alice.signedPost('report', alice.report());
  assert.equal(first.status, 200, JSON.stringify(first.body));
  assert.equal(first.body.type, 'reply');
  const next = first.headers.get(SIGNATURE_HEADERS.nextNonce) ?? '';
  assert.equal((await alice.signedPost('report', alice.report(), next)).status, 200);
});

test('a recorded request is refused when it is sent again, with a fresh nonce to go on with', async () => {
  const nonce = await alice.nonce();
  const report = alice.report();
  assert.equal((await alice.signedPost('report', report, nonce)).status, 200);
  const again = await alice.signedPost('report', report, nonce);
  assert.equal(again.status, 401);
  assert.equal(again.body.code, 'nonce-stale');
  const fresh = again.headers.get(SIGNATURE_HEADERS.nextNonce) ?? '';
  assert.equal((await alice.signedPost('report', report, fresh)).status, 200);
});

test('of two requests at once with the same nonce only one is taken', async () => {
  const nonce = await alice.nonce();
  const answers = await Promise.all([1, 2].map(() => alice.signedPost('report', alice.report(), nonce)));
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 401]);
});

test('a changed body, path, node or key spoils the signature', async () => {
  const body = JSON.stringify(alice.report());
  const changedBody = await alice.post(
    'report',
    `${body} `,
    await alice.signature('POST', 'report', await alice.nonce(), body),
  );
  assert.equal(changedBody.body.code, 'signature-invalid');
  const changedPath = await alice.post(
    'report',
    body,
    await alice.signature('POST', 'wait', await alice.nonce(), body),
  );
  assert.equal(changedPath.body.code, 'signature-invalid');
  const stranger = await TestNode.make(coordinator.origin, 'auth', 'alice');
  assert.equal((await stranger.signedPost('report', alice.report())).body.code, 'signature-invalid');
  const bob = await coordinator.join('auth', 'bob');
  assert.equal((await bob.signedPost('report', bob.report())).status, 200);
  const asAlice = {
    ...(await bob.signature('POST', 'report', await alice.nonce(), body)),
    [SIGNATURE_HEADERS.node]: 'alice',
  };
  assert.equal((await bob.post('report', body, asAlice)).body.code, 'signature-invalid');
});

test('a report in the name of another node or incarnation is refused', async () => {
  const otherNode = await alice.signedPost('report', { ...alice.report(), node: 'bob' });
  assert.equal(otherNode.body.code, 'malformed-body');
  const otherIncarnation = await alice.signedPost('report', { ...alice.report(), incarnation: 'another' });
  assert.equal(otherIncarnation.body.code, 'malformed-body');
});

test('strangers who ask for nonces cannot push out the one that a node was handed', async () => {
  const { headers } = await alice.signedPost('report', alice.report());
  const mine = headers.get(SIGNATURE_HEADERS.nextNonce) ?? '';
  for (let i = 0; i < 20; i++) await alice.nonce();
  assert.equal((await alice.signedPost('report', alice.report(), mine)).status, 200);
});

test('a flood of questions for nonces and of bad signatures does not keep a node out', async () => {
  const mine = await alice.nonce();
  const flood = Array.from({ length: 200 }, async (_, i) => {
    if (i % 2 === 0) return await alice.nonce();
    const bob = await TestNode.make(coordinator.origin, 'auth', 'bob');
    const forged = { ...(await bob.signature('POST', 'report', mine, '{}')), [SIGNATURE_HEADERS.node]: 'alice' };
    return await bob.post('report', '{}', forged);
  });
  await Promise.all(flood);
  assert.equal((await alice.signedPost('report', alice.report(), mine)).status, 200);
});

test('asking for clusters that do not exist makes no object', async () => {
  for (let i = 0; i < 50; i++) {
    const stranger = await TestNode.make(coordinator.origin, `no-such-cluster-${i}`, 'alice');
    const answer = await stranger.post('nonce', { node: 'alice' });
    assert.equal(answer.status, 404);
    assert.equal(answer.body.code, 'cluster-unknown');
  }
  assert.equal(await coordinator.objectCount(), 1);
});

test('nonces end with the instance that gave them out', async () => {
  const nonce = await alice.nonce();
  await coordinator.evict('auth', 'close');
  assert.equal((await alice.signedPost('report', alice.report(), nonce)).body.code, 'nonce-stale');
});

test('who is no member gets no nonce', async () => {
  const stranger = await TestNode.make(coordinator.origin, 'auth', 'nobody');
  const answer = await stranger.post('nonce', { node: 'nobody' });
  assert.equal(answer.status, 401);
  assert.equal(answer.body.code, 'unauthorized');
  const signed = await stranger.signature('POST', 'report', 'no-nonce', '{}');
  assert.equal((await stranger.post('report', '{}', signed)).body.code, 'unauthorized');
});

test('the one name that every record has is the name of nobody', async () => {
  const stranger = await TestNode.make(coordinator.origin, 'auth', 'constructor');
  assert.equal((await stranger.post('nonce', { node: 'constructor' })).body.code, 'invalid-value');
  const signed = await stranger.signature('POST', 'report', 'no-nonce', '{}');
  assert.equal((await stranger.post('report', '{}', signed)).body.code, 'unauthorized');
});

test('a removed node is refused over HTTP and its socket closed', async () => {
  const carol = await coordinator.join('auth', 'carol');
  const socket = await carol.connect();
  await socket.ask(carol.report());
  const nonce = await carol.nonce();
  const removed = await coordinator.admin('DELETE', '/v1/clusters/auth/nodes/carol');
  assert.equal(removed.status, 200, JSON.stringify(removed.body));
  assert.equal((await socket.closed).code, 4401);
  assert.equal((await carol.signedPost('report', carol.report(), nonce)).status, 401);
  assert.equal(await carol.upgrade(nonce), 401);
});

test('a node that joins again with a new key is judged by the new key', async () => {
  const dave = await coordinator.join('auth', 'dave');
  assert.equal((await dave.signedPost('report', dave.report())).status, 200);
  await coordinator.admin('DELETE', '/v1/clusters/auth/nodes/dave');
  const again = await coordinator.join('auth', 'dave');
  assert.equal((await again.signedPost('report', again.report())).status, 200);
  assert.equal((await dave.signedPost('report', dave.report())).body.code, 'signature-invalid');
});
