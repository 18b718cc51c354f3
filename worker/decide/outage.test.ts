import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import type { Outage } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import { LEASE_PROFILES, VOTER_LOST_MS } from '../../schemas/limits.ts';
import { statusOf, whyOf } from './explain.ts';
import { config, Desk } from './testing.ts';

const { leaseMs, takeoverMs } = LEASE_PROFILES.default;
const endpoint = { addresses: ['198.51.100.1'], port: 7480, key: 'A'.repeat(43) };

function outage(desk: Desk): Outage {
  const found = statusOf(desk.state, desk.now).groups.db?.outage;
  if (found === undefined) throw new Error('no outage is told');
  return found;
}

/** alice renews, with the newest voters that she was told of, and says whether the others have promised. */
function renews(desk: Desk, backed: boolean): void {
  const { epoch, voters, pendingVoters } = desk.lease();
  const version = voters.version + (pendingVoters === null ? 0 : 1);
  desk.hears('alice', { endpoint, leases: [{ group: 'db', epoch, voters: version, backed }] });
}

/** db has been running on alice for some time, and the nodes in `alive` go on reporting. */
function running(desk: Desk, backed: boolean, seconds = 6, alive: readonly string[] = ['bob', 'carol']): Desk {
  for (let second = 0; second < seconds; second++) {
    desk.passes(1_000);
    for (const node of alive) desk.hears(node, { endpoint });
    renews(desk, backed);
    desk.does({ type: 'tick' });
  }
  return desk;
}

function started(wanted?: Config): Desk {
  const desk = new Desk(wanted);
  desk.runsOn('alice');
  return desk;
}

test('a group whose voters have all promised would survive, and any of them may take over', () => {
  const desk = running(started(), true);
  deepEqual(outage(desk), { survives: true, takeover: true, voters: ['alice', 'bob', 'carol'] });
});

test('one whose voters have not: the nodes are named that listen for no peers, and those that are lost', () => {
  const desk = started();
  desk.passes(leaseMs + 1_000, ['bob', 'carol']);
  renews(desk, false);
  match(outage(desk).reason ?? '', /^bob and carol listen for no peers$/);
  for (const node of ['bob', 'carol']) desk.hears(node, { endpoint });
  match(
    outage(desk).reason ?? '',
    /^not all of bob and carol have promised alice to keep out: do they reach each other/,
  );
  running(desk, false, 6, ['carol']);
  match(outage(desk).reason ?? '', /^bob is lost \(dropped from the voters after a minute\)$/);
  deepEqual([outage(desk).survives, outage(desk).settling], [false, undefined]);
});

test('a node that is lost to the coordinator and promises all the same costs nothing', () => {
  const desk = running(running(started(), true), true, 6, ['carol']);
  deepEqual([outage(desk).survives, outage(desk).reason], [true, undefined]);
});

test('when all others were lost for a minute the owner is its only voter: no automatic takeover, and why', () => {
  const desk = running(started(config({ db: ['alice', 'bob'] })), true);
  running(desk, true, VOTER_LOST_MS / 1_000 + 3, ['carol']);
  deepEqual(outage(desk), {
    survives: true,
    takeover: false,
    voters: ['alice'],
    reason: 'alice is its only voter, so no other node may take it over (bob is lost)',
  });
  // it is back, and votes when the owner has heard of it
  desk.hears('bob', { endpoint });
  const { takeover, settling, reason } = outage(desk);
  deepEqual([takeover, settling], [false, true]);
  match(reason ?? '', /bob votes in a moment/);
  renews(desk, true);
  deepEqual([outage(desk).takeover, outage(desk).settling], [true, undefined]);
});

test('a group of one node needs nobody, and nobody takes it over', () => {
  const desk = running(started(config({ db: ['alice'] })), true);
  deepEqual(outage(desk), {
    survives: true,
    takeover: false,
    voters: ['alice'],
    reason: 'it may run on alice alone, as its `on` list says',
  });
});

