/** Whom the transport believes: the real client and the real WebSocket, before a coordinator that says what a test likes. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { LEASE_PROFILES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import type { Reply, Report } from '../../schemas/wire.ts';
import { until } from '../../test/lab/until.ts';
import { TestCluster, testCluster } from './cluster-testing.ts';
import { identityAt } from './loop-testing.ts';
import { SocketCoordinator } from './socket-testing.ts';
import { Transport } from './transport.ts';

const DEADLINE = { deadlineMs: 10_000, everyMs: 5 };

function report(): Report {
  return {
    ...{
      type: 'report',
      version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
      id: randomUUID(),
      node: 'alice',
      incarnation: 'a1',
    },
    ...{ agentVersion: '0', history: 'h1', revision: 0, quarantineMs: 0, leaseMs: LEASE_PROFILES.default.leaseMs },
    ...{ leases: [], claims: [], releases: [] },
  };
}

function replyTo({ id }: Report, changes: Partial<Reply> = {}): Reply {
  return {
    ...{ type: 'reply', version: [PROTOCOL_MAJOR, PROTOCOL_MINOR], id, history: 'h1', instance: 'i1', generation: 1 },
    ...{ renewInMs: 1_000, leases: [], grants: [], refused: [], observed: [] },
    ...changes,
  };
}

interface Bench {
  readonly coordinator: SocketCoordinator;
  readonly transport: Transport;
  readonly replies: Reply[];
  readonly refusals: string[];
  readonly said: string[];
  readonly clusterKeys: string[];
  /** Whether a key of the cluster can be written down. */
  writable: boolean;
  /** Sends a report, as often as it takes. @returns its reply. */
  ask(): Promise<Reply>;
}

async function bench(t: TestContext, keys: () => readonly KeyObject[] = () => []): Promise<Bench> {
  const coordinator = await SocketCoordinator.listen();
  const [replies, refusals, said, clusterKeys]: [Reply[], string[], string[], string[]] = [[], [], [], []];
  const transport = new Transport({
    identity: identityAt(coordinator.url),
    incarnation: 'a1',
    log: { info: () => undefined, warn: (message) => said.push(message) },
    onReply: (reply) => replies.push(reply),
    onRefused: ({ code }) => refusals.push(code),
    onNudge: () => undefined,
    onOtherWay: () => undefined,
    onLost: () => undefined,
    onRenewals: () => undefined,
    onClusterKey: async (publicKey) => {
      if (!made.writable) throw new Error('no space left on device');
      clusterKeys.push(publicKey);
    },
    keys: async () => keys(),
  });
  t.after(() => {
    transport.close();
    coordinator.end();
  });
  const ask = async () => {
    const asked = report();
    await until(
      () => {
        transport.send(asked, 0, 1_000);
        return replies.some(({ id }) => id === asked.id);
      },
      { ...DEADLINE, everyMs: 50, what: 'a reply' },
    );
    return replies.find(({ id }) => id === asked.id) as Reply;
  };
  const made: Bench = { coordinator, transport, replies, refusals, said, clusterKeys, writable: true, ask };
  return made;
}

const opened = ({ transport }: Bench) =>
  until(() => transport.way === 'websocket', { ...DEADLINE, what: 'the WebSocket to open' });

test('reports and replies go over a session that the cluster’s key has signed', async (t) => {
  const at = await bench(t);
  at.coordinator.onReport = (asked, say) => say(JSON.stringify(replyTo(asked)));
  at.transport.start();
  await opened(at);
  equal((await at.ask()).history, 'h1');
  deepEqual(at.said, []);
});

test('who answers without the cluster’s key is not heard: not on a WebSocket, not over HTTP, not with a refusal', async (t) => {
  const at = await bench(t);
  at.coordinator.cluster = new TestCluster();
  at.coordinator.onHttp = (asked) => ({ status: 200, body: JSON.stringify(replyTo(asked as Report)) });
  at.coordinator.onReport = (asked, say) => say(JSON.stringify(replyTo(asked)));
  at.transport.start();
  at.transport.send(report(), 1, 1_000);
  await until(() => at.said.some((line) => line.includes('does not have the key of this cluster')), {
    ...DEADLINE,
    what: 'it to be told',
  });
  at.coordinator.onNonce = () => ({ status: 401, body: JSON.stringify({ code: 'unauthorized', detail: 'go away' }) });
  at.transport.send(report(), 1, 1_000);
  await until(() => at.said.some((line) => line.includes('go away')), { ...DEADLINE, what: 'the refusal to be told' });
  deepEqual([at.replies, at.refusals, at.transport.way], [[], [], 'http']);
});

test('a WebSocket whose beginning another key has signed is not used; HTTP goes on', async (t) => {
  const at = await bench(t);
  at.coordinator.sessions = new TestCluster();
  at.coordinator.onReport = (asked, say) => say(JSON.stringify(replyTo(asked, { instance: 'another' })));
  at.coordinator.onHttp = (asked) => ({ status: 200, body: JSON.stringify(replyTo(asked as Report)) });
  at.transport.start();
  await until(() => at.said.some((line) => line.includes('no WebSocket')), { ...DEADLINE, what: 'it to be told' });
  equal((await at.ask()).instance, 'i1');
  equal(at.transport.way, 'http');
});

