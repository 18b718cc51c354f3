/** All rules, in no order that matters. */

import { hearClaim, hearRelease, renew, renewWrongly } from './coordinator.ts';
import {
  boots,
  changesVoters,
  clockBack,
  clockForward,
  coordinatorRestarts,
  crashes,
  drifts,
  fires,
  losesGuard,
  losesPower,
  pauses,
  provenDead,
  resumes,
  startsAgain,
} from './faults.ts';
import type { Machine, Rule } from './machine.ts';
import { decide, giveBack, hearAnswer, hearPromise, release, start, stopAndForget } from './owner.ts';
import { tick } from './time.ts';
import { promise } from './voter.ts';

const RULES: readonly Rule[] = [
  hearAnswer,
  hearPromise,
  decide,
  start,
  stopAndForget,
  release,
  giveBack,
  promise,
  renew,
  hearClaim,
  hearRelease,
  renewWrongly,
  pauses,
  resumes,
  fires,
  crashes,
  startsAgain,
  losesPower,
  boots,
  losesGuard,
  coordinatorRestarts,
  clockForward,
  clockBack,
  changesVoters,
  provenDead,
  drifts,
  tick,
];

export function applyAll(machine: Machine): void {
  for (const rule of RULES) rule(machine);
}
