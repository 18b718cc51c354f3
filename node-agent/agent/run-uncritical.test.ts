import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  RESTART_BACKOFF_FIRST_MS,
  UNCRITICAL_BACKOFF_FIRST_MS,
  UNCRITICAL_BACKOFF_LAST_MS,
} from '../../schemas/limits.ts';
import { ended, gone, monitored, soft, up, well } from './run-testing.ts';
import { Track } from './testing.ts';

describe('what is not critical', () => {
  const failing = () => {
    const track = up({ critical: false });
    monitored(track, ended);
    return track;
  };

  test('is stopped and started alone; the group goes on degraded', () => {
    const track = up({ critical: false });
    deepEqual(monitored(track, ended), ['resource.failed web', 'resource.restarting web', 'stop web']);
    equal(track.shown, 'degraded');
    track.stopped('web');
    track.now += UNCRITICAL_BACKOFF_FIRST_MS - 1;
    deepEqual(track.tick(), []);
    track.now += 1;
    deepEqual(track.tick(), ['start web']);
    equal(track.shown, 'degraded');
    deepEqual(track.started('web'), ['resource.recovered web']);
    equal(track.shown, 'running');
    equal(track.is('log'), 'running');
  });

  test('is tried for ever, with a pause that doubles to five minutes; the same reason is told once', () => {
    const track = failing();
    const pauses: number[] = [];
    for (let n = 0; n < 12; n++) {
      track.stopped('web');
      const due = track.state.resources[1]?.state;
      pauses.push(due?.is === 'waiting' ? due.untilMs - track.now : -1);
      track.now += pauses.at(-1) ?? 0;
      track.tick();
      for (const id of ['ip', 'log']) track.probed(id, well);
      const told = track.started('web', soft);
      if (n > 0) deepEqual(told, ['stop web']);
    }
    deepEqual(pauses.slice(0, 4), [2_000, 4_000, 8_000, 16_000]);
    deepEqual(pauses.slice(-3), [UNCRITICAL_BACKOFF_LAST_MS, UNCRITICAL_BACKOFF_LAST_MS, UNCRITICAL_BACKOFF_LAST_MS]);
    equal(track.shown, 'degraded');
  });

  test('a hard failure gives nothing up either', () => {
    const track = up({ critical: false });
    monitored(track, { state: 'failed', severity: 'hard', reason: 'never' });
    equal(track.state.want, 'up');
    equal(track.is('web'), 'stopping');
  });

  test('counts anew when it ran well for as long as its window', () => {
    const track = failing();
    track.stopped('web');
    track.now += UNCRITICAL_BACKOFF_FIRST_MS;
    track.tick();
    track.started('web');
    track.now += 10 * 60_000;
    track.tick();
    track.probed('web', ended);
    equal(track.state.resources[1]?.tries, 1);
  });

  test('is not waited for at the first start: the group is starting until it was tried once, then degraded', () => {
    const track = new Track({ id: 'web', critical: false }, 'log');
    track.discover();
    deepEqual(track.want('up'), ['start web', 'start log']);
    track.started('log');
    equal(track.shown, 'starting');
    track.started('web', soft);
    equal(track.shown, 'degraded');
  });

  test('goes down with what comes before it', () => {
    const track = up({ critical: false });
    track.apply({ type: 'changed', key: 'ip', what: 'gone' });
    track.probed('ip', gone);
    deepEqual(track.stopped('log'), ['stop web']);
    deepEqual(track.stopped('web'), ['stop ip']);
    track.stopped('ip');
    track.now += RESTART_BACKOFF_FIRST_MS;
    deepEqual(track.tick(), ['start ip']);
    deepEqual(track.started('ip'), ['start web', 'start log'], 'without a pause: it had not failed');
  });

  test('that would not stop costs no lease, until something waits for it', () => {
    const track = failing();
    deepEqual(track.stopped('web', soft), ['resource.stop-failed web', 'force web']);
    deepEqual(track.stopped('web', soft, 'force'), []);
    equal(track.is('web'), 'stuck');
    equal(track.shown, 'degraded');
    equal(track.due(), track.now + UNCRITICAL_BACKOFF_FIRST_MS);
    track.apply({ type: 'changed', key: 'ip', what: 'gone' });
    track.probed('ip', gone);
    deepEqual(track.stopped('log'), ['force web']);
    deepEqual(track.stopped('web', soft, 'force'), ['stuck web no']);
  });

  test('that would not stop is stopped by force at once when the lease ends', () => {
    const track = failing();
    track.stopped('web', soft);
    track.stopped('web', soft, 'force');
    deepEqual(track.want('down-now'), ['force ip', 'force web', 'force log']);
  });

  test('that waits to be tried again is stopped with the group: a person may have started it', () => {
    const track = failing();
    track.stopped('web');
    equal(track.is('web'), 'waiting');
    deepEqual(track.want('down-now'), ['force ip', 'force web', 'force log']);
  });

  test('with onFail ignore is left as it is', () => {
    const track = up({ critical: false, onFail: 'ignore' });
    deepEqual(monitored(track, ended), ['resource.failed web', 'resource.ignored web']);
    equal(track.shown, 'degraded');
  });

  test('is tried at once after a cleanup', () => {
    const track = failing();
    track.stopped('web');
    deepEqual(track.cleanup(), ['start web']);
    equal(track.state.resources[1]?.tries, 0);
  });
});
