/** Reads incidents out of what is stored. */
import { type Incident, incidentIdPattern, MAX_INCIDENTS_LISTED } from '../../schemas/incident.ts';
import type { Decision } from '../../schemas/reasons.ts';
import { newestSpans, type SpanRow, spanOpenedBy } from './incident-spans.ts';
import { incidentOf, type Span, type Story, timelineOf } from './incidents.ts';
import { type Records, timestamp } from './records.ts';

/** What led to an incident is among so many events before the one that opened it. */
const EVENTS_BEFORE = 200;
/** Of one that lasts for days only the beginning is told. */
const MAX_EVENTS = 1_000;
const MAX_DECISIONS = 100;

export class Incidents {
  readonly #sql: SqlStorage;
  readonly #records: Records;

  constructor(sql: SqlStorage, records: Records) {
    this.#sql = sql;
    this.#records = records;
  }

  /** Newest first. */
  newest(now: number): Incident[] {
    return this.#spans(newestSpans(this.#sql, MAX_INCIDENTS_LISTED)).map((span) =>
      incidentOf(span, grantsIn(this.#decisions(span, now))),
    );
  }

  /** @param id of an incident, or `last`. @returns null when there is none. */
  story(id: string, now: number): Story | null {
    const seq = Number(incidentIdPattern.exec(id)?.[1] ?? 0);
    const row = id === 'last' ? newestSpans(this.#sql, 1)[0] : spanOpenedBy(this.#sql, seq);
    const [span] = this.#spans(row === undefined ? [] : [row]);
    if (span === undefined) return null;
    const decisions = this.#decisions(span, now);
    const grants = grantsIn(decisions);
    const incident = incidentOf(span, grants);
    const lastRenewalAt = grants[0]?.lastRenewalAt ?? null;
    const newest = span.closing?.seq ?? this.#records.newestEvent();
    const events = this.#records.eventsBetween(Math.max(0, span.opening.seq - EVENTS_BEFORE), newest, MAX_EVENTS);
    return {
      incident,
      lastRenewalAt,
      grants,
      refusals: decisions.filter(({ kind }) => kind === 'refusal'),
      timeline: timelineOf(incident, lastRenewalAt, grants, events),
    };
  }

  #spans(rows: readonly SpanRow[]): Span[] {
    const events = this.#records.eventsBySeq(rows.flatMap(({ opening, closing }) => [opening, closing ?? []].flat()));
    return rows.flatMap(({ service_group: group, opening, closing, sign_at }) => {
      const opened = events.get(opening);
      if (opened === undefined) return [];
      return {
        group,
        signAt: sign_at === null ? null : timestamp(sign_at),
        opening: opened,
        closing: closing === null ? null : (events.get(closing) ?? null),
      };
    });
  }

  #decisions({ group, opening, closing }: Span, now: number): Decision[] {
    const until = closing === null ? now : Date.parse(closing.at);
    return this.#records.decisionsBetween(group, Date.parse(opening.at), until, MAX_DECISIONS);
  }
}

function grantsIn(decisions: readonly Decision[]): Decision[] {
  return decisions.filter(({ kind }) => kind === 'grant');
}
