/** Guards of the lease keeper that nothing else would miss: `npm run mutants` takes each of them out. */
import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fuseInstant, LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Observation } from '../../schemas/wire.ts';
import { composeAsks } from './keep.ts';
import { free, grant, heldLease, Keeper, renewed, START } from './testing.ts';

const T = LEASE_PROFILES.default;

/** What alice asks its voters now, by voter. */
function asks(keeper: Keeper): Map<string, string> {
  let count = 0;
  const { state, questions } = composeAsks(keeper.state, () => `q${keeper.now}.${++count}`, keeper.now);
  keeper.state = state;
  return new Map(questions.map(({ to, id }) => [to, id]));
}

function promises(keeper: Keeper, id: string | undefined, from: string, group = 'db', epoch = 1): void {
  keeper.does({ type: 'promised', answer: { id: id ?? '', from, promised: [{ group, epoch }] } });
}

/** alice holds these groups, each with these voters, for another second less than a lease. */
function holding(voters: readonly string[], ...groups: readonly string[]): Keeper {
  const lease = heldLease({ epoch: 1, deadlineMs: START + T.leaseMs, voters: { version: 1, names: [...voters] } });
  const keeper = new Keeper({
    held: Object.fromEntries(groups.map((group) => [group, lease])),
    groups: Object.fromEntries(
      ['db', 'web'].map((group) => [group, { on: ['alice', 'bob', 'carol'], requiresUplink: false }]),
    ),
  });
  keeper.now += 1_000;
  return keeper;
}

test('a lease that was lost before its time is not petted by an answer that was under way', () => {
  const keeper = new Keeper();
  keeper.acquires();
  const report = keeper.sends();
  keeper.does({ type: 'unprotected', group: 'db' });
  keeper.now += 100;
  deepEqual(keeper.answered(report, { leases: [renewed(1)] }), []);
  equal(keeper.held?.deadlineMs, START + T.leaseMs);
});

test('I2: no pet is sent after the instant at which the fuse would act upon it', () => {
  const keeper = new Keeper({ timing: { ...T, stopMs: 100 } });
  keeper.acquires();
  const report = keeper.sends();
  const untilMs = keeper.now + T.leaseMs;
  keeper.now = fuseInstant(untilMs, T) + 10;
  deepEqual(keeper.answered(report, { leases: [renewed(1)] }), []);
  equal(keeper.held?.deadlineMs, untilMs, 'it is a renewal all the same');
});

test('C3: voters of an older version are not written to the guard again', () => {
  const keeper = holding(['alice', 'bob'], 'db');
  for (const [version, kinds] of [
    [3, ['pet', 'arm']],
    [2, ['pet']],
    [3, ['pet']],
  ] as const) {
    const report = keeper.sends();
    keeper.now += 20;
    keeper.answered(report, { leases: [{ ...renewed(1), voters: { version, names: ['alice', 'carol'] } }] });
    deepEqual(
      keeper.kinds.filter((kind) => kind !== 'pause'),
      kinds,
    );
  }
});

