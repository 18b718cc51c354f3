import { equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Floor, reasonOf, ruled, SOON_MS, stateOf, TAKEOVERS_MS } from './testing-floor.ts';

describe('failover: manual', () => {
  const manual = { db: { failover: 'manual' } } as const;

  test('after a power cut the group waits for a person, who moves it', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    floor.dies('alice');
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), '');
    equal(stateOf(floor, 'db'), 'waiting');
    match(reasonOf(floor, 'db'), /bob takes it only by `holdfast move db --to bob` \(failover: manual\)/);
    equal(floor.does({ type: 'move', group: 'db', to: null, operation: 'm' }).refused, undefined);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'bob');
    equal(floor.state.durable.operations.m, undefined);
  });

  test('the node that had it takes it again when it returns', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    floor.dies('alice');
    floor.runs(TAKEOVERS_MS);
    floor.returns('alice');
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), 'alice');
  });

  test('after a failure of the group as well, and a failure that was forgotten changes nothing', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    floor.fails('db');
    floor.dies('alice');
    floor.runs(SOON_MS);
    floor.does({ type: 'cleanup', group: 'db' });
    floor.runs(TAKEOVERS_MS);
    equal(floor.place('db'), '');
  });

  test('what an operator asks for goes on as usual: move, standby, stop and start', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    equal(floor.does({ type: 'move', group: 'db', to: 'bob', operation: 'm' }).refused, undefined);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'bob');
    floor.standby('bob');
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
  });

  test('a first start needs nobody', () => {
    const floor = new Floor(ruled(manual));
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
  });
});
