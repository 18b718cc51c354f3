/** Events of this node on their way to the coordinator: kept in order until it has acknowledged them, oldest dropped first. */
import { randomBytes } from 'node:crypto';
import type { AgentEvent } from '../../schemas/events.ts';
import { MAX_DETAIL_LENGTH, MAX_EVENTS_PER_REPORT, MAX_QUEUED_EVENTS } from '../../schemas/limits.ts';

/** Of events in one report: leases must always fit beside them. */
const MAX_BYTES = 32 * 1024;

export type JournalEntry = Omit<AgentEvent, 'id' | 'agoMs'>;

export class Journal {
  readonly #process = randomBytes(6).toString('hex');
  readonly #now: () => number;
  #queue: { readonly id: string; readonly atMs: number; readonly entry: JournalEntry }[] = [];
  #count = 0;
  #dropped = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  add(entry: JournalEntry): void {
    this.#count += 1;
    this.#queue.push({
      id: `${this.#process}-${this.#count}`,
      atMs: this.#now(),
      entry: { ...entry, detail: entry.detail.slice(0, MAX_DETAIL_LENGTH) },
    });
    if (this.#queue.length <= MAX_QUEUED_EVENTS) return;
    this.#queue.shift();
    this.#dropped += 1;
  }

  get pending(): number {
    return this.#queue.length;
  }

  /** What the coordinator has not acknowledged for so long, oldest first. */
  unheard(forMs: number): { readonly id: string; readonly agoMs: number; readonly entry: JournalEntry }[] {
    const nowMs = this.#now();
    return this.#queue
      .map(({ id, atMs, entry }) => ({ id, agoMs: nowMs - atMs, entry }))
      .filter(({ agoMs }) => agoMs >= forMs);
  }

  /** The oldest that fit into one report. */
  next(): AgentEvent[] {
    if (this.#dropped > 0 && this.#queue.length < MAX_QUEUED_EVENTS) {
      this.add({
        kind: 'agent.events-dropped',
        severity: 'warning',
        detail: `${this.#dropped} older events were dropped while the coordinator was away`,
      });
      this.#dropped = 0;
    }
    const nowMs = this.#now();
    const chosen: AgentEvent[] = [];
    let bytes = 0;
    for (const { id, atMs, entry } of this.#queue.slice(0, MAX_EVENTS_PER_REPORT)) {
      const event = { ...entry, id, agoMs: Math.max(0, nowMs - atMs) };
      bytes += Buffer.byteLength(JSON.stringify(event));
      if (bytes > MAX_BYTES && chosen.length > 0) break;
      chosen.push(event);
    }
    return chosen;
  }

  acknowledge(ids: readonly string[]): void {
    const known = new Set(ids);
    this.#queue = this.#queue.filter(({ id }) => !known.has(id));
  }
}
