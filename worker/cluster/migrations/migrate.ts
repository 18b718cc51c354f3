/** Numbered migrations of a SQLite-backed object. Version 0 is a database without tables. */

export interface Migration {
  /** Counts from 1 without gaps. Once released, a migration is never edited: write the next one. */
  readonly version: number;
  /** SQL alone: code that is called from here would change, and with it what was released. */
  readonly statements: readonly string[];
}

/** The database was written by a newer release than this code. */
export class NewerDatabaseError extends Error {
  override name = 'NewerDatabaseError';
  constructor(found: number, known: number) {
    super(
      `the stored data is of schema version ${found}, this coordinator knows versions up to ${known}: run the newer release again; nothing was changed`,
    );
  }
}

/** @returns the version of the database, 0 if it has no tables. Writes nothing. */
export function versionOf(sql: SqlStorage): number {
  const table = sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'").toArray();
  if (table.length === 0) return 0;
  const row = sql.exec<{ version: number }>('SELECT version FROM schema_version').toArray()[0];
  return row?.version ?? 0;
}

/** The version that a list of migrations leads to. */
export function latestVersion(migrations: readonly Migration[]): number {
  return migrations.at(-1)?.version ?? 0;
}

/**
 * Brings the database to the newest version; call it inside a transaction.
 * @throws NewerDatabaseError when the database is newer than the list.
 */
export function migrate(sql: SqlStorage, migrations: readonly Migration[]): void {
  const found = versionOf(sql);
  const known = latestVersion(migrations);
  if (found > known) throw new NewerDatabaseError(found, known);
  if (found === known) return;
  for (const migration of migrations) {
    if (migration.version <= found) continue;
    for (const statement of migration.statements) sql.exec(statement);
  }
  sql.exec(
    'CREATE TABLE IF NOT EXISTS schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL)',
  );
  sql.exec(
    'INSERT INTO schema_version (id, version) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version',
    known,
  );
}
