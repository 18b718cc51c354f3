/**
 * Promises and what can go wrong on one machine: an agent that is stopped between deciding and starting, another program on the port for
 * the other nodes, and somebody on the LAN who repeats what agents have said.
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { join } from 'node:path';
import { LEASE_PROFILES, PEER_PORT } from '../../schemas/limits.ts';
import { checked, faultTest, lasting, names, rememberedEpochs, runningOnAlice } from './faults.ts';
import { type Cluster, monotonicMs, until, VIP } from './index.ts';
import { nativeProgram } from './native.ts';
import { foretold, livesOnPromises, nobodyStarts, safe, served, stopsInTime, Watch } from './outages.ts';

/** Holders of the address on this host so far. */
const holdings = async (cluster: Cluster, name: string) =>
  (await cluster.observer.history(VIP)).filter((line) => line.startsWith(`${name}:`)).length;

faultTest(
  'an agent is stopped between deciding and starting, for longer than its lease: its guard acts, another node runs it, and nothing starts when it goes on',
  { ...served(names, { lease: 'fast' }), timeoutMs: 200_000 },
  async (cluster, t) => {
    let owner = await cluster.settled('running');
    const { takeoverMs } = LEASE_PROFILES.fast;
    let fired = 0;
    // from the moment in which the epoch is on disk: before the fuse is armed, while it is, and while the group starts
    for (const afterMs of [0, 2, 60, 250]) {
      await cluster.healthy();
      const to = names.find((name) => name !== owner) ?? '';
      const target = cluster.host(to);
      const agent = cluster.product.agent(target);
      const epoch = ((await cluster.status()).groups.web?.epoch ?? 0) + 1;
      const before = await holdings(cluster, to);
      const ends = agent.exits.length;
      agent.restart = 'no';
      await cluster.product.mustCli(['move', 'web', '--to', to, '--wait', '0s']);
      await until(async () => ((await rememberedEpochs(target)).web ?? 0) >= epoch, {
        deadlineMs: 10_000,
        everyMs: 1,
        what: `${to} to have epoch ${epoch} on disk`,
      });
      const decidedMs = monotonicMs();
      await until(() => monotonicMs() >= decidedMs + afterMs, { deadlineMs: 1_000, everyMs: 1, what: 'the moment' });
      agent.kill('SIGSTOP');
      const stoppedMs = monotonicMs();
      const next = await until(() => cluster.observer.holders(VIP).find((name) => name !== to), {
        deadlineMs: 20_000,
        what: 'another node to have the address',
      });
      ok(monotonicMs() - stoppedMs > takeoverMs - 700, 'not before its lease was over');
      await lasting(takeoverMs, 'longer than the lease');
      const held = (await holdings(cluster, to)) - before;
      ok(held <= 1);
      agent.kill('SIGCONT');
      await lasting(takeoverMs, 'what it would do');
      deepEqual(cluster.observer.holders(VIP), [next]);
      equal((await holdings(cluster, to)) - before, held, 'nothing was started when it went on');
      const killed = agent.exits.length > ends;
      if (killed) equal(agent.exits.at(-1)?.signal, 'SIGKILL', 'by its guard');
      agent.restart = 'always';
      await agent.start();
      if (killed) {
        await cluster.event('agent.fuse-fired', { node: to, group: 'web', epoch });
        fired += 1;
      }
      t.diagnostic(
        `stopped ${afterMs} ms after epoch ${epoch} was on disk: ${held === 0 ? 'nothing had started' : 'the address was there'}, ${killed ? 'the guard killed the agent' : 'nothing was armed yet'}`,
      );
      equal(await cluster.settled('running'), next);
      owner = next;
    }
    ok(fired > 0, 'the guard had to act at least once');
  },
);

