import type { Migration } from './migrate.ts';

/**
 * One row per record, each the JSON of its type in worker/decide/state.ts. Sequence numbers are rowids: the newest row is never
 * deleted, so they only grow, without the second write per row that AUTOINCREMENT costs.
 */
export const first: Migration = {
  version: 1,
  statements: [
    `CREATE TABLE cluster (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      name TEXT NOT NULL,
      history TEXT NOT NULL,
      revision INTEGER NOT NULL,
      restored TEXT,
      created_at INTEGER NOT NULL
    )`,
    'CREATE TABLE node (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID',
    'CREATE TABLE service_group (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID',
    'CREATE TABLE highest_epoch (service_group TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID',
    `CREATE TABLE operation (
      seq INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      finished INTEGER NOT NULL,
      record TEXT NOT NULL
    )`,
    // The configuration as it was understood is kept beside its text: a release that reads the text otherwise (other timing in a
    // profile, say) must not change what running nodes agreed on before somebody applies it again.
    `CREATE TABLE revision (
      revision INTEGER PRIMARY KEY,
      at INTEGER NOT NULL,
      document TEXT NOT NULL,
      config TEXT NOT NULL
    )`,
    `CREATE TABLE event (
      seq INTEGER PRIMARY KEY,
      at INTEGER NOT NULL,
      kind TEXT NOT NULL,
      severity TEXT NOT NULL,
      node TEXT,
      service_group TEXT,
      resource TEXT,
      epoch INTEGER,
      detail TEXT NOT NULL,
      agent_id TEXT
    )`,
    'CREATE UNIQUE INDEX event_of_agent ON event (node, agent_id) WHERE agent_id IS NOT NULL',
    `CREATE TABLE decision (
      seq INTEGER PRIMARY KEY,
      at INTEGER NOT NULL,
      service_group TEXT NOT NULL,
      kind TEXT NOT NULL,
      node TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      record TEXT NOT NULL,
      running_at INTEGER
    )`,
    `CREATE TABLE join_token (
      id TEXT PRIMARY KEY,
      node TEXT NOT NULL,
      secret_sha256 TEXT NOT NULL,
      expires_at INTEGER NOT NULL,
      used_at INTEGER,
      used_key TEXT
    ) WITHOUT ROWID`,
    // The row that a commit of renewals writes (protocol.md, Cost).
    'CREATE TABLE tick (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL)',
    'INSERT INTO tick (id, n) VALUES (1, 0)',
  ],
};
