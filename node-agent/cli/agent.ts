/** `agent`: the agent in the foreground. Started without the rest of the command line, which would only cost memory. */
import { parseArgs } from 'node:util';
import { DEFAULT_STATE_DIR, IdentityError } from '../agent/identity.ts';
import { FileWriteError } from '../system/index.ts';
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
  try {
    return await runAgent({ stateDir, guardPath: besideExecutable('holdfast-guard') });
  } catch (error) {
    throw await explained(error);
  }
}

/** What keeps an agent from running is said without a stack trace, each with the exit code that tells a unit whether to try again. */
async function explained(error: unknown): Promise<unknown> {
  if (!(error instanceof Error)) return error;
  const { GuardError } = await import('../guard/index.ts');
  const { StateFileError } = await import('../agent/state-file.ts');
  if (error instanceof IdentityError) return new CliError(EXIT.notSetUp, error.message, { cause: error });
  const expected = [GuardError, StateFileError, FileWriteError].some((kind) => error instanceof kind);
  return expected ? new CliError(EXIT.refused, error.message, { cause: error }) : error;
}
