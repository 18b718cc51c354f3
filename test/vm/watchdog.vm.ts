/**
 * A machine that cannot let go of its group, or whose guard does not run any more, is reset by its watchdog: softdog, the kernel's own, which
 * the cloud kernel has as a module. The reset is seen on its console, and has to come before the coordinator grants the group to another. Once
 * by a device of the machine, i6300esb.
 */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LOAD_SOFTDOG } from '../../node-agent/agent/reset-choice.ts';
import { until } from '../lab/index.ts';
import { GROUP, type VmCluster } from './cluster.ts';
import type { Machine } from './machine.ts';
import { linkNames } from './network.ts';
import type { Stage } from './play.ts';
import { Product } from './product.ts';
import { Rack } from './rack.ts';
import { scenario, scenarioAlone } from './scenario.ts';

/** W of the profile `default`. */
const TIMEOUT_MS = 1_000;
/** For the reset to be over, and to be seen out here. */
const MARGIN_MS = 1_000;

/** As docs/operations.md says it, on a node that has joined and runs nothing. It is reset before the kernel would write by itself. */
async function give(cluster: VmCluster, machine: Machine): Promise<void> {
  if ((await machine.exec('test -e /dev/watchdog')).code === 0) return;
  await cluster.product.mustCli(['node', 'standby', machine.name]);
  await machine.mustExec(LOAD_SOFTDOG);
  await machine.mustExec('systemctl stop holdfast holdfast-guard', { deadlineMs: 60_000 });
  await machine.mustExec(
    `sed -i 's/^HOLDFAST_RESET_OPTIONS=.*/HOLDFAST_RESET_OPTIONS="--reset=watchdog"/' /var/lib/holdfast/reset.env && sync && systemctl start holdfast`,
    { deadlineMs: 120_000 },
  );
  await cluster.product.mustCli(['node', 'ready', machine.name]);
  await until(async () => (await cluster.product.status()).nodes[machine.name]?.fuse?.kind === 'watchdog', {
    deadlineMs: 60_000,
    everyMs: 250,
    what: `${machine.name} to tell of its watchdog`,
  });
}

/** Gives every node a watchdog: first the one that has no group, then the other, whose group moves meanwhile. */
async function giveAll(cluster: VmCluster): Promise<void> {
  const owner = await cluster.owner();
  for (const machine of [cluster.other(owner), owner]) {
    await give(cluster, machine);
    await cluster.product.settled(GROUP, 'running', { deadlineMs: 180_000 });
    await cluster.product.healthy(GROUP);
  }
}

/** The watchdog is armed where the group runs, and nowhere else. */
async function armed({ cluster, owner, other, say }: Stage): Promise<Machine> {
  const doctor = await owner.exec('holdfast doctor --node-only --json', { deadlineMs: 120_000 });
  match(doctor.stdout, /"check":"watchdog"[^}]*Software Watchdog[^}]*the guard arms it/);
  const sysfs = async (machine: Machine, name: string) =>
    (await machine.mustExec(`cat /sys/class/watchdog/watchdog0/${name}`)).trim();
  equal(await sysfs(owner, 'state'), 'active');
  equal(await sysfs(owner, 'timeout'), '1');
  equal(await sysfs(other, 'state'), 'inactive');
  equal((await cluster.product.status()).nodes[owner.name]?.fuse?.timeoutMs, TIMEOUT_MS);
  say(`${owner.name}: softdog, active, 1 s`);
  return owner;
}

/** @returns when, by the clock of this machine and of the coordinator, the console said that it resets itself. */
async function resetOf(machine: Machine, before: string): Promise<number> {
  return await until(
    async () => ((await machine.console()).slice(before.length).includes('Initiating system reboot') ? Date.now() : 0),
    { deadlineMs: 60_000, everyMs: 10, what: `${machine.name} to be reset` },
  );
}

/** Settles either way: its answer may go down with the machine. */
const ended = (command: Promise<unknown>) =>
  command.then(
    () => undefined,
    () => undefined,
  );

const clock = (ms: number) => new Date(ms).toISOString().slice(11, 23);

/** The grant to the other node, and that the reset was before it. */
async function grantedAfter({ cluster, say }: Stage, victim: Machine, resetMs: number): Promise<void> {
  const other = cluster.other(victim);
  await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 180_000 });
  const { lastGrant } = await cluster.product.why(GROUP);
  const grantedMs = Date.parse(lastGrant?.at ?? '');
  say(
    `${victim.name} reset at ${clock(resetMs)}, granted to ${other.name} at ${clock(grantedMs)} (${lastGrant?.cause})`,
  );
  ok(resetMs < grantedMs, 'the reset came before the grant');
}

scenario(
  'SIGSTOP of the guard: its machine is reset within the time-out, before another has the group',
  async (stage) => {
    const victim = await armed(stage);
    const before = await victim.console();
    // the last pet was before it, at most a tenth of the time-out
    const stopped = ended(victim.exec('kill -STOP $(pgrep -x holdfast-guard)', { deadlineMs: 20_000 }));
    const sinceMs = Date.now();
    const resetMs = await resetOf(victim, before);
    await stopped;
    stage.say(`guard stopped after ${clock(sinceMs)}, ${victim.name} reset after ${resetMs - sinceMs} ms at most`);
    ok(resetMs - sinceMs <= TIMEOUT_MS + MARGIN_MS, `${resetMs - sinceMs} ms`);
    await grantedAfter(stage, victim, resetMs);
  },
  giveAll,
);

