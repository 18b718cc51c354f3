import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterEvent, EventKind } from '../../schemas/events.ts';
import type { Decision } from '../../schemas/reasons.ts';
import { incidentOf, type Span, timelineOf } from './incidents.ts';

const time = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1_000).toISOString();
const event = (seq: number, kind: EventKind, more: Partial<ClusterEvent> = {}): ClusterEvent => ({
  seq,
  at: time(seq),
  kind,
  severity: 'info',
  group: 'web',
  detail: kind,
  ...more,
});
const grant: Decision = {
  seq: 1,
  group: 'web',
  kind: 'grant',
  node: 'bob',
  epoch: 2,
  cause: 'lease-expired',
  from: 'alice',
  at: time(5),
  reasons: [],
  candidates: [],
  lastRenewalAt: time(0.5),
  runningAt: time(9),
};

const expired = event(4, 'group.lease-expired', { node: 'alice' });
const spanOf = (opening: ClusterEvent, closing: ClusterEvent | null, signAt: string | null = null): Span => ({
  group: 'web',
  signAt,
  opening,
  closing,
});

test('one that is not over is open, and has no outage yet', () => {
  const incident = incidentOf(spanOf(event(1, 'group.failed'), null), []);
  deepEqual([incident.state, incident.closedAt, incident.outageMs], ['open', null, null]);
});

test('the outage counts from the last renewal of the owner before', () => {
  const span = spanOf(expired, event(9, 'group.running'));
  const incident = incidentOf(span, [grant]);
  deepEqual([incident.from, incident.to, incident.cause, incident.outageMs], ['alice', 'bob', 'lease-expired', 8_500]);
  match(incident.trigger, /^group\.lease-expired on alice: /);
});

test('it ends where webhooks say that it does: when the owner ran it, not when that was heard of', () => {
  const closing = event(9, 'group.running', { epoch: 2 });
  const span = spanOf(expired, closing);
  equal(incidentOf(span, [{ ...grant, runningAt: time(8.75) }]).outageMs, 8_250);
  equal(incidentOf(span, [{ ...grant, epoch: 3, runningAt: time(8.75) }]).outageMs, 8_500, 'of another grant');
});

test('where nobody was granted it, the same owner runs it again', () => {
  const span = spanOf(event(6, 'group.held', { node: 'bob' }), event(9, 'group.running'));
  const incident = incidentOf(span, []);
  deepEqual([incident.from, incident.to, incident.cause, incident.outageMs], ['bob', null, null, 3_000]);
});

test('one that was given to a second node in vain counts from the first owner', () => {
  const span = spanOf(expired, event(9, 'group.running', { node: 'carol' }));
  const second: Decision = { ...grant, seq: 2, node: 'carol', from: 'bob', cause: 'released', lastRenewalAt: time(6) };
  const incident = incidentOf(span, [grant, second]);
  deepEqual([incident.from, incident.to, incident.outageMs], ['alice', 'carol', 8_500]);
});

test('a resource that failed is the beginning', () => {
  const span = spanOf(event(6, 'group.failed-on-node'), event(9, 'group.running'), time(2));
  equal(incidentOf(span, []).outageMs, 7_000);
});

test('the timeline has what happened to the group and to the nodes that had part in it', () => {
  const span = spanOf(expired, event(9, 'group.running'));
  const { group: _, ...nodeLost } = event(3, 'node.lost', { node: 'alice' });
  const { group: __, ...other } = event(3, 'node.lost', { node: 'carol' });
  const events = [
    event(0, 'group.running'),
    nodeLost,
    other,
    event(4, 'resource.failed', { group: 'db', node: 'alice' }),
  ];
  const incident = incidentOf(span, [grant]);
  deepEqual(timelineOf(incident, grant.lastRenewalAt, [grant], events), [nodeLost]);
});
