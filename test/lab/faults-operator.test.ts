/** What an operator asks for while groups run: changes that interrupt, actions repeated, moves that cannot be, looking on. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import type { ClusterEvent } from '../../schemas/events.ts';
import {
  assertNeverTwo,
  assertNothingForgotten,
  Cluster,
  documentOf,
  everyEvent,
  labUnavailable,
  memoryOf,
  resources,
  setFault,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const names = ['alice', 'bob', 'carol'];
const lines = [resources.vip, resources.nginx];
const stateDir = '/var/lib/holdfast';

test('a document that moves, restarts or removes a running group shows so, and off a terminal needs --yes', {
  skip,
  timeout: 120_000,
}, async () => {
  await using cluster = await Cluster.start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const file = '/srv/change.yaml';
  const change = async (document: string, effect: RegExp) => {
    await cluster.lab.arbiter.writeFile(file, document);
    const plan = await cluster.product.mustCli(['plan', file]);
    match(plan, effect);
    const { revision } = await cluster.status();
    const refused = await cluster.product.cli(['apply', file]);
    equal(refused.code, 1, refused.stderr);
    match(refused.stderr, /This interrupts web\. Nothing was changed, because nobody could be asked/);
    match(refused.stderr, /Next: holdfast apply \/srv\/change\.yaml --yes/);
    equal((await cluster.status()).revision, revision, 'nothing was changed');
    await cluster.product.mustCli(['apply', file, '--yes']);
  };
  await change(
    documentOf(names, lines).replace('on: [alice, bob, carol]', 'on: [bob, carol]'),
    /web +moves +alice is no longer in its `on` list: stops there, starts on bob/,
  );
  equal(await cluster.settled('running', { on: 'bob' }), 'bob');

  const two = documentOf(names, [...lines, '      - vip: 192.0.2.20/24']);
  await change(two, /web +restarts +vip-192\.0\.2\.20 changed: it and what comes after it restart on bob/);
  await until(() => cluster.observer.holders('192.0.2.20')[0] === 'bob', {
    deadlineMs: 15_000,
    what: 'the new address',
  });
  await cluster.settled('running', { on: 'bob' });

  const settings = two.replace('- vip: 192.0.2.20/24', '- { vip: 192.0.2.20/24, interval: 20s }');
  await cluster.lab.arbiter.writeFile(file, settings);
  match(
    await cluster.product.mustCli(['apply', file]),
    /applied: lab is at revision 4/,
    'what interrupts nothing needs no --yes',
  );
  match((await cluster.product.cli(['apply', file])).stderr, /nothing changes/);

  await change(`cluster: lab\nnodes: [alice, bob, carol]\n`, /web +removed +bob stops it/);
  for (const address of [VIP, '192.0.2.20'])
    await until(() => cluster.observer.holders(address).length === 0, { deadlineMs: 15_000, what: `${address} to go` });
  await until(async () => (await cluster.status()).groups.web === undefined, {
    deadlineMs: 10_000,
    what: 'the group to go',
  });
  // a group of the same name goes on above the epochs of the one that was removed
  await cluster.product.apply(documentOf(names, lines));
  await cluster.settled('running');
  ok(((await cluster.status()).groups.web?.epoch ?? 0) > (before.epochs.web ?? 0) + 1);
  await assertNothingForgotten(cluster, before);
  await assertNeverTwo(cluster);
});

test('stop, start, cleanup, standby and ready may be repeated: the second changes nothing and succeeds', {
  skip,
  timeout: 120_000,
}, async () => {
  await using cluster = await Cluster.start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const twice = async (...args: string[]) => {
    await cluster.product.mustCli([...args, '--wait', '30s']);
    const { groups, nodes } = await cluster.status();
    await cluster.product.mustCli([...args, '--wait', '30s']);
    const after = await cluster.status();
    deepEqual(
      [after.groups.web?.state, after.groups.web?.epoch],
      [groups.web?.state, groups.web?.epoch],
      args.join(' '),
    );
    deepEqual(
      Object.values(after.nodes).map((node) => node.state),
      Object.values(nodes).map((node) => node.state),
    );
  };
  await twice('group', 'start', 'web');
  await twice('group', 'stop', 'web');
  await cluster.settled('stopped');
  deepEqual(cluster.observer.holders(VIP), []);
  const move = await cluster.product.cli(['move', 'web', '--to', 'bob']);
  equal(move.code, 1);
  match(move.stderr, /web is stopped; `holdfast group start web` first/);
  await cluster.product.restartCoordinator('SIGKILL');
  await cluster.settled('stopped', { deadlineMs: 10_000 });
  await twice('group', 'start', 'web');
  await cluster.settled('running');
  await twice('group', 'cleanup', 'web');
  await twice('node', 'standby', 'carol');
  for (const _ of [1, 2]) await cluster.product.mustCli(['node', 'ready', 'carol']);
  for (const args of [
    ['group', 'stop', 'wbe'],
    ['move', 'wbe'],
    ['why', 'wbe'],
    ['node', 'standby', 'dora'],
  ]) {
    const unknown = await cluster.product.cli(args);
    equal(unknown.code, 1, args.join(' '));
    match(unknown.stderr, /no group wbe|there is no group|no node dora/);
  }
  await assertNothingForgotten(cluster, before);
  await assertNeverTwo(cluster);
});

test('a move to a node that cannot take the group is refused with every reason, and the group stays where it is', {
  skip,
  timeout: 120_000,
}, async () => {
  const dummy = '      - ocf: { agent: "holdfast-test:failstart", params: {} }';
  await using cluster = await Cluster.start({
    services: ['test-agents'],
    allow: ['ocf=holdfast-test:failstart'],
    document: documentOf(names, [resources.vip, dummy]),
  });
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const refused = async (to: string, ...says: RegExp[]) => {
    const { code, stderr } = await cluster.product.cli(['move', 'web', '--to', to]);
    equal(code, 1, stderr);
    for (const text of says) match(stderr, text);
  };
  await refused('alice', /web already runs on alice/);
  await refused('dora', /no node dora in the configuration; there are: alice, bob, carol/);
  await setFault(cluster.host('bob'), 'failstart', 'failstart', 'on');
  const failed = await cluster.product.cli(['move', 'web', '--to', 'bob', '--wait', '40s']);
  equal(failed.code, 1, failed.stderr);
  match(failed.stderr, /move of web to bob failed: bob (could not take it|can no longer take it)/);
  await cluster.settled('running', { deadlineMs: 20_000 });
  await cluster.product.mustCli(['node', 'standby', 'bob']);
  await refused('bob', /is in standby/, /failstart failed here .*`holdfast group cleanup web` forgives/);
  await cluster.host('carol').powerCut();
  await cluster.event('node.lost', { node: 'carol' });
  await refused('carol', /is lost, last seen/);
  const nobody = await cluster.product.cli(['move', 'web']);
  equal(nobody.code, 1);
  match(nobody.stderr, /no other node can take web: .*bob .*; carol is lost/);
  equal((await cluster.status()).groups.web?.state, 'running');
  await cluster.event('group.failed-on-node', { node: 'bob', group: 'web' });
  await assertNothingForgotten(cluster, before);
  await assertNeverTwo(cluster);
});

test('watch and events --follow stream one object a line, through a restart of the coordinator', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await Cluster.start();
  await cluster.settled('running');
  await cluster.healthy();
  const { arbiter } = cluster.lab;
  const { binary, url, dataDir } = cluster.product;
  const env = { HOLDFAST_URL: url, HOLDFAST_CLUSTER: 'lab', HOLDFAST_TOKEN_FILE: `${dataDir}/admin.token` };
  const seen: Status[] = [];
  const events: ClusterEvent[] = [];
  const changes: string[] = [];
  const follow = async (args: string[], onLine: (line: string) => void) =>
    await arbiter.spawn([binary, ...args], { env, onLine });
  const streams = [
    await follow(['watch', '--json'], (line) => seen.push(JSON.parse(line) as Status)),
    await follow(['events', '--follow', '--json'], (line) => events.push(JSON.parse(line) as ClusterEvent)),
    await follow(['watch'], (line) => changes.push(line)),
  ];
  const told = (what: string, condition: () => boolean) => until(condition, { deadlineMs: 20_000, what });
  await told('the first status', () => seen.length > 0 && changes.length > 0);
  await cluster.product.mustCli(['move', 'web', '--to', 'bob']);
  const runsOn = (node: string) => () =>
    seen.at(-1)?.groups.web?.owner === node && seen.at(-1)?.groups.web?.state === 'running';
  await told('the move in the stream of statuses', runsOn('bob'));
  await told('the move among the events', () =>
    events.some((event) => event.kind === 'group.granted' && event.node === 'bob'),
  );
  await told('the move as a line', () => changes.some((line) => /group web: .*running on bob/.test(line)));
  await cluster.product.restartCoordinator('SIGKILL');
  await cluster.healthy();
  await cluster.product.mustCli(['move', 'web', '--to', 'carol']);
  await told('the second move in the stream of statuses', runsOn('carol'));
  await told(
    'the restart and the second move among the events',
    () =>
      ['coordinator.started', 'group.granted'].every((kind) => events.some((event) => event.kind === kind)) &&
      events.some((event) => event.kind === 'group.granted' && event.node === 'carol'),
  );
  const seqs = events.map((event) => event.seq);
  deepEqual(
    seqs,
    [...new Set(seqs)].toSorted((a, b) => a - b),
    'every event once, in order',
  );
  const stored = (await everyEvent(cluster))
    .map((event) => event.seq)
    .filter((seq) => seq >= (seqs[0] ?? 0) && seq <= (seqs.at(-1) ?? 0));
  deepEqual(seqs, stored, 'no event is left out');
  for (const object of [...seen, ...events]) ok(/^holdfast\/(status|event)\/v1$/.test(Reflect.get(object, 'schema')));
  for (const stream of streams) {
    ok(stream.running, `${stream.argv.join(' ')} goes on`);
    stream.kill('SIGINT');
    equal((await stream.exited).code, 0, `${stream.argv.join(' ')} ends in order when interrupted`);
  }
  await assertNeverTwo(cluster);
});

test('while the coordinator is away, status and why on a node tell what its agent knows, and say that it is only that', {
  skip,
  timeout: 60_000,
}, async () => {
  await using cluster = await Cluster.start();
  const owner = cluster.host(await cluster.settled('running'));
  await cluster.healthy();
  const { binary, url } = cluster.product;
  const env = { HOLDFAST_URL: url, HOLDFAST_CLUSTER: 'lab', HOLDFAST_TOKEN: 'a-token-that-nobody-is-asked-for' };
  const ask = (args: string[]) => owner.exec([binary, ...args, '--state-dir', stateDir], { env });
  await cluster.product.stopCoordinator('SIGKILL');
  for (const args of [['status'], ['why', 'web'], ['status', 'web']]) {
    const { code, stdout, stderr } = await ask(args);
    equal(code, 69, stderr);
    match(stderr, /only what the agent on this machine knows/);
    match(stderr, /cannot be reached: nothing listens there/);
    match(stdout, new RegExp(`lab +seen from ${owner.name} alone +\\(revision 1\\)`));
    match(stdout, /^web +\w+/m);
  }
  const { stdout, code } = await ask(['status', '--json']);
  equal(code, 69);
  const local = JSON.parse(stdout);
  deepEqual([local.schema, local.source, local.node], ['holdfast/local-status/v1', 'local-agent', owner.name]);
  const elsewhere = await cluster.product.cli(['status']);
  equal(elsewhere.code, 69, 'without an agent there is only the error');
  equal(elsewhere.stdout, '');
  await cluster.product.startCoordinator();
  await cluster.settled('running', { deadlineMs: 20_000 });
  await cluster.healthy();
  await assertNeverTwo(cluster);
});
