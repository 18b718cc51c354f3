/** What `until` needs to know: how long to wait and, for the error, what was waited for. */
export interface Wait {
  /** Milliseconds after which waiting ends with an error. */
  deadlineMs: number;
  /** What is waited for, in words that complete "timed out waiting for …". */
  what: string;
  /** Pause between two looks; 10 ms when left out. */
  everyMs?: number;
}

/** A condition did not come true before its deadline. */
export class DeadlineError extends Error {
  override name = 'DeadlineError';
}

/** Milliseconds on CLOCK_MONOTONIC: the clock of the observer and of the client, comparable between processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

type Truthy<T> = Exclude<T, false | undefined | null | 0 | ''>;

/**
 * Waits until `condition` gives something other than false, undefined, null, 0 or '', and returns that.
 * A condition that throws is asked again; its last error is the cause of the `DeadlineError`.
 *
 * @example
 * const owner = await until(() => observer.holders('192.0.2.10')[0], { deadlineMs: 5000, what: 'an owner' });
 */
export async function until<T>(condition: () => T | Promise<T>, wait: Wait): Promise<Truthy<T>> {
  const deadline = monotonicMs() + wait.deadlineMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
    } catch (error) {
      cause = error;
    }
    if (monotonicMs() >= deadline) {
      const because = cause instanceof Error ? `: ${cause.message}` : '';
      throw new DeadlineError(`timed out after ${wait.deadlineMs} ms waiting for ${wait.what}${because}`, { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, wait.everyMs ?? 10));
  }
}

/** Settles like `promise`, or fails with a `DeadlineError` when the deadline passes first. */
export async function within<T>(promise: Promise<T>, wait: Wait): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new DeadlineError(`timed out after ${wait.deadlineMs} ms waiting for ${wait.what}`)),
      wait.deadlineMs,
    );
  });
  try {
    return await Promise.race([promise, expiry]);
  } finally {
    clearTimeout(timer);
  }
}
