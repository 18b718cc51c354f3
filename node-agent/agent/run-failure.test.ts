import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OnFail } from '../../schemas/config.ts';
import {
  RESTART_BACKOFF_FIRST_MS,
  UNCRITICAL_BACKOFF_FIRST_MS,
  UNCRITICAL_BACKOFF_LAST_MS,
} from '../../schemas/limits.ts';
import type { Outcome, Probe } from '../resources/index.ts';
import { FREE_REPAIRS } from './run-failure.ts';
import { type Described, Track } from './testing.ts';

const soft: Outcome = { ok: false, severity: 'soft', reason: 'no' };
const bad: Probe = { state: 'failed', severity: 'soft', reason: 'slow' };
const well: Probe = { state: 'running' };
const gone: Probe = { state: 'stopped' };
const ended: Probe = { state: 'failed', severity: 'soft', reason: 'killed', ended: true };

/** `web` under test, between what comes before it and after it; all of them run. */
function up(policy: Partial<Described>): Track {
  const track = new Track('ip', { id: 'web', ...policy }, 'log');
  track.discover();
  track.want('up');
  track.start('ip', 'web', 'log');
  equal(track.shown, 'running');
  return track;
}

/** Its next monitor says this; those of the others are well. */
function monitored(track: Track, probe: Probe): string[] {
  track.now += 10_000;
  track.tick();
  track.probed('ip', well);
  track.probed('log', well);
  return track.probed('web', probe);
}

const shownOf = (track: Track, id = 'web') => track.report().resources.find((resource) => resource.id === id);

describe('fall and rise', () => {
  test('fewer failed monitors than `fall` are shown, and nothing is touched', () => {
    const track = up({ fall: 3 });
    deepEqual(monitored(track, bad), []);
    equal(track.is('web'), 'ailing');
    equal(shownOf(track)?.state, 'running');
    match(shownOf(track)?.reason ?? '', /monitor failed, 1 of 3.*slow/);
    equal(track.shown, 'running');
    deepEqual(monitored(track, bad), []);
    deepEqual(monitored(track, bad), ['resource.failed web', 'resource.restarting web', 'stop log']);
  });

  test('a good monitor in between begins the count anew', () => {
    const track = up({ fall: 2 });
    for (let round = 0; round < 5; round++) {
      deepEqual(monitored(track, bad), []);
      deepEqual(monitored(track, well), []);
      equal(track.is('web'), 'running');
      equal(shownOf(track)?.reason, undefined);
    }
  });

  test('with `rise`, only so many good ones in a row do', () => {
    const track = up({ fall: 3, rise: 2 });
    monitored(track, bad);
    monitored(track, well);
    equal(track.is('web'), 'ailing');
    monitored(track, bad);
    monitored(track, well);
    deepEqual(monitored(track, bad).slice(0, 1), ['resource.failed web']);
    const patient = up({ fall: 3, rise: 2 });
    monitored(patient, bad);
    monitored(patient, bad);
    monitored(patient, well);
    monitored(patient, well);
    equal(patient.is('web'), 'running');
    deepEqual(monitored(patient, bad), []);
  });

  for (const [what, probe] of [
    ['has stopped', gone],
    ['has ended', ended],
  ] as const)
    test(`what ${what} does not wait for \`fall\`: nothing is left to look at`, () => {
      const track = up({ fall: 20 });
      track.apply({ type: 'changed', key: 'web', what: 'gone' });
      deepEqual(track.probed('web', probe).slice(0, 2), ['resource.failed web', 'resource.restarting web']);
    });

  test('a failed start does not wait for `fall`', () => {
    const track = new Track({ id: 'web', fall: 3 });
    track.discover();
    track.want('up');
    deepEqual(track.started('web', soft), ['resource.failed web', 'resource.restarting web', 'stop web']);
  });

  test('what is below `fall` still tells of its own end', () => {
    const track = up({ fall: 3 });
    monitored(track, bad);
    deepEqual(track.apply({ type: 'changed', key: 'web', what: 'gone' }), ['probe web']);
    deepEqual(track.probed('web', ended).slice(0, 1), ['resource.failed web']);
  });
});

