/** Guards of the coordinator’s decisions that nothing else would miss: `npm run mutants` takes each of them out. */
import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { Desk, TAKEOVER_MS } from './testing.ts';
import { eligibleVoters } from './voters.ts';

const { leaseMs } = LEASE_PROFILES.default;

const renewalSeenBy = (desk: Desk, node: string) => desk.hears(node).observed[0]?.renewal ?? null;

test('a candidate is not told of a release before there was one', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  equal(desk.hears('bob').observed[0]?.released, null);
  desk.passes(TAKEOVER_MS, ['bob']);
  equal(desk.hears('bob').observed[0]?.released, null);
});

test('C2: a renewal is never named like one of an earlier instance', () => {
  const desk = new Desk();
  const names = new Set<string | null>();
  desk.claims('alice');
  for (const instance of ['i2', 'i3', 'i4']) {
    desk.renews('alice', 1);
    desk.renews('alice', 1);
    const name = renewalSeenBy(desk, 'bob');
    equal(names.has(name), false, `${name}`);
    names.add(name);
    desk.restarts(instance);
  }
});

test('0002: a lease is as long as its claimant counts it, from the grant on', () => {
  const desk = new Desk();
  const { leaseMs } = LEASE_PROFILES.wan;
  desk.claims('alice', {}, { leaseMs });
  equal(desk.lease().leaseMs, leaseMs);
  desk.passes(TAKEOVER_MS, ['bob']);
  deepEqual(desk.claims('bob', { seenForMs: 60_000 }).grants, []);
});

describe('C4: a doubt', () => {
  test('a doubt that a renewal has ended is not the same as the next one', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts('i2');
    const watched = renewalSeenBy(desk, 'bob');
    desk.renews('alice', 1);
    desk.passes(10);
    desk.restarts('i3');
    desk.passes(TAKEOVER_MS, ['bob']);
    deepEqual(desk.claims('bob', { renewal: watched, seenForMs: 60_000 }).grants, []);
    deepEqual(desk.decision?.reasons, [{ rule: 'renewal-not-newest' }]);
  });

  test('a step back of the clock that does not reach the doubt on record counts it anew all the same', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts();
    desk.passes(3_600_000);
    desk.does({ type: 'tick' });
    desk.now -= 600_000;
    desk.does({ type: 'tick' });
    equal(desk.lease().suspectSince, desk.now);
  });
});

test('C3: a change of the voters that is under way is not replaced by another one', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.hears('carol', { leaving: true });
  deepEqual(desk.lease().pendingVoters, ['alice', 'bob']);
  desk.hears('bob', { leaving: true });
  deepEqual(desk.lease().pendingVoters, ['alice', 'bob'], 'alice may know of it already, by this version');
  desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
  deepEqual(desk.lease().pendingVoters, ['alice']);
});

test('C7: a machine joined anew during a change of the voters does not take over by it either', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.hears('carol', { leaving: true });
  deepEqual(desk.lease().pendingVoters, ['alice', 'bob']);
  desk.passes(leaseMs + 1);
  desk.does({ type: 'enrol', node: 'bob', publicKey: 'another key' });
  desk.hears('bob', { incarnation: 'bob-2' });
  desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
  equal(desk.lease().voters.version, 2);
  equal(eligibleVoters(desk.lease())?.includes('bob'), false);
});

test('C7: old data grants nothing before every node has told its epochs, however long that takes', () => {
  const desk = new Desk();
  desk.restarts();
  desk.hears('bob', { epochs: { db: 5 } });
  desk.hears('carol');
  desk.passes(10 * TAKEOVER_MS, ['bob', 'carol']);
  desk.does({ type: 'tick' });
  deepEqual(desk.claims('bob').grants, []);
  deepEqual(desk.decision?.reasons, [{ rule: 'restored', waitingFor: ['alice'] }]);
  desk.hears('alice');
  desk.does({ type: 'tick' });
  deepEqual(desk.claims('alice').grants, [], 'alice may have lived on promises until now');
  desk.passes(TAKEOVER_MS, ['bob', 'carol', 'alice']);
  desk.does({ type: 'tick' });
  equal(desk.claims('alice').grants[0]?.epoch, 6);
});
