/** Faults of the node's own files: what its administrator does not allow, and a disk that takes no more. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { faultTest, names, nothingLeft, pidsOf, rememberedEpochs, runningOnAlice, stateDir } from './faults.ts';
import { type Cluster, documentOf, type Host, resources, signalAll, until, VIP } from './index.ts';

const policyPath = `${stateDir}/policy.yaml`;

const withoutNginx = 'allow:\n  vip:\n    - 192.0.2.0/24\n  ocf:\n    "heartbeat:mysql": {}\n';

/** Changes a node's policy and has the agent read it: it does at its start. @returns the policy as it was. */
async function setPolicy(cluster: Cluster, host: Host, change: (text: string) => string): Promise<string> {
  const before = await host.readFile(policyPath);
  await host.writeFile(policyPath, change(before), 0o644);
  const unit = cluster.product.agent(host);
  const ends = unit.exits.length;
  unit.kill('SIGTERM');
  await until(() => unit.exits.length > ends && unit.process !== undefined, {
    deadlineMs: 10_000,
    what: 'the agent to restart',
  });
  return before;
}

faultTest(
  'a resource that a node’s policy forbids: the node is passed over, and why names the line of policy.yaml',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    const before = await setPolicy(cluster, bob, () => withoutNginx);
    const refusal = await cluster.event('node.refuses', { node: 'bob', group: 'web', resource: 'nginx' });
    match(refusal.detail, /policy\.yaml:5: .*heartbeat:nginx is not allowed on this node/);
    const verdict = (await cluster.why()).candidates.find(({ node }) => node === 'bob');
    equal(verdict?.eligible, false);
    ok(verdict?.reasons.some((reason) => reason.rule === 'refuses' && reason.detail === refusal.detail));
    match(await cluster.product.mustCli(['why', 'web']), /policy\.yaml/);
    await alice.powerCut();
    await cluster.settled('running', { on: 'carol', deadlineMs: 30_000 });
    await setPolicy(cluster, bob, () => before);
    await cluster.event('node.accepts', { node: 'bob' });
  },
);

faultTest(
  'a permission withdrawn on the node that runs it: the group leaves; on all nodes: it waits with the reason, and starts when one allows it again',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const before = await setPolicy(cluster, alice, () => withoutNginx);
    await cluster.settled('running', { on: 'bob', deadlineMs: 20_000 });
    deepEqual(pidsOf(alice, 'nginx'), []);
    match((await cluster.event('node.refuses', { node: 'alice', group: 'web' })).detail, /policy\.yaml:\d+/);
    await cluster.event('group.released', { node: 'alice', group: 'web' });
    await setPolicy(cluster, cluster.host('carol'), () => withoutNginx);
    await setPolicy(cluster, cluster.host('bob'), (text) => text.replace('192.0.2.0/24', '203.0.113.0/24'));
    // what nobody has a plan for any more is found by the guard and taken away all the same
    await nothingLeft(cluster, cluster.host('bob'));
    await until(async () => ['failed', 'waiting'].includes((await cluster.status()).groups.web?.state ?? ''), {
      deadlineMs: 20_000,
      what: 'no node to be left',
    });
    match((await cluster.status()).groups.web?.reason ?? '', /(\w+ refuses \S+: \S+policy\.yaml:\d+: .*(; |$)){3}/);
    deepEqual(cluster.observer.holders(VIP), []);
    await setPolicy(cluster, cluster.host('carol'), () => before);
    await cluster.settled('running', { on: 'carol', deadlineMs: 20_000 });
  },
);

/** Puts the state directory of a host, whose agent is down, on a file system of its own of one megabyte. */
async function onSmallDisk(cluster: Cluster, host: Host): Promise<void> {
  const unit = cluster.product.agent(host);
  await unit.stop('SIGTERM');
  signalAll(pidsOf(host, 'holdfast-guard'), 'SIGTERM');
  await until(() => pidsOf(host, 'holdfast-guard').length === 0, { deadlineMs: 5_000, what: 'the idle guard to end' });
  const script = `mkdir /run/small && mount -t tmpfs -o size=1m,mode=0700 tmpfs /run/small && cp -a ${stateDir}/*.* /run/small/ && rm -f /run/small/*.sock && mount --move /run/small ${stateDir}`;
  await host.mustExec(['sh', '-c', script]);
  await unit.start();
  // its guard is new, so it is a new incarnation: not heard until the old one can hold no lease any more
  await cluster.event('node.new-incarnation', { node: host.name });
}

const fill = (host: Host) => host.exec(['sh', '-c', `cat /dev/zero >${stateDir}/ballast`]);

faultTest(
  'no space for an epoch: the activation is refused, the group goes to the next node, and an event says which file; with space again it may run there',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    await onSmallDisk(cluster, bob);
    await cluster.healthy();
    await fill(bob);
    const remembered = await rememberedEpochs(bob);
    await alice.powerCut();
    await cluster.settled('running', { on: 'carol', deadlineMs: 30_000 });
    const event = await cluster.event('agent.state-not-writable', { node: 'bob' });
    match(event.detail, /epochs\.json: no space left on the device.*free space in \/var\/lib\/holdfast/);
    match((await cluster.event('group.failed-on-node', { node: 'bob' })).detail, /not started: cannot write/);
    deepEqual(await rememberedEpochs(bob), remembered, 'the old content is whole');
    const told = (await cluster.events()).filter(({ kind }) => kind === 'agent.state-not-writable');
    equal(told.length, 1, 'told once, though its neighbours ask it for promises all the time');
    ok(
      !(await cluster.observer.history(VIP)).some((line) => line.startsWith('bob')),
      'nothing was started without a durable epoch',
    );
    await bob.mustExec(['rm', `${stateDir}/ballast`]);
    await cluster.product.mustCli(['group', 'cleanup', 'web']);
    await cluster.product.mustCli(['move', 'web', '--to', 'bob', '--wait', '30s']);
    await cluster.settled('running', { on: 'bob' });
    equal((await rememberedEpochs(bob)).web, (await cluster.status()).groups.web?.epoch);
  },
);

faultTest(
  'the owner’s disk fills up: its lease needs no disk, a restarted agent goes on, a new configuration is worked by and the full disk told',
  { document: null },
  async (cluster) => {
    const alice = cluster.host('alice');
    await onSmallDisk(cluster, alice);
    await cluster.product.apply(documentOf(names, [resources.vip, resources.nginx]));
    await runningOnAlice(cluster);
    const nginx = pidsOf(alice, 'nginx');
    await fill(alice);
    cluster.product.agent(alice).kill('SIGKILL');
    await cluster.event('resource.adopted', { node: 'alice', resource: 'nginx' });
    await cluster.product.apply(`${documentOf(names, [resources.vip, resources.nginx])}# the same again\n`);
    await cluster.event('agent.state-not-writable', { node: 'alice' });
    await cluster.settled('running', { on: 'alice' });
    await cluster.healthy();
    deepEqual(pidsOf(alice, 'nginx'), nginx);
    equal((await cluster.observer.history(VIP)).length, 1, 'the address never left');
    await alice.mustExec(['rm', `${stateDir}/ballast`]);
    await nothingLeft(cluster, cluster.host('bob'));
  },
);
