/** The sums that make a lease safe, and the refusal of those that do not. */
import type { Mutant } from './mutant.ts';

const FILE = 'schemas/limits.ts';
const TEST = 'schemas/timing.test.ts';

export const TIMING: readonly Mutant[] = [
  {
    name: 'takeover-length',
    rule: 'I3',
    file: FILE,
    find: 'return Math.ceil((leaseMs * (1 + CLOCK_RATE_ERROR)) / (1 - CLOCK_RATE_ERROR) + marginMs);',
    replace: 'return Math.ceil(leaseMs + marginMs / 1_000);',
    why: 'the next owner starts a moment before the lease has ended',
    check: [TEST, 'I3: no other node starts before the lease has ended, however much the clocks differ'],
  },
  {
    name: 'takeover-length/rate',
    rule: 'I3, I4',
    guard: 'T_C and T_P allow for clocks that run at different rates',
    file: FILE,
    find: 'return Math.ceil((leaseMs * (1 + CLOCK_RATE_ERROR)) / (1 - CLOCK_RATE_ERROR) + marginMs);',
    replace: 'return Math.ceil(leaseMs + marginMs);',
    why: 'the next owner starts a moment before the lease has ended on a clock that runs slow',
    check: [TEST, 'I3: no other node starts before the lease has ended, however much the clocks differ'],
  },
  {
    name: 'takeover-length/rate-error',
    rule: 'I3, I4',
    guard: 'clocks may differ by one part in a thousand of the time each',
    file: FILE,
    find: 'export const CLOCK_RATE_ERROR = 1e-3;',
    replace: 'export const CLOCK_RATE_ERROR = 1e-5;',
    why: 'a clock that chronyd slews ends a lease early',
    check: [TEST, 'I3: no other node starts before the lease has ended, however much the clocks differ'],
  },
  {
    name: 'fuse-margin',
    rule: 'O4, I2',
    file: FILE,
    find: 'return deadlineMs - t.fuseMs - t.resetMs;',
    replace: 'return deadlineMs;',
    why: 'the fuse acts when the next owner has started already',
    check: [TEST, 'I2: the fuse has acted by the deadline, and not before the agent had its time'],
  },
  {
    name: 'start-valid/reserve',
    rule: 'I6',
    guard: 'what must be left of a lease to start upon it is S + W + δ',
    file: FILE,
    find: 'return t.stopMs + (t.watchdogMs ?? t.fuseMs) + t.resetMs;',
    replace: 'return t.fuseMs;',
    why: 'a group is started that is to be stopped in the same moment, and has no time for it',
    check: [TEST, 'I6: what is started can still be stopped in its time'],
  },
  {
    name: 'timing-refused',
    rule: 'I1',
    guard: 'a lease that does not outlast its lost renewals is refused',
    file: FILE,
    find: '  if (needed > t.leaseMs)\n',
    replace: '  if (needed < 0)\n',
    why: 'one lost renewal stops the services',
    check: [TEST, 'I1: a lease in which lost renewals find no room is refused, with the sum'],
  },
  {
    name: 'timing-refused/fuse',
    rule: 'I2',
    guard: 'a stop budget that the fuse does not fit into is refused',
    file: FILE,
    find: '  if (t.fuseMs + t.resetMs > t.stopMs)\n',
    replace: '  if (t.fuseMs + t.resetMs < 0)\n',
    why: 'the fuse acts before the agent has begun to stop',
    check: [TEST, 'I2: a stop budget in which the fuse finds no room is refused, with the sum'],
  },
];
