/** Events as they happen, as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html */
import { streamSSE } from 'hono/streaming';
import { LONG_POLL_MS, MAX_EVENTS_PER_PAGE } from '../../schemas/limits.ts';
import type { Cluster } from '../cluster/index.ts';
import type { RequestContext } from './context.ts';
import { problem, unwrap } from './problem.ts';

/** A stream ends after this time, and whoever follows asks again: so no stream outlives the token that opened it for long. */
const LONGEST_MS = 15 * 60_000;
/** Of a page that came back empty before its time: another question took its place. */
const PAUSE_MS = 1_000;

export function wantsStream(c: RequestContext): boolean {
  return (c.req.header('accept') ?? '').split(',').some((type) => type.trim().startsWith('text/event-stream'));
}

/**
 * Each event once, in order, its sequence number as the id. A comment goes out when nothing else does, so that a connection that broke is
 * found on both sides.
 * @param after the newest event that is known; null: what happens from now on. `Last-Event-ID` counts instead, where it is sent.
 */
export async function eventStream(
  c: RequestContext,
  cluster: DurableObjectStub<Cluster>,
  after: number | null,
): Promise<Response> {
  const last = c.req.header('last-event-id');
  if (last !== undefined && !/^\d{1,15}$/.test(last))
    throw problem('invalid-value', 'Last-Event-ID: the id of an event', [
      { path: 'Last-Event-ID', detail: 'not the id of an event' },
    ]);
  let known = last === undefined ? after : Number(last);
  known ??= unwrap(await cluster.events(null, 1, 0)).at(-1)?.seq ?? 0;
  const endsAt = Date.now() + LONGEST_MS;
  const answer = streamSSE(c, async (stream) => {
    // a first line at once: whoever asks knows that the stream stands
    await stream.write(': events follow\n\n');
    while (!stream.closed && !stream.aborted && Date.now() < endsAt) {
      const askedAt = Date.now();
      const events = unwrap(await cluster.events(known, MAX_EVENTS_PER_PAGE, LONG_POLL_MS));
      for (const event of events) {
        await stream.writeSSE({ id: String(event.seq), event: event.kind, data: JSON.stringify(event) });
        known = event.seq;
      }
      if (events.length > 0) continue;
      if (Date.now() - askedAt < PAUSE_MS) await stream.sleep(PAUSE_MS);
      await stream.write(': nothing new\n\n');
    }
  });
  return answer;
}
