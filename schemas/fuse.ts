/**
 * The fuse that a node really has, and the timing that follows from it. What a cluster agrees on (limits.ts) knows the guard alone; a node
 * whose guard has a last word, a watchdog or a reset by sysrq, counts with that as well.
 *
 * How the stop budget S is spent before a deadline, with a watchdog of W in the profile `default` (S 1.5 s, W 1 s, δ 0.2 s):
 *
 *   deadline − S         1.5 s   the agent begins to stop by force; the guard does 0.15 s later if it has not
 *   deadline − W − δ     1.2 s   the last pet: from here on only "nothing is held" keeps the reset away
 *   deadline − S/3 − δ   0.7 s   the guard ends the agent and takes everything away itself
 *   deadline − δ         0.2 s   the reset, unless all of it has been read back as gone; δ is what a reset takes
 *   deadline                     nothing runs here
 *
 * Where the agent is gone or hangs the guard ends petting when it begins, 0.15 s after deadline − S: the reset comes W after that at the latest.
 */
import * as z from 'zod';
import {
  activationReserveMs,
  CLOCK_GRANULARITY_MS,
  GUARD_LATENESS_MS,
  LEASE_PROFILES,
  type LeaseTiming,
  MAX_DETAIL_LENGTH,
  timingProblem,
} from './limits.ts';

/** As a node tells it. `problem`: it has it and cannot use it, so it starts nothing. */
export const fuseSchema = z.object({
  kind: z.enum(['guard', 'sysrq', 'watchdog']),
  /** W of the watchdog. */
  timeoutMs: z.int().positive().optional(),
  problem: z.string().max(MAX_DETAIL_LENGTH).optional(),
});
export type Fuse = z.infer<typeof fuseSchema>;

/** What a group may demand of the nodes that run it. */
export const FENCES = ['guard', 'watchdog'] as const;
export type Fence = (typeof FENCES)[number];

/** What the guard of a node has besides itself; the limits of the driver where it tells them. */
export type LastWord =
  | { readonly kind: 'none' | 'sysrq' }
  | { readonly kind: 'watchdog'; readonly leastS?: number | undefined; readonly mostS?: number | undefined };

/** A watchdog is given this part of a lease at most: the rest is for renewals that are late. */
const LEASE_PARTS = 4;
/** The guard's own part of S where a reset follows it. */
const STOP_PARTS = 3;

/** W: as long as the lease allows, in the whole seconds that drivers count in, and as the driver can. */
export function watchdogSeconds(
  t: LeaseTiming,
  { leastS = 1, mostS = Number.POSITIVE_INFINITY }: { leastS?: number | undefined; mostS?: number | undefined },
): number {
  return Math.min(Math.max(1, leastS, Math.floor(t.leaseMs / LEASE_PARTS / 1_000)), mostS);
}

/** The timing of a node with this last word. */
export function timingWith(t: LeaseTiming, word: LastWord): LeaseTiming {
  if (word.kind === 'none') return { ...t, watchdogMs: undefined };
  const fuseMs = Math.max(GUARD_LATENESS_MS, Math.floor(t.stopMs / STOP_PARTS));
  return { ...t, fuseMs, watchdogMs: word.kind === 'watchdog' ? watchdogSeconds(t, word) * 1_000 : undefined };
}

/** @returns why a node with this last word cannot keep this timing, with the sum and a profile that would do; undefined if it can. */
export function fuseProblem(t: LeaseTiming, word: LastWord): string | undefined {
  const problem = sumProblem(timingWith(t, word));
  if (problem === undefined) return undefined;
  const fitting = Object.entries(LEASE_PROFILES).find(
    ([, profile]) => sumProblem(timingWith(profile, word)) === undefined,
  );
  const advice =
    fitting === undefined
      ? 'no profile fits it: a longer `lease: {ttl, renew}`, or --reset=none on this node'
      : `use the profile ${fitting[0]}, or --reset=none on this node`;
  return `${problem}; ${advice}`;
}

/** I1, I2 and I6 with the watchdog in them. */
function sumProblem(t: LeaseTiming): string | undefined {
  const { watchdogMs, resetMs, stopMs, leaseMs, retryMs } = t;
  if (watchdogMs === undefined) return timingProblem(t);
  const sum = watchdogMs + resetMs;
  if (sum > stopMs)
    return `watchdog ${watchdogMs} + reset ${resetMs} = ${sum} ms exceeds the stop budget ${stopMs} ms of a lease of ${leaseMs} ms (I2)`;
  const reserve = activationReserveMs(t) + CLOCK_GRANULARITY_MS;
  if (reserve + retryMs > leaseMs)
    return `stop ${stopMs} + watchdog ${watchdogMs} + reset ${resetMs} ms leave too little of a lease of ${leaseMs} ms to start anything (I6)`;
  return timingProblem(t);
}
