import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Outcome, Probe } from '../resources/index.ts';
import { Track } from './testing.ts';

const soft: Outcome = { ok: false, severity: 'soft', reason: 'no' };
const well: Probe = { state: 'running' };
const gone: Probe = { state: 'stopped' };
const bad: Probe = { state: 'failed', severity: 'soft', reason: 'slow' };

function up(): Track {
  const track = new Track({ id: 'a', repairable: true }, 'b', 'c');
  track.discover();
  track.want('up');
  track.start('a', 'b', 'c');
  return track;
}

const paused = () => {
  const track = up();
  deepEqual(track.pause(), []);
  return track;
};

const shownOf = (track: Track, id: string) => track.report().resources.find((resource) => resource.id === id)?.state;

describe('a pause', () => {
  test('goes on looking, and leaves what is well as it is', () => {
    const track = paused();
    equal(track.shown, 'running');
    track.now += 10_000;
    deepEqual(track.tick(), ['probe a', 'probe b', 'probe c']);
    for (const id of ['a', 'b', 'c']) deepEqual(track.probed(id, well), []);
  });

  test('what dies is told once and reported as failed, the group as degraded; nothing is started, stopped or mended', () => {
    const track = paused();
    deepEqual(track.apply({ type: 'changed', key: 'b', what: 'gone' }), ['probe b']);
    deepEqual(track.probed('b', gone), ['resource.failed b']);
    equal(shownOf(track, 'b'), 'failed');
    equal(track.shown, 'degraded');
    track.now += 10_000;
    track.tick();
    deepEqual(track.probed('b', gone), []);
    equal(track.report().reason, 'b: it does not run any more');
  });

  test('an address that is deleted is looked at, and not put back', () => {
    const track = paused();
    deepEqual(track.apply({ type: 'changed', key: 'a', what: 'deleted' }), ['probe a']);
    deepEqual(track.probed('a', gone), ['resource.failed a']);
  });

  test('what a person starts again is well again', () => {
    const track = paused();
    track.apply({ type: 'changed', key: 'b', what: 'gone' });
    track.probed('b', gone);
    track.now += 10_000;
    track.tick();
    deepEqual(track.probed('b', well), ['resource.recovered b']);
    equal(track.shown, 'running');
  });

  test('takes up no new declaration before it has ended', () => {
    const track = paused();
    deepEqual(track.declare('a', 'x', 'c'), []);
    equal(track.shown, 'running');
    deepEqual(track.pause(false), ['stop c']);
  });

  const inFlight: [string, (track: Track) => void, (track: Track) => string[], string][] = [
    ['a start that succeeds', () => undefined, (track) => track.started('b'), 'running'],
    ['a start that fails', () => undefined, (track) => track.started('b', soft), 'failed'],
  ];
  for (const [what, before, outcome, state] of inFlight)
    test(`${what} when it comes is reported as ${state}, and nothing follows`, () => {
      const track = new Track('a', 'b', 'c');
      track.discover();
      track.want('up');
      track.started('a');
      before(track);
      track.pause();
      equal(track.shown, 'starting');
      deepEqual(
        outcome(track).filter((effect) => !effect.startsWith('resource.')),
        [],
      );
      equal(shownOf(track, 'b'), state);
      equal(shownOf(track, 'c'), 'stopped');
      equal(track.shown, 'degraded');
    });

  test('in the middle of a restart: the stop under way ends, what is broken is looked at, nothing more is stopped', () => {
    const track = up();
    track.apply({ type: 'changed', key: 'b', what: 'gone' });
    track.probed('b', gone);
    equal(track.is('c'), 'stopping');
    track.pause();
    deepEqual(track.stopped('c'), []);
    deepEqual([shownOf(track, 'b'), shownOf(track, 'c')], ['failed', 'stopped']);
    track.now += 10_000;
    deepEqual(track.tick(), ['probe a', 'probe b', 'probe c']);
    deepEqual(track.probed('c', well), ['resource.adopted c', 'probe c'], 'a person has started it: it is known again');
    deepEqual(track.probed('b', gone), []);
    for (const id of ['a', 'c']) track.probed(id, well);
    deepEqual(track.pause(false), ['probe a', 'probe b', 'probe c']);
  });

  test('a stop that fails is not forced', () => {
    const track = up();
    track.apply({ type: 'changed', key: 'b', what: 'gone' });
    track.probed('b', gone);
    track.pause();
    deepEqual(track.stopped('c', soft), ['resource.failed c']);
    equal(shownOf(track, 'c'), 'failed');
  });

  test('looks at what is down without flicker', () => {
    const track = new Track('a');
    track.discover();
    track.want('up');
    track.started('a', soft);
    track.stopped('a');
    track.pause();
    equal(shownOf(track, 'a'), 'stopped');
    track.now += 10_000;
    deepEqual(track.tick(), ['probe a']);
    equal(shownOf(track, 'a'), 'stopped');
    deepEqual(track.probed('a', gone), []);
    equal(shownOf(track, 'a'), 'stopped');
    equal(track.due(), track.now + 10_000);
  });

  test('below `fall` nothing is told; beyond it the failure is', () => {
    const track = new Track({ id: 'a', fall: 2 });
    track.discover();
    track.want('up');
    track.started('a');
    track.pause();
    const looked = () => {
      track.now += 10_000;
      track.tick();
      return track.probed('a', bad);
    };
    deepEqual(looked(), []);
    equal(track.shown, 'running');
    deepEqual(looked(), ['resource.failed a']);
    deepEqual(track.pause(false), ['probe a']);
    deepEqual(track.probed('a', bad), ['resource.restarting a', 'stop a']);
  });

  for (const want of ['down', 'down-now'] as const)
    test(`ends with the lease: ${want}`, () => {
      const track = paused();
      track.apply({ type: 'changed', key: 'b', what: 'gone' });
      track.probed('b', gone);
      deepEqual(track.want(want), want === 'down' ? ['stop c'] : ['force a', 'force b', 'force c']);
      if (want === 'down') track.stopAll();
      else for (const id of ['a', 'b', 'c']) track.stopped(id, { ok: true }, 'force');
      equal(track.shown, 'stopped');
      deepEqual(track.want('up', 2), ['start a'], 'and the next lease begins without it');
    });

  test('asked of a group that is going down is nothing', () => {
    const track = up();
    track.want('down');
    deepEqual(track.pause(), []);
    deepEqual(track.stopped('c'), ['stop b']);
  });
});

