/** What openapi.json says is what the coordinator does: driven by it alone, and asked anything. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { problemSchema } from '../../schemas/api.ts';
import { auditFault } from '../../schemas/audit-chain.ts';
import { type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import { clientOf, type Found, type OpenApi, operationsOf } from '../../test/coordinator/openapi-client.ts';
import type { RouteKey } from './access.ts';
import { DESCRIBED, type Described } from './described.ts';

let coordinator: Coordinator;
let document: OpenApi;
before(async () => {
  // as many requests as the run is long
  coordinator = await startCoordinator({ REQUESTS_PER_MINUTE: '0' });
  document = (await (await fetch(`${coordinator.origin}/openapi.json`)).json()) as OpenApi;
});
after(() => coordinator.close());

const ADMIN = 'an-administrator-of-tests';

test('a stranger with the file and a token makes a cluster, configures it, joins a node and moves a group', async () => {
  const call = clientOf(coordinator.origin, document);
  const at = { cluster: 'stranger' };
  equal((await call('createCluster', { body: { name: 'stranger' }, token: ADMIN })).status, 201);
  const made = await call('createToken', { parameters: at, body: { name: 'me', role: 'admin' }, token: ADMIN });
  equal(made.status, 201, JSON.stringify(made.body));
  const token: string = made.body.secret;
  const empty = await call('getConfiguration', { parameters: at, token });
  const text = documentOf('stranger', ['alice', 'bob']);
  equal((await call('planConfiguration', { parameters: at, body: text, token })).body.changed, true);
  const stale = await call('applyConfiguration', { parameters: at, body: text, token });
  equal(stale.body.code, 'if-match-required');
  const tag = empty.headers.get('etag') ?? '';
  const applied = await call('applyConfiguration', { parameters: { ...at, 'If-Match': tag }, body: text, token });
  equal(applied.body.newRevision, 1, JSON.stringify(applied.body));
  const join = await call('createJoinToken', { parameters: { ...at, node: 'alice' }, body: {}, token });
  match(join.body.token, /^hfj1_/);
  const alice = await coordinator.join('stranger', 'alice');
  alice.revision = 1;
  await alice.signedPost('report', alice.report({ claims: [{ group: 'web', renewal: null, seenForMs: 0 }] }));
  const status = await call('getStatus', { parameters: at, token });
  equal(status.body.groups.web.owner, 'alice');
  const paused = await call('pauseGroup', { parameters: { ...at, group: 'web' }, body: { reason: 'a look' }, token });
  deepEqual(paused.body, { done: true });
  await call('resumeGroup', { parameters: { ...at, group: 'web' }, token });
  const stopped = await call('stopGroup', { parameters: { ...at, group: 'web' }, token });
  equal(stopped.status, 202);
  const followed = await call('getOperation', { parameters: { ...at, operation: stopped.body.id }, token });
  equal(followed.body.state, 'running');
  const audit = await call('listAudit', { parameters: at, token });
  ok(audit.body.entries.some(({ who, what }: { who: string; what: string }) => who === 'me' && /stop$/.test(what)));
});

/** Requests in all: 10,000 in the reported run, `HOLDFAST_FUZZ=10000 npm test -- worker/routes/openapi.test.ts`. */
const REQUESTS = Number(process.env.HOLDFAST_FUZZ ?? 1_500);
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? 1);

const word = fc.constantFrom(
  'shop',
  'web',
  'alice',
  'absent',
  'last',
  'No Good',
  '..',
  '%00',
  'constructor',
  'x'.repeat(300),
  'ünï',
);
const json = fc.jsonValue({ maxDepth: 4 });
/** Values that fit the schema of a body now and then, and others that nearly do. */
const field = fc.oneof(
  json,
  word,
  fc.constantFrom('viewer', 'admin', 'standard', 'slack', 'not-really-off', 'https://10.0.0.1/', 'maintenance'),
  fc.array(word, { maxLength: 3 }),
  fc.integer(),
  fc.boolean(),
);
const object = fc.dictionary(
  fc.constantFrom(
    'name',
    'role',
    'groups',
    'ttlMs',
    'reason',
    'forMs',
    'to',
    'url',
    'events',
    'format',
    'force',
    'acceptRisk',
    'down',
    'standby',
    'id',
    '__proto__',
    'constructor',
  ),
  field,
  { maxKeys: 6 },
);
const documents = fc.oneof(
  fc.constantFrom(
    documentOf('shop', ['alice']),
    documentOf('other', ['alice']),
    'a: &a [*a, *a]',
    'a: 1\na: 2',
    '- - - - - -',
    '{',
    '\u0000',
    `cluster: shop\nnodes: [alice]\ngroups: ${'{a: '.repeat(200)}`,
  ),
  fc.string({ maxLength: 200 }),
);
const body = fc.oneof(
  { weight: 4, arbitrary: object.map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: json.map((value) => JSON.stringify(value)) },
  { weight: 2, arbitrary: documents },
  { weight: 1, arbitrary: fc.constant('['.repeat(10_000)) },
  { weight: 1, arbitrary: fc.constant('{"name":"a","name":"b"}') },
);
const type = fc.constantFrom(
  'application/json',
  'application/yaml',
  'text/plain',
  'application/json; charset=utf-16',
  '',
);
const query = fc.dictionary(
  fc.constantFrom('after', 'limit', 'revision', 'dryRun', 'force', 'aftr'),
  fc.constantFrom('0', '1', '-1', '1e9', 'true', '', '99999999999999999999', 'x'),
  { maxKeys: 2 },
);

