/** Every mutant, and the guards that have none. */
import { GUARDS } from '../sim/model/guards.ts';
import { AGENT } from './agent.ts';
import { COORDINATOR } from './coordinator.ts';
import { DRBD_ROLE } from './drbd.ts';
import { DURABLE } from './durable.ts';
import { ENGINE } from './engine.ts';
import { GUARD } from './guard.ts';
import { KEEPER } from './keeper.ts';
import { LOST_AND_RESTORED } from './lost-and-restored.ts';
import { guardOf, type Mutant } from './mutant.ts';
import { PEER_MESSAGES } from './peers.ts';
import { PROMISES } from './promises.ts';
import { LAST_WORD } from './reset.ts';
import { RESTART } from './restart.ts';
import { SESSIONS } from './sessions.ts';
import { TIMING } from './timing.ts';

export const MUTANTS: readonly Mutant[] = [
  ...KEEPER,
  ...PROMISES,
  ...AGENT,
  ...DURABLE,
  ...RESTART,
  ...GUARD,
  ...LAST_WORD,
  ...DRBD_ROLE,
  ...PEER_MESSAGES,
  ...COORDINATOR,
  ...LOST_AND_RESTORED,
  ...ENGINE,
  ...SESSIONS,
  ...TIMING,
];

export interface Exempt {
  readonly rule: string;
  readonly guard: string;
  /** Why it has no mutant. */
  readonly why: string;
}

/** By name, in the model where that has it. */
export const EXEMPT: Readonly<Record<string, Exempt>> = {
  'proof-clean': {
    rule: 'proof',
    guard: GUARDS['proof-clean'].text,
    why: 'nothing on the wire says it: a node that has promised activates nothing (`promise-check`, `refuse-claimant`), and only what is activated is confirmed (`confirm/named`, `confirm/renewal`): decision 0015',
  },
  'fuse/agent-first': {
    rule: 'O4',
    guard: 'the agent is killed before anything is taken away, not after',
    why: 'what it puts back in between is taken away at the next look (`fuse/looks-on`), 20 ms later',
  },
  'fuse/late-request': {
    rule: 'O4',
    guard: 'what is due fires before a request is read; and a request finds out by itself that it is late',
    why: 'each does the other’s work; `fuse/never-later` takes both',
  },
  'fuse/fired': {
    rule: 'O4',
    guard: 'a group that has fired is neither petted nor armed before it is disarmed',
    why: 'its instant has passed as well (`fuse/never-later`)',
  },
  'fuse/lateness': {
    rule: 'I2',
    guard: 'locked memory, real-time priority, protection from the out-of-memory killer',
    why: 'no test can tell on a machine that is not starved; where they cannot be had the guard says so, and `holdfast doctor` too',
  },
  'fence/claim': {
    rule: 'fuse',
    guard: 'a node claims nothing that it could not fence',
    why: 'the coordinator grants nothing to it either (`fence`), by what it tells; `isEnoughFor` of node-fuse.ts is tested beside it',
  },
  'watchdog/stale-pet': {
    rule: 'I2',
    guard:
      'real-time priority and locked memory keep the guard from being stopped between the look at the clock and the pet',
    why: 'no test can stop it just there; decision 0018 says what that would mean',
  },
  'one-agent/user': {
    rule: 'guard',
    guard: 'only root and the guard’s own user may speak with it',
    why: 'its socket is 0600, which is tested (“has one instance per state directory”); that it looks at the credentials as well is the second lock',
  },
  'pair-key/low-order-ours': {
    rule: 'transport: authenticity',
    guard: 'a shared secret of zero is refused here, and by OpenSSL',
    why: 'each does the other’s work; `pair-key/low-order` takes both',
  },
  'repeat-renews/dead': {
    rule: 'proof',
    guard: 'a grant is not repeated to an owner that is proven dead',
    why: 'its incarnation is not heard at all (`dead-incarnation`)',
  },
};

/** @returns mutants of these names; of a guard’s name all that it has. Of no name all there are. */
export function chosenBy(names: readonly string[]): readonly Mutant[] {
  if (names.length === 0) return MUTANTS;
  return MUTANTS.filter((mutant) => names.includes(mutant.name) || names.includes(guardOf(mutant)));
}
