import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monitorResult, startOutcome, stopOutcome } from './ocf-codes.ts';

/** Columns: code, start, stop, probe, recurring monitor. A state, or `failed` with its severity. */
const table: readonly (readonly [number, string, string, string, string])[] = [
  [0, 'ok', 'ok', 'running', 'running'],
  [1, 'soft', 'soft', 'failed soft', 'failed soft'],
  [2, 'hard', 'hard', 'failed hard', 'failed hard'],
  [3, 'hard', 'hard', 'failed hard', 'running'],
  [4, 'hard', 'hard', 'failed hard', 'failed hard'],
  [5, 'hard', 'hard', 'stopped', 'failed hard'],
  [6, 'fatal', 'fatal', 'failed fatal', 'failed fatal'],
  [7, 'soft', 'ok', 'stopped', 'stopped'],
  [8, 'soft', 'soft', 'running', 'running'],
  [9, 'soft', 'soft', 'failed soft', 'failed soft'],
  [190, 'ok', 'soft', 'running', 'running'],
  [191, 'soft', 'soft', 'running', 'running'],
  [42, 'soft', 'soft', 'failed soft', 'failed soft'],
];

for (const [code, start, stop, probe, recurring] of table) {
  test(`exit code ${code} means: start ${start}, stop ${stop}, probe ${probe}, monitor ${recurring}`, () => {
    const ended = { code, reason: 'why' };
    const outcome = (result: ReturnType<typeof startOutcome>) => (result.ok ? 'ok' : result.severity);
    const state = (result: ReturnType<typeof monitorResult>) =>
      result.state === 'failed' ? `failed ${result.severity}` : result.state;
    assert.equal(outcome(startOutcome(ended)), start);
    assert.equal(outcome(stopOutcome(ended)), stop);
    assert.equal(state(monitorResult(ended, false)), probe);
    assert.equal(state(monitorResult(ended, true)), recurring);
  });
}

test('a degraded resource runs, with its reason as a note', () => {
  assert.deepEqual(monitorResult({ code: 190, reason: 'one disk of two' }, true), {
    state: 'running',
    note: 'one disk of two',
  });
});
