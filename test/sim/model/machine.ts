/** One step of the model: a state that is left, a state that is being made, and what rules ask of both. */
import type { Bounds } from './bounds.ts';
import { FAULTS, type Fault } from './bounds.ts';
import type { Guards } from './guards.ts';
import { AGENT, GROUP, Layout, NONE } from './layout.ts';
import type { Move } from './moves.ts';

export interface Taken {
  readonly move: Move;
  /** Who moves, whom (or which version of the voters) it concerns, which epoch, and a set of nodes or a number; in the names of the state that is left. */
  readonly node: number;
  readonly other: number;
  readonly epoch: number;
  readonly extra: number;
}

/** A rule reads `from`, and for each way in which it can be applied calls `begin`, changes `to`, and calls `take`. */
export type Rule = (machine: Machine) => void;

export class Machine {
  readonly bounds: Bounds;
  readonly guards: Guards;
  readonly at: Layout;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** Every node. */
  readonly all: number;
  /** How long an owner may count on a lease or a promise, at most. */
  readonly L: number;
  /** How long the coordinator and a promise wait, at least. */
  readonly takeover: number;
  readonly promiseLength: number;
  readonly quarantineLength: number;
  /** Messages that only lengthen a lease are delivered at once (docs/model.md); not where a mutant makes lateness matter. */
  readonly eager: boolean;
  /** Grants that were not followed because every place for an epoch was taken. */
  untried = 0;
  /** Called for every step that a rule takes; `to` then holds the raw next state. */
  onTaken: (move: Move, node: number, other: number, epoch: number, extra: number) => void = () => {};

  constructor(bounds: Bounds, guards: Guards, reduced = true) {
    this.bounds = bounds;
    this.guards = guards;
    this.at = new Layout(bounds);
    this.from = new Uint8Array(this.at.size);
    this.to = new Uint8Array(this.at.size);
    this.all = (1 << bounds.nodes) - 1;
    this.L = bounds.lease;
    this.takeover = bounds.lease - (guards['takeover-length'] ? 0 : 1);
    this.promiseLength = bounds.lease - (guards['promise-length'] ? 0 : 1);
    this.quarantineLength = bounds.lease - (guards['quarantine-length'] ? 0 : 1);
    this.eager = reduced && guards['send-time'] && guards['request-ids'] && guards['lost-is-lost'];
  }

  /** Of the state that is left. */
  get(place: number): number {
    return this.from[place] ?? 0;
  }

  /** Of the state that is being made. */
  next(place: number): number {
    return this.to[place] ?? 0;
  }

  put(place: number, value: number): void {
    this.to[place] = value;
  }

  begin(): void {
    this.to.set(this.from);
  }

  take(move: Move, node = 0, other = 0, epoch = 0, extra = 0): void {
    this.onTaken(move, node, other, epoch, extra);
  }

  votersOf(state: Uint8Array, epoch: number, version: number): number {
    return state[this.at.voters + epoch * this.at.versions + version] ?? 0;
  }

  /** O1: what an answer is worth to an owner who sent the request so long ago. */
  worth(age: number): number {
    if (age === NONE) return 0;
    if (!this.guards['send-time']) return this.L;
    return age < this.L ? this.L - age : 0;
  }

  /** O2: what remains by the promises of all other voters; a sole voter needs none. */
  byPromises(state: Uint8Array, node: number): number {
    const { at } = this;
    const others = this.votersOf(state, state[at.held + node] ?? 0, state[at.version + node] ?? 0) & ~(1 << node);
    let least = NONE;
    let most = 0;
    for (let other = 0; other < at.nodes; other++) {
      if (((others >> other) & 1) === 0) continue;
      const left = state[at.got + node * at.nodes + other] ?? 0;
      if (left < least) least = left;
      if (left > most) most = left;
    }
    if (least === NONE) return NONE;
    return this.guards['all-voters'] ? least : most;
  }

  /** Does this node hold a lease that still runs? */
  valid(state: Uint8Array, node: number): boolean {
    const { at } = this;
    if (state[at.held + node] === 0 || state[at.lost + node] !== 0) return false;
    return (state[at.lease + node] ?? 0) > 0 || this.byPromises(state, node) > 0;
  }

  runs(node: number): boolean {
    return this.from[this.at.agent + node] === AGENT.running;
  }

  /** Uses one of the fault's budget in the state that is being made. Call after `begin`. */
  spend(fault: Fault): void {
    const place = this.at.budget + FAULTS.indexOf(fault);
    this.put(place, this.next(place) - 1);
  }

  left(fault: Fault): number {
    return this.get(this.at.budget + FAULTS.indexOf(fault));
  }

  /** The lease is over at this node, and nothing of it is remembered but the highest epoch. */
  forget(node: number): void {
    const { at } = this;
    this.put(at.held + node, 0);
    this.put(at.lost + node, 0);
    this.put(at.version + node, 0);
    this.put(at.lease + node, 0);
    this.put(at.ask + node, NONE);
    for (let other = 0; other < at.nodes; other++) {
      this.put(at.got + node * at.nodes + other, 0);
      this.put(at.answer + node * at.nodes + other, NONE);
    }
  }

  /** alice owns the first epoch, runs the group, and has been confirmed. */
  initial(): void {
    const { at, bounds } = this;
    this.to.fill(0);
    for (let n = 0; n < at.nodes; n++) {
      this.put(at.claim + n, NONE);
      this.put(at.ask + n, NONE);
      for (let other = 0; other < at.nodes; other++) this.put(at.answer + n * at.nodes + other, NONE);
    }
    this.to.fill(NONE, at.reply, at.reply + (at.epochs + 1) * at.versions);
    this.to.fill(NONE, at.request, at.request + at.versions);
    this.put(at.group, GROUP.up);
    this.put(at.held, 1);
    this.put(at.lease, this.L);
    this.put(at.highest, 2);
    this.put(at.voters + at.versions, (1 << bounds.voters) - 1);
    this.put(at.current, 1);
    this.put(at.confirmed, 1);
    this.put(at.base, this.all);
    this.put(at.wait, this.takeover);
    this.put(at.seen, this.takeover);
    this.put(at.doubt, NONE);
    this.put(at.doubtSeen, NONE);
    this.put(at.living, 1);
    this.put(at.clean, 1);
    this.put(at.started, 1);
    FAULTS.forEach((fault, index) => {
      this.put(at.budget + index, bounds.faults[fault]);
    });
  }
}
