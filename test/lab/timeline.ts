/**
 * Who held what from when to when, as far as an observer can know. Each change is known only to lie between two moments,
 * so every holding has two spans: the time it certainly lasted, and the longest it possibly lasted.
 */

export interface Holding {
  host: string;
  /** Milliseconds, monotonic. It began after `earliestFrom` and at the latest at `from`. */
  earliestFrom: number;
  from: number;
  /** It ended at the earliest at `to`, and before `latestTo`; both Infinity while it lasts. */
  to: number;
  latestTo: number;
}

/** Two hosts that held one thing at the same time. */
export interface Overlap {
  /** An address, a process name or a mount point. */
  subject: string;
  hosts: readonly [string, string];
  fromMs: number;
  /** Infinity while it lasts. */
  toMs: number;
  /** How long, by the moments at which events were read, or by the samples that saw both; up to now while it lasts. */
  ms: number;
  /** False: the changes were read so close together that their order is not known, and it may not have happened. */
  certain: boolean;
  source: 'events' | 'samples';
}

export type Source = Overlap['source'];

export class Timeline {
  readonly #source: Source;
  readonly #holdings = new Map<string, Holding[]>();

  constructor(source: Source) {
    this.#source = source;
  }

  /** Notes that a host has a thing since some moment after `after` and up to `t`. Does nothing if it is known to have it. */
  began(subject: string, host: string, t: number, after: number): void {
    if (this.#open(subject, host)) return;
    const holdings = this.#holdings.get(subject) ?? [];
    holdings.push({
      host,
      earliestFrom: after,
      from: t,
      to: Number.POSITIVE_INFINITY,
      latestTo: Number.POSITIVE_INFINITY,
    });
    this.#holdings.set(subject, holdings);
  }

  /** Notes that a host lost a thing at some moment after `after` and up to `t`. */
  ended(subject: string, host: string, t: number, after: number): void {
    const holding = this.#open(subject, host);
    if (holding === undefined) return;
    holding.to = Math.max(after, holding.from);
    holding.latestTo = t;
  }

  /** Notes that a host lost everything. */
  endedAll(host: string, t: number, after: number): void {
    for (const subject of this.#holdings.keys()) this.ended(subject, host, t, after);
  }

  holders(subject: string): string[] {
    return (this.#holdings.get(subject) ?? []).filter((h) => h.to === Number.POSITIVE_INFINITY).map((h) => h.host);
  }

  holdings(subject: string): readonly Readonly<Holding>[] {
    return this.#holdings.get(subject) ?? [];
  }

  subjects(): string[] {
    return [...this.#holdings.keys()];
  }

  #open(subject: string, host: string): Holding | undefined {
    return this.#holdings.get(subject)?.findLast((h) => h.host === host && h.to === Number.POSITIVE_INFINITY);
  }

  /** Every pair of hosts that possibly had the thing at the same time, in the order in which it happened. */
  overlaps(subject: string, nowMs: number): Overlap[] {
    const holdings = this.#holdings.get(subject) ?? [];
    const found: Overlap[] = [];
    for (const [index, a] of holdings.entries()) {
      for (const b of holdings.slice(index + 1)) {
        if (a.host === b.host) continue;
        const certain = Math.max(a.from, b.from) < Math.min(a.to, b.to);
        const fromMs = certain ? Math.max(a.from, b.from) : Math.max(a.earliestFrom, b.earliestFrom);
        const seenTo = certain && this.#source === 'samples';
        const toMs = seenTo ? Math.min(a.to, b.to) : Math.min(a.latestTo, b.latestTo);
        if (fromMs >= toMs) continue;
        const ms = Math.min(toMs, nowMs) - fromMs;
        found.push({ subject, hosts: [a.host, b.host], fromMs, toMs, ms, certain, source: this.#source });
      }
    }
    return found.sort((x, y) => x.fromMs - y.fromMs);
  }
}
