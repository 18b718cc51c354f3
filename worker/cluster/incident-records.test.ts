/** Incidents of a full log, on real workerd: followed event by event, they are those that reading all of it would give. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { EventKind } from '../../schemas/events.ts';
import { MAX_INCIDENTS_LISTED } from '../../schemas/incident.ts';
import { INCIDENT_SIGN_MS, MAX_STORED_EVENTS } from '../../schemas/limits.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

interface Logged {
  readonly seq: number;
  readonly kind: EventKind;
  readonly group: string | null;
}

/** A cluster of a release before incidents were followed, with this log, brought up to date; `at` of each event is its number in seconds. */
async function clusterWith(name: string, events: readonly Logged[]): Promise<void> {
  await coordinator.createCluster(name);
  for (const statement of [
    'DELETE FROM event',
    'DROP TABLE incident',
    'DROP TABLE cluster_key',
    'DROP INDEX decision_of_group',
    'DROP INDEX event_of_group',
    'UPDATE schema_version SET version = 6',
  ])
    await coordinator.sql(name, statement);
  for (let from = 0; from < events.length; from += 500) {
    const rows = events
      .slice(from, from + 500)
      .map(
        ({ seq, kind, group }) =>
          `(${seq}, ${seq * 1_000}, '${kind}', 'info', ${group === null ? 'NULL' : `'${group}'`}, 'x')`,
      );
    await coordinator.sql(
      name,
      `INSERT INTO event (seq, at, kind, severity, service_group, detail) VALUES ${rows.join(', ')}`,
    );
  }
  await coordinator.evict(name, 'close');
}

const OPENING = ['group.lease-expired', 'group.failed-on-node', 'group.failed', 'group.held'];
const CLOSING = ['group.running', 'group.degraded', 'group.stopped'];

interface Expected {
  readonly id: string;
  readonly group: string;
  readonly closedAt: string | null;
  readonly outageMs: number | null;
}

/** By reading the log from its beginning: newest first. */
function byReadingAll(events: readonly Logged[]): Expected[] {
  const found: { group: string; opening: number; sign: number | null; closing: number | null }[] = [];
  const open = new Map<string, (typeof found)[number]>();
  const signs = new Map<string, number[]>();
  for (const { seq, kind, group } of events) {
    if (group === null) continue;
    const opened = open.get(group);
    if (kind === 'resource.failed') signs.set(group, [...(signs.get(group) ?? []), seq]);
    if (opened === undefined && OPENING.includes(kind)) {
      const recent = signs.get(group)?.find((sign) => (seq - sign) * 1_000 <= INCIDENT_SIGN_MS);
      const begun = { group, opening: seq, sign: recent ?? null, closing: null };
      open.set(group, begun);
      found.push(begun);
    }
    if (opened !== undefined && CLOSING.includes(kind)) {
      opened.closing = seq;
      open.delete(group);
    }
    if (kind === 'resource.recovered' || CLOSING.includes(kind)) signs.delete(group);
  }
  return found.reverse().map(({ group, opening, sign, closing }) => ({
    id: `inc_${opening}`,
    group,
    closedAt: closing === null ? null : new Date(closing * 1_000).toISOString(),
    outageMs: closing === null ? null : (closing - (sign ?? opening)) * 1_000,
  }));
}

const shown = ({ id, group, closedAt, outageMs }: Expected): Expected => ({ id, group, closedAt, outageMs });

/** The same numbers each time. */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const KINDS = [...OPENING, ...CLOSING, 'resource.failed', 'resource.recovered', 'group.starting'] as EventKind[];

test('a full log of several groups gives the incidents that reading all of it gives, in the list and one by one', async () => {
  const next = chance(7);
  const groups = ['a', 'db', 'web', 'web-2', null];
  const events = Array.from({ length: MAX_STORED_EVENTS }, (_, n) => ({
    seq: n + 1,
    kind: KINDS[next(KINDS.length)] ?? 'group.running',
    group: groups[next(groups.length)] ?? null,
  }));
  await clusterWith('full', events);
  const expected = byReadingAll(events);
  ok(expected.length > MAX_INCIDENTS_LISTED * 5, String(expected.length));
  const { body } = await coordinator.admin('GET', '/v1/clusters/full/incidents');
  deepEqual(body.incidents.map(shown), expected.slice(0, MAX_INCIDENTS_LISTED));
  const ids = new Set(expected.map(({ id }) => id));
  for (let n = 0; n < 60; n++) {
    const id = `inc_${1 + next(MAX_STORED_EVENTS)}`;
    const story = await coordinator.admin('GET', `/v1/clusters/full/incidents/${id}`);
    if (ids.has(id))
      deepEqual(
        shown(story.body.incident),
        expected.find((one) => one.id === id),
      );
    else equal(story.body.code, 'incident-unknown', id);
  }
  const last = await coordinator.admin('GET', '/v1/clusters/full/incidents/last');
  deepEqual(shown(last.body.incident), expected[0]);
});

