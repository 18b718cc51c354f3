import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { localText } from './local.ts';
import { problem, ran, stubCoordinator } from './testing.ts';

const known = {
  schema: 'holdfast/local-status/v1',
  node: 'bob',
  cluster: 'shop',
  revision: 17,
  connected: false,
  coordinator: { lastAnswerMs: 75_000, way: 'socket' },
  quarantineMs: 0,
  groups: [
    {
      group: 'db',
      epoch: 4,
      state: 'running',
      forMs: 1,
      resources: [{ id: 'nginx', state: 'running' }],
      leaseRemainingMs: 3_100,
    },
    { group: 'web', epoch: 2, state: 'stopped', forMs: 1, resources: [], leaseRemainingMs: null },
  ],
};

let stateDir: string;
let agent: Server;
before(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'holdfast-local-'));
  agent = createServer((socket) => {
    socket.on('data', (question) => {
      assert.equal(String(question), '{"query":"status"}\n');
      socket.end(`${JSON.stringify(known)}\n`);
    });
  });
  await new Promise<void>((resolve) => agent.listen(join(stateDir, 'agent.sock'), resolve));
});
after(async () => {
  agent.close();
  await rm(stateDir, { recursive: true });
});

it('what one node knows is shown as that', () => {
  assert.equal(
    localText(known),
    `shop  seen from bob alone  (revision 17)
the agent does not reach the coordinator, last answer 1m 15s ago

GROUP  HERE     EPOCH  LEASE  NOTE
db     running  4      3.1s   nginx running
web    stopped  2      -`,
  );
});

it('what lives on promises, by whose, and when each peer was last heard stands there', () => {
  const [db, web] = known.groups;
  const text = localText({
    ...known,
    peersHeardMs: { alice: 420, carol: null },
    groups: [
      { ...db, group: 'db', state: 'running', voters: ['bob', 'alice', 'carol'], livesOnPromises: true },
      { ...web, group: 'web', state: 'running', voters: ['bob'], livesOnPromises: true },
      { ...web, group: 'mail', state: 'stopped', voters: [], livesOnPromises: false },
    ],
  });
  assert.equal(
    text,
    `shop  seen from bob alone  (revision 17)
the agent does not reach the coordinator, last answer 1m 15s ago
db goes on by the promises of alice, carol, for as long as each of them answers
web goes on without the coordinator: no other node may take it over

GROUP  HERE     EPOCH  LEASE  VOTERS           NOTE
db     running  4      3.1s   bob alice carol  nginx running
web    running  2      -      bob
mail   stopped  2      -      -

PEER   HEARD
alice  0.4s ago
carol  not since the agent started`,
  );
});

for (const command of ['status', 'why db']) {
  it(`${command} asks the agent on this machine when the coordinator does not answer, says so, and ends with 69`, async () => {
    const env = { HOLDFAST_URL: 'http://127.0.0.1:1', HOLDFAST_CLUSTER: 'shop' };
    const { exit, out, err } = await ran([...command.split(' '), '--state-dir', stateDir], { env });
    assert.equal(exit, 69);
    assert.match(
      err,
      /^The coordinator did not answer; this is only what the agent on this machine knows:\nError: .*cannot be reached/,
    );
    assert.match(out, /seen from bob alone/);
    assert.equal(out.includes('web '), command === 'status');
  });
}

it('status --json labels the answer of the local agent', async () => {
  const env = { HOLDFAST_URL: 'http://127.0.0.1:1', HOLDFAST_CLUSTER: 'shop' };
  const { out } = await ran(['status', '--json', '--state-dir', stateDir], { env });
  assert.deepEqual(JSON.parse(out), { ...known, source: 'local-agent' });
});

it('a coordinator that was never asked is not said to have been silent: the real reason stands there', async () => {
  const { exit, out, err } = await ran(['status', '--state-dir', stateDir]);
  assert.equal(exit, 78);
  assert.match(out, /seen from bob alone/);
  assert.match(err, /^The coordinator was not asked: no coordinator is named; this is only what the agent/);
  const env = { HOLDFAST_URL: 'http://127.0.0.1:1', HOLDFAST_CLUSTER: 'shop' };
  const unread = await ran(['status', '--state-dir', stateDir, '--token-file', '/nonexistent'], { env });
  assert.equal(unread.exit, 78);
  assert.match(unread.err, /^The coordinator was not asked: cannot read the token file \/nonexistent/);
});

it('a node that has no token is told what its own agent knows, and still ends with 77', async () => {
  const stub = await stubCoordinator(() => ({ status: 401, body: problem('unauthorized', 401, 'send the token') }));
  const env = { HOLDFAST_URL: stub.url, HOLDFAST_CLUSTER: 'shop' };
  const { exit, out, err } = await ran(['status', '--state-dir', stateDir], { env });
  await stub.close();
  assert.equal(exit, 77);
  assert.match(out, /seen from bob alone/);
  assert.match(err, /^The coordinator tells nothing without a token, and none was given; .*\nError: send the token/);
});

it('a coordinator that answers “no” is not replaced by the local agent', async () => {
  const stub = await stubCoordinator(() => ({ status: 401, body: problem('unauthorized', 401, 'no token') }));
  const { exit, out } = await ran(['status', '--state-dir', stateDir], { env: stub.env });
  await stub.close();
  assert.deepEqual([exit, out], [77, '']);
});
