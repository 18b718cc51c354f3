import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PROBLEMS, type ProblemCode, problemSchema } from '../../schemas/api.ts';
import { MAX_BODY_BYTES } from '../../schemas/limits.ts';
import { type Answer, type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('shop');
  await coordinator.apply('shop', documentOf('shop', ['alice', 'bob']));
});
after(() => coordinator.close());

const shop = '/v1/clusters/shop';
const json = { 'content-type': 'application/json' };
const yaml = { 'content-type': 'application/yaml' };

/** What is asked, and the code of the problem that answers. */
const cases: readonly [string, ProblemCode, () => Promise<Answer>][] = [
  ['an unknown path', 'not-found', () => coordinator.admin('GET', '/v2/clusters')],
  ['a path below a route', 'not-found', () => coordinator.admin('GET', `${shop}/status/more`)],
  ['an unknown method', 'method-not-allowed', () => coordinator.admin('PATCH', `${shop}/config`)],
  ['a body that is not JSON', 'malformed-body', () => coordinator.admin('POST', '/v1/clusters', '{"name":', json)],
  ['a body of another type', 'unsupported-media-type', () => coordinator.admin('POST', '/v1/clusters', 'name=x')],
  [
    'a body that is too large',
    'body-too-large',
    () => coordinator.admin('POST', '/v1/clusters', 'x'.repeat(MAX_BODY_BYTES + 1), json),
  ],
  ['a field of the wrong type', 'invalid-value', () => coordinator.admin('POST', '/v1/clusters', { name: 7 })],
  ['an unknown field', 'invalid-value', () => coordinator.admin('POST', '/v1/clusters', { name: 'x', nmae: 'y' })],
  ['a name that cannot be', 'invalid-value', () => coordinator.admin('POST', '/v1/clusters', { name: 'No Good' })],
  [
    'a place that Cloudflare does not know',
    'invalid-value',
    () => coordinator.admin('POST', '/v1/clusters', { name: 'x', location: 'moon' }),
  ],
  ['a cluster that exists', 'cluster-exists', () => coordinator.admin('POST', '/v1/clusters', { name: 'shop' })],
  ['an unknown cluster', 'cluster-unknown', () => coordinator.admin('GET', '/v1/clusters/nope/status')],
  ['a cluster that cannot be', 'cluster-unknown', () => coordinator.admin('GET', '/v1/clusters/No%20Good/status')],
  ['an unknown group', 'group-unknown', () => coordinator.admin('POST', `${shop}/groups/nope/move`)],
  ['why of an unknown group', 'group-unknown', () => coordinator.admin('GET', `${shop}/groups/nope/why`)],
  ['why of a word of the language', 'group-unknown', () => coordinator.admin('GET', `${shop}/groups/constructor/why`)],
  ['a group that cannot be', 'group-unknown', () => coordinator.admin('POST', `${shop}/groups/constructor/stop`)],
  ['an unknown node', 'node-unknown', () => coordinator.admin('POST', `${shop}/nodes/nope/standby`)],
  ['an unknown operation', 'operation-unknown', () => coordinator.admin('GET', `${shop}/operations/op_nope`)],
  ['an unknown query parameter', 'invalid-value', () => coordinator.admin('DELETE', `${shop}/nodes/nope?froce=1`)],
  ['a number that is none', 'invalid-value', () => coordinator.admin('GET', `${shop}/events?after=soon`)],
  ['a page that is too long', 'invalid-value', () => coordinator.admin('GET', `${shop}/events?limit=100000`)],
  ['an unaccepted risk', 'invalid-value', () => coordinator.admin('POST', `${shop}/nodes/alice/confirm-dead`)],
  ['what cannot be done', 'not-possible', () => coordinator.admin('POST', `${shop}/confirm-history`)],
  ['a write without If-Match', 'if-match-required', () => coordinator.admin('PUT', `${shop}/config`, 'x', yaml)],
  [
    'a write over another revision',
    'revision-mismatch',
    () => coordinator.admin('PUT', `${shop}/config`, documentOf('shop', ['bob']), { ...yaml, 'if-match': '"rev-0"' }),
  ],
  [
    'a document that is not valid',
    'invalid-configuration',
    () => coordinator.admin('POST', `${shop}/config/plan`, 'cluster: shop\nnodez: [alice]\n', yaml),
  ],
  [
    'a document for another cluster',
    'invalid-configuration',
    () => coordinator.admin('POST', `${shop}/config/plan`, documentOf('another', ['alice']), yaml),
  ],
  [
    'a document of another type',
    'unsupported-media-type',
    () => coordinator.admin('POST', `${shop}/config/plan`, 'cluster: shop', { 'content-type': 'text/html' }),
  ],
];

for (const [what, code, ask] of cases) {
  test(`${what} is answered with the problem ${code}`, async () => {
    const { status, headers, body } = await ask();
    const problem = problemSchema.parse(body);
    assert.equal(problem.code, code, problem.detail);
    assert.equal(status, PROBLEMS[code]);
    assert.equal(problem.status, status);
    assert.equal(headers.get('content-type'), 'application/problem+json');
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.notEqual(problem.detail, '');
  });
}

test('a method that is not allowed is answered with those that are', async () => {
  const { headers } = await coordinator.admin('PATCH', `${shop}/config`);
  assert.equal(headers.get('allow'), 'GET, PUT');
});

test('a mistyped query parameter is answered with the nearest one', async () => {
  const { body } = await coordinator.admin('DELETE', `${shop}/nodes/nope?froce=1`);
  assert.equal(body.errors[0].suggestion, 'force');
});

test('errors of a document carry their line', async () => {
  const { body } = await coordinator.admin('POST', `${shop}/config/plan`, 'cluster: shop\nnodez: [alice]\n', yaml);
  assert.ok(
    body.errors.some((error: { line?: number }) => error.line === 2),
    JSON.stringify(body.errors),
  );
  const other = await coordinator.admin('POST', `${shop}/config/plan`, documentOf('another', ['alice']), yaml);
  assert.equal(other.body.errors[0].line, 1);
});
