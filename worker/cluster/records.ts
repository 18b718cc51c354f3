/** What is read back from disk for people: events, decisions, revisions, operations. The decisions themselves never need these. */
import type { Operation } from '../../schemas/api.ts';
import type { ClusterEvent, EventKind, EventSeverity } from '../../schemas/events.ts';
import type { Decision } from '../../schemas/reasons.ts';
import type { NewDecision } from '../decide/index.ts';

/** How many operations are listed. */
const OPERATIONS_SHOWN = 50;
/** How many refusals `why` is given. */
const REFUSALS_SHOWN = 20;

type EventRow = {
  seq: number;
  at: number;
  kind: string;
  severity: string;
  node: string | null;
  service_group: string | null;
  resource: string | null;
  epoch: number | null;
  detail: string;
};

type DecisionRow = { seq: number; record: string; running_at: number | null };

export interface StoredRevision {
  readonly revision: number;
  readonly at: number;
  readonly document: string;
}

export class Records {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Events in order: those with a sequence number above `after`, or, without it, the newest. */
  events(after: number | null, limit: number): ClusterEvent[] {
    if (after !== null) {
      return this.#sql
        .exec<EventRow>('SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?', after, limit)
        .toArray()
        .map(toEvent);
    }
    const newest = this.#sql.exec<EventRow>('SELECT * FROM event ORDER BY seq DESC LIMIT ?', limit).toArray();
    return newest.reverse().map(toEvent);
  }

  /** Events after a sequence number, each with the grant whose epoch it names. */
  eventsWithGrants(after: number, limit: number): { event: ClusterEvent; grant: Decision | null }[] {
    return this.events(after, limit).map((event) => {
      const { group, epoch } = event;
      return { event, grant: group === undefined || epoch === undefined ? null : this.grant(group, epoch) };
    });
  }

  /** Events by their sequence numbers; what is not stored any more is left out. */
  eventsBySeq(seqs: readonly number[]): ReadonlyMap<number, ClusterEvent> {
    const rows = this.#sql.exec<EventRow>(
      'SELECT * FROM event WHERE seq IN (SELECT value FROM json_each(?))',
      JSON.stringify(seqs),
    );
    return new Map(rows.toArray().map((row) => [row.seq, toEvent(row)]));
  }

  /** Events by sequence number, both ends included, in order. */
  eventsBetween(first: number, last: number, limit: number): ClusterEvent[] {
    return this.#sql
      .exec<EventRow>('SELECT * FROM event WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?', first, last, limit)
      .toArray()
      .map(toEvent);
  }

  /** Decisions about a group between two times, both included, oldest first. */
  decisionsBetween(group: string, firstAt: number, lastAt: number, limit: number): Decision[] {
    return this.#sql
      .exec<DecisionRow>(
        'SELECT seq, record, running_at FROM decision WHERE service_group = ? AND at BETWEEN ? AND ? ORDER BY seq LIMIT ?',
        group,
        firstAt,
        lastAt,
        limit,
      )
      .toArray()
      .map(toDecision);
  }

  /** The newest sequence number of an event; 0 without any. */
  newestEvent(): number {
    return this.#sql.exec<{ seq: number }>('SELECT coalesce(max(seq), 0) AS seq FROM event').one().seq;
  }

  /** The grant of a group's epoch, if it is still stored. */
  grant(group: string, epoch: number): Decision | null {
    const row = this.#sql
      .exec<DecisionRow>(
        `SELECT seq, record, running_at FROM decision
         WHERE service_group = ? AND epoch = ? AND kind = 'grant' ORDER BY seq DESC LIMIT 1`,
        group,
        epoch,
      )
      .toArray()[0];
    return row === undefined ? null : toDecision(row);
  }

  /** The newest grant of a group and the refusals since, newest first. */
  decisions(group: string): { lastGrant: Decision | null; refusals: Decision[] } {
    const grant = this.#sql
      .exec<DecisionRow>(
        "SELECT seq, record, running_at FROM decision WHERE service_group = ? AND kind = 'grant' ORDER BY seq DESC LIMIT 1",
        group,
      )
      .toArray()[0];
    const refusals = this.#sql
      .exec<DecisionRow>(
        `SELECT seq, record, running_at FROM decision
         WHERE service_group = ? AND kind = 'refusal' AND seq > ? ORDER BY seq DESC LIMIT ?`,
        group,
        grant?.seq ?? 0,
        REFUSALS_SHOWN,
      )
      .toArray();
    return { lastGrant: grant === undefined ? null : toDecision(grant), refusals: refusals.map(toDecision) };
  }

  /** The revisions that are kept, newest first, with the number of their lines. */
  revisions(): { revision: number; at: string; lines: number }[] {
    return this.#sql
      .exec<{ revision: number; at: number; lines: number }>(
        "SELECT revision, at, length(document) - length(replace(document, char(10), '')) AS lines FROM revision ORDER BY revision DESC",
      )
      .toArray()
      .map((row) => ({ ...row, at: timestamp(row.at) }));
  }

  /** A stored revision; the newest without a number; null if there is none (or no longer). */
  revision(revision: number | null): StoredRevision | null {
    const rows =
      revision === null
        ? this.#sql.exec<StoredRevision & Record<string, number | string>>(
            'SELECT revision, at, document FROM revision ORDER BY revision DESC LIMIT 1',
          )
        : this.#sql.exec<StoredRevision & Record<string, number | string>>(
            'SELECT revision, at, document FROM revision WHERE revision = ?',
            revision,
          );
    return rows.toArray()[0] ?? null;
  }

  /** Newest first. A running one is stored with every step it makes. */
  operations(): Operation[] {
    return this.#sql
      .exec<{ record: string }>('SELECT record FROM operation ORDER BY seq DESC LIMIT ?', OPERATIONS_SHOWN)
      .toArray()
      .map((row) => JSON.parse(row.record) as Operation);
  }

  operation(id: string): Operation | null {
    const row = this.#sql.exec<{ record: string }>('SELECT record FROM operation WHERE id = ?', id).toArray()[0];
    return row === undefined ? null : (JSON.parse(row.record) as Operation);
  }
}

/** RFC 3339 in UTC, as everything that leaves the coordinator is written. */
export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

function toEvent(row: EventRow): ClusterEvent {
  return {
    seq: row.seq,
    at: timestamp(row.at),
    kind: row.kind as EventKind,
    severity: row.severity as EventSeverity,
    ...(row.node === null ? {} : { node: row.node }),
    ...(row.service_group === null ? {} : { group: row.service_group }),
    ...(row.resource === null ? {} : { resource: row.resource }),
    ...(row.epoch === null ? {} : { epoch: row.epoch }),
    detail: row.detail,
  };
}

function toDecision(row: DecisionRow): Decision {
  const { reasons, candidates, at, lastRenewalAt, ...rest } = JSON.parse(row.record) as NewDecision;
  return {
    seq: row.seq,
    group: rest.group,
    kind: rest.kind,
    node: rest.node,
    epoch: rest.epoch,
    ...(rest.cause === undefined ? {} : { cause: rest.cause }),
    ...(rest.from === undefined ? {} : { from: rest.from }),
    at: timestamp(at),
    reasons: [...reasons],
    candidates: [...candidates],
    lastRenewalAt: lastRenewalAt === null ? null : timestamp(lastRenewalAt),
    runningAt: row.running_at === null ? null : timestamp(row.running_at),
  };
}
