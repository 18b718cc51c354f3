/** Signals to processes that may end by themselves at the same moment. */

/** Sends it to every one of them that is still there; @throws on anything but ESRCH. */
export function signalAll(pids: Iterable<number>, signal: NodeJS.Signals): void {
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
}
