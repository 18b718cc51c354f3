/**
 * What goes into a report beside leases: group reports, refusals and events, each told until the coordinator has acknowledged it, and
 * never so much at once that the leases would not fit.
 */
import type { GroupReport, Refusal, Report } from '../../schemas/wire.ts';
import type { Journal } from './journal.ts';

/** Of group reports in one report: leases must always fit beside them. */
const MAX_GROUP_REPORT_BYTES = 48 * 1024;

type Told = Pick<Report, 'groups' | 'refusals' | 'events'>;

export class Reporting {
  readonly #journal: Journal;
  /** By request: what the coordinator knows when it has answered it. */
  readonly #told = new Map<string, Told>();
  readonly #knownGroups = new Map<string, string>();
  #knownRefusals: string | undefined;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** What there is to tell with the request of this id. */
  next(id: string, groups: readonly GroupReport[], refusals: readonly Refusal[]): Told {
    const changed = groups.filter((report) => !this.#isKnown(report)).filter(withinBytes(MAX_GROUP_REPORT_BYTES));
    const events = this.#journal.next();
    const told: Told = {
      ...(changed.length === 0 ? {} : { groups: changed }),
      ...(this.refusalsAreKnown(refusals) ? {} : { refusals: [...refusals] }),
      ...(events.length === 0 ? {} : { events }),
    };
    this.#told.set(id, told);
    return told;
  }

  /** Requests whose answers no longer count are forgotten; what they told is told again. */
  forgetAllBut(requests: Readonly<Record<string, unknown>>): void {
    for (const id of this.#told.keys()) if (!Object.hasOwn(requests, id)) this.#told.delete(id);
  }

  /**
   * The request was answered.
   * @param anew by a coordinator that started anew: it may have lost what it was told.
   */
  answered(id: string, anew: boolean): void {
    const told = this.#told.get(id);
    if (told === undefined) return;
    this.#told.delete(id);
    if (anew) {
      this.#knownGroups.clear();
      this.#knownRefusals = undefined;
    }
    for (const report of told.groups ?? []) this.#knownGroups.set(report.group, signature(report));
    if (told.refusals !== undefined) this.#knownRefusals = JSON.stringify(told.refusals);
    this.#journal.acknowledge((told.events ?? []).map((event) => event.id));
  }

  /** A change of the group's own state is told at once; a resource more or less can wait for the next renewal. */
  isUrgent(report: GroupReport): boolean {
    if (this.#isKnown(report)) return false;
    return this.#knownGroups.get(report.group)?.startsWith(`${report.epoch} ${report.state} `) !== true;
  }

  refusalsAreKnown(refusals: readonly Refusal[]): boolean {
    return this.#knownRefusals === JSON.stringify(refusals);
  }

  #isKnown(report: GroupReport): boolean {
    return this.#knownGroups.get(report.group) === signature(report);
  }
}

/** Passes values until their JSON has filled the budget; the rest goes with the next report. */
function withinBytes(budget: number): (value: unknown) => boolean {
  let left = budget;
  return (value) => {
    left -= Buffer.byteLength(JSON.stringify(value));
    return left >= 0;
  };
}

/** All of a report but the time that passes. */
function signature(report: GroupReport): string {
  const { forMs: _since, epoch, state, ...rest } = report;
  return `${epoch} ${state} ${JSON.stringify(rest)}`;
}
