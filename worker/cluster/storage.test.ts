import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DEFAULT_POLICY, NO_RULES } from '../../schemas/config.ts';
import { MAX_STORED_EVENTS } from '../../schemas/limits.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import { until } from '../../test/lab/until.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

const tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name";

test('creating a cluster brings an empty database to the newest version', async () => {
  assert.deepEqual(await coordinator.sql('fresh', tables), []);
  const unknown = await coordinator.admin('GET', '/v1/clusters/fresh/status');
  assert.equal(unknown.body.code, 'cluster-unknown');
  assert.deepEqual(
    await coordinator.sql('fresh', tables),
    [],
    'asking for a cluster that is not there leaves no tables',
  );
  await coordinator.createCluster('fresh');
  assert.deepEqual(await coordinator.sql('fresh', 'SELECT version FROM schema_version'), [{ version: 8 }]);
  assert.equal((await coordinator.admin('GET', '/v1/clusters/fresh/status')).body.cluster, 'fresh');
});

test('data written by a newer release is refused with what to do, and left as it is', async () => {
  await coordinator.createCluster('future');
  await coordinator.sql('future', 'UPDATE schema_version SET version = 99');
  await coordinator.evict('future', 'close');
  const refused = await coordinator.admin('GET', '/v1/clusters/future/status');
  assert.equal(refused.status, 500);
  assert.match(refused.body.detail, /schema version 99.*up to 8.*newer release/);
  assert.equal((await coordinator.admin('POST', '/v1/clusters', { name: 'future' })).status, 500);
  assert.deepEqual(await coordinator.sql('future', 'SELECT version FROM schema_version'), [{ version: 99 }]);
});

test('a database of version 1 is completed: what it lacks is empty, and its failures, which knew no end, are forgiven', async () => {
  await coordinator.createCluster('older');
  await coordinator.apply('older', documentOf('older', ['alice']));
  const alice = await coordinator.join('older', 'alice');
  alice.revision = 1;
  await alice.signedPost('report', alice.report({ claims: [{ group: 'web', renewal: null, seenForMs: 0 }] }));
  // given back: no time that passes changes it any more
  await alice.signedPost('report', alice.report({ releases: [{ group: 'web', epoch: 1 }] }));
  // as version 1 wrote them
  const failure = { resource: 'ip', severity: 'hard', reason: 'no carrier', at: 1_700_000_000_000 };
  for (const statement of [
    `UPDATE service_group SET record = json_set(json_remove(record, '$.pause', '$.halt', '$.cleanups',
       '$.lease.pendingVoters', '$.lease.eligibleBase', '$.lease.followsRelease', '$.lease.barred'),
       '$.failures', json('${JSON.stringify({ alice: failure })}'), '$.lease.voters', json('["alice"]'))`,
    "UPDATE node SET record = json_remove(record, '$.maintenance', '$.endpoint')",
    'ALTER TABLE cluster DROP COLUMN generation',
    'ALTER TABLE cluster DROP COLUMN followed',
    'DROP TABLE access_token',
    'DROP TABLE audit',
    'DROP TABLE incident',
    'DROP TABLE cluster_key',
    'DROP INDEX decision_of_group',
    'DROP INDEX event_of_group',
    `UPDATE revision SET config = json_remove(config, '$.labels', '$.groups.web.after', '$.groups.web.with',
       '$.groups.web.apart', '$.groups.web.prefer', '$.groups.web.failbackMs', '$.groups.web.failover', '$.groups.web.requires',
       '$.groups.web.resources[0].policy')`,
    'UPDATE schema_version SET version = 1',
  ])
    await coordinator.sql('older', statement);
  await coordinator.evict('older', 'close');

  const { body } = await coordinator.admin('GET', '/v1/clusters/older/status');
  assert.equal(body.groups.web.paused, undefined);
  assert.equal(body.nodes.alice.maintenance, undefined);
  assert.deepEqual(await coordinator.sql('older', 'SELECT version FROM schema_version'), [{ version: 8 }]);
  const [group] = await coordinator.sql('older', 'SELECT record FROM service_group');
  const { pause, halt, cleanups, failures, lease } = JSON.parse(String(group?.record));
  assert.deepEqual({ pause, halt, cleanups, failures }, { pause: null, halt: null, cleanups: 0, failures: {} });
  const { voters, pendingVoters, eligibleBase, followsRelease, barred } = lease;
  assert.deepEqual(
    { voters, pendingVoters, eligibleBase, followsRelease, barred },
    {
      voters: { version: 1, names: ['alice'] },
      pendingVoters: null,
      eligibleBase: null,
      followsRelease: null,
      barred: {},
    },
  );
  const [node] = await coordinator.sql('older', 'SELECT record FROM node');
  const { maintenance, endpoint } = JSON.parse(String(node?.record));
  assert.deepEqual({ maintenance, endpoint }, { maintenance: null, endpoint: null });

  // the configuration is completed as it is read: the next revision has every key
  assert.equal(
    (await coordinator.admin('POST', '/v1/clusters/older/pause', { reason: 'to see that it works' })).status,
    200,
  );
  const plan = await coordinator.admin('POST', '/v1/clusters/older/config/plan', documentOf('older', ['alice']), {
    'content-type': 'application/yaml',
  });
  assert.deepEqual([plan.body.changed, plan.body.effects[0].effect], [false, 'unchanged']);
  await coordinator.apply('older', `${documentOf('older', ['alice'])}# again\n`);
  const [newest] = await coordinator.sql('older', 'SELECT config FROM revision ORDER BY revision DESC LIMIT 1');
  const { web } = JSON.parse(String(newest?.config)).groups;
  assert.deepEqual(web.resources[0].policy, DEFAULT_POLICY);
  assert.deepEqual(web, { ...web, ...NO_RULES });
});

