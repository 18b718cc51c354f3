/**
 * Outages of the coordinator, of any length: while the voters of a group see each other it runs on, by their promises (protocol.md O2, P1, P3),
 * and afterwards it is where it was, in the same epoch. What restarts meanwhile, an agent or a voter's machine, promises on.
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { faultTest, guardPid, lasting, names, pidsOf, runningOnAlice, stateDir, step } from './faults.ts';
import { Client, type Cluster, type Host, monotonicMs, signalAll, until, VIP } from './index.ts';
import {
  backAsBefore,
  leaseMs,
  livesOnPromises,
  localStatus,
  runsAbove,
  SETTLED_MS,
  safe,
  safeByAnother,
  served,
  Watch,
} from './outages.ts';

/** How long the coordinator stays away in the first story. */
const MINUTES = Number(process.env.HOLDFAST_OUTAGE_MINUTES ?? '1');

/** What happened from one event on, apart from starts of agents. */
async function sinceThen(cluster: Cluster, seq: number): Promise<string[]> {
  const kinds = (await cluster.events()).filter((event) => event.seq > seq).map(({ kind }) => kind);
  return [...new Set(kinds)].toSorted();
}

const lastSeq = async (cluster: Cluster) => (await cluster.events()).at(-1)?.seq ?? 0;

/** What the guard of a host holds of promises to others, as `web epoch owner`. */
async function promisesOf(host: Host): Promise<string[]> {
  const script = `const s=require('net').connect('${stateDir}/guard.sock',()=>s.write('state\\n'));let t='';s.on('data',(d)=>{t+=d;if(/^end$/m.test(t)){console.log(t);process.exit()}})`;
  const state = await host.mustExec([process.execPath, '-e', script]);
  return [...state.matchAll(/^promise (\S+) (\d+) \d+ (\S+)$/gm)].map((found) => found.slice(1).join(' '));
}

/** Its unit starts the agent again; waits until the next one has heard this peer. */
async function heardAnew(cluster: Cluster, host: Host, peer: string, end: () => void): Promise<void> {
  const { exits } = cluster.product.agent(host);
  const before = exits.length;
  end();
  const anew = async () => {
    if (exits.length === before) return false;
    const heardMs = (await localStatus(host))?.peersHeardMs[peer];
    return heardMs !== undefined && heardMs !== null && heardMs < 5_000;
  };
  await until(anew, { deadlineMs: 20_000, everyMs: 50, what: `the next agent of ${host.name} to hear ${peer}` });
}

/**
 * A fault in an outage that may be over before the lease is, or not. Either nobody notices, or the owner stops in time; in both cases nobody else
 * starts anything, and with the coordinator it runs again.
 */
async function outlivesOrStops(
  cluster: Cluster,
  watch: Watch,
  t: TestContext,
  fault: (voter: Host) => Promise<void>,
): Promise<void> {
  const { owner, voter } = await safeByAnother(cluster);
  const { epoch = 0 } = (await cluster.status()).groups.web ?? {};
  await cluster.product.stopCoordinator('SIGKILL');
  await livesOnPromises(cluster.host(owner));
  const before = await cluster.observer.holdings(VIP);
  const faultMs = monotonicMs();
  await fault(cluster.host(voter));
  await lasting(SETTLED_MS, 'two takeovers');
  const after = await cluster.observer.holdings(VIP);
  equal(after.length, before.length, 'nobody took it');
  const { toMs = Number.NaN } = after.at(-1) ?? {};
  const outlived = toMs === Number.POSITIVE_INFINITY;
  if (!outlived) {
    ok(toMs - faultMs <= leaseMs + 100, `down by its deadline: ${toMs - faultMs} ms`);
    for (const name of names) deepEqual(pidsOf(cluster.host(name), 'nginx'), [], `nginx on ${name}`);
  } else deepEqual(watch.client.failures.filter(({ sentMs }) => sentMs >= faultMs).slice(0, 3), []);
  t.diagnostic(outlived ? 'nobody noticed' : `the owner stopped after ${(toMs - faultMs).toFixed(0)} ms`);
  await cluster.product.startCoordinator();
  equal(await runsAbove(cluster, outlived ? epoch - 1 : epoch), (await watch.client.nextAnswer(20_000)).text);
}

