/** Faults of the agent, its guard and its machine: whatever dies, hangs or comes back, one node at most runs the group. */
import { deepEqual, doesNotMatch, equal, match, notDeepEqual, notEqual, ok } from 'node:assert/strict';
import { join } from 'node:path';
import { PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import {
  addressGaps,
  backAndReady,
  faultTest,
  guardPid,
  lasting,
  names,
  nothingLeft,
  pidsOf,
  rememberedEpochs,
  runningOnAlice,
  stateDir,
} from './faults.ts';
import { Client, documentOf, monotonicMs, resources, until, VIP, within } from './index.ts';
import { agentOfVersion } from './variants.ts';

/** Incarnation of the agent on a host, as the agent itself says on its socket. */
async function incarnation(cluster: Parameters<typeof runningOnAlice>[0], node: string): Promise<string> {
  const script = `const s=require('net').connect('${stateDir}/agent.sock',()=>s.write('{"query":"status"}\\n'));s.pipe(process.stdout)`;
  let found = '';
  await until(
    async () => {
      const asked = await cluster.host(node).exec([process.execPath, '-e', script]);
      if (asked.code !== 0) return false;
      found = (JSON.parse(asked.stdout) as { incarnation?: string }).incarnation ?? '';
      return found !== '';
    },
    { deadlineMs: 10_000, what: `the agent on ${node} to say who it is` },
  );
  return found;
}

faultTest(
  'a second agent on the same state directory ends with 75 and says so; the first one goes on',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    const second = await alice.exec([cluster.product.binary, 'agent', '--state-dir', stateDir], { deadlineMs: 20_000 });
    equal(second.code, 75, second.stderr);
    match(second.stderr, /an agent already runs on this state directory/);
    await cluster.settled('running', { on: 'alice' });
    deepEqual(pidsOf(alice, 'nginx'), nginx, 'nothing was touched');
    equal((await cluster.status()).groups.web?.epoch, 1);
  },
);

faultTest(
  'a state directory cloned to another machine: the clone is held off, the owner goes on unharmed, an event names the conflict',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const carol = cluster.host('carol');
    const nginx = pidsOf(alice, 'nginx');
    const cloned = '/var/lib/holdfast/clone-of-alice';
    for (const file of ['node.json', 'node.key', 'policy.yaml', 'config.json', 'epochs.json'])
      await carol.writeFile(`${cloned}/${file}`, await alice.readFile(`${stateDir}/${file}`), 0o600);
    const clone = carol.unit('clone', [cluster.product.binary, 'agent', '--state-dir', cloned]);
    const sinceMs = monotonicMs();
    await clone.start();
    const event = await cluster.event('node.identity-conflict', { node: 'alice' });
    match(event.detail, /two agents speak as alice/);
    // longer than the lease and the clone's own quarantine: it keeps asking and keeps being refused
    await lasting(10_000, 'the clone to have tried for longer than a lease');
    ok(clone.process !== undefined, 'the clone still tries');
    equal((await cluster.status()).nodes.alice?.state, 'ready');
    equal((await cluster.status()).groups.web?.owner, 'alice');
    equal((await cluster.status()).groups.web?.epoch, 1);
    deepEqual(pidsOf(alice, 'nginx'), nginx);
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
    equal(
      (await cluster.events()).filter(({ kind }) => kind === 'node.identity-conflict').length,
      1,
      'told once, not with every report',
    );
    // the rightful owner loses power: what takes over is one node, clone or not
    await clone.stop('SIGKILL');
    await alice.powerCut();
    await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
    ok(monotonicMs() > sinceMs);
  },
);

faultTest(
  'the agent is killed and restarted within the lease, three times: same incarnation, services untouched, the address never gone',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    const before = await incarnation(cluster, 'alice');
    const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await web.nextAnswer(10_000);
    const unit = cluster.product.agent(alice);
    const sinceMs = monotonicMs();
    for (const round of [1, 2, 3]) {
      unit.kill('SIGKILL');
      await until(
        async () =>
          (await cluster.events()).filter(
            ({ kind, node, detail }) => kind === 'agent.started' && node === 'alice' && /goes on/.test(detail),
          ).length === round,
        { deadlineMs: 15_000, what: `the agent to be back for the ${round}. time` },
      );
    }
    await cluster.settled('running', { on: 'alice' });
    equal(await incarnation(cluster, 'alice'), before);
    deepEqual(pidsOf(alice, 'nginx'), nginx, 'the very same processes');
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
    equal((await cluster.status()).groups.web?.epoch, 1);
    t.diagnostic(`longest pause of the web server ${Math.round(web.longestGap(sinceMs))} ms`);
    await web.stop();
  },
);

