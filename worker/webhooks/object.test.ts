/** Webhooks on real workerd, to a receiver that listens on loopback. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Webhook as Verifier } from 'standardwebhooks';
import { noticeSchema } from '../../schemas/webhook.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import type { TestNode } from '../../test/coordinator/node.ts';
import { type Received, Receiver } from '../../test/coordinator/receiver.ts';
import { until } from '../../test/lab/until.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator({ PRIVATE_RECEIVERS: '1' });
});
after(() => coordinator.close());

const webhooksOf = (cluster: string) => `/v1/clusters/${cluster}/webhooks`;

async function subscribe(cluster: string, receiver: Receiver, more: Record<string, unknown> = {}) {
  const body = { url: receiver.url, allowPrivate: true, events: ['*'], ...more };
  const answer = await coordinator.admin('POST', webhooksOf(cluster), body);
  equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body as { webhook: { id: string }; secret: string };
}

/** A cluster with a receiver that hears everything. */
async function clusterOf(t: { after: (fn: () => Promise<void>) => void }, name: string) {
  const receiver = await Receiver.start();
  t.after(() => receiver.close());
  await coordinator.createCluster(name);
  return { receiver, ...(await subscribe(name, receiver)) };
}

const kinds = ({ received }: Receiver) => received.map(({ json }) => json.data.kind);
const shown = async (cluster: string, id: string) =>
  (await coordinator.admin('GET', `${webhooksOf(cluster)}/${id}`)).body;
/** As if the pause before the next attempt were over. */
async function hurry(cluster: string): Promise<void> {
  await coordinator.sql(cluster, 'UPDATE message SET next_at = 0', 'WEBHOOKS');
}

function verified({ headers, body }: Received, secret: string): void {
  new Verifier(secret).verify(body, headers as Record<string, string>);
}

async function granted(name: string): Promise<TestNode> {
  await coordinator.apply(name, documentOf(name, ['alice']));
  const alice = await coordinator.join(name, 'alice');
  alice.revision = 1;
  await alice.signedPost('report', alice.report({ claims: [{ group: 'web', renewal: null, seenForMs: 0 }] }));
  return alice;
}

test('a grant is told: signed so that the public library verifies it, in order, with cause, owner and epoch', async (t) => {
  const { receiver, secret } = await clusterOf(t, 'told');
  await granted('told');
  await until(() => kinds(receiver).includes('group.granted'), { deadlineMs: 10_000, what: 'the grant' });
  for (const received of receiver.received) {
    verified(received, secret);
    noticeSchema.parse(received.json.data);
  }
  const seqs = receiver.received.map(({ json }) => json.data.seq);
  deepEqual(
    seqs,
    [...seqs].sort((a, b) => a - b),
  );
  equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, seqs.length);
  const { data, type } = receiver.received.find(({ json }) => json.type === 'group.granted')?.json ?? {};
  equal(type, 'group.granted');
  deepEqual(
    [data.cluster, data.group, data.to, data.from, data.cause, data.epoch],
    ['told', 'web', 'alice', null, 'first-start', 1],
  );
  match(data.links.why, /\/v1\/clusters\/told\/groups\/web\/why$/);
});

test('only what was asked for is told', async (t) => {
  const { receiver } = await clusterOf(t, 'few');
  const other = await Receiver.start();
  t.after(() => other.close());
  await subscribe('few', other, { events: ['node.*', 'group.granted'] });
  await granted('few');
  await until(() => kinds(receiver).includes('group.granted'), { deadlineMs: 10_000, what: 'the grant' });
  await until(() => kinds(other).includes('group.granted'), { deadlineMs: 10_000, what: 'the grant at the other' });
  ok(kinds(receiver).includes('config.applied'));
  deepEqual([...new Set(kinds(other).map((kind: string) => kind.split('.')[0]))].sort(), ['group', 'node']);
});

test('a receiver that is down for an hour is tried less and less often, and then hears every event once', async (t) => {
  const { receiver, webhook } = await clusterOf(t, 'hour');
  await receiver.count(1);
  receiver.answerWith(503);
  receiver.received.length = 0;
  await granted('hour');
  await receiver.count(1);
  const pauses: number[] = [];
  for (let tries = 1; pauses.reduce((sum, ms) => sum + ms, 0) < 3_600_000; tries++) {
    const settled = async () => {
      const { last, nextAttemptAt } = await shown('hour', webhook.id);
      const pauseMs = Date.parse(nextAttemptAt) - Date.parse(last?.at);
      return receiver.received.length === tries && pauseMs > 0 ? pauseMs : 0;
    };
    pauses.push(await until(settled, { deadlineMs: 10_000, what: `attempt ${tries} to be written down` }));
    await hurry('hour');
    // one more event, which wakes the object as well
    await coordinator.admin('POST', '/v1/clusters/hour/groups/web/pause', { reason: `hour, ${tries}` });
    await receiver.count(tries + 1);
  }
  deepEqual(
    pauses,
    pauses.toSorted((a, b) => a - b),
    'longer each time',
  );
  receiver.answerWith(204);
  receiver.received.length = 0;
  const empty = async () => {
    await hurry('hour');
    return (await shown('hour', webhook.id)).pending === 0;
  };
  await until(empty, { deadlineMs: 20_000, what: 'everything to be delivered', everyMs: 200 });
  const heard = receiver.received.map(({ json }) => json.data.seq as number);
  const { body } = await coordinator.admin('GET', '/v1/clusters/hour/events');
  const told = (body.events as { seq: number }[]).map(({ seq }) => seq).filter((seq) => seq >= (heard[0] ?? 0));
  deepEqual(heard, told, 'every event since it went down, in order, each once');
  ok(told.length > pauses.length);
});