/** Names that there are. */
const GOOD: Readonly<Record<string, string>> = { cluster: 'shop', group: 'web', node: 'alice' };

interface Asked {
  readonly found: Found;
  readonly url: string;
  readonly init: RequestInit;
}

function requests(found: Found): fc.Arbitrary<Asked> {
  return fc
    .record({
      good: fc.boolean(),
      words: fc.array(word, { minLength: 3, maxLength: 3 }),
      body: fc.oneof(body, fc.constant(undefined), fc.constant('{"reason":"a look"}')),
      type,
      query,
      who: fc.constantFrom(ADMIN, ADMIN, ADMIN, 'nobody', null),
      tag: fc.constantFrom('"rev-0"', '"rev-1"', '*', ''),
    })
    .map(({ good, words, body, type, query, who, tag }) => {
      let n = 0;
      const path = found.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
        encodeURIComponent((good ? GOOD[name] : undefined) ?? words[n++ % words.length] ?? ''),
      );
      const url = `${coordinator.origin}${path}?${new URLSearchParams(query)}`;
      const headers: Record<string, string> = {
        ...(who === null ? {} : { authorization: `Bearer ${who}` }),
        ...(type === '' ? {} : { 'content-type': type }),
        ...(tag === '' ? {} : { 'if-match': tag }),
      };
      const takesBody = found.method !== 'GET';
      return {
        found,
        url,
        init: { method: found.method, headers, ...(takesBody && body !== undefined ? { body } : {}) },
      };
    });
}

test(`${REQUESTS} requests over every operation: every answer is one that the description names, and none is a failure of the coordinator`, async (t) => {
  await coordinator.createCluster('shop');
  await coordinator.apply('shop', documentOf('shop', ['alice']));
  await coordinator.join('shop', 'alice');
  const operations = operationsOf(document);
  const each = Math.ceil(REQUESTS / operations.length);
  const seen = new Map<string, number>();
  for (const [index, found] of operations.entries()) {
    const key = `${found.method} ${found.path.replaceAll(/\{(\w+)\}/g, ':$1')}` as RouteKey & keyof typeof DESCRIBED;
    const described: Described = DESCRIBED[key];
    for (const { url, init } of fc.sample(requests(found), { numRuns: each, seed: SEED + index })) {
      const response = await fetch(url, init);
      const text = await response.text();
      const what = `${init.method} ${url} ${JSON.stringify(init.headers)} ${String(init.body).slice(0, 300)} -> ${response.status} ${text.slice(0, 300)}`;
      ok(response.status < 500, what);
      ok(String(response.status) in found.operation.responses, `not described: ${what}`);
      const { answer } = described;
      if (!response.ok || answer !== 'metrics') {
        const read = (response.ok && answer !== 'metrics' ? answer : problemSchema).safeParse(JSON.parse(text));
        ok(read.success, `${read.error?.message}: ${what}`);
      }
      const count = `${found.operation.operationId} ${response.status}`;
      seen.set(count, (seen.get(count) ?? 0) + 1);
    }
  }
  const succeeded = operations.filter(({ operation }) =>
    [...seen.keys()].some((count) => new RegExp(`^${operation.operationId} 2`).test(count)),
  );
  ok(succeeded.length > operations.length / 3, `too few operations were ever carried out: ${succeeded.length}`);
  t.diagnostic(
    `${each * operations.length} requests, ${succeeded.length} of ${operations.length} operations carried out`,
  );
  const { status } = await coordinator.admin('GET', '/v1/clusters/shop/status');
  equal(status, 200, 'the cluster answers as before');
  const chain = await coordinator.admin('GET', '/v1/clusters/shop/audit/chain');
  equal(await auditFault(chain.body.lines), null, 'what was asked is on record as it was written');
});

test('a body that is too large, header floods and text that is not UTF-8 get an answer of their own', async () => {
  const url = `${coordinator.origin}/v1/clusters`;
  const authorization = `Bearer ${ADMIN}`;
  const json_ = { authorization, 'content-type': 'application/json' };
  const huge = await fetch(url, { method: 'POST', headers: json_, body: 'x'.repeat(20 << 20) });
  equal(huge.status, 413);
  const broken = await fetch(url, { method: 'POST', headers: json_, body: new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]) });
  equal(((await broken.json()) as { code: string }).code, 'malformed-body');
  const flood = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`x-flood-${n}`, 'y'.repeat(100)]));
  equal((await fetch(url, { headers: { authorization, ...flood } })).status, 200);
});
