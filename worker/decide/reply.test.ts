import { deepEqual, equal } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { newestRenewals } from './reply.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

const claimOf = (desk: Desk, node: string, told = {}) => desk.hears(node, told).observed[0]?.claim;

describe('what a node is told of a group that it does not renew', () => {
  test('the best candidate may claim what nobody has, the others may not', () => {
    const desk = new Desk();
    deepEqual(
      ['alice', 'bob'].map((node) => claimOf(desk, node)),
      ['now', 'never'],
    );
  });

  test('the next best waits for the lease that runs, T_C of that lease', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    const [seen] = desk.hears('bob').observed;
    deepEqual(seen, {
      group: 'db',
      renewal: desk.state.volatile.renewals.db?.id,
      claim: 'after',
      released: null,
      waitMs: TAKEOVER_MS,
    });
    equal(claimOf(desk, 'carol'), 'never');
  });

  test('an owner that never heard of its grant may claim it again at once', () => {
    const desk = new Desk();
    desk.claims('alice');
    equal(claimOf(desk, 'alice'), 'now');
  });

  test('another incarnation of the owner may not', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.passes(TAKEOVER_MS + 1);
    equal(claimOf(desk, 'alice', { incarnation: 'alice-2' }), 'after');
  });

  test('an owner in standby may not claim again what it did not take', () => {
    const desk = new Desk();
    desk.claims('alice');
    desk.does({ type: 'node-standby', node: 'alice', operation: 'o' });
    equal(claimOf(desk, 'alice'), 'never');
  });

  test('nothing may be claimed while a group is stopped or the data was restored', () => {
    const desk = new Desk();
    desk.does({ type: 'group-stop', group: 'db', operation: 'o' });
    equal(claimOf(desk, 'alice'), 'never');
    const restored = new Desk();
    restored.hears('bob', { epochs: { db: 4 } });
    equal(claimOf(restored, 'bob'), 'never');
  });

  test('nothing is said of what it renews, nor of groups that are not its own', () => {
    const desk = new Desk(config({ db: ['alice', 'bob'], web: ['carol'] }));
    desk.runsOn('alice');
    deepEqual(desk.renews('alice', 1).observed, []);
    deepEqual(
      desk.hears('carol').observed.map(({ group }) => group),
      ['web'],
    );
  });

  test('candidates that had no part in a commit are told the newest renewals, the owner is not', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    deepEqual(newestRenewals(desk.state, ['db'], 'alice'), []);
    deepEqual(newestRenewals(desk.state, ['db'], 'bob'), [
      { group: 'db', renewal: desk.state.volatile.renewals.db?.id },
    ]);
  });
});

describe('a reply', () => {
  test('asks all nodes to report at the same multiple of the interval, and never hurries one that just did', () => {
    const { renewMs } = LEASE_PROFILES.default;
    const desk = new Desk();
    for (const [past, wait] of [
      [0, renewMs],
      [400, 600],
      [700, 300],
      [800, 1_200],
      [999, 1_001],
    ] as const) {
      desk.now = 1_700_000_100_000 + past;
      equal(desk.hears('alice').renewInMs, wait);
    }
  });

  test('carries the configuration to those who work by another revision, and with the first report to an instance', () => {
    const desk = new Desk(config({ db: ['alice'], web: ['bob'] }));
    equal(desk.hearsWithoutEpochs('alice').config, undefined);
    equal(desk.hears('alice').config?.revision, 1, 'after a restore the numbers repeat');
    const sent = desk.hears('alice', { revision: 0 }).config;
    deepEqual([sent?.revision, sent?.groups.map(({ name }) => name)], [1, ['db']]);
  });

  test('names the report, the history and the instance', () => {
    const reply = new Desk().hears('alice', { id: 'mine' });
    deepEqual([reply.id, reply.history, reply.instance], ['mine', 'h1', 'i1']);
  });
});

test('C7: an incarnation whose epochs are not known is asked for them; what came late of an earlier one does not count as its word', () => {
  const desk = new Desk();
  equal(desk.hearsWithoutEpochs('alice').tellEpochs, undefined, 'told with its first report');
  desk.passes(2 * TAKEOVER_MS);
  desk.hears('alice', { incarnation: 'alice-0' });
  desk.passes(2 * TAKEOVER_MS);
  equal(desk.hearsWithoutEpochs('alice').tellEpochs, true);
  equal(desk.hears('alice').tellEpochs, undefined);
});
