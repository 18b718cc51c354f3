import type { Migration } from './migrate.ts';

/** Incidents are followed as events are written. Those of the log so far are found when every migration is through (storage.ts). */
export const incidents: Migration = {
  version: 7,
  statements: [
    // `opening`, `closing`: sequence numbers of events
    'CREATE TABLE incident (opening INTEGER PRIMARY KEY, service_group TEXT NOT NULL, sign_at INTEGER, closing INTEGER)',
    'CREATE UNIQUE INDEX incident_open ON incident (service_group) WHERE closing IS NULL',
    'CREATE INDEX decision_of_group ON decision (service_group, at)',
    'CREATE INDEX event_of_group ON event (service_group, seq)',
  ],
};
