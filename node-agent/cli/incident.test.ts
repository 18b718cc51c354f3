/** Incidents as an operator reads them. */
import { equal, match } from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { IncidentStory } from '../../schemas/incident.ts';
import { incidentText } from './incident-text.ts';
import { problem, ran, type Stub, stubCoordinator } from './testing.ts';

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 22, 9) + seconds * 1_000).toISOString();
const story: IncidentStory = {
  schema: 'holdfast/incident/v1',
  incident: {
    id: 'inc_41',
    group: 'web',
    state: 'over',
    openedAt: at(4.17),
    closedAt: at(8.9),
    trigger: 'group.lease-expired on alice: not renewed for 4168 ms: free to be taken over',
    cause: 'lease-expired',
    from: 'alice',
    to: 'bob',
    outageMs: 8_900,
  },
  lastRenewalAt: at(0),
  grants: [
    {
      seq: 3,
      group: 'web',
      kind: 'grant',
      node: 'bob',
      epoch: 2,
      cause: 'lease-expired',
      from: 'alice',
      at: at(4.18),
      reasons: [],
      candidates: [
        { node: 'bob', eligible: true, chosen: true, reasons: [{ rule: 'preference', position: 2, weight: 15 }] },
        { node: 'alice', eligible: false, chosen: false, reasons: [{ rule: 'lost', lastSeen: at(0) }] },
      ],
      lastRenewalAt: at(0),
      runningAt: at(8.9),
    },
  ],
  refusals: [],
  timeline: [
    { seq: 40, at: at(2.1), kind: 'node.lost', severity: 'error', node: 'alice', detail: 'no report for 2100 ms' },
    {
      seq: 43,
      at: at(8.9),
      kind: 'group.running',
      severity: 'info',
      node: 'bob',
      group: 'web',
      detail: 'every resource is up',
    },
  ],
  alerts: [
    {
      webhook: 'wh_0123456789abcdef',
      id: 'msg_1',
      seq: 43,
      kind: 'group.running',
      at: at(8.95),
      status: 204,
      latencyMs: 9,
      ok: true,
      detail: 'answered 204',
    },
  ],
};

let stub: Stub;
before(async () => {
  stub = await stubCoordinator((question) => {
    switch (question) {
      case 'GET /v1/clusters/shop/incidents':
        return { body: { schema: 'holdfast/incidents/v1', incidents: [story.incident] } };
      case 'GET /v1/clusters/shop/incidents/last':
        return { body: story };
      default:
        return { status: 404, body: problem('incident-unknown', 404, 'no incident inc_9 (any more)') };
    }
  });
});
after(() => stub.close());

describe('incident', () => {
  it('show tells the story by the time since the last renewal, with who was passed over and who was told', () => {
    equal(
      incidentText(story),
      `inc_41  web  alice -> bob  over; outage 8.90 s at most
  group.lease-expired on alice: not renewed for 4168 ms: free to be taken over

AFTER    NODE   WHAT           DETAIL
+0.00 s  alice  last renewal   the last proof that the owner had it
+2.10 s  alice  node.lost      no report for 2100 ms
+8.90 s  bob    group.running  every resource is up

Granted to bob, epoch 2 (lease-expired), of these:
  bob: number 2 of the \`on\` list +15
  alice: is lost, last seen 2026-11-22T09:00:00.000Z

Told:
AFTER    WEBHOOK              EVENT          ANSWER
+8.95 s  wh_0123456789abcdef  group.running  answered 204`,
    );
  });

  it('show says that nobody was told', () => {
    match(incidentText({ ...story, alerts: [] }), /No attempt to tell somebody is on record/);
  });

  it('list shows the outage of each, and who had it and has it', async () => {
    const { out } = await ran(['incident', 'list'], { env: stub.env });
    match(
      out,
      /^inc_41 {4}2026-11-22T09:00:04\.170Z {2}web {4}over {3}8\.9s {4}alice -> bob {2}group\.lease-expired on alice/m,
    );
  });

  it('show takes an id or `last`, and names one that is not there', async () => {
    equal((await ran(['incident', 'show', 'last'], { env: stub.env })).exit, 0);
    const { exit, err } = await ran(['incident', 'show', 'inc_9'], { env: stub.env });
    equal(exit, 1);
    match(err, /no incident inc_9/);
  });
});
