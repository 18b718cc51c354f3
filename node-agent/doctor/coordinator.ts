/** Does the coordinator answer this node fast enough for the lease? */
import { type LeaseTiming, RENEWAL_GATHER_MS } from '../../schemas/limits.ts';
import { type Finding, sayer } from './finding.ts';

export interface CoordinatorFacts {
  readonly url: string;
  /** Round trips on an open connection, ms; or why there were none, and whether the clock of this machine may be the cause. */
  readonly trips: readonly number[] | { readonly unreachable: string; readonly byClock?: boolean };
}

const { ok, warning, error } = sayer('coordinator');

/**
 * A renewal is repeated when no answer has come after the retry time, and the answer to the last repetition has to come before the
 * forced stop: so much of the lease is left after all of them (I1).
 */
export function coordinatorFindings({ url, trips }: CoordinatorFacts, timing: LeaseTiming | undefined): Finding[] {
  if ('unreachable' in trips)
    return [
      error(
        url,
        `cannot be reached from here: ${trips.unreachable}`,
        trips.byClock === true
          ? 'timedatectl; if the clock is right, the certificate is to be renewed'
          : `look at the route, the firewall and the name: curl ${new URL('healthz', url)}`,
      ),
    ];
  const slowest = Math.max(...trips);
  const ms = `${slowest.toFixed(slowest < 10 ? 1 : 0)} ms`;
  if (timing === undefined) return [ok(url, `answers within ${ms}`)];
  const needed = slowest + RENEWAL_GATHER_MS;
  const spare = timing.leaseMs - timing.stopMs - timing.renewMs - timing.retries * timing.retryMs;
  const longer = 'bring the coordinator nearer, or use `lease: wan` in the document';
  if (needed >= spare)
    return [
      error(
        url,
        `takes up to ${ms} to answer, and ${RENEWAL_GATHER_MS} ms to gather; after the last repetition of a renewal ${spare} ms are left before everything is stopped`,
        longer,
      ),
    ];
  if (needed >= timing.retryMs / 2)
    return [
      warning(
        url,
        `takes up to ${ms} to answer, and ${RENEWAL_GATHER_MS} ms to gather; renewals are repeated after ${timing.retryMs} ms, and twice the time should fit`,
        longer,
      ),
    ];
  return [ok(url, `answers within ${ms}; a renewal is repeated after ${timing.retryMs} ms`)];
}
