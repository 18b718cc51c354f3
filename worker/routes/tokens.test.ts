/** Tokens with a role, what each may do, and the record of it. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type Role, roleReaches, roles } from '../../schemas/access.ts';
import { type Answer, type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import { accessOf, ROUTE_KEYS, splitKey } from './access.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
  for (const name of ['shop', 'other']) {
    await coordinator.createCluster(name);
    await coordinator.apply(name, documentOf(name, ['alice']));
  }
});
after(() => coordinator.close());

const tokensOf = (cluster: string) => `/v1/clusters/${cluster}/tokens`;

async function tokenOf(name: string, role: Role, more: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await coordinator.admin('POST', tokensOf('shop'), { name, role, ...more });
  equal(status, 201, JSON.stringify(body));
  return body.secret;
}

async function as(token: string, method: string, path: string, body?: unknown): Promise<Answer> {
  return await coordinator.admin(method, path, body, { authorization: `Bearer ${token}` });
}

const audit = async () => (await coordinator.admin('GET', '/v1/clusters/shop/audit')).body.entries;

/** A path that leads to nothing that could be done: who is let through gets another answer than 401 and 403. */
const pathOf = (pattern: string) => pattern.replace(':cluster', 'shop').replace(/:\w+/, 'nothing');

describe('every route is closed to a role below its own, and open from it on:', () => {
  const tokens = new Map<Role, string>();
  before(async () => {
    for (const role of roles) tokens.set(role, await tokenOf(`every-${role}`, role));
  });
  for (const key of ROUTE_KEYS) {
    const { who } = accessOf(key);
    const { method, path } = splitKey(key);
    if (who === 'node' || who === 'public') continue;
    test(key, async () => {
      for (const role of roles) {
        const { status, body } = await as(tokens.get(role) ?? '', method, pathOf(path));
        if (!path.includes('/:cluster/')) equal(status, 401, `${role}: ${JSON.stringify(body)}`);
        else if (roleReaches(role, who)) ok(status !== 401 && status !== 403, `${role}: ${JSON.stringify(body)}`);
        else deepEqual([status, body.code], [403, 'forbidden'], role);
      }
    });
  }
});

test('a token that is limited to groups acts on these, looks at everything, and changes nothing else', async () => {
  const token = await tokenOf('narrow', 'operator', { groups: ['web'] });
  const group = (name: string) => `/v1/clusters/shop/groups/${name}/pause`;
  equal((await as(token, 'POST', group('web'), { reason: 'disk swap' })).status, 200);
  const refused = await as(token, 'POST', group('db'), { reason: 'x' });
  equal(refused.body.code, 'forbidden');
  match(refused.body.detail, /narrow may act on web only/);
  equal((await as(token, 'POST', '/v1/clusters/shop/pause', { reason: 'x' })).status, 403);
  equal((await as(token, 'POST', '/v1/clusters/shop/nodes/alice/standby')).status, 403);
  equal((await as(token, 'GET', '/v1/clusters/shop/status')).status, 200);
});

test('a token of one cluster is none of another', async () => {
  const token = await tokenOf('stranger', 'admin');
  for (const path of ['/v1/clusters/other/status', '/v1/clusters', '/v1/clusters/absent/status'])
    equal((await as(token, 'GET', path)).status, 401, path);
});

test('one that was revoked, has ended, or is mistyped is refused at once', async () => {
  const token = await tokenOf('brief', 'viewer');
  const status = '/v1/clusters/shop/status';
  equal((await as(token, 'GET', status)).status, 200);
  equal((await as(`${token.slice(0, -8)}0${token.slice(-7)}`, 'GET', status)).status, 401);
  equal((await coordinator.admin('DELETE', `${tokensOf('shop')}/brief`)).status, 200);
  equal((await as(token, 'GET', status)).status, 401);
  const ending = await tokenOf('ending', 'viewer', { ttlMs: 60_000 });
  await coordinator.shiftClock(61_000);
  try {
    equal((await as(ending, 'GET', status)).status, 401);
  } finally {
    await coordinator.shiftClock(0);
  }
});

test('the token is kept by nobody but whom it was made for', async () => {
  const token = await tokenOf('secret', 'viewer');
  const stored = JSON.stringify(await coordinator.sql('shop', 'SELECT * FROM access_token'));
  ok(!stored.includes(token.slice(18, 82)));
  ok(!JSON.stringify((await coordinator.admin('GET', tokensOf('shop'))).body).includes(token.slice(18, 82)));
  equal(
    (await coordinator.admin('POST', tokensOf('shop'), { name: 'secret', role: 'viewer' })).body.code,
    'token-exists',
  );
});

