import type { Migration } from './migrate.ts';

/** Tokens of people and machines, and the record of what was done with them. */
export const access: Migration = {
  version: 5,
  statements: [
    `CREATE TABLE access_token (
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      role TEXT NOT NULL,
      groups TEXT,
      secret_sha256 TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      expires_at INTEGER NOT NULL
    ) WITHOUT ROWID`,
    `CREATE TABLE audit (
      seq INTEGER PRIMARY KEY,
      at INTEGER NOT NULL,
      who TEXT NOT NULL,
      role TEXT NOT NULL,
      what TEXT NOT NULL,
      status INTEGER,
      problem TEXT,
      reason TEXT,
      before TEXT,
      after TEXT,
      who_id TEXT NOT NULL,
      key TEXT,
      body_sha256 TEXT,
      answer TEXT
    )`,
    'CREATE INDEX audit_of_key ON audit (who_id, key) WHERE key IS NOT NULL',
  ],
};
