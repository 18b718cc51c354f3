import { deepEqual, equal, match, notEqual } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES, takeoverWaitMs } from '../../schemas/limits.ts';
import { Desk, TAKEOVER_MS } from './testing.ts';

const { leaseMs } = LEASE_PROFILES.default;

describe('C1: a renewal', () => {
  const refusals: [string, (desk: Desk) => void, { epoch?: number; node?: string; incarnation?: string }, RegExp][] = [
    ['of another epoch', () => undefined, { epoch: 2 }, /epoch 2 is not the current one \(1, alice\)/],
    ['of another node', () => undefined, { node: 'bob' }, /alice owns epoch 1/],
    ['of what was released', (desk) => desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] }), {}, /released/],
  ];
  for (const [what, before, { epoch = 1, node = 'alice' }, reason] of refusals)
    test(`${what} is refused`, () => {
      const desk = new Desk();
      desk.runsOn('alice');
      before(desk);
      const [answer] = desk.renews(node, epoch).leases;
      equal(answer?.verdict, 'refused');
      match(answer?.verdict === 'refused' ? answer.reason : '', reason);
    });

  test('of another incarnation is refused, even when the coordinator has forgotten who lives', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS + 1);
    const [answer] = desk.renews('alice', 1, { incarnation: 'alice-2' }).leases;
    equal(answer?.verdict, 'refused');
  });

  test('of a group that nobody was granted is refused', () => {
    equal(new Desk().renews('alice', 1).leases[0]?.verdict, 'refused');
  });

  test('counts from its own event: the wait of others begins anew', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS - 1);
    desk.renews('alice', 1);
    desk.passes(TAKEOVER_MS - 1, ['bob']);
    deepEqual(desk.claims('bob').grants, []);
    desk.passes(1);
    equal(desk.claims('bob').grants[0]?.epoch, 2);
  });

  test('clears a suspicion durably', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts();
    notEqual(desk.lease().suspectSince, null);
    desk.renews('alice', 1);
    equal(desk.lease().suspectSince, null);
  });

  test('the first in an epoch confirms it, and later ones do not confirm it again (C6)', () => {
    const desk = new Desk();
    desk.claims('alice');
    equal(desk.lease().confirmedAt, null);
    desk.passes(10);
    desk.renews('alice', 1);
    const { confirmedAt } = desk.lease();
    equal(confirmedAt, desk.now);
    desk.passes(10);
    desk.renews('alice', 1);
    equal(desk.lease().confirmedAt, confirmedAt);
  });

  test('that changes nothing durable changes no durable record', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const { durable } = desk.state;
    desk.passes(1_000);
    desk.renews('alice', 1);
    equal(desk.state.durable, durable);
  });
});

