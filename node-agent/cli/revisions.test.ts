/** Older documents, as an operator looks at them and goes back to one. */
import { equal, match } from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { problem, ran, type Stub, stubCoordinator } from './testing.ts';

const at = '2026-11-22T09:00:00.000Z';
const text = (address: string) => `cluster: shop\nnodes: [alice]\naddress: ${address}\n`;
const plan = {
  schema: 'holdfast/plan/v1',
  revision: 3,
  changed: true,
  diff: '-address: b\n+address: a\n',
  effects: [{ group: 'web', effect: 'restarts', detail: 'vip changed' }],
};

let stub: Stub;
before(async () => {
  const base = '/v1/clusters/shop/config';
  stub = await stubCoordinator((question) => {
    switch (question) {
      case `GET ${base}/history`:
        return {
          body: {
            schema: 'holdfast/revisions/v1',
            revisions: [3, 2].map((revision) => ({ revision, at, lines: 3 })),
          },
        };
      case `GET ${base}?revision=2`:
        return { body: { revision: 2, at, document: text('a') } };
      case `GET ${base}`:
        return { body: { revision: 3, at, document: text('b') } };
      case `POST ${base}/plan`:
        return { body: plan };
      case `PUT ${base}`:
        return { body: { ...plan, schema: 'holdfast/applied/v1', newRevision: 4 } };
      default:
        return { status: 404, body: problem('not-found', 404, 'revision 9 is not stored (any more)') };
    }
  });
});
after(() => stub.close());

const config = (...args: readonly string[]) => ran(['config', ...args], { env: stub.env });

it('history lists the revisions that are kept', async () => {
  match((await config('history')).out, /^3 {9}2026-11-22T09:00:00\.000Z {2}3$/m);
});

it('diff compares one with the one in force, or two', async () => {
  const { out } = await config('diff', '2');
  match(out, /--- revision 2.*\n\+\+\+ revision 3/);
  match(out, /-address: a\n\+address: b/);
  match((await config('diff', '2', '2')).err, /revision 2 and revision 2 are the same/);
  match((await config('diff', '9')).err, /revision 9 is not stored/);
  equal((await config('diff', 'x')).exit, 64);
});

it('rollback shows the plan, asks before it interrupts, and applies the old text against the revision it was planned for', async () => {
  const refused = await config('rollback', '2');
  equal(refused.exit, 1);
  match(refused.err, /interrupts web.*\n.*holdfast config rollback 2 --yes/s);
  const { exit, out } = await config('rollback', '2', '--yes');
  equal(exit, 0);
  equal(out, 'applied: shop is at revision 4\n');
  const put = stub.asked.findLast(({ method }) => method === 'PUT');
  equal(put?.body, text('a'));
  equal(put?.headers['if-match'], '"rev-3"');
});
