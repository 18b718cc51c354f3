/** The chain of the audit, on real workerd: what is stored, changed behind the coordinator's back, and found out. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type AuditLine, auditFault } from '../../schemas/audit-chain.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

async function clusterWithActions(name: string, reason = 'a look'): Promise<void> {
  await coordinator.createCluster(name);
  await coordinator.apply(name, documentOf(name, ['alice']));
  for (let n = 0; n < 3; n++)
    equal((await coordinator.admin('POST', `/v1/clusters/${name}/groups/web/pause`, { reason })).status, 200);
}

const chain = async (cluster: string): Promise<AuditLine[]> =>
  (await coordinator.admin('GET', `/v1/clusters/${cluster}/audit/chain`)).body.lines;

test('each line has the SHA-256 of the one before, as anybody can count it', async () => {
  await clusterWithActions('plain');
  const lines = await chain('plain');
  equal(lines.length, 8, 'an action has two lines');
  let prev: string | null = null;
  for (const { hash, ...line } of lines) {
    equal(line.prev, prev);
    equal(hash, createHash('sha256').update(JSON.stringify(line)).digest('hex'));
    prev = hash;
  }
  deepEqual(
    lines.map(({ ends }) => ends),
    [null, 1, null, 3, null, 5, null, 7],
  );
});

test('actions that come at once stand in one chain, and each is done once', async () => {
  await clusterWithActions('busy');
  const key = { 'idempotency-key': 'once' };
  const pause = '/v1/clusters/busy/groups/web/pause';
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, n) =>
      coordinator.admin('POST', pause, { reason: 'all at once' }, n % 3 === 0 ? key : {}),
    ),
  );
  for (const { status } of answers) equal(status === 200 || status === 409, true, String(status));
  const lines = await chain('busy');
  equal(await auditFault(lines), null);
  equal(lines.length, 8 + 2 * 21, 'of those with one key one was done');
});

test('a line that is changed, removed or added in the database is named', async () => {
  const tampering: Record<string, readonly [statement: string, seq: number, detail: RegExp]> = {
    'who-t': ["UPDATE audit SET who = 'nobody' WHERE seq = 3", 3, /not as it was written/],
    'first-t': ["UPDATE audit SET what = 'GET /' WHERE seq = 1", 1, /not as it was written/],
    'last-t': ['UPDATE audit SET status = 500 WHERE seq = 8', 8, /not as it was written/],
    'time-t': ['UPDATE audit SET at = at - 1 WHERE seq = 4', 4, /not as it was written/],
    'gone-t': ['DELETE FROM audit WHERE seq IN (3, 4)', 5, /lines from 3 to 4, before it, are missing/],
    'bare-t': ['UPDATE audit SET hash = NULL WHERE seq = 6', 6, /no hash, and stands after line 5/],
    'more-t': [
      "INSERT INTO audit (at, who, who_id, role, what) VALUES (1, 'x', 'x', 'admin', 'POST /x')",
      9,
      /no hash, and stands after line 8/,
    ],
  };
  for (const [name, [statement, seq, detail]] of Object.entries(tampering)) {
    await clusterWithActions(name);
    equal(await auditFault(await chain(name)), null);
    await coordinator.sql(name, statement);
    const fault = await auditFault(await chain(name));
    equal(fault?.seq, seq, `${statement}: ${JSON.stringify(fault)}`);
    match(fault?.detail ?? '', detail);
  }
});

test('texts that a database would store otherwise fit all the same', async () => {
  await clusterWithActions('texts', `${'x'.repeat(199)}😀`);
  for (const reason of ['\u0000', 'a\u0000b', '\ud83d', '\u2028"\\\u007f'])
    await coordinator.admin('POST', '/v1/clusters/texts/groups/web/pause', { reason });
  await coordinator.admin('POST', `/v1/clusters/texts/groups/${'%F0%9F%98%80'.repeat(100)}/pause`, { reason: 'x' });
  equal(await auditFault(await chain('texts')), null);
});

test('lines of an older database stay, are listed with their ends, and stand in front of the chain', async () => {
  await coordinator.createCluster('old');
  for (const statement of [
    'DROP TABLE incident',
    'DROP TABLE cluster_key',
    'DROP INDEX decision_of_group',
    'DROP INDEX event_of_group',
    'DROP INDEX audit_ends',
    ...['ends', 'prev', 'hash'].map((column) => `ALTER TABLE audit DROP COLUMN ${column}`),
    `INSERT INTO audit (at, who, who_id, role, what, status, reason, key, body_sha256, answer) VALUES
      (1700000000000, 'ci', 'ci', 'operator', 'POST /x', 200, 'then', 'k', 'b', '{}'),
      (1700000000001, 'ci', 'ci', 'operator', 'POST /y', NULL, NULL, NULL, NULL, NULL)`,
    'UPDATE schema_version SET version = 5',
  ])
    await coordinator.sql('old', statement);
  await coordinator.evict('old', 'close');
  await coordinator.apply('old', documentOf('old', ['alice']));
  const { entries } = (await coordinator.admin('GET', '/v1/clusters/old/audit')).body;
  deepEqual(
    entries.map(({ seq, status, reason }: Record<string, unknown>) => [seq, status, reason]),
    [
      [1, 200, 'then'],
      [2, null, null],
      [3, 200, null],
    ],
  );
  const lines = await chain('old');
  deepEqual(
    lines.map(({ hash }) => hash !== null),
    [false, false, true, true],
  );
  equal(await auditFault(lines), null);
});

test('the chain is paged, and only the newest lines are kept, which still fit', async () => {
  await coordinator.createCluster('long');
  await coordinator.sql(
    'long',
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20090)
     INSERT INTO audit (at, who, who_id, role, what) SELECT 1, 'x', 'x', 'admin', 'POST /x' FROM n`,
  );
  for (let n = 0; n < 20; n++) await coordinator.apply('long', documentOf('long', ['alice']));
  const [rows] = await coordinator.sql('long', 'SELECT count(*) AS n, min(seq) AS oldest FROM audit');
  deepEqual(rows, { n: 20_000 + (20_130 % 128), oldest: 20_130 - (20_130 % 128) - 20_000 + 1 });
  const { body } = await coordinator.admin('GET', '/v1/clusters/long/audit/chain?after=20089&limit=10');
  deepEqual([body.lines.length, body.next], [10, 20_099]);
  equal(await auditFault(body.lines), null);
});