describe('C2: a claim', () => {
  test('of a group that never ran is granted at once, to the best node, as epoch 1', () => {
    const desk = new Desk();
    const reply = desk.claims('alice', { seenForMs: 0 });
    deepEqual(reply.grants, [
      {
        group: 'db',
        epoch: 1,
        incarnation: 'alice-1',
        voters: { version: 1, names: ['alice', 'bob', 'carol'] },
        released: null,
      },
    ]);
    equal(desk.decision?.cause, 'first-start');
  });

  test('is refused while the coordinator’s clock has not seen T_C since the last renewal', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS - 1, ['bob']);
    const reply = desk.claims('bob');
    deepEqual(reply.grants, []);
    deepEqual(desk.decision?.reasons, [{ rule: 'lease-runs', owner: 'alice', remainingMs: 1, clock: 'coordinator' }]);
    desk.passes(1);
    equal(desk.claims('bob').grants[0]?.epoch, 2);
    equal(desk.decision?.cause, 'lease-expired');
    equal(desk.decision?.from, 'alice');
  });

  test('is refused while the claimant’s clock has not, though the coordinator’s stepped forward', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(3_600_000, ['bob']);
    deepEqual(desk.claims('bob', { seenForMs: TAKEOVER_MS - 1 }).grants, []);
    deepEqual(desk.decision?.reasons, [{ rule: 'lease-runs', owner: 'alice', remainingMs: 1, clock: 'claimant' }]);
    equal(desk.claims('bob', { seenForMs: TAKEOVER_MS }).grants.length, 1);
  });

  test('that names an older renewal is refused, however long it was watched', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const old = desk.state.volatile.renewals.db?.id ?? null;
    desk.renews('alice', 1);
    desk.passes(3_600_000, ['bob']);
    deepEqual(desk.claims('bob', { renewal: old, seenForMs: 3_600_000 }).grants, []);
    deepEqual(desk.decision?.reasons, [{ rule: 'renewal-not-newest' }]);
  });

  test('after a release is granted at once and says which epoch was released', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
    const [grant] = desk.claims('alice', { seenForMs: 0 }).grants;
    deepEqual([grant?.epoch, grant?.released], [2, 1]);
  });

  test('after the wait does not call older promises void', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS, ['bob']);
    equal(desk.claims('bob').grants[0]?.released, null);
  });

  test('repeated by the same incarnation gets the same grant and counts as a renewal', () => {
    const desk = new Desk();
    const first = desk.claims('alice');
    desk.passes(TAKEOVER_MS - 1);
    const again = desk.claims('alice', { renewal: null, seenForMs: 0 });
    deepEqual(again.grants, first.grants);
    desk.passes(TAKEOVER_MS - 1, ['bob']);
    deepEqual(desk.claims('bob').grants, [], 'the wait began anew with the repetition');
  });

  test('repeated after a restart clears the suspicion, as a renewal does', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.restarts();
    for (const node of ['alice', 'bob', 'carol']) desk.hears(node);
    deepEqual(
      desk.claims('alice').grants.map(({ epoch }) => epoch),
      [1],
    );
    equal(desk.lease().suspectSince, null);
  });

  test('is not granted again from data that others may know to be old (C7): one of them may have been granted it since', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.restarts();
    deepEqual(desk.claims('alice').grants, [], 'bob and carol have not said what they have seen');
    desk.hears('carol', { epochs: { db: 2 } });
    desk.hears('bob');
    deepEqual(desk.claims('alice').grants, []);
    desk.passes(2 * TAKEOVER_MS, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored, null);
    equal(desk.claims('bob').grants[0]?.epoch, 3, 'above all that was seen');
  });

  test('of a new incarnation is no repetition', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.passes(TAKEOVER_MS + 1);
    equal(desk.claims('alice', {}, { incarnation: 'alice-2' }).grants[0]?.epoch, 2);
  });

  test('only grows the epoch, also across what other nodes have seen', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
    for (const node of ['bob', 'alice', 'carol']) desk.hears(node, { epochs: { db: node === 'bob' ? 7 : 1 } });
    desk.passes(TAKEOVER_MS, ['alice', 'bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored, null);
    equal(desk.claims('alice').grants[0]?.epoch, 8);
  });
});

describe('C4: after a restart', () => {
  test('every lease is suspect from now, and the wait counts from there on both clocks', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(60_000);
    desk.restarts();
    equal(desk.lease().suspectSince, desk.now);
    desk.passes(TAKEOVER_MS - 1, ['bob']);
    deepEqual(desk.claims('bob').grants, []);
    equal(desk.decision?.reasons[0]?.rule, 'lease-runs');
    desk.passes(1, ['bob']);
    equal(desk.claims('bob').grants.length, 1);
  });

  test('an earlier doubt stays on record: waking up again and again ends in a failover all the same', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts('i2');
    const { suspectSince } = desk.lease();
    for (const instance of ['i3', 'i4', 'i5']) {
      desk.passes(TAKEOVER_MS / 3);
      desk.restarts(instance);
      equal(desk.lease().suspectSince, suspectSince);
    }
    desk.passes(1);
    desk.hears('bob');
    equal(desk.claims('bob').grants.length, 1);
  });

  test('a renewal watched before the restart is no longer the newest', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const old = desk.state.volatile.renewals.db?.id ?? null;
    desk.restarts();
    desk.passes(60_000, ['bob']);
    deepEqual(desk.claims('bob', { renewal: old }).grants, []);
    equal(desk.decision?.reasons[0]?.rule, 'renewal-not-newest');
  });

  test('what was released stays free', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
    desk.restarts();
    equal(desk.lease().suspectSince, null);
    for (const node of ['bob', 'carol']) desk.hears(node);
    equal(desk.claims('alice', { seenForMs: 0 }).grants.length, 1);
  });

  test('what looks free is not granted before every node has told its epochs to this instance, or T_C has passed', () => {
    const desk = new Desk();
    desk.restarts();
    deepEqual(desk.claims('bob').grants, []);
    deepEqual(desk.decision?.reasons, [
      { rule: 'instance-new', waitingFor: ['alice', 'carol'], remainingMs: TAKEOVER_MS },
    ]);
    desk.hears('alice');
    desk.hearsWithoutEpochs('carol');
    deepEqual(desk.claims('bob').grants, []);
    desk.passes(TAKEOVER_MS);
    equal(desk.claims('bob').grants.length, 1);
  });

  test('a doubt from before the clock was set back does not block the takeover until that time comes again', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts('i2');
    desk.now -= 3_600_000;
    desk.restarts('i3');
    equal(desk.lease().suspectSince, desk.now);
  });
});

