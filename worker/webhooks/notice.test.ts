import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterEvent } from '../../schemas/events.ts';
import type { Decision } from '../../schemas/reasons.ts';
import { noticeSchema } from '../../schemas/webhook.ts';
import { wants } from './filter.ts';
import { noticeOf } from './notice.ts';

const event: ClusterEvent = {
  seq: 7,
  at: '2026-01-01T00:00:08.900Z',
  kind: 'group.running',
  severity: 'info',
  node: 'bob',
  group: 'web',
  epoch: 2,
  detail: 'every resource is up',
};
const grant: Decision = {
  seq: 3,
  group: 'web',
  kind: 'grant',
  node: 'bob',
  epoch: 2,
  cause: 'lease-expired',
  from: 'alice',
  at: '2026-01-01T00:00:04.200Z',
  reasons: [],
  candidates: [],
  lastRenewalAt: '2026-01-01T00:00:00.000Z',
  runningAt: '2026-01-01T00:00:08.900Z',
};
const origin = 'https://ha.example.org';

test('a failover that is over is told with its cause, who had it, who has it, and the outage', () => {
  const notice = noticeSchema.parse(noticeOf('shop', event, grant, origin));
  const { cause, from, to, outageMs, links, summary } = notice;
  deepEqual({ cause, from, to, outageMs }, { cause: 'lease-expired', from: 'alice', to: 'bob', outageMs: 8_900 });
  equal(links.why, 'https://ha.example.org/v1/clusters/shop/groups/web/why');
  equal(links.events, 'https://ha.example.org/v1/clusters/shop/events?after=6');
  equal(summary, 'shop: group.running web on bob (from alice): every resource is up; outage 8.9 s at most');
});

test('an event that is no part of a grant borrows nothing from it', () => {
  const lost = noticeOf('shop', { ...event, kind: 'resource.failed', resource: 'nginx' }, grant, origin);
  equal(lost.cause, undefined);
  equal(lost.outageMs, undefined);
  match(lost.summary, /resource\.failed web\/nginx on bob: every resource/);
});

test('an event of a node alone, and one of nothing at all', () => {
  const { group: _, epoch: __, ...rest } = event;
  equal(
    noticeOf('shop', { ...rest, kind: 'node.lost' }, null, origin).summary,
    'shop: node.lost bob: every resource is up',
  );
  const { node: ___, ...bare } = rest;
  equal(
    noticeOf('shop', { ...bare, kind: 'config.applied' }, null, origin).summary,
    'shop: config.applied: every resource is up',
  );
});

test('a filter names kinds, rooms or everything', () => {
  equal(wants(['*'], 'node.lost'), true);
  equal(wants(['node.*'], 'node.lost'), true);
  equal(wants(['node.*'], 'group.running'), false);
  equal(wants(['node.returned', 'group.running'], 'group.running'), true);
  equal(wants(['node.lost'], 'node.returned'), false);
});
