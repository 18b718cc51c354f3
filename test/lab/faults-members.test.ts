/** Who may be a node: tokens that do not fit, joins repeated, nodes added before and after they are named, nodes removed. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { JOIN_TOKEN_DEFAULT_TTL_MS, LEASE_PROFILES } from '../../schemas/limits.ts';
import {
  assertNeverTwo,
  assertNothingForgotten,
  Cluster,
  documentOf,
  everyEvent,
  type Finished,
  type Host,
  installNginx,
  labUnavailable,
  memoryOf,
  monotonicMs,
  nginx,
  resources,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const tokenFile = '/run/token';
const stateDir = '/var/lib/holdfast';
const lines = [resources.vip, resources.nginx];

const allow = [
  'vip=192.0.2.0/24',
  ...Object.entries(nginx.params).map(([name, value]) => `ocf=${nginx.agent}:${name}=${value}`),
].flatMap((value) => ['--allow', value]);

/** `holdfast join` on a host, as whoever sits there would type it. */
async function join(cluster: Cluster, host: Host, token: string, name = host.name): Promise<Finished> {
  const { binary, url } = cluster.product;
  await host.writeFile(tokenFile, token, 0o600);
  const own = ['--token-file', tokenFile, '--name', name, '--state-dir', stateDir];
  return await host.exec([binary, 'join', `${url}/lab`, ...own, ...allow]);
}

async function newToken(cluster: Cluster, node: string): Promise<string> {
  return (await cluster.product.mustCli(['node', 'token', 'create', '--node', node])).trim();
}

/** A cluster of alice and bob whose laboratory has more machines, which have not joined. */
async function clusterBeside(more: readonly string[], options: { testHooks?: boolean } = {}): Promise<Cluster> {
  const cluster = await Cluster.start({
    hosts: ['alice', 'bob'],
    spare: more,
    document: documentOf(['alice', 'bob'], lines),
    ...options,
  });
  for (const name of more) await installNginx(cluster.host(name));
  return cluster;
}

test('a join token that is wrong, used, expired or another node’s admits nobody, and says what to do', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await clusterBeside(['carol', 'dora'], { testHooks: true });
  await cluster.settled('running');
  const [carol, dora] = [cluster.host('carol'), cluster.host('dora')];
  const refused = async (host: Host, token: string, name: string, says: RegExp, code: number) => {
    const done = await join(cluster, host, token, name);
    equal(done.code, code, done.stderr);
    match(done.stderr, says);
    equal((await cluster.status()).nodes[name], undefined, `${name} is no node`);
    const files = await host.exec(['ls', stateDir]);
    ok(!files.stdout.includes('node.json'), `nothing of an identity is written: ${files.stdout}`);
  };
  const token = await newToken(cluster, 'carol');
  const cut = token.slice(0, -1);
  await refused(carol, cut, 'carol', /no complete join token/, 77);
  await refused(carol, 'hfj1_nonsense', 'carol', /no complete join token/, 77);
  await refused(dora, token, 'dora', /is for node carol, not for dora/, 77);
  const unknown = await newToken(cluster, 'dora');
  await cluster.product.shiftClock(JOIN_TOKEN_DEFAULT_TTL_MS + 60_000);
  await refused(dora, unknown, 'dora', /expired at .*: create another one/, 77);
  await cluster.product.shiftClock(0);

  equal((await join(cluster, carol, token)).code, 0);
  const used = await join(cluster, dora, token, 'carol');
  equal(used.code, 1, used.stderr);
  match(used.stderr, /was used at .*create another one/);
  equal((await cluster.event('node.joined', { node: 'carol' })).severity, 'info');
  equal((await cluster.status()).groups.web?.state, 'running');
  await assertNeverTwo(cluster);
});

test('joining twice changes nothing; joining as another node is refused; a lost answer may be asked for again', {
  skip,
  timeout: 90_000,
}, async () => {
  await using cluster = await clusterBeside(['carol']);
  await cluster.settled('running');
  const carol = cluster.host('carol');
  const token = await newToken(cluster, 'carol');
  equal((await join(cluster, carol, token)).code, 0);
  const identity = await carol.readFile(`${stateDir}/node.json`);
  const again = await join(cluster, carol, token);
  deepEqual([again.code, /already joined.*nothing was changed/.test(again.stdout)], [0, true], again.stderr);
  const another = await join(cluster, carol, await newToken(cluster, 'eve'), 'eve');
  equal(another.code, 1);
  match(another.stderr, /already is node carol of cluster lab/);
  equal(await carol.readFile(`${stateDir}/node.json`), identity);
  // as after a crash between the enrolment and the writing of its answer: the key is there, the identity is not
  await carol.mustExec(['rm', `${stateDir}/node.json`]);
  const repeated = await join(cluster, carol, token);
  equal(repeated.code, 0, repeated.stderr);
  equal(await carol.readFile(`${stateDir}/node.json`), identity);
  const alive = await join(cluster, carol, 'x', 'carol');
  equal(alive.code, 0, 'what is joined needs no token');
  await assertNeverTwo(cluster);
});

