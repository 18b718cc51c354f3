/**
 * The coordinator's wall clock. A Durable Object has no other, and it may step either way (protocol.md C2), which tests must be
 * able to provoke: with `TEST_HOOKS=1` (only `holdfast serve` passes it on, from HOLDFAST_TEST_HOOKS) an administrator may shift
 * it by `POST /v1/test/clock`. On a self-hosted coordinator all objects share one isolate, so one shift moves them all; it
 * is gone when the process ends. On Cloudflare the binding does not exist and the shift stays 0.
 */
let offsetMs = 0;

/** Milliseconds of the coordinator's wall clock. */
export function now(): number {
  return Date.now() + offsetMs;
}

/** Test hook: shifts {@link now} by `milliseconds` against the host's clock. Not cumulative. */
export function shiftClock(milliseconds: number): void {
  offsetMs = milliseconds;
}
