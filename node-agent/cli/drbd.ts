/** `drbd`: the one way out of a split brain. It concerns this machine. DRBD's own handlers are a program apart (node-agent/drbd-handler). */
import type { Command } from 'commander';
import { DEFAULT_STATE_DIR } from '../agent/identity.ts';
import { type Register, settingOf } from './setting.ts';
import { resolveSplitBrain } from './split-brain.ts';

interface ResolveArguments {
  readonly stateDir: string;
  readonly acceptRisk?: string;
  readonly keepThisCopy?: boolean;
}

export const registerDrbd: Register = (program, io) => {
  const drbd = program.command('drbd').description('The way out of a split brain of DRBD');
  drbd
    .command('resolve-split-brain')
    .argument('<resource>', 'the DRBD resource')
    .option('--state-dir <dir>', 'of the node on this machine', DEFAULT_STATE_DIR)
    .option('--accept-risk <name>', 'discard-this-copy: what was written on this machine since the two parted is lost')
    .option('--keep-this-copy', 'connect this side again, after the other side has discarded its copy')
    .description(
      'End a split brain: give up the copy on this machine. Without an option it only shows what would be lost',
    )
    .addHelpText(
      'after',
      `
Examples, on the machine whose writes may be lost, and then on the other:
  holdfast drbd resolve-split-brain r0
  holdfast drbd resolve-split-brain r0 --accept-risk=discard-this-copy
  holdfast drbd resolve-split-brain r0 --keep-this-copy`,
    )
    .action((resource: string, options: ResolveArguments, command: Command) =>
      resolveSplitBrain(settingOf(command, io).io.note, resource, options),
    );
};
