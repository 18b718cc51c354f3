import { MAX_EVENTS_PER_PAGE } from '../../schemas/limits.ts';
import openapi from '../openapi.json';
import { numberFrom, readJson } from './body.ts';
import { clusterOf, type Handlers } from './context.ts';
import { eventStream, wantsStream } from './event-stream.ts';
import { nothing } from './nothing.ts';
import { unwrap } from './problem.ts';
import { REFERENCE_POLICY, referencePage } from './reference.ts';
import { waitFrom } from './wait.ts';

export const status = {
  'GET /healthz': async (c) => c.json({ status: 'ok' }),

  // made by scripts/write-openapi.ts
  'GET /openapi.json': async (c) => c.json(openapi),

  'GET /reference': async (c) => await c.html(referencePage(), 200, { 'content-security-policy': REFERENCE_POLICY }),

  'GET /v1/clusters/:cluster/status': async (c) => c.json(unwrap(await (await clusterOf(c)).status())),

  'GET /v1/clusters/:cluster/events': async (c) => {
    const after = numberFrom(c, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER });
    const limit = numberFrom(c, 'limit', { min: 1, max: MAX_EVENTS_PER_PAGE }) ?? MAX_EVENTS_PER_PAGE;
    const cluster = await clusterOf(c);
    if (wantsStream(c)) return await eventStream(c, cluster, after);
    const events = unwrap(await cluster.events(after, limit, waitFrom(c)));
    return c.json({ schema: 'holdfast/events/v1', events, next: events.at(-1)?.seq ?? after ?? 0 });
  },

  'POST /v1/clusters/:cluster/confirm-history': async (c) => {
    await readJson(c, nothing);
    unwrap(await (await clusterOf(c)).actNow({ type: 'confirm-history' }));
    return c.json({ done: true });
  },
} satisfies Handlers<
  | 'GET /healthz'
  | 'GET /openapi.json'
  | 'GET /reference'
  | 'GET /v1/clusters/:cluster/status'
  | 'GET /v1/clusters/:cluster/events'
  | 'POST /v1/clusters/:cluster/confirm-history'
>;
