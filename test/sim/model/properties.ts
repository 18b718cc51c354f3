/** What must never be so, and what must have come up for a run to prove anything. */
import { AGENT, CAUSE, GROUP } from './layout.ts';
import type { Machine } from './machine.ts';
import { type Move, moveOf } from './moves.ts';

export const VIOLATIONS = {
  two: 'two nodes run the group at once',
  back: 'the group starts in an epoch below one in which it ran before',
} as const;
export type Violation = keyof typeof VIOLATIONS;

const STARTS = moveOf('starts');

export function nodesUp(m: Machine): number {
  let up = 0;
  for (let node = 0; node < m.at.nodes; node++) if (m.next(m.at.group + node) === GROUP.up) up |= 1 << node;
  return up;
}

/** Judges the step just taken, by true time. */
export function violated(m: Machine, move: Move, epoch: number): Violation | undefined {
  const up = nodesUp(m);
  if ((up & (up - 1)) !== 0) return 'two';
  return move === STARTS && epoch > 0 && epoch < m.get(m.at.started) ? 'back' : undefined;
}

export const SITUATIONS = [
  'starts after a wait',
  'starts after a release',
  'adopts after a release, its promise void',
  'starts after a proof of death',
  'up on promises alone',
  'up as sole voter, without the coordinator',
  'up while its agent does not run',
  'up while another holds a higher epoch',
  'voters are being changed',
  'the lease is suspect',
] as const;

const ADOPTS = moveOf('adopts');

/** Counts, by situation, the new states that show it, or the steps to it. */
export class Reached {
  readonly counts = new Float64Array(SITUATIONS.length);

  /** Of every step: a promise that is made void leads to a state that is reached sooner without one. */
  noteStep(m: Machine, move: Move, node: number, epoch: number): void {
    const { at } = m;
    if (move !== ADOPTS || m.get(at.cause + epoch) !== CAUSE.release || m.get(at.promise + node) === 0) return;
    this.counts[2] = (this.counts[2] ?? 0) + 1;
  }

  noteState(m: Machine, move: Move, epoch: number): void {
    const { at } = m;
    const { counts } = this;
    const cause = m.get(at.cause + epoch);
    if (move === STARTS && m.get(at.started) < epoch) {
      const index = cause === CAUSE.wait ? 0 : cause === CAUSE.release ? 1 : 3;
      counts[index] = (counts[index] ?? 0) + 1;
    }
    for (let other = 0; other < at.nodes; other++) this.#look(m, other);
    if (m.next(at.pending) !== 0) counts[8] = (counts[8] ?? 0) + 1;
    if (m.next(at.doubt) !== 255) counts[9] = (counts[9] ?? 0) + 1;
  }

  /** Of the state just made; the nodes may be in another order than in the state that was left. */
  #look(m: Machine, node: number): void {
    const { at } = m;
    const { counts } = this;
    if (m.next(at.group + node) !== GROUP.up) return;
    const held = m.next(at.held + node);
    if (m.next(at.lease + node) === 0 && held !== 0 && m.valid(m.to, node)) {
      const index = m.votersOf(m.to, held, m.next(at.version + node)) === 1 << node ? 5 : 4;
      counts[index] = (counts[index] ?? 0) + 1;
    }
    if (m.next(at.agent + node) !== AGENT.running) counts[6] = (counts[6] ?? 0) + 1;
    for (let other = 0; other < at.nodes; other++) if (m.next(at.held + other) > held) counts[7] = (counts[7] ?? 0) + 1;
  }
}
