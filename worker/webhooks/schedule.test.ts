import { equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_RETRY_AFTER_MS, WEBHOOK_RETRY_MS } from '../../schemas/webhook.ts';
import { pauseAfter, retryAfterMs } from './schedule.ts';

test('every failed attempt but the last is followed by another, later each time, within a fifth of the plan', () => {
  for (const [index, planned] of WEBHOOK_RETRY_MS.entries())
    for (const random of [0, 0.5, 1]) {
      const pause = pauseAfter(index + 1, null, random) ?? 0;
      ok(Math.abs(pause - planned) <= planned / 5, `${pause} for ${planned}`);
    }
  equal(pauseAfter(WEBHOOK_RETRY_MS.length + 1, null, 0.5), null);
});

test('what the receiver asks for counts where it is longer, up to an hour', () => {
  equal(pauseAfter(1, 60_000, 0.5), 60_000);
  equal(pauseAfter(1, 0, 0.5), WEBHOOK_RETRY_MS[0]);
  equal(pauseAfter(1, 86_400_000, 0.5), MAX_RETRY_AFTER_MS);
});

test('Retry-After is seconds or a date; nonsense is nothing', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  equal(retryAfterMs('120', now), 120_000);
  equal(retryAfterMs('Thu, 01 Jan 2026 00:01:00 GMT', now), 60_000);
  equal(retryAfterMs('Wed, 31 Dec 2025 00:00:00 GMT', now), 0);
  for (const nonsense of [null, 'soon', '-1', '1e9', '9'.repeat(30)])
    equal(retryAfterMs(nonsense, now) ?? 0, 0, String(nonsense));
});
