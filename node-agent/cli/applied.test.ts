/** `apply --wait`: what becomes of the groups that a document touched. */
import { equal, match } from 'node:assert/strict';
import { afterEach, it } from 'node:test';
import { ran, type Stub, stubCoordinator } from './testing.ts';

const base = '/v1/clusters/shop';
const document = 'cluster: shop\nnodes: [alice, bob]\ngroups: {}\n';
const refusal = { group: 'web', resource: 'nginx', reason: 'nginx.service is masked; systemctl unmask nginx.service' };
let stub: Stub;
afterEach(() => stub.close());

const node = (refusals: readonly object[]) => ({
  state: 'ready',
  lastSeenMs: 10,
  joined: true,
  agentVersion: '0.1.0',
  refusals,
});

/** A cluster whose group is in these states, one look after the other; the last one stays. */
async function applied(states: readonly string[], wait: string) {
  const plan = {
    revision: 1,
    changed: true,
    diff: '',
    effects: [{ group: 'web', effect: 'created', detail: 'new' }],
  };
  let looks = 0;
  stub = await stubCoordinator((question) => {
    if (question === `POST ${base}/config/plan`) return { body: { schema: 'holdfast/plan/v1', ...plan } };
    if (question === `PUT ${base}/config`) return { body: { schema: 'holdfast/applied/v1', ...plan, newRevision: 2 } };
    if (question !== `GET ${base}/status`) return undefined;
    const state = states[Math.min(looks++, states.length - 1)];
    const web = { state, owner: null, epoch: 0, since: '2026-11-30T09:00:00.000Z', resources: [], candidates: [] };
    return {
      body: {
        schema: 'holdfast/status/v1',
        cluster: 'shop',
        at: '2026-11-30T09:00:00.000Z',
        revision: 2,
        groups: { web },
        nodes: { alice: node([]), bob: node(looks > 1 ? [refusal] : []) },
      },
    };
  });
  const done = await ran(['apply', '-', '--wait', wait], { env: stub.env, stdin: document });
  return { ...done, looks };
}

it('waits until the group is served, and names what a node refuses, once', async () => {
  const { exit, out, err, looks } = await applied(['waiting', 'starting', 'running'], '20s');
  equal(exit, 0, err);
  match(out, /applied: shop is at revision 2/);
  match(err, /web: waiting\n(?:.*\n)*web: starting/);
  equal(err.split('! bob refuses web/nginx: nginx.service is masked; systemctl unmask nginx.service').length, 2);
  equal(looks, 4);
});

it('ends with 124 when a group is not served in time, and says that the document is in force', async () => {
  const { exit, err } = await applied(['waiting'], '600ms');
  equal(exit, 124);
  match(err, /the document is in force, and after 0\.6 s not served: web/);
  match(err, /Next: holdfast why web/);
});

it('does not look without --wait', async () => {
  const { exit, looks } = await applied(['waiting'], '0s');
  equal(exit, 0);
  equal(looks, 0);
});
