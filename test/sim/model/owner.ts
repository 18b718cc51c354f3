/** What a node does with a lease: learns of it, lives on it, starts, stops, gives it back (O1–O5, P2). */
import { CAUSE, GROUP, NONE } from './layout.ts';
import type { Machine, Rule } from './machine.ts';
import { moveOf } from './moves.ts';

const LEARNS = moveOf('learns');
const EXTENDS_BY_ANSWER = moveOf('extends by answer');
const EXTENDS_BY_PROMISE = moveOf('extends by promise');
const ADOPTS = moveOf('adopts');
const DECIDES = moveOf('decides to start');
const STARTS = moveOf('starts');
const FORGETS = moveOf('stops and forgets');
const RELEASES = moveOf('releases');
const GIVES_BACK = moveOf('gives back');

/** O1, P2: an answer of the coordinator arrives. */
export const hearAnswer: Rule = (m) => {
  const { at } = m;
  for (let epoch = 1; epoch <= at.epochs; epoch++) {
    const node = m.get(at.owner + epoch);
    if (!m.runs(node)) continue;
    for (let version = 0; version < at.versions; version++) {
      const age = m.get(at.reply + epoch * at.versions + version);
      if (age === NONE) continue;
      const held = m.get(at.held + node);
      if (held === epoch) extend(m, node, epoch, version, age);
      else if (held === 0) adopt(m, node, epoch, version, age);
    }
  }
};

function extend(m: Machine, node: number, epoch: number, version: number, age: number): void {
  const { at } = m;
  if (m.guards['lost-is-lost'] && m.get(at.lost + node) !== 0) return;
  if (m.worth(age) > m.get(at.lease + node)) {
    m.begin();
    m.put(at.lease + node, m.worth(age));
    if (!m.guards['lost-is-lost']) m.put(at.lost + node, 0);
    m.take(EXTENDS_BY_ANSWER, node, version, epoch, age);
  }
  if (version > m.get(at.version + node)) learn(m, node, epoch, version);
}

/** C3: other voters count from when the guard has them, which takes its time; what the old ones have promised is still good for as long as it was. */
function learn(m: Machine, node: number, epoch: number, version: number): void {
  const { at } = m;
  m.begin();
  m.put(at.lease + node, Math.max(m.get(at.lease + node), Math.min(m.L, m.byPromises(m.from, node))));
  m.put(at.version + node, version);
  m.take(LEARNS, node, version, epoch);
}

/** May this node take up the epoch? Only above everything it has seen, so that what was given back or overtaken stays closed. */
export function adoptable(m: Machine, state: Uint8Array, node: number, epoch: number, age: number): boolean {
  const highest = state[m.at.highest + node] ?? 0;
  if (2 * epoch < highest && m.guards['epoch-fence']) return false;
  if (2 * epoch === highest && m.guards['release-final']) return false;
  return m.worth(age) > 0 || !m.guards['start-valid'];
}

function adopt(m: Machine, node: number, epoch: number, version: number, age: number): void {
  const { at } = m;
  if (!adoptable(m, m.from, node, epoch, age)) return;
  const afterRelease = m.get(at.cause + epoch) === CAUSE.release;
  const makesVoid = (afterRelease || !m.guards['void-by-release']) && m.get(at.promised + node) < epoch;
  if (m.bounds.strict && !mayStart(m, node, makesVoid)) return;
  m.begin();
  m.put(at.held + node, epoch);
  m.put(at.version + node, version);
  m.put(at.lease + node, m.worth(age));
  m.put(at.highest + node, Math.max(2 * epoch, m.get(at.highest + node)));
  if (makesVoid) {
    m.put(at.promise + node, 0);
    m.put(at.promised + node, 0);
  }
  m.take(ADOPTS, node, version, epoch, age);
}

/** P2: would nothing but its lease be asked of a start here? */
function mayStart(m: Machine, node: number, promiseIsVoid = false): boolean {
  const { at, guards } = m;
  if (guards.quarantine && m.get(at.quarantine + node) > 0) return false;
  return promiseIsVoid || !guards['promise-check'] || m.get(at.promise + node) === 0;
}

/** O2. */
export const hearPromise: Rule = (m) => {
  const { at } = m;
  if (m.eager) return;
  for (let node = 0; node < at.nodes; node++) {
    const held = m.get(at.held + node);
    if (!m.runs(node) || held === 0 || (m.guards['lost-is-lost'] && m.get(at.lost + node) !== 0)) continue;
    for (let voter = 0; voter < at.nodes; voter++) {
      const place = node * at.nodes + voter;
      const worth = m.worth(m.get(at.answer + place));
      if (worth <= m.get(at.got + place)) continue;
      m.begin();
      m.put(at.got + place, worth);
      if (!m.guards['lost-is-lost'] && m.byPromises(m.to, node) > 0) m.put(at.lost + node, 0);
      m.take(EXTENDS_BY_PROMISE, node, voter, held, worth);
    }
  }
};

/** P2. The fuse is armed in this step; between it and the start the process may be stopped for any time. */
export const decide: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (!m.runs(node) || m.get(at.held + node) === 0 || m.get(at.group + node) !== GROUP.down) continue;
    if (m.get(at.lost + node) !== 0 || (m.guards['start-valid'] && !m.valid(m.from, node))) continue;
    if (!mayStart(m, node)) continue;
    m.begin();
    m.put(at.group + node, GROUP.starting);
    m.take(DECIDES, node, 0, m.get(at.held + node));
  }
};

export const start: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (!m.runs(node) || m.get(at.group + node) !== GROUP.starting) continue;
    m.begin();
    m.put(at.group + node, GROUP.up);
    m.put(at.started, Math.max(m.get(at.held + node), m.get(at.started)));
    m.take(STARTS, node, 0, m.get(at.held + node));
  }
};

/** O3: a revocation, a clock that is fast, a lease that ran out. Nothing is told to the coordinator. */
export const stopAndForget: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (!m.runs(node) || m.get(at.held + node) === 0) continue;
    if (m.bounds.strict && m.get(at.held + node) === m.get(at.current)) continue;
    m.begin();
    m.put(at.group + node, GROUP.down);
    m.forget(node);
    m.take(FORGETS, node, 0, m.get(at.held + node));
  }
};

/** O5: nothing older than this node's own epoch can be alive on its word. */
function clean(m: Machine, node: number): boolean {
  if (!m.guards['release-clean']) return true;
  return m.get(m.at.promise + node) === 0 && m.get(m.at.quarantine + node) === 0;
}

/** O5. */
export const release: Rule = (m) => {
  const { at } = m;
  if (m.left('release') === 0) return;
  for (let node = 0; node < at.nodes; node++) {
    const held = m.get(at.held + node);
    if (!m.runs(node) || held === 0 || held !== m.get(at.current) || !clean(m, node)) continue;
    m.begin();
    m.spend('release');
    m.put(at.releaseTold, 1);
    if (m.guards['release-stopped']) {
      m.put(at.group + node, GROUP.down);
      m.forget(node);
    }
    m.take(RELEASES, node, 0, held);
  }
};

/** O5: granted again what it has had and lost, it gives that back, on the same conditions. */
export const giveBack: Rule = (m) => {
  const { at } = m;
  const current = m.get(at.current);
  const node = m.get(at.owner + current);
  if (m.left('release') === 0 || m.get(at.living) === 0 || !m.runs(node)) return;
  if (m.get(at.held + node) !== 0 || m.get(at.highest + node) !== 2 * current || !clean(m, node)) return;
  m.begin();
  m.spend('release');
  m.put(at.releaseTold, 1);
  m.take(GIVES_BACK, node, 0, current);
};