describe('what follows a failure', () => {
  const table: [OnFail, string[], string][] = [
    ['restart', ['resource.failed web', 'resource.restarting web', 'stop log'], 'starting'],
    ['move', ['resource.failed web', 'stop log'], 'stopping'],
    ['stop', ['resource.failed web', 'stop log'], 'stopping'],
    ['ignore', ['resource.failed web', 'resource.ignored web'], 'degraded'],
    ['hold', ['resource.failed web', 'resource.held web'], 'held'],
  ];
  for (const [onFail, effects, shown] of table)
    test(`onFail ${onFail}: ${effects.join(', ')}; the group is ${shown}`, () => {
      const track = up({ onFail });
      deepEqual(monitored(track, bad), effects);
      equal(track.shown, shown);
    });

  for (const onFail of ['move', 'stop'] as const)
    test(`${onFail}: the release says so`, () => {
      const track = up({ onFail });
      monitored(track, { ...bad, output: 'log' });
      track.stopAll();
      deepEqual(track.failure, {
        resource: 'web',
        severity: 'soft',
        reason: 'slow',
        output: 'log',
        ...(onFail === 'stop' ? { verdict: 'stop' } : {}),
      });
    });

  test('restart: the count and the window are its own', () => {
    const track = new Track({ id: 'web', failureCount: 2, failureWindowMs: 60_000 });
    track.discover();
    track.want('up');
    const fails = (afterMs: number) => {
      track.started('web', soft);
      track.stopped('web');
      track.now += afterMs;
      track.tick();
    };
    fails(60_000);
    fails(59_999);
    equal(track.is('web'), 'starting', 'the first one is out of the window');
    track.started('web', soft);
    deepEqual(track.stopped('web'), ['down: web soft start: no (failed 2 times within 1m)']);
  });

  test('a new policy is no restart, and counts from the next failure on', () => {
    const track = up({});
    deepEqual(track.declare('ip', { id: 'web', onFail: 'hold' }, 'log'), []);
    equal(track.is('web'), 'running');
    monitored(track, bad);
    equal(track.shown, 'held');
  });
});

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

describe('a cleanup', () => {
  test('forgives failures: the count begins anew', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    for (let round = 0; round < 6; round++) {
      track.started('a', soft);
      track.stopped('a');
      equal(track.is('a'), 'waiting', `round ${round}`);
      deepEqual(track.cleanup(), ['start a'], 'and does not wait');
    }
  });

  test('while a look is under way begins another one, as if for the first time', () => {
    const track = up({ onFail: 'ignore' });
    monitored(track, ended);
    track.now += 10_000;
    track.tick();
    deepEqual(track.cleanup(), []);
    deepEqual(track.probed('web', ended), ['probe web']);
    deepEqual(track.probed('web', gone), ['start web']);
  });

  test('touches nothing that is well', () => {
    deepEqual(up({}).cleanup(), []);
  });

  test('of a group that is going down is nothing', () => {
    const track = up({});
    track.want('down');
    deepEqual(track.cleanup(), []);
  });
});

describe('a stop that fails while the group is up', () => {
  const making = (policy: Partial<Described>) => {
    const track = up(policy);
    track.apply({ type: 'changed', key: 'ip', what: 'gone' });
    track.probed('ip', gone);
    track.stopped('log');
    return track;
  };

  test('counts, and is forced', () => {
    const track = making({});
    deepEqual(track.stopped('web', soft), [
      'resource.stop-failed web',
      'resource.failed web',
      'resource.restarting web',
      'force web',
    ]);
    equal(track.state.resources[1]?.failuresMs.length, 1);
  });

  test('gives the group up where its policy says so', () => {
    const track = making({ onFail: 'move' });
    track.stopped('web', soft);
    track.stopped('web', { ok: true }, 'force');
    deepEqual(track.stopped('ip'), ['down: web soft stop: no']);
  });

  test('is left for a person where its policy says hold', () => {
    const track = making({ onFail: 'hold' });
    deepEqual(track.stopped('web', soft), ['resource.failed web', 'resource.held web']);
    equal(track.shown, 'held');
    equal(shownOf(track, 'ip')?.state, 'failed', 'and is not stopped any more');
  });

  test('of what failed itself is not counted twice', () => {
    const track = up({});
    monitored(track, bad);
    track.stopped('log');
    deepEqual(track.stopped('web', soft), ['resource.stop-failed web', 'force web']);
    equal(track.state.resources[1]?.failuresMs.length, 1);
  });
});

describe('an address that is taken away', () => {
  const taken = (track: Track) => track.apply({ type: 'changed', key: 'web', what: 'deleted' });
  const back = (track: Track) => track.apply({ type: 'repaired', key: 'web', outcome: { ok: true } });

  test('again and again is a failure in the end', () => {
    const track = up({ repairable: true });
    for (let n = 0; n < FREE_REPAIRS; n++) {
      deepEqual(taken(track), ['repair web']);
      back(track);
    }
    deepEqual(taken(track), ['resource.failed web', 'resource.restarting web', 'stop log']);
    match(shownOf(track)?.reason ?? '', /deleted, 11 times within 10m: something else/);
  });

  test('now and then is put back for ever', () => {
    const track = up({ repairable: true });
    for (let n = 0; n < 5 * FREE_REPAIRS; n++) {
      equal(taken(track)[0], 'repair web');
      back(track);
      track.now += 60_001;
    }
  });

  test('unheard is put back when the monitor finds it, without touching what comes after it', () => {
    const track = up({ repairable: true });
    deepEqual(monitored(track, gone), ['repair web']);
    deepEqual(back(track), ['resource.repaired web']);
  });

  test('and cannot be put back is left by the policy ignore', () => {
    const track = up({ repairable: true, onFail: 'ignore' });
    taken(track);
    deepEqual(track.apply({ type: 'repaired', key: 'web', outcome: soft }), [
      'resource.failed web',
      'resource.ignored web',
    ]);
    deepEqual(taken(track), []);
  });
});
