/** How long the actions of a resource may take, and what follows when it fails: what can be meant, and what it comes to. */
import { DEFAULT_POLICY, type DeclaredTimes, type FailurePolicy } from './config.ts';
import type { ReportProblem, WrittenResource } from './document-parts.ts';
import type { Path, Source } from './document-source.ts';
import { formatDuration } from './duration.ts';
import { MAX_OPERATION_MS, MIN_INTERVAL_MS } from './limits.ts';

const MIN_WINDOW_MS = 1_000;

/** Reports a time outside of its range. */
export function checkRange(
  at: Path,
  ms: number | undefined,
  least: number,
  source: Source,
  report: ReportProblem,
): void {
  if (ms === undefined || (ms >= least && ms <= MAX_OPERATION_MS)) return;
  const range = `from ${formatDuration(least)} to ${formatDuration(MAX_OPERATION_MS)}`;
  report(at, source.valueAt(at), `must be ${range}, not ${formatDuration(ms)}`);
}

export function checkTimes(resource: WrittenResource, path: Path, source: Source, report: ReportProblem): void {
  for (const action of ['start', 'stop', 'monitor'] as const)
    checkRange([...path, 'timeouts', action], resource.timeouts?.[action], 1, source, report);
  checkRange([...path, 'interval'], resource.interval, MIN_INTERVAL_MS, source, report);
  checkRange([...path, 'failures', 'window'], resource.failures?.window, MIN_WINDOW_MS, source, report);
}

/** Words that contradict each other, or that would be read and then ignored. */
export function checkPolicy(
  { onFail = DEFAULT_POLICY.onFail, failures, critical }: WrittenResource,
  path: Path,
  source: Source,
  report: ReportProblem,
): void {
  const failuresPath = [...path, 'failures'];
  if (critical === false && onFail !== 'restart' && onFail !== 'ignore') {
    const at = [...path, 'onFail'];
    report(
      at,
      source.valueAt(at),
      `\`critical: false\` lets the group run on without it, \`onFail: ${onFail}\` does not; with \`critical: false\` it can be restart or ignore`,
      'restart',
    );
  }
  if (failures === undefined) return;
  if (onFail !== 'restart')
    report(
      failuresPath,
      source.keyAt(failuresPath),
      `\`failures\` says how many restarts are enough; with \`onFail: ${onFail}\` nothing is restarted: leave it out`,
    );
  else if (critical === false)
    report(
      failuresPath,
      source.keyAt(failuresPath),
      '`failures` says when the group moves; with `critical: false` it never does, and the resource is tried again for ever: leave it out',
    );
}

export function timesOf({ timeouts, interval }: WrittenResource): DeclaredTimes {
  return {
    ...(timeouts?.start === undefined ? {} : { startMs: timeouts.start }),
    ...(timeouts?.stop === undefined ? {} : { stopMs: timeouts.stop }),
    ...(timeouts?.monitor === undefined ? {} : { monitorMs: timeouts.monitor }),
    ...(interval === undefined ? {} : { monitorIntervalMs: interval }),
  };
}

/** The failure policy with every default filled in. */
export function policyOf({ onFail, failures, fall, rise, critical }: WrittenResource): FailurePolicy {
  return {
    onFail: onFail ?? DEFAULT_POLICY.onFail,
    failureCount: failures?.count ?? DEFAULT_POLICY.failureCount,
    failureWindowMs: failures?.window ?? DEFAULT_POLICY.failureWindowMs,
    fall: fall ?? DEFAULT_POLICY.fall,
    rise: rise ?? DEFAULT_POLICY.rise,
    critical: critical ?? DEFAULT_POLICY.critical,
  };
}
