/**
 * The webhooks of one cluster, in an object of their own: a receiver that is slow or away must not delay a lease.
 *
 * The cluster's event log is the outbox: an event is written with the change that it tells of, in one transaction, and this object
 * remembers up to where it has taken the log over. The cluster wakes it when there is more; its own alarm comes back to what could not be
 * delivered. At least once, and in order for each webhook.
 */
import { DurableObject } from 'cloudflare:workers';
import type { EventKind } from '../../schemas/events.ts';
import {
  type CreateWebhook,
  type Delivery,
  MAX_WEBHOOK_ATTEMPTS,
  MAX_WEBHOOKS,
  type Notice,
  SECRET_OVERLAP_MS,
  type Webhook,
} from '../../schemas/webhook.ts';
import { newSecret } from '../../schemas/webhook-signature.ts';
import { type Cluster, done, type Result, randomHex, refuse, timestamp } from '../cluster/index.ts';
import type { Env } from '../env.ts';
import { addressProblem } from './address.ts';
import { attempt } from './attempt.ts';
import { wants } from './filter.ts';
import { FORMATS } from './formats/index.ts';
import { noticeOf } from './notice.ts';
import { pauseAfter } from './schedule.ts';
import { type Message, type Source, type Subscription, WebhookStore } from './store.ts';

/** Events taken over in one go. */
const PAGE = 50;
/** Deliveries of one webhook before its queue is looked at anew. */
const DELIVERIES_PER_TURN = 50;
/** If this instance ends in the middle of a delivery, the next one begins after so long. */
const BACKSTOP_MS = 30_000;
/** Pause of a webhook that is to be disabled while the cluster cannot be told so. */
const UNTOLD_PAUSE_MS = 60_000;
/** Of a cluster that was put back to an older copy of its data: so many events of that copy are told, perhaps for the second time. */
const RETOLD_AFTER_RESTORE = 20;

