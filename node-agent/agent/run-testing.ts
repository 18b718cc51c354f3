/** For the tests of what a run makes of a failure: three resources, of which the one in the middle fails. */
import { equal } from 'node:assert/strict';
import type { Outcome, Probe } from '../resources/index.ts';
import { type Described, Track } from './testing.ts';

export const soft: Outcome = { ok: false, severity: 'soft', reason: 'no' };
export const bad = { state: 'failed', severity: 'soft', reason: 'slow' } as const satisfies Probe;
export const well: Probe = { state: 'running' };
export const gone: Probe = { state: 'stopped' };
export const ended: Probe = { state: 'failed', severity: 'soft', reason: 'killed', ended: true };

/** `web` under test, between what comes before it and after it; all of them run. */
export function up(policy: Partial<Described>): Track {
  const track = new Track('ip', { id: 'web', ...policy }, 'log');
  track.discover();
  track.want('up');
  track.start('ip', 'web', 'log');
  equal(track.shown, 'running');
  return track;
}

/** Its next monitor says this; those of the others are well. */
export function monitored(track: Track, probe: Probe): string[] {
  track.now += 10_000;
  track.tick();
  track.probed('ip', well);
  track.probed('log', well);
  return track.probed('web', probe);
}

export const shownOf = (track: Track, id = 'web') => track.report().resources.find((resource) => resource.id === id);