scenario(
  'a file system that does not answer while the lease ends: what cannot be stopped is reset',
  async (stage) => {
    const { cluster } = stage;
    const victim = await armed(stage);
    const before = await victim.console();
    // the database now hangs in the kernel where no SIGKILL reaches it, and no unmount comes to an end
    await victim.mustExec('fsfreeze --freeze /srv/mysql');
    await until(async () => (await victim.exec("ps -eLo stat,comm | grep -c '^D.*maria'")).stdout.trim() !== '0', {
      deadlineMs: 60_000,
      everyMs: 250,
      what: 'the database to hang in the kernel',
    });
    // by the other cable it would live on the promises of its voter
    await Promise.all(linkNames.map(async (link) => await victim.cut(link)));
    const resetMs = await resetOf(victim, before);
    await Promise.all(linkNames.map(async (link) => await victim.mend(link)));
    await grantedAfter(stage, victim, resetMs);
    equal(await cluster.product.settled(GROUP, 'running'), cluster.other(victim).name);
  },
  giveAll,
);

scenario(
  'kill -9 of the guard: its machine is reset, since nobody pets its watchdog any more',
  async (stage) => {
    const victim = await armed(stage);
    const before = await victim.console();
    const killed = ended(victim.exec('kill -KILL $(pgrep -x holdfast-guard)', { deadlineMs: 20_000 }));
    const sinceMs = Date.now();
    const resetMs = await resetOf(victim, before);
    await killed;
    stage.say(`${victim.name} reset after ${resetMs - sinceMs} ms at most`);
    ok(resetMs - sinceMs <= TIMEOUT_MS + MARGIN_MS, `${resetMs - sinceMs} ms`);
    await grantedAfter(stage, victim, resetMs);
  },
  giveAll,
);

/** As another cluster's software would: it has the device open and pets it, and disarms it when it is told to end. */
const HOG = `exec 3> /dev/watchdog; trap 'printf V >&3; exit 0' TERM; while :; do printf . >&3; sleep 0.5; done`;

scenario(
  'a watchdog that something else holds: doctor names the process, and its node is granted nothing that it could not guard',
  async ({ say, cluster, owner, other }) => {
    await other.mustExec(`systemd-run --quiet --unit=hog sh -c ${JSON.stringify(HOG)}`);
    try {
      const doctor = await other.exec('holdfast doctor --node-only', { deadlineMs: 120_000 });
      const [line = ''] = /^.*in use by sh \(process \d+\).*$/m.exec(doctor.stdout) ?? [];
      match(line, /error/i);
      say(line.trim());
      await until(async () => (await cluster.product.status()).nodes[other.name]?.fuse?.problem !== undefined, {
        deadlineMs: 60_000,
        everyMs: 250,
        what: `${other.name} to tell that its watchdog is taken`,
      });
      const before = (await cluster.product.status()).groups[GROUP];
      const moved = await cluster.product.cli(['move', GROUP, '--to', other.name, '--wait', '60s']);
      say(`move: exit code ${moved.code}: ${(moved.stderr || moved.stdout).trim().split('\n').at(-1)}`);
      notEqual(moved.code, 0);
      match(moved.stderr, /in use by sh \(process \d+\)/);
      const after = (await cluster.product.status()).groups[GROUP];
      deepEqual([after?.owner, after?.epoch, after?.state], [owner.name, before?.epoch, 'running'], 'it never stopped');
    } finally {
      await other.mustExec('systemctl stop hog');
    }
  },
  giveAll,
);

const ONE_NODE = `cluster: shop
nodes: [alice]
groups:
  web:
    on: [alice]
    fence: watchdog
    resources:
      - vip: 192.0.2.10/24
      - service: nginx
`;

scenarioAlone(
  'i6300esb, a watchdog that is a device: SIGSTOP of the guard, and the machine is reset',
  async (say, signal) => {
    const rack = await Rack.create({ names: ['alice'], hardwareWatchdogs: true });
    const product = await Product.create(rack.network, rack.dir);
    const close = async () => {
      await product.stopCoordinator();
      await rack.close();
    };
    signal.addEventListener('abort', () => void close().catch(() => undefined));
    try {
      const machine = rack.machine('alice');
      await product.startCoordinator();
      await product.createCluster();
      await machine.start();
      await product.install(machine);
      await machine.mustExec(LOAD_SOFTDOG.replaceAll('softdog', 'i6300esb'));
      await product.join(machine, ['service=nginx.service'], ['--reset=watchdog']);
      const file = join(rack.dir, 'shop.yaml');
      await writeFile(file, ONE_NODE);
      await product.apply(file);
      await product.settled('web', 'running', { on: 'alice' });
      const sysfs = async (name: string) =>
        (await machine.mustExec(`cat /sys/class/watchdog/watchdog0/${name}`)).trim();
      match(await sysfs('identity'), /i6300esb/i);
      equal(await sysfs('state'), 'active');
      equal(await sysfs('timeout'), '1');
      // what it has written so far is to survive the reset
      await machine.mustExec('sync');

      const stopped = ended(machine.exec('kill -STOP $(pgrep -x holdfast-guard)', { deadlineMs: 20_000 }));
      const sinceMs = Date.now();
      await machine.off(60_000);
      const tookMs = Date.now() - sinceMs;
      await stopped;
      say(`reset ${tookMs} ms after the guard was stopped, at most`);
      ok(tookMs <= TIMEOUT_MS + MARGIN_MS, `${tookMs} ms`);

      await machine.start();
      await product.settled('web', 'running', { on: 'alice', deadlineMs: 180_000 });
    } catch (error) {
      const place = await rack.keep('i6300esb');
      throw new Error(`${error instanceof Error ? error.message : error}\n(what the machine said is in ${place})`, {
        cause: error,
      });
    } finally {
      await close();
    }
  },
);
