/** The fuse: a small C program that takes away what a lease no longer covers, and the agent's connection to it. */
export {
  GuardClient,
  GuardError,
  type GuardErrorCode,
  type GuardLease,
  type GuardOptions,
  type ProbeAnswer,
} from './guard.ts';
export type { GuardGroup, GuardState } from './guard-state.ts';
