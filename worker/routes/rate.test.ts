import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import { filled, secondsUntil } from './bucket.ts';

const PER_MINUTE = 30;

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator({ REQUESTS_PER_MINUTE: String(PER_MINUTE) });
});
after(() => coordinator.close());

test('a bucket fills up by itself, to the brim and no further; a clock that goes back takes nothing', () => {
  equal(filled(undefined, 60, 1_000), 60);
  equal(filled({ left: 0, at: 1_000 }, 60, 1_000), 0);
  equal(filled({ left: 0, at: 1_000 }, 60, 11_000), 10);
  equal(filled({ left: 59, at: 1_000 }, 60, 999_000), 60);
  equal(filled({ left: 5, at: 1_000 }, 60, 0), 5);
  deepEqual([secondsUntil(1, 0, 60), secondsUntil(60, 59.5, 60), secondsUntil(1, 3, 60)], [1, 1, 0]);
});

test('one token that asks too often is told so and when to come back; another one and the agents are served', async () => {
  const shop = '/v1/clusters/shop';
  await coordinator.createCluster('shop');
  await coordinator.apply('shop', documentOf('shop', ['alice']));
  const alice = await coordinator.join('shop', 'alice');
  const { body } = await coordinator.admin('POST', `${shop}/tokens`, { name: 'runaway', role: 'viewer' });
  const as = { authorization: `Bearer ${body.secret}` };
  const first = await coordinator.admin('GET', `${shop}/status`, undefined, as);
  equal(first.headers.get('ratelimit-policy'), `"token";q=${PER_MINUTE};w=60`);
  match(first.headers.get('ratelimit') ?? '', new RegExp(`^"token";r=${PER_MINUTE - 1};t=\\d+$`));
  let refused = first;
  for (let n = 0; n < 2 * PER_MINUTE && refused.status === 200; n++)
    refused = await coordinator.admin('GET', `${shop}/status`, undefined, as);
  deepEqual([refused.status, refused.body.code], [429, 'too-many-requests']);
  const retry = Number(refused.headers.get('retry-after'));
  ok(retry >= 1 && retry <= 60, `Retry-After: ${retry}`);
  match(refused.headers.get('ratelimit') ?? '', /^"token";r=0;/);
  equal((await coordinator.admin('GET', `${shop}/status`)).status, 200, 'the administrator has a bucket of his own');
  for (let n = 0; n < 2 * PER_MINUTE; n++) equal((await alice.signedPost('report', alice.report())).status, 200);
});
