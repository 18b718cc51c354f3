import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { statusOf, whyOf } from './explain.ts';
import { Desk, TAKEOVER_MS } from './testing.ts';

const { leaseMs } = LEASE_PROFILES.default;

test('status shows the owner for as long as it may hold the lease, and its epoch for ever', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.passes(TAKEOVER_MS - 1, ['bob']);
  equal(statusOf(desk.state, desk.now).groups.db?.owner, 'alice');
  desk.passes(1);
  const { owner, epoch } = statusOf(desk.state, desk.now).groups.db ?? {};
  deepEqual([owner, epoch], [null, 1]);
});

test('status shows every node: the configured that never joined, the lost, the removed that are still named', () => {
  const desk = new Desk();
  desk.does({ type: 'node-standby', node: 'bob', operation: 'o' });
  desk.does({ type: 'node-remove', node: 'carol', force: true });
  desk.passes(leaseMs + 1, ['bob']);
  const { nodes } = statusOf(desk.state, desk.now);
  deepEqual(
    Object.entries(nodes).map(([name, { state, lastSeenMs }]) => [name, state, lastSeenMs]),
    [
      ['alice', 'lost', leaseMs + 1],
      ['bob', 'standby', 0],
      ['carol', 'removed', leaseMs + 1],
    ],
  );
});

test('status says while a restored coordinator holds back, and for whom it waits', () => {
  const desk = new Desk();
  desk.restarts();
  desk.hears('bob', { epochs: { db: 3 } });
  deepEqual(statusOf(desk.state, desk.now).restored?.waitingFor, ['alice', 'carol']);
  match(statusOf(desk.state, desk.now).groups.db?.reason ?? '', /waiting for alice, carol/);
});

test('why names who takes over from a lost owner, or that nobody can', () => {
  const stored = { lastGrant: null, refusals: [] };
  const desk = new Desk();
  desk.runsOn('alice');
  desk.passes(leaseMs + 1, ['bob']);
  match(
    whyOf(desk.state, 'db', desk.now, stored)?.reason ?? '',
    /alice is lost; when its lease has run out, bob takes over/,
  );
  desk.does({ type: 'node-standby', node: 'bob', operation: 'o' });
  match(whyOf(desk.state, 'db', desk.now, stored)?.reason ?? '', /no other node can take it/);
});

test('why of an unknown group is nothing', () => {
  const desk = new Desk();
  equal(whyOf(desk.state, 'web', desk.now, { lastGrant: null, refusals: [] }), null);
});
