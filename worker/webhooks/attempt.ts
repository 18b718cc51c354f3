/** One attempt to deliver one notice. */
import { type Delivery, MAX_WEBHOOK_ANSWER_BYTES, type Notice, WEBHOOK_TIMEOUT_MS } from '../../schemas/webhook.ts';
import { signedHeaders } from '../../schemas/webhook-signature.ts';
import { timestamp } from '../cluster/index.ts';
import type { Env } from '../env.ts';
import { FORMATS } from './formats/index.ts';
import { retryAfterMs } from './schedule.ts';
import type { Subscription } from './store.ts';

const GONE = 410;
/** What the receiver, or what stands before it, is too busy with: its Retry-After counts. */
const BUSY: readonly number[] = [429, 502, 503, 504];

export interface Attempted {
  readonly delivery: Delivery;
  /** The receiver says that it is not there any more. */
  readonly gone: boolean;
  readonly retryAfterMs: number | null;
}

export async function attempt(
  env: Env,
  webhook: Subscription,
  message: { readonly id: string; readonly notice: Notice },
): Promise<Attempted> {
  const format = FORMATS[webhook.format];
  const at = Date.now();
  const body = JSON.stringify(format.body(message.notice, webhook.key));
  const headers = format.signed ? await signedHeaders(message.id, at, body, secretsOf(webhook, at)) : {};
  const told = { id: message.id, seq: message.notice.seq, kind: message.notice.kind, at: timestamp(at) };
  try {
    const response = await outbound(env, webhook.allowPrivate)(webhook.url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'user-agent': 'holdfast-webhook/1' },
      body,
      // another address would be one that nobody has looked at
      redirect: 'manual',
      signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
    });
    const { status, ok } = response;
    const latencyMs = Date.now() - at;
    // what it says beside is for whoever looks at the deliveries, and decides nothing
    const said = ok ? '' : await beginningOf(response).catch(() => '');
    if (ok) await response.body?.cancel().catch(() => undefined);
    const detail = `answered ${status}`;
    return {
      delivery: { ...told, status, latencyMs, ok, detail, ...(said === '' ? {} : { said }) },
      gone: status === GONE,
      retryAfterMs: BUSY.includes(status) ? retryAfterMs(response.headers.get('retry-after'), Date.now()) : null,
    };
  } catch (error) {
    const latencyMs = Date.now() - at;
    const late = error instanceof Error && error.name === 'TimeoutError';
    const detail = late
      ? `no answer within ${WEBHOOK_TIMEOUT_MS / 1_000} s`
      : `not reached: ${error instanceof Error ? error.message : String(error)}`;
    return { delivery: { ...told, status: null, latencyMs, ok: false, detail }, gone: false, retryAfterMs: null };
  }
}

function secretsOf({ secret, previousSecret, previousUntil }: Subscription, now: number): string[] {
  const previous = previousSecret !== null && previousUntil !== null && now < previousUntil ? [previousSecret] : [];
  return secret === null ? [] : [secret, ...previous];
}

/** A machine of one's own connects by the network that the webhook may use (worker/config.capnp). */
function outbound(env: Env, allowPrivate: boolean): typeof fetch {
  const network = allowPrivate ? env.PRIVATE_NETWORK : env.PUBLIC_NETWORK;
  return network === undefined ? fetch : network.fetch.bind(network);
}

/** The first bytes of an answer, in one line; the rest is not read. */
async function beginningOf(response: Response): Promise<string> {
  if (response.body === null) return '';
  const reader = response.body.getReader();
  let text = '';
  const decoder = new TextDecoder();
  while (text.length < MAX_WEBHOOK_ANSWER_BYTES) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text.slice(0, MAX_WEBHOOK_ANSWER_BYTES).replaceAll(/\s+/g, ' ').trim();
}
