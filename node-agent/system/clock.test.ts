import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bootMs, parseUptimeMs } from './clock.ts';
import { until } from './testing.ts';

test('the boot clock is what /proc/uptime says, never more', () => {
  const ours = bootMs();
  const theirs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000;
  assert.ok(ours <= theirs + 0.001 && ours > theirs - 100, `${ours} against ${theirs}`);
  assert.equal(ours % 10, 0);
});

test('the boot clock goes on', async () => {
  const before = bootMs();
  await until('10 ms have passed', () => bootMs() > before, 500);
});

test('hundredths of a second survive where a product of fractions would be rounded', () => {
  assert.equal(parseUptimeMs('1128.57'), 1_128_570); // 1128.57 * 1000 is 1128569.9999999998
  assert.equal(parseUptimeMs('0.29'), 290);
  assert.equal(parseUptimeMs('5'), 5_000);
  assert.equal(parseUptimeMs('1.2349'), 1_234);
  assert.equal(parseUptimeMs(''), undefined);
  assert.equal(parseUptimeMs('-1.0'), undefined);
});
