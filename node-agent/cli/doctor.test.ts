import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import { testCluster } from '../agent/cluster-testing.ts';
import { problem, ran, type Stub, type StubAnswer, stubCoordinator } from './testing.ts';

const at = '2026-11-22T11:00:00.000Z';
const document = 'cluster: shop\nnodes: [alice, bob]\ngroups:\n  web:\n    resources:\n      - service: nginx\n';
const status: Status = {
  schema: 'holdfast/status/v1',
  cluster: 'shop',
  at,
  revision: 1,
  groups: {},
  nodes: { alice: { state: 'ready', lastSeenMs: 10, joined: true, agentVersion: '0.1.0', refusals: [] } },
};
const answers: Readonly<Record<string, unknown>> = {
  'GET /v1/clusters/shop/status': status,
  'GET /v1/clusters/shop/config': { revision: 1, at, document },
  'GET /v1/clusters/shop/webhooks': { schema: 'holdfast/webhooks/v1', webhooks: [] },
  'GET /v1/clusters/shop/events': { schema: 'holdfast/events/v1', events: [], next: 0 },
};

let directory = '';
let stub: Stub;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-doctor-test-'));
  stub = await stubCoordinator((question): StubAnswer | undefined => {
    const body = answers[question];
    return body === undefined ? undefined : { body };
  });
  await writeFile(join(directory, 'shop.yaml'), document);
  await writeFile(join(directory, 'wrong.yaml'), 'cluster: shop\nnodes: [alice]\ngroops: {}\n');
});
after(async () => {
  await stub.close();
  await rm(directory, { recursive: true });
});

const nowhere = '--state-dir=/nonexistent';

describe('doctor that cannot begin', () => {
  it('has nothing to look at: says each way to give it something, with exit code 78', async () => {
    const { exit, err, out } = await ran(['doctor', nowhere]);
    assert.equal(exit, 78);
    assert.match(err, /nothing to look at: \/nonexistent is not that of a node, and no coordinator is named/);
    assert.match(err, /Next: .*holdfast join.*--document FILE --name NODE.*--token-file/);
    assert.equal(out, '');
  });

  for (const [line, exit, message] of [
    ['--node-only --cluster-only', 64, /leave nothing to look at/],
    ['--node-only', 78, /nothing to look at/],
    ['--cluster-only', 78, /no coordinator is named/],
    ['--document /nonexistent.yaml', 64, /there is no such file/],
    ['--document wrong.yaml', 65, /wrong\.yaml:3:1: .*groops.*did you mean `groups`/],
    ['--document shop.yaml --name carol', 64, /carol is none of the document's nodes: alice, bob/],
  ] as const)
    it(line, async () => {
      const words = line.split(' ').map((word) => (/^\w+\.yaml$/.test(word) ? join(directory, word) : word));
      const { exit: ended, err } = await ran(['doctor', nowhere, ...words]);
      assert.match(err, message);
      assert.equal(ended, exit);
    });

  it('a machine that joined is not examined under another name, nor against another cluster', async () => {
    await chmod(directory, 0o700);
    await writeFile(
      join(directory, 'node.json'),
      JSON.stringify({
        url: stub.url,
        cluster: 'other',
        node: 'alice',
        clusterKey: testCluster.clusterKey,
        history: null,
      }),
    );
    const own = ['doctor', '--node-only', '--state-dir', directory];
    assert.match((await ran([...own, '--name', 'bob'])).err, /--name bob: this machine has joined as alice/);
    const { err, exit } = await ran([...own, '--document', join(directory, 'shop.yaml')]);
    assert.match(err, /for cluster shop, and this machine is a node of other/);
    assert.equal(exit, 64);
    await rm(join(directory, 'node.json'));
  });
});

it('the cluster alone: its findings, and the exit code of the worst', async () => {
  const { exit, out } = await ran(['doctor', nowhere], { env: stub.env });
  assert.equal(exit, 0);
  assert.match(out, /^cluster shop, as its coordinator sees it \(revision 1\)\n\n/);
  assert.match(out, /\nnodes\n {2}ok {7}alice: is ready\n/);
  const json = JSON.parse((await ran(['doctor', nowhere, '--json'], { env: stub.env })).out);
  assert.equal(json.schema, 'holdfast/doctor/v1');
  assert.equal(json.level, 'ok');
  assert.equal(json.node, null);
  assert.equal(json.cluster, 'shop');
});

it('a coordinator that refuses the token is unknown, not in order: exit code 3', async () => {
  const refusing = await stubCoordinator(() => ({
    status: 401,
    body: problem('unauthorized', 401, 'the token is not known'),
  }));
  try {
    const { exit, out } = await ran(['doctor', nowhere], { env: refusing.env });
    assert.equal(exit, 3);
    assert.match(out, /UNKNOWN {2}http:.*: the cluster was not looked at: the token is not known\n +fix: give a token/);
  } finally {
    await refusing.close();
  }
});

it('a machine that is to join is examined against the document, and told how to join', async () => {
  const file = join(directory, 'shop.yaml');
  const { exit, out } = await ran(['doctor', nowhere, '--document', file, '--name', 'bob', '--json']);
  const { node, findings } = JSON.parse(out);
  assert.deepEqual(node, { name: 'bob', stateDir: '/nonexistent', declaredBy: file });
  assert.equal(exit, 2);
  const [policy] = findings;
  assert.equal(policy.subject, 'web/nginx');
  assert.equal(policy.fix, 'join with --allow service=nginx.service');
  assert.ok(!findings.some(({ check }: { check: string }) => check === 'agent'), 'it has no agent yet');
});