test('a group that requires the uplink is meant to stop', () => {
  const wanted = config({ db: ['alice', 'bob'] });
  const { db } = wanted.groups;
  if (db === undefined) throw new Error('no db');
  const desk = running(started({ ...wanted, groups: { db: { ...db, requires: 'uplink' } } }), true);
  const { survives, takeover, requires, settling, reason } = outage(desk);
  deepEqual([survives, takeover, requires, settling], [false, true, 'uplink', undefined]);
  match(reason ?? '', /`requires: uplink`/);
});

test('nothing is known right after a start of the coordinator, and little right after that of the group', () => {
  const desk = started();
  renews(desk, false);
  deepEqual([outage(desk).survives, outage(desk).settling], [false, true]);
  running(desk, true);
  desk.restarts();
  const { survives, settling, voters, reason } = outage(desk);
  deepEqual([survives, settling, voters], [false, true, ['alice', 'bob', 'carol']]);
  match(reason ?? '', /not known yet/);
  renews(desk, true);
  deepEqual([outage(desk).survives, outage(desk).settling], [true, undefined]);
});

test('what nobody runs would not survive, nor what an owner runs that does not report', () => {
  const desk = new Desk();
  deepEqual(outage(desk), { survives: false, takeover: true, voters: [], reason: 'nobody runs it' });
  desk.runsOn('alice');
  running(desk, true);
  desk.passes(leaseMs + 1, ['bob', 'carol']);
  match(outage(desk).reason ?? '', /^alice does not report$/);
});

/** alice is not heard of any more, and bob says that it has promised to keep out. */
function unheard(): Desk {
  const desk = running(started(config({ db: ['alice', 'bob'] })), true);
  desk.passes(takeoverMs + 1_000, ['carol']);
  desk.hears('bob', { promised: [{ group: 'db', epoch: desk.lease().epoch }] });
  desk.does({ type: 'tick' });
  return desk;
}

test('an owner that lives on promises is shown, with who has promised, and would take over', () => {
  const desk = unheard();
  const { state, owner, candidates, reason } = statusOf(desk.state, desk.now).groups.db ?? {};
  deepEqual([state, owner], ['degraded', 'alice']);
  match(reason ?? '', /alice does not reach the coordinator and runs it on by the promise of bob/);
  const bob = candidates?.find(({ node }) => node === 'bob');
  deepEqual(bob?.reasons[0], { rule: 'promised', owner: 'alice', epoch: 1 });
  equal(bob?.eligible, true);
  const why = whyOf(desk.state, 'db', desk.now, { lastGrant: null, refusals: [] });
  deepEqual([why?.owner, why?.candidates], ['alice', candidates]);
  deepEqual([outage(desk).survives, outage(desk).takeover], [true, true]);
  desk.hears('bob');
  equal(statusOf(desk.state, desk.now).groups.db?.owner, null);
});

test('a group that is stopped while its owner does not report may run on: that is said', () => {
  const desk = running(started(config({ db: ['alice', 'bob'] })), true);
  desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
  desk.passes(takeoverMs + 1_000, ['bob', 'carol']);
  const { state, reason } = statusOf(desk.state, desk.now).groups.db ?? {};
  equal(state, 'stopped');
  match(reason ?? '', /stopped by an operator; alice was not heard of since, and stops it as soon as/);
  desk.hears('alice', { incarnation: 'alice-2' });
  equal(statusOf(desk.state, desk.now).groups.db?.reason, 'stopped by an operator');
});

test('status tells where each node listens for its peers', () => {
  const desk = new Desk();
  desk.hears('bob', { endpoint });
  const { alice, bob } = statusOf(desk.state, desk.now).nodes;
  deepEqual([alice?.listens, bob?.listens], [null, { addresses: ['198.51.100.1'], port: 7480 }]);
});

test('for a lease after other voters were taken up, nothing is concluded from promises that were not told yet', () => {
  const desk = running(started(), true);
  const refuses = [{ group: 'db', resource: 'ip', reason: 'a package is missing' }];
  desk.hears('bob', { endpoint, refusals: refuses });
  running(desk, true, 3);
  desk.hears('bob', { endpoint, refusals: [] });
  renews(desk, true);
  renews(desk, false);
  deepEqual([desk.lease().voters.names.includes('bob'), outage(desk).settling], [true, true]);
  running(desk, false, 5);
  equal(outage(desk).settling, undefined);
});
