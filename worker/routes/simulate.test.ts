import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { problemSchema, type Simulation, simulationSchema } from '../../schemas/api.ts';
import { LEASE_PROFILES, MAX_GROUPS, MAX_NODES } from '../../schemas/limits.ts';
import type { Reply } from '../../schemas/wire.ts';
import { type Answer, type Coordinator, documentOf, startCoordinator } from '../../test/coordinator/harness.ts';
import type { TestNode, TestSocket } from '../../test/coordinator/node.ts';

let coordinator: Coordinator;
before(async () => {
  coordinator = await startCoordinator();
});
after(() => coordinator.close());

const lease = { leaseMs: LEASE_PROFILES.wan.leaseMs };

async function ask(cluster: string, whatIf: unknown): Promise<Answer> {
  return await coordinator.admin('POST', `/v1/clusters/${cluster}/simulate`, whatIf);
}

async function simulated(cluster: string, whatIf: unknown): Promise<Simulation> {
  const answer = await ask(cluster, whatIf);
  assert.equal(answer.status, 200, JSON.stringify(answer.body).slice(0, 500));
  return simulationSchema.parse(answer.body);
}

interface Member {
  readonly node: TestNode;
  readonly socket: TestSocket;
  readonly leases: Reply['grants'];
}

/** Joins the node, and works by the newest document. */
async function joined(cluster: string, name: string): Promise<Omit<Member, 'leases'>> {
  const node = await coordinator.join(cluster, name);
  const socket = await node.connect();
  node.revision = (await socket.ask(node.report(lease))).config?.revision ?? 0;
  return { node, socket };
}

/** Takes these groups and reports them running. */
async function runs({ node, socket }: Omit<Member, 'leases'>, groups: readonly string[]): Promise<Member> {
  const claims = groups.map((group) => ({ group, renewal: null, seenForMs: 0 }));
  const { grants } = await socket.ask(node.report({ ...lease, claims }));
  const told = { state: 'running' as const, forMs: 0, resources: [] };
  const leases = grants.map(({ group, epoch, voters }) => ({ group, epoch, voters: voters.version }));
  const running = grants.map(({ group, epoch }) => ({ group, epoch, ...told }));
  await socket.ask(node.report({ ...lease, leases, groups: running }));
  return { node, socket, leases: grants };
}

async function smallCluster(name: string): Promise<Member[]> {
  await coordinator.createCluster(name);
  await coordinator.apply(name, `lease: wan\n${documentOf(name, ['alice', 'bob'])}`);
  const [alice, bob] = [await joined(name, 'alice'), await joined(name, 'bob')];
  return [await runs(alice, ['web']), await runs(bob, [])];
}

test('what would happen is told, and nothing of it happens or is stored', async () => {
  const members = await smallCluster('asked');
  const path = '/v1/clusters/asked';
  const state = async () => {
    const { body } = await coordinator.admin('GET', `${path}/status`);
    const { groups, revision } = body;
    return { groups, revision, events: (await coordinator.admin('GET', `${path}/events?after=0`)).body.events };
  };
  const before = await state();
  const dead = await simulated('asked', { down: ['alice'] });
  assert.deepEqual(dead.groups.web?.after, { state: 'running', owner: 'bob' });
  assert.deepEqual([dead.groups.web?.how, dead.down, dead.settled], ['fails-over', [], true]);
  assert.deepEqual((await simulated('asked', { down: ['alice', 'bob'] })).down, ['web']);
  assert.equal((await simulated('asked', { standby: ['alice'] })).groups.web?.how, 'moves');
  assert.deepEqual((await simulated('asked', { coordinatorDown: true })).absence, {
    unnoticedMs: 7_000,
    stoppedMs: 10_000,
    goesOn: [],
  });
  const document = documentOf('asked', ['bob']);
  assert.equal((await simulated('asked', { document })).groups.web?.after?.owner, 'bob');
  assert.deepEqual(await state(), before);
  const { node, socket, leases } = members[0] ?? assert.fail();
  const held = leases.map(({ group, epoch }) => ({ group, epoch }));
  const { leases: renewed } = await socket.ask(node.report({ ...lease, leases: held }));
  assert.deepEqual(
    renewed.map((answer) => answer.verdict === 'renewed' && answer.order),
    ['run'],
  );
  for (const one of members) one.socket.close();
});

