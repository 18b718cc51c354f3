import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { JOIN_TOKEN_MAX_TTL_MS } from '../../schemas/limits.ts';
import { type Coordinator, startCoordinator } from '../../test/coordinator/harness.ts';
import { TestNode } from '../../test/coordinator/node.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('tokens');
});
after(() => coordinator.close());

async function tokenFor(node: string, body?: object): Promise<string> {
  const created = await coordinator.admin('POST', `/v1/clusters/tokens/nodes/${node}/token`, body);
  assert.equal(created.status, 201, JSON.stringify(created.body));
  return created.body.token;
}

const make = (name: string) => TestNode.make(coordinator.origin, 'tokens', name);

test('a token admits its node once, and the admission is on record', async () => {
  const token = await tokenFor('alice');
  assert.match(token, /^hfj1_[0-9a-f]{32}_[0-9a-f]{12}_[0-9a-f]{64}[0-9a-z]{7}$/);
  const alice = await make('alice');
  const joined = await alice.enrol(token);
  assert.equal(joined.status, 200, JSON.stringify(joined.body));
  assert.equal(joined.body.cluster, 'tokens');
  assert.equal((await alice.signedPost('report', alice.report())).body.history, joined.body.history);
  const other = await (await make('alice')).enrol(token);
  assert.equal(other.status, 409);
  assert.equal(other.body.code, 'token-used');
  const { body } = await coordinator.admin('GET', '/v1/clusters/tokens/events?after=0');
  const kinds = body.events.map((event: { kind: string }) => event.kind);
  assert.ok(kinds.includes('node.token-created') && kinds.includes('node.joined'));
  assert.ok(!JSON.stringify(body).includes(token), 'no event repeats the token');
  assert.ok(
    !JSON.stringify(await coordinator.sql('tokens', 'SELECT * FROM join_token')).includes(token.slice(51, 115)),
  );
});

test('a join whose answer was lost may be repeated with the same key, until the node is removed', async () => {
  const token = await tokenFor('bob');
  const bob = await make('bob');
  const first = await bob.enrol(token);
  const second = await bob.enrol(token);
  assert.deepEqual([first.status, second.status], [200, 200]);
  assert.deepEqual(second.body, first.body);
  await coordinator.admin('DELETE', '/v1/clusters/tokens/nodes/bob?force=1');
  assert.equal((await bob.enrol(token)).body.code, 'token-used');
});

test('a token is for one node only', async () => {
  const refused = await (await make('dave')).enrol(await tokenFor('carol'));
  assert.equal(refused.status, 403);
  assert.equal(refused.body.code, 'token-wrong-node');
});

test('an expired token is refused', async () => {
  const token = await tokenFor('erin', { ttlMs: 60_000 });
  await coordinator.shiftClock(61_000);
  try {
    const refused = await (await make('erin')).enrol(token);
    assert.equal(refused.status, 401);
    assert.equal(refused.body.code, 'token-expired');
  } finally {
    await coordinator.shiftClock(0);
  }
});

test('a cut, mistyped or invented token is refused', async () => {
  const token = await tokenFor('frank');
  const frank = await make('frank');
  const last = token.at(-1) === '0' ? '1' : '0';
  const invented = token.replace(/_[0-9a-f]{12}_/, '_000000000000_');
  for (const wrong of [token.slice(0, -3), token.slice(0, -1) + last, invented, 'hfj1_', '']) {
    const refused = await frank.enrol(wrong);
    assert.equal(refused.status, 401, wrong);
    assert.equal(refused.body.code, 'token-invalid');
  }
  assert.equal((await frank.enrol(token)).status, 200, 'failed attempts do not use the token up');
});

test('who cannot sign with the offered key does not join', async () => {
  const token = await tokenFor('grace');
  const grace = await make('grace');
  const thief = await make('grace');
  const stolen = await grace.enrol(token, { publicKey: thief.publicKey });
  assert.equal(stolen.body.code, 'signature-invalid');
  assert.equal((await grace.enrol(token, { publicKey: 'AAAA' })).body.code, 'invalid-value');
  assert.equal((await grace.enrol(token)).status, 200);
});

test('a token of another cluster is unknown here', async () => {
  await coordinator.createCluster('elsewhere');
  const { body } = await coordinator.admin('POST', '/v1/clusters/elsewhere/nodes/heidi/token');
  assert.equal((await (await make('heidi')).enrol(body.token)).body.code, 'token-invalid');
});

test('a token may not live for ever', async () => {
  const path = '/v1/clusters/tokens/nodes/ivan/token';
  const refused = await coordinator.admin('POST', path, { ttlMs: JOIN_TOKEN_MAX_TTL_MS + 1 });
  assert.equal(refused.status, 422);
  assert.equal(refused.body.errors[0].path, 'ttlMs');
});