describe('a step back of the coordinator’s clock', () => {
  test('makes every lease suspect from now on, durably, and is told', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.now -= 60_000;
    desk.does({ type: 'tick' });
    equal(desk.lease().suspectSince, desk.now);
    deepEqual(desk.kinds, ['coordinator.clock-stepped']);
    desk.passes(TAKEOVER_MS, ['bob']);
    equal(desk.claims('bob').grants.length, 1, 'a takeover does not wait until the old time comes again');
  });

  test('counts an earlier doubt anew as well', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts();
    desk.now -= 60_000;
    desk.does({ type: 'tick' });
    equal(desk.lease().suspectSince, desk.now);
  });

  test('smaller than slewing changes nothing', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.now -= 9;
    desk.does({ type: 'tick' });
    equal(desk.lease().suspectSince, null);
  });

  test('does not keep a quarantine or the living from being what they are', () => {
    const desk = new Desk();
    desk.hears('bob', { quarantineMs: 500 });
    desk.now -= 60_000;
    desk.does({ type: 'tick' });
    deepEqual(
      [desk.state.volatile.nodes.bob?.readyAt, desk.state.volatile.nodes.bob?.lastSeenAt],
      [desk.now + 500, desk.now],
    );
  });

  test('after an operator’s word of death does not make the group wait for the old time', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.passes(leaseMs);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    desk.now -= 3_600_000;
    desk.does({ type: 'tick' });
    desk.passes(TAKEOVER_MS, ['bob']);
    equal(desk.claims('bob').grants.length, 1);
  });
});

describe('proof of death', () => {
  test('frees at once what its owner has confirmed, whatever the coordinator’s clock says of when', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(2_100, ['bob']);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    const reply = desk.claims('bob', { renewal: null, seenForMs: 0 });
    equal(reply.grants[0]?.epoch, 2);
    equal(desk.decision?.cause, 'declared-dead');
  });

  for (const renewed of [true, false])
    test(`of an owner that ${renewed ? 'renewed before its epoch was on disk' : 'never renewed'} frees T_C later, on both clocks`, () => {
      const desk = new Desk();
      desk.claims('alice');
      if (renewed) desk.hears('alice', { leases: [{ group: 'db', epoch: 1 }] });
      desk.passes(2_100, ['bob']);
      desk.does({ type: 'confirm-dead', node: 'alice' });
      deepEqual(desk.claims('bob').grants, []);
      desk.passes(TAKEOVER_MS, ['bob']);
      deepEqual(desk.claims('bob', { seenForMs: TAKEOVER_MS - 1 }).grants, []);
      equal(desk.claims('bob').grants.length, 1);
    });

  test('refuses the renewals of the dead from then on', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(2_100, ['bob']);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    equal(desk.renews('alice', 1).problem?.code, 'declared-dead');
  });

  test('refuses them also when a new incarnation has come and gone since', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(2_100, ['bob']);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    desk.hears('alice', { incarnation: 'alice-2' });
    desk.hears('alice', { incarnation: 'alice-2', retiring: true });
    equal(desk.renews('alice', 1).leases[0]?.verdict, 'refused');
  });
});

describe('the length of a lease', () => {
  const long = LEASE_PROFILES.wan.leaseMs;

  test('is what its owner counts: the wait follows the report, not the configuration', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.renews('alice', 1, { leaseMs: long });
    desk.passes(TAKEOVER_MS, ['bob']);
    deepEqual(desk.claims('bob').grants, []);
    desk.passes(takeoverWaitMs(long, LEASE_PROFILES.default.coordinatorMarginMs), ['bob']);
    deepEqual(desk.claims('bob').grants, [], 'the claimant has to have seen the longer wait as well');
    equal(desk.claims('bob', { seenForMs: 60_000 }).grants.length, 1);
  });

  test('is not shortened by a report of an older configuration that was overtaken on its way', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.renews('alice', 1, { leaseMs: long });
    desk.renews('alice', 1, { leaseMs, revision: 0 });
    equal(desk.lease().leaseMs, long);
    desk.claims('alice', {}, { leaseMs, revision: 0 });
    equal(desk.lease().leaseMs, long);
  });

  test('is shortened by a report of the present configuration', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.renews('alice', 1, { leaseMs: long });
    desk.renews('alice', 1, { leaseMs: 9_000 });
    equal(desk.lease().leaseMs, 9_000);
  });
});
