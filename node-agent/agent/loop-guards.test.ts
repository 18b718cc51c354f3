/**
 * What the agent's shell must keep to, since nothing behind it would notice: the order of disk, guard and start, of disk, guard and answer, of
 * guard and release. A real agent, with a guard and a coordinator that take their time or refuse.
 */
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, describe, it, type TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_POLICY } from '../../schemas/config.ts';
import { GUARD_LATENESS_MS, LEASE_PROFILES } from '../../schemas/limits.ts';
import type { PeerAnswer } from '../../schemas/peer.ts';
import type { Report } from '../../schemas/wire.ts';
import { bootMs, Cgroups, silent } from '../system/index.ts';
import { isAlive, noCgroups, until as untilLater } from '../system/testing.ts';
import { type AgentLoop, EXIT_GUARD_LOST } from './loop.ts';
import { type Around, around, CONFIG, type FakeCoordinator } from './loop-testing.ts';
import { Peers } from './peers.ts';

const T = LEASE_PROFILES.default;

/** An agent that starts without a configuration ends whatever runs below its own cgroup: this process has one to itself. */
const hasCgroups = (() => {
  if (noCgroups() !== undefined) return false;
  const located = Cgroups.locate();
  if ('problem' in located) return false;
  const own = dirname(located.root);
  const path = join(own, `loop-guards-${process.pid}`);
  const enter = (cgroup: string) => writeFileSync(join(cgroup, 'cgroup.procs'), String(process.pid));
  mkdirSync(path, { recursive: true });
  enter(path);
  after(() => {
    enter(own);
    ok(new Cgroups(path).all().remove(), 'the cgroups of the test are removed');
  });
  return true;
})();

const epochsOf = (dir: string): unknown =>
  (JSON.parse(readFileSync(join(dir, 'epochs.json'), 'utf8')) as { epochs: unknown }).epochs;

/** From now on no file of that name can be written: in its place is what cannot be replaced. */
function breakDisk(dir: string, name = 'epochs.json'): void {
  mkdirSync(join(dir, `.${name}.new`, 'in the way'), { recursive: true });
}

const stateOf = (loop: AgentLoop): unknown => (loop.status().groups as { state: unknown }[])[0]?.state;
const phaseOf = (loop: AgentLoop): unknown => (loop.status().groups as { phase: unknown }[])[0]?.phase;

/** What happens here takes some ms. */
const until: typeof untilLater = (what, probe, deadlineMs = 3_000) => untilLater(what, probe, deadlineMs);

/** Long enough for what must not happen: of that there is no condition to wait for. */
const pause = (ms = 150) => new Promise((resolve) => setTimeout(resolve, ms));

/** Until some later report is like this. */
async function reports(coordinator: FakeCoordinator, what: string, is: (report: Report) => boolean) {
  const from = coordinator.reports.length;
  return until(what, () => coordinator.reports.slice(from).find(is));
}

/** The id of no process. */
const NOBODY = 2 ** 22 + 1;

async function running(
  t: TestContext,
  guardPid = process.pid,
  given?: Around,
): Promise<Around & { readonly loop: AgentLoop }> {
  const all = given ?? (await around(t));
  all.guard.pid = guardPid;
  const loop = await all.start();
  await reports(all.coordinator, 'the group runs and the epoch is confirmed', (report) => {
    const [lease] = report.leases ?? [];
    return lease?.voters === 1;
  });
  await until('it is up', () => stateOf(loop) === 'running');
  return { ...all, loop };
}

