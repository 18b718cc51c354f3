import { deepEqual, equal, notEqual } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Outcome } from '../resources/index.ts';
import { declared, Track } from './testing.ts';

const failed: Outcome = { ok: false, severity: 'soft', reason: 'hangs' };
const up = (...ids: string[]) => {
  const track = new Track(...ids);
  track.discover();
  track.want('up');
  track.start(...ids);
  return track;
};

describe('a graceful stop', () => {
  test('takes the resources down in reverse, one at a time, and says so when all are down', () => {
    const track = up('a', 'b', 'c');
    deepEqual(track.want('down'), ['stop c']);
    equal(track.shown, 'stopping');
    deepEqual(track.stopped('c'), ['stop b']);
    deepEqual(track.stopped('b'), ['stop a']);
    deepEqual(track.stopped('a'), ['down']);
    equal(track.shown, 'stopped');
  });

  test('calls off a start under way, and stops it when that has ended', () => {
    const track = new Track('a', 'b');
    track.discover();
    track.want('up');
    track.started('a');
    deepEqual(track.want('down'), ['abort b', 'stop b']);
  });

  test('calls off a look and a repair', () => {
    const track = new Track({ id: 'a', repairable: true }, 'b');
    track.discover();
    track.want('up');
    track.start('a', 'b');
    track.apply({ type: 'changed', key: 'a', what: 'x' });
    track.apply({ type: 'changed', key: 'b', what: 'x' });
    deepEqual(track.want('down'), ['abort a', 'abort b', 'stop b']);
  });

  test('of what waits for its restart has nothing to do', () => {
    const track = up('a');
    track.apply({ type: 'changed', key: 'a', what: 'x' });
    track.probed('a', { state: 'stopped' });
    track.stopped('a');
    equal(track.is('a'), 'waiting');
    deepEqual(track.want('down'), ['down']);
    equal(track.is('a'), 'stopped');
  });

  test('asked for again while it is under way begins nothing twice', () => {
    const track = up('a', 'b');
    track.want('down');
    deepEqual(track.want('down'), []);
  });

  test('of what is down already is answered: who asks waits for the answer', () => {
    const track = new Track('a');
    track.discover();
    deepEqual(track.want('down'), ['down']);
    deepEqual(track.want('down-now'), ['down']);
    deepEqual(track.want('down'), ['down']);
  });

  test('may be taken back: what was stopped starts again, in order', () => {
    const track = up('a', 'b');
    track.want('down');
    track.want('up', 2);
    deepEqual(track.stopped('b'), ['start b']);
    equal(track.is('a'), 'running');
    deepEqual(track.report().epoch, 2);
  });
});

describe('a forced stop', () => {
  const states: [string, (track: Track) => void, string[]][] = [
    ['stopped', () => undefined, ['down']],
    ['unknown', (track) => track.reset(), ['force a']],
    [
      'probing',
      (track) => {
        track.reset();
        track.tick();
      },
      ['abort a', 'force a'],
    ],
    ['starting', (track) => track.want('up'), ['abort a', 'force a']],
    [
      'running',
      (track) => {
        track.want('up');
        track.start('a');
      },
      ['force a'],
    ],
    [
      'checking',
      (track) => {
        track.want('up');
        track.start('a');
        track.apply({ type: 'changed', key: 'a', what: 'x' });
      },
      ['abort a', 'force a'],
    ],
    [
      'stopping',
      (track) => {
        track.want('up');
        track.start('a');
        track.want('down');
      },
      ['abort a', 'force a'],
    ],
    [
      'waiting',
      (track) => {
        track.want('up');
        track.started('a', failed);
        track.stopped('a');
      },
      ['down'],
    ],
    [
      'stuck',
      (track) => {
        track.want('up');
        track.start('a');
        track.want('down');
        track.stopped('a', failed);
        track.stopped('a', failed, 'force');
        track.now += 200;
      },
      ['force a'],
    ],
  ];
  for (const [is, before, expected] of states)
    test(`of what is ${is}: ${expected.join(', ')}`, () => {
      const track = new Track('a');
      track.discover();
      before(track);
      equal(track.is('a'), is);
      deepEqual(track.want('down-now'), expected);
    });

  test('takes everything down at once, in no order', () => {
    const track = up('a', 'b', 'c');
    deepEqual(track.want('down-now'), ['force a', 'force b', 'force c']);
    track.stopped('b', { ok: true }, 'force');
    track.stopped('a', { ok: true }, 'force');
    deepEqual(track.stopped('c', { ok: true }, 'force'), ['down']);
  });

  test('is not weakened into a graceful one', () => {
    const track = up('a');
    track.want('down-now');
    deepEqual(track.want('down'), []);
    equal(track.state.want, 'down-now');
  });

  test('does not count a graceful stop that succeeds meanwhile', () => {
    const track = up('a');
    track.want('down');
    track.want('down-now');
    deepEqual(track.stopped('a'), []);
    deepEqual(track.stopped('a', { ok: true }, 'force'), ['down']);
  });

  test('is not begun a second time while it is under way', () => {
    const track = up('a');
    track.want('down-now');
    deepEqual(track.tick(), []);
    deepEqual(track.want('down-now'), []);
  });
});

