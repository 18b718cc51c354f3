/** `agent`: the agent in the foreground. Started without the rest of the command line, which would only cost memory. */
import { parseArgs } from 'node:util';
import { DEFAULT_STATE_DIR } from '../agent/identity.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { besideExecutable } from './installed.ts';

export interface AgentOptions {
  readonly stateDir: string;
  readonly reset: string;
}

/** @returns undefined for arguments that the full parser should judge (and explain). */
export function agentOptions(args: readonly string[]): AgentOptions | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { 'state-dir': { type: 'string' }, reset: { type: 'string' } },
      strict: true,
    });
    return { stateDir: values['state-dir'] ?? DEFAULT_STATE_DIR, reset: values.reset ?? 'none' };
  } catch {
    return undefined;
  }
}

/** Runs until the agent ends. @throws {CliError} */
export async function startAgent({ stateDir, reset }: AgentOptions): Promise<ExitCode | number> {
  if (reset === 'watchdog' || reset === 'sysrq')
    throw new CliError(
      EXIT.usage,
      `--reset=${reset} is not in this version, so a node that hangs would not be reset as you ask`,
      {
        next: 'use --reset=none: the guard then kills what runs and takes addresses away when a lease ends',
      },
    );
  if (reset !== 'none') throw new CliError(EXIT.usage, `--reset=${reset}: it must be none, watchdog or sysrq`);
  const { runAgent } = await import('../agent/index.ts');
  return await runAgent({ stateDir, guardPath: besideExecutable('holdfast-guard') });
}
