/** `simulate` is asked first, then the same is really done: what it foretold is compared with what came, group by group. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Simulation } from '../../schemas/api.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { backAndReady, faultTest, lasting } from './faults.ts';
import { Client, type Cluster, DeadlineError, monotonicMs, resources, until, VIP } from './index.ts';
import { safe } from './outages.ts';

const { leaseMs, renewMs } = LEASE_PROFILES.default;
const SECOND = '192.0.2.20';
const ALONE = '192.0.2.30';
const file = '/srv/simulated.yaml';

interface GroupText {
  readonly on: string;
  readonly lines: readonly string[];
  readonly requires?: 'uplink';
}

function documentOf(groups: Readonly<Record<string, GroupText>>): string {
  const each = Object.entries(groups).map(
    ([name, { on, lines, requires }]) =>
      `  ${name}:\n    on: [${on}]\n${requires === undefined ? '' : `    requires: ${requires}\n`}    resources:\n${lines.join('\n')}\n`,
  );
  return `cluster: lab\nnodes: [alice, bob, carol]\ngroups:\n${each.join('')}`;
}

const vip = (address: string) => `      - vip: ${address}/24`;
const web = { on: 'alice, bob, carol', lines: [resources.vip, resources.nginx] };
const first = documentOf({
  web,
  second: { on: 'bob, carol', lines: [vip(SECOND)] },
  alone: { on: 'alice', lines: [vip(ALONE)] },
});
/** Moves web, restarts second, removes alone, makes more. */
const next = documentOf({
  web: { ...web, on: 'carol, bob' },
  second: { on: 'bob, carol', lines: [vip('192.0.2.21')] },
  more: { on: 'bob', lines: [vip('192.0.2.40')] },
  strict: { on: 'bob, carol', lines: [vip('192.0.2.41')], requires: 'uplink' },
});

type Place = { readonly state: string; readonly owner: string | null } | null;

/** Where every group is, or will be; null for one that is not there. */
function placesOf(
  groups: Readonly<Record<string, Exclude<Place, null>>>,
  names: readonly string[],
): Record<string, Place> {
  return Object.fromEntries(
    names.map((name) => {
      const group = groups[name];
      return [name, group === undefined ? null : { state: group.state, owner: group.owner }];
    }),
  );
}

async function simulate(cluster: Cluster, args: readonly string[]): Promise<Simulation> {
  const before = await cluster.status();
  const asked = await cluster.product.cli(['simulate', ...args, '--json']);
  const simulation = JSON.parse(asked.stdout) as Simulation;
  equal(asked.code, simulation.down.length === 0 ? 0 : 3, asked.stderr);
  ok(simulation.settled, simulation.warnings.join('; '));
  const after = await cluster.status();
  deepEqual(
    [after.revision, placesOf(after.groups, Object.keys(after.groups))],
    [before.revision, placesOf(before.groups, Object.keys(before.groups))],
    'asking changes nothing',
  );
  return simulation;
}

/** Waits until it is as foretold, and looks again a lease later: what is foretold is where it ends. */
async function comesTrue(cluster: Cluster, simulation: Simulation, what: string): Promise<void> {
  const names = Object.keys(simulation.groups);
  const foretold = Object.fromEntries(
    names.map((name) => {
      const after = simulation.groups[name]?.after ?? null;
      return [name, after === null ? null : { state: after.state, owner: after.owner }];
    }),
  );
  let came: Record<string, Place> = {};
  const asForetold = async () => {
    came = placesOf((await cluster.status()).groups, names);
    return names.every((name) => JSON.stringify(came[name]) === JSON.stringify(foretold[name]));
  };
  try {
    await until(asForetold, { deadlineMs: 30_000, everyMs: 100, what });
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
  }
  deepEqual(came, foretold, `${what}: what came, and what was foretold`);
  await lasting(leaseMs + 2 * renewMs, 'a lease and two renewals');
  await asForetold();
  deepEqual(came, foretold, `${what}: still so a lease later`);
}

/** Everything runs, on these nodes, and every node is ready. */
async function everythingRuns(cluster: Cluster, owners: Readonly<Record<string, string>>): Promise<void> {
  for (const [group, on] of Object.entries(owners)) await cluster.settled('running', { group, on, deadlineMs: 30_000 });
  for (const node of cluster.names) await backAndReady(cluster, node);
}

/** No verdict, only a report: a machine that runs other tests as well takes its own time. */
function reportFigures(t: TestContext, what: string, simulation: Simulation, measuredMs: number): void {
  const { interruptedMs, interruption } = simulation.groups.web ?? {};
  t.diagnostic(
    `${what}: web foretold ${interruptedMs} ms (${interruption}), a client saw ${Math.round(measuredMs)} ms`,
  );
}

