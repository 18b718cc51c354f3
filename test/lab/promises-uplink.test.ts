/**
 * The owner alone loses the coordinator: its group stays where its clients reach it, by the promises of the other voters (protocol.md O2), and
 * nobody else starts it, whatever an operator says. A group with `requires: uplink` stops and is taken over, as every group did once.
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { addressGaps, backAndReady, checked, faultTest, lasting, pidsOf, step } from './faults.ts';
import { type Cluster, monotonicMs, until, VIP } from './index.ts';
import { leaseMs, livesOnPromises, safe, saidOnLoss, served, stopsInTime, takeoverMs, Watch } from './outages.ts';

const UP = '192.0.2.20';
const document = `${served().document}  up:
    on: [alice, bob, carol]
    requires: uplink
    resources:
      - vip: ${UP}/24
`;

const reasonsOf = async (cluster: Cluster, node: string) =>
  (await cluster.why()).candidates.find((candidate) => candidate.node === node)?.reasons ?? [];

/** A machine that has just booted is refused until it may activate. */
async function moved(cluster: Cluster, group: string, to: string): Promise<void> {
  await until(async () => (await cluster.product.cli(['move', group, '--to', to, '--wait', '30s'])).code === 0, {
    deadlineMs: 40_000,
    what: `${group} to be moved to ${to}`,
  });
}

async function allSafeOnAlice(cluster: Cluster): Promise<void> {
  for (const group of ['web', 'up']) {
    if ((await cluster.status()).groups[group]?.owner !== 'alice') await moved(cluster, group, 'alice');
    await cluster.settled('running', { group, on: 'alice', deadlineMs: 30_000 });
    await cluster.healthy(group, 30_000);
  }
  await safe(cluster);
}

const gapOf = async (cluster: Cluster, address: string) =>
  Number(/ ([\d.]+) ms$/.exec((await addressGaps(cluster, address)).at(-1) ?? '')?.[1] ?? Number.NaN);

const cuts = [
  ['both ways', 'both'],
  ['outwards only (the coordinator hears nothing)', 'out'],
  ['inwards only (the coordinator’s answers are lost)', 'in'],
] as const;

