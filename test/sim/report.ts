/** What many seeds came to. */
import type { StormResult } from './storm.ts';

const MS_PER_HOUR = 3_600_000;
/** The first lines of the summary; the rest follows as it was counted. */
const FIRST = [
  'fault',
  'change of host',
  'start',
  'continuation on promises',
  'continuation alone',
  'outage watched',
  'grant: lease-expired',
  'grant: released',
  'grant: declared-dead',
];
const FAULT = 'fault: ';

export class Tally {
  readonly #counts = new Map<string, number>();
  readonly #begunAt = performance.now();
  readonly #cpu = process.cpuUsage();
  #simulatedMs = 0;
  seeds = 0;
  failed: { readonly seed: number; readonly violation: string } | undefined;

  add(seed: number, { counts, violation, simulatedMs }: StormResult): void {
    this.seeds += 1;
    this.#simulatedMs += simulatedMs;
    for (const [what, times] of counts) this.#counts.set(what, (this.#counts.get(what) ?? 0) + times);
    if (violation !== undefined) this.failed = { seed, violation };
  }

  get hours(): number {
    return this.#simulatedMs / MS_PER_HOUR;
  }

  count(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** Simulated cluster-hours per second on the clock, and per second of one processor. */
  get #speed(): { readonly wall: number; readonly core: number } {
    const { user, system } = process.cpuUsage(this.#cpu);
    return {
      wall: this.hours / ((performance.now() - this.#begunAt) / 1_000),
      core: this.hours / ((user + system) / 1e6),
    };
  }

  line(): string {
    return `${this.seeds} seeds, ${this.hours.toFixed(1)} cluster-hours (${this.#speed.wall.toFixed(1)} a second), ${this.count('fault')} faults, ${this.count('change of host')} changes of host, ${this.count('continuation on promises')} continuations on promises`;
  }

  text(): string {
    const { wall, core } = this.#speed;
    const row = (what: string, value: string | number) => `  ${what.padEnd(28)} ${value}`;
    const others = [...this.#counts].filter(([what]) => !FIRST.includes(what) && !what.startsWith(FAULT));
    const faults = [...this.#counts].filter(([what]) => what.startsWith(FAULT));
    return [
      row('simulated cluster-hours', this.hours.toFixed(1)),
      row('  per second', `${wall.toFixed(2)} (${core.toFixed(2)} per second of a core)`),
      row('seeds', this.seeds),
      ...FIRST.map((what) => row(what, this.count(what))),
      ...others.toSorted(byName).map(([what, times]) => row(what, times)),
      `faults: ${faults
        .toSorted(byName)
        .map(([what, times]) => `${what.slice(FAULT.length)} ${times}`)
        .join(', ')}`,
      row('violations', this.failed === undefined ? 0 : `1: ${this.failed.violation}`),
    ].join('\n');
  }

  json(): Record<string, unknown> {
    const { wall, core } = this.#speed;
    return {
      schema: 'holdfast/simulation-run/v1',
      clusterHours: this.hours,
      clusterHoursPerSecond: wall,
      clusterHoursPerCoreSecond: core,
      seeds: this.seeds,
      counts: Object.fromEntries([...this.#counts].toSorted(byName)),
      failed: this.failed ?? null,
    };
  }
}

function byName([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : 1;
}
