/** `rekey`: gives this node another key. */
import { fingerprintOf } from '../../schemas/session.ts';
import { DEFAULT_STATE_DIR, IdentityError } from '../agent/identity.ts';
import { FileWriteError, textOf } from '../system/index.ts';
import { CliError, EXIT } from './exit.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';

async function rekey({ io, json }: Setting, stateDir: string): Promise<void> {
  const { rekey: change, RekeyRefused } = await import('../agent/rekey.ts');
  const publicKey = await change(stateDir).catch((error: unknown) => {
    if (error instanceof IdentityError || error instanceof FileWriteError)
      throw new CliError(EXIT.refused, textOf(error), { cause: error });
    if (error instanceof RekeyRefused)
      throw new CliError(EXIT.refused, `the coordinator did not take another key: ${error.message}`, { cause: error });
    throw new CliError(EXIT.unreachable, `the coordinator did not answer: ${textOf(error)}`, {
      next: 'run the same command again: whether the key was changed or not, it comes to its end then',
      cause: error,
    });
  });
  const key = fingerprintOf(publicKey);
  if (json) printJson(io, { schema: 'holdfast/rekeyed/v1', key });
  else io.data(`this node signs with key ${key} from now on; its agent goes on with it by itself`);
}

export const registerRekey: Register = (program, io) => {
  program
    .command('rekey')
    .option('--state-dir <dir>', 'where `holdfast join` put the identity', DEFAULT_STATE_DIR)
    .description('Give this node another key, as when somebody may have read the one it has')
    .addHelpText(
      'after',
      `
The coordinator takes the new key for the old one at once; whoever goes on with the old one is refused. What runs here is not touched. Run it
on the node, as root; it needs no token.

Example: holdfast rekey`,
    )
    .action((options: { readonly stateDir: string }, command) => rekey(settingOf(command, io), options.stateDir));
};
