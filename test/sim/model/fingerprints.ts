/**
 * The states that were seen, as 64-bit fingerprints, and from which state each was reached first. Of N states, about N²/2⁶⁵ pairs share a
 * fingerprint by chance, and of each such pair one would be missed: 3·10⁻⁴ expected at 10⁸ states.
 */
const CHUNK_BITS = 20;
const CHUNK = 1 << CHUNK_BITS;
const FIRST_CAPACITY_BITS = 16;

export class Fingerprints {
  #bits = FIRST_CAPACITY_BITS;
  /** Number of a state + 1, by its fingerprint. */
  #table = new Uint32Array(1 << FIRST_CAPACITY_BITS);
  readonly #low: Uint32Array[] = [];
  readonly #high: Uint32Array[] = [];
  readonly #parent: Uint32Array[] = [];
  size = 0;
  /** Of the last state that was given to `mark`. */
  low = 0;
  high = 0;

  /** Sets `low` and `high` from the words of a state. */
  mark(words: Uint32Array): void {
    let a = 0x9e3779b9 | 0;
    let b = 0x7f4a7c15 | 0;
    for (let index = 0; index < words.length; index++) {
      const word = words[index] ?? 0;
      a = Math.imul(a ^ word, 0x85ebca6b);
      a = (a ^ (a >>> 15)) | 0;
      b = Math.imul(b + word, 0xc2b2ae35) ^ a;
      b = (b << 13) | (b >>> 19);
    }
    a = Math.imul(a ^ (b >>> 16), 0x27d4eb2f);
    b = Math.imul(b ^ (a >>> 13), 0x165667b1);
    this.low = (a ^ (a >>> 15)) >>> 0;
    this.high = (b ^ (b >>> 16)) >>> 0;
  }

  /** @returns whether the marked state is new; it then has the number `size - 1`. */
  add(parent: number): boolean {
    if (this.size > 0.6 * this.#table.length) this.#grow();
    const mask = this.#table.length - 1;
    const { low, high } = this;
    let place = (low ^ Math.imul(high, 0x9e3779b1)) & mask;
    for (;;) {
      const number = this.#table[place] ?? 0;
      if (number === 0) break;
      const chunk = (number - 1) >>> CHUNK_BITS;
      const inChunk = (number - 1) & (CHUNK - 1);
      if (this.#low[chunk]?.[inChunk] === low && this.#high[chunk]?.[inChunk] === high) return false;
      place = (place + 1) & mask;
    }
    this.#store(parent);
    this.#table[place] = this.size;
    return true;
  }

  parentOf(number: number): number {
    return this.#parent[number >>> CHUNK_BITS]?.[number & (CHUNK - 1)] ?? 0;
  }

  /** Is the marked state the one with this number? */
  is(number: number): boolean {
    const chunk = number >>> CHUNK_BITS;
    const inChunk = number & (CHUNK - 1);
    return this.#low[chunk]?.[inChunk] === this.low && this.#high[chunk]?.[inChunk] === this.high;
  }

  #store(parent: number): void {
    const chunk = this.size >>> CHUNK_BITS;
    const inChunk = this.size & (CHUNK - 1);
    if (inChunk === 0) for (const rows of [this.#low, this.#high, this.#parent]) rows.push(new Uint32Array(CHUNK));
    for (const [rows, value] of [
      [this.#low, this.low],
      [this.#high, this.high],
      [this.#parent, parent],
    ] as const) {
      const row = rows[chunk];
      if (row !== undefined) row[inChunk] = value;
    }
    this.size += 1;
  }

  #grow(): void {
    this.#bits += 1;
    const table = new Uint32Array(2 ** this.#bits);
    const mask = table.length - 1;
    for (let number = 0; number < this.size; number++) {
      const chunk = number >>> CHUNK_BITS;
      const inChunk = number & (CHUNK - 1);
      let place =
        ((this.#low[chunk]?.[inChunk] ?? 0) ^ Math.imul(this.#high[chunk]?.[inChunk] ?? 0, 0x9e3779b1)) & mask;
      while (table[place] !== 0) place = (place + 1) & mask;
      table[place] = number + 1;
    }
    this.#table = table;
  }
}
