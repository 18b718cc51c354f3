/** Whoever has written down what went over the wire, and sends it again, changes nothing. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  type Answer,
  type Coordinator,
  documentOf,
  readAnswer,
  startCoordinator,
} from '../../test/coordinator/harness.ts';
import { TestNode } from '../../test/coordinator/node.ts';
import { Recorder, type Replayed } from '../../test/coordinator/recorder.ts';

let coordinator: Coordinator;
let recorder: Recorder;
before(async () => {
  coordinator = await startCoordinator();
  recorder = await Recorder.listen(coordinator.origin);
});
after(async () => {
  recorder.close();
  await coordinator.close();
});

const shop = '/v1/clusters/shop';

/** Everything durable of the cluster but the record of who asked for what, which is to grow. */
async function stateOf(): Promise<unknown> {
  const tables = await coordinator.sql('shop', "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
  const named = tables.map(({ name }) => String(name)).filter((name) => !/^(?:_cf_|sqlite_|audit$)/.test(name));
  ok(named.length > 5, named.join(' '));
  const rows = await Promise.all(
    named.map(async (name) => [name, await coordinator.sql('shop', `SELECT * FROM ${name}`)]),
  );
  return Object.fromEntries(rows);
}

async function toldOf(): Promise<unknown> {
  const { events } = (await coordinator.admin('GET', `${shop}/events?after=0`)).body;
  const { revision, groups } = (await coordinator.admin('GET', `${shop}/status`)).body;
  return { events, revision, epoch: groups.web.epoch, owner: groups.web.owner };
}

test('every request of a recorded run, sent again byte for byte, is refused or answered as before, and changes nothing', async (t) => {
  await coordinator.createCluster('shop');
  const { body: made } = await coordinator.admin('POST', `${shop}/tokens`, { name: 'carla', role: 'admin' });
  const { body: token } = await coordinator.admin('POST', `${shop}/nodes/alice/token`);

  const ask = async (
    method: string,
    path: string,
    body: string | object,
    more: Record<string, string>,
  ): Promise<Answer> => {
    const response = await fetch(`${recorder.origin}${shop}${path}`, {
      method,
      headers: { authorization: `Bearer ${made.secret}`, 'content-type': 'application/json', ...more },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    const answer = await readAnswer(response);
    ok(answer.status < 300, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer;
  };
  const put = (document: string, revision: number) =>
    ask('PUT', '/config', document, { 'content-type': 'application/yaml', 'if-match': `"rev-${revision}"` });
  const act = (path: string, key: string, body: object = {}) => ask('POST', path, body, { 'idempotency-key': key });
  // long leases: nobody is to be lost while all of it is sent again
  const document = (address: string) => `${documentOf('shop', ['alice'], address)}lease: wan\n`;

  const alice = await TestNode.make(recorder.origin, 'shop', 'alice');
  equal((await alice.enrol(token.token)).status, 200);
  await put(document('192.0.2.10/24'), 0);
  await put(document('192.0.2.11/24'), 1);
  await put(document('192.0.2.10/24'), 2);
  alice.revision = 3;
  const leaseMs = 15_000;
  const claims = [{ group: 'web', renewal: null, seenForMs: 0 }];
  const granted = await alice.signedPost('report', alice.report({ leaseMs, claims }));
  deepEqual(
    granted.body.grants.map(({ group, epoch }: { group: string; epoch: number }) => [group, epoch]),
    [['web', 1]],
    JSON.stringify(granted.body),
  );
  const leases = [{ group: 'web', epoch: 1, voters: 1 }];
  const socket = await alice.connect();
  await socket.ask(alice.report({ leaseMs, leases }));
  await act('/groups/web/pause', 'pause-1', { reason: 'a look' });
  await act('/groups/web/resume', 'resume-1');
  await act('/nodes/alice/standby', 'standby-1');
  await act('/nodes/alice/ready', 'ready-1');
  await act('/groups/web/cleanup', 'cleanup-1');
  equal((await alice.signedPost('report', alice.report({ leaseMs, leases }))).status, 200);

  const requests = [...recorder.requests];
  const before_ = { state: await stateOf(), told: await toldOf() };
  const answered: Replayed[] = [];
  for (const request of requests) answered.push(await recorder.replay(request));
  deepEqual({ state: await stateOf(), told: await toldOf() }, before_);

  const answers = new Map<string, Set<string>>();
  for (const { request, status, headers, text } of answered) {
    const what = `${request.method} ${request.path.slice(shop.length)}`;
    const { code } =
      status < 400 ? { code: headers['idempotency-replayed'] === 'true' ? 'as before' : '' } : JSON.parse(text);
    answers.set(what, (answers.get(what) ?? new Set()).add(`${status} ${code}`.trim()));
  }
  t.diagnostic([...answers].map(([what, said]) => `${what}: ${[...said].join(', ')}`).join('; '));
  const expected: Record<string, RegExp> = {
    // the same key in the same name: whoever repeats it gets in nowhere that its key does not
    'POST /agent/enrol': /^200$/,
    'POST /agent/nonce': /^200$/,
    'POST /agent/report': /^401 nonce-stale$/,
    'GET /agent/socket': /^401 nonce-stale$/,
    'PUT /config': /^412 revision-mismatch$/,
  };
  for (const [what, said] of answers)
    for (const one of said) ok((expected[what] ?? /^20[02] as before$/).test(one), `${what}: ${one}`);
  for (const what of Object.keys(expected)) ok(answers.has(what), `${what} was not recorded`);
  equal(answers.size, Object.keys(expected).length + 5);

  equal(socket.messages.at(-1).type === 'reply' || socket.messages.at(-1).type === 'nudge', true);
  equal(
    (await socket.ask(alice.report({ leaseMs, leases }))).leases[0]?.verdict,
    'renewed',
    'its socket is still its own',
  );
});

test('what a node was admitted by is worth nothing once it was removed', async () => {
  await coordinator.admin('DELETE', `${shop}/nodes/alice?force=1`);
  const before_ = await stateOf();
  const own = recorder.requests.filter(({ path }) => path.includes('/agent/'));
  for (const request of own) {
    const { status, text } = await recorder.replay(request);
    ok(status === 401 || status === 409, `${request.method} ${request.path}: ${status} ${text}`);
  }
  deepEqual(await stateOf(), before_);
});