faultTest(
  'another program has the port for the other nodes: the agent runs and says so, the status warns, and all but outages goes as ever',
  { ...served(), timeoutMs: 200_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    const agent = cluster.product.agent(bob);
    await safe(cluster);
    await agent.stop('SIGTERM');
    let taken = false;
    const other = await bob.spawn([process.execPath, join(import.meta.dirname, 'port-taker.ts'), String(PEER_PORT)], {
      onLine: () => {
        taken = true;
      },
    });
    await until(() => taken, { deadlineMs: 10_000, what: 'the port to be taken' });
    await agent.start();
    const outage = await foretold(
      cluster,
      ({ survives, settling, reason = '' }) => !survives && settling !== true && /bob/.test(reason),
      'the status to name bob',
    );
    equal(outage.takeover, true);
    match(
      await cluster.lab.logs(),
      /no promises: cannot listen for the other nodes on UDP port 7480: another process has it \(`ss -ulpn/,
    );
    match(await cluster.product.mustCli(['status']), /an outage of the coordinator would stop web: .*bob/);
    const warned = await checked(cluster);
    equal(warned.code, 1);
    match(warned.line, /not safe from an outage of the coordinator/);

    // it runs groups, gives them back and takes them over
    await cluster.product.mustCli(['move', 'web', '--to', 'bob', '--wait', '30s']);
    await foretold(cluster, ({ survives }) => !survives, 'bob as an owner to be no better');
    await cluster.product.mustCli(['move', 'web', '--to', 'alice', '--wait', '30s']);
    await cluster.healthy();
    const watch = await Watch.start(cluster);
    const downMs = monotonicMs();
    await cluster.product.stopCoordinator('SIGKILL');
    t.diagnostic(`the outage stopped it after ${(await stopsInTime(cluster, alice, downMs)).toFixed(0)} ms`);
    await nobodyStarts(cluster);
    await cluster.product.startCoordinator();
    await cluster.settled('running', { deadlineMs: 20_000 });
    await cluster.healthy();
    const owner = await cluster.settled('running');
    for (const name of names)
      if (name !== owner && name !== 'bob') await cluster.product.mustCli(['node', 'standby', name, '--wait', '20s']);
    const cutMs = monotonicMs();
    if (owner !== 'bob') {
      await cluster.host(owner).powerCut();
      await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
      t.diagnostic(`bob took over ${(monotonicMs() - cutMs).toFixed(0)} ms after a power cut`);
      await cluster.host(owner).boot();
    }
    for (const name of names) await cluster.product.mustCli(['node', 'ready', name]);

    other.kill('SIGKILL');
    await agent.stop('SIGTERM');
    await agent.start();
    await cluster.healthy('web', 30_000);
    await safe(cluster);
    await watch.unnoticed(t, 'with the port free, an outage', 'bob', async () => {
      await cluster.product.stopCoordinator('SIGKILL');
      await livesOnPromises(bob);
      await lasting(5_000, 'more than a lease');
      await cluster.product.startCoordinator();
      await cluster.settled('running', { on: 'bob' });
    });
    await watch.stop();
  },
);

faultTest(
  'somebody repeats what the owner has asked of the voters, after it died: its promises are not renewed, and the takeover comes in time',
  { ...served(), timeoutMs: 120_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const voters = ['bob', 'carol'].map((name) => cluster.host(name));
    await safe(cluster);
    const capture = await nativeProgram('lab-capture');
    const heard: string[] = [];
    for (const voter of voters) {
      let ready = false;
      await voter.spawn([capture, String(PEER_PORT)], {
        onLine: (line) => {
          if (line === 'ready') ready = true;
          else heard.push(line);
        },
      });
      await until(() => ready, { deadlineMs: 5_000, what: 'the recording to begin' });
    }
    await lasting(10_000, 'many questions');
    ok(heard.length > 10, `${heard.length} datagrams recorded`);
    const { client } = cluster.lab;
    await alice.powerCut();
    const cutMs = monotonicMs();
    const recorded = heard.slice();
    await client.writeFile('/srv/recorded', `${recorded.join('\n')}\n`);
    const addresses = voters.map((voter) => voter.address('lan'));
    const argv = [join(import.meta.dirname, 'replay-probe.ts'), '/srv/recorded', String(PEER_PORT), ...addresses];
    const replaying = await client.spawn([process.execPath, ...argv]);
    await until(() => cluster.observer.holders(VIP).length > 0 && !cluster.observer.holders(VIP).includes('alice'), {
      deadlineMs: 30_000,
      everyMs: 2,
      what: 'a takeover',
    });
    const tookMs = monotonicMs() - cutMs;
    const repeated = heard.length - recorded.length;
    t.diagnostic(
      `taken over ${tookMs.toFixed(0)} ms after the cut, while ${recorded.length} recorded datagrams were heard ${repeated} times again`,
    );
    ok(repeated > recorded.length, 'they arrived');
    ok(tookMs < LEASE_PROFILES.default.takeoverMs + 2_500, `taken over only after ${tookMs.toFixed(0)} ms`);
    await cluster.settled('running');
    match(
      await cluster.lab.logs(),
      /dropped what \S+ sent to the port for the other nodes: (no newer than what|for another node)/,
    );
    ok(replaying.running);
    replaying.kill('SIGKILL');
  },
);