export class Webhooks extends DurableObject<Env> {
  readonly #store: WebhookStore;
  /** Webhooks whose queue is being worked off. */
  readonly #queues = new Set<string>();
  #taking: Promise<void> | null = null;
  #more = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new WebhookStore(ctx.storage);
  }

  /** There are events that were not taken over. */
  async wake(): Promise<void> {
    // who wakes hears whether the events are taken over, and calls again if not; nobody waits for their delivery
    await this.#takeOver();
    this.#deliver();
  }

  /** Does not wait for deliveries: the next alarm could not come before they have ended. */
  override async alarm(): Promise<void> {
    this.#deliver();
    await this.#takeOver();
    this.#deliver();
  }

  // What people ask for.

  async create(
    cluster: string,
    wanted: CreateWebhook,
    origin: string,
  ): Promise<Result<{ webhook: Webhook; secret: string | null }>> {
    const unfit = this.#unfit(wanted, origin);
    if (unfit !== null) return refuse('invalid-value', unfit);
    const { allowPrivate } = wanted;
    if (allowPrivate && this.env.PRIVATE_RECEIVERS !== '1')
      return refuse(
        'not-possible',
        'receivers on private addresses can only be reached by a coordinator of your own (`holdfast serve`)',
      );
    const tooMany = refuse('not-possible', `a cluster has at most ${MAX_WEBHOOKS} webhooks: remove one first`);
    if (this.#store.webhooks().length >= MAX_WEBHOOKS) return tooMany;
    const followed = await this.#cluster(cluster).follow(true);
    if (!followed.ok) return followed;
    const id = `wh_${randomHex(8)}`;
    const secret = FORMATS[wanted.format].signed ? newSecret() : null;
    const { url, format, events, key = null } = wanted;
    const added: Subscription = {
      id,
      url: new URL(url).href,
      format,
      events,
      allowPrivate,
      key,
      secret,
      previousSecret: null,
      previousUntil: null,
      createdAt: Date.now(),
      disabled: null,
      dropped: 0,
    };
    const room = this.#store.transaction(() => {
      this.#store.begin(cluster, origin, followed.value.newest);
      if (this.#store.webhooks().length >= MAX_WEBHOOKS) return false;
      this.#store.add(added);
      return true;
    });
    if (!room) return tooMany;
    // one that was the last may have been removed meanwhile
    await this.#cluster(cluster).follow(true);
    await this.#note(cluster, 'webhook.created', `webhook ${id} to ${new URL(url).host} (${format})`);
    return done({ webhook: this.#store.shown(added), secret });
  }

  #unfit({ url, allowPrivate, format, key }: CreateWebhook, origin: string): string | null {
    const problem = addressProblem(url, allowPrivate, [origin]);
    if (problem !== null) return `url: ${problem}`;
    if (format === 'pagerduty' && key === undefined) return 'key: PagerDuty wants the integration key of the service';
    if (format !== 'pagerduty' && key !== undefined) return `key: the format ${format} has none`;
    return null;
  }

  async list(): Promise<Webhook[]> {
    return this.#store.webhooks().map((webhook) => this.#store.shown(webhook));
  }

  async get(id: string): Promise<Result<Webhook>> {
    return this.#known(id, (webhook) => done(this.#store.shown(webhook)));
  }

  async remove(id: string): Promise<Result<null>> {
    const source = this.#store.source();
    const known = this.#known(id, done);
    if (!known.ok || source === null) return known.ok ? done(null) : known;
    this.#store.remove(id);
    if (this.#store.webhooks().length === 0) await this.#cluster(source.cluster).follow(false);
    if (this.#store.webhooks().length > 0) await this.#cluster(source.cluster).follow(true);
    await this.#note(source.cluster, 'webhook.removed', `webhook ${id} to ${new URL(known.value.url).host}`);
    return done(null);
  }

  /** Lets a disabled one deliver again, beginning with what has waited. */
  async enable(id: string): Promise<Result<Webhook>> {
    return this.#known(id, (webhook) => {
      this.#store.transaction(() => {
        this.#store.setDisabled(id, null);
        this.#store.hurry(id, Date.now());
      });
      this.#deliver();
      return done(this.#store.shown({ ...webhook, disabled: null }));
    });
  }

  async rotate(id: string): Promise<Result<{ secret: string; previousUntil: string }>> {
    return this.#known(id, ({ format, secret: current }) => {
      if (current === null) return refuse('not-possible', `the format ${format} signs nothing`);
      const secret = newSecret();
      const now = Date.now();
      const previousUntil = now + SECRET_OVERLAP_MS;
      this.#store.rotate(id, secret, now, previousUntil);
      return done({ secret, previousUntil: timestamp(previousUntil) });
    });
  }

  /** Sends a notice of no event, now and once. */
  async test(id: string): Promise<Result<Delivery>> {
    const source = this.#store.source();
    const known = this.#known(id, done);
    if (!known.ok || source === null) return known.ok ? refuse('internal', 'there is no source') : known;
    const { delivery } = await attempt(this.env, known.value, {
      id: `msg_${randomHex(12)}`,
      notice: testNotice(source),
    });
    if (this.#store.webhook(id) !== null) this.#store.record(id, delivery);
    return done(delivery);
  }

  async deliveries(id: string): Promise<Result<Delivery[]>> {
    return this.#known(id, () => done(this.#store.attempts(id, MAX_WEBHOOK_ATTEMPTS)));
  }

  /** Attempts to tell events of these sequence numbers. */
  async told(first: number, last: number): Promise<(Delivery & { webhook: string })[]> {
    return this.#store.told(first, last);
  }

  /** Sends a notice that was delivered once more. */
  async replay(id: string, message: string): Promise<Result<null>> {
    return this.#known(id, ({ disabled }) => {
      if (disabled !== null)
        return refuse('not-possible', `it is disabled (${disabled}): \`holdfast webhook enable ${id}\` first`);
      if (!this.#store.replay(id, message, Date.now()))
        return refuse('not-found', `no notice ${message} is kept for this webhook (any more)`);
      this.#deliver();
      return done(null);
    });
  }

  #known<T>(id: string, then: (webhook: Subscription) => Result<T>): Result<T> {
    const webhook = this.#store.webhook(id);
    if (webhook !== null) return then(webhook);
    return refuse('webhook-unknown', `no webhook ${id} in this cluster; \`holdfast webhook list\` shows them`);
  }

  // Taking over and delivering.

  /** One at a time; asked for meanwhile, it looks once more. */
  #takeOver(): Promise<void> {
    this.#more = true;
    this.#taking ??= this.#takeAll().finally(() => {
      this.#taking = null;
    });
    return this.#taking;
  }

  async #takeAll(): Promise<void> {
    while (this.#more) {
      this.#more = false;
      const source = this.#store.source();
      if (source === null) return;
      const page = await this.#cluster(source.cluster).eventsToTell(source, PAGE);
      if (!page.ok) throw new Error(page.problem.detail);
      const { newest, events, restored } = page.value;
      if (restored) {
        this.#store.setTaken(Math.max(0, Math.min(newest, source.taken) - RETOLD_AFTER_RESTORE), null);
        this.#more = true;
        continue;
      }
      const last = events.at(-1)?.event;
      if (last === undefined) continue;
      const webhooks = this.#store.webhooks();
      this.#store.transaction(() => {
        for (const { event, grant } of events) {
          const notice = noticeOf(source.cluster, event, grant, source.origin);
          for (const webhook of webhooks) {
            if (!wants(webhook.events, event.kind) || !FORMATS[webhook.format].takes(event)) continue;
            this.#store.enqueue(webhook.id, `msg_${randomHex(12)}`, notice, Date.now());
          }
        }
        for (const { id } of webhooks) this.#store.trim(id);
        this.#store.setTaken(last.seq, last.at);
      });
      if (last.seq < newest) this.#more = true;
    }
  }

  /** Works off the queues, each by itself: what is slow in one delays none of the others. */
  #deliver(): void {
    for (const { id } of this.#store.webhooks()) {
      if (this.#queues.has(id)) continue;
      this.#queues.add(id);
      const queue = this.#drain(id)
        .catch((error: unknown) => console.error(`webhook ${id}:`, error))
        .finally(() => this.#queues.delete(id))
        .then(() => this.#arm());
      this.ctx.waitUntil(queue);
    }
    this.ctx.waitUntil(this.#arm());
  }

  /** The alarm for what is due next; and one in case this instance ends in the middle of a delivery. */
  async #arm(): Promise<void> {
    const due = this.#store.dueAt(this.#queues) ?? Number.POSITIVE_INFINITY;
    const backstop = this.#queues.size > 0 ? Date.now() + BACKSTOP_MS : Number.POSITIVE_INFINITY;
    const at = Math.min(due, backstop);
    if (at === Number.POSITIVE_INFINITY) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(Math.max(at, Date.now()));
  }

  async #drain(id: string): Promise<void> {
    for (let n = 0; n < DELIVERIES_PER_TURN; n++) {
      const webhook = this.#store.webhook(id);
      if (webhook === null || webhook.disabled !== null) return;
      const message = this.#store.head(id);
      if (message === null || message.nextAt > Date.now()) return;
      await this.#deliverOne(webhook, message);
    }
  }

  async #deliverOne(webhook: Subscription, message: Message): Promise<void> {
    const { id } = webhook;
    const { delivery, gone, retryAfterMs } = await attempt(this.env, webhook, message);
    const attempts = message.attempts + 1;
    const planned = delivery.ok || gone ? null : pauseAfter(attempts, retryAfterMs, Math.random());
    const spent = !delivery.ok && planned === null;
    const reason = gone
      ? 'the receiver answered 410: it is not there any more'
      : `${attempts} attempts in vain, the last: ${delivery.detail}`;
    // told before it is disabled: nobody must miss that nobody is told any more
    const disabled = spent && (await this.#tellDisabled(webhook, reason));
    if (this.#store.webhook(id) === null) return;
    const pause = planned ?? (spent ? UNTOLD_PAUSE_MS : 0);
    this.#store.transaction(() => {
      this.#store.record(id, delivery);
      this.#store.settle(id, message.id, delivery.ok ? 'delivered' : 'pending', attempts, Date.now() + pause);
      if (disabled) this.#store.setDisabled(id, reason);
    });
  }

  /** @returns whether it stands in the events; else it is tried once more before it is disabled. */
  async #tellDisabled({ id, url }: Subscription, reason: string): Promise<boolean> {
    const source = this.#store.source();
    if (source === null) return false;
    try {
      await this.#note(source.cluster, 'webhook.disabled', `webhook ${id} to ${new URL(url).host}: ${reason}`);
      return true;
    } catch (error) {
      console.warn(`webhook ${id} is not disabled yet:`, error);
      return false;
    }
  }

  /** What happens to webhooks stands in the cluster's events. */
  async #note(cluster: string, kind: EventKind, detail: string): Promise<void> {
    const severity = kind === 'webhook.disabled' ? 'error' : 'info';
    await this.#cluster(cluster).note({ kind, severity, detail });
  }

  #cluster(name: string): DurableObjectStub<Cluster> {
    return this.env.CLUSTER.get(this.env.CLUSTER.idFromName(name));
  }
}

function testNotice({ cluster, origin }: Source): Notice {
  return {
    schema: 'holdfast/notice/v1',
    cluster,
    seq: 0,
    kind: 'test.ping',
    severity: 'info',
    summary: `${cluster}: a test of this webhook; nothing has happened`,
    detail: 'sent by `holdfast webhook test`',
    at: timestamp(Date.now()),
    links: { events: `${origin}/v1/clusters/${cluster}/events` },
  };
}
