/**
 * Where each incident begins and ends in the event log, followed event by event, so that nobody has to read the log to find out. An incident
 * goes when the event that opened it does.
 */
import type { EventKind } from '../../schemas/events.ts';
import { INCIDENT_SIGN_MS } from '../../schemas/limits.ts';

const OPENING: readonly string[] = [
  'group.lease-expired',
  'group.failed-on-node',
  'group.failed',
  'group.held',
] satisfies EventKind[];
const CLOSING: readonly string[] = ['group.running', 'group.degraded', 'group.stopped'] satisfies EventKind[];
/** The first sign, before the group was given up: it is not served from then on. A restart in place may have helped, which no event tells. */
const SIGN: EventKind = 'resource.failed';
/** What failed before one of these has nothing to do with what comes after it. */
const ALL_CLEAR: readonly string[] = [...CLOSING, 'resource.recovered' satisfies EventKind];

/** An event as its row has it; `at` in milliseconds. */
export type Logged = {
  readonly seq: number;
  readonly at: number;
  readonly kind: string;
  readonly service_group: string | null;
};

/** An incident by sequence numbers of its events; `sign_at` (milliseconds): when a resource failed that led to it. */
export type SpanRow = {
  readonly opening: number;
  readonly service_group: string;
  readonly sign_at: number | null;
  readonly closing: number | null;
};

/** Call it with each event, in order, in the transaction that writes it, before or after it is written. */
export function followIncidents(sql: SqlStorage, { seq, at, kind, service_group: group }: Logged): void {
  if (group === null) return;
  if (OPENING.includes(kind)) {
    // a group has one open incident: what happens meanwhile belongs to it
    sql.exec(
      'INSERT OR IGNORE INTO incident (opening, service_group, sign_at) VALUES (?, ?, ?)',
      seq,
      group,
      firstSign(sql, { seq, at, group }),
    );
  } else if (CLOSING.includes(kind)) {
    sql.exec('UPDATE incident SET closing = ? WHERE service_group = ? AND closing IS NULL', seq, group);
  }
}

/** @returns when a resource of the group failed first, INCIDENT_SIGN_MS before this at most, and nothing was well since; null if none did. */
function firstSign(sql: SqlStorage, { seq, at, group }: { seq: number; at: number; group: string }): number | null {
  const events = sql.exec<{ at: number; kind: string }>(
    'SELECT at, kind FROM event WHERE service_group = ? AND seq < ? AND at >= ? ORDER BY seq DESC',
    group,
    seq,
    at - INCIDENT_SIGN_MS,
  );
  let first: number | null = null;
  for (const event of events) {
    if (ALL_CLEAR.includes(event.kind)) break;
    if (event.kind === SIGN) first = event.at;
  }
  return first;
}

/** Follows the whole log anew; call it in a transaction. */
export function rebuildIncidents(sql: SqlStorage): void {
  sql.exec('DELETE FROM incident');
  const events = sql.exec<Logged>('SELECT seq, at, kind, service_group FROM event ORDER BY seq').toArray();
  for (const event of events) followIncidents(sql, event);
}

/** Newest first. */
export function newestSpans(sql: SqlStorage, limit: number): SpanRow[] {
  return sql.exec<SpanRow>('SELECT * FROM incident ORDER BY opening DESC LIMIT ?', limit).toArray();
}

/** The one that an event opened. */
export function spanOpenedBy(sql: SqlStorage, opening: number): SpanRow | undefined {
  return sql.exec<SpanRow>('SELECT * FROM incident WHERE opening = ?', opening).toArray()[0];
}
