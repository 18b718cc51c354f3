import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES, takeoverWaitMs } from '../../schemas/limits.ts';
import type { Observation } from '../../schemas/wire.ts';
import { askDue, composeAsks, type KeepEffect, type KeepState, nextDue } from './keep.ts';
import { runningPromise } from './keep-promises.ts';
import { grant, heldLease, Keeper, renewed, START } from './testing.ts';

const T = LEASE_PROFILES.default;
const STEP = 10;

/** What alice asks of its voters now. */
function asks(keeper: Keeper) {
  let count = 0;
  const composed = composeAsks(keeper.state, () => `q${keeper.now}.${++count}`, keeper.now);
  keeper.state = composed.state;
  return composed.questions;
}

function promises(keeper: Keeper, id: string, from = 'bob', epoch = 1): readonly KeepEffect[] {
  return keeper.does({ type: 'promised', answer: { id, from, promised: [{ group: 'db', epoch }] } });
}

/** alice runs db in epoch 1, with these voters. */
function running(names: readonly string[] = ['alice', 'bob'], changes: Partial<KeepState> = {}): Keeper {
  const keeper = new Keeper(changes);
  keeper.acquires();
  const held = keeper.held;
  if (held === undefined) throw new Error('not granted');
  keeper.state = { ...keeper.state, held: { db: { ...held, voters: { version: 1, names: [...names] } } } };
  return keeper;
}

/** alice, a bystander, is asked by bob. */
function asked(keeper: Keeper, epoch: number, { from = 'bob', leaseMs = T.leaseMs, group = 'db' } = {}) {
  const effects = keeper.does({ type: 'ask', ask: { id: 'q', from, leaseMs, leases: [{ group, epoch }] } });
  const answer = effects.find((effect) => effect.kind === 'answer');
  if (answer?.kind !== 'answer') throw new Error('not answered');
  return { promised: answer.promised.length === 1, kinds: effects.map(({ kind }) => kind) };
}

const after = (renewal = 'n1', more: Partial<Observation> = {}): Observation => ({
  group: 'db',
  renewal,
  claim: 'after',
  released: null,
  waitMs: T.takeoverMs,
  ...more,
});

