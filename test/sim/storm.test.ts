/**
 * Randomised storms over the real decisions of all parts (worker/decide, keep.ts, run.ts). `HOLDFAST_STORM_SEED=n` replays one seed
 * and prints its timeline; `HOLDFAST_STORM_SEEDS=n` runs more of them, `HOLDFAST_STORM_FIRST=n` from another seed on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storm } from './storm.ts';

const MINUTES = 10;
const only = process.env.HOLDFAST_STORM_SEED;
const first = Number(process.env.HOLDFAST_STORM_FIRST ?? 1);
const seeds = Number(process.env.HOLDFAST_STORM_SEEDS ?? 300);

function explain(seed: number): string {
  const { violation, timeline } = storm(seed, MINUTES * 60_000, true);
  return `seed ${seed}: ${violation ?? 'no violation'}\n${timeline}\nreplay: HOLDFAST_STORM_SEED=${seed} node --test test/sim/storm.test.ts`;
}

test('no storm makes two hosts run a group at once, or leaves one down after it', { skip: only !== undefined }, (t) => {
  let starts = 0;
  let takeovers = 0;
  let faults = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const result = storm(seed, MINUTES * 60_000, false);
    if (result.violation !== undefined) assert.fail(explain(seed));
    starts += result.starts;
    takeovers += result.takeovers;
    faults += result.faults;
  }
  t.diagnostic(`${seeds} seeds, ${faults} faults, ${starts} starts, ${takeovers} changes of host`);
  assert.ok(
    takeovers > 5 * seeds,
    `only ${takeovers} changes of host in ${seeds} storms: they blow past the lease protocol`,
  );
});

test('one seed, replayed with its timeline', { skip: only === undefined }, () => {
  const { violation, timeline } = storm(Number(only), MINUTES * 60_000, true);
  process.stdout.write(`${timeline}\n`);
  assert.equal(violation, undefined);
});
