import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { KeepEvent } from './keep.ts';
import { reportDue } from './keep.ts';
import { MAX_UNDER_WAY } from './keep-pace.ts';
import { free, Keeper, renewed } from './testing.ts';

const T = LEASE_PROFILES.default;

/** A keeper with as many reports under way as there may be; the first of them comes back with the list. */
function crowded(keeper = new Keeper()) {
  keeper.state = { ...keeper.state, nextReportMs: keeper.now + T.renewMs };
  const reports = Array.from({ length: MAX_UNDER_WAY }, () => keeper.sends());
  return { keeper, reports };
}

const due = (keeper: Keeper) => reportDue(keeper.state, keeper.now);

describe('with as many reports under way as there may be', () => {
  for (const event of [{ type: 'news' }, { type: 'nudge' }, { type: 'leave' }] as const satisfies readonly KeepEvent[])
    test(`${event.type} waits for an answer, and goes with the next report after it`, () => {
      const { keeper, reports } = crowded();
      keeper.does(event);
      ok(!due(keeper));
      keeper.now += 40;
      keeper.answered(reports[0] ?? { id: '' });
      ok(due(keeper));
      keeper.sends();
      keeper.now += 40;
      keeper.answered(reports[1] ?? { id: '' });
      ok(!due(keeper), 'it was told');
    });

  test('what has come up goes by the clock when no answer comes', () => {
    const { keeper } = crowded();
    keeper.does({ type: 'news' });
    keeper.now += T.retryMs;
    ok(due(keeper));
  });

  test('a release waits, too, and is told then', () => {
    const keeper = new Keeper();
    keeper.acquires();
    const { reports } = crowded(keeper);
    keeper.does({ type: 'stopped', group: 'db' });
    ok(!due(keeper));
    keeper.answered(reports[0] ?? { id: '' }, { leases: [renewed(1)] });
    ok(due(keeper));
    deepEqual(
      keeper.sends().releases.map(({ epoch }) => epoch),
      [1],
    );
  });

  test('a claim whose wait has ended is no reason for one more', () => {
    const { keeper, reports } = crowded();
    const waits = { ...free, renewal: 'alice/9', claim: 'after' as const, waitMs: 100 };
    keeper.answered(reports[0] ?? { id: '' }, { observed: [waits] });
    keeper.sends();
    keeper.now += 200;
    ok(!due(keeper));
    keeper.answered(reports[1] ?? { id: '' }, { observed: [waits] });
    ok(due(keeper));
  });

  test('another way to the coordinator is no reason to wait for what was sent on the one before', () => {
    const { keeper } = crowded();
    keeper.does({ type: 'other-way' });
    ok(due(keeper));
    equal(keeper.state.answered, keeper.state.sent);
  });

  test('a report that failed on its way is not waited for, and hurries nothing', () => {
    const { keeper, reports } = crowded();
    keeper.does({ type: 'lost-report', id: reports[1]?.id ?? '' });
    ok(!due(keeper));
    keeper.does({ type: 'lost-report', id: 'of another process' });
    keeper.does({ type: 'news' });
    ok(due(keeper));
  });

  test('a retry that is due is not put off by an answer that comes just then', () => {
    const { keeper, reports } = crowded();
    keeper.sends();
    keeper.now += T.retryMs + 3;
    ok(due(keeper));
    keeper.answered(reports[0] ?? { id: '' });
    ok(due(keeper));
  });

  test('an answer that was overtaken does not count the later ones as under way again', () => {
    const { keeper, reports } = crowded();
    keeper.answered(reports[1] ?? { id: '' });
    keeper.answered(reports[0] ?? { id: '' });
    keeper.does({ type: 'news' });
    ok(due(keeper));
  });
});

test('news that comes with every answer has one report follow another, however many the clock has sent meanwhile', () => {
  const keeper = new Keeper();
  const underWay = [keeper.sends()];
  let most = 0;
  for (let round = 0; round < 200; round += 1) {
    // each answer takes longer than the clock waits: a retry joins, and the answer brings news
    keeper.now += T.retryMs;
    if (due(keeper)) underWay.push(keeper.sends());
    keeper.answered(underWay.shift() ?? { id: '' });
    keeper.does({ type: 'news' });
    if (due(keeper)) underWay.push(keeper.sends());
    most = Math.max(most, underWay.length);
  }
  ok(most <= MAX_UNDER_WAY + 1, `${most} at once`);
});

test('a coordinator that answers late every time is told of once, and again when it was in time between', () => {
  const keeper = new Keeper();
  keeper.acquires();
  const alone = () => keeper.does({ type: 'tick' }).filter(({ kind }) => kind === 'alone').length;
  // bob promises all the time, so that nothing is lost meanwhile
  const promised = () => {
    const held = keeper.held;
    if (held === undefined) throw new Error('nothing is held');
    keeper.state = { ...keeper.state, held: { db: { ...held, deadlineMs: keeper.now + T.leaseMs } } };
  };
  let told = 0;
  for (let round = 0; round < 5; round += 1) {
    const report = keeper.sends();
    keeper.now += T.leaseMs - T.stopMs;
    promised();
    told += alone();
    keeper.answered(report, { leases: [renewed(1)] });
    keeper.now += 10;
    told += alone();
  }
  equal(told, 1);
  const inTime = keeper.sends();
  keeper.now += 20;
  keeper.answered(inTime, { leases: [renewed(1)] });
  equal(keeper.held?.alone, false);
  keeper.now += T.leaseMs - T.stopMs;
  promised();
  equal(alone(), 1);
});
