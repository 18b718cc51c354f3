/** What the object of webhooks keeps on disk. */
import {
  type CreateWebhook,
  type Delivery,
  MAX_WEBHOOK_ATTEMPTS,
  MAX_WEBHOOK_BACKLOG,
  MAX_WEBHOOK_DELIVERED,
  type Notice,
  type Webhook,
} from '../../schemas/webhook.ts';
import { type Migration, migrate, timestamp, versionOf } from '../cluster/index.ts';

const migrations: readonly Migration[] = [
  {
    version: 1,
    statements: [
      // where people reach the coordinator, and up to which event of the cluster everything was taken over
      'CREATE TABLE source (id INTEGER PRIMARY KEY CHECK (id = 1), cluster TEXT NOT NULL, origin TEXT NOT NULL, taken INTEGER NOT NULL)',
      `CREATE TABLE webhook (
        id TEXT PRIMARY KEY,
        url TEXT NOT NULL,
        format TEXT NOT NULL,
        events TEXT NOT NULL,
        allow_private INTEGER NOT NULL,
        key TEXT,
        secret TEXT,
        previous_secret TEXT,
        previous_until INTEGER,
        created_at INTEGER NOT NULL,
        disabled TEXT,
        dropped INTEGER NOT NULL DEFAULT 0
      ) WITHOUT ROWID`,
      // delivered in the order of seq
      `CREATE TABLE message (
        seq INTEGER PRIMARY KEY,
        webhook TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        notice TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_at INTEGER NOT NULL
      )`,
      'CREATE INDEX message_of_webhook ON message (webhook, state, seq)',
      `CREATE TABLE attempt (
        seq INTEGER PRIMARY KEY,
        webhook TEXT NOT NULL,
        delivery TEXT NOT NULL
      )`,
      'CREATE INDEX attempt_of_webhook ON attempt (webhook, seq)',
    ],
  },
  { version: 2, statements: ['ALTER TABLE source ADD COLUMN taken_at TEXT'] },
];

export interface Source {
  readonly cluster: string;
  readonly origin: string;
  /** Sequence number of the newest event that was taken over, and when that was; null: not known. */
  readonly taken: number;
  readonly takenAt: string | null;
}

export interface Subscription {
  readonly id: string;
  readonly url: string;
  readonly format: CreateWebhook['format'];
  readonly events: readonly string[];
  readonly allowPrivate: boolean;
  readonly key: string | null;
  readonly secret: string | null;
  readonly previousSecret: string | null;
  readonly previousUntil: number | null;
  readonly createdAt: number;
  /** Why it is disabled; null while it is not. */
  readonly disabled: string | null;
  /** How many undelivered notices had to make room for newer ones. */
  readonly dropped: number;
}

export type MessageState = 'pending' | 'delivered';

export interface Message {
  readonly id: string;
  readonly notice: Notice;
  readonly attempts: number;
  /** Not before this time. */
  readonly nextAt: number;
}

type WebhookRow = Record<string, string | number | null> & { id: string; url: string; events: string };
type MessageRow = { id: string; notice: string; attempts: number; next_at: number };

