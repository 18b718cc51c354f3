/** The runs that `npm run model` makes. All are meant to be exhausted, unless they say otherwise. */
import { type Bounds, boundsOf } from './bounds.ts';

const third = { voters: 2 } as const;

/** The nodes of the standard suite have a lease of two ticks; that three say the same is checked where it is cheap. */
export const STANDARD: readonly Bounds[] = [
  boundsOf(2, { pause: 1, crash: 1, power: 1, coordinator: 1 }),
  boundsOf(2, { pause: 2, release: 1 }),
  boundsOf(2, { crash: 1, 'clock-forward': 1, 'clock-back': 1, coordinator: 2 }),
  boundsOf(2, { pause: 1, drift: 2 }),
  boundsOf(2, { pause: 1, coordinator: 1 }, { lease: 3 }),
  boundsOf(3),
  boundsOf(3, {}, { lease: 3 }),
  boundsOf(3, { pause: 1 }, third),
  boundsOf(3, { crash: 1 }),
  boundsOf(3, { power: 1 }, third),
  boundsOf(3, { guard: 1 }),
  boundsOf(3, { coordinator: 2 }),
  boundsOf(3, { release: 2 }, third),
  boundsOf(3, { voters: 1 }, third),
  boundsOf(3, { power: 1, proof: 1 }, third),
  boundsOf(3, { release: 1, 'clock-forward': 1 }),
];

/** Part of `npm test`. */
export const SMOKE: readonly Bounds[] = [
  boundsOf(2, { pause: 1, power: 1 }),
  boundsOf(2, { crash: 1, release: 1, coordinator: 1 }),
  boundsOf(3, {}, third),
];

/**
 * `--long`: pairs and triples of faults on three nodes, longer leases, four nodes; those first that are most wanted. A run that reaches
 * LONG_STATES ends there and says so.
 */
export const LONG: readonly Bounds[] = [
  // a change of voters and a second fault
  boundsOf(3, { voters: 1, pause: 1 }, third),
  boundsOf(3, { voters: 1, crash: 1 }, third),
  boundsOf(3, { voters: 1, power: 1 }, third),
  boundsOf(3, { voters: 1, guard: 1 }, third),
  boundsOf(3, { voters: 1, coordinator: 1 }, third),
  boundsOf(3, { voters: 1, release: 1 }, third),
  boundsOf(3, { voters: 1, 'clock-forward': 1 }, third),
  boundsOf(3, { voters: 2 }, third),
  boundsOf(3, { voters: 1, pause: 1 }),
  boundsOf(3, { voters: 1, crash: 1 }),
  boundsOf(3, { voters: 1, power: 1 }),
  boundsOf(3, { voters: 1, coordinator: 1 }),
  boundsOf(3, { voters: 1, release: 1 }),
  // two pauses, two of the others
  boundsOf(3, { pause: 2 }, third),
  boundsOf(3, { pause: 2 }),
  boundsOf(3, { crash: 2 }, third),
  boundsOf(3, { power: 2 }, third),
  boundsOf(2, { pause: 3, crash: 1, release: 1 }),
  // four nodes
  boundsOf(4, {}, third),
  boundsOf(4),
  // three faults at once
  boundsOf(3, { pause: 1, coordinator: 1, release: 1 }, third),
  boundsOf(3, { power: 1, proof: 1, 'clock-forward': 1 }, third),
  boundsOf(3, { power: 1, proof: 1, release: 1 }, third),
  boundsOf(3, { coordinator: 2, 'clock-forward': 1, 'clock-back': 1, release: 1 }, third),
  boundsOf(3, { power: 2, proof: 1 }, third),
  boundsOf(2, { pause: 1, crash: 1, power: 1, coordinator: 1, release: 1, proof: 1 }),
  boundsOf(3, { crash: 1, coordinator: 1, voters: 1 }, third),
  boundsOf(3, { pause: 1, power: 1, release: 1 }, third),
  // a lease of three ticks
  boundsOf(3, { pause: 1 }, { ...third, lease: 3 }),
  boundsOf(3, { power: 1 }, { ...third, lease: 3 }),
  boundsOf(3, { release: 1 }, { ...third, lease: 3 }),
  boundsOf(3, { voters: 1 }, { ...third, lease: 3 }),
  // the largest
  boundsOf(3, { voters: 1, guard: 1 }),
  boundsOf(4, { release: 1 }, third),
  boundsOf(3, { power: 1, proof: 1, crash: 1 }, third),
  boundsOf(3, { power: 1, proof: 1, voters: 1 }, third),
];

export const LONG_STATES = 30e6;
