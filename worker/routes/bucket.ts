/** So many of something in a minute, at once or spread: what is taken fills up by itself. Pure. */

export const WINDOW_S = 60;

/** What was left at a moment, ms. */
export interface Bucket {
  readonly left: number;
  readonly at: number;
}

/** @returns what a bucket holds now; one that nothing was ever taken from is full. */
export function filled(bucket: Bucket | undefined, perMinute: number, now: number): number {
  if (bucket === undefined) return perMinute;
  const gained = (Math.max(0, now - bucket.at) * perMinute) / (WINDOW_S * 1_000);
  return Math.min(perMinute, bucket.left + gained);
}

/** How long until a bucket that holds `left` holds `wanted`. */
export function secondsUntil(wanted: number, left: number, perMinute: number): number {
  return Math.max(0, Math.ceil(((wanted - left) * WINDOW_S) / perMinute));
}