faultTest(
  'the coordinator is away for minutes, hangs, or loses its machine: nobody notices, and everything is as before when it is back',
  { ...served(), timeoutMs: 200_000 + MINUTES * 60_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const { product } = cluster;
    const { arbiter } = cluster.lab;
    await safe(cluster);
    const watch = await Watch.start(cluster);
    await lasting(15_000, 'what the client sees while the coordinator is there');

    await step(t, `killed, and away for ${MINUTES} min`, async (t) => {
      const since = await lastSeq(cluster);
      await watch.unnoticed(t, 'the outage', 'alice', async () => {
        await product.stopCoordinator('SIGKILL');
        await livesOnPromises(alice);
        const told = await alice.exec([product.binary, 'status', '--state-dir', stateDir], {
          env: { HOLDFAST_URL: product.url, HOLDFAST_CLUSTER: 'lab', HOLDFAST_TOKEN: 'nobody-is-asked-for-it' },
        });
        equal(told.code, 69, told.stderr);
        match(told.stdout, /web goes on by the promises of bob, carol/);
        await lasting(MINUTES * 60_000, 'the outage');
        await backAsBefore(cluster, 'alice', 1);
        await cluster.healthy();
      });
      for (const node of ['alice', 'bob', 'carol'])
        match(
          (await cluster.event('agent.coordinator-reachable', { node })).detail,
          /had not answered for \d{5,} ms/,
          'longer than a lease',
        );
      match((await cluster.event('agent.lives-on-promises', { node: 'alice', group: 'web' })).detail, /bob, carol/);
      // nodes that report one after the other may have it shown as degraded for a moment
      const told = (await sinceThen(cluster, since)).filter((kind) => !/^group\.(degraded|running)$/.test(kind));
      deepEqual(told, ['agent.coordinator-reachable', 'agent.lives-on-promises', 'coordinator.started']);
      await safe(cluster);
    });

    await step(t, 'it hangs: connections are taken, and nothing is answered', async (t) => {
      const since = await lastSeq(cluster);
      await watch.unnoticed(t, 'the hang', 'alice', async () => {
        const pids = arbiter.processes().filter((pid) => pid !== arbiter.initPid);
        signalAll(pids, 'SIGSTOP');
        await livesOnPromises(alice);
        await lasting(6_000, 'the hang');
        signalAll(pids, 'SIGCONT');
        await cluster.settled('running', { on: 'alice' });
        await cluster.healthy();
      });
      equal((await cluster.status()).groups.web?.epoch, 1);
      const kinds = await sinceThen(cluster, since);
      for (const kind of ['group.granted', 'group.released', 'agent.lease-lost'] as const) ok(!kinds.includes(kind));
      await safe(cluster);
    });

    await step(t, 'its machine loses power', async (t) => {
      const since = await lastSeq(cluster);
      await watch.unnoticed(t, 'the loss of the machine', 'alice', async () => {
        await arbiter.powerCut();
        await livesOnPromises(alice);
        await lasting(6_000, 'more than a lease');
        await arbiter.boot();
        await backAsBefore(cluster, 'alice', 1);
        await cluster.healthy();
      });
      const kinds = await sinceThen(cluster, since);
      for (const kind of ['group.granted', 'group.released', 'agent.lease-lost'] as const) ok(!kinds.includes(kind));
    });
    await watch.stop();
  },
);

faultTest(
  'during an outage agents are upgraded under load: promises go on, services are untouched; a voter loses its guard, or its power: nobody starts',
  { ...served(), timeoutMs: 240_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    const { product } = cluster;
    await safe(cluster);
    const watch = await Watch.start(cluster);
    await lasting(5_000, 'what the client sees while the coordinator is there');
    const incarnation = (await localStatus(alice))?.incarnation;
    await product.stopCoordinator('SIGKILL');
    await livesOnPromises(alice);

    await step(t, 'the owner’s agent is restarted under load, in order and by SIGKILL', async (t) => {
      // many more users; not a machine so busy that an agent takes longer to start than its lease has left (2.5 s)
      const load = await Client.start(cluster.lab.client, { kind: 'http', address: VIP, everyMs: 4 });
      await watch.unnoticed(t, 'two restarts of the owner’s agent', 'alice', async () => {
        for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
          await heardAnew(cluster, alice, 'bob', () => product.agent(alice).kill(signal));
          await livesOnPromises(alice);
          await lasting(5_000, 'more than a lease');
        }
      });
      await load.stop();
      deepEqual(load.failures.slice(0, 3), []);
      equal((await localStatus(alice))?.incarnation, incarnation, 'the same incarnation goes on');
    });

    await step(
      t,
      'a voter’s agent is restarted: its guard keeps the promise, and the next agent gives more',
      async (t) => {
        await watch.unnoticed(t, 'a restart of a voter’s agent', 'alice', async () => {
          const agent = product.agent(bob);
          await agent.stop('SIGTERM');
          deepEqual(await promisesOf(bob), ['web 1 alice'], 'kept by the guard while no agent runs');
          await agent.start();
          await lasting(6_000, 'more than a lease');
          deepEqual(await promisesOf(bob), ['web 1 alice']);
        });
      },
    );

    await step(t, 'the coordinator is back: as before', async (t) => {
      await watch.unnoticed(t, 'the return', 'alice', async () => {
        await backAsBefore(cluster, 'alice', 1);
        await cluster.healthy();
        await safe(cluster);
      });
    });
    await step(
      t,
      'a voter’s guard is killed: a new incarnation, which may promise, and takes nothing over',
      async (t) => {
        await outlivesOrStops(cluster, watch, t, async (voter) => {
          const { exits } = product.agent(voter);
          const [before, killedMs] = [exits.length, monotonicMs()];
          process.kill(guardPid(voter), 'SIGKILL');
          await until(async () => exits.length > before && (await localStatus(voter)) !== undefined, {
            deadlineMs: 20_000,
            everyMs: 20,
            what: 'the next agent, with a guard of its own',
          });
          t.diagnostic(`the next agent answers ${(monotonicMs() - killedMs).toFixed(0)} ms after the guard was killed`);
        });
      },
    );

    await step(t, 'a voter’s machine loses power, and is back at once', async (t) => {
      await outlivesOrStops(cluster, watch, t, async (voter) => {
        const cutMs = monotonicMs();
        await voter.powerCut();
        await voter.boot();
        const bootedMs = monotonicMs();
        await until(async () => (await localStatus(voter)) !== undefined, {
          deadlineMs: 20_000,
          everyMs: 20,
          what: 'its agent',
        });
        t.diagnostic(
          `off for ${(bootedMs - cutMs).toFixed(0)} ms, its agent answers ${(monotonicMs() - cutMs).toFixed(0)} ms after the power was cut`,
        );
      });
    });
    await watch.stop();
  },
);
