import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { testCluster } from '../agent/cluster-testing.ts';
import { problem, ran, type StubAnswer, stubCoordinator } from './testing.ts';

const at = '2026-11-22T09:00:00.000Z';
const operation = {
  id: 'op_1',
  kind: 'move',
  group: 'db',
  node: 'bob',
  state: 'running',
  startedAt: at,
  finishedAt: null,
  progress: 'waiting for alice to release',
};
const ended = (state: 'succeeded' | 'failed' | 'cancelled', progress: string) => ({
  ...operation,
  state,
  finishedAt: at,
  progress,
});
const emptyStatus = { schema: 'holdfast/status/v1', cluster: 'shop', at, revision: 0, groups: {}, nodes: {} };

async function asking(
  answer: Parameters<typeof stubCoordinator>[0],
  args: string,
  machine: Parameters<typeof ran>[1] = {},
) {
  const stub = await stubCoordinator(answer);
  try {
    const env = { ...stub.env, ...machine.env };
    return { ...(await ran(args.split(' '), { ...machine, env })), asked: stub.asked, url: stub.url };
  } finally {
    await stub.close();
  }
}

describe('an answer that is no success ends with its exit code and the next step', () => {
  const cases: [string, StubAnswer, number, RegExp][] = [
    [
      'a wrong token',
      { status: 401, body: problem('unauthorized', 401, 'the token is not the right one') },
      77,
      /Error: the token is not the right one\.\nNext: give a token/,
    ],
    [
      'a token of another node',
      { status: 403, body: problem('token-wrong-node', 403, 'the token is for carol') },
      77,
      /for carol/,
    ],
    [
      'an unknown cluster',
      { status: 404, body: problem('cluster-unknown', 404, 'no cluster shop') },
      1,
      /holdfast cluster list/,
    ],
    [
      'something not possible',
      { status: 409, body: problem('not-possible', 409, 'bob is in standby') },
      1,
      /Error: bob is in standby\./,
    ],
    [
      'a failure of the coordinator',
      { status: 500, body: problem('internal', 500, 'storage failed') },
      69,
      /storage failed/,
    ],
    ['a proxy that is busy', { status: 503, text: '<html>' }, 75, /answered 503.*\nNext: try again/],
    [
      'a proxy in the way',
      { status: 502, text: '<html>Bad gateway</html>' },
      69,
      /answered 502 in a way.*\nNext: check that the URL/,
    ],
    [
      'another kind of server',
      { status: 200, text: '<html>Welcome</html>' },
      69,
      /in a way that this version does not understand/,
    ],
    ['another version', { status: 200, body: { ...emptyStatus, revision: 'one' } }, 69, /revision: /],
  ];
  for (const [what, answer, exit, message] of cases) {
    it(what, async () => {
      const result = await asking(() => answer, 'status --state-dir /nonexistent');
      assert.match(result.err, message);
      assert.equal(result.exit, exit);
      assert.equal(result.out, '');
    });
  }
});

