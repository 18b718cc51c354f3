import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import type { Notice } from '../../../schemas/webhook.ts';
import { FORMATS } from './index.ts';

const failedOver: Notice = {
  schema: 'holdfast/notice/v1',
  cluster: 'shop',
  seq: 42,
  kind: 'group.granted',
  severity: 'warning',
  summary: 'shop: group.granted web on bob (from alice): the lease of alice ran out',
  detail: 'the lease of alice ran out',
  at: '2026-01-01T00:00:00.000Z',
  group: 'web',
  node: 'bob',
  epoch: 2,
  cause: 'lease-expired',
  from: 'alice',
  to: 'bob',
  outageMs: null,
  links: { events: 'https://ha.example.org/v1/clusters/shop/events?after=41' },
};
const running: Notice = { ...failedOver, kind: 'group.running', severity: 'info', outageMs: 8_900 };

test('standard: the notice is the data, its kind the type, without hyphens', () => {
  deepEqual(FORMATS.standard.body({ ...failedOver, kind: 'group.lease-expired' }, null), {
    type: 'group.lease_expired',
    timestamp: failedOver.at,
    data: { ...failedOver, kind: 'group.lease-expired' },
  });
  ok(FORMATS.standard.signed);
});

test('slack: one line to read at a glance, and the facts below; what means something to Slack is escaped', () => {
  const sly = { ...running, summary: '<!channel> a & b' };
  const body = FORMATS.slack.body(sly, null) as { text: string; blocks: { elements?: { text: string }[] }[] };
  equal(body.text, ':white_check_mark: &lt;!channel&gt; a &amp; b');
  match(
    body.blocks[1]?.elements?.[0]?.text ?? '',
    /cause lease-expired · from alice · to bob · epoch 2 · outage 8\.9 s/,
  );
});

test('pagerduty: trouble opens an alarm about the group, running again closes the same one', () => {
  const opened = FORMATS.pagerduty.body(failedOver, 'k'.repeat(32)) as Record<string, unknown>;
  const closed = FORMATS.pagerduty.body(running, 'k'.repeat(32)) as Record<string, unknown>;
  equal(opened.event_action, 'trigger');
  equal(closed.event_action, 'resolve');
  equal(opened.dedup_key, 'holdfast/shop/group/web');
  equal(closed.dedup_key, opened.dedup_key);
  equal(opened.routing_key, 'k'.repeat(32));
  const { custom_details, ...payload } = opened.payload as Record<string, unknown>;
  deepEqual(custom_details, failedOver);
  deepEqual(payload, {
    summary: failedOver.summary,
    source: 'bob',
    severity: 'warning',
    timestamp: failedOver.at,
    component: 'web',
    group: 'shop',
    class: 'group.granted',
  });
});

test('pagerduty: a group that runs closes no alarm about its data', () => {
  const key = (notice: Notice) => (FORMATS.pagerduty.body(notice, null) as { dedup_key: string }).dedup_key;
  const data = { ...failedOver, resource: 'drbd-r0' };
  const keys = ['copy.split-brain', 'copy.behind', 'group.running'].map((kind) => key({ ...data, kind }));
  equal(new Set(keys).size, 3);
  equal(key({ ...data, kind: 'copy.behind' }), key({ ...data, kind: 'copy.current' }));
});

test('pagerduty: nobody is woken by good news that ends nothing', () => {
  const { takes } = FORMATS.pagerduty;
  equal(takes({ kind: 'config.applied', severity: 'info' }), false);
  equal(takes({ kind: 'group.running', severity: 'info' }), true);
  equal(takes({ kind: 'node.lost', severity: 'error' }), true);
});
