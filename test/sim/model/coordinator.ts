/** What the coordinator does with what reaches it (C1–C6, proof of death). */
import { AGENT, CAUSE, NONE } from './layout.ts';
import type { Machine, Rule } from './machine.ts';
import { moveOf } from './moves.ts';

const RENEWS = moveOf('renews');
const GRANTS = moveOf('grants');
const GRANTS_DEAD = moveOf('grants to a dead incarnation');
const REPEATS = moveOf('repeats the grant');
const HEARS_RELEASE = moveOf('hears the release');
const RENEWS_OLD = moveOf('renews an old epoch');
const STALE_RENEWS = moveOf('stale instance renews');
const GRANTS_AND_FORGETS = moveOf('grants and forgets');

/** Version that goes with every answer: the pending one, or the one in force. */
function newest(m: Machine): number {
  return m.get(m.at.inForce) + m.get(m.at.pending);
}

/** The wait of C2 starts anew on both clocks, and no doubt remains. */
function renewed(m: Machine, clearsDoubt: boolean): void {
  const { at } = m;
  m.put(at.wait, m.takeover);
  m.put(at.seen, m.takeover);
  if (!clearsDoubt) return;
  m.put(at.doubt, NONE);
  m.put(at.doubtSeen, NONE);
}

function answer(m: Machine, epoch: number, version: number, age: number): void {
  const place = m.at.reply + epoch * m.at.versions + version;
  if (age < m.next(place)) m.put(place, age);
}

/** C1, C3, C6. The owner's request may be of an incarnation that has ended meanwhile: nobody can know. */
export const renew: Rule = (m) => {
  const { at } = m;
  if (m.get(at.released) !== 0 || m.get(at.proven) !== 0) return;
  const epoch = m.get(at.current);
  for (let version = 0; version < at.versions; version++) {
    const age = m.get(at.request + version);
    if (age === NONE) continue;
    m.begin();
    renewed(m, m.guards['doubt-cleared']);
    if (m.get(at.confirmed) === 0) {
      m.put(at.confirmed, 1);
      m.put(at.confirmedWait, m.takeover);
    }
    if (m.get(at.cleanTold) !== 0) m.put(at.clean, 1);
    if (m.get(at.pending) !== 0 && version === newest(m)) {
      m.put(at.inForce, version);
      m.put(at.pending, 0);
    }
    if (m.get(at.living) !== 0) answer(m, epoch, newest(m), age);
    m.take(RENEWS, m.get(at.owner + epoch), version, epoch, age);
  }
};

/** C2, C3, C6: the nodes that may be granted the lease. */
export function eligible(m: Machine): number {
  const { at } = m;
  if (!m.guards.eligible || m.get(at.released) !== 0) return m.all;
  const confirmed = m.get(at.confirmed) !== 0 || !m.guards.confirm;
  if (m.get(at.proven) !== 0 && (confirmed || !m.guards['proof-base'])) return m.all;
  const epoch = m.get(at.current);
  const inForce = m.votersOf(m.from, epoch, m.get(at.inForce));
  const pending = m.get(at.pending) === 0 ? inForce : m.votersOf(m.from, epoch, m.get(at.inForce) + 1);
  const old = m.guards['current-voters'] ? inForce : pending;
  const now = m.guards['pending-voters'] ? pending : inForce;
  return old & now & (confirmed ? m.all : m.get(at.base));
}

/** C2: is the lease free? */
function free(m: Machine): boolean {
  const { at } = m;
  if (m.get(at.released) !== 0 || m.get(at.proven) === 2) return true;
  if (m.guards['wait-coordinator'] && m.get(at.wait) > 0) return false;
  return !(m.guards['wait-claimant'] && m.get(at.seen) > 0);
}

/** C2: a claim arrives. One of a node that holds a lease by now, or of an incarnation that has ended, is a claim all the same. */
export const hearClaim: Rule = (m) => {
  const { at } = m;
  const current = m.get(at.current);
  for (let node = 0; node < at.nodes; node++) {
    const age = m.get(at.claim + node);
    const owns = m.get(at.owner + current) === node && m.get(at.released) === 0 && m.get(at.proven) === 0;
    if (age !== NONE) {
      if (owns && (m.get(at.living) !== 0 || !m.guards.incarnation)) repeat(m, node, current, age);
      else grantTo(m, node, age);
    }
    if (m.bounds.strict) continue;
    if (m.get(at.oldClaim + node) !== 0 && !(owns && m.get(at.living) === 0)) grantTo(m, node, NONE);
  }
};

function repeat(m: Machine, node: number, epoch: number, age: number): void {
  const { at } = m;
  m.begin();
  if (m.guards['repeat-renews']) renewed(m, true);
  m.put(at.living, 1);
  answer(m, epoch, newest(m), age);
  m.take(REPEATS, node, 0, epoch, age);
}