describe('O2: promises of the voters', () => {
  test('lengthen the lease as an answer of the coordinator does: from the sending of the question', () => {
    const keeper = running();
    keeper.now += 1_000;
    const sent = keeper.now;
    const [question] = asks(keeper);
    deepEqual(question, { to: 'bob', id: question?.id, leaseMs: T.leaseMs, leases: [{ group: 'db', epoch: 1 }] });
    keeper.now += 400;
    const [pet] = promises(keeper, question?.id ?? '');
    deepEqual([pet?.kind, keeper.held?.deadlineMs], ['pet', sent + T.leaseMs]);
    equal(keeper.held?.coordinatorMs, START + T.leaseMs, 'what the coordinator gave is kept apart');
  });

  test('count only when all other voters have promised, and as long as the earliest of them', () => {
    const keeper = running(['alice', 'bob', 'carol']);
    keeper.now += 500;
    const early = keeper.now;
    const first = asks(keeper).find(({ to }) => to === 'bob');
    deepEqual(promises(keeper, first?.id ?? ''), []);
    keeper.now += 500;
    const second = asks(keeper).find(({ to }) => to === 'carol');
    promises(keeper, second?.id ?? '', 'carol');
    equal(keeper.held?.deadlineMs, early + T.leaseMs);
  });

  test('of a question that was not put, of another node, of another epoch, or twice, count for nothing', () => {
    const keeper = running();
    keeper.now += 1_000;
    const id = asks(keeper)[0]?.id ?? '';
    deepEqual(promises(keeper, 'unknown'), []);
    deepEqual(promises(keeper, id, 'carol'), []);
    deepEqual(promises(keeper, id, 'bob', 2), []);
    const again = asks(keeper)[0]?.id ?? '';
    promises(keeper, again);
    const deadlineMs = keeper.held?.deadlineMs;
    promises(keeper, again);
    equal(keeper.held?.deadlineMs, deadlineMs);
  });

  test('do not revive a lease that is lost, nor one that would have to be stopped by now', () => {
    const keeper = running();
    const id = asks(keeper)[0]?.id ?? '';
    keeper.now = START + T.leaseMs - T.stopMs;
    deepEqual(
      promises(keeper, id).map(({ kind }) => kind),
      ['pet', 'lost', 'stop'],
    );
    const later = asks(keeper)[0];
    equal(later, undefined, 'nothing is asked for a lost lease');
    equal(keeper.held?.phase, 'lost');
  });

  test('carry the group through an outage, which is told once', () => {
    const keeper = running();
    const told: string[] = [];
    for (let passed = 0; passed < 60_000; passed += T.retryMs) {
      keeper.now += T.retryMs;
      keeper.sends();
      const id = asks(keeper)[0]?.id ?? '';
      keeper.now += STEP;
      told.push(...promises(keeper, id).map(({ kind }) => kind));
      told.push(...keeper.does({ type: 'tick' }).map(({ kind }) => kind));
    }
    equal(keeper.held?.phase, 'active');
    equal(told.filter((kind) => kind === 'alone').length, 1);
    const report = keeper.sends();
    keeper.now += STEP;
    keeper.answered(report, { leases: [renewed(1)] });
    equal(keeper.held?.alone, false);
  });

  test('that end lose the lease by what is left of them, and the reason names who did not promise', () => {
    const keeper = running(['alice', 'bob', 'carol']);
    for (const { to, id } of asks(keeper)) promises(keeper, id, to);
    keeper.now += 1_000;
    const bob = asks(keeper).find(({ to }) => to === 'bob');
    promises(keeper, bob?.id ?? '');
    keeper.now = START + 20 + T.leaseMs - T.stopMs;
    const lost = keeper.does({ type: 'tick' }).find(({ kind }) => kind === 'lost');
    match(lost?.kind === 'lost' ? lost.why : '', /no renewal was answered for 2500 ms, and carol did not promise/);
  });

  test('are not asked for, nor counted, where the group requires its uplink', () => {
    const keeper = running(['alice', 'bob'], { groups: { db: { on: ['alice', 'bob'], requiresUplink: true } } });
    equal(askDue(keeper.state), undefined);
    deepEqual(asks(keeper), []);
    equal(keeper.sends().leases[0]?.backed, false);
    const alone = running(['alice'], { groups: { db: { on: ['alice', 'bob'], requiresUplink: true } } });
    alone.now = START + T.leaseMs - T.stopMs;
    deepEqual(
      alone.does({ type: 'tick' }).map(({ kind }) => kind),
      ['pet', 'lost', 'stop'],
    );
  });

  test('are asked for with every report, and at the pace of retries while nobody answers those', () => {
    const keeper = running();
    keeper.renews();
    asks(keeper);
    equal(askDue(keeper.state), keeper.now + 0.75 * T.renewMs);
    keeper.sends();
    keeper.now += T.retryMs;
    keeper.sends();
    equal(askDue(keeper.state), keeper.state.askedMs + T.retryMs);
    asks(keeper);
    equal(nextDue(keeper.state, keeper.now) <= keeper.now + T.retryMs, true);
  });

  test('nobody has to give where the owner is the only voter: it goes on by itself', () => {
    const keeper = running(['alice']);
    for (let passed = 0; passed < 30_000; passed += T.renewMs) {
      keeper.now += T.renewMs;
      keeper.does({ type: 'tick' });
    }
    equal(keeper.held?.phase, 'active');
    equal(keeper.sends().leases[0]?.backed, true);
  });

  test('of many groups are asked for in messages that fit into one datagram each', () => {
    const groups = Array.from({ length: 25 }, (_, index) => `g${index}`);
    const lease = heldLease({ epoch: 1, deadlineMs: START + 4_000, voters: { version: 1, names: ['alice', 'bob'] } });
    const keeper = new Keeper({ held: Object.fromEntries(groups.map((group) => [group, lease])) });
    deepEqual(
      asks(keeper).map(({ leases }) => leases.length),
      [10, 10, 5],
    );
  });
});