faultTest(
  'what simulate foretells is what comes: a node dies, is drained, a document is applied, the coordinator goes away',
  { document: first, timeoutMs: 360_000 },
  async (cluster, t) => {
    await everythingRuns(cluster, { web: 'alice', second: 'bob', alone: 'alice' });
    await cluster.healthy();
    const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
    await client.nextAnswer(10_000);

    // a node dies: one group is taken over, one has nowhere to go
    let simulation = await simulate(cluster, ['--down', 'alice']);
    deepEqual(simulation.down, ['alone']);
    deepEqual([simulation.groups.web?.how, simulation.groups.second?.how], ['fails-over', 'stays']);
    let sinceMs = monotonicMs();
    await cluster.host('alice').powerCut();
    await comesTrue(cluster, simulation, 'alice loses power');
    reportFigures(t, 'alice loses power', simulation, client.longestGap(sinceMs));
    await cluster.host('alice').boot();
    await everythingRuns(cluster, { web: 'bob', second: 'bob', alone: 'alice' });
    await cluster.healthy();

    // a drain, also of what a client does not see
    simulation = await simulate(cluster, ['--standby', 'bob']);
    deepEqual([simulation.groups.web?.how, simulation.groups.second?.how], ['moves', 'moves']);
    sinceMs = monotonicMs();
    await cluster.product.mustCli(['node', 'standby', 'bob', '--wait', '30s']);
    await comesTrue(cluster, simulation, 'bob is drained');
    reportFigures(t, 'bob is drained', simulation, client.longestGap(sinceMs));

    // while it is drained: two fall away at once, by different causes
    simulation = await simulate(cluster, ['--down', 'carol']);
    deepEqual(simulation.down, ['second'], 'bob is in standby, carol dead');
    await cluster.host('carol').powerCut();
    await comesTrue(cluster, simulation, 'carol loses power while bob is drained');
    await cluster.host('carol').boot();
    await cluster.product.mustCli(['node', 'ready', 'bob']);
    await backAndReady(cluster, 'carol');
    await cluster.healthy();

    // a new document: one moves, one restarts, one goes, one comes
    await cluster.lab.arbiter.writeFile(file, next);
    simulation = await simulate(cluster, ['--document', file]);
    deepEqual(
      Object.entries(simulation.groups).map(([name, { how }]) => [name, how]),
      [
        ['web', 'moves'],
        ['second', 'restarts'],
        ['alone', 'stops'],
        ['more', 'starts'],
        ['strict', 'starts'],
      ],
    );
    sinceMs = monotonicMs();
    await cluster.product.mustCli(['apply', file, '--yes']);
    await comesTrue(cluster, simulation, 'a new document');
    reportFigures(t, 'a new document', simulation, client.longestGap(sinceMs));

    // the coordinator goes away: nothing is there to ask, so the addresses themselves are looked at
    const addresses = { web: VIP, second: '192.0.2.21', more: '192.0.2.40', strict: '192.0.2.41' };
    const allRun = async () => {
      for (const group of Object.keys(addresses)) {
        await cluster.settled('running', { group, deadlineMs: 30_000 });
        if (group !== 'strict') await safe(cluster, group);
      }
      for (const node of cluster.names) await backAndReady(cluster, node);
    };
    const held = () =>
      Object.entries(addresses).flatMap(([group, address]) =>
        cluster.observer.holders(address).length > 0 ? [group] : [],
      );
    /** Those that are down and those that go on are what was foretold, within the time that was foretold. */
    const goesAway = async (what: string, away: Simulation, nowDown: () => Promise<void>) => {
      const owners = Object.entries(addresses).map(([, address]) => cluster.observer.holders(address));
      sinceMs = monotonicMs();
      await nowDown();
      const stay = Object.keys(addresses).filter((group) => !away.down.includes(group));
      deepEqual(away.absence?.goesOn?.toSorted(), stay.toSorted(), 'what is said of the absence');
      await until(() => away.down.every((group) => !held().includes(group)), {
        deadlineMs: 20_000,
        what: `${away.down.join(', ')} to be given up`,
      });
      const gaveUpMs = monotonicMs() - sinceMs;
      await lasting(2 * leaseMs, 'two leases');
      deepEqual(held().toSorted(), stay.toSorted(), 'nobody takes what nobody granted, and the rest goes on');
      for (const [index, [group, address]] of Object.entries(addresses).entries())
        if (stay.includes(group)) deepEqual(cluster.observer.holders(address), owners[index]);
      const { unnoticedMs, stoppedMs } = away.absence ?? { unnoticedMs: 0, stoppedMs: 0 };
      ok(gaveUpMs < stoppedMs + 2_000, `only after ${gaveUpMs} ms`);
      t.diagnostic(
        `${what}: foretold between ${unnoticedMs} and ${stoppedMs} ms, all given up after ${Math.round(gaveUpMs)} ms`,
      );
    };
    await allRun();
    simulation = await simulate(cluster, ['--coordinator-down']);
    deepEqual(simulation.down, ['strict'], 'the others live on promises');
    equal(simulation.groups.web?.how, 'stays');
    await goesAway('coordinator away', simulation, () => cluster.product.stopCoordinator('SIGKILL'));
    deepEqual(client.failures.filter(({ sentMs }) => sentMs >= sinceMs).slice(0, 3), [], 'no client noticed');
    await cluster.product.startCoordinator();
    await allRun();

    // and with it a voter of some of them
    const dead = (await cluster.status()).groups.web?.owner === 'bob' ? 'carol' : 'bob';
    simulation = await simulate(cluster, ['--coordinator-down', '--down', dead]);
    ok(simulation.down.includes('web') && simulation.down.includes('strict'), simulation.down.join());
    await goesAway(`coordinator and ${dead} away`, simulation, async () => {
      await Promise.all([cluster.product.stopCoordinator('SIGKILL'), cluster.host(dead).powerCut()]);
    });
    await cluster.product.startCoordinator();
    await cluster.host(dead).boot();
    for (const group of Object.keys(addresses)) await cluster.settled('running', { group, deadlineMs: 30_000 });
    await client.stop();
  },
);
