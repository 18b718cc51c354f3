import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES, VOTER_LOST_MS } from '../../schemas/limits.ts';
import { nextTick, restart } from './decide.ts';
import { statusOf } from './explain.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';
import { eligibleVoters } from './voters.ts';

const { renewMs, leaseMs } = LEASE_PROFILES.default;
const ALL = ['alice', 'bob', 'carol'];

/** Time passes while alice renews epoch 1 and these report; ticks come. */
function lasts(desk: Desk, ms: number, others: readonly string[], voters?: number): void {
  for (let passed = 0; passed < ms; passed += renewMs) {
    desk.passes(renewMs, others);
    desk.renews('alice', 1, voters === undefined ? {} : { leases: [{ group: 'db', epoch: 1, voters }] });
    desk.does({ type: 'tick' });
  }
}

/** alice owns epoch 1, confirmed, and carol was lost long enough to be dropped: the change waits for alice. */
function dropping(): Desk {
  const desk = new Desk();
  desk.runsOn('alice');
  lasts(desk, VOTER_LOST_MS + renewMs, ['bob'], 1);
  return desk;
}

describe('C3: the voters of a lease', () => {
  test('are its owner and every node of `on` that is there', () => {
    const desk = new Desk(config({ db: ['bob', 'alice'] }));
    desk.claims('bob');
    deepEqual(desk.lease().voters, { version: 1, names: ['bob', 'alice'] });
  });

  test('keep one that is lost for a minute, and no longer; nothing else has to happen for that', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    lasts(desk, VOTER_LOST_MS - renewMs, ['bob']);
    deepEqual([desk.lease().pendingVoters, desk.lease().voters.names], [null, ALL]);
    const due = nextTick(desk.state, desk.now) ?? 0;
    equal(due <= desk.now + renewMs, true);
    lasts(desk, 2 * renewMs, ['bob'], 1);
    deepEqual(desk.lease().pendingVoters, ['alice', 'bob']);
  });

  test('change one step at a time, told with the renewal, complete when the request carries it', () => {
    const desk = dropping();
    const told = desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 1 }] }).leases[0];
    deepEqual(told?.verdict === 'renewed' ? told.voters : undefined, { version: 2, names: ['alice', 'bob'] });
    equal(desk.lease().voters.version, 1);
    desk.hears('carol');
    deepEqual(desk.lease().pendingVoters, ['alice', 'bob'], 'no second change while one is under way');
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    equal(desk.lease().voters.version, 2);
    deepEqual(desk.lease().pendingVoters, ALL, 'carol is back, that is the next one');
    const again = desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 1 }] }).leases[0];
    equal(again?.verdict === 'renewed' ? again.voters?.version : 0, 3, 'an older version completes nothing');
    equal(desk.lease().voters.version, 2);
  });

  test('while a change is under way only who is in both may take over', () => {
    const desk = dropping();
    deepEqual(eligibleVoters(desk.lease()), ['alice', 'bob']);
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    desk.hears('carol');
    desk.does({ type: 'tick' });
    deepEqual([desk.lease().voters.names, desk.lease().pendingVoters], [['alice', 'bob'], ALL]);
    deepEqual(eligibleVoters(desk.lease()), ['alice', 'bob'], 'alice may not know of carol yet');
  });

  test('drop at once a node that shuts down, that was removed, or that refuses the group', () => {
    for (const leaves of [
      (desk: Desk) => desk.hears('carol', { leaving: true }),
      (desk: Desk) => desk.does({ type: 'node-remove', node: 'carol', force: true }),
      (desk: Desk) => desk.hears('carol', { refusals: [{ group: 'db', resource: 'ip', reason: 'policy' }] }),
    ]) {
      const desk = new Desk();
      desk.runsOn('alice');
      leaves(desk);
      deepEqual(desk.lease().pendingVoters, ['alice', 'bob']);
    }
  });

  test('keep one in standby: it promises as well as any', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'node-standby', node: 'carol', operation: 'o' });
    equal(desk.lease().pendingVoters, null);
  });

  test('are left as they are while their owner is not heard of: nobody would take a change up', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    for (let passed = 0; passed < 2 * VOTER_LOST_MS; passed += renewMs) {
      desk.passes(renewMs, ['bob']);
      desk.does({ type: 'tick' });
    }
    equal(desk.lease().pendingVoters, null);
    deepEqual(eligibleVoters(desk.lease()), ALL);
  });
});