export class WebhookStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    // an object that nobody has given a webhook is left without tables
    if (versionOf(this.#sql) > 0) this.transaction(() => migrate(this.#sql, migrations));
  }

  transaction<T>(body: () => T): T {
    return this.#storage.transactionSync(body);
  }

  get empty(): boolean {
    return versionOf(this.#sql) === 0;
  }

  source(): Source | null {
    if (this.empty) return null;
    const { cluster, origin, taken, taken_at } = this.#sql
      .exec<{ cluster: string; origin: string; taken: number; taken_at: string | null }>('SELECT * FROM source')
      .one();
    return { cluster, origin, taken, takenAt: taken_at };
  }

  /** Makes the tables. What the cluster tells after event `taken` is told; a source that is known keeps where it was. */
  begin(cluster: string, origin: string, taken: number): void {
    this.transaction(() => {
      migrate(this.#sql, migrations);
      const none = this.#sql.exec('SELECT 1 FROM webhook').toArray().length === 0;
      this.#sql.exec(
        `INSERT INTO source (id, cluster, origin, taken) VALUES (1, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET origin = excluded.origin${none ? ', taken = excluded.taken, taken_at = NULL' : ''}`,
        cluster,
        origin,
        taken,
      );
    });
  }

  setTaken(seq: number, at: string | null): void {
    this.#sql.exec('UPDATE source SET taken = ?, taken_at = ?', seq, at);
  }

  add(webhook: Subscription): void {
    this.#sql.exec(
      `INSERT INTO webhook (id, url, format, events, allow_private, key, secret, previous_secret, previous_until, created_at, disabled)
       VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, NULL)`,
      webhook.id,
      webhook.url,
      webhook.format,
      JSON.stringify(webhook.events),
      webhook.allowPrivate ? 1 : 0,
      webhook.key,
      webhook.secret,
      webhook.createdAt,
    );
  }

  remove(id: string): void {
    this.transaction(() => {
      for (const [table, column] of [
        ['attempt', 'webhook'],
        ['message', 'webhook'],
        ['webhook', 'id'],
      ])
        this.#sql.exec(`DELETE FROM ${table} WHERE ${column} = ?`, id);
    });
  }

  webhooks(): Subscription[] {
    if (this.empty) return [];
    return this.#sql.exec<WebhookRow>('SELECT * FROM webhook ORDER BY created_at, id').toArray().map(toSubscription);
  }

  webhook(id: string): Subscription | null {
    if (this.empty) return null;
    const row = this.#sql.exec<WebhookRow>('SELECT * FROM webhook WHERE id = ?', id).toArray()[0];
    return row === undefined ? null : toSubscription(row);
  }

  setDisabled(id: string, reason: string | null): void {
    this.#sql.exec('UPDATE webhook SET disabled = ? WHERE id = ?', reason, id);
  }

  rotate(id: string, secret: string, now: number, previousUntil: number): void {
    this.#sql.exec(
      // repeated within the overlap, the secret that the receiver knows goes on signing
      `UPDATE webhook SET previous_secret = CASE WHEN previous_until > ? THEN previous_secret ELSE secret END,
       previous_until = ?, secret = ? WHERE id = ?`,
      now,
      previousUntil,
      secret,
      id,
    );
  }

  enqueue(webhook: string, id: string, notice: Notice, now: number): void {
    this.#sql.exec(
      "INSERT INTO message (webhook, id, notice, state, attempts, next_at) VALUES (?, ?, ?, 'pending', 0, ?)",
      webhook,
      id,
      JSON.stringify(notice),
      now,
    );
  }

  /** Undelivered ones that are too many make room, the oldest first, and are counted. */
  trim(webhook: string): void {
    const dropped = this.#keepNewest(webhook, 'pending', MAX_WEBHOOK_BACKLOG);
    if (dropped > 0) this.#sql.exec('UPDATE webhook SET dropped = dropped + ? WHERE id = ?', dropped, webhook);
  }

  #keepNewest(webhook: string, state: MessageState, limit: number): number {
    return this.#sql
      .exec(
        `DELETE FROM message WHERE seq IN (SELECT seq FROM message WHERE webhook = ? AND state = ?
         ORDER BY seq DESC LIMIT -1 OFFSET ?) RETURNING seq`,
        webhook,
        state,
        limit,
      )
      .toArray().length;
  }

  /** What is next for a webhook: its notices are delivered in order. */
  head(webhook: string): Message | null {
    const row = this.#sql
      .exec<MessageRow>(
        "SELECT id, notice, attempts, next_at FROM message WHERE webhook = ? AND state = 'pending' ORDER BY seq LIMIT 1",
        webhook,
      )
      .toArray()[0];
    if (row === undefined) return null;
    return { id: row.id, notice: JSON.parse(row.notice) as Notice, attempts: row.attempts, nextAt: row.next_at };
  }

  settle(webhook: string, id: string, state: MessageState, attempts: number, nextAt: number): void {
    this.#sql.exec('UPDATE message SET state = ?, attempts = ?, next_at = ? WHERE id = ?', state, attempts, nextAt, id);
    if (state === 'delivered') this.#keepNewest(webhook, 'delivered', MAX_WEBHOOK_DELIVERED);
  }

  /** Everything undelivered may be tried at once again. */
  hurry(webhook: string, now: number): void {
    this.#sql.exec(
      "UPDATE message SET attempts = 0, next_at = ? WHERE webhook = ? AND state = 'pending'",
      now,
      webhook,
    );
  }

  /** A notice that is still kept is delivered once more. @returns whether there is one. */
  replay(webhook: string, id: string, now: number): boolean {
    return (
      this.#sql
        .exec(
          "UPDATE message SET state = 'pending', attempts = 0, next_at = ? WHERE webhook = ? AND id = ? RETURNING seq",
          now,
          webhook,
          id,
        )
        .toArray().length > 0
    );
  }

  record(webhook: string, delivery: Delivery): void {
    this.#sql.exec('INSERT INTO attempt (webhook, delivery) VALUES (?, ?)', webhook, JSON.stringify(delivery));
    this.#sql.exec(
      'DELETE FROM attempt WHERE seq IN (SELECT seq FROM attempt WHERE webhook = ? ORDER BY seq DESC LIMIT -1 OFFSET ?)',
      webhook,
      MAX_WEBHOOK_ATTEMPTS,
    );
  }

  /** Newest first. */
  attempts(webhook: string, limit: number): Delivery[] {
    return this.#sql
      .exec<{ delivery: string }>(
        'SELECT delivery FROM attempt WHERE webhook = ? ORDER BY seq DESC LIMIT ?',
        webhook,
        limit,
      )
      .toArray()
      .map((row) => JSON.parse(row.delivery) as Delivery);
  }

  /** Attempts to tell events of these sequence numbers, both ends included, oldest first. */
  told(first: number, last: number): (Delivery & { webhook: string })[] {
    if (this.empty) return [];
    return this.#sql
      .exec<{ webhook: string; delivery: string }>(
        "SELECT webhook, delivery FROM attempt WHERE json_extract(delivery, '$.seq') BETWEEN ? AND ? ORDER BY seq",
        first,
        last,
      )
      .toArray()
      .map(({ webhook, delivery }) => ({ ...(JSON.parse(delivery) as Delivery), webhook }));
  }

  /** When something is to be delivered next, but by those `busy`; null when nothing is. */
  dueAt(busy: ReadonlySet<string>): number | null {
    if (this.empty) return null;
    const times = this.webhooks()
      .filter(({ id, disabled }) => disabled === null && !busy.has(id))
      .flatMap(({ id }) => this.head(id)?.nextAt ?? []);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** As people see it. */
  shown(webhook: Subscription): Webhook {
    const counts = this.#sql
      .exec<{ state: MessageState; n: number }>(
        'SELECT state, count(*) AS n FROM message WHERE webhook = ? GROUP BY state',
        webhook.id,
      )
      .toArray();
    const count = (state: MessageState) => counts.find((row) => row.state === state)?.n ?? 0;
    const head = webhook.disabled === null ? this.head(webhook.id) : null;
    const [last] = this.attempts(webhook.id, 1);
    return {
      id: webhook.id,
      // Slack's URL is itself the secret
      url: webhook.format === 'slack' ? `${new URL(webhook.url).origin}/…` : webhook.url,
      format: webhook.format,
      events: [...webhook.events],
      allowPrivate: webhook.allowPrivate,
      createdAt: timestamp(webhook.createdAt),
      state: webhook.disabled === null ? 'active' : 'disabled',
      ...(webhook.disabled === null ? {} : { reason: webhook.disabled }),
      pending: count('pending'),
      dropped: webhook.dropped,
      nextAttemptAt: head === null ? null : timestamp(head.nextAt),
      last: last === undefined ? null : { at: last.at, ok: last.ok, detail: last.detail },
    };
  }
}

function toSubscription(row: WebhookRow): Subscription {
  return {
    id: row.id,
    url: row.url,
    format: row.format as Subscription['format'],
    events: JSON.parse(row.events) as string[],
    allowPrivate: row.allow_private === 1,
    key: row.key as string | null,
    secret: row.secret as string | null,
    previousSecret: row.previous_secret as string | null,
    previousUntil: row.previous_until as number | null,
    createdAt: Number(row.created_at),
    disabled: row.disabled as string | null,
    dropped: Number(row.dropped),
  };
}
