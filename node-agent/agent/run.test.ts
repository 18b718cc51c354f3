import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FAILURE_COUNT, FAILURE_WINDOW_MS, RESTART_BACKOFF_FIRST_MS } from '../../schemas/limits.ts';
import type { Outcome } from '../resources/index.ts';
import { runDue } from './run.ts';
import { declared, Track } from './testing.ts';

const soft: Outcome = { ok: false, severity: 'soft', reason: 'no' };
const hard: Outcome = { ok: false, severity: 'hard', reason: 'never here', output: 'log' };
const up = () => {
  const track = new Track('a', 'b', 'c');
  track.discover();
  track.want('up');
  track.start('a', 'b', 'c');
  return track;
};

describe('a start', () => {
  test('brings the resources up in their order, each when the one before it runs', () => {
    const track = new Track('a', 'b', 'c');
    track.discover();
    deepEqual(track.want('up'), ['start a']);
    deepEqual(track.started('a'), ['start b']);
    deepEqual(track.started('b'), ['start c']);
    equal(track.shown, 'starting');
    deepEqual(track.started('c'), []);
    equal(track.shown, 'running');
  });

  test('waits for the resource before it also while that is only being looked at', () => {
    const track = new Track('a', 'b');
    track.want('up');
    deepEqual(track.probed('b', { state: 'stopped' }), []);
    deepEqual(track.probed('a', { state: 'stopped' }), ['start a']);
  });

  test('is told with how long it took', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    track.now += 700;
    track.started('a');
    equal(track.report().resources[0]?.startMs, 700);
  });

  test('that fails softly is stopped, waits, and is tried again', () => {
    const track = new Track('a', 'b');
    track.discover();
    track.want('up');
    deepEqual(track.started('a', soft), ['resource.failed a', 'resource.restarting a', 'stop a']);
    deepEqual(track.stopped('a'), []);
    equal(track.is('a'), 'waiting');
    track.now += RESTART_BACKOFF_FIRST_MS - 1;
    deepEqual(track.tick(), []);
    track.now += 1;
    deepEqual(track.tick(), ['start a']);
  });

  for (const severity of ['hard', 'fatal'] as const)
    test(`that fails with a ${severity} error gives the group up at once`, () => {
      const track = up();
      track.now += 10_000;
      deepEqual(track.tick(), ['probe a', 'probe b', 'probe c']);
      track.probed('a', { state: 'running' });
      track.probed('c', { state: 'running' });
      track.probed('b', { state: 'failed', severity, reason: 'gone', output: 'log' });
      deepEqual(track.effects, ['resource.failed b', 'stop c']);
      deepEqual(track.stopped('c'), ['stop b']);
      deepEqual(track.stopped('b'), ['stop a']);
      deepEqual(track.stopped('a'), [`down: b ${severity} gone`]);
      equal(track.shown, 'failed');
    });
});

describe('a failure while it runs', () => {
  test('stops what comes after it first, then restarts in order; what comes before it goes on', () => {
    const track = up();
    track.now += 10_000;
    track.tick();
    deepEqual(track.probed('b', { state: 'stopped' }).slice(0, 2), ['resource.failed b', 'resource.restarting b']);
    track.probed('a', { state: 'running' });
    deepEqual(track.probed('c', { state: 'running' }), ['stop c']);
    deepEqual(track.stopped('c'), ['stop b']);
    deepEqual(track.stopped('b'), []);
    equal(track.is('a'), 'running');
    equal(track.shown, 'starting');
    track.now += RESTART_BACKOFF_FIRST_MS;
    deepEqual(track.tick(), ['start b']);
    deepEqual(track.started('b'), ['start c']);
  });

  test('waits longer before each restart, and gives up at the last one that the window allows', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    for (let failure = 1; failure < FAILURE_COUNT; failure++) {
      track.started('a', soft);
      track.stopped('a');
      track.now += RESTART_BACKOFF_FIRST_MS * 2 ** (failure - 1) - 1;
      deepEqual(track.tick(), [], `before restart ${failure}`);
      track.now += 1;
      deepEqual(track.tick(), ['start a']);
    }
    deepEqual(track.started('a', soft), ['resource.failed a', 'stop a']);
    deepEqual(track.stopped('a'), ['down: a soft start: no (failed 3 times within 10m)']);
  });

  test('of long ago does not count', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    for (let failure = 1; failure <= 2 * FAILURE_COUNT; failure++) {
      track.started('a', soft);
      track.stopped('a');
      equal(track.is('a'), 'waiting', `failure ${failure}`);
      track.now += FAILURE_WINDOW_MS / (FAILURE_COUNT - 1) + 1;
      track.tick();
    }
  });

  test('under an earlier lease does not count', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    for (let failure = 1; failure < FAILURE_COUNT; failure++) {
      track.started('a', soft);
      track.stopped('a');
      track.now += 5_000;
      track.tick();
    }
    track.want('down');
    track.started('a', soft);
    track.stopped('a');
    track.want('up', 2);
    track.started('a', soft);
    track.stopped('a');
    equal(track.is('a'), 'waiting');
  });

  test('carries its reason and its output with the release', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    track.started('a', hard);
    track.stopped('a');
    deepEqual(track.failure, { resource: 'a', severity: 'hard', reason: 'start: never here', output: 'log' });
  });
});

