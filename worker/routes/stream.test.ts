/** What is not JSON: the stream of events, metrics, the page. */
import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ClusterEvent } from '../../schemas/events.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import { ROUTE_KEYS, splitKey } from './access.ts';
import { DESCRIBED } from './described.ts';

const shop = '/v1/clusters/shop';
let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('shop');
  await coordinator.apply('shop', documentOf('shop', ['alice', 'bob']));
});
after(() => coordinator.close());

interface Told {
  readonly id: string;
  readonly event: string;
  readonly data: ClusterEvent;
}

/** Follows the events until `count` have come. */
async function follow(count: number, headers: Record<string, string>, query = '', opened = () => {}): Promise<Told[]> {
  const stopped = new AbortController();
  const response = await fetch(`${coordinator.origin}${shop}/events${query}`, {
    headers: { authorization: 'Bearer an-administrator-of-tests', accept: 'text/event-stream', ...headers },
    signal: AbortSignal.any([stopped.signal, AbortSignal.timeout(20_000)]),
  });
  equal(response.status, 200);
  match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  equal(response.headers.get('cache-control'), 'no-store');
  const told: Told[] = [];
  let text = '';
  ok(response.body !== null);
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    if (text === '') opened();
    text += chunk;
    const blocks = text.split('\n\n').filter((block) => block.includes('data:'));
    told.length = 0;
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
      if (text.includes(`${block}\n\n`))
        told.push({ id: field('id'), event: field('event'), data: JSON.parse(field('data')) as ClusterEvent });
    }
    if (told.length >= count) break;
  }
  stopped.abort();
  return told.slice(0, count);
}

const pause = (n: number) => coordinator.admin('POST', `${shop}/groups/web/pause`, { reason: `look ${n}` });

describe('the stream of events', () => {
  test('tells what happens from now on, each once and in order', async () => {
    const told = await follow(3, {}, '', () => {
      void pause(1)
        .then(() => pause(2))
        .then(() => pause(3));
    });
    deepEqual(
      told.map(({ event, data }) => [event, data.kind, / 1|2|3/.test(data.detail)]),
      told.map(() => ['group.paused', 'group.paused', true]),
    );
    deepEqual(
      told.map(({ id }) => Number(id)),
      told.map(({ data }) => data.seq),
    );
  });

  test('goes on after the event that is known, by `after` and by Last-Event-ID, which counts more', async () => {
    const { body } = await coordinator.admin('GET', `${shop}/events`);
    const [first, second, third] = body.events as ClusterEvent[];
    const after = (await follow(2, {}, `?after=${first?.seq}`)).map(({ id }) => Number(id));
    deepEqual(after, [second?.seq, third?.seq]);
    const last = await follow(1, { 'last-event-id': String(second?.seq) }, '?after=0');
    deepEqual(
      last.map(({ id }) => Number(id)),
      [third?.seq],
    );
  });

  test('an id that is none is refused', async () => {
    const headers = { accept: 'text/event-stream', 'last-event-id': 'x' };
    const { status, body } = await coordinator.admin('GET', `${shop}/events`, undefined, headers);
    deepEqual([status, body.code, body.errors[0].path], [422, 'invalid-value', 'Last-Event-ID']);
  });
});

describe('metrics', () => {
  test('are text that Prometheus reads: help and type before the samples of each name, labels quoted', async () => {
    await coordinator.admin('POST', `${shop}/groups/web/resume`);
    const alice = await coordinator.join('shop', 'alice');
    alice.revision = 1;
    await alice.signedPost('report', alice.report({ claims: [{ group: 'web', renewal: null, seenForMs: 0 }] }));
    await coordinator.admin('POST', `${shop}/webhooks`, { url: 'https://example.com/hook' });
    const { status, headers, body } = await coordinator.admin('GET', `${shop}/metrics`);
    equal(status, 200);
    equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const text: string = body;
    const sample = /^[a-z_]+\{([a-z]+="(?:[^"\\\n]|\\[\\n"])*",?)*\} -?\d+(\.\d+)?(e\+\d+)?$/;
    let family = '';
    for (const line of text.trimEnd().split('\n')) {
      const [, named] = /^# (?:HELP|TYPE) (\w+) /.exec(line) ?? [];
      if (named !== undefined) family = named;
      else ok(sample.test(line) && line.startsWith(`${family}{`), line);
    }
    const value = (start: string) =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(start))
          ?.split(' ')
          .at(-1),
      );
    equal(value('holdfast_group_epoch{cluster="shop",group="web"}'), 1);
    equal(value('holdfast_group_owner_info{cluster="shop",group="web",node="alice"}'), 1);
    equal(value('holdfast_group_state{cluster="shop",group="web",state="failed"}'), 0);
    equal(value('holdfast_node_state{cluster="shop",node="alice",state="ready"}'), 1);
    equal(value('holdfast_config_revision{cluster="shop"}'), 1);
    ok(value('holdfast_events_total{cluster="shop"}') >= 3);
    match(text, /^holdfast_webhook_pending\{cluster="shop",webhook="\w+"\} \d+$/m);
  });
});

describe('the reference', () => {
  test('names every operation, and brings no script and nothing from elsewhere', async () => {
    const response = await fetch(`${coordinator.origin}/reference`);
    const page = await response.text();
    match(response.headers.get('content-type') ?? '', /^text\/html/);
    match(response.headers.get('content-security-policy') ?? '', /^default-src 'none'/);
    for (const key of ROUTE_KEYS) {
      if (!(key in DESCRIBED)) continue;
      const { method, path } = splitKey(key);
      ok(page.includes(`${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`), key);
    }
    doesNotMatch(page, /<script|javascript:|(?:src|href)="(?!#|\/openapi\.json")/i);
    const targets = new Set([...page.matchAll(/ id="([\w-]+)"/g)].map(([, id]) => id));
    for (const [, id] of page.matchAll(/href="#([\w-]+)"/g)) ok(targets.has(id), `nothing is at #${id}`);
  });
});
