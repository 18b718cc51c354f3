import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { appliedSchema, configurationSchema, operationListSchema, planSchema } from '../../schemas/api.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

const path = (cluster: string) => `/v1/clusters/${cluster}/config`;

async function put(cluster: string, document: string, revision: number, type = 'application/yaml') {
  return await coordinator.admin('PUT', path(cluster), document, {
    'content-type': type,
    'if-match': `"rev-${revision}"`,
  });
}

test('before the first document the configuration is revision 0, and that is what the first write names', async () => {
  await coordinator.createCluster('first');
  const empty = await coordinator.admin('GET', path('first'));
  assert.equal(empty.headers.get('etag'), '"rev-0"');
  assert.deepEqual(configurationSchema.parse(empty.body), { revision: 0, at: null, document: '' });
  const applied = await put('first', documentOf('first', ['alice']), 0);
  assert.equal(applied.status, 200, JSON.stringify(applied.body));
  assert.equal(applied.headers.get('etag'), '"rev-1"');
  const answer = appliedSchema.parse(applied.body);
  assert.deepEqual([answer.revision, answer.newRevision, answer.changed], [0, 1, true]);
  assert.deepEqual(
    answer.effects.map((effect) => [effect.group, effect.effect]),
    [['web', 'created']],
  );
});

test('of two writers who read the same revision the second is told to read again', async () => {
  await coordinator.createCluster('race');
  const answers = await Promise.all(
    ['192.0.2.1/24', '192.0.2.2/24'].map((address) => put('race', documentOf('race', ['alice'], address), 0)),
  );
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 412]);
  assert.equal((await coordinator.admin('GET', path('race'))).body.revision, 1);
});

test('the same text again changes nothing and makes no revision', async () => {
  await coordinator.createCluster('same');
  const text = documentOf('same', ['alice']);
  await put('same', text, 0);
  const again = await put('same', text, 1);
  assert.equal(again.status, 200);
  assert.deepEqual([again.body.changed, again.body.newRevision], [false, 1]);
});

test('a plan and a dry run tell what would happen and change nothing', async () => {
  await coordinator.createCluster('plan');
  await put('plan', documentOf('plan', ['alice']), 0);
  const next = documentOf('plan', ['alice'], '192.0.2.99/24');
  const headers = { 'content-type': 'text/yaml' };
  const planned = await coordinator.admin('POST', `${path('plan')}/plan`, next, headers);
  const dryRun = await coordinator.admin('PUT', `${path('plan')}?dryRun=1`, next, headers);
  assert.deepEqual(dryRun.body, planned.body);
  const plan = planSchema.parse(planned.body);
  assert.equal(plan.changed, true);
  assert.match(plan.diff, /^\+.*192\.0\.2\.99/m);
  assert.equal((await coordinator.admin('GET', path('plan'))).body.revision, 1);
});

test('a document may be written as JSON, and an old revision can be read again', async () => {
  await coordinator.createCluster('json');
  const first = JSON.stringify({ cluster: 'json', nodes: ['alice'], groups: {} });
  assert.equal((await put('json', first, 0, 'application/json')).status, 200);
  assert.equal((await put('json', documentOf('json', ['alice', 'bob']), 1)).status, 200);
  assert.equal((await coordinator.admin('GET', `${path('json')}?revision=1`)).body.document, first);
  assert.equal((await coordinator.admin('GET', `${path('json')}?revision=7`)).status, 404);
});

test('a refused document leaves the old one in force', async () => {
  await coordinator.createCluster('stays');
  await put('stays', documentOf('stays', ['alice']), 0);
  assert.equal((await put('stays', 'cluster: stays\nnodes: []\n', 1)).status, 422);
  assert.equal((await coordinator.admin('GET', path('stays'))).body.revision, 1);
});

test('events are paged, and a waiting reader hears of the next one at once', async () => {
  await coordinator.createCluster('events');
  const events = '/v1/clusters/events/events';
  const first = await coordinator.admin('GET', `${events}?after=0&limit=1`);
  assert.equal(first.body.events.length, 1);
  const all = await coordinator.admin('GET', `${events}?after=0`);
  const waiting = coordinator.admin('GET', `${events}?after=${all.body.next}&wait=20`);
  await put('events', documentOf('events', ['alice']), 0);
  const { body } = await waiting;
  assert.equal(body.events[0].kind, 'config.applied');
  assert.equal(body.next, body.events.at(-1).seq);
  const none = await coordinator.admin('GET', `${events}?after=${body.next}`);
  assert.deepEqual([none.body.events, none.body.next], [[], body.next]);
});

test('an operation can be followed to its end', async () => {
  await coordinator.createCluster('follow');
  await put('follow', documentOf('follow', ['alice']), 0);
  const stop = await coordinator.admin('POST', '/v1/clusters/follow/groups/web/stop');
  assert.equal(stop.status, 202);
  const followed = await coordinator.admin('GET', `${stop.headers.get('location')}?wait=20`);
  assert.equal(followed.body.state, 'succeeded');
  const waiting = await coordinator.admin('POST', '/v1/clusters/follow/groups/web/start');
  assert.equal(waiting.body.state, 'running');
  const following = coordinator.admin('GET', `${waiting.headers.get('location')}?wait=20`);
  await coordinator.admin('POST', '/v1/clusters/follow/groups/web/stop');
  assert.equal((await following).body.state, 'failed');
});

test('operations are listed, newest first, with how they ended', async () => {
  await coordinator.createCluster('listed');
  await put('listed', documentOf('listed', ['alice']), 0);
  const path = '/v1/clusters/listed/operations';
  assert.deepEqual((await coordinator.admin('GET', path)).body, { schema: 'holdfast/operations/v1', operations: [] });
  const stop = await coordinator.admin('POST', '/v1/clusters/listed/groups/web/stop');
  const start = await coordinator.admin('POST', '/v1/clusters/listed/groups/web/start');
  const { operations } = operationListSchema.parse((await coordinator.admin('GET', path)).body);
  assert.deepEqual(
    operations.map(({ id, state }) => [id, state]),
    [
      [start.body.id, 'running'],
      [stop.body.id, 'succeeded'],
    ],
  );
});
