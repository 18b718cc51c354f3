/** `events`: what happened, oldest first; with --follow also what happens. */
import type { Command } from 'commander';
import * as z from 'zod';
import { eventPageSchema } from '../../schemas/api.ts';
import { parseDuration } from '../../schemas/duration.ts';
import { eventSchema } from '../../schemas/events.ts';
import { MAX_EVENTS_PER_PAGE } from '../../schemas/limits.ts';
import type { Client } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { persistently } from './persistently.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { oneLine } from './text.ts';

/** As the API's, but for kinds that a newer coordinator may know. */
const pageSchema = eventPageSchema.extend({ events: z.array(eventSchema.extend({ kind: z.string() })) });
export type ShownEvent = z.infer<typeof pageSchema>['events'][number];

export interface EventPage {
  readonly events: readonly { readonly event: ShownEvent; readonly sent: unknown }[];
  readonly next: number;
}

/** How many events are shown when nothing else is said. */
const NEWEST = 50;
/** How long one question for new events may wait for its answer. */
export const WAIT_SECONDS = 25;

/** @param after sequence number to go on from; undefined asks for the newest. */
export async function fetchEvents(
  client: Client,
  query: { after?: number; limit?: number; wait?: number },
  signal?: AbortSignal,
): Promise<EventPage> {
  const { value, sent } = await client.call(pageSchema, {
    method: 'GET',
    path: routes.events(client.cluster),
    query,
    extraTimeMs: (query.wait ?? 0) * 1_000,
    ...(signal === undefined ? {} : { signal }),
  });
  const bodies = (sent as { events: readonly unknown[] }).events;
  return { events: value.events.map((event, index) => ({ event, sent: bodies[index] })), next: value.next };
}

async function events(setting: Setting, options: { follow: boolean; since?: string }): Promise<void> {
  const { io, json } = setting;
  const since = options.since === undefined ? undefined : sinceMs(options.since, io.now());
  const client = await setting.connect();
  const show = (page: EventPage) => {
    for (const { event, sent } of page.events) {
      if (since !== undefined && Date.parse(event.at) < since) continue;
      if (json) printJson(io, { schema: 'holdfast/event/v1', ...(sent as object) });
      else io.data(eventLine(event, io));
    }
  };
  let next = await showStored(client, since, show);
  if (!options.follow) return;
  const signal = io.interrupted;
  const page = () => fetchEvents(client, { after: next, wait: WAIT_SECONDS }, signal);
  try {
    for (;;) {
      const more = await persistently(page, signal, (reason) => io.note(connectionLost(io, reason)));
      show(more);
      next = more.next;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** What a stream says on standard error when it has to connect anew. */
export function connectionLost(io: Io, reason: string): string {
  return `${new Date(io.now()).toISOString()} connection lost: ${reason}; trying again`;
}

/** What is stored already: the newest, or everything since. @returns where to go on. */
async function showStored(client: Client, since: number | undefined, show: (page: EventPage) => void): Promise<number> {
  if (since === undefined) {
    const page = await fetchEvents(client, { limit: NEWEST });
    show(page);
    return page.next;
  }
  let next = 0;
  for (;;) {
    const page = await fetchEvents(client, { after: next, limit: MAX_EVENTS_PER_PAGE });
    show(page);
    next = page.next;
    if (page.events.length < MAX_EVENTS_PER_PAGE) return next;
  }
}

/** `2h` ago, or a point in time. */
/** @throws {CliError} `usage` */
export function sinceMs(text: string, now: number): number {
  const ago = parseDuration(text);
  if (ago !== undefined) return now - ago;
  const at = Date.parse(text);
  if (Number.isNaN(at) || !/^\d{4}-/.test(text))
    throw new CliError(EXIT.usage, `--since: “${text}” is neither a duration nor a time`, {
      next: 'write 2h, 30m, or 2026-11-22T09:00:00Z',
    });
  return at;
}

function eventLine(event: ShownEvent, { paint }: Pick<Io, 'paint'>): string {
  const who = [event.node, event.group, event.resource].filter((part) => part !== undefined).join('/');
  const kind =
    event.severity === 'error'
      ? paint('red', event.kind)
      : event.severity === 'warning'
        ? paint('yellow', event.kind)
        : event.kind;
  const severity = event.severity === 'info' ? '' : ` ${event.severity.toUpperCase()}`;
  const epoch = event.epoch === undefined ? '' : ` (epoch ${event.epoch})`;
  return `${event.at}${severity} ${kind}${who === '' ? '' : ` ${who}`}${epoch}${event.detail === '' ? '' : `: ${oneLine(event.detail)}`}`;
}

export const registerEvents: Register = (program, io) => {
  program
    .command('events')
    .option('-f, --follow', 'go on with what happens from now on, until interrupted', false)
    .option('--since <when>', `a duration (2h) or a time; left out: the newest ${NEWEST}`)
    .description('Show what happened, oldest first; with --json one object a line')
    .addHelpText('after', '\nExample: holdfast events --since 2h --follow')
    .action((options: { follow: boolean; since?: string }, command: Command) =>
      events(settingOf(command, io), options),
    );
};