describe('P2, O4: a grant', () => {
  it('is on disk before the guard is asked, and the group starts when that has answered', async (t) => {
    const { dir, guard, coordinator, start } = await around(t);
    const answer = guard.hold('arm');
    let onDisk: unknown;
    guard.onLine = (line) => {
      if (line.startsWith('arm ')) onDisk = epochsOf(dir);
    };
    const loop = await start();
    await until('the guard is asked', () => guard.asked('arm').length > 0);
    deepEqual(onDisk, { db: 1 });
    await pause();
    equal(stateOf(loop), 'stopped');
    ok((coordinator.last?.leases.length ?? 0) > 0, 'it is renewed meanwhile');
    equal(coordinator.last?.leases[0]?.voters, undefined, 'and confirms nothing');
    answer();
    await until('it starts', () => stateOf(loop) === 'running');
    await reports(coordinator, 'it is confirmed', (report) => report.leases[0]?.voters === 1);
  });

  it('that cannot be written to disk is neither armed nor started, and is given back', async (t) => {
    const { dir, guard, coordinator, start } = await around(t);
    breakDisk(dir);
    const loop = await start();
    const report = await reports(coordinator, 'it is given back', (one) => one.releases.length > 0);
    match(report.releases[0]?.failure?.reason ?? '', /not started: cannot write/);
    deepEqual(guard.asked('arm'), []);
    equal(stateOf(loop), 'failed');
  });

  it('that the guard refuses to arm is not started', async (t) => {
    const { guard, coordinator, start } = await around(t);
    guard.refusals.set('arm', 'error full 200 groups are the limit');
    const loop = await start();
    await reports(coordinator, 'it is given back', (one) => one.releases.length > 0);
    equal(stateOf(loop), 'stopped');
  });

  it('that is being given back while the guard arms it is not started any more', async (t) => {
    const { guard, coordinator, start } = await around(t);
    const answer = guard.hold('arm');
    const loop = await start();
    await until('the guard is asked', () => guard.asked('arm').length > 0);
    // its new declaration is one that this node may not carry out
    const service = { type: 'service', id: 'x', unit: 'x.service', times: {} } as const;
    const [db] = CONFIG.groups;
    ok(db);
    coordinator.config = {
      ...CONFIG,
      revision: 2,
      groups: [{ ...db, resources: [{ ...service, policy: DEFAULT_POLICY }] }],
    };
    coordinator.grant = false;
    await reports(coordinator, 'it is in force', (one) => one.revision === 2 && one.refusals !== undefined);
    answer();
    await reports(coordinator, 'it is given back', (one) => one.releases.length > 0);
    equal(stateOf(loop), 'stopped');
  });
});

describe('a fuse that cannot be petted', () => {
  it('costs the lease', async (t) => {
    const { guard, coordinator, loop } = await running(t);
    guard.refusals.set('pet', 'error late it is 1 already');
    guard.hold('disarm');
    await reports(coordinator, 'it is renewed no more', (one) => one.leases.length === 0);
    equal(phaseOf(loop), 'lost');
  });
});

describe('C3: other voters', () => {
  it('are named when the guard has them', async (t) => {
    const { guard, coordinator } = await running(t);
    const answer = guard.hold('arm');
    const voters = { version: 2, names: ['alice', 'carol'] };
    const renewed = { verdict: 'renewed', order: 'run', cleanups: 0 } as const;
    coordinator.changes = ({ leases }) => ({
      leases: leases.map(({ group, epoch }) => ({ ...renewed, group, epoch, voters })),
    });
    await until('the guard is told', () => guard.asked('arm').some((line) => line.endsWith(' 2:alice,carol')));
    await pause();
    equal(coordinator.last?.leases[0]?.voters, 1);
    answer();
    await reports(coordinator, 'they are named', (report) => report.leases[0]?.voters === 2);
  });
});

describe('O5: a release', () => {
  it('is told when the guard has forgotten the lease, which is renewed until then', async (t) => {
    const { guard, coordinator } = await running(t);
    const answer = guard.hold('disarm');
    release(coordinator);
    await until('the guard is asked', () => guard.asked('disarm').length > 0);
    await pause();
    deepEqual([coordinator.last?.releases, coordinator.last?.leases.length], [[], 1]);
    answer();
    const report = await reports(coordinator, 'it is told', (one) => one.releases.length > 0);
    deepEqual(report.releases, [{ group: 'db', epoch: 1 }]);
  });

  it('is not told while the guard still finds something held', async (t) => {
    const { guard, coordinator, loop } = await running(t);
    guard.refusals.set('disarm', 'error held an address is still there');
    release(coordinator);
    await reports(coordinator, 'it is renewed no more', (one) => one.leases.length === 0);
    await pause();
    deepEqual(
      coordinator.reports.flatMap(({ releases }) => releases),
      [],
    );
    equal(phaseOf(loop), 'stuck');
  });

  it('is not told when the guard gives no answer that can be relied on', async (t) => {
    const { guard, coordinator } = await running(t);
    guard.refusals.set('disarm', 'error syntax malformed request');
    release(coordinator);
    await until('the guard is asked', () => guard.asked('disarm').length > 0);
    await pause();
    deepEqual(
      coordinator.reports.flatMap(({ releases }) => releases),
      [],
    );
  });
});

