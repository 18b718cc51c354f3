/** Who may say what in the name of whom: sessions of nodes, signed answers, the key of the cluster and that of a node changed. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import {
  fingerprintIn,
  fingerprintOf,
  isSignedBy,
  newSessionKey,
  publicHalf,
  rekeyText,
  SIGNATURE_HEADERS,
  signText,
  successionText,
} from '../../schemas/session.ts';
import { type Coordinator, startCoordinator } from '../../test/coordinator/harness.ts';
import { TestNode } from '../../test/coordinator/node.ts';
import { until } from '../../test/lab/until.ts';

const shop = '/v1/clusters/shop';
let coordinator: Coordinator;
let alice: TestNode;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('shop');
  // Short leases: an object with a timer pending is not evicted, and it has one until its silent nodes are lost.
  await coordinator.apply('shop', 'cluster: shop\nnodes: [alice, bob]\nlease: fast\n');
  alice = await coordinator.join('shop', 'alice');
});
after(() => coordinator.close());

const events = async (): Promise<{ kind: string; node?: string }[]> =>
  (await coordinator.admin('GET', `${shop}/events?after=0`)).body.events;

describe('a session', () => {
  test('ends with a message that is sent again', async () => {
    const socket = await alice.connect();
    const report = alice.report();
    const sealed = socket.sealed(report);
    socket.sendRaw(sealed);
    await socket.reply(report);
    socket.sendRaw(sealed);
    equal((await socket.closed).code, 4403);
    equal(socket.messages.filter(({ type }) => type === 'reply').length, 1);
  });

  for (const [what, change] of Object.entries({
    'that was changed': (sealed: string) => sealed.replace('"quarantineMs":0', '"quarantineMs":9'),
    'that is not sealed': (sealed: string) => sealed.slice(sealed.indexOf('{')),
    'with another MAC': (sealed: string) => `${'A'.repeat(43)}${sealed.slice(43)}`,
  }))
    test(`ends with a message ${what}, which is not read`, async () => {
      const node = await coordinator.join('shop', 'bob');
      const socket = await node.connect();
      socket.sendRaw(change(socket.sealed(node.report({ agentVersion: '9.9.9' }))));
      equal((await socket.closed).code, 4403);
      deepEqual(socket.messages, []);
      const { nodes } = (await coordinator.admin('GET', `${shop}/status`)).body;
      notEqual(nodes.bob.agentVersion, '9.9.9');
      await coordinator.admin('DELETE', `${shop}/nodes/bob?force=1`);
    });

  test('takes no message of another one, also of the same node', async () => {
    const [one, two] = [await alice.connect(), await alice.connect()];
    two.sendRaw(one.sealed(alice.report()));
    equal((await two.closed).code, 4403);
    one.close();
  });

  test('goes on after hibernation where it was', async () => {
    const socket = await alice.connect();
    await socket.ask(alice.report());
    await coordinator.evict('shop', 'hibernate');
    const report = alice.report();
    const sealed = socket.sealed(report);
    socket.sendRaw(sealed);
    equal((await socket.reply(report)).problem, undefined);
    socket.sendRaw(sealed);
    equal((await socket.closed).code, 4403);
  });

  test('is not begun with a key whose secret everybody knows', async () => {
    equal(await alice.upgrade(undefined, Buffer.alloc(32).toString('base64url')), 422);
    equal(await alice.upgrade(undefined, 'x'), 422);
  });

  test('is not begun with a session key, a key of the cluster or an incarnation other than was signed', async () => {
    const other = { sessionKey: newSessionKey().publicKey, clusterKey: '0'.repeat(32), incarnation: 'another' };
    for (const [header, value] of Object.entries(other)) {
      const name = SIGNATURE_HEADERS[header as keyof typeof other];
      equal(await alice.upgrade(undefined, undefined, { [name]: value }), 401, header);
    }
    equal(await alice.upgrade(), 101);
  });

  test('that the coordinator has closed is not heard any more, though the other side goes on', async () => {
    const node = await coordinator.join('shop', 'dora');
    const deaf = await node.connectDeaf();
    deaf.send(deaf.seal(node.report({ agentVersion: '1.1.1' })));
    const version = async () => (await coordinator.admin('GET', `${shop}/status`)).body.nodes.dora?.agentVersion;
    await until(async () => (await version()) === '1.1.1', { deadlineMs: 5_000, what: 'the first report to be heard' });
    const next = generateKeyPairSync('ed25519').privateKey;
    const publicKey = publicHalf(next);
    await node.signedPost('rekey', { publicKey, proof: signText(next, rekeyText('shop', 'dora', publicKey)) });
    deaf.send(deaf.seal(node.report({ leaving: true })));
    const later = node.withKey(next);
    for (let i = 0; i < 5; i++)
      equal((await later.signedPost('report', later.report({ agentVersion: `2.2.${i}` }))).status, 200);
    equal(await version(), '2.2.4');
    ok(!(await events()).some(({ kind, node: name }) => kind === 'node.leaving' && name === 'dora'));
    deaf.end();
    await coordinator.admin('DELETE', `${shop}/nodes/dora?force=1`);
  });
});

describe('over HTTP', () => {
  test('answers and refusals are signed for their request', async () => {
    const body = JSON.stringify(alice.report());
    const asked = await alice.signature('POST', 'report', await alice.nonce(), body);
    const answer = await alice.post('report', body, asked);
    ok(alice.isAuthentic('report', asked, answer));
    const another = await alice.signature('POST', 'report', await alice.nonce(), body);
    equal(alice.isAuthentic('report', another, answer), false, 'for another request');
    equal(alice.isAuthentic('wait', asked, answer), false, 'for another route');
    const refused = await alice.post('report', body, asked);
    equal(refused.body.code, 'nonce-stale');
    ok(alice.isAuthentic('report', asked, refused));
    equal(alice.isAuthentic('report', asked, { ...refused, body: { code: 'unauthorized' } }), false, 'of another code');
  });

  test('what a stranger gets signed is of no use against a node', async () => {
    const asked = await alice.signature('POST', 'report', await alice.nonce(), '{}');
    const id = { [SIGNATURE_HEADERS.request]: asked[SIGNATURE_HEADERS.request] ?? '' };
    const key = { [SIGNATURE_HEADERS.clusterKey]: fingerprintOf(alice.clusterKey) };
    const nobody = await alice.post('report', '{}', { ...id, ...key, [SIGNATURE_HEADERS.node]: 'nobody' });
    equal(nobody.body.code, 'unauthorized');
    ok(nobody.headers.get(SIGNATURE_HEADERS.signature));
    equal(alice.isAuthentic('report', asked, nobody), false, 'that nobody is no member says nothing of alice');
  });

  test('without an id there is no signature, and no id with a line end in it', async () => {
    const body = JSON.stringify(alice.report());
    for (const id of ['', 'short', 'x'.repeat(65)]) {
      const asked = await alice.signature('POST', 'report', await alice.nonce(), body, id);
      const answer = await alice.post('report', body, asked);
      equal(answer.status, 200);
      equal(answer.headers.get(SIGNATURE_HEADERS.signature), null);
    }
  });
});

test('a node that trusts another key than the cluster has is told so', async () => {
  const astray = alice.withKey(generateKeyPairSync('ed25519').privateKey);
  astray.clusterKey = newSessionKey().publicKey;
  equal(
    (await astray.signedPost('report', astray.report())).body.code,
    'signature-invalid',
    'the signature comes first',
  );
  const { clusterKey } = alice;
  alice.clusterKey = newSessionKey().publicKey;
  const answer = await alice.signedPost('report', alice.report());
  alice.clusterKey = clusterKey;
  equal(answer.status, 409);
  equal(answer.body.code, 'key-unknown');
});

describe('the key of the cluster', () => {
  test('is in every join token, is changed in one step, and its successors are told to every node by the one that it trusts', async () => {
    const bob = await coordinator.join('shop', 'bob');
    const [first] = (await coordinator.admin('GET', `${shop}/keys`)).body.keys;
    const { body: token } = await coordinator.admin('POST', `${shop}/nodes/carol/token`);
    equal(fingerprintIn(token.token), first.fingerprint);
    const socket = await alice.connect();
    await socket.ask(alice.report());
    const rotated = await coordinator.admin('POST', `${shop}/keys/rotate`);
    equal(rotated.status, 200, JSON.stringify(rotated.body));
    const [second, older] = rotated.body.keys;
    notEqual(second.fingerprint, first.fingerprint);
    deepEqual(older, first);
    const signedBy = (key: { publicKey: string }, next: { publicKey: string }, signature: string) =>
      isSignedBy(key.publicKey, signature, successionText('shop', next.publicKey));

    // an open session goes on, and says so
    const { successor } = await socket.ask(alice.report());
    equal(successor?.publicKey, second.publicKey);
    ok(signedBy(first, second, successor?.signature ?? ''));
    alice.clusterKey = second.publicKey;
    const again = await alice.connect();
    equal((await again.ask(alice.report())).successor, undefined);
    again.close();

    // who comes later is told by the refusal, step by step
    const [third] = (await coordinator.admin('POST', `${shop}/keys/rotate`)).body.keys;
    await coordinator.evict('shop', 'close');
    for (const [trusted, next] of [
      [first, second],
      [second, third],
    ]) {
      const refused = await bob.signedPost('report', bob.report());
      equal(refused.body.code, 'key-unknown');
      equal(refused.headers.get(SIGNATURE_HEADERS.signature), null, 'there is no key left to sign it with');
      const [publicKey, signature = ''] = (refused.headers.get(SIGNATURE_HEADERS.successor) ?? '').split('.');
      equal(publicKey, next.publicKey);
      ok(signedBy(trusted, next, signature));
      equal(await bob.upgrade(), 409);
      bob.clusterKey = next.publicKey;
    }
    equal((await bob.signedPost('report', bob.report())).body.successor, undefined);
    alice.clusterKey = third.publicKey;

    const carol = await TestNode.make(coordinator.origin, 'shop', 'carol');
    const late = await carol.enrol(token.token);
    equal(late.status, 401);
    match(late.body.detail, /create another one/);
    equal((await events()).filter(({ kind }) => kind === 'cluster.key-changed').length, 2);
    const rows = await coordinator.sql('shop', 'SELECT pkcs8 FROM cluster_key ORDER BY seq');
    deepEqual(
      rows.map(({ pkcs8 }) => pkcs8 !== null),
      [false, false, true],
      'of the older ones only the public halves are left',
    );
    await coordinator.admin('DELETE', `${shop}/nodes/bob?force=1`);
  });

  test('of another cluster, or of one that was put back, is told as an event once', async () => {
    const told = async () => (await events()).filter(({ kind }) => kind === 'node.trusts-another-key');
    const before_ = (await told()).length;
    const { clusterKey } = alice;
    alice.clusterKey = newSessionKey().publicKey;
    for (let i = 0; i < 2; i++) equal((await alice.signedPost('report', alice.report())).body.code, 'key-unknown');
    alice.clusterKey = clusterKey;
    deepEqual(
      (await told()).slice(before_).map(({ node }) => node),
      ['alice'],
    );
  });
});

describe('the key of a node', () => {
  test('is changed by a request that the old one signs, ends what was open with it, and can be repeated', async () => {
    const next = generateKeyPairSync('ed25519').privateKey;
    const publicKey = publicHalf(next);
    const body = { publicKey, proof: signText(next, rekeyText('shop', 'alice', publicKey)) };
    const socket = await alice.connect();
    await socket.ask(alice.report());
    const changed = await alice.signedPost('rekey', body);
    equal(changed.status, 200, JSON.stringify(changed.body));
    equal((await socket.closed).code, 4409);
    equal((await alice.signedPost('report', alice.report())).body.code, 'signature-invalid');
    alice = alice.withKey(next);
    equal((await alice.signedPost('rekey', body)).status, 200, 'repeated');
    equal((await alice.signedPost('report', alice.report())).body.problem, undefined, 'the same node as before');
    equal((await events()).filter(({ kind, node }) => kind === 'node.rekeyed' && node === 'alice').length, 1);
  });

  test('is not changed without a proof of the new one', async () => {
    const next = generateKeyPairSync('ed25519').privateKey;
    const publicKey = publicHalf(next);
    const proofs = {
      'of another node': signText(next, rekeyText('shop', 'bob', publicKey)),
      'of another key': await alice.sign(rekeyText('shop', 'alice', publicKey)),
    };
    for (const [what, proof] of Object.entries(proofs))
      equal((await alice.signedPost('rekey', { publicKey, proof })).body.code, 'signature-invalid', what);
    equal((await alice.signedPost('rekey', 'x')).body.code, 'malformed-body');
    equal((await alice.signedPost('report', alice.report())).status, 200);
  });
});
