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
const SIGN_GONE: EventKind = 'resource.recovered';

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

/** Call it with each event, in order, in the transaction that writes it. */
export function followIncidents(sql: SqlStorage, { seq, at, kind, service_group: group }: Logged): void {
  if (group === null) return;
  if (OPENING.includes(kind)) {
    // a group has one open incident: what happens meanwhile belongs to it
    sql.exec(
      `INSERT OR IGNORE INTO incident (opening, service_group, sign_at)
       VALUES (?, ?, (SELECT at FROM incident_sign WHERE service_group = ? AND at >= ?))`,
      seq,
      group,
      group,
      at - INCIDENT_SIGN_MS,
    );
  } else if (CLOSING.includes(kind)) {
    sql.exec('UPDATE incident SET closing = ? WHERE service_group = ? AND closing IS NULL', seq, group);
    sql.exec('DELETE FROM incident_sign WHERE service_group = ?', group);
  } else if (kind === SIGN) {
    sql.exec(
      `INSERT INTO incident_sign (service_group, at) VALUES (?, ?)
       ON CONFLICT (service_group) DO UPDATE SET at = excluded.at WHERE at < ?`,
      group,
      at,
      at - INCIDENT_SIGN_MS,
    );
  } else if (kind === SIGN_GONE) {
    sql.exec('DELETE FROM incident_sign WHERE service_group = ?', group);
  }
}

/** Follows the whole log anew; call it in a transaction. */
export function rebuildIncidents(sql: SqlStorage): void {
  sql.exec('DELETE FROM incident');
  sql.exec('DELETE FROM incident_sign');
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