test('a report is answered over HTTP, and only what is signed for it counts', async (t) => {
  const at = await bench(t);
  at.coordinator.upgrades = false;
  at.coordinator.onHttp = (asked) => ({ status: 200, body: JSON.stringify(replyTo(asked as Report)) });
  equal((await at.ask()).instance, 'i1');
  const before = at.replies.length;
  at.coordinator.tamper = (body) => body.replace('"i1"', '"i2"');
  at.transport.send(report(), 1, 1_000);
  await until(() => at.said.some((line) => line.includes('does not have the key')), {
    ...DEADLINE,
    what: 'it to be told',
  });
  equal(at.replies.length, before);
});

test('a refusal counts when the coordinator has signed it for this node', async (t) => {
  const at = await bench(t);
  at.coordinator.upgrades = false;
  const refusal = { status: 401, body: JSON.stringify({ code: 'unauthorized', detail: 'was removed' }) };
  at.coordinator.onNonce = () => refusal;
  at.transport.send(report(), 1, 1_000);
  await until(() => at.refusals.length > 0, { ...DEADLINE, what: 'the refusal' });
  deepEqual([...new Set(at.refusals)], ['node-removed']);
});

test('that the connection was closed proves nothing, whatever the reason that is given', async (t) => {
  const at = await bench(t);
  at.transport.start();
  await opened(at);
  at.coordinator.hangUp(4401, 'the node was removed from the cluster');
  await until(() => at.said.some((line) => line.includes('4401')), { ...DEADLINE, what: 'the close to be told' });
  await opened(at);
  deepEqual(at.refusals, []);
});

const wrongs: Record<string, (say: (text: string) => void, sayRaw: (text: string) => void, text: string) => void> = {
  'is not sealed': (_, sayRaw, text) => sayRaw(text),
  'was changed': (_, sayRaw, text) => sayRaw(`${'A'.repeat(43)}.${text}`),
};
for (const [what, wrong] of Object.entries(wrongs))
  test(`what ${what} ends the session, is not heard, and another session is begun`, async (t) => {
    const at = await bench(t);
    at.transport.start();
    await opened(at);
    let wrongs_ = 0;
    at.coordinator.onReport = (asked, say, sayRaw) => {
      wrongs_ += 1;
      wrong(say, sayRaw, JSON.stringify(replyTo(asked, { instance: 'wrong' })));
      at.coordinator.onReport = (again, sayAgain) => sayAgain(JSON.stringify(replyTo(again)));
    };
    at.transport.send(report(), 0, 1_000);
    await until(() => at.said.some((line) => line.includes('not the next message')), { ...DEADLINE, what: 'the end' });
    await opened(at);
    equal((await at.ask()).instance, 'i1');
    equal(wrongs_, 1);
    ok(at.replies.every(({ instance }) => instance === 'i1'));
  });

test('a message that is repeated is heard once, and ends the session', async (t) => {
  const at = await bench(t);
  at.transport.start();
  await opened(at);
  at.coordinator.onReport = (asked, say, sayRaw) => {
    const sealed = say(JSON.stringify(replyTo(asked)));
    sayRaw(sealed);
  };
  at.transport.send(report(), 0, 1_000);
  await until(() => at.said.some((line) => line.includes('not the next message')), { ...DEADLINE, what: 'the end' });
  equal(at.replies.length, 1);
});

test('the key that the trusted one names takes its place, on disk first; one that another names does not', async (t) => {
  const at = await bench(t);
  const [next, forger] = [new TestCluster(), new TestCluster()];
  at.transport.start();
  await opened(at);
  at.coordinator.onReport = (asked, say) => say(JSON.stringify(replyTo(asked, { successor: forger.successor(next) })));
  await at.ask();
  deepEqual(at.clusterKeys, []);
  at.coordinator.onReport = (asked, say) =>
    say(JSON.stringify(replyTo(asked, { successor: testCluster.successor(next) })));
  await at.ask();
  await until(() => at.clusterKeys.length > 0, { ...DEADLINE, what: 'the key to be written' });
  deepEqual(at.clusterKeys, [next.clusterKey]);
  at.coordinator.cluster = next;
  at.coordinator.onReport = (asked, say) => say(JSON.stringify(replyTo(asked, { instance: 'after' })));
  equal((await at.ask()).instance, 'after');
});

test('a key of the cluster that cannot be written down is not trusted yet, which is said once; when it can, it is', async (t) => {
  const at = await bench(t);
  const next = new TestCluster();
  at.writable = false;
  at.transport.start();
  await opened(at);
  at.coordinator.onReport = (asked, say) =>
    say(JSON.stringify(replyTo(asked, { successor: testCluster.successor(next) })));
  for (let i = 0; i < 3; i++) await at.ask();
  equal(at.transport.way, 'websocket', 'it goes on by the key that is on disk');
  equal(at.said.filter((line) => line.includes('cannot be written down')).length, 1);
  at.writable = true;
  await at.ask();
  await until(() => at.clusterKeys.length === 1, { ...DEADLINE, what: 'the key to be written' });
});

test('a node whose key was changed meanwhile goes on with the one it has now', async (t) => {
  const next = generateKeyPairSync('ed25519').privateKey;
  const at = await bench(t, () => [next]);
  at.coordinator.upgrades = false;
  let asked_ = 0;
  at.coordinator.onHttp = (asked) => {
    asked_ += 1;
    if (asked_ === 1)
      return { status: 401, body: JSON.stringify({ code: 'signature-invalid', detail: 'does not fit' }) };
    return { status: 200, body: JSON.stringify(replyTo(asked as Report)) };
  };
  const before = at.coordinator.signatures.length;
  await at.ask();
  const [first, second] = at.coordinator.signatures.slice(before);
  ok(first !== undefined && second !== undefined && first !== second);
  deepEqual(at.refusals, []);
});
