/** The agent, or the machine under it, stops in the middle of what it does, and goes on later. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { GROUP } from './cluster.ts';
import type { Machine } from './machine.ts';
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
