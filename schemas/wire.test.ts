/** What a node takes from the wire has limits of its own, whoever sends it. */
import { equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES, type LeaseTiming, MAX_OPERATION_MS } from './limits.ts';
import { nodeConfigSchema } from './wire.ts';

const withTiming = (changes: Partial<LeaseTiming>) =>
  nodeConfigSchema.safeParse({ revision: 1, timing: { ...LEASE_PROFILES.default, ...changes }, groups: [] }).success;

test('a timing by which a node would wait for no answer, or for ever, is none', () => {
  for (const timing of Object.values(LEASE_PROFILES)) ok(withTiming(timing));
  for (const changes of [
    { renewMs: 0 },
    { renewMs: 2 ** 31 },
    { leaseMs: 0 },
    { leaseMs: 300_000_000_000 },
    { retries: 1_000 },
    { stopMs: 10_000 },
    { promiseMs: 2 ** 33 },
  ])
    ok(!withTiming(changes), JSON.stringify(changes));
});

test('a time-out longer than a day is none: a timer of Node would be over at once', () => {
  const config = (startMs: number) => ({
    ...{ revision: 1, timing: LEASE_PROFILES.default },
    groups: [{ name: 'web', on: [], resources: [{ type: 'service', id: 'a', times: { startMs }, unit: 'a.service' }] }],
  });
  equal(nodeConfigSchema.safeParse(config(MAX_OPERATION_MS)).success, true);
  equal(nodeConfigSchema.safeParse(config(2 ** 31)).success, false);
});
