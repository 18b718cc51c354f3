/** What runs in the foreground on a machine: the coordinator (`serve`) and the agent (`agent`). */
import type { Command } from 'commander';
import { REQUESTS_PER_MINUTE } from '../../schemas/limits.ts';
import { DEFAULT_STATE_DIR } from '../agent/identity.ts';
import { type AgentOptions, startAgent } from './agent.ts';
import { CliError, EXIT } from './exit.ts';
import { besideExecutable } from './installed.ts';
import type { Register } from './setting.ts';

export const registerServe: Register = (program, io) => {
  program
    .command('serve')
    .requiredOption('--listen <address:port>', 'where agents and operators reach it')
    .requiredOption('--data <dir>', 'where everything is kept; admin.token is written there at the first start')
    .description('Run the coordinator on this machine, on embedded workerd')
    .addHelpText(
      'after',
      `
HOLDFAST_REQUESTS_PER_MINUTE in its environment: how often one token may ask (default ${REQUESTS_PER_MINUTE}; 0: no limit). Agents are not counted.

Example: holdfast serve --listen 0.0.0.0:8443 --data /var/lib/holdfast-coordinator`,
    )
    .action(async ({ listen, data }: { listen: string; data: string }) => {
      if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:]+):\d{1,5}$/.test(listen))
        throw new CliError(EXIT.usage, `--listen: “${listen}” is not ADDRESS:PORT`, {
          next: 'for example --listen 127.0.0.1:8787 or --listen [::]:8787',
        });
      const { serve } = await import('./serve.ts');
      io.exit.code = (await serve({ listen, data, coordinatorDir: besideExecutable('coordinator') })) ?? 0;
    });
};

/** Of the agent and of `join`. */
export const RESET_OPTION = [
  '--reset <how>',
  'what resets this machine when something held cannot be taken away: none; watchdog, also when agent, guard or kernel hang; sysrq, by the guard',
] as const;
export const WATCHDOG_OPTION = [
  '--watchdog <device>',
  'with --reset=watchdog: its device (default: /dev/watchdog)',
] as const;

export const registerAgent: Register = (program, io) => {
  program
    .command('agent')
    .option('--state-dir <dir>', 'where `holdfast join` put the identity', DEFAULT_STATE_DIR)
    .option(...RESET_OPTION, 'none')
    .option(...WATCHDOG_OPTION)
    .description('Run the agent in the foreground, as the service unit does')
    .addHelpText('after', '\nExample: holdfast agent --state-dir /var/lib/holdfast')
    .action(async (options: AgentOptions, _command: Command) => {
      io.exit.code = await startAgent(options);
    });
};
