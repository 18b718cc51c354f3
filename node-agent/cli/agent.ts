/** `agent`: the agent in the foreground. Started without the rest of the command line, which would only cost memory. */
import { parseArgs } from 'node:util';
import { DEFAULT_STATE_DIR, IdentityError } from '../agent/identity.ts';
import { resetChoice } from '../agent/reset-choice.ts';
import { FileWriteError } from '../system/index.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { besideExecutable } from './installed.ts';

export interface AgentOptions {
  readonly stateDir: string;
  readonly reset: string;
  readonly watchdog?: string | undefined;
}

/** @returns undefined for arguments that the full parser should judge (and explain). */
export function agentOptions(args: readonly string[]): AgentOptions | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { 'state-dir': { type: 'string' }, reset: { type: 'string' }, watchdog: { type: 'string' } },
      strict: true,
    });
    const { reset = 'none', watchdog } = values;
    return { stateDir: values['state-dir'] ?? DEFAULT_STATE_DIR, reset, watchdog };
  } catch {
    return undefined;
  }
}

/** Runs until the agent ends. @throws {CliError} */
export async function startAgent({ stateDir, reset, watchdog }: AgentOptions): Promise<ExitCode | number> {
  const choice = resetChoice(reset, watchdog);
  if ('problem' in choice) throw new CliError(EXIT.usage, choice.problem);
  const { runAgent } = await import('../agent/index.ts');
  try {
    return await runAgent({ stateDir, guardPath: besideExecutable('holdfast-guard'), reset: choice });
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
