/** Webhooks as an operator makes and examines them. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { problem, ran, type Stub, stubCoordinator } from './testing.ts';

const at = '2026-11-22T09:00:00.000Z';
const id = 'wh_0123456789abcdef';
const webhook = {
  id,
  url: 'https://hooks.example.org/x',
  format: 'standard',
  events: ['group.*'],
  allowPrivate: false,
  createdAt: at,
  state: 'disabled',
  reason: 'the receiver answered 410: it is not there any more',
  pending: 2,
  dropped: 0,
  nextAttemptAt: null,
  last: { at, ok: false, detail: 'answered 410' },
};
const failed = {
  id: 'msg_1',
  seq: 0,
  kind: 'test.ping',
  at,
  status: 500,
  latencyMs: 12,
  ok: false,
  detail: 'answered 500',
  said: 'oops',
};

let stub: Stub;
before(async () => {
  const base = '/v1/clusters/shop/webhooks';
  stub = await stubCoordinator((question) => {
    switch (question) {
      case `POST ${base}`:
        return { status: 201, body: { schema: 'holdfast/webhook-created/v1', webhook, secret: 'whsec_c2VjcmV0' } };
      case `GET ${base}`:
        return { body: { schema: 'holdfast/webhooks/v1', webhooks: [webhook] } };
      case `POST ${base}/${id}/test`:
        return { body: failed };
      case `GET ${base}/${id}/deliveries`:
        return { body: { schema: 'holdfast/webhook-deliveries/v1', deliveries: [failed] } };
      case `POST ${base}/${id}/enable`:
        return { body: { ...webhook, state: 'active' } };
      case `POST ${base}/${id}/replay`:
        return { body: { done: true } };
      case `POST ${base}/${id}/rotate-secret`:
        return { body: { schema: 'holdfast/webhook-secret/v1', secret: 'whsec_bmV3', previousUntil: at } };
      case `DELETE ${base}/${id}`:
        return { body: { done: true } };
      case `GET ${base}/wh_0/deliveries`:
        return { status: 404, body: problem('webhook-unknown', 404, 'no webhook wh_0 in this cluster') };
      default:
        return undefined;
    }
  });
});
after(() => stub.close());

const webhooks = (...args: readonly string[]) => ran(['webhook', ...args], { env: stub.env });

describe('webhook', () => {
  it('create prints the secret as data, once, and asks for what was given', async () => {
    const { exit, out, err } = await webhooks('create', webhook.url, '--events', 'group.*, node.lost');
    equal(exit, 0, err);
    equal(out, `${id}  whsec_c2VjcmV0\n`);
    match(err, /shown this once.*\n.*holdfast webhook test wh_/s);
    const body = JSON.parse(stub.asked.at(-1)?.body ?? '');
    deepEqual(body, { url: webhook.url, format: 'standard', events: ['group.*', 'node.lost'] });
  });

  it('create takes the key of PagerDuty from standard input, never from the line', async () => {
    const key = 'k'.repeat(32);
    const args = ['webhook', 'create', webhook.url, '--format', 'pagerduty', '--key-file', '-'];
    equal((await ran(args, { env: stub.env, stdin: `${key}\n` })).exit, 0);
    equal(JSON.parse(stub.asked.at(-1)?.body ?? '').key, key);
    const missing = await webhooks('create', webhook.url, '--format', 'pagerduty', '--key-file', '/nonexistent');
    equal(missing.exit, 64);
    match(missing.err, /--key-file \/nonexistent: .*\n.*integration key/s);
  });

  it('list shows what waits and says of a disabled one why, and what to do', async () => {
    const { out, err } = await webhooks('list');
    match(out, /wh_0123456789abcdef {2}disabled {2}standard {2}2 {8}0 {8}answered 410/);
    match(err, /is disabled: the receiver answered 410.*-> holdfast webhook enable wh_/);
  });

  it('test fails when the receiver did not take it, with its words', async () => {
    const { exit, out, err } = await webhooks('test', id);
    equal(exit, 1);
    equal(out, '');
    match(err, /did not take it: answered 500: oops \(12 ms\)/);
  });

  it('deliveries, enable, replay, rotate-secret and delete', async () => {
    match((await webhooks('deliveries', id)).out, /msg_1 {3}test\.ping {2}12 ms {2}answered 500: oops/);
    match((await webhooks('enable', id)).out, /is active; 2 that waited are delivered now/);
    equal((await webhooks('replay', id, 'msg_1')).out, 'msg_1 is sent again\n');
    deepEqual(JSON.parse(stub.asked.at(-1)?.body ?? ''), { id: 'msg_1' });
    equal((await webhooks('rotate-secret', id)).out, 'whsec_bmV3\n');
    match((await webhooks('delete', id)).out, /is removed/);
  });

  it('one that is not there is named, with where to look', async () => {
    const { exit, err } = await webhooks('deliveries', 'wh_0');
    equal(exit, 1);
    match(err, /no webhook wh_0/);
  });
});