/** @param age of the claim; NONE: of an incarnation that has ended. Any set of voters that contains the owner may be chosen. */
function grantTo(m: Machine, node: number, age: number): void {
  const { at } = m;
  if (!free(m) || ((eligible(m) >> node) & 1) === 0) return;
  if (highestPlace(m) === at.epochs) {
    m.untried += 1;
    return;
  }
  for (let voters = 1; voters <= m.all; voters++) {
    if (((voters >> node) & 1) === 0) continue;
    grant(m, node, voters, age);
    m.take(
      age === NONE ? GRANTS_DEAD : GRANTS,
      node,
      voters,
      m.next(at.current),
      m.next(at.cause + m.next(at.current)),
    );
    if (!m.guards['output-gate'] && m.left('coordinator') > 0 && age !== NONE) grantUnwritten(m, node, voters, age);
  }
}

/** Highest place among the epochs that is taken; above the current one only if an answer left before its write. */
function highestPlace(m: Machine): number {
  const { at } = m;
  let highest = m.get(at.current);
  for (let epoch = highest + 1; epoch <= at.epochs; epoch++) if (m.votersOf(m.from, epoch, 0) !== 0) highest = epoch;
  return highest;
}

function grant(m: Machine, node: number, voters: number, age: number): void {
  const { at } = m;
  m.begin();
  const base = m.guards.confirm ? eligible(m) : m.all;
  const epoch = highestPlace(m) + 1;
  m.put(at.current, epoch);
  m.put(at.owner + epoch, node);
  m.put(at.cause + epoch, m.get(at.released) !== 0 ? CAUSE.release : m.get(at.proven) !== 0 ? CAUSE.proof : CAUSE.wait);
  m.put(at.voters + epoch * at.versions, voters);
  m.put(at.reply + epoch * at.versions, age);
  m.to.fill(NONE, at.request, at.request + at.versions);
  for (const place of [at.cleanTold, at.releaseTold, at.inForce, at.pending, at.confirmed, at.released, at.proven])
    m.put(place, 0);
  m.put(at.confirmedWait, 0);
  m.put(at.clean, 0);
  m.put(at.base, base);
  m.put(at.living, age === NONE ? 0 : 1);
  renewed(m, true);
}

/** The mutant of the output gate: the answer leaves, and the instance dies before its write. */
function grantUnwritten(m: Machine, node: number, voters: number, age: number): void {
  const { at } = m;
  m.begin();
  m.spend('coordinator');
  const epoch = highestPlace(m) + 1;
  m.put(at.owner + epoch, node);
  m.put(at.cause + epoch, CAUSE.wait);
  m.put(at.voters + epoch * at.versions, voters);
  m.put(at.reply + epoch * at.versions, age);
  restartWaits(m);
  m.take(GRANTS_AND_FORGETS, node, voters, epoch);
}

/** C4. With `doubt` set, the wait goes on from there, and claimants know it by the same name. */
export function restartWaits(m: Machine): void {
  const { at } = m;
  if (m.get(at.released) !== 0 || m.get(at.proven) !== 0) return;
  if (!m.guards['restart-doubt']) {
    m.put(at.wait, 0);
    m.put(at.seen, 0);
  } else if (m.get(at.doubt) === NONE) {
    for (const place of [at.wait, at.seen, at.doubt, at.doubtSeen]) m.put(place, m.takeover);
  } else {
    m.put(at.wait, m.get(at.doubt));
    m.put(at.seen, m.get(at.doubtSeen));
  }
}

/** O5, C2: then V is everyone in `on`. */
export const hearRelease: Rule = (m) => {
  const { at } = m;
  if (m.get(at.releaseTold) === 0 || m.get(at.released) !== 0 || m.get(at.proven) !== 0) return;
  m.begin();
  m.put(at.released, 1);
  m.take(HEARS_RELEASE, m.get(at.owner + m.get(at.current)), 0, m.get(at.current));
};

/** Mutants of C1 and C5: an owner of an epoch that is over is answered. */
export const renewWrongly: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    const epoch = m.get(at.held + node);
    if (epoch === 0 || m.get(at.agent + node) !== AGENT.running || m.get(at.lost + node) !== 0) continue;
    const stale = !m.guards['one-instance'] && epoch === m.get(at.stale);
    const old = !m.guards['renew-match'] && epoch < m.get(at.current);
    if (!stale && !old) continue;
    m.begin();
    answer(m, epoch, m.get(at.version + node), 0);
    m.take(stale ? STALE_RENEWS : RENEWS_OLD, node, 0, epoch);
  }
};
