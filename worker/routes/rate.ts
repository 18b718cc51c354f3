/**
 * How often one token may ask: so many requests a minute, at once or spread. Agents are not counted here: no request of a person or a
 * script, however often it is repeated, takes anything from the renewals of leases.
 *
 * Counted in the memory of the Worker: exactly on a machine of one's own; on Cloudflare for each place where the Worker runs.
 *
 * Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 */
import { MAX_COUNTED_TOKENS, REQUESTS_PER_MINUTE } from '../../schemas/limits.ts';
import { type Bucket, filled, secondsUntil, WINDOW_S } from './bucket.ts';
import type { RequestContext } from './context.ts';
import { problem } from './problem.ts';

const buckets = new Map<string, Bucket>();

/** Takes one request of the caller's, and says so in the headers of the answer. @throws too-many-requests. */
export function count(c: RequestContext, caller: string): void {
  const perMinute = limitOf(c.env.REQUESTS_PER_MINUTE);
  if (perMinute === 0) return;
  const now = Date.now();
  const left = filled(buckets.get(caller), perMinute, now) - 1;
  const headers = {
    'ratelimit-policy': `"token";q=${perMinute};w=${WINDOW_S}`,
    ratelimit: `"token";r=${Math.max(0, Math.floor(left))};t=${secondsUntil(perMinute, left, perMinute)}`,
  };
  if (left < 0) {
    const retry = secondsUntil(1, left + 1, perMinute);
    throw problem(
      'too-many-requests',
      `more than ${perMinute} requests a minute with this token; ask again in ${retry} s`,
      undefined,
      { ...headers, 'retry-after': String(retry) },
    );
  }
  if (!buckets.has(caller) && buckets.size >= MAX_COUNTED_TOKENS) forget(perMinute, now);
  buckets.set(caller, { left, at: now });
  c.set('headers', headers);
}

/** Those that have not asked for a while are as good as new. */
function forget(perMinute: number, now: number): void {
  for (const [caller, bucket] of buckets) if (filled(bucket, perMinute, now) >= perMinute) buckets.delete(caller);
  // all of them busy: then the one that is counted longest
  const [oldest] = buckets.keys();
  if (oldest !== undefined && buckets.size >= MAX_COUNTED_TOKENS) buckets.delete(oldest);
}

/** @param setting of the Worker: a number, 0 for no limit; what is none counts as left out. */
function limitOf(setting: string | null | undefined): number {
  return /^\d{1,9}$/.test(setting ?? '') ? Number(setting) : REQUESTS_PER_MINUTE;
}