describe('a coordinator that does not answer', () => {
  it('is unreachable when nothing listens, with exit code 69', async () => {
    const stub = await stubCoordinator(() => undefined);
    await stub.close();
    const { exit, err } = await ran(['move', 'db'], { env: stub.env });
    assert.equal(exit, 69);
    assert.match(err, /cannot be reached: nothing listens there\.\nNext: check the URL/);
  });

  it('costs a node that joins nothing: it is told to try again', async () => {
    const stub = await stubCoordinator(() => ({ cut: true }));
    const stateDir = await mkdtemp(join(tmpdir(), 'holdfast-join-'));
    const args = ['join', `${stub.url}/shop`, '--name', 'bob', '--state-dir', stateDir, '--token-file', '-'];
    const cut = await ran(args, { stdin: testCluster.token });
    assert.equal(cut.exit, 112);
    assert.match(cut.err, /\nNext: run the same join again: with the key/);
    await stub.close();
    const { exit, err } = await ran(args, { stdin: testCluster.token });
    await rm(stateDir, { recursive: true });
    assert.equal(exit, 69);
    assert.match(err, /\nNext: check the URL and the network, and run the same join again/);
    assert.doesNotMatch(err, /nothing stops running/);
  });

  it('is unreachable when its name is not found', async () => {
    const { exit, err } = await ran(['cluster', 'list'], { env: { HOLDFAST_URL: 'http://nowhere.invalid' } });
    assert.equal(exit, 69);
    assert.match(err, /host name is not found/);
  });

  it('after taking an action leaves its outcome unknown, never “failed”, with exit code 112', async () => {
    const { exit, err } = await asking(() => ({ cut: true }), 'move db --to bob');
    assert.equal(exit, 112);
    assert.match(err, /whether it was carried out is unknown/);
    assert.doesNotMatch(err, /failed/);
  });

  it('after a question is merely unreachable', async () => {
    assert.equal((await asking(() => ({ cut: true }), 'status --state-dir /nonexistent')).exit, 69);
  });

  it('and does not speak TLS is told apart', async () => {
    const server = createServer((socket) => socket.end('hello\r\n'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const { exit } = await ran(['cluster', 'list'], { env: { HOLDFAST_URL: `https://127.0.0.1:${address.port}` } });
    assert.equal(exit, 69);
    server.close();
  });
});

describe('a long action', () => {
  const moving = (later: StubAnswer) => (question: string) =>
    question.startsWith('POST') ? { status: 202, body: operation } : later;

  it('is followed to its end, with progress on standard error and the outcome on standard output', async () => {
    const result = await asking(moving({ body: ended('succeeded', 'runs on bob') }), 'move db --to bob');
    assert.equal(result.exit, 0);
    assert.equal(result.out, 'move of db to bob: done: runs on bob\n');
    assert.equal(result.err, 'move of db to bob: still running: waiting for alice to release\n');
    assert.equal(result.asked[0]?.body, '{"to":"bob"}');
    assert.equal(result.asked[0]?.headers.authorization, 'Bearer secret');
    assert.equal(result.asked[1]?.path, '/v1/clusters/shop/operations/op_1?wait=2');
  });

  it('that failed is refused with what to look at', async () => {
    const result = await asking(moving({ body: ended('failed', 'bob gave up: nginx did not start') }), 'move db');
    assert.equal(result.exit, 1);
    assert.match(result.err, /failed: bob gave up: nginx did not start\.\nNext: holdfast why db/);
  });

  it('that was cancelled by somebody else ends with what became of it', async () => {
    const result = await asking(moving({ body: ended('cancelled', 'alice keeps it') }), 'move db');
    assert.equal(result.exit, 1);
    assert.match(result.err, /move of db to bob was cancelled: alice keeps it/);
  });

  it('is taken back by its id', async () => {
    const result = await asking(() => ({ body: ended('cancelled', 'alice keeps it') }), 'op cancel op_1');
    assert.equal(result.exit, 0);
    assert.equal(result.out, 'move of db to bob: cancelled: alice keeps it\n');
    assert.deepEqual(
      [result.asked[0]?.method, result.asked[0]?.path],
      ['POST', '/v1/clusters/shop/operations/op_1/cancel'],
    );
  });

  it('that outlasts the wait is still running, with exit code 124 and how to go on waiting', async () => {
    const result = await asking(moving({ body: operation }), 'move db --wait 50ms');
    assert.equal(result.exit, 124);
    assert.match(
      result.err,
      /still running after 0\.05 s: waiting for alice to release\.\n-> holdfast why db\nNext: it goes on without this command: holdfast op wait op_1/,
    );
    assert.doesNotMatch(result.err, /failed/);
  });

  it('whose coordinator goes away is of unknown outcome, with exit code 112', async () => {
    const result = await asking(moving({ cut: true }), 'node standby alice');
    assert.equal(result.exit, 112);
    assert.match(result.err, /was still running when the coordinator stopped answering/);
  });

  it('need not be waited for', async () => {
    const result = await asking(moving({ cut: true }), 'group stop db --wait 0s');
    assert.deepEqual([result.exit, result.out], [0, 'op_1\n']);
  });

  it('is one JSON object with a schema for scripts', async () => {
    const result = await asking(moving({ body: ended('succeeded', 'runs on bob') }), 'move db --json');
    assert.deepEqual(JSON.parse(result.out), { schema: 'holdfast/operation/v1', ...ended('succeeded', 'runs on bob') });
  });
});

describe('apply', () => {
  const plan = {
    schema: 'holdfast/plan/v1',
    revision: 3,
    changed: true,
    diff: '-a\n+b\n',
    effects: [{ group: 'db', effect: 'restarts', detail: 'on alice' }],
  };
  const coordinator =
    (effect: string, put: StubAnswer = { body: { ...plan, schema: 'holdfast/applied/v1', newRevision: 4 } }) =>
    (question: string) =>
      question.startsWith('PUT') ? put : { body: { ...plan, effects: [{ group: 'db', effect, detail: 'on alice' }] } };

  it('shows the plan, writes under its revision, and says the new one', async () => {
    const result = await asking(coordinator('settings'), 'apply -', { stdin: 'cluster: shop\n' });
    assert.deepEqual([result.exit, result.out], [0, 'applied: shop is at revision 4\n']);
    assert.match(result.err, /Plan, against revision 3/);
    assert.equal(result.asked[1]?.headers['if-match'], '"rev-3"');
    assert.equal(result.asked[1]?.headers['content-type'], 'application/yaml');
    assert.equal(result.asked[1]?.body, 'cluster: shop\n');
  });

  for (const effect of ['restarts', 'moves', 'removed'])
    it(`does not touch a group that ${effect} when nobody can be asked`, async () => {
      const result = await asking(coordinator(effect), 'apply -', { stdin: 'x' });
      assert.equal(result.exit, 1);
      assert.match(result.err, /This interrupts db\. Nothing was changed.*\nNext: holdfast apply - --yes/);
      assert.equal(result.asked.length, 1);
    });

  it('asks on a terminal, and goes by the answer', async () => {
    const no = await asking(coordinator('restarts'), 'apply -', { stdin: 'x', answer: '' });
    assert.deepEqual([no.exit, no.asked.length], [1, 1]);
    const yes = await asking(coordinator('restarts'), 'apply -', { stdin: 'x', answer: 'y' });
    assert.deepEqual([yes.exit, yes.asked.length], [0, 2]);
  });

  it('with --yes does not ask', async () => {
    assert.equal((await asking(coordinator('moves'), 'apply - --yes', { stdin: 'x', answer: 'n' })).exit, 0);
  });

  it('tells that someone else was faster, with exit code 75', async () => {
    const late = { status: 412, body: problem('revision-mismatch', 412, 'the configuration is at revision 5, not 3') };
    const result = await asking(coordinator('settings', late), 'apply -', { stdin: 'x' });
    assert.equal(result.exit, 75);
    assert.match(result.err, /run the command again/);
  });

  it('shows each problem of a bad document at its line, with exit code 65', async () => {
    const errors = [{ path: 'nodes[1]', line: 2, column: 12, detail: 'there is no such node', suggestion: 'bob' }];
    const bad = { status: 422, body: problem('invalid-configuration', 422, 'line 2: …', errors) };
    const result = await asking(() => bad, 'apply -', { stdin: 'cluster: shop\nnodes: [a, bbo]\n' });
    assert.equal(result.exit, 65);
    assert.match(result.err, /standard input is refused; the configuration in force stays/);
    assert.match(
      result.err,
      /standard input:2:12: nodes\[1\]: there is no such node; did you mean `bob`\?\n {2}2 \| nodes: \[a, bbo\]\n {4}\| {12}\^/,
    );
  });

  it('finds the cluster in the document when none is named', async () => {
    const result = await asking(coordinator('settings'), 'plan -', {
      stdin: 'cluster: lab\nnodes: [a]\n',
      env: { HOLDFAST_CLUSTER: '' },
    });
    assert.equal(result.exit, 0);
    assert.equal(result.asked[0]?.path, '/v1/clusters/lab/config/plan');
  });

  it('plan --detailed-exitcode ends with 2 when something would change', async () => {
    assert.equal((await asking(coordinator('settings'), 'plan - --detailed-exitcode', { stdin: 'x' })).exit, 2);
    assert.equal((await asking(coordinator('settings'), 'plan -', { stdin: 'x' })).exit, 0);
  });
});

it('a join token stands alone on standard output', async () => {
  const token = { token: 'hfj1_x', node: 'bob', expiresAt: at };
  const result = await asking(() => ({ status: 201, body: token }), 'node token create --node bob --ttl 10m');
  assert.equal(result.out, 'hfj1_x\n');
  assert.equal(result.asked[0]?.path, '/v1/clusters/shop/nodes/bob/token');
  assert.equal(result.asked[0]?.body, '{"ttlMs":600000}');
  assert.match(result.err, /holdfast join http:.*\/shop --name bob --token-file -/);
});

it('status --check says UNKNOWN with exit code 3 when nobody answers', async () => {
  const stub = await stubCoordinator(() => undefined);
  await stub.close();
  const { exit, out } = await ran(['status', '--check'], { env: stub.env });
  assert.equal(exit, 3);
  assert.match(out, /^HOLDFAST UNKNOWN - the coordinator at .* cannot be reached/);
});

it('status --check and --json exclude each other', async () => {
  const { exit, err } = await ran(['status', '--check', '--json'], { env: {} });
  assert.equal(exit, 64);
  assert.match(err, /--check prints one line for a monitor, --json one object/);
});

it('why --on of a node that may not run the group says so, and which may', async () => {
  const why = {
    schema: 'holdfast/why/v1',
    group: 'db',
    state: 'running',
    owner: 'alice',
    epoch: 1,
    candidates: [{ node: 'alice', eligible: true, chosen: true, reasons: [] }],
    lastGrant: null,
    refusals: [],
  };
  const { exit, err } = await asking(() => ({ body: why }), 'why db --on carol');
  assert.equal(exit, 1);
  assert.match(err, /carol may not run db: it is not in its `on` list/);
  assert.match(err, /Next: ask for one of alice, or add carol to `on` of db/);
});

it('events of a kind that this version does not know are shown all the same, and cannot move the cursor', async () => {
  const page = {
    schema: 'holdfast/events/v1',
    next: 2,
    events: [{ seq: 2, at, kind: 'group.of-the-future', severity: 'warning', group: 'db', detail: 'a\u001b[2J\nb' }],
  };
  const text = await asking(() => ({ body: page }), 'events');
  assert.equal(text.out, `${at} WARNING group.of-the-future db: a?[2J b\n`);
  const lines = await asking(() => ({ body: page }), 'events --json --since 2026-11-22T08:00:00Z');
  assert.deepEqual(JSON.parse(lines.out), { schema: 'holdfast/event/v1', ...page.events[0] });
});