test('a node may join before the document names it, or be named before it joins: it takes over either way', {
  skip,
  timeout: 120_000,
}, async () => {
  await using cluster = await clusterBeside(['carol', 'dora']);
  equal(await cluster.settled('running'), 'alice');
  const before = await memoryOf(cluster);
  const { product } = cluster;

  // joined, then named
  equal((await join(cluster, cluster.host('carol'), await newToken(cluster, 'carol'))).code, 0);
  await product.startAgent(cluster.host('carol'));
  await until(async () => (await cluster.status()).nodes.carol?.lastSeenMs != null, {
    deadlineMs: 10_000,
    what: 'carol to report',
  });
  const unnamed = await product.cli(['move', 'web', '--to', 'carol']);
  equal(unnamed.code, 1);
  match(unnamed.stderr, /no node carol in the configuration; there are: alice, bob/);
  await product.apply(documentOf(['alice', 'bob', 'carol'], lines));
  await cluster.healthy('web', 20_000, 3);
  await product.mustCli(['move', 'web', '--to', 'carol']);
  equal((await cluster.status()).groups.web?.owner, 'carol');

  // named, then joined
  await product.apply(documentOf(['alice', 'bob', 'carol', 'dora'], lines));
  const status = await cluster.status();
  deepEqual([status.nodes.dora?.joined, status.nodes.dora?.state], [false, 'lost']);
  match(await product.mustCli(['why', 'web', '--on', 'dora']), /has not joined/);
  equal((await join(cluster, cluster.host('dora'), await newToken(cluster, 'dora'))).code, 0);
  await product.startAgent(cluster.host('dora'));
  await cluster.healthy('web', 20_000, 4);
  await product.mustCli(['move', 'web', '--to', 'dora']);
  equal((await cluster.status()).groups.web?.owner, 'dora');
  for (const node of ['carol', 'dora']) await cluster.event('node.joined', { node });
  await assertNothingForgotten(cluster, before);
  await assertNeverTwo(cluster);
});

test('a node that owns a group is not removed without --force; with it the node stops by its lease and reports no more', {
  skip,
  timeout: 120_000,
}, async (t) => {
  await using cluster = await Cluster.start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const before = await memoryOf(cluster);
  const { product } = cluster;
  const refused = await product.cli(['node', 'remove', 'alice']);
  equal(refused.code, 1);
  match(refused.stderr, /alice runs web; `holdfast node standby alice` moves them away first, --force removes it now/);
  equal((await cluster.status()).nodes.alice?.state, 'ready');

  const removedMs = monotonicMs();
  await product.mustCli(['node', 'remove', 'alice', '--force']);
  await until(() => !cluster.observer.holders(VIP).includes('alice'), { deadlineMs: 10_000, what: 'alice to stop' });
  const stoppedMs = monotonicMs() - removedMs;
  t.diagnostic(`alice had stopped ${Math.round(stoppedMs)} ms after its removal`);
  ok(stoppedMs <= LEASE_PROFILES.default.leaseMs + 100, `only after ${stoppedMs} ms`);
  notEqual(await cluster.settled('running', { on: 'bob' }), 'alice');
  const event = await cluster.event('node.removed', { node: 'alice' });
  match(event.detail, /removed while it ran web/);
  const { nodes } = await cluster.status();
  equal(nodes.alice?.state, 'removed');
  const log = product.agent(cluster.host('alice')).logFile ?? '';
  await until(async () => /no member of this cluster|removed/.test(await readFile(log, 'utf8')), {
    deadlineMs: 10_000,
    what: 'the agent to say why it is refused',
  });
  const told = (await everyEvent(cluster)).filter(
    ({ seq, kind, node }) => seq > event.seq && node === 'alice' && /^(agent|resource)\./.test(kind),
  );
  deepEqual(told, [], 'nothing that it has to tell is taken any more');
  // its key is worth nothing any more, nor is a second removal; a new token brings the name back
  const twice = await product.cli(['node', 'remove', 'alice']);
  equal(twice.code, 1);
  match(twice.stderr, /no node alice has joined/);
  await product.agent(cluster.host('alice')).stop();
  await product.mustCli(['node', 'remove', 'carol']);
  await product.agent(cluster.host('carol')).stop();
  await cluster.host('alice').mustExec(['rm', '-r', `${stateDir}/node.json`, `${stateDir}/node.key`]);
  const rejoined = await join(cluster, cluster.host('alice'), await newToken(cluster, 'alice'));
  equal(rejoined.code, 0, rejoined.stderr);
  await product.startAgent(cluster.host('alice'));
  await until(async () => (await cluster.status()).nodes.alice?.state === 'ready', {
    deadlineMs: 15_000,
    what: 'alice to be back',
  });
  await cluster.event('node.rejoined', { node: 'alice' });
  await assertNothingForgotten(cluster, before);
  await assertNeverTwo(cluster);
});
