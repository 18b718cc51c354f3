/**
 * Randomised storms over the real decisions of all parts (worker/decide, keep.ts, run.ts). `HOLDFAST_STORM_SEED=n` replays one seed
 * and prints its timeline; `HOLDFAST_STORM_SEEDS=n` runs more of them, `HOLDFAST_STORM_FIRST=n` from another seed on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storm } from './storm.ts';

const MINUTES = 5;
/** What has to come up in a storm that is worth its name. */
const REACHED = [
  'grant: lease-expired',
  'grant: released',
  'grant: declared-dead',
  'change of host',
  'lease lost',
  'fuse fired',
  'stuck',
];
const only = process.env.HOLDFAST_STORM_SEED;
const first = Number(process.env.HOLDFAST_STORM_FIRST ?? 1);
const seeds = Number(process.env.HOLDFAST_STORM_SEEDS ?? 240);

function explain(seed: number): string {
  const { violation, timeline } = storm(seed, MINUTES * 60_000, true);
  return `seed ${seed}: ${violation ?? 'no violation'}\n${timeline}\nreplay: HOLDFAST_STORM_SEED=${seed} node --test test/sim/storm.test.ts`;
}

test('no storm makes two hosts run a group at once, or leaves one down after it', { skip: only !== undefined }, (t) => {
  const counts = new Map<string, number>();
  for (let seed = first; seed < first + seeds; seed++) {
    const result = storm(seed, MINUTES * 60_000, false);
    if (result.violation !== undefined) assert.fail(explain(seed));
    for (const [what, times] of result.counts) counts.set(what, (counts.get(what) ?? 0) + times);
  }
  t.diagnostic(`${seeds} seeds: ${[...counts].map(([what, times]) => `${times} × ${what}`).join(', ')}`);
  for (const what of REACHED)
    assert.ok((counts.get(what) ?? 0) >= seeds / 10, `hardly any “${what}”: these storms blow past the protocol`);
});

if (only !== undefined)
  test('one seed, replayed with its timeline', () => {
    const { violation, timeline } = storm(Number(only), MINUTES * 60_000, true);
    process.stdout.write(`${timeline}\n`);
    assert.equal(violation, undefined);
  });
