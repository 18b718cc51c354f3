/** Keeps the last bytes of a stream in bounded memory. */
export class Tail {
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #size = 0;
  #dropped = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get truncated(): boolean {
    return this.#dropped || this.#size > this.#limit;
  }

  add(chunk: Buffer): void {
    if (this.#limit === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size > 2 * this.#limit + 65_536) {
      const kept = Buffer.from(Buffer.concat(this.#chunks).subarray(-this.#limit));
      this.#chunks = [kept];
      this.#size = kept.length;
      this.#dropped = true;
    }
  }

  /** The kept end as text; a character that the cut went through is left out. */
  text(): string {
    const all = Buffer.concat(this.#chunks);
    if (all.length <= this.#limit && !this.#dropped) return all.toString('utf8');
    let from = Math.max(0, all.length - this.#limit);
    while (from < all.length && ((all[from] ?? 0) & 0xc0) === 0x80) from += 1;
    return all.toString('utf8', from);
  }
}