function release(coordinator: FakeCoordinator): void {
  const answer = { verdict: 'renewed', order: 'release', cleanups: 0 } as const;
  coordinator.grant = false;
  coordinator.changes = ({ leases }) => ({ leases: leases.map(({ group, epoch }) => ({ ...answer, group, epoch })) });
}

/** bob, who asks alice to promise that it keeps out of these epochs. */
async function withBob(t: TestContext, { coordinator }: Around) {
  const answers: PeerAnswer[] = [];
  const bob = new Peers({
    ...{ node: 'bob', cluster: 'shop', incarnation: 'bob-1', key: generateKeyPairSync('x25519').privateKey },
    listen: { address: '127.0.0.1', port: 0 },
    bootMs,
    log: silent,
    onAsk: () => undefined,
    onAnswer: (answer) => answers.push(answer),
  });
  await bob.start();
  t.after(() => bob.close());
  coordinator.grant = false;
  coordinator.changes = ({ peers }) =>
    peers === 'v1' ? {} : { peers: { version: 'v1', list: [{ node: 'bob', ...bob.endpoint(new Set()) }] } };
  const asks = async (epoch: number) => {
    const told = await until('alice says where it is and knows bob', () => {
      const endpoint = coordinator.reports.findLast((one) => one.endpoint != null)?.endpoint;
      return (coordinator.last?.peers === 'v1' && endpoint) || undefined;
    });
    bob.setPeers([{ node: 'alice', ...told }]);
    bob.ask('alice', { id: randomUUID(), leaseMs: T.leaseMs, leases: [{ group: 'db', epoch }] });
  };
  return { answers, asks };
}

describe('P1: a promise', () => {
  it('is answered when its epoch is on disk and the guard has it', async (t) => {
    const all = await around(t);
    const { answers, asks } = await withBob(t, all);
    const answer = all.guard.hold('promise');
    await all.start();
    await asks(3);
    const line = await until('the guard is told', () => all.guard.asked('promise')[0]);
    match(line, /^promise db 3 \d+ bob$/);
    await pause();
    await until('it is on disk', () => isDeepStrictEqual(epochsOf(all.dir), { db: 3 }));
    equal(answers.length, 0);
    answer();
    await until('it is answered', () => answers.length > 0);
    deepEqual(answers[0]?.promised, [{ group: 'db', epoch: 3 }]);
  });

  it('is not answered when its epoch cannot be written', async (t) => {
    const all = await around(t);
    const { answers, asks } = await withBob(t, all);
    await all.start();
    breakDisk(all.dir);
    await asks(3);
    await until('it is said', () =>
      all.warnings.some((line) => line.startsWith('nothing was promised to bob: cannot write')),
    );
    await asks(4);
    await asks(5);
    await pause();
    equal(answers.length, 0);
    const told = all.coordinator.reports.flatMap(({ events }) => events ?? []);
    const ids = new Set(told.filter(({ kind }) => kind === 'agent.state-not-writable').map(({ id }) => id));
    equal(ids.size, 1, 'told once, however often it is asked');
    equal(all.warnings.filter((line) => line.startsWith('nothing was promised to bob')).length, 1);
  });

  it('is not answered when the guard refuses it', async (t) => {
    const all = await around(t);
    const { answers, asks } = await withBob(t, all);
    all.guard.refusals.set('promise', 'error armed who has the group armed or fired promises nothing');
    await all.start();
    await asks(3);
    await until('it is said', () => all.warnings.some((line) => line.startsWith('nothing was promised to bob')));
    await pause();
    equal(answers.length, 0);
  });
});

