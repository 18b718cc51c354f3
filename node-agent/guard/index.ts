/** The fuse: a small C program that takes away what a lease no longer covers, and the agent's connection to it. */
export {
  GuardClient,
  GuardError,
  type GuardErrorCode,
  type GuardLease,
  type GuardOptions,
  type ProbeAnswer,
} from './guard.ts';
export type { GuardReset, ResetReport } from './guard-reset.ts';
export type { GuardGroup, GuardPromise, GuardState, GuardVoters } from './guard-state.ts';
