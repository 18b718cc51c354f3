/** The disks lose each other: then one of them has old data, and must not be used. */
import { deepEqual, equal, notEqual, ok } from 'node:assert/strict';
import { monotonicMs, until } from '../lab/index.ts';
import { GROUP } from './cluster.ts';
import type { Machine } from './machine.ts';
import { linkNames } from './network.ts';
import type { Stage } from './play.ts';
import { scenario } from './scenario.ts';

/** Longer than a takeover takes on a healthy cluster. */
const WATCHED_MS = 25_000;

/** What has no complete data is refused, for as long as a takeover would take; nobody has the group then. */
async function notTakenOver({ say, cluster, other }: Stage): Promise<void> {
  const sinceMs = monotonicMs();
  await until(
    async () => {
      notEqual((await cluster.roles())[other.name], 'Primary', 'what has old data is not promoted');
      return monotonicMs() - sinceMs > WATCHED_MS;
    },
    { deadlineMs: 2 * WATCHED_MS, everyMs: 500, what: 'a takeover to have had its time' },
  );
  const why = await cluster.product.why(GROUP);
  notEqual(why.state, 'running');
  notEqual(why.lastGrant?.node, other.name, 'no grant to it');
  const refused = why.candidates.find(({ node }) => node === other.name);
  equal(refused?.eligible, false);
  ok(refused !== undefined && refused.reasons.length > 0);
  say(`${other.name} is refused: ${JSON.stringify(refused.reasons)}`);
  deepEqual(await cluster.holders(), []);
}

/** Waits until one machine's own view of DRBD, by `drbdadm COMMAND r0`, is this. */
async function drbdSays(machine: Machine, command: 'cstate' | 'dstate', said: (text: string) => boolean) {
  await until(async () => said((await machine.exec(`drbdadm ${command} r0`)).stdout.trim()), {
    deadlineMs: 60_000,
    everyMs: 250,
    what: `drbdadm ${command} on ${machine.name}`,
  });
}

scenario(
  'replication is cut, later the primary dies: the outdated node is not promoted, and the old one serves again',
  async (stage) => {
    const { say, cluster, owner, other, writer, sinceMs } = stage;
    await other.cut('replication');
    await drbdSays(owner, 'cstate', (text) => text !== 'Connected');
    // frozen until the coordinator knows; then it goes on alone
    await writer.acknowledgedAfter(monotonicMs(), 60_000);
    say(`writes were frozen for ${Math.round(writer.longestGap(sinceMs).ms)} ms`);
    equal(await cluster.product.settled(GROUP, 'running'), owner.name);

    await owner.powerCut();
    await notTakenOver(stage);

    await owner.start();
    await cluster.product.settled(GROUP, 'running', { on: owner.name, deadlineMs: 120_000 });
    // still apart
    await writer.acknowledgedAfter(monotonicMs(), 60_000);
  },
);

scenario(
  'the primary dies while its peer catches up: nothing is granted to the Inconsistent copy, and the old one serves again',
  async (stage) => {
    const { cluster, owner, other, writer } = stage;
    await other.cut('replication');
    await drbdSays(owner, 'cstate', (text) => text !== 'Connected');
    await writer.acknowledgedAfter(monotonicMs(), 60_000);
    // more to catch up with than the time until the power is cut is enough for
    await owner.mustExec('dd if=/dev/zero of=/srv/mysql/much bs=1M count=40 conv=fsync');
    for (const machine of cluster.machines) await machine.mustExec('drbdadm disk-options --resync-rate=1M r0');
    await other.mend('replication');
    await drbdSays(other, 'dstate', (text) => text.startsWith('Inconsistent'));
    await owner.powerCut();
    equal((await other.mustExec('drbdadm dstate r0')).trim().split('/')[0], 'Inconsistent');
    await notTakenOver(stage);

    await other.mustExec('drbdadm adjust r0');
    await owner.start();
    await cluster.product.settled(GROUP, 'running', { on: owner.name, deadlineMs: 180_000 });
    await owner.mustExec('rm /srv/mysql/much');
  },
);

scenario('the disk of the secondary fails: the primary goes on, and who has no data is refused', async (stage) => {
  const { say, cluster, owner, other, writer } = stage;
  const { lastGrant: before } = await cluster.product.why(GROUP);
  await other.pullDisk();
  const refused = await until(
    async () =>
      (await cluster.product.why(GROUP)).candidates.find(({ node, eligible }) => node === other.name && !eligible),
    { deadlineMs: 60_000, everyMs: 250, what: `${other.name} to be refused` },
  );
  say(`${other.name} is refused: ${JSON.stringify(refused.reasons)}`);
  await writer.acknowledgedAfter(monotonicMs(), 60_000);
  equal(await cluster.product.settled(GROUP, 'running'), owner.name);
  equal((await cluster.product.why(GROUP)).lastGrant?.epoch, before?.epoch);
  // its disk is there again when it is switched on
  await other.powerCut();
});

for (const link of linkNames)
  scenario(`${link} late and lossy: nothing is taken over, nothing is lost`, async (stage) => {
    const { say, cluster, owner, writer } = stage;
    const { lastGrant: before } = await cluster.product.why(GROUP);
    for (const machine of cluster.machines) await machine.impair(link, { delayMs: 40, lossPercent: 5 });
    const sinceMs = monotonicMs();
    for (let rows = 0; rows < 20; rows++) await writer.acknowledgedAfter(monotonicMs(), 60_000);
    const dropped = await until(async () => await owner.dropped(link), {
      deadlineMs: 60_000,
      everyMs: 500,
      what: 'a packet to be lost',
    });
    equal(await cluster.product.settled(GROUP, 'running'), owner.name);
    equal((await cluster.product.why(GROUP)).lastGrant?.epoch, before?.epoch);
    say(`${dropped} packets lost, longest pause ${Math.round(writer.longestGap(sinceMs).ms)} ms`);
    for (const machine of cluster.machines) await machine.unimpair(link);
  });
