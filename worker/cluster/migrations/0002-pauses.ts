import type { Migration } from './migrate.ts';

/** Records gain what pauses, maintenance and a person's decision need. Failures counted before have no end: they are forgiven. */
export const pauses: Migration = {
  version: 2,
  statements: [
    "UPDATE node SET record = json_set(record, '$.maintenance', NULL)",
    `UPDATE service_group SET record =
      json_set(record, '$.pause', NULL, '$.halt', NULL, '$.cleanups', 0, '$.failures', json('{}'))`,
  ],
};
