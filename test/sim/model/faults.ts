/** What goes wrong, and what people do; each within its budget. What follows a fault (resuming, booting) may happen at any time, or never. */
import { restartWaits } from './coordinator.ts';
import { AGENT, GROUP, NONE } from './layout.ts';
import type { Machine, Rule } from './machine.ts';
import { moveOf } from './moves.ts';

const PAUSES = moveOf('pauses');
const RESUMES = moveOf('resumes');
const FIRES_EARLY = moveOf('fuse fires early');
const CRASHES = moveOf('crashes');
const RESTARTS = moveOf('agent starts again');
const LOSES_POWER = moveOf('loses power');
const BOOTS = moveOf('boots');
const LOSES_GUARD = moveOf('loses its guard');
const COORDINATOR_RESTARTS = moveOf('coordinator restarts');
const CLOCK_FORWARD = moveOf('clock forward');
const CLOCK_BACK = moveOf('clock back');
const CHANGES_VOTERS = moveOf('changes voters');
const PROVEN_DEAD = moveOf('is proven dead');
const CLOCK_FAST = moveOf('clock is fast');
const CLOCK_SLOW = moveOf('clock is slow');

export const pauses: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.left('pause') === 0 || !m.runs(node)) continue;
    m.begin();
    m.spend('pause');
    m.put(at.agent + node, AGENT.paused);
    m.take(PAUSES, node);
  }
};

export const resumes: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.get(at.agent + node) !== AGENT.paused) continue;
    m.begin();
    m.put(at.agent + node, AGENT.running);
    m.put(at.late + node, 0);
    if (m.get(at.lost + node) !== 0 && m.get(at.group + node) === GROUP.up) m.put(at.group + node, GROUP.down);
    m.take(RESUMES, node);
  }
};

/** The guard knows the deadline of the moment and may be early by its clock; it kills the agent first. */
export const fires: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    const agent = m.get(at.agent + node);
    if (!m.guards.fuse || m.get(at.group + node) === GROUP.down || m.get(at.held + node) === 0) continue;
    if (agent !== AGENT.paused && agent !== AGENT.dead) continue;
    m.begin();
    blow(m, node);
    m.take(FIRES_EARLY, node, 0, m.get(at.held + node));
  }
};

export function blow(m: Machine, node: number): void {
  const { at } = m;
  m.put(at.group + node, GROUP.down);
  m.put(at.lost + node, 1);
  m.put(at.late + node, 0);
  if (m.next(at.agent + node) !== AGENT.dead) die(m, node);
}

/** The process is gone; what it had sent may still arrive, but nobody knows the ids any more. */
function die(m: Machine, node: number): void {
  const { at } = m;
  m.put(at.agent + node, AGENT.dead);
  m.put(at.ask + node, NONE);
  if (m.guards['request-ids']) forgetRequests(m, node);
  outdateRequests(m, node);
}

/** Answers under way are worth nothing to the next process. */
function forgetRequests(m: Machine, node: number): void {
  const { at } = m;
  for (let other = 0; other < at.nodes; other++) m.put(at.answer + node * at.nodes + other, NONE);
  for (let epoch = 1; epoch <= at.epochs; epoch++)
    if (m.next(at.owner + epoch) === node)
      m.to.fill(NONE, at.reply + epoch * at.versions, at.reply + (epoch + 1) * at.versions);
}

/** Requests under way may still be carried out, their answers are worth nothing. */
function outdateRequests(m: Machine, node: number): void {
  const { at } = m;
  const age = m.guards['request-ids'] ? m.L : 0;
  if (m.next(at.claim + node) !== NONE) m.put(at.claim + node, age);
  if (m.next(at.owner + m.next(at.current)) !== node) return;
  for (let version = 0; version < at.versions; version++)
    if (m.next(at.request + version) !== NONE) m.put(at.request + version, age);
}

export const crashes: Rule = (m) => {
  for (let node = 0; node < m.at.nodes; node++) {
    if (m.left('crash') === 0 || !m.runs(node)) continue;
    m.begin();
    m.spend('crash');
    die(m, node);
    m.take(CRASHES, node);
  }
};

/** The next agent finds in the guard what the one before had: it is the same incarnation. */
export const startsAgain: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.get(at.agent + node) !== AGENT.dead) continue;
    m.begin();
    m.put(at.agent + node, AGENT.running);
    if (!m.guards['guard-keeps-promise']) {
      m.put(at.promise + node, 0);
      m.put(at.promised + node, 0);
    }
    if (!m.guards['guard-keeps-lease']) m.forget(node);
    if (!m.guards['guard-keeps-voters']) m.put(at.version + node, 0);
    if (!m.guards['request-ids']) creditOldAnswers(m, node);
    m.take(RESTARTS, node);
  }
};

/** Mutant: the new process uses the same ids again, and takes old answers for answers to its own requests. */
function creditOldAnswers(m: Machine, node: number): void {
  const { at } = m;
  for (let other = 0; other < at.nodes; other++) {
    const place = at.answer + node * at.nodes + other;
    if (m.next(place) !== NONE) m.put(place, 0);
  }
  for (let epoch = 1; epoch <= at.epochs; epoch++) {
    if (m.next(at.owner + epoch) !== node) continue;
    for (let version = 0; version < at.versions; version++) {
      const place = at.reply + epoch * at.versions + version;
      if (m.next(place) !== NONE) m.put(place, 0);
    }
  }
}

