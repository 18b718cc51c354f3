import type { Migration } from './migrate.ts';

/**
 * Lines of the audit are chained (schemas/audit-chain.ts), and the end of an action is a line of its own (`ends`: the `seq` of its beginning).
 * Those from before stay as they are, without hashes.
 */
export const auditChain: Migration = {
  version: 6,
  statements: [
    'ALTER TABLE audit ADD COLUMN ends INTEGER',
    'ALTER TABLE audit ADD COLUMN prev TEXT',
    'ALTER TABLE audit ADD COLUMN hash TEXT',
    'CREATE UNIQUE INDEX audit_ends ON audit (ends) WHERE ends IS NOT NULL',
  ],
};
