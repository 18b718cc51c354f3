/**
 * Nodes have no features but their state, so states that differ by the nodes' names alone are one state: the nodes are put in an order
 * that follows from their state. Where two nodes look alike the order is arbitrary, which costs a few duplicates and no soundness.
 */
import type { Machine } from './machine.ts';

export class Symmetry {
  readonly #scratch: Uint8Array;
  readonly #keys: Int32Array;
  /** Of the last state: place in the order → node. */
  readonly order: Uint8Array;
  readonly #place: Uint8Array;
  readonly #masks: Uint8Array;

  constructor(machine: Machine) {
    const { nodes, size } = machine.at;
    this.#scratch = new Uint8Array(size);
    this.#keys = new Int32Array(nodes);
    this.order = new Uint8Array(nodes);
    this.#place = new Uint8Array(nodes);
    this.#masks = new Uint8Array(1 << nodes);
  }

  apply(m: Machine): void {
    const { nodes } = m.at;
    const { order } = this;
    const keys = this.#keys;
    let sorted = true;
    for (let node = 0; node < nodes; node++) {
      const key = keyOf(m, node);
      keys[node] = key;
      let place = node;
      for (; place > 0; place--) {
        const before = order[place - 1] ?? 0;
        if ((keys[before] ?? 0) <= key) break;
        order[place] = before;
        sorted = false;
      }
      order[place] = node;
    }
    if (!sorted) this.#permute(m);
  }

  #permute(m: Machine): void {
    const { at } = m;
    const { order } = this;
    const n = at.nodes;
    const old = this.#scratch;
    old.set(m.to);
    for (let place = 0; place < n; place++) this.#place[order[place] ?? 0] = place;
    for (let mask = 0; mask < 1 << n; mask++) {
      let moved = 0;
      for (let node = 0; node < n; node++) if (((mask >> node) & 1) === 1) moved |= 1 << (this.#place[node] ?? 0);
      this.#masks[mask] = moved;
    }
    for (let row = at.agent; row < at.owner; row += n) {
      const square = row === at.got || row === at.answer;
      for (let place = 0; place < n; place++) {
        const node = order[place] ?? 0;
        if (!square) m.put(row + place, old[row + node] ?? 0);
        else
          for (let other = 0; other < n; other++)
            m.put(row + place * n + other, old[row + node * n + (order[other] ?? 0)] ?? 0);
      }
      if (square) row += n * n - n;
    }
    for (let epoch = 1; epoch <= at.epochs; epoch++) {
      const used = m.next(at.voters + epoch * at.versions) !== 0 || epoch <= m.next(at.current);
      if (used) m.put(at.owner + epoch, this.#place[old[at.owner + epoch] ?? 0] ?? 0);
    }
    for (let place = at.voters; place < at.reply; place++) m.put(place, this.#masks[old[place] ?? 0] ?? 0);
    m.put(at.base, this.#masks[old[at.base] ?? 0] ?? 0);
  }
}

/** Everything of a node that does not depend on the names of others. */
function keyOf(m: Machine, node: number): number {
  const { at } = m;
  const n = at.nodes;
  let key = 0;
  for (let row = at.agent; row < at.owner; row += n) {
    if (row === at.got || row === at.answer) {
      let sum = 0;
      for (let other = 0; other < n; other++)
        sum += (m.next(row + node * n + other) << 4) + m.next(row + other * n + node);
      key = (Math.imul(key, 0x01000193) ^ sum) | 0;
      row += n * n - n;
    } else key = (Math.imul(key, 0x01000193) ^ m.next(row + node)) | 0;
  }
  for (let epoch = 1; epoch <= at.epochs; epoch++) {
    const owns = m.next(at.voters + epoch * at.versions) !== 0 || epoch <= m.next(at.current);
    key = (Math.imul(key, 0x01000193) ^ (owns && m.next(at.owner + epoch) === node ? 1 : 0)) | 0;
  }
  for (let place = at.voters; place < at.reply; place++)
    key = (Math.imul(key, 0x01000193) ^ ((m.next(place) >> node) & 1)) | 0;
  return (Math.imul(key, 0x01000193) ^ ((m.next(at.base) >> node) & 1)) | 0;
}
