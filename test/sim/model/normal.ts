/**
 * Brings a state into its normal form, so that states that differ in nothing that can ever matter are one state.
 * Each step is argued in docs/model.md.
 */
import { FAULTS } from './bounds.ts';
import { AGENT, NONE } from './layout.ts';
import type { Machine } from './machine.ts';
import { adoptable } from './owner.ts';

const PROOF = FAULTS.indexOf('proof');
const COORDINATOR = FAULTS.indexOf('coordinator');
const VOTERS = FAULTS.indexOf('voters');

/** Who runs says all the time what it has to say: a request or a claim that is never sent is one that is lost. */
function sendAlways(m: Machine): void {
  const { at } = m;
  const current = m.next(at.current);
  for (let node = 0; node < at.nodes; node++) {
    if (m.next(at.agent + node) !== AGENT.running) continue;
    const held = m.next(at.held + node);
    if (held === 0) m.put(at.claim + node, 0);
    else if (m.next(at.lost + node) === 0) {
      m.put(at.ask + node, 0);
      if (held !== current) continue;
      m.put(at.request + m.next(at.version + node), 0);
      if (m.next(at.promise + node) === 0 && m.next(at.quarantine + node) === 0) m.put(at.cleanTold, 1);
    }
  }
}

/** What only lengthens a lease of a running agent is delivered at once. */
function deliver(m: Machine): void {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) {
    const held = m.next(at.held + node);
    if (held === 0 || m.next(at.lost + node) !== 0 || m.next(at.agent + node) !== AGENT.running) continue;
    for (let other = 0; other < at.nodes; other++) {
      const place = node * at.nodes + other;
      const worth = m.worth(m.next(at.answer + place));
      if (worth > m.next(at.got + place)) m.put(at.got + place, worth);
    }
    for (let version = 0; version < at.versions; version++) {
      const worth = m.worth(m.next(at.reply + held * at.versions + version));
      if (worth > m.next(at.lease + node)) m.put(at.lease + node, worth);
    }
  }
}

/** Messages and memories that nobody can act upon any more. */
function dropUseless(m: Machine): void {
  const { at } = m;
  for (let node = 0; node < at.nodes; node++) dropOfNode(m, node);
  for (let epoch = 1; epoch <= at.epochs; epoch++)
    for (let version = 0; version < at.versions; version++) {
      const place = at.reply + epoch * at.versions + version;
      if (m.next(place) === NONE) continue;
      if (!usefulReply(m, epoch, version, m.next(place))) m.put(place, NONE);
      else if (onlyTeaches(m, epoch, m.next(place))) m.put(place, m.L);
    }
  for (let version = 0; version < at.versions; version++) {
    // a newer version at least as young does all that this one does, and completes the change as well
    const place = at.request + version;
    for (let newer = version + 1; newer < at.versions; newer++)
      if (m.next(place) !== NONE && m.next(at.request + newer) <= m.next(place)) m.put(place, NONE);
  }
  dropOfCoordinator(m);
}

function dropOfNode(m: Machine, node: number): void {
  const { at } = m;
  const held = m.next(at.held + node);
  const live = held !== 0 && (m.next(at.lost + node) === 0 || !m.guards['lost-is-lost']);
  // a node that may come to vote may have promised before
  let asked = live && held === m.next(at.current) && m.next(at.budget + VOTERS) > 0 ? m.all : 0;
  if (live)
    for (let version = m.next(at.version + node); version < at.versions; version++)
      asked |= m.votersOf(m.to, held, version);
  if (!live) m.put(at.ask + node, NONE);
  if (!live) m.put(at.lease + node, 0);
  if (m.next(at.ask + node) !== NONE && m.worth(m.next(at.ask + node)) === 0) m.put(at.ask + node, NONE);
  for (let other = 0; other < at.nodes; other++) {
    const place = node * at.nodes + other;
    if (other === node || ((asked >> other) & 1) === 0) m.put(at.got + place, 0);
    const answer = m.next(at.answer + place);
    if (answer === NONE) continue;
    if (((asked >> other) & 1) === 0 || m.worth(answer) <= m.next(at.got + place)) m.put(at.answer + place, NONE);
  }
}

function usefulReply(m: Machine, epoch: number, version: number, age: number): boolean {
  const { at } = m;
  const node = m.next(at.owner + epoch);
  if (m.next(at.held + node) !== epoch) return adoptable(m, m.to, node, epoch, age);
  if (m.next(at.lost + node) !== 0 && m.guards['lost-is-lost']) return false;
  return version > m.next(at.version + node) || m.worth(age) > m.next(at.lease + node);
}

function dropOfCoordinator(m: Machine): void {
  const { at } = m;
  const released = m.next(at.released) !== 0;
  const proven = m.next(at.proven);
  if (released || proven === 2) for (const place of [at.wait, at.seen]) m.put(place, 0);
  if (released) for (const place of [at.living, at.inForce, at.pending, at.proven]) m.put(place, 0);
  if (released) m.put(at.confirmed, 1);
  if (released || proven !== 0) {
    m.to.fill(NONE, at.request, at.request + at.versions);
    for (const place of [at.clean, at.cleanTold, at.releaseTold, at.confirmedWait]) m.put(place, 0);
  }
  const proofs = m.next(at.budget + PROOF) > 0;
  if (!proofs || !m.guards['proof-clean']) for (const place of [at.clean, at.cleanTold]) m.put(place, 0);
  if (!proofs || m.guards['proof-clean'] || m.next(at.confirmed) === 0) m.put(at.confirmedWait, 0);
  if (released || proven !== 0 || m.next(at.budget + COORDINATOR) === 0)
    for (const place of [at.doubt, at.doubtSeen]) m.put(place, NONE);
  if (m.next(at.confirmed) !== 0) m.put(at.base, m.all);
}

