/**
 * What a cluster keeps on disk. Everything is synchronous: one event's writes are one transaction, and the output gate holds
 * back every answer until they are durable.
 */
import type { Operation } from '../../schemas/api.ts';
import { type Config, DEFAULT_POLICY, NO_RULES } from '../../schemas/config.ts';
import {
  MAX_STORED_DECISIONS,
  MAX_STORED_EVENTS,
  MAX_STORED_OPERATIONS,
  MAX_STORED_REVISIONS,
} from '../../schemas/limits.ts';
import type { Durable, Effect, GroupRecord, NewDecision, NewEvent, NodeRecord, Restored } from '../decide/index.ts';
import { followIncidents, rebuildIncidents } from './incident-spans.ts';
import {
  clusterMigrations,
  INCIDENTS_SINCE,
  latestVersion,
  migrate,
  NewerDatabaseError,
  versionOf,
} from './migrations/index.ts';

/** Old rows go in batches of this many, so that a full table costs one deletion per row on average and no statement per row. */
const TRIM_BATCH = 128;

/** What is still an incident, however long ago it began; that of a group that there is no more is of no use to anybody. */
const OPENINGS_TO_KEEP =
  'SELECT opening FROM incident WHERE closing IS NULL AND service_group IN (SELECT name FROM service_group)';

/** A configuration stored by a version that did not know every key. */
function complete(stored: Config): Config {
  const groups = Object.entries(stored.groups).map(([name, group]) => {
    const resources = group.resources.map((resource) => ({ ...resource, policy: resource.policy ?? DEFAULT_POLICY }));
    return [name, { ...NO_RULES, ...group, resources }] as const;
  });
  return { ...stored, labels: stored.labels ?? {}, groups: Object.fromEntries(groups) };
}

/** Everything that one event, or several events gathered, changed. */
export interface Change {
  readonly before: Durable;
  readonly after: Durable;
  readonly effects: readonly Effect[];
  /** Count one tick: the row that makes the gathered renewals durable. */
  readonly tick: boolean;
  /** Text of the configuration, when this change brought a new revision. */
  readonly document?: { readonly text: string; readonly at: number };
}

export type Opened =
  | { readonly kind: 'absent' }
  | { readonly kind: 'unusable'; readonly detail: string }
  | { readonly kind: 'open'; readonly durable: Durable };