describe('P3: an agent that starts', () => {
  it('with a guard that remembers a lease goes on with it, as the same incarnation', async (t) => {
    const { dir, guard, coordinator, start } = await around(t);
    const deadline = bootMs() + T.leaseMs;
    guard.state = [
      'incarnation alice-7',
      `group db 4 ${deadline} ${deadline - 350} armed 2:alice,bob`,
      'note quarantine 0',
    ];
    // by what it has on disk it knows the group before it hears of anybody
    writeFileSync(join(dir, 'config.json'), JSON.stringify(CONFIG));
    await start();
    const report = await reports(coordinator, 'it is renewed', (one) => one.leases.length > 0);
    deepEqual([report.incarnation, report.leases[0]?.epoch, report.leases[0]?.voters], ['alice-7', 4, 2]);
  });

  it('with a guard that has fired renews nothing, and gives back when the guard has forgotten it', async (t) => {
    const { guard, coordinator, start } = await around(t);
    coordinator.grant = false;
    const deadline = bootMs() + T.leaseMs;
    guard.state = [
      'incarnation alice-7',
      `group db 4 ${deadline} ${deadline - 350} fired 2:alice,bob`,
      `fired db 4 ${deadline - 350} 100 clean`,
    ];
    await start();
    const report = await reports(coordinator, 'it is given back', (one) => one.releases.length > 0);
    deepEqual(report.releases, [{ group: 'db', epoch: 4, forced: true }]);
    deepEqual(
      coordinator.reports.flatMap(({ leases }) => leases),
      [],
    );
    // once before its resources are looked at, once more before it is given back
    deepEqual(guard.asked('disarm'), ['disarm db 4', 'disarm db 4']);
  });

  it('with a guard that is about to fire leaves it the instant it has, and gives back as soon as everything is down', async (t) => {
    const { dir, guard, coordinator, start } = await around(t);
    coordinator.grant = false;
    const deadline = bootMs() + T.stopMs;
    const fire = deadline - T.stopMs + GUARD_LATENESS_MS;
    guard.state = ['incarnation alice-7', `group db 4 ${deadline} ${fire} armed 2:alice,bob`];
    writeFileSync(join(dir, 'config.json'), JSON.stringify(CONFIG));
    await start();
    const report = await reports(coordinator, 'it is given back', (one) => one.releases.length > 0);
    deepEqual(report.releases, [{ group: 'db', epoch: 4, forced: true }]);
    deepEqual(
      coordinator.reports.flatMap(({ leases }) => leases),
      [],
    );
    deepEqual([guard.asked('disarm'), guard.asked('pet'), guard.asked('arm')], [['disarm db 4'], [], []]);
  });

  it('with a guard that remembers its quarantine waits it out', async (t) => {
    const { guard, coordinator, start } = await around(t);
    guard.state = ['incarnation alice-7', `note quarantine ${bootMs() + 30_000}`];
    await start();
    const report = await reports(coordinator, 'it waits', (one) => one.revision === 1);
    ok(report.quarantineMs > 25_000, String(report.quarantineMs));
  });

  it('with a guard that remembers a promise keeps out, and says so', async (t) => {
    const { guard, coordinator, start } = await around(t);
    guard.state = ['incarnation alice-7', `promise db 3 ${bootMs() + 30_000} bob`];
    await start();
    await reports(coordinator, 'it says so', (one) => one.promised?.[0]?.epoch === 3);
    deepEqual(
      coordinator.reports.flatMap(({ claims }) => claims),
      [],
    );
  });

  it('with a new guard waits as long as the longest promise of the one before may run, and notes that before its own name', async (t) => {
    const { dir, guard, coordinator, start } = await around(t);
    const { promiseMs } = LEASE_PROFILES.wan;
    const saved = { history: 'h1', epochs: { db: 3 }, promiseMs, coordinator: null };
    writeFileSync(join(dir, 'epochs.json'), JSON.stringify(saved));
    const before = bootMs();
    await start();
    const noted = guard.lines.findIndex((line) => line.startsWith('note quarantine '));
    ok(noted >= 0 && noted < guard.lines.findIndex((line) => line.startsWith('incarnation ')));
    ok(Number(guard.lines[noted]?.split(' ')[2]) >= before + promiseMs);
    const report = await reports(coordinator, 'it reports', (one) => one.revision === 1);
    ok(report.quarantineMs > promiseMs - 2_000);
    deepEqual(coordinator.reports[0]?.epochs, { db: 3 }, 'and it knows what it has seen');
    deepEqual(report.claims, []);
  });

  it('waits as long as a promise of its own, whatever is on disk', async (t) => {
    const { dir, guard, start } = await around(t);
    writeFileSync(join(dir, 'epochs.json'), JSON.stringify({ history: 'h1', epochs: { db: 3 } }));
    const before = bootMs();
    await start();
    ok(Number(guard.asked('note')[0]?.split(' ')[2]) >= before + T.promiseMs);
  });

  it('does not begin with epochs that cannot be read', async (t) => {
    const { dir, start } = await around(t);
    writeFileSync(join(dir, 'epochs.json'), '{"epochs":');
    await rejects(start(), /damaged; it holds the highest epochs/);
  });

  it('with a new guard ends what it finds of groups that it knows nothing of', { skip: !hasCgroups }, async (t) => {
    const { coordinator, start } = await around(t);
    const located = Cgroups.locate();
    ok(!('problem' in located));
    const operation = located.group('web').operation();
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
    ok(child.pid !== undefined);
    writeFileSync(join(operation.path, 'cgroup.procs'), String(child.pid));
    await start();
    ok(!isAlive(child.pid), 'before anything else');
    await reports(coordinator, 'it reports', () => true);
  });
});

