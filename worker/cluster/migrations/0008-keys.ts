import type { Migration } from './migrate.ts';

/** The keys by which nodes know the cluster. Only the newest has its private half. */
export const keys: Migration = {
  version: 8,
  statements: [
    `CREATE TABLE cluster_key (
      seq INTEGER PRIMARY KEY,
      fingerprint TEXT NOT NULL UNIQUE,
      public_key TEXT NOT NULL,
      pkcs8 TEXT,
      made_at INTEGER NOT NULL,
      succession TEXT
    )`,
  ],
};
