import type { Migration } from './migrate.ts';

/** Leases gain what voters need (C3, C6), nodes where their peers find them. What was granted before lives on nobody's promise. */
export const voters: Migration = {
  version: 3,
  statements: [
    'ALTER TABLE cluster ADD COLUMN generation INTEGER NOT NULL DEFAULT 1',
    "UPDATE node SET record = json_set(record, '$.endpoint', NULL)",
    `UPDATE service_group SET record = json_set(record,
      '$.lease.voters', json_object('version', 1, 'names', json_extract(record, '$.lease.voters')),
      '$.lease.pendingVoters', NULL, '$.lease.eligibleBase', NULL, '$.lease.followsRelease', NULL,
      '$.lease.barred', json('{}'))
      WHERE json_type(record, '$.lease') = 'object'`,
  ],
};