describe('C3: other voters', () => {
  const voters = { version: 2, names: ['alice', 'carol'] };
  const told = (keeper: Keeper) => {
    const report = keeper.sends();
    keeper.now += STEP;
    return keeper.answered(report, { leases: [{ ...renewed(1), voters }] });
  };

  test('are named by a request only when the guard has them; until then the old ones count', () => {
    const keeper = running();
    const arm = told(keeper).find(({ kind }) => kind === 'arm');
    deepEqual(arm?.kind === 'arm' ? arm.voters : undefined, voters);
    deepEqual([keeper.held?.voters.version, keeper.sends().leases[0]?.voters], [1, 1]);
    deepEqual(
      asks(keeper).map(({ to }) => to),
      ['bob', 'carol'],
      'both are asked, so that the change opens no gap',
    );
    equal(
      told(keeper).some(({ kind }) => kind === 'arm'),
      false,
      'not written twice',
    );
    keeper.does({ type: 'kept', group: 'db', epoch: 1, version: 2 });
    deepEqual([keeper.held?.voters, keeper.sends().leases[0]?.voters], [voters, 2]);
  });

  test('of an older version are not taken back', () => {
    const keeper = running();
    told(keeper);
    keeper.does({ type: 'kept', group: 'db', epoch: 1, version: 2 });
    const report = keeper.sends();
    keeper.now += STEP;
    keeper.answered(report, { leases: [{ ...renewed(1), voters: { version: 1, names: ['alice', 'bob'] } }] });
    deepEqual(keeper.held?.voters, voters);
  });

  test('C6: a renewal names none before the epoch is on disk and in the guard', () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [{ ...after(), claim: 'now' }] });
    const claim = keeper.sends();
    keeper.answered(claim, { grants: [grant(1)] });
    deepEqual(keeper.sends().leases, [{ group: 'db', epoch: 1 }]);
    keeper.does({ type: 'kept', group: 'db', epoch: 1, version: 1 });
    equal(keeper.sends().leases[0]?.voters, 1);
  });
});

describe('P1: a promise', () => {
  test('is written to disk if its epoch is new, then into the guard, then answered', () => {
    const keeper = new Keeper();
    const { promised, kinds } = asked(keeper, 3);
    deepEqual([promised, kinds], [true, ['persist', 'promise', 'answer']]);
    deepEqual(asked(keeper, 3).kinds, ['promise', 'answer']);
    equal(keeper.state.epochs.db, 3);
  });

  test('lasts for T_P of the lease as the owner counts it, and never ends early by a step of the clock', () => {
    const keeper = new Keeper();
    asked(keeper, 3, { leaseMs: 15_000 });
    equal(keeper.state.promises.db?.untilMs, START + STEP + takeoverWaitMs(15_000, T.promiseMarginMs));
    asked(keeper, 3);
    equal(keeper.state.promises.db?.untilMs, START + STEP + takeoverWaitMs(15_000, T.promiseMarginMs), 'not shortened');
    keeper.now += takeoverWaitMs(15_000, T.promiseMarginMs);
    equal(runningPromise(keeper.state, 'db', keeper.now) === undefined, false);
    keeper.now += STEP;
    equal(runningPromise(keeper.state, 'db', keeper.now), undefined);
  });

  const refusals: [string, (keeper: Keeper) => void, Parameters<typeof asked>[1], Parameters<typeof asked>[2]][] = [
    ['below the highest epoch seen', (keeper) => asked(keeper, 3, { from: 'carol' }), 2, {}],
    ['for a group that this node holds', (keeper) => keeper.acquires(3), 3, {}],
    [
      'for one that it still stops',
      (keeper) => {
        keeper.acquires(3);
        keeper.does({ type: 'unprotected', group: 'db' });
      },
      4,
      {},
    ],
    [
      'while a claim of this node is under way',
      (keeper) => {
        keeper.answered(keeper.sends(), { observed: [{ ...after(), claim: 'now' }] });
        keeper.sends();
      },
      1,
      {},
    ],
    ['to a second owner of the same epoch', (keeper) => asked(keeper, 3, { from: 'carol' }), 3, {}],
    ['for a group that is not configured here', () => undefined, 1, { group: 'web' }],
    ['to a node that may not run the group', () => undefined, 1, { from: 'mallory' }],
    ['for an epoch out of all proportion, which would end the counting', () => undefined, 2 ** 39, {}],
  ];
  for (const [what, before, epoch, more] of refusals)
    test(`is refused ${what}`, () => {
      const keeper = new Keeper();
      before(keeper);
      equal(asked(keeper, epoch, more).promised, false);
    });

  test('goes on to an owner that the document has just left out', () => {
    const keeper = new Keeper();
    asked(keeper, 1);
    keeper.state = { ...keeper.state, groups: { db: { on: ['alice'], requiresUplink: false } } };
    equal(asked(keeper, 1).promised, true);
  });

  test('is given again when the claim is too old to be granted', () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [{ ...after(), claim: 'now' }] });
    keeper.sends();
    keeper.now += T.leaseMs;
    equal(asked(keeper, 1).promised, true);
  });

  test('P3: the longest one is known to the next incarnation, for as long as it may run', () => {
    const keeper = new Keeper();
    const long = takeoverWaitMs(15_000, T.promiseMarginMs);
    asked(keeper, 3, { leaseMs: 15_000 });
    const persisted = keeper.effects.find(({ kind }) => kind === 'persist');
    equal(persisted?.kind === 'persist' ? persisted.promiseMs : 0, long);
    asked(keeper, 3);
    equal(keeper.state.longestPromise.ms, long);
    keeper.now += long + 2 * STEP;
    asked(keeper, 3);
    equal(keeper.state.longestPromise.ms, T.promiseMs);
    equal(
      keeper.effects.some(({ kind }) => kind === 'persist'),
      true,
    );
  });
});

