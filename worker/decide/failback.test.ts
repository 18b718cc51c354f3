import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nextTick } from './decide.ts';
import { Floor, ruled } from './testing-floor.ts';

const SOON_MS = 2_000;
const MINUTE_MS = 60_000;
const wanted = ruled({ db: { prefer: ['alice'], failbackMs: MINUTE_MS } });

/** db runs on bob, alice is back and better. */
function displaced(config = wanted): Floor {
  const floor = new Floor(config);
  floor.runs(SOON_MS);
  floor.standby('alice');
  floor.runs(SOON_MS);
  floor.does({ type: 'node-ready', node: 'alice' });
  return floor;
}

describe('failback', () => {
  test('takes no time for served in which the clock leapt forward', () => {
    const floor = displaced();
    floor.runs(SOON_MS);
    floor.now += MINUTE_MS;
    floor.does({ type: 'late', byMs: MINUTE_MS });
    floor.runs(MINUTE_MS - 1_000);
    equal(floor.place('db'), 'bob');
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
  });

  test('moves a group back when the better node has been able to run it for that long, as a planned move that says why', () => {
    const floor = displaced();
    equal(floor.place('db'), 'bob');
    floor.runs(MINUTE_MS - 200);
    equal(floor.place('db'), 'bob');
    const due = floor.state.volatile.better.db?.since ?? 0;
    equal(due + MINUTE_MS - floor.now <= 200, true);
    floor.now = due + MINUTE_MS;
    floor.does({ type: 'tick' });
    match(
      floor.events.find(({ kind }) => kind === 'group.move-requested')?.detail ?? '',
      /^from bob to alice: it is the better node and could run it for 1m \(failback\)$/,
    );
    const [operation] = Object.values(floor.state.durable.operations);
    deepEqual([operation?.id, operation?.kind, operation?.node], ['failback-db-2', 'move', 'alice']);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
    deepEqual(floor.since(3), ['-db bob', '+db alice']);
    deepEqual(floor.state.durable.operations, {});
    deepEqual(floor.state.volatile.better, {});
  });

  test('wakes for it by itself', () => {
    const floor = displaced();
    floor.round();
    const due = (floor.state.volatile.better.db?.since ?? 0) + MINUTE_MS;
    floor.now = due - 1;
    for (const node of ['alice', 'bob', 'carol']) floor.hears(node);
    equal(nextTick(floor.state, due - 1), due);
  });

  test('counts anew when the node was away meanwhile, and when the coordinator restarts', () => {
    for (const away of [
      (floor: Floor) => {
        floor.dies('alice');
        floor.runs(10_000);
        floor.returns('alice');
      },
      (floor: Floor) => floor.restarts(),
    ]) {
      const floor = displaced();
      floor.runs(MINUTE_MS - SOON_MS);
      away(floor);
      floor.runs(MINUTE_MS - SOON_MS);
      equal(floor.place('db'), 'bob');
      floor.runs(10_000);
      equal(floor.place('db'), 'alice');
    }
  });

  test('does nothing without it, nor to where the group failed, nor while the group is paused or away', () => {
    const cases: [string, () => Floor][] = [
      ['stay put', () => displaced(ruled({ db: { prefer: ['alice'] } }))],
      [
        'it failed there',
        () => {
          const floor = new Floor(wanted);
          floor.runs(SOON_MS);
          floor.fails('db');
          floor.runs(SOON_MS);
          return floor;
        },
      ],
      [
        'paused',
        () => {
          const floor = displaced();
          const pause = { since: 0, until: 4_000_000_000_000, reason: 'x' };
          const groups = { db: { ...floor.group(), pause } };
          floor.state = { ...floor.state, durable: { ...floor.state.durable, groups } };
          return floor;
        },
      ],
    ];
    for (const [what, made] of cases) {
      const floor = made();
      floor.runs(2 * MINUTE_MS);
      equal(floor.place('db'), 'bob', what);
    }
  });

  test('the order of `on` alone makes a node better; an equal one does not', () => {
    const floor = displaced(ruled({ db: { failbackMs: MINUTE_MS } }));
    floor.runs(MINUTE_MS + SOON_MS);
    equal(floor.place('db'), 'alice');
    floor.runs(2 * MINUTE_MS);
    equal(floor.place('db'), 'alice');
  });

  test('takes followers along, in order', () => {
    const floor = displaced(ruled({ db: { prefer: ['alice'], failbackMs: MINUTE_MS }, web: { with: ['db'] } }));
    floor.runs(MINUTE_MS + SOON_MS);
    deepEqual(floor.story.slice(-4), ['-web bob', '-db bob', '+db alice', '+web alice']);
  });

  test('does not go where a group is from which it is kept apart', () => {
    const floor = displaced(
      ruled({ db: { prefer: ['alice'], failbackMs: MINUTE_MS, apart: ['batch'] }, batch: { on: ['alice'] } }),
    );
    floor.runs(2 * MINUTE_MS);
    deepEqual(floor.places, { db: 'bob', batch: 'alice' });
  });
});
