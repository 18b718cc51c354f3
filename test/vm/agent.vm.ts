/** The agent, or the machine under it, stops in the middle of what it does, and goes on later. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GROUP } from './cluster.ts';
import type { Machine } from './machine.ts';
import { newerPackage } from './packages.ts';
import type { Stage } from './play.ts';
import { scenario } from './scenario.ts';

/** When the kernel of this machine demoted DRBD for the last time, on the clock of this process; ms. */
async function demotedAtMs(machine: Machine): Promise<number> {
  const before = Date.now();
  const there = Number(await machine.mustExec('date +%s%3N'));
  const aheadMs = there - (before + Date.now()) / 2;
  const log = await machine.mustExec('journalctl -k -b -o short-unix --no-pager');
  const lines = log.split('\n').filter((line) => /drbd0: .*role\( Primary -> Secondary \)/.test(line));
  const at = Number(lines.at(-1)?.split(' ')[0]) * 1_000;
  ok(at > 0, `${machine.name} has demoted DRBD`);
  return at - aheadMs;
}

/** How long before the grant to the other node the old owner was no longer Primary, ms; told as a figure. */
async function demotedBeforeGrantMs({ say, cluster, owner }: Stage): Promise<number> {
  const { lastGrant } = await cluster.product.why(GROUP);
  equal(lastGrant?.cause, 'lease-expired');
  const earlierMs = Date.parse(lastGrant?.at ?? '') - (await demotedAtMs(owner));
  say(`demoted ${Math.round(earlierMs)} ms before the grant`);
  return earlierMs;
}

scenario('SIGSTOP of the agent: the guard takes everything away, the other node is promoted', async (stage) => {
  const { cluster, owner, other } = stage;
  await owner.mustExec('systemctl kill --kill-whom=main --signal=SIGSTOP holdfast.service');
  await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 180_000 });
  await demotedBeforeGrantMs(stage);
  deepEqual(await cluster.holders(), [other.name]);
  equal((await owner.exec('pgrep -x mariadbd')).stdout, '', 'no database where the agent is stopped');
  // where the guard has not ended it already, and systemd started another one
  await owner.exec('systemctl kill --kill-whom=main --signal=SIGCONT holdfast.service');
});

/** The main process of each unit, and which version is installed. */
async function running(machine: Machine): Promise<Record<'agent' | 'guard' | 'database' | 'version', string>> {
  const pid = async (unit: string) => (await machine.mustExec(`systemctl show --value -p MainPID ${unit}`)).trim();
  const version = (await machine.mustExec('dpkg-query --show holdfast')).trim();
  const [agent, guard, database] = [await pid('holdfast'), await pid('holdfast-guard'), await pid('mariadb')];
  return { agent, guard, database, version };
}

scenario(
  'the package is upgraded on both nodes under load: new agents, and neither guard nor database notices',
  async (stage) => {
    const { say, cluster, owner, other, writer, sinceMs } = stage;
    const before = { owner: await running(owner), other: await running(other) };
    const epoch = (await cluster.product.why(GROUP)).lastGrant?.epoch;
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-newer-'));
    try {
      const newer = await newerPackage(dir);
      for (const machine of [other, owner]) await cluster.product.install(machine, newer);
    } finally {
      await rm(dir, { recursive: true });
    }
    await cluster.product.healthy(GROUP);
    const after = { owner: await running(owner), other: await running(other) };
    for (const which of ['owner', 'other'] as const) {
      match(after[which].version, /\+newer$/);
      notEqual(after[which].agent, before[which].agent, 'another agent');
      equal(after[which].guard, before[which].guard, 'the same guard');
      equal(after[which].database, before[which].database, 'the same database');
    }
    equal((await cluster.product.why(GROUP)).lastGrant?.epoch, epoch, 'nothing was granted anew');
    say(`longest pause of the writer ${Math.round(writer.longestGap(sinceMs).ms)} ms`);
    await cluster.configure({});
  },
  // an emulated processor needs 5 s to start an agent, longer than the default lease leaves
  async (cluster) => {
    await cluster.configure({ lease: 'wan' });
    await cluster.product.healthy(GROUP);
  },
);

/** systemd does not start the agent anew after this. */
const STAY_DOWN = '/run/systemd/system/holdfast.service.d/stay-down.conf';

scenario(
  'SIGKILL of the agent, and none comes after it: the guard demotes DRBD before the group is granted elsewhere',
  async (stage) => {
    const { cluster, owner, other } = stage;
    await owner.mustExec(
      `mkdir -p $(dirname ${STAY_DOWN}) && printf '[Service]\\nRestart=no\\n' > ${STAY_DOWN} && systemctl daemon-reload`,
    );
    await owner.mustExec('systemctl kill --kill-whom=main --signal=SIGKILL holdfast.service');
    try {
      await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 120_000 });
      equal((await owner.exec('pgrep -x mariadbd')).stdout, '', 'no database where there is no agent');
      equal((await owner.exec('findmnt --noheadings /srv/mysql')).stdout, '', 'no file system');
      deepEqual(await cluster.holders(), [other.name]);
      deepEqual(await cluster.roles(), { [owner.name]: 'Secondary', [other.name]: 'Primary' });
      equal(
        (await owner.exec('systemctl is-active holdfast.service')).stdout.trim(),
        'failed',
        'no agent came after it',
      );
      const earlierMs = await demotedBeforeGrantMs(stage);
      ok(earlierMs > 0, `demoted ${-earlierMs} ms after the grant`);
    } finally {
      await owner.mustExec(`rm -f ${STAY_DOWN} && systemctl daemon-reload && systemctl reset-failed holdfast.service`);
      await owner.mustExec('systemctl start holdfast.service', { deadlineMs: 60_000 });
    }
  },
);

scenario(
  'the whole machine stands still for longer than its lease: what it finds when it goes on is not its own',
  async (stage) => {
    const { cluster, owner, other } = stage;
    owner.freeze();
    try {
      await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 120_000 });
    } finally {
      owner.thaw();
    }
    await owner.ready();
    await cluster.demoted(owner);
  },
);
