/** What follows a failure is what the document says: fall and rise, ignore, hold, move, and resources that are not critical. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { checked, faultTest, lasting, names, nothingLeft, pidsOf, restartAgent } from './faults.ts';
import {
  Client,
  type Cluster,
  documentOf,
  type Host,
  monotonicMs,
  ocf,
  resources,
  setFault,
  signalAll,
  type TestAgent,
  until,
  VIP,
} from './index.ts';
import { safe } from './outages.ts';

/** The address, a test agent under test, and nginx after it. */
function around(agent: TestAgent, policy: string, options: { requires?: 'uplink' } = {}) {
  const line = `      - { ocf: { agent: "holdfast-test:${agent}" }, interval: 500ms, ${policy} }`;
  return {
    services: ['test-agents', 'nginx'] as const,
    allow: [`ocf=holdfast-test:${agent}`],
    document: documentOf(names, [resources.vip, line, resources.nginx], options),
  };
}

async function seen(cluster: Cluster, id: string): Promise<{ state: string; reason?: string | undefined }> {
  const found = (await cluster.status()).groups.web?.resources.find((resource) => resource.id === id);
  return found ?? { state: 'none' };
}

const kindsOf = async (cluster: Cluster, resource: string) =>
  (await cluster.events()).filter((event) => event.resource === resource).map(({ kind }) => kind);

/** The processes of the daemon itself: agents sleep as well. */
const daemonsOf = (host: Host) =>
  pidsOf(host, 'sleep').filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('2147483647'));

function untouched(alice: Host, nginx: readonly number[]): void {
  deepEqual(pidsOf(alice, 'nginx'), nginx, 'what comes after it was not touched');
}

async function started(cluster: Cluster): Promise<{ alice: Host; nginx: number[] }> {
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const alice = cluster.host('alice');
  return { alice, nginx: pidsOf(alice, 'nginx') };
}

faultTest(
  'fall: fewer failed monitors than that are shown and forgiven; as many are a failure',
  around('liar', 'fall: 6, rise: 2'),
  async (cluster) => {
    const { alice, nginx } = await started(cluster);
    await setFault(alice, 'liar', 'liar', 'failed');
    await until(async () => /of 6 that count as a failure/.test((await seen(cluster, 'liar')).reason ?? ''), {
      deadlineMs: 10_000,
      what: 'the failed monitor to be shown',
    });
    await setFault(alice, 'liar', 'liar', undefined);
    equal((await seen(cluster, 'liar')).state, 'running');
    await until(async () => (await seen(cluster, 'liar')).reason === undefined, {
      deadlineMs: 10_000,
      what: 'it to be well again',
    });
    deepEqual(
      (await kindsOf(cluster, 'liar')).filter((kind) => kind === 'resource.failed'),
      [],
    );
    untouched(alice, nginx);

    await setFault(alice, 'liar', 'liar', 'failed');
    const failed = await cluster.event('resource.failed', { resource: 'liar' });
    match(failed.detail, /told to fail by/);
    await cluster.event('resource.restarting', { resource: 'liar' });
    await setFault(alice, 'liar', 'liar', undefined);
    await cluster.settled('running', { on: 'alice', deadlineMs: 30_000 });
    equal((await cluster.status()).groups.web?.epoch, 1);
  },
);

faultTest(
  'ignore: what died stays down, the group is degraded and goes on; started by hand it is well again',
  around('daemon', 'onFail: ignore, rise: 4'),
  async (cluster) => {
    const { alice, nginx } = await started(cluster);
    const [daemon] = pidsOf(alice, 'sleep');
    ok(daemon !== undefined);
    process.kill(daemon, 'SIGKILL');
    await cluster.event('resource.ignored', { node: 'alice', resource: 'daemon' });
    await cluster.settled('degraded', { on: 'alice' });
    equal((await seen(cluster, 'daemon')).state, 'failed');
    await lasting(2_000, 'several monitors');
    deepEqual(pidsOf(alice, 'sleep'), []);
    untouched(alice, nginx);
    deepEqual(cluster.observer.holders(VIP), ['alice']);
    const warned = await checked(cluster);
    equal(warned.code, 1, warned.line);
    match(warned.line, /WARNING.*degraded/);

    equal((await ocf(alice, { agent: 'holdfast-test:daemon', params: {} }, 'start', 'daemon')).code, 0);
    const startedMs = monotonicMs();
    await cluster.event('resource.recovered', { node: 'alice', resource: 'daemon' });
    ok(monotonicMs() - startedMs > 1_500, 'not before four good monitors in a row');
    await cluster.settled('running', { on: 'alice' });
    equal((await checked(cluster)).code, 0);
    deepEqual(await kindsOf(cluster, 'daemon'), ['resource.failed', 'resource.ignored', 'resource.recovered']);
    untouched(alice, nginx);
  },
);

