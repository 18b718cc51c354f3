/** The kinds of fault, by name. */
import { CONTROL } from './control.ts';
import { COORDINATOR_FAULTS, UNCOVERED_COORDINATOR_FAULTS } from './coordinator.ts';
import type { Kinds } from './faults.ts';
import { BROKEN_NETWORK, NETWORK } from './network.ts';
import { NODE, UNCOVERED_NODE_FAULTS } from './node.ts';

/** Against all of these the protocol holds. */
export const COVERED: Kinds = { ...NETWORK, ...COORDINATOR_FAULTS, ...NODE, ...CONTROL };
/** Against these it does not, or not always: they strike only when they are asked for. */
export const UNCOVERED: Kinds = {
  ...UNCOVERED_COORDINATOR_FAULTS,
  ...UNCOVERED_NODE_FAULTS,
  ...BROKEN_NETWORK,
};
export { Faults } from './faults.ts';