test('a receiver that is down hears everything later, each once accepted, in order and under the id of its first attempt', async (t) => {
  const { receiver, webhook } = await clusterOf(t, 'down');
  await receiver.count(1);
  receiver.answerWith(503);
  receiver.received.length = 0;
  await granted('down');
  await receiver.count(1);
  const first = receiver.received[0]?.headers['webhook-id'];
  await until(async () => (await shown('down', webhook.id)).pending >= 3, { deadlineMs: 10_000, what: 'more to wait' });
  equal((await shown('down', webhook.id)).last.ok, false);
  ok(
    receiver.received.every(({ headers }) => headers['webhook-id'] === first),
    'nothing overtakes the first',
  );
  receiver.answerWith(200);
  receiver.received.length = 0;
  await until(
    async () => {
      await hurry('down');
      return (await shown('down', webhook.id)).pending === 0;
    },
    { deadlineMs: 20_000, what: 'everything to be delivered', everyMs: 500 },
  );
  equal(receiver.received[0]?.headers['webhook-id'], first);
  const ids = receiver.received.map(({ headers }) => headers['webhook-id']);
  equal(new Set(ids).size, ids.length, 'each once');
  ok(kinds(receiver).includes('group.granted'));
});

test('a receiver that says it is gone is disabled, which is an event; enabled again it hears what has waited', async (t) => {
  const { receiver, webhook } = await clusterOf(t, 'gone');
  await receiver.count(1);
  const witness = await Receiver.start();
  t.after(() => witness.close());
  await subscribe('gone', witness, { events: ['webhook.disabled'] });
  receiver.answerWith(410);
  await coordinator.apply('gone', documentOf('gone', ['alice']));
  await witness.count(1);
  match(witness.received[0]?.json.data.detail, /answered 410/);
  const disabled = await shown('gone', webhook.id);
  equal(disabled.state, 'disabled');
  match(disabled.reason, /410/);
  const replay = `${webhooksOf('gone')}/${webhook.id}/replay`;
  const first = { id: receiver.received[0]?.headers['webhook-id'] };
  equal((await coordinator.admin('POST', replay, first)).body.code, 'not-possible');
  receiver.answerWith(200);
  receiver.received.length = 0;
  equal((await coordinator.admin('POST', `${webhooksOf('gone')}/${webhook.id}/enable`)).body.state, 'active');
  await until(async () => (await shown('gone', webhook.id)).pending === 0, { deadlineMs: 10_000, what: 'the rest' });
  ok(kinds(receiver).includes('config.applied'), 'what it had been given up over is delivered as well');
  const before = receiver.received.length;
  equal((await coordinator.admin('POST', replay, first)).status, 200);
  await receiver.count(before + 1);
  equal(receiver.received.at(-1)?.headers['webhook-id'], first.id);
});

test('it is given up after the last attempt', async (t) => {
  const { receiver, webhook } = await clusterOf(t, 'spent');
  await receiver.count(1);
  receiver.answerWith(500);
  await coordinator.apply('spent', documentOf('spent', ['alice']));
  await until(
    async () => {
      await coordinator.sql('spent', 'UPDATE message SET next_at = 0', 'WEBHOOKS');
      await coordinator.apply(
        'spent',
        documentOf('spent', ['alice'], `192.0.2.${10 + (receiver.received.length % 200)}/24`),
      );
      return (await shown('spent', webhook.id)).state === 'disabled';
    },
    { deadlineMs: 30_000, what: 'it to be disabled' },
  );
  const { deliveries } = (await coordinator.admin('GET', `${webhooksOf('spent')}/${webhook.id}/deliveries`)).body;
  equal(deliveries[0].status, 500);
  match((await shown('spent', webhook.id)).reason, /10 attempts in vain, the last: answered 500/);
});