describe('C2, C3: a takeover', () => {
  test('is refused to a node that does not vote, with who may', () => {
    const desk = dropping();
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    desk.passes(TAKEOVER_MS + leaseMs, ['carol']);
    deepEqual(desk.claims('carol').grants, []);
    deepEqual(desk.decision?.reasons, [{ rule: 'not-voter', voters: ['alice', 'bob'] }]);
    equal(statusOf(desk.state, desk.now).groups.db?.state, 'waiting');
    match(statusOf(desk.state, desk.now).groups.db?.reason ?? '', /carol was no voter/);
    desk.hears('bob');
    equal(desk.claims('bob').grants.length, 1);
  });

  test('is open to everybody after a release, and the grant says which promises are void, also when it is repeated', () => {
    const desk = dropping();
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    desk.does({ type: 'move', group: 'db', to: null, operation: 'o' });
    desk.hears('carol');
    desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
    equal(eligibleVoters(desk.lease()), null);
    equal(desk.hears('bob').observed[0]?.released, 1);
    equal(desk.claims('bob').grants[0]?.released, 1);
    equal(desk.claims('bob').grants[0]?.released, 1);
  });

  test('after the wait voids no promise', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS, ['bob', 'carol']);
    equal(desk.claims('bob').grants[0]?.released, null);
  });

  test('C6: until an epoch is confirmed only who could have been granted it counts', () => {
    const desk = dropping();
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    desk.passes(TAKEOVER_MS + leaseMs, ['carol', 'bob']);
    equal(desk.claims('bob').grants[0]?.epoch, 2);
    deepEqual(desk.lease().voters.names, ['bob', 'alice', 'carol']);
    deepEqual(eligibleVoters(desk.lease()), ['bob', 'alice'], 'alice may live on without carol');
    desk.hears('bob', { leases: [{ group: 'db', epoch: 2 }] });
    deepEqual(eligibleVoters(desk.lease()), ['bob', 'alice'], 'a renewal before the epoch is on disk confirms nothing');
    desk.hears('bob', { leases: [{ group: 'db', epoch: 2, voters: 1 }] });
    deepEqual(eligibleVoters(desk.lease()), ['bob', 'alice', 'carol']);
  });

  test('is open to everybody after a word that the owner is off, also long after its lease has expired', () => {
    const desk = dropping();
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    for (let passed = 0; passed < 60_000; passed += renewMs) desk.passes(renewMs, ['carol']);
    deepEqual(desk.claims('carol').grants, []);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    match(desk.events[0]?.detail ?? '', /freed: db/);
    equal(desk.claims('carol').grants.length, 1);
  });

  test('0014: a proof of death widens who may only if the epoch was confirmed', () => {
    const desk = dropping();
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    desk.passes(TAKEOVER_MS + leaseMs, ['carol', 'bob']);
    desk.claims('bob');
    desk.passes(2_100, ['carol']);
    desk.does({ type: 'confirm-dead', node: 'bob' });
    deepEqual(eligibleVoters(desk.lease()), ['bob', 'alice']);
    const confirmed = dropping();
    confirmed.passes(leaseMs + 1, ['carol']);
    confirmed.does({ type: 'confirm-dead', node: 'alice' });
    equal(eligibleVoters(confirmed.lease()), null);
    equal(confirmed.claims('carol', { renewal: null, seenForMs: 0 }).grants.length, 1);
  });
});

