/** When a delivery that failed is tried again. */
import { MAX_RETRY_AFTER_MS, WEBHOOK_RETRY_MS } from '../../schemas/webhook.ts';

const JITTER = 0.2;

/**
 * @param attempts made so far, the failed one included.
 * @param retryAfterMs what the receiver asked for, null if nothing.
 * @param random from 0 to 1.
 * @returns the pause in ms, or null when it is given up.
 */
export function pauseAfter(attempts: number, retryAfterMs: number | null, random: number): number | null {
  const planned = WEBHOOK_RETRY_MS[attempts - 1];
  if (planned === undefined) return null;
  const jittered = Math.round(planned * (1 - JITTER + 2 * JITTER * random));
  return Math.max(jittered, Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS));
}

/** @returns the milliseconds of a Retry-After header (seconds or an HTTP date, RFC 9110 §10.2.3); null for none or nonsense. */
export function retryAfterMs(header: string | null, now: number): number | null {
  if (header === null) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1_000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
