/**
 * Every guard removed once. Its mutant must violate the property within small bounds; where it does not, other guards do the same work,
 * and the reason says which. So a guard that nobody needs any more, or that the model does not feel, cannot hide.
 */
import { type Bounds, boundsOf } from './bounds.ts';
import type { GuardName } from './guards.ts';

export interface Mutant {
  readonly drop: readonly GuardName[];
  readonly bounds: Bounds;
  /** What goes wrong, in one sentence; of a guard that is redundant, why it is. */
  readonly why: string;
  /** Set: no counterexample is expected within the bounds, which are exhausted. */
  readonly redundant?: true;
}

const killed = (drop: GuardName | readonly GuardName[], bounds: Bounds, why: string): Mutant => ({
  drop: typeof drop === 'string' ? [drop] : drop,
  bounds,
  why,
});
const redundant = (drop: GuardName, bounds: Bounds, why: string): Mutant => ({
  drop: [drop],
  bounds,
  why,
  redundant: true,
});

/** alice and bob are voters of the first epoch, carol is not, and may become one. */
const third = { voters: 2 } as const;

export const MUTANTS: readonly Mutant[] = [
  killed('send-time', boundsOf(2), 'a late answer lengthens a lease whose wait has ended elsewhere'),
  killed('request-ids', boundsOf(2, { crash: 1 }), 'an old answer is taken for an answer to a request of now'),
  killed('all-voters', boundsOf(3), 'one voter promises, another, who did not, takes the group over'),
  redundant(
    'lost-is-lost',
    boundsOf(2, { pause: 1 }),
    'a promise that would revive it is refused by everyone who could have taken over (refuse-lower), and an answer by the coordinator (renew-match)',
  ),
  killed(
    ['lost-is-lost', 'refuse-lower', 'refuse-holder'],
    boundsOf(2),
    'the new owner’s own promise revives the lease of the old',
  ),
  redundant(
    'stop-at-deadline',
    boundsOf(2, { pause: 1 }),
    'the fuse takes everything down at the same deadline (fuse)',
  ),
  killed(['stop-at-deadline', 'fuse'], boundsOf(2), 'nobody takes the group down'),
  killed('fuse', boundsOf(2, { pause: 1 }), 'a paused agent keeps the group up past its lease'),
  killed('fuse-margin', boundsOf(2, { pause: 1 }), 'the fuse acts when the next owner has started already'),
  killed(
    'arm-first',
    boundsOf(2, { pause: 1 }),
    'an agent paused between decision and start goes on long after its lease has ended',
  ),
  killed('release-stopped', boundsOf(2, { release: 1 }), 'the next owner starts while this one still runs'),
  killed(
    'release-clean',
    boundsOf(3, { release: 1 }, third),
    'an owner two epochs back lives on the promise that the releasing node has given',
  ),
  killed('release-final', boundsOf(2, { release: 1 }), 'an answer that comes after the release is acted upon'),
  killed(
    'refuse-lower',
    boundsOf(3, {}, third),
    'a node that has had a newer epoch keeps the owner of an old one alive',
  ),
  redundant(
    'refuse-holder',
    boundsOf(3, {}, third),
    'a holder’s own epoch is the highest it has seen, so requests that could hurt are below it (refuse-lower)',
  ),
  killed('promise-length', boundsOf(2), 'the voter starts while its promise is still counted upon'),
  killed(
    'highest-durable',
    boundsOf(3, { power: 1 }, third),
    'a node reboots, forgets its epoch and promises to the owner before it',
  ),
  redundant(
    'epoch-fence',
    boundsOf(3, {}, third),
    'a grant still young enough to be started upon has no successor yet: the next one had to wait for it (wait-claimant)',
  ),
  killed('start-valid', boundsOf(2), 'a grant that comes after its lease has ended is started upon'),
  killed('promise-check', boundsOf(2), 'a voter that is granted the lease starts while its promise is counted upon'),
  killed(
    'void-by-release',
    boundsOf(2, { release: 1 }),
    'a grant after a mere wait voids the promise on which the old owner lives',
  ),
  killed('quarantine', boundsOf(2, { power: 1 }), 'a voter reboots, forgets its promise and starts'),
  killed(
    'quarantine-length',
    boundsOf(2, { power: 1 }),
    'a voter reboots, and starts a moment before its promise has run out',
  ),
  killed(
    'restart-stops',
    boundsOf(2, { guard: 1 }),
    'a new incarnation knows of no lease, and what the old one started stays up',
  ),
  killed('guard-keeps-promise', boundsOf(2, { crash: 1 }), 'the next agent knows nothing of the promise and starts'),
  killed('guard-keeps-lease', boundsOf(2, { crash: 1 }), 'the next agent knows no deadline for what runs'),
  killed(
    'guard-keeps-voters',
    boundsOf(3, { crash: 1, voters: 1 }, third),
    'the next agent lives on the promise of a node that votes no more, while one takes over that votes by now',
  ),
  redundant(
    'incarnation',
    boundsOf(2, { power: 1, release: 1 }),
    'the highest epoch is on disk, so a new incarnation cannot take up what the old one had (release-final)',
  ),
  killed(
    ['incarnation', 'highest-durable'],
    boundsOf(2, { power: 1, release: 1 }),
    'a new incarnation takes the lease up again that the old one had released',
  ),
  killed('output-gate', boundsOf(2, { coordinator: 1 }), 'a grant that nobody remembers, and one to another node'),
  killed('renew-match', boundsOf(2), 'the coordinator keeps an owner alive whose epoch is over'),
  killed(
    'doubt-cleared',
    boundsOf(2, { coordinator: 2 }),
    'the second restart counts from the first, and forgets the renewals between them',
  ),
  redundant(
    'wait-coordinator',
    boundsOf(2, { 'clock-forward': 1, 'clock-back': 1 }),
    'the claimant’s clock has seen the same wait (wait-claimant); this is the second lock on the door, against a claimant whose clock lies',
  ),
  killed(['wait-coordinator', 'wait-claimant'], boundsOf(2), 'nobody waits'),
  killed(
    'wait-claimant',
    boundsOf(2, { 'clock-forward': 1 }),
    'the coordinator’s clock jumps forward, and its wait is over at once',
  ),
  killed('takeover-length', boundsOf(2), 'the next owner starts a moment before the lease has ended'),
  killed('eligible', boundsOf(3, {}, third), 'a node is granted the lease whose promise the owner did not need'),
  killed(
    'repeat-renews',
    boundsOf(2, { release: 1 }),
    'an owner that had its grant repeated is overtaken while that still counts',
  ),
  killed(
    'current-voters',
    boundsOf(3, { voters: 1 }),
    'a new voter takes over before the owner knows that it needs its promise',
  ),
  killed('pending-voters', boundsOf(3, { voters: 1 }), 'a node takes over whose promise the owner needs no longer'),
  killed(
    'restart-doubt',
    boundsOf(2, { coordinator: 1 }),
    'the coordinator has forgotten the newest renewal and grants at once',
  ),
  redundant(
    'clock-back',
    boundsOf(2, { 'clock-back': 1, 'clock-forward': 1, coordinator: 1 }),
    'the claimant’s clock has seen the wait, whatever the coordinator’s says (wait-claimant)',
  ),
  killed(
    'one-instance',
    boundsOf(2, { coordinator: 1 }),
    'an instance that was replaced keeps an owner alive whose epoch is over',
  ),
  killed('confirm', boundsOf(3, {}, third), 'a grant that was never heard of changes who may take over next'),
  killed('proof-true', boundsOf(2, { proof: 1 }), 'a living owner is declared dead'),
  killed(
    'proof-waits',
    boundsOf(3, { power: 1, proof: 1 }, third),
    'the dead owner’s promise still keeps the one before it alive',
  ),
  killed(
    'proof-clean',
    boundsOf(3, { power: 1, proof: 1, 'clock-forward': 1 }, third),
    'the coordinator’s clock jumps, and an epoch confirmed a moment ago counts as confirmed for T_C',
  ),
  killed(
    'proof-base',
    boundsOf(3, { power: 1, proof: 1 }, third),
    'the dead owner never heard of its grant, boots, and goes on promising to the owner before it',
  ),
];
