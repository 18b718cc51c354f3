import type { Migration } from './migrate.ts';

/** Whether the object of webhooks wants to be woken when there are events. */
export const followed: Migration = {
  version: 4,
  statements: ['ALTER TABLE cluster ADD COLUMN followed INTEGER NOT NULL DEFAULT 0'],
};
