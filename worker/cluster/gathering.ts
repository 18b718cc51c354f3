/**
 * Which renewals share a commit (protocol.md, Cost). All nodes are asked to report at the same moment; the first report of such a
 * tick waits for the others, at most RENEWAL_GATHER_MS, so that one row makes them all durable.
 */
import { RENEWAL_GATHER_MS, RETRY_GATHER_MS } from '../../schemas/limits.ts';
import type { Report } from '../../schemas/wire.ts';
import type { ClusterState, Outcome } from '../decide/index.ts';
import { timingOf } from './timing.ts';

export class Gathering {
  #startedAt = Number.NEGATIVE_INFINITY;
  #reported = new Set<string>();

  /**
   * Takes note of a report that was just decided.
   * @returns how long its commit may wait for other reports, ms; 0 when something in it is urgent or nobody is left to wait for. A
   * node that repeats itself within one tick (a retry, or a report after a nudge) waits only for others that arrive just then.
   */
  patience(report: Report, outcome: Outcome, now: number): number {
    const { renewMs } = timingOf(outcome.state);
    const age = now - this.#startedAt;
    if (age < 0 || age >= renewMs / 2) {
      this.#startedAt = now;
      this.#reported = new Set();
    }
    const again = this.#reported.has(report.node);
    this.#reported.add(report.node);
    if (isUrgent(report, outcome)) return 0;
    if (again) return RETRY_GATHER_MS;
    return this.#awaitsAnyone(outcome.state, now, renewMs) ? RENEWAL_GATHER_MS : 0;
  }

  /** Is there a node that reported in the last tick but not yet in this one? One that fell silent is not waited for. */
  #awaitsAnyone(state: ClusterState, now: number, renewMs: number): boolean {
    return Object.entries(state.volatile.nodes).some(
      ([name, live]) => live.ended === null && !this.#reported.has(name) && now - live.lastSeenAt < 1.5 * renewMs,
    );
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
