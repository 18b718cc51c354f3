/** What a node promises to the owner of a lease (P1). */
import { GROUP, NONE } from './layout.ts';
import type { Machine, Rule } from './machine.ts';
import { moveOf } from './moves.ts';

const PROMISES = moveOf('promises');

/**
 * P1. Only voters are asked. A promise to an owner who can no longer use it binds the voter alone, so such requests are not modelled.
 */
export const promise: Rule = (m) => {
  const { at } = m;
  for (let owner = 0; owner < at.nodes; owner++) {
    const age = m.get(at.ask + owner);
    if (age === NONE) continue;
    const epoch = m.get(at.held + owner);
    const voters = asked(m, owner, epoch);
    for (let voter = 0; voter < at.nodes; voter++)
      if (voter !== owner && ((voters >> voter) & 1) === 1 && willing(m, voter, epoch))
        give(m, voter, owner, epoch, age);
  }
};

/** The voters that the owner lives by, and those of whom it has heard and that are not in its guard yet. */
function asked(m: Machine, owner: number, epoch: number): number {
  const { at } = m;
  const known = m.get(at.version + owner);
  let voters = m.votersOf(m.from, epoch, known);
  for (let version = known + 1; version < at.versions; version++)
    if (m.get(at.reply + epoch * at.versions + version) !== NONE) voters |= m.votersOf(m.from, epoch, version);
  return voters;
}

function willing(m: Machine, voter: number, epoch: number): boolean {
  const { at } = m;
  if (!m.runs(voter)) return false;
  if (m.guards['refuse-lower'] && 2 * epoch < m.get(at.highest + voter)) return false;
  const holds = m.get(at.held + voter) !== 0 || m.get(at.group + voter) !== GROUP.down;
  return !(m.guards['refuse-holder'] && holds);
}

function give(m: Machine, voter: number, owner: number, epoch: number, age: number): void {
  const { at } = m;
  m.begin();
  m.put(at.promise + voter, Math.max(m.promiseLength, m.get(at.promise + voter)));
  if (epoch > m.get(at.promised + voter)) m.put(at.promised + voter, epoch);
  m.put(at.highest + voter, Math.max(2 * epoch, m.get(at.highest + voter)));
  const answer = at.answer + owner * at.nodes + voter;
  if (age < m.get(answer)) m.put(answer, age);
  m.take(PROMISES, voter, owner, epoch, m.next(at.promise + voter));
}