describe('an operator’s word about what ran before', () => {
  const waiting = (on: readonly string[] = ALL) => {
    const desk = new Desk(config({ db: [...on] }));
    desk.runsOn('alice');
    lasts(desk, VOTER_LOST_MS + renewMs, [], 1);
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    deepEqual(eligibleVoters(desk.lease()), ['alice'], 'alone for a minute');
    desk.passes(TAKEOVER_MS + leaseMs, on.slice(1));
    return desk;
  };

  test('counts also for a node that was taken out of the cluster before it was said', () => {
    const desk = waiting();
    desk.does({ type: 'node-remove', node: 'alice', force: false });
    deepEqual(desk.claims('bob').grants, []);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    match(desk.events[0]?.detail ?? '', /freed: db/);
    desk.passes(TAKEOVER_MS, ['bob']);
    equal(desk.claims('bob').grants[0]?.epoch, 2);
    equal(desk.does({ type: 'confirm-dead', node: 'alice' }).refused?.code, 'node-unknown', 'nothing is left to say');
  });

  test('counts where the machine was replaced by one of the same name, and does that one no harm', () => {
    const desk = waiting(['alice']);
    desk.does({ type: 'node-remove', node: 'alice', force: false });
    desk.does({ type: 'enrol', node: 'alice', publicKey: 'another key' });
    const told = { incarnation: 'alice-2' };
    desk.hears('alice', told);
    deepEqual(desk.claims('alice', {}, told).grants, []);
    match(JSON.stringify(statusOf(desk.state, desk.now).groups.db), /nor was any machine that is here now/);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    equal(desk.state.durable.nodes.alice?.declaredDead, null, 'the new machine lives');
    desk.passes(TAKEOVER_MS);
    equal(desk.claims('alice', {}, told).grants[0]?.epoch, 2);
    equal(desk.does({ type: 'confirm-dead', node: 'alice' }).refused?.code, 'node-alive');
  });

  test('says who is left where an epoch was not confirmed: one of them has to come back', () => {
    const desk = dropping();
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 2 }] });
    desk.passes(TAKEOVER_MS + leaseMs, ['bob', 'carol']);
    desk.claims('bob');
    desk.passes(TAKEOVER_MS + leaseMs, ['carol']);
    for (const node of ['bob', 'alice']) desk.does({ type: 'confirm-dead', node });
    desk.passes(TAKEOVER_MS, ['carol']);
    deepEqual(desk.claims('carol').grants, []);
    desk.does({ type: 'confirm-dead', node: 'bob' });
    match(desk.events[0]?.detail ?? '', /db may be taken over by bob, alice alone.*one of them has to come back/);
    const told = { incarnation: 'alice-2' };
    desk.hears('alice', told);
    equal(desk.claims('alice', {}, told).grants[0]?.epoch, 3);
  });
});

