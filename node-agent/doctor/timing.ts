/**
 * The times that have to fit the lease, and nothing that only looks like it: a start, a planned stop or a monitor may take as long as
 * it likes, because the lease is renewed meanwhile. What is bounded is the forced stop, which runs while the lease runs out.
 */
import { formatDuration } from '../../schemas/duration.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import { FORCED_TIDY_MS } from '../resources/index.ts';
import type { Declared, Wanted } from './declared.ts';
import { wanted } from './declared.ts';
import { type Finding, sayer } from './finding.ts';
import { setSysctls } from './sysctl.ts';

/** What the agent's meta-data advises, where it says so. */
export interface AdvisedTimes {
  readonly startMs?: number | undefined;
  readonly stopMs?: number | undefined;
  readonly monitorMs?: number | undefined;
}

export interface TimingFacts {
  /** By subject. */
  readonly advised: ReadonlyMap<string, AdvisedTimes>;
  /** Mounts whose ext file system has no journal. */
  readonly withoutJournal: readonly Wanted<'mount'>[];
  /** How much may be unwritten before the kernel makes writers wait. */
  readonly dirtyBytes: number | undefined;
}

/** What an ordinary disk writes in a second. */
const DISK_BYTES_PER_S = 200_000_000;

const { ok, warning } = sayer('timing');

export function timingFindings(facts: TimingFacts, declared: Declared): Finding[] {
  const { timing } = declared;
  const found = [
    ...forcedOcf(declared),
    ...advisedFindings(facts, declared),
    ...sharedFindings(facts, declared),
    ...facts.withoutJournal
      .filter(({ resource }) => resource.fsck === 'auto' && resource.times.startMs === undefined)
      .map(journalFinding),
  ];
  if (found.length > 0) return found;
  const { renewMs, retries, retryMs, stopMs, leaseMs } = timing;
  return [
    ok(
      'lease',
      `renewal ${renewMs} + ${retries} × ${retryMs} repeated + forced stop ${stopMs} ms fit into ${leaseMs} ms`,
    ),
  ];
}

/** From the beginning of a forced stop to the instant at which the guard kills the agent that is carrying it out. */
function forcedStopMs({ stopMs, fuseMs, resetMs }: LeaseTiming): number {
  return stopMs - fuseMs - resetMs;
}

/** After its processes are killed an OCF agent tidies up, and then its monitor is asked. */
function forcedOcf(declared: Declared): Finding[] {
  const left = forcedStopMs(declared.timing);
  if (left > FORCED_TIDY_MS) return [];
  return wanted(declared, 'ocf').map(({ subject, resource }) =>
    warning(
      subject,
      `by force, ${resource.agent} may take ${FORCED_TIDY_MS} ms to tidy up, and its monitor comes after that; the lease of ${declared.timing.leaseMs} ms leaves ${left} ms until the guard ends the agent with everything it runs`,
      '`lease: default` in the document',
    ),
  );
}

const ACTIONS = [
  ['start', 'startMs'],
  ['stop', 'stopMs'],
  ['monitor', 'monitorMs'],
] as const;

function advisedFindings({ advised }: TimingFacts, declared: Declared): Finding[] {
  return wanted(declared, 'ocf').flatMap(({ subject, resource }) =>
    ACTIONS.flatMap(([action, key]) => {
      const least = advised.get(subject)?.[key];
      const given = resource.times[key];
      if (least === undefined || given === undefined || given >= least) return [];
      return [
        warning(
          subject,
          `its ${action} is given up after ${formatDuration(given)}; ${resource.agent} asks for ${formatDuration(least)} at least`,
          `timeouts: { ${action}: ${formatDuration(least)} } in the document, or leave it out`,
        ),
      ];
    }),
  );
}

/** Only a disk that another node reaches is harmed by what is written late. */
function sharedFindings({ dirtyBytes }: TimingFacts, declared: Declared): Finding[] {
  const { stopMs } = declared.timing;
  const fits = Math.floor((stopMs / 1_000) * DISK_BYTES_PER_S);
  if (dirtyBytes === undefined || dirtyBytes <= fits) return [];
  return wanted(declared, 'mount')
    .filter(({ resource }) => resource.disk === 'shared')
    .map(({ subject }) =>
      warning(
        subject,
        `${Math.round(dirtyBytes / 1e6)} MB may be unwritten when the lease ends, and the forced stop has ${stopMs} ms for it: about ${Math.round(fits / 1e6)} MB on an ordinary disk; the rest is written while another node may have mounted it`,
        setSysctls([`vm.dirty_bytes=${fits}`, `vm.dirty_background_bytes=${Math.floor(fits / 2)}`]),
      ),
    );
}

function journalFinding({ subject, resource }: Wanted<'mount'>): Finding {
  return warning(
    subject,
    `${resource.device} has no journal: after every power loss all of it is checked before the mount, which is given up after the usual 60 s`,
    `while it is unmounted: tune2fs -j ${resource.device}; or timeouts: { start: 30m } in the document`,
  );
}