describe('the stop ladder', () => {
  test('goes from a stop that failed to force, to being stuck, and tries force again until it helps', () => {
    const track = up('a');
    track.want('down');
    deepEqual(track.stopped('a', failed), ['resource.stop-failed a', 'force a']);
    deepEqual(track.stopped('a', failed, 'force'), ['stuck a hangs']);
    equal(track.report().resources[0]?.state, 'failed');
    equal(track.due(), track.now + 200);
    deepEqual(track.tick(), []);
    track.now += 200;
    deepEqual(track.tick(), ['force a']);
    deepEqual(track.stopped('a', failed, 'force'), ['stuck a hangs']);
    track.now += 200;
    track.tick();
    deepEqual(track.stopped('a', { ok: true }, 'force'), ['down']);
  });

  test('keeps what comes before a stuck resource up until that is down', () => {
    const track = up('a', 'b');
    track.want('down');
    track.stopped('b', failed);
    track.stopped('b', failed, 'force');
    equal(track.is('a'), 'running');
    track.now += 200;
    track.tick();
    deepEqual(track.stopped('b', { ok: true }, 'force'), ['stop a']);
  });

  test('takes down the others at once when the lease ends over it', () => {
    const track = up('a', 'b');
    track.want('down');
    track.stopped('b', failed);
    track.stopped('b', failed, 'force');
    deepEqual(track.want('down-now'), ['force a']);
  });
});

describe('a group that is given up from outside', () => {
  const failure = { resource: 'guard', severity: 'hard', reason: 'not armed' } as const;

  test('is stopped gracefully and says why it is down', () => {
    const track = up('a');
    deepEqual(track.apply({ type: 'give-up', failure }), ['stop a']);
    deepEqual(track.stopped('a'), ['down: guard hard not armed']);
  });

  test('before anyone had looked at it is stopped in order, and not said to run without the lease that it has', () => {
    const track = new Track('a', 'b');
    track.want('up');
    track.apply({ type: 'give-up', failure });
    deepEqual(track.probed('a', { state: 'running' }), []);
    deepEqual(track.probed('b', { state: 'running' }), ['stop b']);
    deepEqual(track.stopped('b'), ['stop a']);
    deepEqual(track.stopped('a'), ['down: guard hard not armed']);
  });

  test('keeps its first reason, and a forced stop stays forced', () => {
    const track = up('a');
    track.want('down-now');
    track.apply({ type: 'give-up', failure });
    track.apply({ type: 'give-up', failure: { ...failure, reason: 'later' } });
    equal(track.state.want, 'down-now');
    deepEqual(track.stopped('a', { ok: true }, 'force'), ['down: guard hard not armed']);
  });

  test('that never started says so at once, and the next lease begins without the old reason', () => {
    const track = new Track('a');
    track.discover();
    deepEqual(track.apply({ type: 'give-up', failure }), ['down: guard hard not armed']);
    deepEqual(track.want('up', 2), ['start a']);
    track.want('down');
    deepEqual(track.stopped('a'), ['down']);
  });
});

describe('a new declaration', () => {
  test('while up restarts from the first difference on, under the old declaration first', () => {
    const track = up('a', 'b', 'c');
    deepEqual(track.declare('a', 'x', 'c'), ['stop c']);
    deepEqual(track.stopped('c'), ['stop b']);
    deepEqual(track.stopped('b'), ['probe x', 'probe c']);
    track.probed('x', { state: 'stopped' });
    deepEqual(track.effects, ['start x']);
    track.probed('c', { state: 'stopped' });
    deepEqual(track.started('x'), ['start c']);
    equal(track.is('a'), 'running');
  });

  test('that only adds at the end touches nothing that runs', () => {
    const track = up('a');
    deepEqual(track.declare('a', 'b'), ['probe b']);
    deepEqual(track.probed('b', { state: 'stopped' }), ['start b']);
    equal(track.is('a'), 'running');
  });

  test('that only removes stops just that', () => {
    const track = up('a', 'b');
    deepEqual(track.declare('a'), ['stop b']);
    deepEqual(track.stopped('b'), []);
    deepEqual(
      track.state.resources.map(({ id }) => id),
      ['a'],
    );
    equal(track.shown, 'running');
  });

  test('with other times only restarts nothing and takes them at once', () => {
    const track = up('a');
    const times = { ...declared('a').times, stopMs: 77 };
    deepEqual(track.apply({ type: 'declare', resources: [{ ...declared('a'), times }] }), []);
    equal(track.state.resources[0]?.times.stopMs, 77);
    equal(track.is('a'), 'running');
  });

  test('while down takes effect at once: what it adds is looked at before the group counts as down', () => {
    const track = new Track('a');
    track.discover();
    deepEqual(track.declare('b'), ['probe b']);
    equal(track.state.settled, false);
    deepEqual(track.probed('b', { state: 'running' }), ['resource.stopped-without-lease b', 'force b']);
    deepEqual(track.stopped('b', { ok: true }, 'force'), ['down']);
  });

  test('during a stop waits for its end, and what it adds is looked at before the group counts as down', () => {
    const track = up('a');
    track.want('down');
    deepEqual(track.declare('b'), []);
    deepEqual(track.stopped('a'), ['probe b']);
    deepEqual(track.probed('b', { state: 'stopped' }), ['down']);
  });

  test('during a forced stop does the same', () => {
    const track = up('a');
    track.want('down-now');
    track.declare('b');
    deepEqual(track.stopped('a', { ok: true }, 'force'), ['force b']);
  });

  test('taken back before it took effect changes nothing', () => {
    const track = up('a', 'b');
    track.declare('a', 'x');
    track.declare('a', 'b');
    notEqual(track.is('b'), 'running');
    deepEqual(track.stopped('b'), ['start b']);
  });
});
