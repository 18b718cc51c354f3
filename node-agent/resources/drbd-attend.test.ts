import { deepEqual } from 'node:assert/strict';
import { test } from 'node:test';
import { COPY_LOOK_MS } from '../../schemas/limits.ts';
import { silent } from '../system/index.ts';
import { attendDrbd } from './drbd-attend.ts';
import { Drbd, type ReadConfig } from './drbd-command.ts';
import { parseDrbdConfig } from './drbd-config.ts';
import { dumpXml } from './drbd-testing.ts';
import { DrbdWatch } from './drbd-watch.ts';

/** Its configuration can be read; whether the kernel freezes it says only when it is told to. */
class Mute extends Drbd {
  answers: boolean | undefined;
  asked = 0;

  constructor() {
    super({ programs: [], proc: '/nowhere' });
  }

  override config(): Promise<ReadConfig> {
    return Promise.resolve({ resources: parseDrbdConfig(dumpXml()) });
  }

  override freezesWithoutPeer(): Promise<boolean | undefined> {
    this.asked += 1;
    return Promise.resolve(this.answers);
  }

  override adm(): ReturnType<Drbd['adm']> {
    return Promise.reject(new Error('nothing is brought up here'));
  }
}

test('what was not answered in time is asked again ever later, and no more often than it is looked at anyway; an answer ends that', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  const drbd = new Mute();
  const attendance = attendDrbd({
    ...{ drbd, watch: new DrbdWatch(drbd), name: 'r0', host: 'n1', log: silent },
    ...{ promoting: () => false, apart: () => false, onDown: () => undefined, tell: () => undefined },
  });
  t.after(() => attendance.end());
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  /** Seconds from now at which it was asked. */
  const askedWithin = async (seconds: number): Promise<number[]> => {
    const at: number[] = [];
    for (let second = 1; second <= seconds; second++) {
      const before = drbd.asked;
      nowMs += 1_000;
      t.mock.timers.tick(1_000);
      await settled();
      for (let n = before; n < drbd.asked; n++) at.push(second);
    }
    return at;
  };
  const every = COPY_LOOK_MS / 1_000;
  await settled();
  deepEqual(await askedWithin(4 * every), [1, 3, 7, every, 15, 2 * every, 3 * every, 4 * every]);
  drbd.answers = true;
  deepEqual(await askedWithin(2 * every), [every, 2 * every]);
  drbd.answers = undefined;
  deepEqual(await askedWithin(2 * every), [every, every + 1, every + 3, every + 7, 2 * every]);
});
