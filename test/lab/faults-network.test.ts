/**
 * Faults of the network, and of what is spoken on it: a lease ends by the owner's own clock, whoever can still hear whom. (What lives on by the
 * promises of other nodes when its owner loses the coordinator is in promises-uplink.test.ts; here the groups require the uplink.)
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addressGaps,
  backAndReady,
  faultTest,
  lasting,
  names,
  nothingLeft,
  pidsOf,
  runningOnAlice,
  stateDir,
} from './faults.ts';
import {
  Client,
  type Cluster,
  documentOf,
  type Host,
  type HostProcess,
  monotonicMs,
  resources,
  until,
  VIP,
} from './index.ts';
import { agentOfVersion, coordinatorOfVersion } from './variants.ts';

/** The same nginx, by an agent that takes no time: what is judged is the lease, not how long heartbeat:nginx takes to look around. */
const requiringUplink = documentOf(names, [resources.vip, resources.server], { requires: 'uplink' });

/** The owner is cut off from the coordinator by `cut`: it stops by its deadline, bob takes over after that, alice returns and stays idle. */
async function ownerIsCutOff(
  cluster: Cluster,
  cut: (alice: Host) => Promise<void>,
  mend: (alice: Host) => Promise<void>,
  why: { readonly kind: 'agent.lease-lost' | 'resource.failed'; readonly detail: RegExp } = {
    kind: 'agent.lease-lost',
    detail: /no renewal was answered for \d+ ms \(requires: uplink\)/,
  },
): Promise<string> {
  const alice = await runningOnAlice(cluster);
  const cutMs = monotonicMs();
  await cut(alice);
  await nothingLeft(cluster, alice);
  const goneMs = monotonicMs() - cutMs;
  ok(goneMs < 4_000 + 500, `down by the deadline of the lease (${goneMs.toFixed(0)} ms)`);
  await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
  await cluster.event('node.lost', { node: 'alice' });
  await cluster.event('group.lease-expired', { node: 'alice', group: 'web' });
  equal(cluster.product.agent(alice).exits.length, 0, 'the agent stopped everything itself; its guard had not to act');
  await mend(alice);
  const lost = await cluster.event(why.kind, { node: 'alice', group: 'web' });
  match(lost.detail, why.detail);
  await cluster.event('agent.coordinator-reachable', { node: 'alice' });
  await backAndReady(cluster, 'alice');
  await cluster.healthy();
  equal((await cluster.status()).groups.web?.owner, 'bob', 'no fail-back');
  return `everything gone ${goneMs.toFixed(0)} ms after the cut; address ${(await addressGaps(cluster)).join(', ')}`;
}

const cuts = [
  ['both ways', 'both'],
  ['outwards only (the coordinator hears nothing)', 'out'],
  ['inwards only (the coordinator hears it, its answers are lost)', 'in'],
] as const;
for (const [words, direction] of cuts) {
  faultTest(
    `the owner of a group that requires the uplink loses the coordinator ${words}: it stops by its deadline, another node takes over after that`,
    { services: ['server'], document: requiringUplink },
    async (cluster, t) => {
      t.diagnostic(
        await ownerIsCutOff(
          cluster,
          (alice) => alice.cut('uplink', direction),
          (alice) => alice.mend('uplink'),
        ),
      );
    },
  );
}

faultTest(
  'the owner loses coordinator and LAN: it gives up as soon as it sees the dead link, and its neighbours find the next owner',
  {},
  async (cluster, t) => {
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    const told = await ownerIsCutOff(
      cluster,
      (alice) => alice.cut(),
      (alice) => alice.mend(),
      { kind: 'resource.failed', detail: /no interface that is up|link of eth0 is down/ },
    );
    await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 10_000, what: 'the web server on bob' });
    t.diagnostic(`${told}; web outage ${Math.round(web.longestGap())} ms`);
    await web.stop();
  },
);

faultTest(
  'the owner’s LAN drops frames in silence: no node can see that, so the lease is renewed and the group stays',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await web.nextAnswer(10_000);
    const cutMs = monotonicMs();
    await alice.cut('lan', 'in');
    await until(() => web.longestGap(cutMs) > 8_000, {
      deadlineMs: 20_000,
      what: 'an outage of two leases for the client',
    });
    const status = await cluster.status();
    equal(status.groups.web?.owner, 'alice');
    equal(status.groups.web?.epoch, 1);
    equal(status.nodes.alice?.state, 'ready');
    await alice.mend('lan');
    equal((await web.nextAnswer(10_000)).text, 'alice');
    deepEqual(pidsOf(alice, 'nginx'), nginx);
    await cluster.event('group.running', { group: 'web', node: 'alice' });
    await web.stop();
  },
);