describe('a group whose owner lives on promises', () => {
  test('is shown as degraded, by whose promise, and nobody is passed over for it', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    for (let passed = 0; passed < 120_000; passed += renewMs) {
      desk.passes(renewMs, ['carol']);
      desk.hears('bob', passed > TAKEOVER_MS ? { promised: [{ group: 'db', epoch: 1 }] } : {});
      desk.does({ type: 'tick' });
    }
    const shown = statusOf(desk.state, desk.now).groups.db;
    equal(shown?.state, 'degraded');
    match(shown?.reason ?? '', /alice does not reach the coordinator and runs it on by the promise of bob/);
    deepEqual(desk.state.volatile.awaited, {});
    equal(desk.renews('alice', 1).leases[0]?.verdict, 'renewed', 'it goes on when its owner is heard of again');
    desk.hears('bob');
    equal(statusOf(desk.state, desk.now).groups.db?.state, 'running');
  });

  test('is told of with the very report that says so, and of its end', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS + 1, ['carol']);
    desk.does({ type: 'tick' });
    desk.hears('bob', { promised: [{ group: 'db', epoch: 1 }] });
    equal(desk.kinds.includes('group.degraded'), true);
    desk.hears('bob', { promised: [{ group: 'db', epoch: 1 }] });
    deepEqual(desk.kinds, []);
    desk.hears('bob');
    equal(desk.group().shown === 'degraded', false);
  });

  test('is granted to nobody, not even to another incarnation of its owner or after a word that it is off', () => {
    for (const [claimant, told] of [
      ['alice', { incarnation: 'alice-2' }],
      ['carol', {}],
    ] as const) {
      const desk = new Desk();
      desk.runsOn('alice');
      desk.passes(TAKEOVER_MS + leaseMs, ['carol']);
      desk.hears(claimant, told);
      desk.hears('bob', { promised: [{ group: 'db', epoch: 1 }] });
      if (claimant === 'carol') desk.does({ type: 'confirm-dead', node: 'alice' });
      deepEqual(desk.claims(claimant, {}, told).grants, []);
      desk.hears('bob', { leaving: true });
      equal(desk.claims(claimant, {}, told).grants.length, 1);
    }
  });

  test('keeps its voters when it is taken out of the configuration and put back', () => {
    const desk = new Desk(config({ db: ['alice', 'bob'] }));
    desk.runsOn('alice');
    desk.does({ type: 'apply', config: config({}) });
    for (let passed = 0; passed < 60_000; passed += renewMs) {
      desk.passes(renewMs, ['carol']);
      desk.does({ type: 'tick' });
    }
    equal(desk.group().lease?.epoch, 1);
    match(statusOf(desk.state, desk.now).groups.db?.reason ?? '', /removed from the configuration; alice is lost/);
    desk.does({ type: 'apply', config: config({ db: ['alice', 'bob', 'carol'] }) });
    desk.hears('carol');
    deepEqual(desk.claims('carol').grants, []);
    deepEqual(desk.decision?.reasons, [{ rule: 'not-voter', voters: ['alice', 'bob'] }]);
  });

  test('is forgotten when it was removed and its owner is proven dead, has given it back, or speaks as another incarnation', () => {
    for (const ends of [
      (desk: Desk) => desk.does({ type: 'confirm-dead', node: 'alice' }),
      (desk: Desk) => desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] }),
      (desk: Desk) => desk.hears('alice', { incarnation: 'alice-2' }),
    ]) {
      const desk = new Desk();
      desk.runsOn('alice');
      desk.does({ type: 'apply', config: config({}) });
      desk.passes(TAKEOVER_MS + 1, ['carol']);
      ends(desk);
      desk.does({ type: 'tick' });
      equal(desk.state.durable.groups.db, undefined);
    }
  });

  test('is not forgotten for a machine that was joined anew under its owner’s name: that proves nothing of the one before', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS + 1, ['carol']);
    desk.does({ type: 'enrol', node: 'alice', publicKey: 'another key' });
    desk.does({ type: 'apply', config: config({}) });
    desk.hears('alice', { incarnation: 'alice-2' });
    desk.does({ type: 'tick' });
    equal(desk.lease().epoch, 1);
  });

  test('is no longer so when the promise was to an earlier epoch', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(TAKEOVER_MS + 1, ['carol']);
    desk.hears('bob', { promised: [{ group: 'db', epoch: 0 }] });
    equal(statusOf(desk.state, desk.now).groups.db?.state === 'degraded', false);
  });
});

describe('C7: data that is older than the cluster', () => {
  test('is betrayed by a node that has heard a later start of the coordinator, or another one of the same count', () => {
    for (const heard of [
      { generation: 9, instance: 'i9' },
      { generation: 2, instance: 'another' },
    ]) {
      const desk = new Desk();
      desk.runsOn('alice');
      desk.restarts('i2');
      desk.hears('bob', { coordinator: heard });
      equal(desk.state.durable.restored === null, false);
      equal(desk.state.durable.generation, heard.generation + 1, 'from then on this is the later one');
      equal(desk.kinds.includes('coordinator.restored'), true);
    }
  });

  test('is betrayed by a node that has heard of a change of voters since it was saved', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const saved = desk.state.durable;
    lasts(desk, VOTER_LOST_MS + renewMs, ['bob'], 1);
    const { generation } = desk.hears('bob');
    desk.state = restart(saved, 'i2', desk.now).state;
    desk.hears('bob', { coordinator: { generation, instance: 'i1' } });
    equal(desk.state.durable.restored === null, false);
  });

  test('is betrayed also by a node that it takes for another, and refuses', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts('i2');
    const refused = desk.hears('alice', { incarnation: 'alice-2', leases: [{ group: 'db', epoch: 2 }] });
    equal(refused.problem?.code, 'identity-conflict');
    equal(desk.kinds.includes('coordinator.restored'), true);
    deepEqual(desk.state.durable.restored?.reported, []);
    equal(desk.state.durable.highestEpochs.db, 2);
  });

  test('a copy that was taken while an earlier restore was waited out does not believe what it says of who has reported', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('bob', { epochs: { db: 9 } });
    desk.restarts('i2');
    deepEqual(desk.state.durable.restored?.reported, []);
    desk.passes(10 * TAKEOVER_MS, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored === null, false);
    desk.hears('alice');
    desk.passes(TAKEOVER_MS - 1, ALL);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored === null, false, 'the last to report may still be stopping');
    desk.passes(1, ALL);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.restored, null);
  });

  test('is not suspected after an ordinary restart', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.restarts('i2');
    desk.hears('bob', { coordinator: { generation: 1, instance: 'i1' } });
    desk.hears('carol', { coordinator: { generation: 2, instance: 'i2' } });
    equal(desk.state.durable.restored, null);
    equal(desk.hears('bob').generation, 2);
  });

  test('does not know the voters that its owner names: nobody else takes over before the next change', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('alice', { leases: [{ group: 'db', epoch: 1, voters: 4 }] });
    deepEqual(eligibleVoters(desk.lease()), ['alice']);
    deepEqual(desk.lease().pendingVoters, ALL);
    desk.hears('alice', { leases: [{ group: 'db', epoch: 1, voters: 5 }] });
    deepEqual(eligibleVoters(desk.lease()), ALL);
  });
});

