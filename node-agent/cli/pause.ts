/** What `group pause` and `node maintenance` have in common: a reason, and an end. */
import { formatDuration } from '../../schemas/duration.ts';
import { MAX_PAUSE_REASON, PAUSE_DEFAULT_MS, PAUSE_MAX_MS } from '../../schemas/limits.ts';
import { CliError, EXIT } from './exit.ts';
import { durationOption } from './operation.ts';

export const DEFAULT_FOR = formatDuration(PAUSE_DEFAULT_MS);
const LONGEST = `${formatDuration(PAUSE_MAX_MS)} (30 days)`;

export interface PauseOptions {
  readonly reason?: string;
  readonly for: string;
}

/**
 * The body of the request.
 * @param command as it was given, to be shown with what it lacks: `holdfast group pause db`.
 * @throws {CliError} `usage`
 */
export function pauseBody(options: PauseOptions, command: string): { forMs: number; reason: string } {
  const forMs = durationOption(options.for, '--for');
  if (forMs <= 0 || forMs > PAUSE_MAX_MS)
    throw new CliError(EXIT.usage, `--for: ${options.for} is not between 1ms and ${LONGEST}`, {
      next: `when it is over sooner, end it; when it is not, ask again: ${withOptions(command, options, DEFAULT_FOR)}`,
    });
  const reason = options.reason?.trim() ?? '';
  if (reason === '')
    throw new CliError(EXIT.usage, 'say why with --reason, for whoever finds it so', {
      next: withOptions(command, options, options.for),
    });
  if (reason.length > MAX_PAUSE_REASON)
    throw new CliError(
      EXIT.usage,
      `--reason: ${reason.length} characters are too many (at most ${MAX_PAUSE_REASON}); it is read under stress`,
    );
  return { forMs, reason };
}

function withOptions(command: string, { reason }: PauseOptions, lasts: string): string {
  return `${command} --reason "${reason === undefined || reason.trim() === '' ? 'disk swap' : reason}" --for ${lasts}`;
}
