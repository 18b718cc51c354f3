import { first } from './0001-first.ts';
import { pauses } from './0002-pauses.ts';
import { voters } from './0003-voters.ts';
import { followed } from './0004-followed.ts';
import { access } from './0005-access.ts';
import { auditChain } from './0006-audit-chain.ts';
import { incidents } from './0007-incidents.ts';
import { keys } from './0008-keys.ts';
import type { Migration } from './migrate.ts';

export { latestVersion, type Migration, migrate, NewerDatabaseError, versionOf } from './migrate.ts';

/** Databases of versions before this one have events, and no incidents. */
export const INCIDENTS_SINCE: number = incidents.version;

export const clusterMigrations: readonly Migration[] = [
  first,
  pauses,
  voters,
  followed,
  access,
  auditChain,
  incidents,
  keys,
];