describe('a machine that is joined anew under the name of a voter', () => {
  const rejoined = (name: string) => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.does({ type: 'node-remove', node: name, force: true });
    desk.does({ type: 'enrol', node: name, publicKey: 'another key' });
    desk.hears(name, { incarnation: `${name}-2` });
    return desk;
  };

  test('does not take over on the strength of promises that it knows nothing of, also if it has the owner’s name', () => {
    deepEqual(eligibleVoters(rejoined('bob').lease()), ['alice', 'carol']);
    deepEqual(eligibleVoters(rejoined('alice').lease()), ['bob', 'carol']);
  });

  test('votes again when the owner has let go of the one before and taken up this one', () => {
    const desk = rejoined('bob');
    for (const [voters, eligible] of [
      [1, ['alice', 'carol']],
      [2, ['alice', 'carol']],
      [3, ALL],
    ] as const) {
      desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters }] });
      deepEqual([...(eligibleVoters(desk.lease()) ?? [])].sort(), eligible);
    }
  });
});

describe('a group that is stopped while its owner is not heard of', () => {
  const stopping = (others: readonly string[]) => {
    const desk = new Desk(config({ db: ['alice', 'bob'] }));
    desk.runsOn('alice');
    desk.renews('alice', 1, { leases: [{ group: 'db', epoch: 1, voters: 1, backed: true }] });
    desk.does({ type: 'group-stop', group: 'db', operation: 'o' });
    for (let passed = 0; passed < TAKEOVER_MS + leaseMs; passed += renewMs) desk.passes(renewMs, others);
    return desk;
  };
  const ended = (desk: Desk) =>
    desk.effects.flatMap((effect) => (effect.kind === 'operation' ? [effect.operation] : []))[0];

  test('is stopped for certain when a voter that it would need does not keep out for it', () => {
    const desk = stopping(['bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(ended(desk)?.state, 'succeeded');
  });

  test('is not said to be stopped while a voter keeps out for it, nor when no voter is heard', () => {
    const kept = stopping(['carol']);
    kept.hears('bob', { promised: [{ group: 'db', epoch: 1 }] });
    match(kept.state.durable.operations.o?.progress ?? '', /alice has to hear of it: .* by the promise of bob/);
    const unknown = stopping(['carol']);
    unknown.does({ type: 'tick' });
    equal(ended(unknown)?.state, 'failed');
    match(ended(unknown)?.progress ?? '', /nobody knows whether it is down: .*`holdfast confirm-dead alice`/);
  });
});

test('C3: an owner that the document leaves out keeps the voters it has until it has given the group back', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  desk.does({ type: 'apply', config: config({ db: ['bob', 'carol'] }) });
  for (let passed = 0; passed < VOTER_LOST_MS + renewMs; passed += renewMs) {
    desk.passes(renewMs, ['bob']);
    desk.renews('alice', 1);
  }
  equal(desk.lease().pendingVoters, null);
});
