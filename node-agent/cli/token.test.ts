/** Tokens, as an administrator sees them. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { problem, ran, type Stub, stubCoordinator } from './testing.ts';

const at = '2026-11-22T09:00:00.000Z';
const ci = { id: '0123456789ab', name: 'ci', role: 'operator', groups: ['web'], createdAt: at, expiresAt: at };
let stub: Stub;
before(async () => {
  const base = '/v1/clusters/shop';
  stub = await stubCoordinator((question) => {
    switch (question) {
      case `POST ${base}/tokens`:
        return { status: 201, body: { schema: 'holdfast/access-token-created/v1', token: ci, secret: 'hfa1_x' } };
      case `GET ${base}/tokens`:
        return { body: { schema: 'holdfast/access-tokens/v1', tokens: [ci] } };
      case `DELETE ${base}/tokens/ci`:
        return { body: { done: true } };
      default:
        return { status: 404, body: problem('token-unknown', 404, 'no token nobody in this cluster') };
    }
  });
});
after(() => stub.close());

const ask = (...args: readonly string[]) => ran(args, { env: stub.env });

describe('token', () => {
  it('create prints the token alone as data, and asks for what was given', async () => {
    const { out, err } = await ask(
      'token',
      'create',
      'ci',
      '--role',
      'operator',
      '--groups',
      'web, shop',
      '--ttl',
      '30d',
    );
    equal(out, 'hfa1_x\n');
    match(err, /shown this once, good until/);
    deepEqual(JSON.parse(stub.asked.at(-1)?.body ?? ''), {
      name: 'ci',
      role: 'operator',
      groups: ['web', 'shop'],
      ttlMs: 30 * 86_400_000,
    });
  });

  it('a role that there is not, and a time without a unit, are refused before anything is asked', async () => {
    const before_ = stub.asked.length;
    match((await ask('token', 'create', 'ci', '--role', 'root')).err, /Allowed choices are viewer, operator, admin/);
    match((await ask('token', 'create', 'ci', '--ttl', '30')).err, /not a duration/);
    equal(stub.asked.length, before_);
  });

  it('list, revoke, and one that is not there', async () => {
    match((await ask('token', 'list')).out, /0123456789ab {2}ci {4}operator {2}web {5}2026/);
    equal((await ask('token', 'revoke', 'ci')).out, 'ci is revoked; it is refused from now on\n');
    match((await ask('token', 'revoke', 'nobody')).err, /no token nobody/);
  });
});
