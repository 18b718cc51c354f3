/** Where the product does less than the model allows, by name and with the reason. Whatever is not listed here is a disagreement. */
import type { MoveName } from '../moves.ts';
import type { Refusal } from './desk.ts';

/** What the code has no counterpart for; walks avoid these, and nothing is concluded from them. */
export const NOT_REPLAYED: Readonly<Partial<Record<MoveName, string>>> = {
  'fuse fires early':
    'the guard of the replay is punctual; it is early only where the code’s lease is shorter than the model’s',
  'clock is fast': 'the clocks of the replay are exact',
  'clock is slow': 'the clocks of the replay are exact',
};

export const STRICTER: Readonly<Record<Refusal, string>> = {
  'nothing-sent':
    'who holds a lease that was lost, or is not let speak, claims nothing; a repeated grant is no answer to a renewal; voters of whom nothing was heard are not asked',
  'not-adopted': 'a grant is ignored in the quarantine and while a promise runs; the model takes it up and waits',
  'extends-first':
    'an answer that gives time and tells of other voters does both at once; in the model one after the other',
  forgotten: 'a request that is older than two leases is not remembered, so its answer tells nothing any more',
  'not-kept': 'what is not on the disk and in the guard yet is renewed, but confirms nothing',
  held: 'a lease that was lost is held until everything is down, and for so long nothing is promised',
  claimed: 'nothing is promised while a claim may still be granted',
  'not-confirmed': 'voters are changed only of an epoch that was confirmed',
  'says-so': 'who stops what it owns gives it back',
  'not-released': 'nothing is given back that is not this node’s to give any more',
  'lease-runs, claimant': 'in the model a claimant learns of a renewal at once, here with its next report',
  'renewal-not-newest': 'so a claim may name one that is the newest no more',
  // placement: who has not been heard of, or is not ready
  lost: 'placement',
  unheard: 'placement',
  quarantine: 'placement',
  'epochs-unreported': 'placement',
  'not-started': 'placement',
  'outdated-config': 'placement',
  'declared-dead': 'placement',
  // C7, and one incarnation at a time
  'instance-new': 'C7: a new instance does not know whether its data is the newest',
  'identity-conflict': 'one incarnation of a node at a time',
  'node-unknown': 'one incarnation of a node at a time',
  'node-alive': 'an operator’s word is not taken of a node that has just spoken',
  'waits-longer': 'by a clock that has stepped back the proof is younger than it was',
};
