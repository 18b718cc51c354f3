import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RESTART_BACKOFF_FIRST_MS } from '../../schemas/limits.ts';
import { bad, ended, gone, monitored, shownOf, soft, up, well } from './run-testing.ts';
import { type Described, Track } from './testing.ts';

describe('what is ignored', () => {
  const ignored = (policy: Partial<Described> = {}) => {
    const track = up({ onFail: 'ignore', ...policy });
    monitored(track, ended);
    return track;
  };

  test('is left as it is, looked at again, and told once', () => {
    const track = ignored();
    equal(shownOf(track)?.state, 'failed');
    for (const probe of [ended, bad, gone]) deepEqual(monitored(track, probe), []);
    equal(track.report().reason, 'web: it does not run any more');
  });

  test('is well again after `rise` good monitors', () => {
    const track = ignored({ rise: 2 });
    deepEqual(monitored(track, well), []);
    equal(track.shown, 'degraded');
    deepEqual(monitored(track, well), ['resource.recovered web']);
    equal(track.shown, 'running');
  });

  test('keeps nothing after it from starting', () => {
    const track = new Track({ id: 'web', onFail: 'ignore' }, 'log');
    track.discover();
    track.want('up');
    deepEqual(track.started('web', soft), ['resource.failed web', 'resource.ignored web', 'start log']);
    equal(track.shown, 'starting');
    track.started('log');
    equal(track.shown, 'degraded');
  });

  test('is stopped with the group, and with what comes before it', () => {
    const track = ignored();
    track.apply({ type: 'changed', key: 'ip', what: 'gone' });
    deepEqual(track.probed('ip', gone).slice(-1), ['stop log']);
    deepEqual(track.stopped('log'), ['stop web']);
    deepEqual(track.stopped('web'), ['stop ip']);
    track.stopped('ip');
    track.now += RESTART_BACKOFF_FIRST_MS;
    deepEqual(track.tick(), ['start ip']);
    deepEqual(track.started('ip'), ['start web'], 'and gets its chance again');
  });

  test('is started again by a cleanup', () => {
    const track = ignored();
    deepEqual(track.cleanup(), ['probe web']);
    deepEqual(track.probed('web', gone), ['start web']);
    deepEqual(track.started('web'), ['resource.recovered web']);
    equal(track.shown, 'running');
  });
});

describe('a hold', () => {
  const held = () => {
    const track = up({ onFail: 'hold' });
    monitored(track, ended);
    return track;
  };

  test('touches nothing of the group: the others are looked at, what fails is told and left', () => {
    const track = held();
    track.now += 10_000;
    deepEqual(track.tick(), ['probe ip', 'probe web', 'probe log']);
    track.probed('web', ended);
    deepEqual(track.probed('log', gone), ['resource.failed log']);
    equal(shownOf(track, 'log')?.state, 'failed');
    deepEqual(track.apply({ type: 'changed', key: 'ip', what: 'gone' }), []);
    equal(track.shown, 'held');
    equal(track.report().reason, 'web: killed');
  });

  test('lasts when its resource is well again, and when the coordinator says `run`', () => {
    const track = held();
    deepEqual(monitored(track, well), ['resource.recovered web']);
    track.pause();
    track.pause(false);
    equal(track.shown, 'held');
  });

  test('takes up no new declaration, but a new policy', () => {
    const track = held();
    deepEqual(track.declare('ip', { id: 'web', onFail: 'restart' }, 'log'), []);
    equal(track.pending, false);
    deepEqual(track.declare('ip', 'log'), []);
    equal(track.pending, true);
    deepEqual(track.cleanup(track.now + 1), ['stop log']);
  });

  test('ends by a cleanup: what does not run is started', () => {
    const track = held();
    track.now += 50;
    deepEqual(track.cleanup(), ['probe ip', 'probe web', 'probe log']);
    deepEqual(track.probed('web', gone), ['start web']);
    deepEqual(track.started('web'), ['resource.recovered web']);
    track.probed('ip', well);
    track.probed('log', well);
    equal(track.shown, 'running');
  });

  test('that is paused as well, as the coordinator orders once it knows of it, ends with both', () => {
    for (const order of ['cleanup first', 'pause first'] as const) {
      const track = held();
      deepEqual(track.pause(), []);
      track.now += 1_000;
      const told =
        order === 'cleanup first' ? [track.cleanup(), track.pause(false)] : [track.pause(false), track.cleanup()];
      const effects = told.flat();
      equal(effects.includes('probe web'), true, order);
      deepEqual(track.probed('web', gone), ['start web'], order);
      equal(track.shown, 'starting');
    }
  });

  test('does not end by a cleanup of before it began', () => {
    const track = held();
    track.cleanup(track.now);
    equal(track.shown, 'held');
    track.cleanup(track.now - 1_000);
    equal(track.shown, 'held');
  });

  test('ends with the lease, however that ends', () => {
    deepEqual(held().want('down'), ['stop log']);
    deepEqual(held().want('down-now'), ['force ip', 'force web', 'force log']);
    const track = held();
    track.want('down');
    track.stopAll();
    deepEqual(track.want('up', 2), ['start ip']);
    equal(track.shown, 'starting');
  });

  test('that was ended by a stop is in no one’s way: what does not stop is forced', () => {
    const track = held();
    deepEqual(track.want('down'), ['stop log']);
    const failed = { ok: false, severity: 'soft', reason: 'refused' } as const;
    deepEqual(track.stopped('log', failed), ['resource.stop-failed log', 'force log']);
  });

  test('lets a start under way end, and no other begin', () => {
    const track = new Track({ id: 'web', onFail: 'hold' }, 'log', 'mail');
    track.discover();
    track.want('up');
    deepEqual(track.started('web'), ['start log']);
    track.apply({ type: 'changed', key: 'web', what: 'gone' });
    deepEqual(track.probed('web', gone), ['resource.failed web', 'resource.held web']);
    deepEqual(track.started('log'), []);
    equal(shownOf(track, 'mail')?.state, 'stopped');
  });
});