faultTest(
  'hold: nothing of the group is touched any more, also what fails later and by the next agent; the lease is renewed on, cleanup mends',
  around('daemon', 'onFail: hold'),
  async (cluster) => {
    const { alice, nginx } = await started(cluster);
    const [daemon] = pidsOf(alice, 'sleep');
    ok(daemon !== undefined);
    process.kill(daemon, 'SIGKILL');
    const held = await cluster.event('resource.held', { node: 'alice', resource: 'daemon' });
    match(held.detail, /group cleanup web/);
    untouched(alice, nginx);
    signalAll(nginx, 'SIGKILL');
    const left = await cluster.event('resource.failed', { node: 'alice', resource: 'nginx' });
    match(left.detail, /the group is on hold/);
    const leftAlone = async () => {
      await lasting(6_000, 'the lease to be renewed several times');
      deepEqual([pidsOf(alice, 'nginx'), pidsOf(alice, 'sleep')], [[], []]);
      deepEqual(cluster.observer.holders(VIP), ['alice']);
      const { web } = (await cluster.status()).groups;
      deepEqual([web?.owner, web?.epoch, web?.halted?.kind], ['alice', 1, 'hold']);
      const [address, ...down] = web?.resources.map(({ state }) => state) ?? [];
      equal(address, 'running');
      ok(
        down.every((state) => state === 'failed' || state === 'stopped'),
        down.join(),
      );
      const critical = await checked(cluster);
      equal(critical.code, 2, critical.line);
      match(critical.line, /CRITICAL.*on hold/);
    };
    await leftAlone();
    await restartAgent(cluster, alice);
    await leftAlone();
    await cluster.product.restartCoordinator('SIGKILL');
    await leftAlone();

    await cluster.product.mustCli(['group', 'cleanup', 'web', '--wait', '20s']);
    await cluster.settled('running', { on: 'alice' });
    ok(pidsOf(alice, 'nginx').length > 0 && pidsOf(alice, 'sleep').length === 1);
    equal((await cluster.status()).groups.web?.epoch, 1, 'in place, under the lease that it had all the time');
    await cluster.healthy();
    equal((await checked(cluster)).code, 0);
  },
);

faultTest(
  'stop: the group goes down in order, and stays down everywhere, through restarts, until it is cleaned up',
  { ...around('daemon', 'onFail: stop'), timeoutMs: 150_000 },
  async (cluster) => {
    const { alice } = await started(cluster);
    const [daemon] = pidsOf(alice, 'sleep');
    ok(daemon !== undefined);
    process.kill(daemon, 'SIGKILL');
    await cluster.settled('failed');
    await nothingLeft(cluster, alice);
    const staysDown = async () => {
      await lasting(6_000, 'more than a takeover');
      deepEqual(cluster.observer.holders(VIP), []);
      const { web } = (await cluster.status()).groups;
      deepEqual([web?.state, web?.owner, web?.epoch, web?.halted?.kind], ['failed', null, 1, 'stop']);
      const critical = await checked(cluster);
      equal(critical.code, 2, critical.line);
      match(
        await cluster.product.mustCli(['status']),
        /it starts nowhere until a person decides -> holdfast group cleanup web/,
      );
    };
    await staysDown();
    await restartAgent(cluster, alice);
    await cluster.product.restartCoordinator('SIGKILL');
    await staysDown();
    const refused = await cluster.product.cli(['move', 'web', '--to', 'bob']);
    ok(refused.code !== 0);
    match(refused.stderr, /holdfast group cleanup web/);
    await cluster.product.mustCli(['group', 'cleanup', 'web', '--wait', '20s']);
    await cluster.settled('running');
    equal((await cluster.status()).groups.web?.epoch, 2);
  },
);