test('everything durable comes back after the object ends', async () => {
  await coordinator.createCluster('back');
  await coordinator.apply('back', `lease: fast\n${documentOf('back', ['alice'])}`);
  const alice = await coordinator.join('back', 'alice');
  alice.revision = 1;
  await alice.signedPost('report', alice.report({ claims: [{ group: 'web', renewal: null, seenForMs: 0 }] }));
  const stop = await coordinator.admin('POST', '/v1/clusters/back/groups/web/stop');
  assert.equal(stop.status, 202);
  const before = await coordinator.sql('back', 'SELECT record FROM service_group');
  assert.equal(before.length, 1);
  await coordinator.evict('back', 'close');
  const { body } = await coordinator.admin('GET', '/v1/clusters/back/status');
  assert.equal(body.revision, 1);
  assert.equal(body.groups.web.epoch, 1);
  assert.equal(body.nodes.alice.joined, true);
  const operation = await coordinator.admin('GET', stop.headers.get('location') ?? '');
  assert.equal(operation.body.id, stop.body.id);
  const config = await coordinator.admin('GET', '/v1/clusters/back/config');
  assert.match(config.body.document, /cluster: back/);
});

test('a write that fails ends the instance, and the next one goes by what is on disk', async () => {
  await coordinator.createCluster('broken');
  await coordinator.sql(
    'broken',
    "CREATE TRIGGER broken BEFORE INSERT ON service_group BEGIN SELECT RAISE(FAIL, 'disk on fire'); END",
  );
  const failed = await coordinator.apply('broken', documentOf('broken', ['alice']));
  assert.equal(failed.status, 500);
  assert.equal(failed.body.code, 'internal');
  assert.doesNotMatch(failed.body.detail, /fire/, 'what went wrong inside is for the log');
  const asked = () => coordinator.admin('GET', '/v1/clusters/broken/status');
  const after = await until(async () => ((await asked()).status === 200 ? asked() : null), {
    deadlineMs: 5_000,
    what: 'the next instance',
  });
  assert.equal(after.body.revision, 0);
  assert.deepEqual(after.body.groups, {});
  await coordinator.sql('broken', 'DROP TRIGGER broken');
  assert.equal((await coordinator.apply('broken', documentOf('broken', ['alice']))).status, 200);
});

test('old events go in batches once the limit is passed, never the newest', async () => {
  await coordinator.createCluster('full');
  await coordinator.sql(
    'full',
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MAX_STORED_EVENTS})
     INSERT INTO event (seq, at, kind, severity, detail) SELECT i + 1000, 0, 'node.ready', 'info', 'filler' FROM n`,
  );
  for (let i = 0; i < 130; i++) await coordinator.admin('POST', '/v1/clusters/full/nodes/alice/token');
  const [row] = await coordinator.sql('full', 'SELECT count(*) AS n, max(seq) AS newest FROM event');
  assert.ok(Number(row?.n) < MAX_STORED_EVENTS + 130, `${row?.n} rows`);
  const { body } = await coordinator.admin('GET', '/v1/clusters/full/events?limit=1');
  assert.equal(body.events[0].seq, row?.newest);
  assert.equal(body.events[0].kind, 'node.token-created');
});
