/**
 * `npm run vm:loop -- --failovers N`: one cluster, N failovers one after the other, of changing causes; 30 when left out. Ends at the
 * first that loses a row, promotes two or does not come back.
 */
import { parseArgs } from 'node:util';
import { GROUP, VmCluster } from './cluster.ts';
import { packagesBuilt } from './packages.ts';
import { playOn, type Stage } from './play.ts';
import { vmUnavailable } from './tools.ts';

const there = async ({ cluster, other }: Stage) => {
  await cluster.product.settled(GROUP, 'running', { on: other.name, deadlineMs: 180_000 });
};

const causes: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  'power cut': async (stage) => {
    await stage.owner.powerCut();
    await there(stage);
  },
  move: async (stage) => {
    await stage.cluster.product.mustCli(['move', GROUP, '--to', stage.other.name, '--wait', '120s']);
    await there(stage);
  },
  'agent stopped': async (stage) => {
    await stage.owner.mustExec('systemctl kill --kill-whom=main --signal=SIGSTOP holdfast.service');
    await there(stage);
    await stage.owner.exec('systemctl kill --kill-whom=main --signal=SIGCONT holdfast.service');
  },
  'kernel panic': async (stage) => {
    // nothing answers to this any more
    await stage.owner.exec('echo c > /proc/sysrq-trigger', { deadlineMs: 2_000 }).catch(() => undefined);
    await there(stage);
  },
  reboot: async (stage) => {
    const rebooted = stage.owner.reboot();
    await there(stage);
    await rebooted;
  },
};

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { failovers: { type: 'string', default: '30' } } });
  const failovers = Number(values.failovers);
  if (!Number.isInteger(failovers) || failovers < 1) throw new Error('--failovers takes a number from 1 on');
  const reason = await vmUnavailable();
  if (reason !== undefined) {
    process.stdout.write(`skipped: ${failovers} failovers: ${reason}\n0 passed, 0 failed, ${failovers} skipped\n`);
    return 0;
  }
  const unbuilt = await packagesBuilt();
  if (unbuilt !== undefined) {
    process.stdout.write(`${unbuilt} failed\n0 passed, 1 failed\n`);
    return 1;
  }
  const cluster = await VmCluster.start();
  const names = Object.keys(causes);
  for (let done = 0; done < failovers; done++) {
    const name = names[done % names.length] ?? '';
    try {
      const play = causes[name] ?? there;
      await playOn(cluster, play, (text) => process.stdout.write(`${done + 1}. ${name}: ${text}\n`));
    } catch (error) {
      const failed = await cluster.failed(`failover ${done + 1} ${name}`, error);
      process.stdout.write(`failed: ${done + 1}. ${name}: ${failed.message}\n${done} passed, 1 failed\n`);
      return 1;
    }
  }
  await cluster.close();
  process.stdout.write(`${failovers} passed, 0 failed\n`);
  return 0;
}

process.exitCode = await main();