faultTest(
  'failures: as many as counted within the window give the group up here; those that are longer ago do not count',
  { ...around('daemon', 'failures: { count: 2, window: 4s }'), timeoutMs: 120_000 },
  async (cluster) => {
    const { alice } = await started(cluster);
    const fails = async () => {
      const [daemon] = daemonsOf(alice);
      ok(daemon !== undefined);
      process.kill(daemon, 'SIGKILL');
      await until(() => daemonsOf(alice).every((pid) => pid !== daemon), {
        deadlineMs: 5_000,
        what: 'its end',
      });
    };
    const runsAgain = async () => {
      await until(() => daemonsOf(alice).length === 1, { deadlineMs: 10_000, what: 'it to run again in place' });
    };
    for (let round = 1; round <= 3; round += 1) {
      await fails();
      await runsAgain();
      await lasting(4_500, 'the window to be over');
      await cluster.settled('running', { on: 'alice' });
    }
    equal((await kindsOf(cluster, 'daemon')).filter((kind) => kind === 'resource.restarting').length, 3);
    equal((await cluster.status()).groups.web?.epoch, 1);
    await fails();
    await runsAgain();
    await fails();
    await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
    match((await cluster.event('group.failed-on-node', { node: 'alice' })).detail, /failed 2 times within 4s/);
    equal((await cluster.why()).lastGrant?.cause, 'released');
  },
);

faultTest(
  'failed everywhere: tried again by itself after the wait, also when the LAN of all nodes was away; nobody has to clean up',
  {
    services: ['test-agents', 'nginx'],
    allow: ['ocf=holdfast-test:failstart'],
    document: null,
    timeoutMs: 180_000,
  },
  async (cluster, t) => {
    for (const node of names) await setFault(cluster.host(node), 'failstart', 'failstart', 'on');
    const db = `  db:
    on: [bob, carol]
    resources:
      - vip: 192.0.2.20/24
      - { ocf: { agent: "holdfast-test:failstart" } }
`;
    await cluster.product.apply(`${documentOf(names, [resources.vip, resources.nginx])}${db}`);
    await cluster.settled('running', { on: 'alice' });
    await cluster.settled('failed', { group: 'db', deadlineMs: 30_000 });
    const failedMs = monotonicMs();
    match((await cluster.status()).groups.db?.reason ?? '', /tried again/);

    const cutMs = monotonicMs();
    for (const node of names) await cluster.host(node).cut('lan');
    await cluster.settled('failed', { group: 'web', deadlineMs: 30_000 });
    const critical = await checked(cluster);
    equal(critical.code, 2, critical.line);
    match(critical.line, /2 of 2 groups not served/);
    for (const node of names) await setFault(cluster.host(node), 'failstart', 'failstart', undefined);
    for (const node of names) await cluster.host(node).mend('lan');
    const mendedMs = monotonicMs();
    await cluster.settled('running', { group: 'db', deadlineMs: 60_000 });
    t.diagnostic(`db runs ${Math.round(monotonicMs() - failedMs)} ms after it had failed everywhere`);
    await cluster.settled('running', { group: 'web', deadlineMs: 60_000 });
    t.diagnostic(
      `web runs ${Math.round(monotonicMs() - cutMs)} ms after the LAN was lost, ${Math.round(monotonicMs() - mendedMs)} ms after it was back`,
    );
    for (const group of ['db', 'web'])
      match((await cluster.event('group.retried', { group })).detail, /may try again; it gave it up once/);
    equal((await cluster.events()).filter(({ kind }) => kind === 'group.cleaned-up').length, 0);
  },
);

faultTest(
  'hold: a lease that is lost is lost: the guard takes everything down',
  around('daemon', 'onFail: hold'),
  async (cluster) => {
    const { alice } = await started(cluster);
    const [daemon] = pidsOf(alice, 'sleep');
    ok(daemon !== undefined);
    process.kill(daemon, 'SIGKILL');
    await cluster.event('resource.held', { node: 'alice', resource: 'daemon' });
    await alice.cut();
    await until(() => pidsOf(alice, 'nginx').length === 0 && !cluster.observer.holders(VIP).includes('alice'), {
      deadlineMs: 15_000,
      what: 'alice to let go of everything',
    });
    await alice.mend();
  },
);

faultTest('move: the first failure moves the group', around('daemon', 'onFail: move'), async (cluster) => {
  const { alice } = await started(cluster);
  const [daemon] = pidsOf(alice, 'sleep');
  ok(daemon !== undefined);
  process.kill(daemon, 'SIGKILL');
  await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
  deepEqual(
    (await kindsOf(cluster, 'daemon')).filter((kind) => kind === 'resource.restarting'),
    [],
  );
});

