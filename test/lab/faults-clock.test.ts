/** What a coordinator's clock that jumps, and a change of the lease's timing, do to leases: nothing is ever granted early. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES, type LeaseProfile } from '../../schemas/limits.ts';
import {
  assertNeverTwo,
  assertNothingForgotten,
  Client,
  Cluster,
  documentOf,
  everyEvent,
  labUnavailable,
  memoryOf,
  monotonicMs,
  resources,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];
const MINUTES = 60_000;

const documentWith = (lease: string) => documentOf(names, [resources.vip, resources.nginx], { lease });

/** Waits until another host has the address; @returns how long after `sinceMs` that was. */
async function takenOver(cluster: Cluster, from: string, sinceMs: number, deadlineMs: number): Promise<number> {
  const another = () => cluster.observer.holders(VIP).some((host) => host !== from);
  await until(another, { deadlineMs, everyMs: 2, what: `a takeover from ${from}` });
  return monotonicMs() - sinceMs;
}

/** No grant before T_C has passed since the owner's last renewal, which came at most one interval before its power was cut. */
function assertNotEarly(tookMs: number, profile: LeaseProfile): void {
  const { takeoverMs, renewMs, retryMs } = LEASE_PROFILES[profile];
  const earliestMs = takeoverMs - renewMs - retryMs;
  ok(tookMs >= earliestMs, `taken over ${Math.round(tookMs)} ms after the cut; before ${earliestMs} ms is too early`);
}

async function powerCycled(cluster: Cluster, name: string): Promise<void> {
  await cluster.host(name).boot();
  await cluster.healthy();
}

test('the coordinator’s clock steps by minutes while the cluster runs: nothing moves, no client notices, a step back is told', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await Cluster.start({ testHooks: true });
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  await client.nextAnswer(10_000);
  const sinceMs = monotonicMs();
  for (const offsetMs of [10 * MINUTES, -5 * MINUTES, 0]) {
    await cluster.product.shiftClock(offsetMs);
    const steppedMs = monotonicMs();
    // longer than T_C, so that whatever the step sets in motion has ended
    await until(() => monotonicMs() - steppedMs > LEASE_PROFILES.default.takeoverMs + 500, {
      deadlineMs: 10_000,
      what: 'the length of a lease',
    });
    await cluster.healthy();
  }
  deepEqual(
    client.failures.filter((failure) => failure.sentMs >= sinceMs),
    [],
    'every question was answered',
  );
  const { groups } = await cluster.status();
  deepEqual([groups.web?.owner, groups.web?.epoch], ['alice', before.epochs.web], 'the same owner in the same epoch');
  await assertNothingForgotten(cluster, before);
  const since = (await everyEvent(cluster)).slice(before.events.length);
  const steps = since.filter((event) => event.kind === 'coordinator.clock-stepped');
  ok(
    steps.some((event) => /back by (89[89]|900)\d{3} ms/.test(event.detail)),
    'the step back of 15 minutes is told',
  );
  equal(since.filter((event) => event.kind === 'group.granted').length, 0, 'nothing was granted');
  await assertNeverTwo(cluster);
  await client.stop();
});

test('the coordinator’s clock steps right after the owner’s power was cut: no grant comes early, and it comes', {
  skip,
  timeout: 120_000,
}, async (t) => {
  await using cluster = await Cluster.start({ testHooks: true, document: documentWith('fast') });
  let owner = await cluster.settled('running');
  let clockMs = 0;
  for (const stepMs of [5 * MINUTES, -5 * MINUTES, -1_000]) {
    await cluster.healthy();
    const before = await memoryOf(cluster);
    const cutMs = monotonicMs();
    await cluster.host(owner).powerCut();
    clockMs += stepMs;
    await cluster.product.shiftClock(clockMs);
    const tookMs = await takenOver(cluster, owner, cutMs, 20_000);
    assertNotEarly(tookMs, 'fast');
    t.diagnostic(`step of ${stepMs / 1000} s: taken over ${Math.round(tookMs)} ms after the cut`);
    const dead = owner;
    owner = await cluster.settled('running');
    equal((await cluster.status()).groups.web?.epoch, (before.epochs.web ?? 0) + 1, 'one epoch above');
    await assertNothingForgotten(cluster, before);
    await powerCycled(cluster, dead);
  }
  await assertNeverTwo(cluster);
});

test('the lease’s timing changes while the group runs: nobody notices, and the next takeover goes by the new one', {
  skip,
  timeout: 180_000,
}, async (t) => {
  await using cluster = await Cluster.start({ document: documentWith('default') });
  await cluster.settled('running');
  await cluster.healthy();
  const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  await client.nextAnswer(10_000);
  let longerMs: number = LEASE_PROFILES.default.leaseMs;
  for (const profile of ['fast', 'wan', 'default'] as const) {
    const before = await memoryOf(cluster);
    const changedMs = monotonicMs();
    await cluster.product.apply(documentWith(profile));
    await cluster.healthy('web', 30_000);
    // a lease that became shorter is counted only when the longer one that was given has ended
    await until(() => monotonicMs() - changedMs > longerMs + 1_000, {
      deadlineMs: 30_000,
      what: 'the lease of the old timing to have ended',
    });
    longerMs = LEASE_PROFILES[profile].leaseMs;
    const unanswered = client.failures.filter((failure) => failure.sentMs >= changedMs);
    deepEqual(unanswered, [], `${profile}: every question was answered`);
    const owner = (await cluster.status()).groups.web?.owner ?? '';
    const cutMs = monotonicMs();
    await cluster.host(owner).powerCut();
    const tookMs = await takenOver(cluster, owner, cutMs, 40_000);
    assertNotEarly(tookMs, profile);
    ok(tookMs < LEASE_PROFILES[profile].takeoverMs + 2_500, `${profile}: taken over only after ${tookMs} ms`);
    t.diagnostic(`${profile}: taken over ${Math.round(tookMs)} ms after the cut`);
    await cluster.settled('running');
    await client.nextAnswer(10_000);
    await assertNothingForgotten(cluster, before);
    await cluster.host(owner).boot();
  }
  match((await cluster.event('config.applied')).detail, /revision 4/);
  await assertNeverTwo(cluster);
  await client.stop();
});

test('power lost at the very moment of a change of timing: the longer of the two leases is waited for', {
  skip,
  timeout: 180_000,
}, async (t) => {
  await using cluster = await Cluster.start({ document: documentWith('default') });
  await cluster.settled('running');
  const changes: readonly (readonly [LeaseProfile, LeaseProfile])[] = [
    ['default', 'fast'],
    ['fast', 'wan'],
    ['wan', 'default'],
  ];
  for (const [from, to] of changes) {
    await cluster.healthy();
    const owner = (await cluster.status()).groups.web?.owner ?? '';
    const before = await memoryOf(cluster);
    const applied = cluster.product.apply(documentWith(to));
    const cutMs = monotonicMs();
    // the owner hears of it, or does not: both must be safe
    await cluster.host(owner).powerCut();
    await applied;
    const tookMs = await takenOver(cluster, owner, cutMs, 40_000);
    const shorter = LEASE_PROFILES[from].leaseMs < LEASE_PROFILES[to].leaseMs ? from : to;
    assertNotEarly(tookMs, shorter);
    t.diagnostic(`${from} → ${to}: taken over ${Math.round(tookMs)} ms after the cut`);
    await cluster.settled('running');
    await assertNothingForgotten(cluster, before);
    await cluster.host(owner).boot();
  }
  await assertNeverTwo(cluster);
});