describe('P3: a group', () => {
  it('that leaves the configuration is known on disk until it is down', async (t) => {
    const { dir, coordinator } = await running(t);
    const known = () => readFileSync(join(dir, 'config.json'), 'utf8').includes('"db"');
    await until('it is on disk', () => existsSync(join(dir, 'config.json')) && known());
    coordinator.config = { ...CONFIG, revision: 2, groups: [] };
    await reports(coordinator, 'it is in force', (one) => one.revision === 2);
    await pause();
    ok(known());
    release(coordinator);
    await reports(coordinator, 'it is given back', (one) => one.releases.length > 0);
    await until('it is forgotten', () => !known());
  });
});

describe('a guard that is lost', () => {
  it('ends the agent with everything stopped and given back, and nothing is claimed any more', async (t) => {
    const { guard, coordinator, loop } = await running(t, NOBODY);
    const from = coordinator.reports.length;
    guard.end();
    const end = await loop.ended;
    equal(end.code, EXIT_GUARD_LOST);
    equal(stateOf(loop), 'stopped');
    const since = coordinator.reports.slice(from);
    ok(
      since.some(({ retiring, releases }) => retiring === true && releases.length > 0),
      'it says so',
    );
    deepEqual(
      since.flatMap(({ claims }) => claims),
      [],
    );
  });

  it('and may still live costs the lease at once, and is given back by nobody', async (t) => {
    const all = await around(t);
    const { guard, coordinator } = all;
    const { loop } = await running(t, process.pid, all);
    // no renewal any more: nothing is petted, by which the loss would be noticed as well
    coordinator.changes = () => ({ leases: [], observed: [] });
    const renewed = coordinator.reports.length;
    await until('nothing is under way', () => coordinator.reports.length > renewed + 2);
    guard.end();
    await until('it is down', () => stateOf(loop) === 'stopped' && phaseOf(loop) === 'lost', 1_000);
    const from = coordinator.reports.length;
    await reports(coordinator, 'it is renewed no more', (one) => one.leases.length === 0);
    await pause();
    const since = coordinator.reports.slice(from);
    deepEqual(
      since.flatMap(({ releases }) => releases),
      [],
    );
    ok(!since.some(({ retiring }) => retiring), 'nor may another incarnation follow yet');
  });

  it('while it holds nothing: what it claimed until then it claims no more', async (t) => {
    const { guard, coordinator, start } = await around(t);
    coordinator.changes = () => ({ grants: [] });
    await start();
    await reports(coordinator, 'it claims', ({ claims }) => claims.length > 0);
    guard.end();
    const last = await reports(coordinator, 'it says that it ends', ({ retiring }) => retiring === true);
    deepEqual(last.claims, []);
  });
});