faultTest(
  'the owner’s LAN cable is pulled: the address cannot be there, so the group is given up and moves to a node with a link',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await web.nextAnswer(10_000);
    const cutMs = monotonicMs();
    await alice.cut('lan');
    await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
    await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 10_000, what: 'the web server on bob' });
    t.diagnostic(`web outage ${Math.round(web.longestGap(cutMs))} ms`);
    const given = await cluster.event('group.failed-on-node', { node: 'alice', group: 'web' });
    match(given.detail, /link|eth0/);
    equal((await cluster.status()).nodes.alice?.state, 'ready', 'it still reports');
    equal((await cluster.why()).lastGrant?.cause, 'released', 'nobody had to wait for the lease');
    await alice.mend('lan');
    await cluster.product.mustCli(['group', 'cleanup', 'web']);
    await cluster.healthy();
    await web.stop();
  },
);

/** Sends the traffic of all agents through a relay on the coordinator's machine. @returns the relay. */
async function throughProxy(cluster: Cluster): Promise<HostProcess> {
  const { arbiter } = cluster.lab;
  const script = join(import.meta.dirname, 'half-open-proxy.ts');
  const address = arbiter.address('uplink');
  const proxy = await arbiter.spawn([process.execPath, script, '9443', address, '8443']);
  for (const host of cluster.lab.hosts.values()) {
    const path = `${stateDir}/node.json`;
    await host.writeFile(path, (await host.readFile(path)).replace(':8443', ':9443'), 0o600);
    await until(async () => (await arbiter.exec(['ss', '-Hltn', 'sport = :9443'])).stdout !== '', {
      deadlineMs: 10_000,
      what: 'the relay to listen',
    });
    cluster.product.agent(host).kill('SIGTERM');
    await cluster.event('agent.started', {
      node: host.name,
      detail: 'the agent was restarted; its incarnation goes on',
    });
  }
  return proxy;
}

faultTest(
  'WebSockets hang, then are refused, while plain HTTP passes: no lease is lost, and orders still arrive',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const proxy = await throughProxy(cluster);
    await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    for (const signal of ['SIGUSR2', 'SIGHUP'] as const) {
      const sinceMs = monotonicMs();
      proxy.kill(signal);
      let renewals = 0;
      await until(
        async () => {
          const seen = (await cluster.status()).nodes.alice?.lastSeenMs ?? Number.POSITIVE_INFINITY;
          ok(seen < 4_000, `alice was seen ${seen} ms ago`);
          renewals += 1;
          return monotonicMs() - sinceMs > 10_000;
        },
        { deadlineMs: 20_000, what: 'more than two leases to pass', everyMs: 100 },
      );
      ok(renewals > 0);
      const status = await cluster.status();
      equal(status.groups.web?.owner, 'alice');
      equal(status.groups.web?.epoch, 1);
      deepEqual(pidsOf(alice, 'nginx'), nginx);
    }
    deepEqual(
      (await cluster.events()).filter(({ kind }) => kind === 'node.lost' || kind === 'agent.lease-lost'),
      [],
    );
    // an order travels with a reply or a nudge: both ways are left by HTTP
    const movedMs = monotonicMs();
    await cluster.product.mustCli(['move', 'web', '--to', 'carol', '--wait', '30s']);
    await cluster.settled('running', { on: 'carol' });
    t.diagnostic(`moved by HTTP alone in ${(monotonicMs() - movedMs).toFixed(0)} ms`);
    await cluster.event('group.move-requested', { group: 'web' });
  },
);

const withUplinkGroup = `${documentOf(names, [resources.vip, resources.nginx])}  up: { on: [alice, bob, carol], requires: uplink, resources: [{ vip: 192.0.2.20/24 }] }\n`;

