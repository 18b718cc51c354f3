/** The list of clusters, in one object of its own. */
import { DurableObject } from 'cloudflare:workers';
import { type Migration, migrate, versionOf } from '../cluster/index.ts';
import type { Env } from '../env.ts';

const migrations: readonly Migration[] = [
  {
    version: 1,
    statements: ['CREATE TABLE cluster (name TEXT PRIMARY KEY, created_at INTEGER NOT NULL) WITHOUT ROWID'],
  },
];

export interface Registered {
  readonly name: string;
  readonly createdAt: number;
}

export class Registry extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // An object that lists nothing yet is left without tables.
    if (versionOf(ctx.storage.sql) > 0) ctx.storage.transactionSync(() => migrate(ctx.storage.sql, migrations));
  }

  /** Adds a cluster; one that is listed already stays as it is. */
  async add(name: string, createdAt: number): Promise<void> {
    this.ctx.storage.transactionSync(() => {
      migrate(this.ctx.storage.sql, migrations);
      this.ctx.storage.sql.exec(
        'INSERT INTO cluster (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING',
        name,
        createdAt,
      );
    });
  }

  async has(name: string): Promise<boolean> {
    if (versionOf(this.ctx.storage.sql) === 0) return false;
    return this.ctx.storage.sql.exec('SELECT 1 FROM cluster WHERE name = ?', name).toArray().length > 0;
  }

  async list(): Promise<Registered[]> {
    if (versionOf(this.ctx.storage.sql) === 0) return [];
    return this.ctx.storage.sql
      .exec<{ name: string; created_at: number }>('SELECT name, created_at FROM cluster ORDER BY name')
      .toArray()
      .map((row) => ({ name: row.name, createdAt: row.created_at }));
  }
}