test('a slow receiver delays no other and no renewal', async (t) => {
  const { receiver } = await clusterOf(t, 'slow');
  await receiver.count(1);
  const quick = await Receiver.start();
  t.after(() => quick.close());
  await subscribe('slow', quick);
  receiver.answer = () => undefined;
  const alice = await granted('slow');
  await until(() => kinds(quick).includes('group.granted'), { deadlineMs: 5_000, what: 'the quick one to hear it' });
  const renewed = await alice.signedPost('report', alice.report({}));
  equal(renewed.status, 200);
});

test('two secrets sign during a rotation, one before and one after', async (t) => {
  const { receiver, webhook, secret } = await clusterOf(t, 'rotated');
  const { body } = await coordinator.admin('POST', `${webhooksOf('rotated')}/${webhook.id}/rotate-secret`);
  notEqual(body.secret, secret);
  await receiver.count(1);
  receiver.received.length = 0;
  const test_ = await coordinator.admin('POST', `${webhooksOf('rotated')}/${webhook.id}/test`);
  equal(test_.body.ok, true);
  const [ping] = receiver.received;
  ok(ping);
  equal(ping.json.type, 'test.ping');
  verified(ping, secret);
  verified(ping, body.secret);
  await coordinator.sql('rotated', 'UPDATE webhook SET previous_until = 0', 'WEBHOOKS');
  await coordinator.admin('POST', `${webhooksOf('rotated')}/${webhook.id}/test`);
  const later = receiver.received[1];
  ok(later);
  verified(later, body.secret);
  let refused = false;
  try {
    verified(later, secret);
  } catch {
    refused = true;
  }
  ok(refused, 'the old secret signs no more');
});

test('what is wrong with a webhook is named, and nothing of it is kept', async () => {
  await coordinator.createCluster('wrong');
  const cases: readonly (readonly [body: Record<string, unknown>, what: RegExp])[] = [
    [{ url: 'https://10.0.0.1/' }, /url: .*private/],
    [{ url: 'http://hooks.example.org/' }, /url: plain http/],
    [{ url: 'https://hooks.example.org/', events: ['group.runing'] }, /did you mean group\.running/],
    [{ url: 'https://hooks.example.org/', events: [] }, /at least one/],
    [{ url: 'https://hooks.example.org/', format: 'fax' }, /format/],
    [{ url: 'https://events.pagerduty.com/v2/enqueue', format: 'pagerduty' }, /key: PagerDuty/],
    [{ url: 'https://hooks.example.org/', key: 'k'.repeat(32) }, /key: the format standard has none/],
  ];
  for (const [body, what] of cases) {
    const { status, body: problem } = await coordinator.admin('POST', webhooksOf('wrong'), body);
    equal(status, 422, JSON.stringify(problem));
    match(problem.detail, what);
  }
  deepEqual((await coordinator.admin('GET', webhooksOf('wrong'))).body.webhooks, []);
  equal((await coordinator.admin('GET', `${webhooksOf('wrong')}/wh_0`)).body.code, 'webhook-unknown');
  equal((await coordinator.admin('POST', webhooksOf('absent'), {})).body.code, 'cluster-unknown');
});

test('a cluster that was put back to an older copy by an event or two is heard, though its numbers are given out again', async (t) => {
  const { receiver } = await clusterOf(t, 'older');
  await coordinator.apply('older', documentOf('older', ['alice']));
  await coordinator.apply('older', documentOf('older', ['alice'], '192.0.2.11/24'));
  await until(() => kinds(receiver).filter((kind: string) => kind === 'config.applied').length === 2, {
    deadlineMs: 10_000,
    what: 'both revisions to be told',
  });
  const told = Math.max(...receiver.received.map(({ json }) => json.data.seq));
  // as from a copy without the newest event, which had its time
  await coordinator.sql('older', `DELETE FROM event WHERE seq = ${told}`);
  await coordinator.evict('older', 'close');
  receiver.received.length = 0;
  await coordinator.apply('older', documentOf('older', ['alice', 'bob']));
  await coordinator.apply('older', documentOf('older', ['alice'], '192.0.2.12/24'));
  const heard = () => receiver.received.map(({ json }) => json.data);
  await until(() => heard().some(({ seq, kind }) => seq === told && kind !== undefined), {
    deadlineMs: 10_000,
    what: 'what has the number of the lost event to be told',
  });
  const seqs = [...new Set(heard().map(({ seq }) => seq))];
  ok(seqs.includes(told) && seqs.includes(told + 1), seqs.join(' '));
});

test('one that is removed hears nothing any more', async (t) => {
  const { receiver, webhook } = await clusterOf(t, 'removed');
  await receiver.count(1);
  equal((await coordinator.admin('DELETE', `${webhooksOf('removed')}/${webhook.id}`)).status, 200);
  receiver.received.length = 0;
  const witness = await Receiver.start();
  t.after(() => witness.close());
  await subscribe('removed', witness, { events: ['config.applied'] });
  await coordinator.apply('removed', documentOf('removed', ['alice']));
  await witness.count(1);
  deepEqual(receiver.received, []);
});
