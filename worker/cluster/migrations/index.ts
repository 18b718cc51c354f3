import { first } from './0001-first.ts';
import type { Migration } from './migrate.ts';

export { latestVersion, type Migration, migrate, NewerDatabaseError, versionOf } from './migrate.ts';

export const clusterMigrations: readonly Migration[] = [first];
