import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TAKE_PATIENCE_MS } from '../../schemas/limits.ts';
import { nextTick } from './decide.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

/** Everybody reports, and nobody claims unless told to. */
function waits(desk: Desk, ms: number, nodes: readonly string[] = ['alice', 'bob', 'carol']): void {
  for (const until = desk.now + ms; desk.now < until; ) {
    desk.passes(Math.min(1_000, until - desk.now), nodes);
    desk.does({ type: 'tick' });
  }
}

const moving = () => {
  const desk = new Desk();
  const epoch = desk.runsOn('alice');
  desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'm' });
  desk.hears('alice', { releases: [{ group: 'db', epoch }] });
  return desk;
};
const mayClaim = (desk: Desk, node: string) => desk.hears(node).observed[0]?.claim;

describe('a node that is to take a group and does not', () => {
  test('ends the move after its time, and the next node may take the group', () => {
    const desk = moving();
    waits(desk, TAKE_PATIENCE_MS - 1);
    deepEqual([mayClaim(desk, 'bob'), mayClaim(desk, 'alice')], ['now', 'never']);
    equal((nextTick(desk.state, desk.now) ?? 0) <= desk.now + 1, true);
    waits(desk, 1);
    const told = desk.events.find(({ kind }) => kind === 'group.failed-on-node');
    match(told?.detail ?? '', /^it reports, and for 30s it has not taken the group/);
    equal(desk.state.durable.operations.m, undefined);
    deepEqual([mayClaim(desk, 'bob'), mayClaim(desk, 'alice')], ['never', 'now']);
    equal(desk.claims('alice').grants.length, 1);
  });

  test('is left alone where no other node could take it, and while the group is not to start', () => {
    const alone = new Desk(config({ db: ['alice'] }));
    waits(alone, 2 * TAKE_PATIENCE_MS);
    equal(alone.claims('alice').grants.length, 1);
    const paused = moving();
    paused.does({ type: 'pause', group: 'db', forMs: 3_600_000, reason: 'r' });
    waits(paused, 2 * TAKE_PATIENCE_MS);
    deepEqual(paused.group().failures, {});
  });

  test('may have learned of the last renewal late: it is given the whole wait for the lease', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    waits(desk, TAKEOVER_MS, ['bob', 'carol']);
    equal(desk.lease().expired, true);
    waits(desk, TAKE_PATIENCE_MS + TAKEOVER_MS - 1, ['bob', 'carol']);
    equal(mayClaim(desk, 'bob'), 'after');
    waits(desk, 1_000, ['bob', 'carol']);
    deepEqual([mayClaim(desk, 'bob'), mayClaim(desk, 'carol')], ['never', 'after']);
  });

  test('is given its whole time again when the coordinator stood still or its clock leapt', () => {
    const desk = moving();
    waits(desk, TAKE_PATIENCE_MS - 2);
    desk.now += 60_000;
    desk.does({ type: 'late', byMs: 60_000 });
    deepEqual(desk.group().failures, {});
  });
});