test('what cannot be assumed is refused with the reason, and a bad document with its lines', async () => {
  const members = await smallCluster('refused');
  const refused = async (whatIf: unknown, status: number, code: string) => {
    const answer = await ask('refused', whatIf);
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    const problem = problemSchema.parse(answer.body);
    assert.equal(problem.code, code);
    return problem;
  };
  assert.match((await refused({}, 422, 'invalid-value')).detail, /say what to assume: down, standby/);
  assert.match((await refused({ down: ['alcie'] }, 404, 'node-unknown')).detail, /did you mean alice\?/);
  await refused({ down: ['alice'], restart: true }, 422, 'invalid-value');
  await refused({ down: 'alice' }, 422, 'invalid-value');
  const bad = await refused(
    { document: 'cluster: refused\nnodes: [alice]\ngruops: {}\n' },
    422,
    'invalid-configuration',
  );
  assert.equal(bad.errors?.[0]?.line, 3);
  await refused({ document: documentOf('another', ['alice']) }, 422, 'invalid-configuration');
  for (const { socket } of members) socket.close();
});

test('while the largest cluster is simulated, renewals are answered in between', { timeout: 60_000 }, async (t) => {
  await coordinator.createCluster('large');
  const names = Array.from({ length: MAX_NODES }, (_, index) => `n${index}`);
  const groups = Array.from({ length: MAX_GROUPS }, (_, index) => `g${index}`);
  const on = (group: number) => names.map((_, index) => names[(group + index) % MAX_NODES]).join(', ');
  const lines = groups.map(
    (name, index) => `  ${name}: {on: [${on(index)}], resources: [vip: 192.0.2.${index + 1}/24]}`,
  );
  const applied = await coordinator.apply(
    'large',
    `cluster: large\nlease: wan\nnodes: [${names.join(', ')}]\ngroups:\n${lines.join('\n')}\n`,
  );
  assert.equal(applied.status, 200, JSON.stringify(applied.body));
  const all: Omit<Member, 'leases'>[] = [];
  for (const name of names) all.push(await joined('large', name));
  const members: Member[] = [];
  for (const [index, one] of all.entries()) {
    const mine = groups.filter((_, group) => group % MAX_NODES === index);
    members.push(await runs(one, mine));
  }
  const { node, socket, leases } = members[1] ?? assert.fail();
  const held = leases.map(({ group, epoch }) => ({ group, epoch }));
  const renew = async () => {
    const beganAt = performance.now();
    // a report that repeats itself is not kept waiting for others
    await socket.ask(node.report({ ...lease, leases: held }));
    return performance.now() - beganAt;
  };
  const idle: number[] = [];
  for (let n = 0; n < 20; n++) idle.push(await renew());
  const beganAt = performance.now();
  let tookMs = 0;
  const running = simulated('large', { down: ['n0'] }).then((simulation) => {
    tookMs = performance.now() - beganAt;
    return simulation;
  });
  const busy: number[] = [await renew()];
  const second = await ask('large', { down: ['n1'] });
  assert.deepEqual([second.status, second.body.code], [409, 'not-possible'], 'they do not take their turns together');
  while (tookMs === 0) busy.push(await renew());
  const simulation = await running;
  assert.deepEqual([simulation.settled, simulation.down], [true, []]);
  assert.equal(Object.values(simulation.groups).filter(({ how }) => how === 'fails-over').length, 13);
  const most = (times: readonly number[]) => Math.max(...times).toFixed(1);
  const median = (times: readonly number[]) => times.toSorted((a, b) => a - b)[times.length >> 1]?.toFixed(1);
  t.diagnostic(
    `took ${tookMs.toFixed(0)} ms; a renewal meanwhile (${busy.length}): median ${median(busy)} ms, at most ${most(busy)} ms; otherwise median ${median(idle)} ms, at most ${most(idle)} ms`,
  );
  assert.ok(busy.length > 3, 'several renewals were answered while it ran');
  // what a lease of the profile `fast` has room for, on a busy machine
  assert.ok(Number(most(busy)) < 500, `a renewal took ${most(busy)} ms`);
  for (const one of members) one.socket.close();
});