faultTest(
  'SIGTERM, as in an upgrade, leaves the services as they are; the next agent goes on with them',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    const unit = cluster.product.agent(alice);
    unit.kill('SIGTERM');
    await until(() => unit.exits.length > 0, { deadlineMs: 5_000, what: 'the agent to end on SIGTERM' });
    deepEqual(unit.exits[0], { code: 0, signal: null });
    await cluster.event('resource.adopted', { node: 'alice', resource: 'nginx' });
    await cluster.settled('running', { on: 'alice' });
    deepEqual(pidsOf(alice, 'nginx'), nginx);
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
    doesNotMatch(
      await cluster.lab.logs(),
      /brought no answer/,
      'the news of a start are no reason to give a WebSocket up',
    );
  },
);

faultTest(
  'the agent is killed for good: its guard takes everything away by the deadline, the next node takes over; back again, it says so',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const killedMs = monotonicMs();
    await cluster.product.agent(alice).stop('SIGKILL');
    await nothingLeft(cluster, alice);
    const goneMs = monotonicMs() - killedMs;
    ok(goneMs < 4_000 + 500, `down by the deadline of the lease (${goneMs.toFixed(0)} ms)`);
    await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
    t.diagnostic(
      `everything gone ${goneMs.toFixed(0)} ms after the kill; address ${(await addressGaps(cluster)).join(', ')}`,
    );
    await cluster.event('node.lost', { node: 'alice' });
    await cluster.event('group.lease-expired', { node: 'alice', group: 'web' });
    await cluster.product.agent(alice).start();
    const fired = await cluster.event('agent.fuse-fired', { node: 'alice', group: 'web' });
    match(fired.detail, /nothing is held any more/);
    await cluster.healthy();
    equal((await cluster.status()).groups.web?.owner, 'bob', 'no fail-back');
  },
);

faultTest(
  'agents stopped for 30 s: the owner’s guard kills it and takes everything away, a bystander goes on; nobody runs twice',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const unit = cluster.product.agent(alice);
    const carol = cluster.product.agent(cluster.host('carol'));
    const [before, bystander] = [await incarnation(cluster, 'alice'), await incarnation(cluster, 'carol')];
    unit.restart = 'no';
    const stoppedMs = monotonicMs();
    unit.kill('SIGSTOP');
    carol.kill('SIGSTOP');
    await nothingLeft(cluster, alice);
    t.diagnostic(`everything gone ${(monotonicMs() - stoppedMs).toFixed(0)} ms after the stop`);
    await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
    await until(() => monotonicMs() - stoppedMs > 30_000, { deadlineMs: 31_000, what: 'the 30 s to pass' });
    unit.kill('SIGCONT');
    carol.kill('SIGCONT');
    await until(() => unit.process === undefined, { deadlineMs: 5_000, what: 'the stopped agent to be dead' });
    equal(unit.exits.at(-1)?.signal, 'SIGKILL', 'its guard killed it, so that it can put nothing back');
    unit.restart = 'always';
    await unit.start();
    await cluster.event('agent.fuse-fired', { node: 'alice', group: 'web' });
    await cluster.event('node.returned', { node: 'carol' });
    await cluster.healthy();
    equal(await incarnation(cluster, 'alice'), before, 'to the protocol it was paused');
    equal(await incarnation(cluster, 'carol'), bystander);
    equal(carol.exits.length, 0, 'a guard with nothing armed kills nobody');
    equal((await cluster.status()).groups.web?.owner, 'bob');
  },
);

faultTest(
  'the owner’s event loop is blocked: its guard acts, the group runs again in a new epoch, the agent returns',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    // The executable listens for no debugger, so the same agent is run by Node, in one file, which starts as fast: it takes over within the lease.
    const bundle = await agentOfVersion(PROTOCOL_MAJOR, PROTOCOL_MINOR);
    const argv = [process.execPath, bundle, 'agent', '--state-dir', '/var/lib/holdfast'];
    await cluster.product.agent(alice).stop();
    const unit = alice.unit('holdfast-from-source', argv, { restart: 'always' });
    await unit.start();
    await until(async () => (await cluster.status()).nodes.alice?.lastSeenMs !== null, {
      deadlineMs: 5_000,
      what: 'alice',
    });
    await cluster.event('agent.started', { node: 'alice', detail: 'the agent was restarted; its incarnation goes on' });
    unit.kill('SIGUSR1');
    const script = join(import.meta.dirname, 'block-event-loop.ts');
    await until(async () => (await alice.exec([process.execPath, script, '60000'])).code === 0, {
      deadlineMs: 10_000,
      what: 'the inspector of the agent',
    });
    const blockedMs = monotonicMs();
    await nothingLeft(cluster, alice);
    t.diagnostic(`everything gone ${(monotonicMs() - blockedMs).toFixed(0)} ms after the loop was blocked`);
    await until(() => unit.exits.length > 0, { deadlineMs: 5_000, what: 'the blocked agent to be killed' });
    equal(unit.exits[0]?.signal, 'SIGKILL');
    await cluster.event('agent.fuse-fired', { node: 'alice', group: 'web' });
    // by bob, or by alice itself, whose agent is back at once: whoever claims first when the lease has been given back
    await until(async () => ((await cluster.status()).groups.web?.epoch ?? 0) > 1, {
      deadlineMs: 20_000,
      what: 'the next epoch',
    });
    await cluster.healthy();
  },
);

