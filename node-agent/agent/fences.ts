/**
 * The questions of DRBD's fence-peer handler: may a Primary go on without a peer? It may once the coordinator has stored what this
 * node has seen after the question was asked, in a report that also renewed the lease: from then on that peer is not granted the
 * group. Nothing of it is decided by a peer or by time.
 */
import { FENCE_ANSWER_MS } from '../../schemas/limits.ts';
import type { Reply } from '../../schemas/wire.ts';

/**
 * outdated: the coordinator keeps the peer out. pending: it has not answered; ask again. owned: another node has the lease. none: nobody
 * knows of one, or of the resource.
 */
export type FenceVerdict =
  | { readonly verdict: 'outdated' | 'owned' }
  /** `frozen`: writes wait for the answer, so it is worth waiting; else a promotion does. */
  | { readonly verdict: 'pending'; readonly frozen: boolean; readonly why: string }
  | { readonly verdict: 'none'; readonly why: string };

interface Question {
  readonly group: string;
  /** Number of the last request that had been sent when it was asked: clocks are too coarse to tell which came first. */
  readonly after: number;
  readonly answered: () => void;
}

export class Fences {
  readonly #open = new Set<Question>();

  /**
   * Waits for the answer to a report that was composed later. What was seen has to be ready to be reported before.
   * @param after the number of the last request.
   * @returns whether it came within the time that one question may take.
   */
  async wait(group: string, after: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const question: Question = { group, after, answered: () => resolve(true) };
    this.#open.add(question);
    const timer = setTimeout(() => resolve(false), FENCE_ANSWER_MS);
    timer.unref();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#open.delete(question);
    }
  }

  /** @param number of the request that this answers; undefined: it is not known any more. */
  answered({ leases, problem }: Pick<Reply, 'leases' | 'problem'>, number: number | undefined): void {
    if (number === undefined || problem !== undefined) return;
    for (const question of this.#open) {
      if (number <= question.after) continue;
      const lease = leases.find(({ group }) => group === question.group);
      if (lease?.verdict === 'renewed' && lease.copies === 'stored') question.answered();
    }
  }
}
