/**
 * Which renewals share a commit (protocol.md, Cost). All nodes are asked to report at the same moment; the first report of such a
 * tick waits for the others, at most RENEWAL_GATHER_MS, so that one row makes them all durable.
 */
import type { Report } from '../../schemas/wire.ts';
import type { ClusterState, Outcome } from '../decide/index.ts';
import { timingOf } from './timing.ts';

export class Gathering {
  #startedAt = Number.NEGATIVE_INFINITY;
  #reported = new Set<string>();

  /**
   * Takes note of a report that was just decided.
   * @returns whether to commit at once: something in it is urgent, the node repeats itself within one tick (a retry, or a report
   * after a nudge), or nobody else is left to wait for.
   */
  complete(report: Report, outcome: Outcome, now: number): boolean {
    const { renewMs } = timingOf(outcome.state);
    const age = now - this.#startedAt;
    if (age < 0 || age >= renewMs / 2) {
      this.#startedAt = now;
      this.#reported = new Set();
    }
    const again = this.#reported.has(report.node);
    this.#reported.add(report.node);
    return again || isUrgent(report, outcome) || this.#awaited(outcome.state, now, renewMs).length === 0;
  }

  /** Nodes that reported in the last tick but not yet in this one. One that fell silent is not waited for. */
  #awaited(state: ClusterState, now: number, renewMs: number): string[] {
    return Object.entries(state.volatile.nodes)
      .filter(([name, live]) => !this.#reported.has(name) && now - live.lastSeenAt < 1.5 * renewMs)
      .map(([name]) => name);
  }
}

/** Somebody waits for what this report brought about: its sender for a grant, others for what was released. */
function isUrgent(report: Report, outcome: Outcome): boolean {
  return (
    report.releases.length > 0 ||
    report.retiring === true ||
    (outcome.verdicts?.grants.length ?? 0) > 0 ||
    outcome.effects.some((effect) => effect.kind === 'decision' || effect.kind === 'nudge')
  );
}
