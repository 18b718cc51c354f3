import { followIncidents, type Logged } from '../incident-spans.ts';
import type { Migration } from './migrate.ts';

/** Incidents are followed as events are written. Those of the log so far are found by going through it once. */
export const incidents: Migration = {
  version: 7,
  statements: [
    // `opening`, `closing`: sequence numbers of events
    'CREATE TABLE incident (opening INTEGER PRIMARY KEY, service_group TEXT NOT NULL, sign_at INTEGER, closing INTEGER)',
    'CREATE UNIQUE INDEX incident_open ON incident (service_group) WHERE closing IS NULL',
    'CREATE TABLE incident_sign (service_group TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID',
    'CREATE INDEX decision_of_group ON decision (service_group, at)',
  ],
  fill(sql) {
    const events = sql.exec<Logged>('SELECT seq, at, kind, service_group FROM event ORDER BY seq').toArray();
    for (const event of events) followIncidents(sql, event);
  },
};