/** An answer that is worth no more than what its holder has: it tells of new voters, and how old it is does not matter any more. */
function onlyTeaches(m: Machine, epoch: number, age: number): boolean {
  const { at, guards } = m;
  const node = m.next(at.owner + epoch);
  if (!m.eager || !guards['release-final'] || m.next(at.held + node) !== epoch) return false;
  return m.next(at.lost + node) === 0 && m.worth(age) <= m.next(at.lease + node);
}

/** Does anyone still hold this epoch, or may take it up? */
function matters(m: Machine, epoch: number): boolean {
  const { at } = m;
  if (epoch === m.next(at.current) || epoch === m.next(at.stale)) return true;
  for (let node = 0; node < at.nodes; node++) if (m.next(at.held + node) === epoch) return true;
  for (let version = 0; version < at.versions; version++)
    if (m.next(at.reply + epoch * at.versions + version) !== NONE) return true;
  return false;
}

/** Clears versions of the voters that nobody can refer to. */
function dropVersions(m: Machine, epoch: number): void {
  const { at } = m;
  const owner = m.next(at.owner + epoch);
  const holds = m.next(at.held + owner) === epoch;
  const current = epoch === m.next(at.current) && m.next(at.released) === 0;
  for (let version = 0; version < at.versions; version++) {
    const replied = m.next(at.reply + epoch * at.versions + version) !== NONE;
    const known = m.next(at.version + owner);
    const held = holds && (m.guards['guard-keeps-voters'] ? version === known : version <= known);
    const counted = current && version >= m.next(at.inForce) && version <= m.next(at.inForce) + m.next(at.pending);
    const asked = epoch === m.next(at.current) && m.next(at.request + version) !== NONE;
    if (!replied && !held && !counted && !asked) m.put(at.voters + epoch * at.versions + version, 0);
  }
}

/** Epochs keep their order and lose their numbers: those that matter to nobody make room, so takeovers are not bounded. */
export class Ranks {
  /** Of the last state: old number → new number; 0: forgotten. */
  readonly rank: Uint8Array;

  constructor(epochs: number) {
    this.rank = new Uint8Array(epochs + 1);
  }

  apply(m: Machine): void {
    const { at } = m;
    const { rank } = this;
    let next = 0;
    let moved = false;
    for (let epoch = 1; epoch <= at.epochs; epoch++) {
      const exists = m.votersOf(m.to, epoch, 0) !== 0 || matters(m, epoch);
      const stays = exists && matters(m, epoch);
      rank[epoch] = stays ? ++next : 0;
      if (stays) dropVersions(m, epoch);
      if (rank[epoch] !== epoch) moved = true;
    }
    if (!moved) return;
    this.#renumberNodes(m, next);
    for (let epoch = 1; epoch <= at.epochs; epoch++) {
      const to = rank[epoch] ?? 0;
      if (to !== 0 && to !== epoch) moveEpoch(m, epoch, to);
    }
    for (let epoch = next + 1; epoch <= at.epochs; epoch++) clearEpoch(m, epoch);
    m.put(at.current, rank[m.next(at.current)] ?? 0);
    m.put(at.stale, rank[m.next(at.stale)] ?? 0);
  }

  #renumberNodes(m: Machine, last: number): void {
    const { at } = m;
    for (let node = 0; node < at.nodes; node++) {
      m.put(at.held + node, this.rank[m.next(at.held + node)] ?? 0);
      m.put(at.highest + node, this.#highest(m.next(at.highest + node)));
      // compared as `promised < epoch`: the next below says the same
      m.put(at.promised + node, this.#below(m.next(at.promised + node)));
    }
    // compared as `epoch < started`: the next epoch above that still matters says the same
    m.put(at.started, this.#above(m.next(at.started), last));
  }

  /** Between two epochs that matter: just below the higher of them. */
  #highest(twice: number): number {
    const epoch = (twice + 1) >> 1;
    const exact = this.rank[epoch] ?? 0;
    if (twice === 2 * epoch && exact !== 0) return 2 * exact;
    const above = this.#above(epoch, 0);
    return above === 0 ? 0 : 2 * above - 1;
  }

  #above(epoch: number, last: number): number {
    for (let higher = epoch; higher > 0 && higher < this.rank.length; higher++) {
      const to = this.rank[higher] ?? 0;
      if (to !== 0) return to;
    }
    return epoch === 0 ? 0 : last;
  }

  #below(epoch: number): number {
    for (let lower = epoch; lower > 0; lower--) {
      const to = this.rank[lower] ?? 0;
      if (to !== 0) return to;
    }
    return 0;
  }
}

function moveEpoch(m: Machine, from: number, to: number): void {
  const { at } = m;
  m.put(at.owner + to, m.next(at.owner + from));
  m.put(at.cause + to, m.next(at.cause + from));
  for (let version = 0; version < at.versions; version++)
    for (const row of [at.voters, at.reply])
      m.put(row + to * at.versions + version, m.next(row + from * at.versions + version));
}

function clearEpoch(m: Machine, epoch: number): void {
  const { at } = m;
  m.put(at.owner + epoch, 0);
  m.put(at.cause + epoch, 0);
  for (let version = 0; version < at.versions; version++) {
    m.put(at.voters + epoch * at.versions + version, 0);
    m.put(at.reply + epoch * at.versions + version, NONE);
  }
}

export function normalise(m: Machine, ranks: Ranks): void {
  sendAlways(m);
  if (m.eager) deliver(m);
  dropUseless(m);
  ranks.apply(m);
}
