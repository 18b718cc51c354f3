/**
 * One state of the model as a row of bytes, and where each variable stands in it.
 *
 * Deadlines and waits are countdowns in ticks of true time, messages under way are the age of the request that they answer (the youngest
 * copy stands for all, see docs/model.md), sets of nodes are bit masks, epochs are ranks among the epochs that still matter to anyone.
 */
import { type Bounds, FAULTS } from './bounds.ts';

/** No message under way; no wait on record. */
export const NONE = 255;

export const AGENT = { running: 0, paused: 1, dead: 2, off: 3 } as const;
export const GROUP = { down: 0, starting: 1, up: 2 } as const;
/** What freed the lease for the grant of an epoch. */
export const CAUSE = { wait: 0, release: 1, proof: 2 } as const;

export class Layout {
  #next = 0;
  readonly nodes: number;
  readonly epochs: number;
  /** Sets of voters that an epoch may have had. */
  readonly versions: number;

  // by node
  readonly agent: number;
  readonly group: number;
  /** Epoch of the lease held here; 0: none. */
  readonly held: number;
  /** It was not extended in time: no more than given back. */
  readonly lost: number;
  /** Newest version of the voters that the holder knows. */
  readonly version: number;
  /** What remains of the lease by the coordinator's answers. */
  readonly lease: number;
  /** [holder, voter] what remains of the lease by this voter's promise. */
  readonly got: number;
  /** What remains of a promise given here, and its highest epoch. */
  readonly promise: number;
  readonly promised: number;
  /** Twice the highest epoch seen, on disk; odd: just below the epoch of which this is half, rounded up. */
  readonly highest: number;
  readonly quarantine: number;
  /** Only with a mutant: the fuse is late by so many ticks; NONE: it will never fire. */
  readonly late: number;
  /** Messages: claim of the living incarnation, of a dead one, the holder's request for promises, [holder, voter] the answer. */
  readonly claim: number;
  readonly oldClaim: number;
  readonly ask: number;
  readonly answer: number;

  // by epoch
  readonly owner: number;
  readonly cause: number;
  /** [epoch, version] voters, and the coordinator's answer under way. */
  readonly voters: number;
  readonly reply: number;

  // the current epoch's messages to the coordinator: [version] renewal, one of them told that it is clean, release
  readonly request: number;
  readonly cleanTold: number;
  readonly releaseTold: number;

  // the coordinator
  readonly current: number;
  /** Version in force, and whether the next is pending. */
  readonly inForce: number;
  readonly pending: number;
  readonly confirmed: number;
  /** Eligible base. */
  readonly base: number;
  /** T_C by the coordinator's clock, in memory. */
  readonly wait: number;
  /** T_C since suspectSince, durable; NONE: not suspect. And since when claimants know that doubt by its name. */
  readonly doubt: number;
  readonly doubtSeen: number;
  /** T_C by the clocks of claimants, since the newest renewal was told. */
  readonly seen: number;
  /** The lease's incarnation is the owner's living one. */
  readonly living: number;
  readonly released: number;
  /** The owner is proven dead: 1 free after the wait, 2 free at once. */
  readonly proven: number;
  /** What is missing to a confirmation that is T_C old, by the coordinator's clock. */
  readonly confirmedWait: number;
  /** The owner has told in this epoch that no promise and no quarantine runs there. */
  readonly clean: number;
  /** Only with a mutant: epoch that a replaced instance goes on renewing. */
  readonly stale: number;
  /** Highest epoch in which the group was ever up. */
  readonly started: number;

  /** What is left of each fault's budget, in the order of FAULTS. */
  readonly budget: number;
  readonly size: number;

  constructor(bounds: Bounds) {
    const n = bounds.nodes;
    this.nodes = n;
    this.epochs = bounds.epochs;
    this.versions = 1 + bounds.faults.voters;
    const byEpoch = this.epochs + 1;
    this.agent = this.#take(n);
    this.group = this.#take(n);
    this.held = this.#take(n);
    this.lost = this.#take(n);
    this.version = this.#take(n);
    this.lease = this.#take(n);
    this.got = this.#take(n * n);
    this.promise = this.#take(n);
    this.promised = this.#take(n);
    this.highest = this.#take(n);
    this.quarantine = this.#take(n);
    this.late = this.#take(n);
    this.claim = this.#take(n);
    this.oldClaim = this.#take(n);
    this.ask = this.#take(n);
    this.answer = this.#take(n * n);
    this.owner = this.#take(byEpoch);
    this.cause = this.#take(byEpoch);
    this.voters = this.#take(byEpoch * this.versions);
    this.reply = this.#take(byEpoch * this.versions);
    this.request = this.#take(this.versions);
    this.cleanTold = this.#take(1);
    this.releaseTold = this.#take(1);
    this.current = this.#take(1);
    this.inForce = this.#take(1);
    this.pending = this.#take(1);
    this.confirmed = this.#take(1);
    this.base = this.#take(1);
    this.wait = this.#take(1);
    this.doubt = this.#take(1);
    this.doubtSeen = this.#take(1);
    this.seen = this.#take(1);
    this.living = this.#take(1);
    this.released = this.#take(1);
    this.proven = this.#take(1);
    this.confirmedWait = this.#take(1);
    this.clean = this.#take(1);
    this.stale = this.#take(1);
    this.started = this.#take(1);
    this.budget = this.#take(FAULTS.length);
    this.size = (this.#next + 3) & ~3;
  }

  #take(bytes: number): number {
    const place = this.#next;
    this.#next += bytes;
    return place;
  }
}