describe('the end of a pause', () => {
  test('looks at everything at once, and treats what has failed by its policy', () => {
    const track = paused();
    track.apply({ type: 'changed', key: 'b', what: 'gone' });
    track.probed('b', gone);
    deepEqual(track.pause(false), ['probe a', 'probe b', 'probe c']);
    equal(track.shown, 'degraded');
    track.probed('a', well);
    track.probed('c', well);
    deepEqual(track.probed('b', gone), ['resource.restarting b', 'stop c']);
    track.stopped('c');
    track.stopped('b');
    track.now += 50;
    track.tick();
    deepEqual(track.started('b'), ['resource.recovered b', 'start c']);
  });

  test('puts a deleted address back, and touches nothing else', () => {
    const track = paused();
    track.apply({ type: 'changed', key: 'a', what: 'deleted' });
    track.probed('a', gone);
    track.pause(false);
    deepEqual(track.probed('a', gone), ['repair a']);
    deepEqual(track.apply({ type: 'repaired', key: 'a', outcome: { ok: true } }), [
      'resource.repaired a',
      'resource.recovered a',
    ]);
    equal(track.shown, 'running');
  });

  test('starts what was never started', () => {
    const track = new Track('a', 'b');
    track.discover();
    track.want('up');
    track.pause();
    track.started('a');
    deepEqual(track.pause(false), ['probe a', 'probe b']);
    track.probed('a', well);
    deepEqual(track.probed('b', gone), ['start b']);
  });
});

describe('a lease that is taken up again', () => {
  const taken = () => {
    const track = new Track('a', 'b');
    track.apply({ type: 'want', want: 'up', epoch: 7, paused: true });
    return track;
  };

  test('is only looked at until the coordinator has said `run`', () => {
    const track = taken();
    deepEqual(track.effects, ['probe a', 'probe b']);
    deepEqual(track.probed('a', well), ['resource.adopted a', 'probe a']);
    deepEqual(track.probed('b', gone), []);
    equal(track.shown, 'degraded');
    track.probed('a', well);
    deepEqual(track.pause(false), ['probe a', 'probe b']);
    track.probed('a', well);
    deepEqual(track.probed('b', gone), ['start b']);
  });

  test('with everything well is running, and stays so', () => {
    const track = taken();
    for (const id of ['a', 'b']) track.probed(id, well);
    equal(track.shown, 'running');
    for (const id of ['a', 'b']) track.probed(id, well);
    deepEqual(track.pause(false), ['probe a', 'probe b']);
    equal(track.shown, 'running');
  });

  test('what is found broken is left for the first answer', () => {
    const track = taken();
    deepEqual(track.probed('b', bad), ['resource.failed b']);
    equal(track.is('b'), 'ailing');
    track.probed('a', well);
    track.probed('a', well);
    track.pause(false);
    deepEqual(track.probed('b', bad), ['resource.restarting b', 'stop b']);
  });
});