faultTest(
  'the owner loses its uplink: its group stays and no client notices, what requires the uplink moves; nobody starts it on an operator’s word',
  { ...served(), document, timeoutMs: 300_000 },
  async (cluster, t) => {
    await cluster.settled('running');
    await allSafeOnAlice(cluster);
    const alice = cluster.host('alice');
    const watch = await Watch.start(cluster);
    const { product } = cluster;

    for (const [words, direction] of cuts)
      await step(t, `cut ${words}`, async (t) => {
        const { epoch } = (await cluster.status()).groups.web ?? {};
        const before = (await cluster.events()).at(-1)?.seq ?? 0;
        await watch.unnoticed(t, `uplink cut ${words}`, 'alice', async () => {
          const cutMs = monotonicMs();
          await alice.cut('uplink', direction);
          await cluster.settled('running', { group: 'up', on: 'bob', deadlineMs: 20_000 });
          const lost = (await cluster.observer.history(UP)).findLast((line) => line.startsWith('alice')) ?? '';
          const heldMs = Number(/ to ([\d.]+)$/.exec(lost)?.[1] ?? Number.NaN) - cutMs;
          ok(heldMs <= leaseMs + 100, `what requires the uplink was down by its deadline, after ${heldMs} ms`);
          await cluster.settled('degraded', { on: 'alice', deadlineMs: 20_000 });
          await livesOnPromises(alice);
          await lasting(leaseMs + cutMs - monotonicMs() + 2 * leaseMs, 'three leases since the cut');
          const { web } = (await cluster.status()).groups;
          deepEqual([web?.state, web?.owner, web?.epoch], ['degraded', 'alice', epoch]);
          match(web?.reason ?? '', /alice does not reach the coordinator.* by the promise of (bob|carol)/);
          equal((await cluster.status()).nodes.alice?.state, 'lost');
          ok((await reasonsOf(cluster, 'bob')).some(({ rule }) => rule === 'promised'));
          equal((await checked(cluster)).code, 1, 'a warning, nothing critical');
        });
        await alice.mend('uplink');
        await cluster.settled('running', { on: 'alice' });
        await backAndReady(cluster, 'alice');
        match((await cluster.event('agent.lives-on-promises', { node: 'alice', group: 'web' })).detail, /bob, carol/);
        await cluster.event('agent.coordinator-reachable', { node: 'alice' });
        const since = (await cluster.events()).filter(({ seq }) => seq > before);
        const ofWeb = since.filter(({ group }) => group === 'web').map(({ kind }) => kind);
        for (const kind of ['group.granted', 'group.released', 'agent.lease-lost'] as const)
          ok(!ofWeb.includes(kind), `no ${kind}: ${ofWeb.join(' ')}`);
        const stopped = since.find(({ kind, group }) => kind === 'agent.lease-lost' && group === 'up');
        match(stopped?.detail ?? '', /requires: uplink/);
        equal((await cluster.status()).groups.up?.owner, 'bob', 'no fail-back');
        await allSafeOnAlice(cluster);
      });

    await step(t, 'a planned move waits for no promise: its gap is that of a group which asks for none', async (t) => {
      const gaps: Record<'web' | 'up', number[]> = { web: [], up: [] };
      for (const to of ['bob', 'carol', 'alice'])
        for (const group of ['up', 'web'] as const) {
          if (group === 'web') await safe(cluster);
          await product.mustCli(['move', group, '--to', to, '--wait', '30s']);
          await cluster.settled('running', { group, on: to });
          gaps[group].push(await gapOf(cluster, group === 'web' ? VIP : UP));
        }
      const shown = (list: readonly number[]) => list.map((ms) => ms.toFixed(0)).join(', ');
      t.diagnostic(`nobody had the address for ${shown(gaps.web)} ms; without promises ${shown(gaps.up)} ms`);
      ok(Math.max(...gaps.web) < takeoverMs / 2, `a promise would keep it out for ${takeoverMs} ms`);
      equal((await cluster.why()).lastGrant?.cause, 'released');
      await allSafeOnAlice(cluster);
    });

    await step(
      t,
      'declared dead while it lives on promises: nobody starts it until its uplink is mended',
      async (t) => {
        await watch.unnoticed(t, 'declared dead', 'alice', async () => {
          await alice.cut('uplink');
          await livesOnPromises(alice);
          await until(
            async () => (await product.cli(['confirm-dead', 'alice', '--accept-risk=not-really-off'])).code === 0,
            { deadlineMs: 10_000, what: 'the word of the operator to be taken' },
          );
          await lasting(3 * takeoverMs, 'three times the wait for a lease');
          deepEqual(cluster.observer.holders(VIP), ['alice'], 'nobody started it');
        });
        for (const node of ['bob', 'carol']) deepEqual(pidsOf(cluster.host(node), 'nginx'), []);
        t.diagnostic(`meanwhile: ${JSON.stringify((await cluster.status()).groups.web?.reason)}`);
        const mendedMs = monotonicMs();
        await alice.mend('uplink');
        await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
        t.diagnostic(`bob runs it ${Math.round(monotonicMs() - mendedMs)} ms after the uplink was mended`);
        deepEqual(pidsOf(alice, 'nginx'), [], 'alice has heard that it is dead, and stopped');
        await alice.powerCut();
        await alice.boot();
        await backAndReady(cluster, 'alice');
        await allSafeOnAlice(cluster);
      },
    );

    await step(t, 'uplink and LAN both cut: stopped by the deadline, and taken over after it', async (t) => {
      const cutMs = monotonicMs();
      await alice.cut('uplink', 'out');
      await alice.cut('lan', 'out');
      const goneMs = await stopsInTime(cluster, alice, cutMs);
      await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
      const { answeredMs } = await watch.client.nextAnswer(10_000);
      t.diagnostic(
        `gone ${goneMs.toFixed(0)} ms after the cut, answered again after ${(answeredMs - cutMs).toFixed(0)} ms; address ${(await addressGaps(cluster)).at(-1)}`,
      );
      equal((await cluster.why()).lastGrant?.cause, 'lease-expired');
      await alice.mend();
      await saidOnLoss(
        cluster,
        alice,
        /no renewal was answered for \d+ ms, and bob, carol did not promise to keep out/,
      );
      await backAndReady(cluster, 'alice');
    });
    await watch.stop();
  },
);
