import { LONG_POLL_MS } from '../../schemas/limits.ts';
import { numberFrom } from './body.ts';
import type { RequestContext } from './context.ts';

/** The largest `wait` that is read; anything above LONG_POLL_MS waits that long. */
const MAX_WAIT_S = 86_400;

/** `?wait=SECONDS`: how long a request may wait for something to happen, in milliseconds; 0 without it. */
export function waitFrom(c: RequestContext): number {
  const seconds = numberFrom(c, 'wait', { min: 0, max: MAX_WAIT_S });
  return Math.min((seconds ?? 0) * 1_000, LONG_POLL_MS);
}
