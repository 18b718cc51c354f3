import { MAX_EVENTS_PER_PAGE } from '../../schemas/limits.ts';
import { numberFrom, readJson } from './body.ts';
import { clusterOf, type Handlers } from './context.ts';
import { nothing } from './nothing.ts';
import { unwrap } from './problem.ts';
import { waitFrom } from './wait.ts';

export const status = {
  'GET /healthz': async (c) => c.json({ status: 'ok' }),

  'GET /v1/clusters/:cluster/status': async (c) => c.json(unwrap(await (await clusterOf(c)).status())),

  'GET /v1/clusters/:cluster/events': async (c) => {
    const after = numberFrom(c, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER });
    const limit = numberFrom(c, 'limit', { min: 1, max: MAX_EVENTS_PER_PAGE }) ?? MAX_EVENTS_PER_PAGE;
    const events = unwrap(await (await clusterOf(c)).events(after, limit, waitFrom(c)));
    return c.json({ schema: 'holdfast/events/v1', events, next: events.at(-1)?.seq ?? after ?? 0 });
  },

  'POST /v1/clusters/:cluster/confirm-history': async (c) => {
    await readJson(c, nothing);
    unwrap(await (await clusterOf(c)).actNow({ type: 'confirm-history' }));
    return c.json({ done: true });
  },
} satisfies Handlers<
  | 'GET /healthz'
  | 'GET /v1/clusters/:cluster/status'
  | 'GET /v1/clusters/:cluster/events'
  | 'POST /v1/clusters/:cluster/confirm-history'
>;
