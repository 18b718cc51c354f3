/** What people do to DRBD by hand: one message says what it is, and its fix heals it. Nothing is interrupted meanwhile. */
import { equal, match } from 'node:assert/strict';
import { monotonicMs, until } from '../lab/index.ts';
import { GROUP } from './cluster.ts';
import type { Machine } from './machine.ts';
import type { Stage } from './play.ts';
import { scenario } from './scenario.ts';

/** Waits until a command shows that, and @returns its line. */
async function shown(what: string, ask: () => Promise<string>, line: RegExp): Promise<string> {
  let seen = '';
  const there = async () => {
    seen = await ask();
    return line.exec(seen)?.[0];
  };
  return await until(there, { deadlineMs: 60_000, everyMs: 500, what }).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : error}; seen:\n${seen}`, { cause: error });
  });
}

const doctorOn = async (machine: Machine) =>
  (await machine.exec('holdfast doctor --node-only', { deadlineMs: 120_000 })).stdout;

/** Nothing was granted since, and the client goes on. */
async function untouched({ cluster, owner, writer }: Stage, epoch: number | undefined): Promise<void> {
  await writer.acknowledgedAfter(monotonicMs(), 60_000);
  equal(await cluster.product.settled(GROUP, 'running'), owner.name);
  equal((await cluster.product.why(GROUP)).lastGrant?.epoch, epoch);
}

scenario(
  'somebody disconnects DRBD: why and doctor say StandAlone, and the command they name heals it',
  async (stage) => {
    const { say, cluster, other } = stage;
    const epoch = (await cluster.product.why(GROUP)).lastGrant?.epoch;
    await other.mustExec('drbdadm disconnect r0');
    const doctor = async () => (await cluster.product.cli(['doctor', '--cluster-only'])).stdout;
    say(await shown('doctor to name it', doctor, new RegExp(`^.*${other.name}.*StandAlone.*$`, 'm')));
    const local = await shown('doctor on the node to name it', () => doctorOn(other), /^.*r0 is not connected.*$/m);
    match(local, /StandAlone|does not try/);
    await untouched(stage, epoch);
    match(await doctorOn(other), /drbdadm connect r0/);
    await other.mustExec('drbdadm connect r0');
    await untouched(stage, epoch);
  },
);

scenario(
  'a DRBD resource that is not configured alike on both nodes: doctor names the section and the fix',
  async (stage) => {
    const { say, cluster, other } = stage;
    const epoch = (await cluster.product.why(GROUP)).lastGrant?.epoch;
    await other.mustExec("sed -i 's/ping-int 3;/ping-int 9;/' /etc/drbd.d/r0.res && drbdadm adjust r0");
    const doctor = async () => (await cluster.product.cli(['doctor', '--cluster-only'])).stdout;
    say(
      await shown('doctor to name it', doctor, /^.*not configured alike on alice and bob: something in its `net`.*$/m),
    );
    await untouched(stage, epoch);
    await other.mustExec("sed -i 's/ping-int 9;/ping-int 3;/' /etc/drbd.d/r0.res && drbdadm adjust r0");
    await until(async () => !(await doctor()).includes('not configured alike'), {
      deadlineMs: 60_000,
      everyMs: 500,
      what: 'doctor to find them alike',
    });
  },
);