faultTest('no signal opens a debugger in the agent', {}, async (cluster) => {
  const alice = await runningOnAlice(cluster);
  const unit = cluster.product.agent(alice);
  unit.kill('SIGUSR1');
  // two more reports of the agent: whatever the signal brought about has happened by then
  for (let n = 0; n < 2; n++) await cluster.heard('alice', monotonicMs());
  deepEqual(unit.exits, []);
  notEqual((await alice.exec(['/bin/sh', '-c', 'ss -ltn | grep :9229'])).code, 0);
  await cluster.settled('running', { on: 'alice' });
});

faultTest(
  'the guard is killed: the agent stops everything, releases, and comes back as a new incarnation',
  // by an agent that takes no time: a forced stop of heartbeat:nginx that finds no room in its budget keeps the lease, and is another story
  { services: ['server'], document: documentOf(names, [resources.vip, resources.server]) },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const before = await incarnation(cluster, 'alice');
    const unit = cluster.product.agent(alice);
    const killedMs = monotonicMs();
    process.kill(guardPid(alice), 'SIGKILL');
    await nothingLeft(cluster, alice);
    await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
    const tookOverMs = monotonicMs() - killedMs;
    const lost = await cluster.event('agent.guard-lost', { node: 'alice' });
    match(lost.detail, /everything is stopped/);
    await cluster.event('group.released', { node: 'alice', group: 'web' });
    equal((await cluster.why()).lastGrant?.cause, 'released', 'nobody had to wait for the lease');
    await until(() => unit.exits.length > 0, { deadlineMs: 10_000, what: 'the agent to end' });
    deepEqual(unit.exits[0], { code: 70, signal: null });
    await cluster.healthy();
    notEqual(await incarnation(cluster, 'alice'), before);
    ok(((await rememberedEpochs(alice)).web ?? 0) >= 1, 'its own epoch, or that which it promised to bob');
    equal((await cluster.status()).groups.web?.owner, 'bob', 'no fail-back');
    t.diagnostic(`running on bob ${tookOverMs.toFixed(0)} ms after the kill`);
  },
);

faultTest(
  'guard and agent killed together: what is left running is stopped before the node may act again',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const before = await incarnation(cluster, 'alice');
    const unit = cluster.product.agent(alice);
    process.kill(guardPid(alice), 'SIGKILL');
    unit.kill('SIGKILL');
    // a new guard knows of no lease: the new incarnation finds address and nginx running, and stops them at once
    await cluster.event('resource.stopped-without-lease', { node: 'alice', resource: 'nginx' });
    await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
    await cluster.healthy();
    notEqual(await incarnation(cluster, 'alice'), before);
    deepEqual(pidsOf(alice, 'nginx'), []);
  },
);

faultTest(
  'a machine that loses power and is back within the lease may not act until its old lease is over; no fail-back afterwards',
  {},
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const before = await incarnation(cluster, 'alice');
    const cutMs = monotonicMs();
    await alice.powerCut();
    await alice.boot();
    t.diagnostic(`booted again after ${(monotonicMs() - cutMs).toFixed(0)} ms`);
    await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
    await backAndReady(cluster, 'alice');
    await cluster.healthy();
    notEqual(await incarnation(cluster, 'alice'), before);
    const event = await cluster.event('node.new-incarnation', { node: 'alice' });
    match(event.detail, /machine restarted/);
    equal((await cluster.status()).groups.web?.owner, 'bob', 'no fail-back');
    equal(
      (await cluster.events()).filter(({ kind }) => kind === 'node.identity-conflict').length,
      0,
      'a restart is no conflict of identities',
    );
    // and it is of use again
    await cluster.product.mustCli(['move', 'web', '--to', 'alice', '--wait', '30s']);
    await cluster.settled('running', { on: 'alice' });
    deepEqual(await rememberedEpochs(alice), { web: 3 });
  },
);

faultTest('a machine is rebooted in order: the group runs elsewhere before it is back', {}, async (cluster) => {
  const alice = await runningOnAlice(cluster);
  await within(alice.reboot(), { deadlineMs: 40_000, what: 'the reboot' });
  await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
  await cluster.event('agent.started', { node: 'alice' });
  await cluster.healthy();
  notDeepEqual(pidsOf(cluster.host('bob'), 'nginx'), []);
});

faultTest(
  'guard and agent killed for good: the kernel itself takes the address away when its lifetime ends, before anybody else may have it',
  { document: documentOf(names, [resources.vip]) },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const killedMs = monotonicMs();
    cluster.product.agent(alice).hold();
    process.kill(guardPid(alice), 'SIGKILL');
    cluster.product.agent(alice).kill('SIGKILL');
    await nothingLeft(cluster, alice);
    t.diagnostic(`address gone ${(monotonicMs() - killedMs).toFixed(0)} ms after the kill, with nobody to delete it`);
    await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
    await cluster.event('group.lease-expired', { node: 'alice', group: 'web' });
  },
);