/** P3: this incarnation is over. The coordinator does not know. */
function endIncarnation(m: Machine, node: number): void {
  const { at } = m;
  m.forget(node);
  m.put(at.promise + node, 0);
  m.put(at.promised + node, 0);
  m.put(at.late + node, 0);
  if (!m.guards['highest-durable']) m.put(at.highest + node, 0);
  if (m.guards.incarnation || m.guards['request-ids']) forgetRequests(m, node);
  if (m.get(at.claim + node) !== NONE) m.put(at.oldClaim + node, 1);
  m.put(at.claim + node, NONE);
  if (m.get(at.owner + m.get(at.current)) !== node) return;
  m.put(at.living, 0);
  for (let version = 0; version < at.versions; version++)
    if (m.get(at.request + version) !== NONE) m.put(at.request + version, m.L);
}

export const losesPower: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.left('power') === 0 || m.get(at.agent + node) === AGENT.off) continue;
    m.begin();
    m.spend('power');
    m.put(at.agent + node, AGENT.off);
    m.put(at.group + node, GROUP.down);
    m.put(at.quarantine + node, 0);
    endIncarnation(m, node);
    m.take(LOSES_POWER, node);
  }
};

export const boots: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.get(at.agent + node) !== AGENT.off) continue;
    m.begin();
    m.put(at.agent + node, AGENT.running);
    m.put(at.quarantine + node, m.guards.quarantine ? m.quarantineLength : 0);
    m.take(BOOTS, node);
  }
};

export const losesGuard: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.left('guard') === 0 || !m.runs(node)) continue;
    m.begin();
    m.spend('guard');
    if (m.guards['restart-stops']) m.put(at.group + node, GROUP.down);
    endIncarnation(m, node);
    m.put(at.quarantine + node, m.guards.quarantine ? m.quarantineLength : 0);
    m.take(LOSES_GUARD, node);
  }
};

export const coordinatorRestarts: Rule = (m) => {
  if (m.left('coordinator') === 0) return;
  m.begin();
  m.spend('coordinator');
  restartWaits(m);
  if (!m.guards['one-instance']) m.put(m.at.stale, m.get(m.at.current));
  m.take(COORDINATOR_RESTARTS);
};

export const clockForward: Rule = (m) => {
  const { at } = m;
  if (m.left('clock-forward') === 0) return;
  m.begin();
  m.spend('clock-forward');
  m.put(at.wait, 0);
  m.put(at.confirmedWait, 0);
  if (m.get(at.doubt) !== NONE) m.put(at.doubt, 0);
  m.take(CLOCK_FORWARD);
};

export const clockBack: Rule = (m) => {
  const { at } = m;
  // a proof that is on record counts from its own time, under its own name, which no step of the clock makes younger
  if (m.left('clock-back') === 0 || m.get(at.released) !== 0 || m.get(at.proven) !== 0) return;
  m.begin();
  m.spend('clock-back');
  m.put(at.wait, m.takeover);
  if (m.guards['clock-back']) for (const place of [at.seen, at.doubt, at.doubtSeen]) m.put(place, m.takeover);
  m.take(CLOCK_BACK);
};

/** C3: one change at a time, the owner always among them. */
export const changesVoters: Rule = (m) => {
  const { at } = m;
  if (m.left('voters') === 0 || m.get(at.pending) !== 0 || m.get(at.released) !== 0 || m.get(at.proven) !== 0) return;
  if (m.bounds.strict && m.get(at.confirmed) === 0) return;
  const epoch = m.get(at.current);
  const inForce = m.get(at.inForce);
  if (inForce + 1 >= at.versions) return;
  for (let voters = 1; voters <= m.all; voters++) {
    if (((voters >> m.get(at.owner + epoch)) & 1) === 0 || voters === m.votersOf(m.from, epoch, inForce)) continue;
    m.begin();
    m.spend('voters');
    m.put(at.voters + epoch * at.versions + inForce + 1, voters);
    m.put(at.pending, 1);
    m.take(CHANGES_VOTERS, 0, voters, epoch);
  }
};

/**
 * The word that the owner's machine is off arrives when its incarnation has really ended, perhaps long ago: it may have been switched
 * on again since, as a fence agent does that turns a machine off and on.
 */
export const provenDead: Rule = (m) => {
  const { at } = m;
  if (m.left('proof') === 0 || m.get(at.released) !== 0 || m.get(at.proven) !== 0) return;
  const mayLive = m.get(at.living) !== 0 || (m.bounds.strict && m.runs(m.get(at.owner + m.get(at.current))));
  if (mayLive && m.guards['proof-true']) return;
  m.begin();
  m.spend('proof');
  const sure = m.guards['proof-clean']
    ? m.get(at.clean) !== 0
    : m.get(at.confirmed) !== 0 && m.get(at.confirmedWait) === 0;
  m.put(at.proven, sure || !m.guards['proof-waits'] ? 2 : 1);
  for (const place of [at.wait, at.seen]) m.put(place, m.takeover);
  m.take(PROVEN_DEAD, m.get(at.owner + m.get(at.current)), 0, m.get(at.current), m.next(at.proven));
};

/** Rates differ: what counts down here is not at its worst case. */
export const drifts: Rule = (m) => {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    if (m.left('drift') === 0 || m.get(at.agent + node) === AGENT.off) continue;
    m.begin();
    m.spend('drift');
    for (const place of [at.lease + node, ...leavesOf(m, node)]) m.put(place, Math.max(0, m.get(place) - 1));
    m.take(CLOCK_FAST, node);
    m.begin();
    m.spend('drift');
    for (const place of [at.promise + node, at.quarantine + node])
      if (m.get(place) > 0) m.put(place, Math.min(m.L, m.get(place) + 1));
    m.take(CLOCK_SLOW, node);
  }
};

function leavesOf(m: Machine, node: number): number[] {
  return Array.from({ length: m.at.nodes }, (_, other) => m.at.got + node * m.at.nodes + other);
}