test('what was changed is on record: who, what, how it ended, why, and from which revision to which', async () => {
  const token = await tokenOf('carla', 'operator');
  await as(token, 'POST', '/v1/clusters/shop/groups/web/pause', { reason: 'new disk' });
  await as(token, 'PUT', '/v1/clusters/shop/config', documentOf('shop', ['alice', 'bob']));
  await coordinator.apply('shop', documentOf('shop', ['alice', 'bob']));
  await as(token, 'GET', '/v1/clusters/shop/status');
  const entries = await audit();
  const [paused, refused] = entries.filter(({ who }: { who: string }) => who === 'carla');
  deepEqual([paused.status, paused.reason, paused.role], [200, 'new disk', 'operator']);
  match(paused.what, /^POST \/v1\/clusters\/shop\/groups\/web\/pause$/);
  equal(refused.status, 403);
  match(refused.problem, /this needs admin/);
  equal(entries.filter(({ who }: { who: string }) => who === 'carla').length, 2, 'looking leaves no line');
  const applied = entries.at(-1);
  deepEqual([applied.who, applied.before, applied.after], ['administrator', 'rev-1', 'rev-2']);
  ok(!JSON.stringify(entries).includes(token.slice(18, 82)), 'no line has a token');
});

test('an action that is repeated with its key is done once and answered alike', async () => {
  const stop = '/v1/clusters/shop/groups/web/stop';
  const key = { 'idempotency-key': 'deploy-42' };
  const operations = async () =>
    (await coordinator.admin('GET', '/v1/clusters/shop/operations')).body.operations.length;
  await coordinator.admin('POST', '/v1/clusters/shop/groups/web/resume');
  const before_ = await operations();
  const first = await coordinator.admin('POST', stop, {}, key);
  equal(first.status, 202, JSON.stringify(first.body));
  const again = await coordinator.admin('POST', stop, {}, key);
  deepEqual([again.status, again.body.id], [202, first.body.id]);
  equal(again.headers.get('location'), first.headers.get('location'));
  equal(again.headers.get('idempotency-replayed'), 'true');
  equal(await operations(), before_ + 1);
  const other = await coordinator.admin('POST', '/v1/clusters/shop/groups/web/start', {}, key);
  match(other.body.detail, /was used for another request/);
  const mallory = await tokenOf('mallory', 'operator');
  const theirs = await coordinator.admin('POST', stop, {}, { ...key, authorization: `Bearer ${mallory}` });
  equal(theirs.headers.get('idempotency-replayed'), null, 'a key is its caller’s own');
});

test('a key of an action that was refused may be used again; one that nobody knows the end of is not repeated', async () => {
  const pause = '/v1/clusters/shop/groups/web/pause';
  const key = { 'idempotency-key': 'again' };
  equal((await coordinator.admin('POST', pause, {}, key)).status, 422);
  equal((await coordinator.admin('POST', pause, { reason: 'now with one' }, key)).status, 200);
  const changed = await coordinator.admin('POST', pause, { reason: 'another' }, key);
  match(changed.body.detail, /was used for another request/);
  await coordinator.sql(
    'shop',
    `INSERT INTO audit (at, who, who_id, role, what, key, body_sha256) VALUES (1, 'administrator', 'administrator', 'admin', 'POST ${pause}', 'lost', '${createHash('sha256').update('{"reason":"x"}').digest('hex')}')`,
  );
  const lost = await coordinator.admin('POST', pause, { reason: 'x' }, { 'idempotency-key': 'lost' });
  deepEqual([lost.status, lost.body.code], [409, 'not-possible']);
  const secret = await coordinator.admin(
    'POST',
    tokensOf('shop'),
    { name: 'k', role: 'viewer' },
    { 'idempotency-key': 'k' },
  );
  match(secret.body.detail, /takes none/);
});

test('the name of the coordinator’s own token is nobody else’s', async () => {
  const { body } = await coordinator.admin('POST', tokensOf('shop'), { name: 'administrator', role: 'admin' });
  equal(body.code, 'invalid-value');
});

test('a token that is refused again and again leaves a line a minute, and no more', async () => {
  const token = await tokenOf('eager', 'viewer');
  for (let n = 0; n < 20; n++) equal((await as(token, 'POST', '/v1/clusters/shop/groups/web/stop')).status, 403);
  equal((await audit()).filter(({ who }: { who: string }) => who === 'eager').length, 1);
});

test('who reaches its own network by a webhook is the administrator alone', async () => {
  const token = await tokenOf('sly', 'admin');
  const body = { url: 'http://127.0.0.1:1/', allowPrivate: true };
  equal((await as(token, 'POST', '/v1/clusters/shop/webhooks', body)).body.code, 'forbidden');
});

test('more questions for events than may wait are answered with what there is, and nothing else is held up', async () => {
  const asked = Array.from({ length: 80 }, () =>
    coordinator.admin('GET', '/v1/clusters/shop/events?after=999999&wait=20'),
  );
  const answered = await Promise.race(asked);
  deepEqual(answered.body.events, []);
  equal((await coordinator.admin('GET', '/v1/clusters/shop/status')).status, 200);
  await coordinator.admin('POST', '/v1/clusters/shop/groups/web/cleanup');
  for (const one of asked.slice(-10)) equal((await one).status, 200);
});

test('an action whose end nobody saw has a line without one', async () => {
  await coordinator.sql(
    'shop',
    "INSERT INTO audit (at, who, who_id, role, what) VALUES (1, 'x', 'x', 'admin', 'POST /x')",
  );
  equal((await audit()).at(-1).status, null);
});
