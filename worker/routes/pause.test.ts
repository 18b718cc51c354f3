import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { statusSchema } from '../../schemas/api.ts';
import { PAUSE_DEFAULT_MS, PAUSE_MAX_MS } from '../../schemas/limits.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

/** A cluster in which alice has joined and may run `web`. */
async function clusterOf(name: string) {
  await coordinator.createCluster(name);
  await coordinator.apply(name, documentOf(name, ['alice', 'bob']));
  const alice = await coordinator.join(name, 'alice');
  alice.revision = 1;
  const post = (path: string, body: unknown = {}) => coordinator.admin('POST', `/v1/clusters/${name}/${path}`, body);
  const status = async () => statusSchema.parse((await coordinator.admin('GET', `/v1/clusters/${name}/status`)).body);
  return { alice, post, status };
}

const ALWAYS = { claims: [{ group: 'web', renewal: null, seenForMs: 0 }] };

test('a paused group is granted to nobody, its owner is told to pause, and resume ends both', async () => {
  const { alice, post, status } = await clusterOf('paused');
  assert.equal((await post('groups/web/pause', { reason: 'disk swap' })).status, 200);
  const { paused } = (await status()).groups.web ?? {};
  assert.equal(paused?.reason, 'disk swap');
  assert.equal(Date.parse(paused?.until ?? '') - Date.parse(paused?.since ?? ''), PAUSE_DEFAULT_MS);
  const refused = await alice.signedPost('report', alice.report(ALWAYS));
  assert.match(refused.body.refused[0].reason, /the group is paused until .*disk swap/);

  assert.deepEqual((await post('groups/web/resume')).body, { done: true });
  const granted = await alice.signedPost('report', alice.report(ALWAYS));
  const [{ epoch }] = granted.body.grants;
  await post('groups/web/pause', { reason: 'again', forMs: 60_000 });
  const renewed = await alice.signedPost('report', alice.report({ leases: [{ group: 'web', epoch, voters: 1 }] }));
  assert.deepEqual(renewed.body.leases, [{ verdict: 'renewed', group: 'web', epoch, order: 'pause', cleanups: 0 }]);
  for (const action of ['move', 'stop', 'start']) {
    const { body } = await post(`groups/web/${action}`);
    assert.deepEqual([body.code, /`holdfast group resume web` first/.test(body.detail)], ['not-possible', true]);
  }
});

test('a node in maintenance says so until it is ready again', async () => {
  const { alice, post, status } = await clusterOf('resting');
  assert.deepEqual((await post('nodes/alice/maintenance', { reason: 'new kernel' })).body, { done: true });
  assert.equal((await status()).nodes.alice?.maintenance?.reason, 'new kernel');
  const refused = await alice.signedPost('report', alice.report(ALWAYS));
  assert.match(refused.body.refused[0].reason, /^is in maintenance until .*new kernel/);
  assert.equal((await post('nodes/alice/ready')).status, 200);
  assert.equal((await status()).nodes.alice?.maintenance, undefined);
});

test('a pause is refused without a reason, for longer than is meant, and of what is not there', async () => {
  const { post } = await clusterOf('strict');
  for (const [path, body, code, detail] of [
    ['groups/web/pause', {}, 'invalid-value', /reason/],
    ['pause', { reason: '   ' }, 'invalid-value', /say why, for whoever finds it paused/],
    ['pause', { reason: 'x', forMs: PAUSE_MAX_MS + 1 }, 'invalid-value', /forMs/],
    ['nodes/alice/maintenance', { reason: 'x', for: '1h' }, 'invalid-value', /for/],
    ['groups/db/pause', { reason: 'x' }, 'group-unknown', /there are: web/],
    ['groups/db/resume', {}, 'group-unknown', /there are: web/],
    ['nodes/dave/maintenance', { reason: 'x' }, 'node-unknown', /dave/],
    ['resume', { group: 'web' }, 'invalid-value', /group/],
  ] as const) {
    const answer = await post(path, body);
    assert.equal(answer.body.code, code, path);
    assert.match(answer.body.detail, detail, path);
  }
});

test('a pause outlives the coordinator’s instance, and ends by itself while there is none', async () => {
  const { post, status } = await clusterOf('lasting');
  await post('pause', { reason: 'network work' });
  await coordinator.evict('lasting', 'close');
  assert.equal((await status()).groups.web?.paused?.reason, 'network work');
  await coordinator.shiftClock(PAUSE_DEFAULT_MS);
  try {
    await coordinator.evict('lasting', 'close');
    assert.equal((await status()).groups.web?.paused, undefined);
    const { body } = await coordinator.admin('GET', '/v1/clusters/lasting/events');
    const resumed = body.events.find(({ kind }: { kind: string }) => kind === 'group.resumed');
    assert.match(resumed?.detail ?? '', /the pause ended by itself \(network work\)/);
  } finally {
    await coordinator.shiftClock(0);
  }
});
