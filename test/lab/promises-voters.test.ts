/**
 * Voters that die, that were away, that are cut off one way: what an outage of the coordinator then costs, and who may take over afterwards
 * (protocol.md O2, C3, C6, proof of death). Safety is the same in all of them: nobody starts what nobody granted.
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { VOTER_LOST_MS } from '../../schemas/limits.ts';
import { backAndReady, checked, faultTest, lasting, names, pidsOf, runningOnAlice, step } from './faults.ts';
import { type Cluster, monotonicMs, until, VIP } from './index.ts';
import {
  anotherVoter,
  backAsBefore,
  foretold,
  leaseMs,
  livesOnPromises,
  nobodyStarts,
  runsAbove,
  SETTLED_MS,
  safe,
  safeByAnother,
  saidOnLoss,
  served,
  stopsInTime,
  takeoverMs,
  Watch,
} from './outages.ts';

const DROPPED_MS = VOTER_LOST_MS + 30_000;

/** The voters are these, and an outage that begins now would cost the group nothing. */
async function safeWith(cluster: Cluster, voters: readonly string[], deadlineMs = 30_000) {
  const same = (found: readonly string[]) => found.toSorted().join() === voters.toSorted().join();
  const what = `${voters.join(', ')} to be the voters`;
  return await foretold(cluster, (outage) => outage.survives && same(outage.voters), what, { deadlineMs });
}

const textOf = (cluster: Cluster) => cluster.product.mustCli(['status']);

/** Waits until `status` says this to a person. */
async function said(cluster: Cluster, what: RegExp): Promise<void> {
  let text = '';
  const says = async () => {
    text = await textOf(cluster);
    return what.test(text);
  };
  await until(says, { deadlineMs: 15_000, everyMs: 200, what: `the status to say ${what}` }).catch(() => undefined);
  match(text, what);
}

faultTest(
  'a voter dies during an outage: the owner stops in time and nobody starts; a voter that was lost for a minute before one costs nothing',
  { ...served(), timeoutMs: 300_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const carol = cluster.host('carol');
    await safeWith(cluster, names);
    const watch = await Watch.start(cluster);

    await step(t, 'a voter loses power during the outage', async (t) => {
      await cluster.product.stopCoordinator('SIGKILL');
      await livesOnPromises(alice);
      await lasting(5_000, 'more than a lease on promises');
      const cutMs = monotonicMs();
      await carol.powerCut();
      const goneMs = await stopsInTime(cluster, alice, cutMs);
      ok(goneMs > leaseMs / 4, `not at once either: ${goneMs} ms`);
      await nobodyStarts(cluster);
      const startedMs = monotonicMs();
      await cluster.product.startCoordinator();
      equal(await runsAbove(cluster, 1), (await watch.client.nextAnswer(10_000)).text);
      const { answeredMs, text } = await watch.client.nextAnswer(10_000, startedMs);
      t.diagnostic(
        `gone ${goneMs.toFixed(0)} ms after the voter lost power; ${text} answers ${(answeredMs - startedMs).toFixed(0)} ms after the coordinator was started`,
      );
      await saidOnLoss(cluster, alice, /no renewal was answered for \d+ ms, and carol did not promise to keep out/);
      equal((await cluster.status()).groups.web?.epoch, 2);
    });

    await step(t, 'until it is dropped the status warns; then an outage costs nothing', async (t) => {
      const lostMs = monotonicMs();
      await foretold(cluster, ({ reason = '' }) => /carol is lost \(dropped .* a minute\)/.test(reason), 'the warning');
      await said(cluster, /an outage of the coordinator would stop web: .*carol is lost/);
      equal((await checked(cluster)).code, 1);
      await safeWith(cluster, ['alice', 'bob'], DROPPED_MS);
      t.diagnostic(`dropped ${((monotonicMs() - lostMs) / 1_000).toFixed(0)} s after the coordinator was back`);
      const { owner, epoch } = (await cluster.status()).groups.web ?? {};
      await watch.unnoticed(t, 'an outage without carol', owner ?? '', async () => {
        await cluster.product.stopCoordinator('SIGKILL');
        await livesOnPromises(cluster.host(owner ?? ''));
        await lasting(SETTLED_MS, 'two takeovers');
        await backAsBefore(cluster, owner ?? '', epoch ?? 0);
      });
    });

    await step(t, 'back again, it votes again', async () => {
      await carol.boot();
      await safeWith(cluster, names);
    });
    await watch.stop();
  },
);

const two = ['alice', 'bob'];

