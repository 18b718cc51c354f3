import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline } from './timeline.ts';

function timelineOf(
  source: 'events' | 'samples',
  alice: [number, number, number, number],
  bob: [number, number, number, number],
): Timeline {
  const timeline = new Timeline(source);
  for (const [host, [afterBegin, began, afterEnd, ended]] of [
    ['alice', alice],
    ['bob', bob],
  ] as const) {
    timeline.began('it', host, began, afterBegin);
    timeline.ended('it', host, ended, afterEnd);
  }
  return timeline;
}

test('one holding after the other is no overlap', () => {
  assert.deepEqual(timelineOf('events', [0, 1, 9, 10], [11, 12, 20, 21]).overlaps('it', 100), []);
});

test('an overlap is certain when both surely held at some moment', () => {
  const [overlap, ...more] = timelineOf('events', [0, 1, 9, 10], [5, 6, 20, 21]).overlaps('it', 100);
  assert.deepEqual(more, []);
  assert.deepEqual(overlap, {
    subject: 'it',
    hosts: ['alice', 'bob'],
    fromMs: 6,
    toMs: 10,
    ms: 4,
    certain: true,
    source: 'events',
  });
});

test('samples make an overlap only as long as both were seen to hold', () => {
  const [overlap] = timelineOf('samples', [0, 1, 9, 10], [5, 6, 20, 21]).overlaps('it', 100);
  assert.deepEqual([overlap?.fromMs, overlap?.toMs, overlap?.ms], [6, 9, 3]);
});

test('an end and a beginning read together make an overlap that is possible and not certain', () => {
  const [overlap] = timelineOf('events', [0, 1, 9, 10], [9, 10, 20, 21]).overlaps('it', 100);
  assert.equal(overlap?.certain, false);
  assert.equal(overlap?.ms, 1);
});

test('an overlap that lasts is as long as it has lasted by now', () => {
  const timeline = new Timeline('samples');
  timeline.began('it', 'alice', 1, 0);
  timeline.began('it', 'bob', 5, 4);
  const [overlap] = timeline.overlaps('it', 25);
  assert.equal(overlap?.ms, 20);
  assert.equal(overlap?.toMs, Number.POSITIVE_INFINITY);
  assert.deepEqual(timeline.holders('it'), ['alice', 'bob']);
});

test('a host that takes a thing twice does not overlap with itself', () => {
  const timeline = new Timeline('events');
  timeline.began('it', 'alice', 1, 0);
  timeline.began('it', 'alice', 5, 4);
  timeline.endedAll('alice', 9, 8);
  timeline.began('it', 'alice', 9, 8);
  assert.deepEqual(timeline.overlaps('it', 100), []);
});
