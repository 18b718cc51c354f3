/** Streams outlive a restart of their coordinator: what failed because it could not be reached is tried again. */
import { CliError, EXIT } from './exit.ts';

/** After a failure the next attempt waits this long, doubling up to the last. */
const RETRY_FIRST_MS = 500;
const RETRY_LAST_MS = 8_000;

/**
 * Attempts until it works.
 * @param lost is told each time why it did not.
 * @throws what trying again cannot mend, and whatever `attempt` throws once `signal` is aborted.
 */
export async function persistently<T>(
  attempt: () => Promise<T>,
  signal: AbortSignal,
  lost: (reason: string) => void,
): Promise<T> {
  for (let waitMs = RETRY_FIRST_MS; ; waitMs = Math.min(waitMs * 2, RETRY_LAST_MS)) {
    try {
      return await attempt();
    } catch (error) {
      const passing = error instanceof CliError && (error.exit === EXIT.unreachable || error.exit === EXIT.tryAgain);
      if (signal.aborted || !passing) throw error;
      lost(error.message);
      await pause(waitMs, signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