faultTest(
  'two nodes: without the other an outage stops the owner, a minute later nothing does; then nobody takes over from it but by a person’s word',
  { ...served(two), timeoutMs: 300_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    const { product } = cluster;
    await safeWith(cluster, two);
    const watch = await Watch.start(cluster);

    await step(t, 'the other node loses power during the outage: the owner stops', async (t) => {
      await product.stopCoordinator('SIGKILL');
      await livesOnPromises(alice);
      const cutMs = monotonicMs();
      await bob.powerCut();
      t.diagnostic(`gone ${(await stopsInTime(cluster, alice, cutMs)).toFixed(0)} ms after the other lost power`);
      await nobodyStarts(cluster);
      await product.startCoordinator();
      equal(await runsAbove(cluster, 1), 'alice');
    });

    await step(
      t,
      'alone for a minute, it is its only voter: the status says so, and an outage costs nothing',
      async (t) => {
        const outage = await safeWith(cluster, ['alice'], DROPPED_MS);
        equal(outage.takeover, false);
        match(outage.reason ?? '', /alice is its only voter, so no other node may take it over \(bob is lost\)/);
        match(await textOf(cluster), /no automatic takeover of web/);
        equal((await checked(cluster)).code, 1);
        await watch.unnoticed(t, 'an outage for the one node', 'alice', async () => {
          await product.stopCoordinator('SIGKILL');
          await livesOnPromises(alice);
          await lasting(SETTLED_MS, 'two takeovers');
          await bob.boot();
          await lasting(takeoverMs, 'the other node to be back, with nobody to ask');
        });
        deepEqual(pidsOf(bob, 'nginx'), []);
      },
    );

    await step(t, 'it dies during the outage: the other is back, and takes nothing over by itself', async (t) => {
      const cutMs = monotonicMs();
      await alice.powerCut();
      await product.startCoordinator();
      await backAndReady(cluster, 'bob');
      await cluster.settled('waiting');
      const rules = async () =>
        (await cluster.why()).candidates.find(({ node }) => node === 'bob')?.reasons.map(({ rule }) => rule) ?? [];
      await until(async () => (await rules()).includes('not-voter'), { deadlineMs: 15_000, what: '`why` to say so' });
      await nobodyStarts(cluster);
      await lasting(takeoverMs, 'more than the wait since the start of the coordinator');
      match(await product.mustCli(['why', 'web']), /was no voter .*`holdfast confirm-dead`/);
      match(await textOf(cluster), /web is waiting.*(confirm-dead|voter)/);
      equal((await checked(cluster)).code, 2);
      t.diagnostic(`still nobody ${((monotonicMs() - cutMs) / 1_000).toFixed(0)} s after its power was cut`);
    });

    await step(t, 'an operator confirms that it is dead: the other takes over', async (t) => {
      const saidMs = monotonicMs();
      await product.mustCli(['confirm-dead', 'alice', '--accept-risk=not-really-off']);
      await cluster.settled('running', { on: 'bob', deadlineMs: 15_000 });
      t.diagnostic(`bob runs it ${(monotonicMs() - saidMs).toFixed(0)} ms after the word`);
      equal((await cluster.why()).lastGrant?.cause, 'declared-dead');
      equal((await watch.client.nextAnswer(10_000)).text, 'bob');
      await alice.boot();
      await backAndReady(cluster, 'alice');
      await safeWith(cluster, two);
      equal((await cluster.status()).groups.web?.owner, 'bob', 'no fail-back');
      deepEqual(cluster.observer.holders(VIP), ['bob']);
    });
    await watch.stop();
  },
);

faultTest(
  'all nodes lose their uplink: nobody notices, whoever is heard of first; one that hears only one way is no voter to live by',
  { ...served(), timeoutMs: 240_000 },
  async (cluster, t) => {
    await runningOnAlice(cluster);
    await safe(cluster);
    const watch = await Watch.start(cluster);
    await lasting(5_000, 'what the client sees with the coordinator there');
    const cutAll = async () => {
      for (const name of names) await cluster.host(name).cut('uplink');
    };

    await step(t, 'the voters are back before the owner: they keep out until it is', async (t) => {
      await watch.unnoticed(t, 'all uplinks cut', 'alice', async () => {
        await cutAll();
        await livesOnPromises(cluster.host('alice'));
        await lasting(SETTLED_MS, 'two takeovers');
        for (const name of ['bob', 'carol']) await cluster.host(name).mend('uplink');
        for (const name of ['bob', 'carol']) await backAndReady(cluster, name);
        await cluster.settled('degraded', { on: 'alice' });
        await lasting(SETTLED_MS, 'two takeovers');
        await cluster.host('alice').mend('uplink');
        await cluster.settled('running', { on: 'alice' });
      });
      equal((await cluster.status()).groups.web?.epoch, 1);
    });

    await step(t, 'a voter loses its LAN during an outage: it promises by its other address', async (t) => {
      await safe(cluster);
      const carol = cluster.host('carol');
      await watch.unnoticed(t, 'the LAN of a voter cut', 'alice', async () => {
        await cluster.product.stopCoordinator('SIGKILL');
        await livesOnPromises(cluster.host('alice'));
        await carol.cut('lan');
        await lasting(SETTLED_MS, 'two takeovers');
        await carol.mend('lan');
        await lasting(leaseMs, 'a lease');
        await backAsBefore(cluster, 'alice', 1);
      });
      // a node looks at its own addresses every ten seconds, and the coordinator tells the others of them
      await lasting(12_000, 'carol to have told its address on the LAN again');
      await cluster.healthy();
    });

    for (const [words, direction] of [
      ['hears nobody', 'in'],
      ['is heard by nobody', 'out'],
    ] as const)
      await step(t, `during an outage a voter ${words}: the owner stops in time, nobody starts`, async (t) => {
        const { owner } = await safeByAnother(cluster);
        const { epoch = 0 } = (await cluster.status()).groups.web ?? {};
        await cutAll();
        await livesOnPromises(cluster.host(owner));
        // by its own word: the voters may have changed since the status was asked for
        const voter = await anotherVoter(cluster.host(owner));
        const cutMs = monotonicMs();
        await cluster.host(voter).cut('lan', direction);
        const goneMs = await stopsInTime(cluster, cluster.host(owner), cutMs);
        await nobodyStarts(cluster);
        for (const name of names) await cluster.host(name).mend();
        await runsAbove(cluster, epoch);
        await watch.client.nextAnswer(10_000);
        t.diagnostic(`gone ${goneMs.toFixed(0)} ms after the cut`);
        await saidOnLoss(cluster, cluster.host(owner), new RegExp(`and ${voter} did not promise to keep out`));
        for (const name of names) await backAndReady(cluster, name);
      });
    await watch.stop();
  },
);
