import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OnFail } from '../../schemas/config.ts';
import { FREE_REPAIRS } from './run-failure.ts';
import { bad, ended, gone, monitored, shownOf, soft, up, well } from './run-testing.ts';
import { type Described, Track } from './testing.ts';

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
