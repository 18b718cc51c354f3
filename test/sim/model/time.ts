/** One tick: every wait and every deadline comes nearer, everything under way grows older, and what has run out is down (O3, O4). */
import { blow } from './faults.ts';
import { AGENT, GROUP, NONE } from './layout.ts';
import type { Machine, Rule } from './machine.ts';
import { moveOf } from './moves.ts';

const TICK = moveOf('time passes');

export const tick: Rule = (m) => {
  const { at } = m;
  m.begin();
  for (const place of [at.wait, at.seen, at.confirmedWait, at.doubt, at.doubtSeen]) countDown(m, place);
  for (let version = 0; version < at.versions; version++) age(m, at.request + version);
  for (let place = at.reply; place < at.reply + (at.epochs + 1) * at.versions; place++) age(m, place);
  for (let node = 0; node < at.nodes; node++) {
    for (const place of [at.lease, at.promise, at.quarantine]) countDown(m, place + node);
    if (m.next(at.promise + node) === 0) m.put(at.promised + node, 0);
    for (let place = node * at.nodes; place < (node + 1) * at.nodes; place++) {
      countDown(m, at.got + place);
      age(m, at.answer + place);
    }
    age(m, at.claim + node);
    age(m, at.ask + node);
  }
  let stopped = 0;
  for (let node = 0; node < at.nodes; node++) if (expire(m, node)) stopped |= 1 << node;
  m.take(TICK, 0, 0, 0, stopped);
};

function countDown(m: Machine, place: number): void {
  const value = m.next(place);
  if (value !== NONE && value > 0) m.put(place, value - 1);
}

function age(m: Machine, place: number): void {
  const value = m.next(place);
  if (value !== NONE && value < m.L) m.put(place, value + 1);
}

/** @returns whether something went down. */
function expire(m: Machine, node: number): boolean {
  const { at } = m;
  const group = m.next(at.group + node);
  const late = m.next(at.late + node);
  if (late > 0) {
    m.put(at.late + node, late - 1);
    if (late > 1) return false;
    blow(m, node);
    return true;
  }
  if (m.next(at.held + node) === 0 || m.next(at.lost + node) !== 0 || m.valid(m.to, node)) return false;
  m.put(at.lost + node, 1);
  if (m.next(at.agent + node) === AGENT.running && m.guards['stop-at-deadline']) {
    m.put(at.group + node, GROUP.down);
    return group !== GROUP.down;
  }
  if (group === GROUP.down || !m.guards.fuse || (group === GROUP.starting && !m.guards['arm-first'])) return false;
  if (m.guards['fuse-margin']) blow(m, node);
  else m.put(at.late + node, 1);
  return m.guards['fuse-margin'];
}