describe('a promise', () => {
  test('is refused while this node holds the group, and while it still stops it', () => {
    for (const phase of ['active', 'draining', 'lost', 'stuck'] as const) {
      const keeper = new Keeper({ held: { db: heldLease({ epoch: 3, deadlineMs: START + 2_000, phase }) } });
      for (const epoch of [3, 4]) {
        keeper.does({
          type: 'ask',
          ask: { id: 'q', from: 'bob', leaseMs: T.leaseMs, leases: [{ group: 'db', epoch }] },
        });
        const [answer] = keeper.effects;
        deepEqual(answer?.kind === 'answer' ? answer.promised : answer?.kind, [], `${phase}, epoch ${epoch}`);
      }
    }
  });

  test('to a question that was put to another voter counts for nobody', () => {
    const keeper = holding(['alice', 'bob', 'carol'], 'db');
    promises(keeper, asks(keeper).get('bob'), 'carol');
    promises(keeper, asks(keeper).get('bob'), 'bob');
    equal(keeper.held?.deadlineMs, START + T.leaseMs);
  });

  test('for a lease that its question did not name extends nothing', () => {
    const keeper = holding(['alice', 'bob'], 'db');
    const id = asks(keeper).get('bob');
    const web = heldLease({ epoch: 1, deadlineMs: START + T.leaseMs, voters: { version: 1, names: ['alice', 'bob'] } });
    keeper.state = { ...keeper.state, held: { ...keeper.state.held, web } };
    promises(keeper, id, 'bob', 'web');
    equal(keeper.state.held.web?.deadlineMs, START + T.leaseMs);
  });

  test('for an epoch that is over does not extend the one that followed', () => {
    const keeper = holding(['alice', 'bob'], 'db');
    const id = asks(keeper).get('bob');
    const { held } = keeper;
    if (held !== undefined) keeper.state = { ...keeper.state, held: { db: { ...held, epoch: 2 } } };
    promises(keeper, id, 'bob');
    equal(keeper.held?.deadlineMs, START + T.leaseMs);
  });

  test('of a higher epoch is written to disk before it is given, each time', () => {
    const keeper = new Keeper();
    for (const epoch of [3, 4, 4, 5]) {
      const before = keeper.state.epochs.db;
      const effects = keeper.does({
        type: 'ask',
        ask: { id: 'q', from: 'bob', leaseMs: T.leaseMs, leases: [{ group: 'db', epoch }] },
      });
      const [first] = effects;
      equal(first?.kind, before === epoch ? 'promise' : 'persist');
      if (first?.kind === 'persist') equal(first.epochs.db, epoch);
    }
  });
});

test('an owner that is the only voter does not go on by itself before the guard has its lease', () => {
  const keeper = new Keeper();
  keeper.answered(keeper.sends(), { observed: [free] });
  keeper.answered(keeper.sends(), { grants: [{ ...grant(1), voters: { version: 1, names: ['alice'] } }] });
  keeper.now += T.leaseMs - T.stopMs - 1;
  deepEqual(keeper.does({ type: 'tick' }), []);
  keeper.now += 1;
  keeper.does({ type: 'tick' });
  deepEqual(keeper.kinds, ['pet', 'lost', 'stop']);
});

test('C6: that an earlier epoch is kept does not confirm the one that followed', () => {
  const keeper = new Keeper({ epochs: { db: 1 } });
  keeper.answered(keeper.sends(), { observed: [free] });
  keeper.answered(keeper.sends(), { grants: [grant(2)] });
  keeper.does({ type: 'kept', group: 'db', epoch: 1, version: 1 });
  deepEqual(keeper.sends().leases, [{ group: 'db', epoch: 2 }]);
});

describe('C7: a start of the coordinator', () => {
  test('that is the newest heard is told to every other instance', () => {
    const keeper = new Keeper();
    for (const [instance, generation] of [
      ['i7', 7],
      ['i7', 7],
      ['i2', 2],
    ] as const)
      keeper.answered(keeper.sends(), { instance, generation });
    deepEqual(keeper.sends().coordinator, { generation: 7, instance: 'i7' });
  });

  test('later than any before is on disk with the answer that tells of it', () => {
    const keeper = new Keeper();
    const [effect] = keeper.answered(keeper.sends(), { instance: 'i7', generation: 7 });
    deepEqual(effect?.kind === 'persist' ? effect.coordinator : effect, { generation: 7, instance: 'i7' });
    deepEqual(keeper.answered(keeper.sends(), { instance: 'i7', generation: 7 }), []);
  });
});

test('C2: a claim does not leave before the renewal has been the newest for T_C', () => {
  const seen: Observation = { group: 'db', renewal: 'n1', claim: 'after', released: null, waitMs: T.takeoverMs };
  const keeper = new Keeper();
  keeper.answered(keeper.sends(), { observed: [seen] });
  const learnedMs = keeper.now;
  keeper.now = learnedMs + T.takeoverMs;
  deepEqual(keeper.sends().claims, [], 'a step of the clock may have passed before');
  keeper.now += 10;
  deepEqual(keeper.sends().claims, [{ group: 'db', renewal: 'n1', seenForMs: T.takeoverMs }]);
});
