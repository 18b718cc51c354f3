import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { problemSchema } from '../../schemas/api.ts';
import { type Answer, type Coordinator, readAnswer, startCoordinator } from '../../test/coordinator/harness.ts';
import { accessOf, methodsFor, ROUTE_KEYS, splitKey } from './access.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('access');
});
after(() => coordinator.close());

function pathOf(pattern: string): string {
  return pattern.replace(':cluster', 'access').replace(/:\w+/, 'one');
}

async function ask(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return await readAnswer(await fetch(coordinator.origin + path, { method, headers }));
}

for (const key of ROUTE_KEYS) {
  const { method, path } = splitKey(key);
  const { who } = accessOf(key);
  test(`${key} is for ${who}`, async () => {
    const anonymous = await ask(method, pathOf(path));
    const wrongToken = await ask(method, pathOf(path), { authorization: 'Bearer not-the-token' });
    const admin = await coordinator.admin(method, pathOf(path));
    switch (who) {
      case 'viewer':
      case 'operator':
      case 'admin':
        assert.equal(anonymous.status, 401);
        assert.equal(wrongToken.status, 401);
        assert.equal(anonymous.headers.get('www-authenticate'), 'Bearer');
        assert.notEqual(admin.status, 401, JSON.stringify(admin.body));
        break;
      case 'node': {
        // The socket's route first asks for an upgrade; sockets.test.ts and authentication.test.ts ask for one.
        const refused = key.endsWith('/socket') ? 422 : 401;
        assert.deepEqual([anonymous.status, wrongToken.status, admin.status], [refused, refused, refused]);
        break;
      }
      case 'public':
        assert.notEqual(anonymous.status, 403);
        if (anonymous.status >= 400) assert.notEqual(anonymous.body.code, 'unauthorized');
        break;
      default:
        assert.fail(who satisfies never);
    }
    assert.equal(anonymous.headers.get('cache-control'), 'no-store');
    assert.equal(anonymous.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(anonymous.headers.get('access-control-allow-origin'), null);
    for (const { status, body } of [anonymous, wrongToken, admin]) {
      if (status >= 400) problemSchema.parse(body);
    }
    assert.ok(methodsFor(pathOf(path)).includes(method));
  });
}

test('the token is the whole credential: no prefix, no suffix, no other scheme', async () => {
  const path = '/v1/clusters';
  for (const authorization of [
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'Bearer an-administrator-of-test',
    'Bearer an-administrator-of-testsX',
  ]) {
    assert.equal((await ask('GET', path, { authorization })).status, 401, authorization);
  }
});

test('without a configured token nobody is an administrator, and the answer says what to set', async () => {
  const unset = await startCoordinator({ ADMIN_TOKEN_SHA256: '' });
  try {
    const answer = await unset.admin('GET', '/v1/clusters');
    assert.equal(answer.status, 500);
    assert.match(answer.body.detail, /ADMIN_TOKEN_SHA256/);
  } finally {
    await unset.close();
  }
});

test('the test hooks do not exist unless they are opened', async () => {
  const closed = await startCoordinator({ TEST_HOOKS: '' });
  try {
    assert.equal((await closed.admin('POST', '/v1/test/clock', { offsetMs: 1 })).status, 404);
  } finally {
    await closed.close();
  }
});