describe('P2, P4: a node that has promised', () => {
  /** alice has seen the same renewal for T_C, and has promised bob less than T_P ago. */
  const kept = () => {
    const keeper = new Keeper();
    keeper.answered(keeper.sends(), { observed: [after()] });
    keeper.now += T.takeoverMs - 1_000;
    asked(keeper, 1);
    keeper.now += 1_000 + STEP;
    return keeper;
  };

  test('does not claim before that is over, says so meanwhile, and then claims at once', () => {
    const keeper = kept();
    const report = keeper.sends();
    deepEqual([report.claims, report.promised], [[], [{ group: 'db', epoch: 1 }]]);
    const until = keeper.state.promises.db?.untilMs ?? 0;
    keeper.answered(report, { observed: [after()], renewInMs: 60_000 });
    equal(nextDue(keeper.state, keeper.now), until);
    keeper.now = until;
    const claim = keeper.sends();
    deepEqual([claim.claims.length, claim.promised], [1, undefined]);
  });

  test('claims at once what was released: the promise is void', () => {
    const keeper = kept();
    keeper.answered(keeper.sends(), { observed: [after('n1', { claim: 'now', released: 1 })] });
    const claim = keeper.sends();
    equal(claim.claims.length, 1);
    keeper.answered(claim, { grants: [{ ...grant(2), released: 1 }] });
    equal(keeper.held?.epoch, 2);
    equal(keeper.state.promises.db, undefined);
  });

  test('does not act upon a grant that follows no release, nor the release of an earlier epoch', () => {
    for (const released of [null, 0]) {
      const keeper = new Keeper();
      keeper.answered(keeper.sends(), { observed: [{ ...after(), claim: 'now' }] });
      const claim = keeper.sends();
      keeper.state = { ...keeper.state, promises: { db: { owner: 'bob', epoch: 1, untilMs: keeper.now + 1_000 } } };
      deepEqual(keeper.answered(claim, { grants: [{ ...grant(2), released }] }), []);
      equal(keeper.held, undefined);
    }
  });

  test('O5: releases nothing meanwhile: neither what it has stopped, nor what was granted to it again', () => {
    const promise = { db: { owner: 'bob', epoch: 1, untilMs: START + 60_000 } };
    const stopped = new Keeper();
    stopped.acquires(3);
    stopped.state = { ...stopped.state, promises: promise };
    stopped.does({ type: 'stopped', group: 'db' });
    deepEqual(stopped.sends().releases, []);
    const again = new Keeper({ epochs: { db: 3 } });
    again.answered(again.sends(), { observed: [{ ...after(), claim: 'now' }] });
    const claim = again.sends();
    again.state = { ...again.state, promises: promise };
    again.answered(claim, { grants: [grant(3)] });
    deepEqual(again.sends().releases, []);
    again.now = START + 60_000;
    again.answered(claim, { grants: [grant(3)] });
    equal(again.sends().releases.length, 1);
  });
});
