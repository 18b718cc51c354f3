import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { objection, statusOf, whyOf } from './explain.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

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

test('a node whose agent never ran is no lost node: it has yet to be started', () => {
  const desk = new Desk();
  desk.does({ type: 'enrol', node: 'dave', publicKey: 'k' });
  const { dave } = statusOf(desk.state, desk.now).nodes;
  deepEqual(dave, {
    state: 'lost',
    lastSeenMs: null,
    joined: true,
    agentVersion: null,
    listens: null,
    refusals: [],
    note: 'joined, agent not started',
  });
});

test('a healthy node is not lost because the coordinator has just started, one that was lost stays so', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.passes(leaseMs + 1, ['alice', 'bob']);
  desk.does({ type: 'tick' });
  desk.restarts();
  const states = () => Object.values(statusOf(desk.state, desk.now).nodes).map(({ state }) => state);
  deepEqual(states(), ['ready', 'ready', 'lost']);
  const bob = statusOf(desk.state, desk.now).groups.db?.candidates.find(({ node }) => node === 'bob');
  deepEqual([bob?.eligible, bob?.reasons[0]?.rule], [false, 'unheard']);
  desk.passes(leaseMs, ['alice']);
  desk.passes(1);
  desk.does({ type: 'tick' });
  deepEqual(states(), ['ready', 'lost', 'lost']);
  match(desk.events[0]?.detail ?? '', /^no report since the coordinator started 4001 ms ago/);
});

test('a restart of the coordinator does not end a move to a node that had no time to report', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'op' });
  desk.restarts();
  desk.does({ type: 'tick' });
  equal(desk.group().target?.node, 'bob');
  desk.passes(leaseMs + 1, ['alice']);
  desk.does({ type: 'tick' });
  equal(desk.group().target, null);
});

test('what speaks against a node is told with its name once', () => {
  const desk = new Desk(config({ db: ['alice', 'bob'] }));
  desk.runsOn('alice');
  for (const node of ['bob', 'alice']) desk.does({ type: 'node-standby', node, operation: node });
  desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
  equal(statusOf(desk.state, desk.now).groups.db?.reason, 'alice is in standby; bob is in standby');
  const valid = {
    node: 'bob',
    eligible: false,
    chosen: false,
    reasons: [{ rule: 'owner-has-it', owner: 'bob' }],
  } as const;
  equal(objection([{ ...valid, reasons: [...valid.reasons] }], 'db'), 'bob holds a valid lease on it');
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
