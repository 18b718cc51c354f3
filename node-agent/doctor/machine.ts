/** The machine below: kernel, clock, and whether somebody can stop it from outside. */
import { CLOCK_RATE_ERROR } from '../../schemas/limits.ts';
import { type Finding, sayer } from './finding.ts';

export interface MachineFacts {
  /** `6.1.0-30-amd64` */
  readonly kernel: string;
  /** Why nothing but addresses can be run; undefined when groups can have their cgroups. */
  readonly cgroupProblem: string | undefined;
  readonly clockSource: string | undefined;
  readonly clockSources: readonly string[];
  /** How fast chronyd may let the clock run, parts per million; undefined while it does not run. */
  readonly chronySlewPpm: number | undefined;
  /** What says that this is a virtual machine. */
  readonly virtual: string | undefined;
  /** What says that this is a container. */
  readonly container: string | undefined;
}

/** Since this version cgroup.kill ends a whole group in one step. */
const KERNEL = [5, 14] as const;
/** Half of the rate error that the lease protocol tolerates (CLOCK_RATE_ERROR): the oscillator has one too. */
const MAX_SLEW_PPM = 500;

export function machineFindings(facts: MachineFacts): Finding[] {
  return [...kernelFindings(facts), ...clockFindings(facts), ...virtualFindings(facts)];
}

function kernelFindings({ kernel, cgroupProblem }: MachineFacts): Finding[] {
  const { ok, error } = sayer('kernel');
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number);
  const old = major < KERNEL[0] || (major === KERNEL[0] && minor < KERNEL[1]);
  if (old)
    return [
      error(
        `Linux ${kernel}`,
        `is older than ${KERNEL.join('.')}: what a group runs could not be killed as one`,
        'boot a newer kernel (Debian 12 has 6.1)',
      ),
    ];
  if (cgroupProblem !== undefined)
    return [
      error(
        'cgroup v2',
        `${cgroupProblem}: only addresses can be run here`,
        'boot with systemd.unified_cgroup_hierarchy=1; in a container, give it a writable cgroup; in a unit, Delegate=yes',
      ),
    ];
  return [ok(`Linux ${kernel}`, 'has cgroup v2, and ends a group in one step')];
}

function clockFindings({ clockSource, clockSources, chronySlewPpm }: MachineFacts): Finding[] {
  const { ok, warning, unknown } = sayer('clock');
  const found: Finding[] = [];
  if (clockSource === undefined) found.push(unknown('clock source', 'the kernel does not say which one it uses'));
  else if (/jiffies/.test(clockSource))
    found.push(
      warning(
        'clock source',
        `${clockSource} counts interrupts, and loses time whenever one is late; available are ${clockSources.join(', ')}`,
        'look in dmesg for why better ones were given up (clocksource), and have the firmware or the host mended',
      ),
    );
  else found.push(ok('clock source', clockSource));
  if (chronySlewPpm !== undefined && chronySlewPpm > MAX_SLEW_PPM)
    found.push(
      warning(
        'chrony',
        `may let the clock run ${(chronySlewPpm / 10_000).toFixed(1)} % fast or slow to correct the time (maxslewrate); leases allow for ${CLOCK_RATE_ERROR * 100} % in all`,
        `echo 'maxslewrate ${MAX_SLEW_PPM}' >/etc/chrony/conf.d/holdfast.conf && systemctl restart chrony`,
      ),
    );
  found.push(ok('time of day', 'is not needed: leases are measured by clocks that nobody can set'));
  return found;
}

function virtualFindings({ virtual, container }: MachineFacts): Finding[] {
  const { ok, warning } = sayer('virtual-machine');
  const standby = 'before each of these: holdfast node standby NODE; afterwards: holdfast node ready NODE';
  const found: Finding[] = [];
  if (virtual !== undefined)
    found.push(
      warning(
        'virtual machine',
        `${virtual}: paused, migrated live or restored from a snapshot, its clocks stand still, and no lease survives that, nor does a watchdog that counts by them`,
        standby,
      ),
    );
  if (container !== undefined)
    found.push(
      warning(
        'container',
        `${container}: whoever freezes it (docker pause, a snapshot) stops agent and guard while other machines go on`,
        standby,
      ),
    );
  return found.length > 0 ? found : [ok('bare metal', 'nobody can stop its clocks from outside')];
}