export class ClusterStorage {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
  }

  /** Reads the cluster, after bringing its tables up to date. An object that holds no cluster is left without tables. */
  open(): Opened {
    const version = versionOf(this.#sql);
    if (version === 0) return { kind: 'absent' };
    const known = latestVersion(clusterMigrations);
    if (version > known) return { kind: 'unusable', detail: new NewerDatabaseError(version, known).message };
    if (version < known)
      this.#storage.transactionSync(() => {
        migrate(this.#sql, clusterMigrations);
        // by the code of today, so on the tables of today: not between two migrations
        if (version < INCIDENTS_SINCE) rebuildIncidents(this.#sql);
      });
    const durable = this.#load();
    return durable === null ? { kind: 'absent' } : { kind: 'open', durable };
  }

  create(durable: Durable, createdAt: number, event: NewEvent): void {
    this.#storage.transactionSync(() => {
      migrate(this.#sql, clusterMigrations);
      this.#sql.exec(
        'INSERT INTO cluster (id, name, history, generation, revision, restored, created_at) VALUES (1, ?, ?, ?, ?, NULL, ?)',
        durable.cluster,
        durable.history,
        durable.generation,
        durable.revision,
        createdAt,
      );
      this.#addEvent(event);
    });
  }

  createdAt(): number {
    return this.#sql.exec<{ created_at: number }>('SELECT created_at FROM cluster').one().created_at;
  }

  /** Whether somebody wants to be told when there are events. */
  followed(): boolean {
    return this.#sql.exec<{ followed: number }>('SELECT followed FROM cluster').one().followed === 1;
  }

  setFollowed(followed: boolean): void {
    this.#sql.exec('UPDATE cluster SET followed = ?', followed ? 1 : 0);
  }

  /** One transaction around several writes; nests. */
  transaction<T>(body: () => T): T {
    return this.#storage.transactionSync(body);
  }

  /** Stores a change, whole or not at all. */
  save(change: Change): void {
    this.#storage.transactionSync(() => {
      const { after } = change;
      if (change.tick) this.#sql.exec('UPDATE tick SET n = n + 1');
      for (const effect of change.effects) this.#record(effect);
      this.#saveCluster(change.before, after);
      this.#saveRecords('node', 'name', 'record', change.before.nodes, after.nodes, JSON.stringify);
      this.#saveRecords('service_group', 'name', 'record', change.before.groups, after.groups, JSON.stringify);
      this.#saveRecords(
        'highest_epoch',
        'service_group',
        'epoch',
        change.before.highestEpochs,
        after.highestEpochs,
        (epoch) => epoch,
      );
      this.#saveOperations(change.before.operations, after.operations);
      if (change.document !== undefined) this.#addRevision(after, change.document.text, change.document.at);
    });
  }

  addEvent(event: NewEvent): void {
    this.#storage.transactionSync(() => this.#addEvent(event));
  }

  #load(): Durable | null {
    const cluster = this.#sql
      .exec<{ name: string; history: string; generation: number; revision: number; restored: string | null }>(
        'SELECT * FROM cluster',
      )
      .toArray()[0];
    if (cluster === undefined) return null;
    const config = this.#sql
      .exec<{ config: string }>('SELECT config FROM revision WHERE revision = ?', cluster.revision)
      .toArray()[0];
    const epochs = this.#sql.exec<{ service_group: string; epoch: number }>('SELECT * FROM highest_epoch').toArray();
    const operations = this.#sql
      .exec<{ name: string; record: string }>('SELECT id AS name, record FROM operation WHERE finished = 0')
      .toArray();
    return {
      cluster: cluster.name,
      history: cluster.history,
      generation: cluster.generation,
      revision: cluster.revision,
      config: config === undefined ? null : complete(JSON.parse(config.config) as Config),
      nodes: this.#loadRecords<NodeRecord>('node'),
      groups: this.#loadRecords<GroupRecord>('service_group'),
      operations: Object.fromEntries(operations.map((row) => [row.name, JSON.parse(row.record) as Operation])),
      restored: cluster.restored === null ? null : (JSON.parse(cluster.restored) as Restored),
      highestEpochs: Object.fromEntries(epochs.map((row) => [row.service_group, row.epoch])),
    };
  }

  #loadRecords<T>(table: 'node' | 'service_group'): Record<string, T> {
    const rows = this.#sql.exec<{ name: string; record: string }>(`SELECT name, record FROM ${table}`).toArray();
    return Object.fromEntries(rows.map((row) => [row.name, JSON.parse(row.record) as T]));
  }

  #saveCluster(before: Durable, after: Durable): void {
    const same =
      before.history === after.history &&
      before.generation === after.generation &&
      before.revision === after.revision &&
      before.restored === after.restored;
    if (same) return;
    this.#sql.exec(
      'UPDATE cluster SET history = ?, generation = ?, revision = ?, restored = ?',
      after.history,
      after.generation,
      after.revision,
      after.restored === null ? null : JSON.stringify(after.restored),
    );
  }

  /** Writes the records whose reference changed and deletes those that are gone. */
  #saveRecords<T>(
    table: string,
    key: string,
    column: string,
    before: Readonly<Record<string, T>>,
    after: Readonly<Record<string, T>>,
    encode: (record: T) => string | number,
  ): void {
    if (before === after) return;
    for (const [name, record] of Object.entries(after)) {
      if (before[name] === record) continue;
      this.#sql.exec(
        `INSERT INTO ${table} (${key}, ${column}) VALUES (?, ?)
         ON CONFLICT (${key}) DO UPDATE SET ${column} = excluded.${column}`,
        name,
        encode(record),
      );
    }
    for (const name of Object.keys(before)) {
      if (!(name in after)) this.#sql.exec(`DELETE FROM ${table} WHERE ${key} = ?`, name);
    }
  }

  /** Running operations only: one that left the state was finished by an effect and stays. */
  #saveOperations(before: Durable['operations'], after: Durable['operations']): void {
    if (before === after) return;
    for (const [id, operation] of Object.entries(after)) {
      if (before[id] !== operation) this.#putOperation(operation, false);
    }
  }

  #putOperation(operation: Operation, finished: boolean): void {
    const { seq } = this.#sql
      .exec<{ seq: number }>(
        `INSERT INTO operation (id, finished, record) VALUES (?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, record = excluded.record RETURNING seq`,
        operation.id,
        finished ? 1 : 0,
        JSON.stringify(operation),
      )
      .one();
    this.#trim('operation', 'seq', seq, MAX_STORED_OPERATIONS, 'AND finished = 1');
  }

  #record(effect: Effect): void {
    switch (effect.kind) {
      case 'event':
        this.#addEvent(effect.event);
        return;
      case 'decision':
        this.#addDecision(effect.decision);
        return;
      case 'answering':
        this.#sql.exec(
          "UPDATE decision SET running_at = ? WHERE kind = 'grant' AND service_group = ? AND epoch = ? AND running_at IS NULL",
          effect.at,
          effect.group,
          effect.epoch,
        );
        return;
      case 'operation':
        this.#putOperation(effect.operation, effect.operation.state !== 'running');
        return;
      case 'nudge':
        return;
      default:
        effect satisfies never;
    }
  }

  #addEvent(event: NewEvent): void {
    const added = this.#sql
      .exec<{ seq: number }>(
        `INSERT INTO event (at, kind, severity, node, service_group, resource, epoch, detail, agent_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING seq`,
        event.at,
        event.kind,
        event.severity,
        event.node ?? null,
        event.group ?? null,
        event.resource ?? null,
        event.epoch ?? null,
        event.detail,
        event.id ?? null,
      )
      .toArray()[0];
    if (added === undefined) return;
    followIncidents(this.#sql, { ...event, seq: added.seq, service_group: event.group ?? null });
    this.#trim('event', 'seq', added.seq, MAX_STORED_EVENTS, `AND seq NOT IN (${OPENINGS_TO_KEEP})`);
    this.#trim('incident', 'opening', added.seq, MAX_STORED_EVENTS, `AND opening NOT IN (${OPENINGS_TO_KEEP})`);
  }

  #addDecision(decision: NewDecision): void {
    const { seq } = this.#sql
      .exec<{ seq: number }>(
        'INSERT INTO decision (at, service_group, kind, node, epoch, record) VALUES (?, ?, ?, ?, ?, ?) RETURNING seq',
        decision.at,
        decision.group,
        decision.kind,
        decision.node,
        decision.epoch,
        JSON.stringify(decision),
      )
      .one();
    this.#trim('decision', 'seq', seq, MAX_STORED_DECISIONS);
  }

  #addRevision(after: Durable, text: string, at: number): void {
    this.#sql.exec(
      'INSERT INTO revision (revision, at, document, config) VALUES (?, ?, ?, ?)',
      after.revision,
      at,
      text,
      JSON.stringify(after.config),
    );
    this.#sql.exec('DELETE FROM revision WHERE revision <= ?', after.revision - MAX_STORED_REVISIONS);
  }

  /** Deletes what exceeds the limit whenever the newest sequence number completes a batch. */
  #trim(table: string, key: string, newest: number, limit: number, condition = ''): void {
    if (newest % TRIM_BATCH !== 0) return;
    this.#sql.exec(`DELETE FROM ${table} WHERE ${key} <= ? ${condition}`, newest - limit);
  }
}
