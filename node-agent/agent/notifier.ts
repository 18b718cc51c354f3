/**
 * Tells a receiver of this node's own what the coordinator has not heard for a while: that it does not answer, that a lease was lost, that the
 * fuse fired. Everything told here reaches the cluster's events as well, when the coordinator is back.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AgentEvent } from '../../schemas/events.ts';
import { type NodeNotice, WEBHOOK_TIMEOUT_MS } from '../../schemas/webhook.ts';
import { signedHeaders } from '../../schemas/webhook-signature.ts';
import { type Log, textOf } from '../system/index.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { type Notify, readNotify } from './notify-file.ts';

/** An event that the coordinator has not acknowledged for so long is told by the node itself. */
export const UNHEARD_MS = 10_000;
const LOOK_MS = 1_000;
/** After a failed attempt; the last one goes on until it is told, or the coordinator has heard it. */
const RETRY_MS: readonly number[] = [2_000, 10_000, 30_000, 60_000];
/** What is worth waking somebody up for, or says that it is over. The rest can wait for the coordinator. */
const KINDS: readonly AgentEvent['kind'][] = [
  'agent.lives-on-promises',
  'agent.lease-lost',
  'agent.fuse-fired',
  'agent.guard-lost',
  'agent.state-not-writable',
  'resource.failed',
  'resource.held',
  'resource.stop-failed',
];

export interface NotifierOptions {
  readonly stateDir: string;
  readonly node: string;
  readonly cluster: string;
  readonly journal: Journal;
  readonly log: Log;
  /** How long the coordinator may take to hear of an event; UNHEARD_MS when left out. */
  readonly unheardMs?: number;
}

export class Notifier {
  readonly #options: NotifierOptions;
  readonly #timer: NodeJS.Timeout;
  #told = new Set<string>();
  #sending = false;
  #failures = 0;
  #notBefore = 0;
  #said = '';

  constructor(options: NotifierOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#sending || performance.now() < this.#notBefore) return;
    const unheard = this.#options.journal.unheard(this.#options.unheardMs ?? UNHEARD_MS);
    this.#told = new Set(unheard.flatMap(({ id }) => (this.#told.has(id) ? [id] : [])));
    const next = unheard.find(({ id, entry }) => KINDS.includes(entry.kind) && !this.#told.has(id));
    if (next === undefined) return;
    this.#sending = true;
    try {
      const notify = await readNotify(this.#options.stateDir);
      if (notify === undefined) return;
      await this.#send(notify, next.id, this.#notice(next.entry, next.agoMs));
      this.#told.add(next.id);
      this.#failures = 0;
      this.#say('');
    } catch (error) {
      this.#notBefore = performance.now() + (RETRY_MS[this.#failures] ?? RETRY_MS.at(-1) ?? 0);
      this.#failures += 1;
      this.#say(`nobody could be told by this node itself: ${textOf(error)}`);
    } finally {
      this.#sending = false;
    }
  }

  #notice({ kind, severity, detail, group, resource, epoch }: JournalEntry, agoMs: number): NodeNotice {
    const { cluster, node } = this.#options;
    const subject = [group, resource].filter((part) => part !== undefined).join('/');
    return {
      schema: 'holdfast/node-notice/v1',
      cluster,
      node,
      kind,
      severity,
      summary: `${cluster}: ${kind} ${subject === '' ? '' : `${subject} `}on ${node}: ${detail} (the coordinator has not heard of it)`,
      detail,
      at: new Date(Date.now() - agoMs).toISOString(),
      ...(group === undefined ? {} : { group }),
      ...(resource === undefined ? {} : { resource }),
      ...(epoch === undefined ? {} : { epoch }),
    };
  }

  async #send({ url, secret }: Notify, id: string, notice: NodeNotice): Promise<void> {
    const body = JSON.stringify({ type: notice.kind.replaceAll('-', '_'), timestamp: notice.at, data: notice });
    const signed = secret === undefined ? {} : await signedHeaders(`node_${id}`, Date.now(), body, [secret]);
    const status = await post(new URL(url), body, { 'content-type': 'application/json', ...signed });
    if (status < 200 || status > 299) throw new Error(`${url} answered with status ${status}`);
  }

  /** Once, until it is something else. */
  #say(text: string): void {
    if (text !== '' && text !== this.#said) this.#options.log.warn(text);
    this.#said = text;
  }
}

/** The fetch of Node would cost the agent several megabytes. @returns the status; a redirect is not followed. */
function post(url: URL, body: string, headers: Readonly<Record<string, string>>): Promise<number> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const asking = send(url, {
      method: 'POST',
      headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
    });
    asking.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asking.on('error', (error) =>
      reject(error.name === 'AbortError' ? new Error(`no answer within ${WEBHOOK_TIMEOUT_MS / 1_000} s`) : error),
    );
    asking.end(body);
  });
}
