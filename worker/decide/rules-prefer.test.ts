import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rank } from './placement.ts';
import { Floor, ruled, SOON_MS } from './testing-floor.ts';

describe('prefer', () => {
  const labels = { carol: ['disk=ssd'], bob: ['disk=hdd', 'room=b'] };

  test('labels and nodes rank before the order of `on`, and the score says by how much', () => {
    const floor = new Floor(ruled({ db: { prefer: ['disk=ssd', 'bob'] } }, labels));
    const scores = rank(floor.state, floor.group(), floor.now).map(({ node, score }) => [node, score]);
    deepEqual(scores, [
      ['carol', 200 + 14],
      ['bob', 100 + 15],
      ['alice', 16],
    ]);
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'carol');
  });

  test('of several entries that fit one node the best counts', () => {
    const floor = new Floor(ruled({ db: { prefer: ['room=b', 'disk=hdd', 'bob'] } }, labels));
    const [best] = rank(floor.state, floor.group(), floor.now);
    deepEqual(best?.reasons, [
      { rule: 'prefer', entry: 'room=b', weight: 300 },
      { rule: 'preference', position: 2, weight: 15 },
    ]);
  });

  test('does not move what runs: it stays put, also through a stop and a start', () => {
    const floor = new Floor(ruled({ db: {} }, labels));
    floor.runs(SOON_MS);
    const nine = Array.from({ length: 8 }, (_, index) => `x=${index}`);
    const better = { ...labels, carol: ['disk=ssd', 'x=0'] };
    floor.does({ type: 'apply', config: ruled({ db: { prefer: ['x=0', ...nine.slice(1), 'bob'] } }, better) });
    floor.runs(SOON_MS);
    floor.does({ type: 'group-stop', group: 'db', operation: 's' });
    floor.runs(SOON_MS);
    floor.does({ type: 'group-start', group: 'db', operation: 's2' });
    floor.runs(SOON_MS);
    equal(floor.place('db'), 'alice');
    equal(rank(floor.state, floor.group(), floor.now)[0]?.score, 1_016);
  });
});