test('an old incident among events of quiet groups, one that goes on for the whole log, and none', async () => {
  const events = Array.from({ length: MAX_STORED_EVENTS }, (_, n) => ({
    seq: n + 1,
    kind: (n === 0 ? 'group.failed' : n % 2 === 0 ? 'group.starting' : 'group.running') as EventKind,
    group: 'quiet',
  }));
  const long = events.map(({ seq }) => ({ seq, kind: 'group.failed-on-node' as const, group: 'bad' }));
  for (const [name, log] of Object.entries({ rare: events, lasting: long, none: [] })) {
    await clusterWith(name, log);
    const { body } = await coordinator.admin('GET', `/v1/clusters/${name}/incidents`);
    deepEqual(body.incidents.map(shown), byReadingAll(log), name);
  }
  equal((await coordinator.admin('GET', '/v1/clusters/none/incidents/last')).body.code, 'incident-unknown');
});

test('a resource that failed long ago, and was restarted in place, is no sign of an incident of today', async () => {
  const limit = INCIDENT_SIGN_MS / 1_000;
  const incident = (failures: readonly number[]): Logged[] => [
    ...failures.map((seq) => ({ seq, kind: 'resource.failed' as const, group: 'a' })),
    { seq: 5_000, kind: 'group.lease-expired', group: 'a' },
    { seq: 5_010, kind: 'group.running', group: 'a' },
  ];
  for (const [name, [failures, outageMs]] of Object.entries({
    'at-limit': [[5_000 - limit], INCIDENT_SIGN_MS + 10_000],
    'past-limit': [[4_999 - limit], 10_000],
    'newer-sign': [[10, 4_990], 20_000],
    'first-of-two': [[4_900, 4_990], 110_000],
    'first-within': [[4_990 - limit, 4_700, 4_990], 310_000],
  } as const)) {
    await clusterWith(name, incident(failures));
    const { body } = await coordinator.admin('GET', `/v1/clusters/${name}/incidents`);
    deepEqual(
      body.incidents.map((one: Expected) => one.outageMs),
      [outageMs],
      name,
    );
  }
});

test('a page is read by indices, however long the log', async () => {
  await coordinator.createCluster('plan');
  for (const [query, plans] of [
    ['SELECT * FROM incident ORDER BY opening DESC LIMIT 100', ['SCAN incident']],
    [
      "SELECT * FROM event WHERE seq IN (SELECT value FROM json_each('[1]'))",
      ['SEARCH event USING INTEGER PRIMARY KEY (rowid=?)', 'LIST SUBQUERY 1', 'SCAN json_each VIRTUAL TABLE INDEX 1:'],
    ],
    [
      "SELECT record FROM decision WHERE service_group = 'a' AND at BETWEEN 1 AND 2",
      ['SEARCH decision USING INDEX decision_of_group (service_group=? AND at>? AND at<?)'],
    ],
    [
      "SELECT at, kind FROM event WHERE service_group = 'a' AND seq < 9 AND at >= 1 ORDER BY seq DESC",
      ['SEARCH event USING INDEX event_of_group (service_group=? AND seq<?)'],
    ],
  ] as const) {
    const plan = await coordinator.sql('plan', `EXPLAIN QUERY PLAN ${query}`);
    deepEqual(
      plan.map(({ detail }) => detail),
      plans,
      query,
    );
  }
});

test('an incident is followed as it happens, and one that is open outlives the events around it', async () => {
  await coordinator.createCluster('live');
  await coordinator.apply('live', documentOf('live', ['alice']));
  const alice = await coordinator.join('live', 'alice');
  alice.revision = 1;
  await alice.signedPost('report', alice.report({ claims: [{ group: 'web', renewal: null, seenForMs: 0 }] }));
  const failure = { resource: 'ip', severity: 'hard' as const, reason: 'no carrier' };
  await alice.signedPost('report', alice.report({ releases: [{ group: 'web', epoch: 1, failure }] }));
  const list = async () => (await coordinator.admin('GET', '/v1/clusters/live/incidents')).body.incidents;
  const [incident] = await list();
  equal(incident.state, 'open', JSON.stringify(incident));
  await coordinator.sql(
    'live',
    `INSERT INTO event (seq, at, kind, severity, detail) SELECT max(seq) + ${MAX_STORED_EVENTS + 500}, 0, 'node.ready', 'info', 'x' FROM event`,
  );
  for (let n = 0; n < 130; n++) await coordinator.admin('POST', '/v1/clusters/live/nodes/alice/token');
  const [rows] = await coordinator.sql('live', `SELECT count(*) AS n FROM event WHERE seq < ${MAX_STORED_EVENTS}`);
  equal(rows?.n, 1, 'only what opened it is kept of the old events');
  deepEqual(await list(), [incident]);
});
