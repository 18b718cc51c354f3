/** Every guard of the protocol, by a name of its own, so that each can be removed to see what it is there for. */

interface Guard {
  /** Rule of the protocol that it belongs to. */
  readonly rule: string;
  readonly text: string;
}

export const GUARDS = {
  'send-time': { rule: 'O1', text: 'a lease and a promise count from the sending of the request, not from the answer' },
  'request-ids': { rule: 'O1, P3', text: 'answers to requests that this process did not send are ignored' },
  'all-voters': { rule: 'O2', text: 'a lease lives on the promises of all other voters, not of one' },
  'lost-is-lost': { rule: 'O2', text: 'a lease that was lost is never revived' },
  'stop-at-deadline': { rule: 'O3', text: 'the agent has everything down by the deadline' },
  fuse: { rule: 'O4', text: 'the guard takes everything down at the deadline when the agent does not run' },
  'fuse-margin': { rule: 'O4, I2', text: 'the fuse is set so early that it has acted by the deadline' },
  'arm-first': { rule: 'O4', text: 'the fuse is armed before the decision to start' },
  'release-stopped': { rule: 'O5', text: 'a lease is released only when the group is down' },
  'release-clean': { rule: 'O5', text: 'a lease is released only with no promise held and no quarantine running' },
  'release-final': { rule: 'O5', text: 'an epoch that was given back is never acted upon again' },
  'refuse-lower': { rule: 'P1', text: 'no promise for an epoch below the highest seen' },
  'refuse-holder': { rule: 'P1', text: 'no promise while a lease of the group is held here' },
  'promise-length': { rule: 'I4', text: 'a promise is held for as long as its owner may count on it' },
  'highest-durable': { rule: 'P1, P2', text: 'the highest epoch seen survives a reboot' },
  'epoch-fence': { rule: 'P2', text: 'a grant below the highest epoch seen is ignored' },
  'start-valid': { rule: 'P2, I6', text: 'nothing is started on a lease that has run out' },
  'promise-check': { rule: 'P2', text: 'nothing is started while a promise to another owner runs' },
  'void-by-release': { rule: 'P2', text: 'promises are void only for a grant that follows a release' },
  quarantine: { rule: 'P3', text: 'a new incarnation starts nothing for T_P' },
  'quarantine-length': { rule: 'I5', text: 'the quarantine is as long as a promise' },
  'restart-stops': { rule: 'P3', text: 'a new incarnation first stops what it finds running' },
  'guard-keeps-promise': { rule: 'guard', text: 'a promise is in the guard before it is answered' },
  'guard-keeps-lease': { rule: 'guard', text: 'epoch and deadline are in the guard before anything is started' },
  'guard-keeps-voters': { rule: 'guard, C3', text: 'other voters are in the guard before a request names them' },
  incarnation: { rule: 'C1, C2, P2', text: 'a lease belongs to the incarnation that it was granted to' },
  'output-gate': { rule: 'C', text: 'a grant leaves only behind its durable write' },
  'renew-match': { rule: 'C1', text: 'only the current epoch is renewed' },
  'doubt-cleared': { rule: 'C1', text: 'a renewal clears suspectSince durably' },
  'wait-coordinator': { rule: 'C2', text: 'the coordinator’s clock has seen T_C before it grants' },
  'wait-claimant': { rule: 'C2', text: 'the claimant’s clock has seen T_C as well' },
  'takeover-length': { rule: 'I3', text: 'T_C is no shorter than the lease as the owner may count it' },
  eligible: { rule: 'C2', text: 'only a voter is granted the lease' },
  'repeat-renews': { rule: 'C2', text: 'a repeated grant starts the wait anew' },
  'current-voters': { rule: 'C3', text: 'while a change of voters is under way the old ones still count' },
  'pending-voters': { rule: 'C3', text: 'while a change of voters is under way the new ones count already' },
  'restart-doubt': { rule: 'C4', text: 'after a restart the wait counts from then' },
  'clock-back': { rule: 'C2', text: 'a clock that stepped back makes every lease suspect' },
  'one-instance': { rule: 'C5', text: 'an instance that was replaced extends nothing' },
  confirm: { rule: 'C6', text: 'voters of an epoch count only after its owner’s first renewal' },
  'proof-true': { rule: 'proof', text: 'only the word that a machine is off frees its lease, not silence' },
  'proof-waits': {
    rule: 'proof',
    text: 'a proof of death frees at once only what has long been confirmed, else after T_C',
  },
  'proof-clean': {
    rule: 'proof',
    text: 'that is told by the owner (nothing older can live), not by the coordinator’s clock',
  },
  'proof-base': {
    rule: 'proof',
    text: 'a proof of death does not widen the eligible of an epoch that was never confirmed',
  },
} as const satisfies Record<string, Guard>;

export type GuardName = keyof typeof GUARDS;
export type Guards = Readonly<Record<GuardName, boolean>>;

export const GUARD_NAMES = Object.keys(GUARDS).filter((name): name is GuardName => name in GUARDS);

/** All guards, but for those named. */
export function guardsWithout(dropped: readonly GuardName[]): Guards {
  const all: Record<string, boolean> = {};
  for (const name of GUARD_NAMES) all[name] = !dropped.includes(name);
  return all as Guards;
}
