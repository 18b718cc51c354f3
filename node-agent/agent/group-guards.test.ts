/** What a group must ask its guard, and in which order: before a start, after a stop, and about what it finds. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { OPERATION_TIMES } from '../../schemas/limits.ts';
import { GuardClient } from '../guard/index.ts';
import type { Outcome, Probe, Resource } from '../resources/index.ts';
import { silent } from '../system/index.ts';
import { until as untilLater } from '../system/testing.ts';
import { Group } from './group.ts';
import { FakeGuard } from './loop-testing.ts';
import { declared } from './testing.ts';

const OK: Outcome = { ok: true };

/** What happens here takes some ms. */
const until: typeof untilLater = (what, probe, deadlineMs = 2_000) => untilLater(what, probe, deadlineMs);

/** An address that comes and goes as it is told, and what happens to it, in order, between what the guard is asked. */
class Address implements Resource {
  readonly id = 'ip';
  readonly type = 'vip';
  readonly times = OPERATION_TIMES.vip;
  readonly #said: (what: string) => void;
  is: Probe = { state: 'stopped' };
  /** When a start ends. */
  started: Promise<void> = Promise.resolve();

  constructor(said: (what: string) => void) {
    this.#said = said;
  }

  holdings = async () => [{ kind: 'vip', interface: 'lan0', address: '192.0.2.10/24' } as const];
  probe = async () => this.is;
  watch = () => () => undefined;

  async start(): Promise<Outcome> {
    this.#said('start');
    await this.started;
    this.#said('started');
    this.is = { state: 'running' };
    return OK;
  }

  async stop(): Promise<Outcome> {
    this.#said('stop');
    this.is = { state: 'stopped' };
    return OK;
  }

  async forceStop(): Promise<Outcome> {
    this.#said('force');
    this.is = { state: 'stopped' };
    return OK;
  }
}

async function around(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'hf-group-'));
  const fake = await FakeGuard.listen(dir);
  const guard = await GuardClient.connect(dir);
  const log: string[] = [];
  fake.onLine = (line) => log.push(line.split(' ').slice(0, 3).join(' '));
  const address = new Address((what) => log.push(what));
  const downs: unknown[] = [];
  const group = new Group(
    {
      name: 'db',
      guard,
      now: () => performance.now(),
      log: silent,
      onNews: () => undefined,
      onDown: (failure) => downs.push(failure),
      onStuck: () => log.push('stuck'),
      onChange: () => undefined,
    },
    [{ declared: declared('ip'), resource: address }],
  );
  t.after(() => {
    group.dispose();
    guard.close();
    fake.end();
    rmSync(dir, { recursive: true });
  });
  const state = (wanted: string) => until(`it is ${wanted}`, () => group.report().state === wanted);
  return { fake, address, group, log, downs, state };
}

it('what a start makes exclusive is known to the guard before it begins', async (t) => {
  const { group, log, state } = await around(t);
  group.begin();
  group.up(1, false);
  await state('running');
  deepEqual(log, ['hold db vip', 'start', 'started']);
});

it('nothing is started that the guard does not take', async (t) => {
  const { fake, group, log } = await around(t);
  fake.refusals.set('hold', 'error late the instant to fire was 1, it is 2');
  group.begin();
  group.up(1, false);
  await until('it was asked', () => log.length > 0);
  await until('it has failed', () => group.report().resources[0]?.state !== 'starting');
  ok(!log.includes('start'), log.join());
});

it('what already runs is taken up under a lease only when the guard knows of it', async (t) => {
  const { fake, address, group, log, state } = await around(t);
  address.is = { state: 'running' };
  group.up(1, false);
  await state('running');
  deepEqual(log[0], 'hold db vip');
  fake.refusals.set('hold', 'error unknown no such group');
  const other = await around(t);
  other.address.is = { state: 'running' };
  other.fake.refusals.set('hold', 'error unknown no such group');
  other.group.up(1, false);
  await until('it is stopped', () => other.log.includes('stop'));
});

it('a stop is believed when the guard finds nothing left; otherwise it is forced', async (t) => {
  const { fake, group, log, downs, state } = await around(t);
  group.begin();
  group.up(1, false);
  await state('running');
  fake.refusals.set('unhold', 'error held it is still there');
  group.down('graceful');
  await until('it is forced', () => log.includes('force'));
  await until('it is stuck', () => log.includes('stuck'));
  equal(downs.length, 0, 'it is not said to be down');
  fake.refusals.delete('unhold');
  await until('it is down', () => downs.length === 1);
});

it('a stop waits for the end of the start that was called off', async (t) => {
  const { address, group, log, downs } = await around(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  address.started = promise;
  group.begin();
  group.up(1, false);
  await until('it starts', () => log.includes('start'));
  group.down('forced');
  await new Promise((done) => setTimeout(done, 50));
  ok(!log.includes('force'), log.join());
  resolve();
  await until('it is down', () => downs.length === 1);
  ok(log.indexOf('force') > log.indexOf('started'), log.join());
});