faultTest(
  'an agent of the next minor version takes over from the running one and is served; one of another major is refused by name, which costs only what requires the uplink',
  { document: withUplinkGroup },
  async (cluster) => {
    // built before anything is stopped: a lease does not wait for a compiler
    const [next, other] = [await agentOfVersion(1, 1), await agentOfVersion(2, 0)];
    const alice = await runningOnAlice(cluster);
    await cluster.settled('running', { group: 'up' });
    await cluster.healthy('up');
    equal((await cluster.status()).groups.up?.owner, 'alice');
    const nginx = pidsOf(alice, 'nginx');
    await cluster.product.agent(alice).stop('SIGTERM');
    const newer = alice.unit('agent-1.1', [process.execPath, next, 'agent', '--state-dir', stateDir]);
    await newer.start();
    await cluster.event('resource.adopted', { node: 'alice', resource: 'nginx' });
    await cluster.healthy();
    equal((await cluster.status()).groups.web?.epoch, 1);
    deepEqual(pidsOf(alice, 'nginx'), nginx, 'upgraded without touching the service');

    await newer.stop('SIGTERM');
    const foreign = alice.unit('agent-2.0', [process.execPath, other, 'agent', '--state-dir', stateDir]);
    await foreign.start();
    await cluster.event('node.lost', { node: 'alice' });
    await cluster.settled('running', { group: 'up', deadlineMs: 20_000 });
    deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
    ok(!cluster.observer.holders('192.0.2.20').includes('alice'), 'what requires the uplink is elsewhere');
    deepEqual(cluster.observer.holders(VIP), ['alice'], 'the voters of web promise on');
    match(
      await cluster.lab.logs(),
      /version-unsupported.*protocol 2\.0 is not served by 1\.0: upgrade the coordinator/,
    );
    const tries = (await readFile(foreign.logFile ?? '', 'utf8')).split('\n').length;
    ok(tries < 30, `it is told once, and does not knock faster and faster (${tries} lines)`);
    await foreign.stop('SIGTERM');
    await cluster.product.agent(alice).start();
    await cluster.healthy('web', 30_000);
    deepEqual([(await cluster.status()).groups.web?.epoch, pidsOf(alice, 'nginx')], [1, nginx]);
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
  },
);

faultTest(
  'the coordinator is upgraded first: agents one minor version older keep their leases; two apart are refused, which stops only what requires it',
  {
    document: withUplinkGroup,
    timeoutMs: 180_000,
  },
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    await cluster.settled('running', { group: 'up' });
    await cluster.healthy('up');
    const nginx = pidsOf(alice, 'nginx');
    const { arbiter } = cluster.lab;
    const listen = `${arbiter.address('uplink')}:8443`;
    const serve = async (minor: number) =>
      arbiter.unit(
        `coordinator-1.${minor}`,
        [await coordinatorOfVersion(1, minor), 'serve', '--listen', listen, '--data', cluster.product.dataDir],
        { restart: 'no' },
      );
    const [next, afterNext] = [await serve(1), await serve(2)];
    await cluster.product.stopCoordinator();
    await next.start();
    await until(async () => (await cluster.product.cli(['status', '--json'])).code === 0, {
      deadlineMs: 15_000,
      what: 'the newer coordinator',
    });
    await cluster.healthy();
    equal((await cluster.status()).groups.web?.epoch, 1);
    deepEqual(pidsOf(alice, 'nginx'), nginx);
    await cluster.event('coordinator.started');

    await next.stop('SIGTERM');
    await afterNext.start();
    await until(async () => (await cluster.status()).nodes.alice?.state === 'lost', {
      deadlineMs: 20_000,
      what: 'the agents to be refused',
    });
    await until(() => cluster.observer.holders('192.0.2.20').length === 0, {
      deadlineMs: 10_000,
      what: 'what requires the coordinator to be stopped',
    });
    match(await cluster.lab.logs(), /protocol 1\.0 is not served by 1\.2: upgrade the agent/);
    await lasting(10_000, 'more than two leases');
    deepEqual(cluster.observer.holders('192.0.2.20'), [], 'nobody takes what nobody granted');
    deepEqual(pidsOf(alice, 'nginx'), nginx, 'the voters of web promise on');
    await afterNext.stop('SIGTERM');
    await cluster.product.startCoordinator();
    await cluster.healthy('web', 30_000);
    await cluster.settled('running', { group: 'up', deadlineMs: 30_000 });
    deepEqual([(await cluster.status()).groups.web?.epoch, pidsOf(alice, 'nginx')], [1, nginx]);
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
    await cluster.event('agent.lives-on-promises', { node: 'alice', group: 'web' });
  },
);