describe('the monitor', () => {
  test('looks again after its interval, and only under a lease', () => {
    const track = up();
    equal(track.due(), track.now + 10_000);
    track.now += 9_999;
    deepEqual(track.tick(), []);
    track.now += 1;
    deepEqual(track.tick(), ['probe a', 'probe b', 'probe c']);
    deepEqual(track.probed('a', { state: 'running', note: 'slow' }), []);
    equal(track.report().resources[0]?.reason, 'slow');
  });

  test('wants no tick for what is overdue behind something else: only an event can change it', () => {
    const track = up();
    track.now += 5_000;
    track.apply({ type: 'changed', key: 'c', what: 'gone' });
    track.probed('c', { state: 'stopped' });
    equal(track.is('c'), 'stopping');
    track.now += 5_000;
    deepEqual(track.tick(), []);
    equal(runDue(track.state, track.now), undefined, 'a and b are overdue, and wait for the stop of c');
  });

  test('wants no tick for a restart that waits for the resource before it', () => {
    const track = up();
    for (const id of ['c', 'a']) {
      track.apply({ type: 'changed', key: id, what: 'gone' });
      track.probed(id, { state: 'stopped' });
      track.stopAll();
    }
    track.now += 60_000;
    track.tick();
    deepEqual([track.is('a'), track.is('c')], ['starting', 'waiting']);
    equal(track.due(), undefined);
  });
});

describe('what may have been taken away', () => {
  const repairable = () => {
    const track = new Track({ id: 'ip', repairable: true }, 'web');
    track.discover();
    track.want('up');
    track.start('ip', 'web');
    return track;
  };

  test('is put back at once where that is possible, without touching what comes after it', () => {
    const track = repairable();
    deepEqual(track.apply({ type: 'changed', key: 'ip', what: 'deleted' }), ['repair ip']);
    equal(track.shown, 'running');
    deepEqual(track.apply({ type: 'repaired', key: 'ip', outcome: { ok: true } }), ['resource.repaired ip']);
    equal(track.is('web'), 'running');
  });

  test('counts as failed when it cannot be put back', () => {
    const track = repairable();
    track.apply({ type: 'changed', key: 'ip', what: 'deleted' });
    deepEqual(track.apply({ type: 'repaired', key: 'ip', outcome: soft }), [
      'resource.failed ip',
      'resource.restarting ip',
      'stop web',
    ]);
  });

  test('is looked at where it cannot be repaired', () => {
    deepEqual(repairable().apply({ type: 'changed', key: 'web', what: 'gone' }), ['probe web']);
  });

  test('is left alone without a lease, and while something is done about it already', () => {
    const track = repairable();
    track.apply({ type: 'changed', key: 'ip', what: 'deleted' });
    deepEqual(track.apply({ type: 'changed', key: 'ip', what: 'deleted' }), []);
    track.want('down');
    deepEqual(track.apply({ type: 'changed', key: 'web', what: 'gone' }), []);
  });
});

describe('what runs already', () => {
  test('is adopted under the lease, and looked at again at once as the owner', () => {
    const track = new Track('a', 'b');
    deepEqual(track.want('up'), ['probe a', 'probe b']);
    deepEqual(track.probed('a', { state: 'running' }), ['resource.adopted a', 'probe a']);
    deepEqual(track.probed('b', { state: 'stopped' }), ['start b']);
  });

  test('without a lease is stopped by force, all at once: another node may already run it', () => {
    const track = new Track('a', 'b');
    deepEqual(track.tick(), ['probe a', 'probe b']);
    deepEqual(track.probed('a', { state: 'running' }), ['resource.stopped-without-lease a', 'force a']);
    deepEqual(track.probed('b', { state: 'running' }), ['resource.stopped-without-lease b', 'force b']);
    deepEqual(track.stopped('b', { ok: true }, 'force'), []);
    deepEqual(track.stopped('a', { ok: true }, 'force'), ['down']);
  });

  test('and is broken is stopped before anything starts', () => {
    const track = new Track('a');
    track.want('up');
    deepEqual(track.probed('a', { state: 'failed', severity: 'soft', reason: 'half' }), ['stop a']);
    deepEqual(track.stopped('a'), ['start a']);
  });

  test('nothing is said to be down before everything was looked at', () => {
    const track = new Track('a', 'b');
    track.tick();
    deepEqual(track.probed('a', { state: 'stopped' }), []);
    deepEqual(track.probed('b', { state: 'stopped' }), ['down']);
  });
});

test('an outcome of something that is not declared here any more is ignored', () => {
  const track = up();
  const { state } = track;
  track.apply({ type: 'started', key: 'gone', outcome: { ok: true } });
  equal(track.state, state);
});

test('an outcome that was overtaken by a call-off is ignored', () => {
  const track = new Track('a');
  track.discover();
  track.want('up');
  track.want('down-now');
  deepEqual(track.started('a'), []);
  equal(track.is('a'), 'stopping');
  for (const late of [
    { type: 'probed', key: 'a', probe: { state: 'running' } },
    { type: 'repaired', key: 'a', outcome: { ok: true } },
    { type: 'stopped', key: 'a', rung: 'stop', outcome: { ok: true } },
  ] as const) {
    deepEqual(track.apply(late), []);
    equal(track.is('a'), 'stopping');
  }
});

test('two resources with the same name are kept apart by their keys', () => {
  const track = new Track(declared('a', 'key-1'));
  equal(track.state.resources[0]?.key, 'key-1');
});
