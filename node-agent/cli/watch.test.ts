import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import { ran, stubCoordinator } from './testing.ts';
import { changes } from './watch.ts';

const at = '2026-11-22T09:00:00.000Z';
const group = { state: 'running', owner: 'alice', epoch: 1, since: at, resources: [], candidates: [] } as const;
const node = { state: 'ready', lastSeenMs: 10, joined: true, agentVersion: '0.1.0', refusals: [] } as const;
const before: Status = {
  schema: 'holdfast/status/v1',
  cluster: 'shop',
  at,
  revision: 1,
  groups: { db: { ...group, resources: [], candidates: [] } },
  nodes: { alice: { ...node, refusals: [] }, bob: { ...node, refusals: [] } },
};
const after: Status = {
  ...before,
  revision: 2,
  groups: {
    db: { ...group, state: 'starting', owner: 'bob', epoch: 2, reason: 'on its way', resources: [], candidates: [] },
  },
  nodes: { alice: { ...node, state: 'lost', refusals: [] } },
};

it('a change is one line each, with what was before', () => {
  assert.deepEqual(changes(before, after), [
    'configuration: revision 1 -> revision 2',
    'node alice: ready -> lost',
    'node bob: ready -> gone',
    'group db: running on alice (epoch 1) -> starting on bob (epoch 2): on its way',
  ]);
});

it('being heard again is no change', () => {
  const later = { ...before, nodes: { ...before.nodes, alice: { ...node, lastSeenMs: 990, refusals: [] } } };
  assert.deepEqual(changes(before, later), []);
});

/** Answers the looks one after the other, then interrupts. */
async function watched(args: readonly string[], terminal: boolean, first = before) {
  const interrupt = new AbortController();
  const looks = [first, first, after];
  const stub = await stubCoordinator((question) => {
    if (question.includes('/events')) return { body: { schema: 'holdfast/events/v1', events: [], next: 1 } };
    const look = looks.shift();
    if (look === undefined) interrupt.abort();
    return { body: look ?? after };
  });
  try {
    return await ran(args, { env: stub.env, interrupted: interrupt.signal, terminal });
  } finally {
    await stub.close();
  }
}

it('off a terminal watch prints a line per change and ends quietly when interrupted', async () => {
  const { exit, out, err } = await watched(['watch'], false);
  assert.equal(exit, 0);
  assert.equal(err, '');
  assert.equal(out.trimEnd().split('\n').length, 4 + 4);
  assert.ok(!out.includes('\u001b'), 'no escape sequences off a terminal');
});

it('watch --json prints one status a line, each a different one', async () => {
  const { out } = await watched(['watch', '--json'], true);
  const revisions = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).revision);
  assert.deepEqual(revisions, [1, 2]);
});

it('on a terminal watch draws on a screen of its own and gives the old one back', async () => {
  const { out } = await watched(['watch'], true);
  assert.ok(out.startsWith('\u001b[?1049h\u001b[?25l'));
  assert.ok(out.endsWith('\u001b[?25h\u001b[?1049l'));
  assert.match(out, /shop {2}DEGRADED/);
});

it('on a terminal that is too small what is wrong stands before the tables, and that there is more is said', async () => {
  const many: Status['groups'] = {};
  for (let index = 0; index < 40; index += 1) many[`g${index}`] = { ...group, resources: [], candidates: [] };
  many.db = { ...group, state: 'failed', owner: null, reason: 'no node', resources: [], candidates: [] };
  const { out } = await watched(['watch'], true, { ...before, groups: many });
  const [screen = ''] = out.split('\u001b[J');
  assert.ok(screen.indexOf('! db has failed: no node') < screen.indexOf('GROUP'), screen);
  assert.match(screen, /… \d+ more lines: holdfast status/);
  assert.equal(screen.split('\n').length, 23);
});
