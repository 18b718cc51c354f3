/**
 * What goes into a report beside leases: group reports, refusals, copies and events, each told until the coordinator has acknowledged it, and
 * never so much at once that the leases would not fit.
 */
import type { Copy } from '../../schemas/copies.ts';
import type { Fuse } from '../../schemas/fuse.ts';
import { MAX_COPIES, MAX_COPIES_BYTES } from '../../schemas/limits.ts';
import type { PeerEndpoint } from '../../schemas/peer.ts';
import type { GroupReport, Refusal, Report } from '../../schemas/wire.ts';
import type { Journal } from './journal.ts';

/** Of group reports in one report: leases must always fit beside them. */
const MAX_GROUP_REPORT_BYTES = 48 * 1024;

type Told = Pick<Report, 'groups' | 'refusals' | 'copies' | 'events' | 'endpoint' | 'fuse'>;

export class Reporting {
  readonly #journal: Journal;
  /** By request: what the coordinator knows when it has answered it. */
  readonly #told = new Map<string, Told>();
  readonly #knownGroups = new Map<string, string>();
  #knownRefusals: string | undefined;
  #knownCopies: string | undefined;
  #knownEndpoint: string | undefined;
  #knownFuse: string | undefined;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** What there is to tell with the request of this id. */
  next(
    id: string,
    groups: readonly GroupReport[],
    refusals: readonly Refusal[],
    endpoint: PeerEndpoint | null,
    copies: readonly Copy[] = [],
    fuse?: Fuse,
  ): Told {
    const changed = groups.filter((report) => !this.#isKnown(report)).filter(withinBytes(MAX_GROUP_REPORT_BYTES));
    const events = this.#journal.next();
    const fitting = copies.slice(0, MAX_COPIES).filter(withinBytes(MAX_COPIES_BYTES));
    const told: Told = {
      ...(changed.length === 0 ? {} : { groups: changed }),
      ...(this.refusalsAreKnown(refusals) ? {} : { refusals: [...refusals] }),
      ...(this.#copiesAreKnown(fitting) ? {} : { copies: fitting }),
      ...(events.length === 0 ? {} : { events }),
      ...(JSON.stringify(endpoint) === this.#knownEndpoint ? {} : { endpoint }),
      ...(fuse === undefined || this.fuseIsKnown(fuse) ? {} : { fuse }),
    };
    this.#told.set(id, told);
    return told;
  }

  /** Requests whose answers no longer count are forgotten; what they told is told again. */
  forgetAllBut(requests: ReadonlyMap<string, unknown>): void {
    for (const id of this.#told.keys()) if (!requests.has(id)) this.#told.delete(id);
  }

  /**
   * The request was answered.
   * @param anew by a coordinator that started anew: it may have lost what it was told.
   */
  answered(id: string, anew: boolean): void {
    // also by the second answer to a request: a copy of it may have reached the new instance, with what is no longer so
    if (anew) {
      this.#knownGroups.clear();
      this.#knownRefusals = undefined;
      this.#knownCopies = undefined;
      this.#knownEndpoint = undefined;
      this.#knownFuse = undefined;
    }
    const told = this.#told.get(id);
    if (told === undefined) return;
    this.#told.delete(id);
    for (const report of told.groups ?? []) this.#knownGroups.set(report.group, signature(report));
    if (told.refusals !== undefined) this.#knownRefusals = JSON.stringify(told.refusals);
    if (told.copies !== undefined) this.#knownCopies = JSON.stringify(told.copies);
    if (told.endpoint !== undefined) this.#knownEndpoint = JSON.stringify(told.endpoint);
    if (told.fuse !== undefined) this.#knownFuse = JSON.stringify(told.fuse);
    this.#journal.acknowledge((told.events ?? []).map((event) => event.id));
  }

  /** A change of the group's own state is told at once; a resource more or less can wait for the next renewal. */
  isUrgent(report: GroupReport): boolean {
    if (this.#isKnown(report)) return false;
    return this.#knownGroups.get(report.group)?.startsWith(`${report.epoch} ${report.state} `) !== true;
  }

  /** The next report bears the copies, known or not: its answer says that they are stored. */
  tellCopies(): void {
    this.#knownCopies = '';
  }

  refusalsAreKnown(refusals: readonly Refusal[]): boolean {
    return this.#knownRefusals === JSON.stringify(refusals);
  }

  fuseIsKnown(fuse: Fuse): boolean {
    return this.#knownFuse === JSON.stringify(fuse);
  }

  #copiesAreKnown(copies: readonly Copy[]): boolean {
    return this.#knownCopies === undefined ? copies.length === 0 : this.#knownCopies === JSON.stringify(copies);
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
