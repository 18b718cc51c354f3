/** The machine that has the group goes away: at once, in order, or behind cables that were pulled. */
import { equal } from 'node:assert/strict';
import type { ClusterEvent } from '../../schemas/events.ts';
import { monotonicMs } from '../lab/index.ts';
import { GROUP } from './cluster.ts';
import { type LinkName, linkNames } from './network.ts';
import { scenario } from './scenario.ts';

scenario('power cut of the primary: the other node is promoted and serves every acknowledged row', async (stage) => {
  const { cluster, owner, other } = stage;
  await owner.powerCut();
  await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 120_000 });
  const { lastGrant } = await cluster.product.why(GROUP);
  equal(lastGrant?.cause, 'lease-expired');
  equal(lastGrant?.from, owner.name);
});

scenario('systemctl reboot of the owner: handed over in order, without waiting for the lease', async (stage) => {
  const { say, cluster, owner, other, writer } = stage;
  const sinceMs = monotonicMs();
  const rebooted = owner.reboot();
  await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 120_000 });
  await writer.acknowledgedAfter(monotonicMs(), 60_000);
  const { lastGrant } = await cluster.product.why(GROUP);
  equal(lastGrant?.cause, 'released');
  await rebooted;
  const status = await cluster.product.status();
  const starts = status.groups[GROUP]?.resources.map(({ id, startMs }) => `${id} ${startMs} ms`) ?? [];
  const outageMs = Math.round(writer.longestGap(sinceMs).ms);
  say(`outage ${outageMs} ms; starts: ${starts.join(', ')}`);
  const events = await cluster.product.events();
  const at = (kind: ClusterEvent['kind']) => Date.parse(events.findLast((event) => event.kind === kind)?.at ?? '');
  const startsMs = status.groups[GROUP]?.resources.reduce((sum, { startMs }) => sum + (startMs ?? 0), 0) ?? 0;
  const stopsMs = at('group.released') - at('node.leaving');
  say(`stops ${stopsMs} ms, starts ${startsMs} ms, beyond both ${outageMs - stopsMs - startsMs} ms (bar: 1000 ms)`);
});

for (const [returns, whose] of [
  ['other', 'did not have the group'],
  ['owner', 'had the group'],
] as const)
  scenario(
    `both lose power and only the node returns that ${whose}: it serves every acknowledged row`,
    async ({ cluster, [returns]: back }) => {
      await Promise.all(cluster.machines.map(async (machine) => await machine.powerCut()));
      await back.start();
      await cluster.product.settled(GROUP, 'running', { on: back.name, deadlineMs: 180_000 });
    },
  );

for (const [cables, links] of [
  ['LAN cable', ['lan']],
  ['cables, all of them', linkNames],
] as const satisfies readonly (readonly [string, readonly LinkName[]])[])
  scenario(
    `the primary loses its ${cables}: it gives everything up, and the other node is promoted`,
    async ({ cluster, owner, other }) => {
      await Promise.all(links.map(async (link) => await owner.cut(link)));
      await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 180_000 });
      equal((await cluster.product.why(GROUP)).lastGrant?.cause, 'lease-expired');
      await Promise.all(links.map(async (link) => await owner.mend(link)));
      await owner.ready();
      await cluster.demoted(owner);
      await cluster.configure({});
    },
    // the agents still meet on the other network, where one would go on by the promise of the other
    async (cluster) => await cluster.configure({ requiresUplink: true }),
  );