faultTest(
  'not critical: the group is up without what does not start, and that is tried until it does',
  { ...around('failstart', 'critical: false'), document: null },
  async (cluster) => {
    for (const node of names) await setFault(cluster.host(node), 'failstart', 'failstart', 'on');
    const { document } = around('failstart', 'critical: false');
    await cluster.product.apply(document);
    equal(await cluster.settled('degraded'), 'alice');
    const alice = cluster.host('alice');
    const nginx = pidsOf(alice, 'nginx');
    ok(nginx.length > 0, 'what comes after it does not wait for it');
    match((await cluster.status()).groups.web?.reason ?? '', /^failstart: start: error/);
    match((await cluster.event('resource.failed', { resource: 'failstart' })).detail, /told to fail by/);
    const warned = await checked(cluster);
    equal(warned.code, 1, warned.line);
    match(warned.line, /WARNING.*1 of 1 group degraded/);
    await lasting(7_000, 'two more tries');
    const tries = (await alice.readFile('/run/resource-agents/failstart-failstart.tries'))
      .trim()
      .split('\n')
      .map(Number);
    const pauses = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    ok(pauses.length >= 2 && (pauses[0] ?? 0) >= 2_000 && (pauses[1] ?? 0) >= 4_000, `growing pauses: ${pauses}`);
    const told = await kindsOf(cluster, 'failstart');
    deepEqual(told, ['resource.failed', 'resource.restarting'], 'the same failure is told once');
    await setFault(alice, 'failstart', 'failstart', undefined);
    await cluster.event('resource.recovered', { resource: 'failstart' }, 30_000);
    await cluster.settled('running', { on: 'alice' });
    untouched(alice, nginx);
    equal((await cluster.status()).groups.web?.epoch, 1);
  },
);

faultTest(
  'what died while no agent ran is mended in place, as soon as the coordinator has answered the next agent',
  around('daemon', 'onFail: restart'),
  async (cluster, t) => {
    const { alice, nginx } = await started(cluster);
    const agent = cluster.product.agent(alice);
    await agent.stop('SIGTERM');
    signalAll(nginx, 'SIGKILL');
    const startedMs = monotonicMs();
    await agent.start();
    await until(() => pidsOf(alice, 'nginx').length > 0, { deadlineMs: 10_000, what: 'nginx to run again' });
    t.diagnostic(`nginx runs ${Math.round(monotonicMs() - startedMs)} ms after the start of the agent`);
    await cluster.settled('running', { on: 'alice' });
    equal((await cluster.status()).groups.web?.epoch, 1);
    await cluster.event('resource.adopted', { node: 'alice', resource: 'daemon' });
  },
);

faultTest(
  'without an answer of the coordinator the next agent only looks: what died stays down, and goes with the lease where that requires the uplink',
  around('daemon', 'onFail: restart', { requires: 'uplink' }),
  async (cluster) => {
    const { alice, nginx } = await started(cluster);
    const agent = cluster.product.agent(alice);
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await web.nextAnswer(10_000);
    await cluster.product.stopCoordinator();
    await agent.stop('SIGTERM');
    signalAll(nginx, 'SIGKILL');
    const killedMs = monotonicMs();
    await agent.start();
    await until(() => !cluster.observer.holders(VIP).includes('alice'), {
      deadlineMs: 15_000,
      what: 'the lease to end',
    });
    deepEqual(
      web.answers.filter(({ sentMs }) => sentMs > killedMs),
      [],
      'it was not started without an answer',
    );
    await cluster.product.startCoordinator();
    await cluster.settled('running', { deadlineMs: 30_000 });
    await web.stop();
  },
);

faultTest(
  'during an outage the next agent only looks: what died stays down, its group keeps its lease on promises, and is mended when the coordinator answers',
  around('daemon', 'onFail: restart'),
  async (cluster, t) => {
    const { alice, nginx } = await started(cluster);
    await safe(cluster);
    const agent = cluster.product.agent(alice);
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await web.nextAnswer(10_000);
    await cluster.product.stopCoordinator();
    // the agent that has run the group all the time mends it also now
    signalAll(nginx, 'SIGKILL');
    await web.nextAnswer(10_000, monotonicMs() + 50);
    await agent.stop('SIGTERM');
    signalAll(pidsOf(alice, 'nginx'), 'SIGKILL');
    const killedMs = monotonicMs();
    await agent.start();
    await lasting(10_000, 'more than two leases');
    deepEqual(
      web.answers.filter(({ sentMs }) => sentMs > killedMs),
      [],
      'it was not started without an answer',
    );
    deepEqual(cluster.observer.holders(VIP), ['alice'], 'the lease goes on');
    const backMs = monotonicMs();
    await cluster.product.startCoordinator();
    const { answeredMs, text } = await web.nextAnswer(20_000, backMs);
    equal(text, 'alice');
    t.diagnostic(`answered ${Math.round(answeredMs - backMs)} ms after the coordinator was started`);
    await cluster.settled('running', { on: 'alice' });
    equal((await cluster.status()).groups.web?.epoch, 1, 'in place');
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
    await web.stop();
  },
);
