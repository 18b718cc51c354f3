import { moveSchema, pauseSchema } from '../../schemas/api.ts';
import { PAUSE_DEFAULT_MS } from '../../schemas/limits.ts';
import type { Action, InstantAction } from '../cluster/index.ts';
import { readJson } from './body.ts';
import { clusterOf, groupOf, type Handlers, type RequestContext } from './context.ts';
import { nothing } from './nothing.ts';
import { started } from './operations.ts';
import { unwrap } from './problem.ts';

export const groups = {
  'GET /v1/clusters/:cluster/groups/:group/why': async (c) => {
    return c.json(unwrap(await (await clusterOf(c)).why(groupOf(c))));
  },

  'POST /v1/clusters/:cluster/groups/:group/move': async (c) => {
    const { to, acceptRisk } = await readJson(c, moveSchema);
    const accepted = acceptRisk === undefined ? {} : ({ acceptsLoss: true } as const);
    return await act(c, { type: 'move', group: groupOf(c), to: to ?? null, ...accepted });
  },

  'POST /v1/clusters/:cluster/groups/:group/stop': async (c) => {
    await readJson(c, nothing);
    return await act(c, { type: 'group-stop', group: groupOf(c) });
  },

  'POST /v1/clusters/:cluster/groups/:group/start': async (c) => {
    await readJson(c, nothing);
    return await act(c, { type: 'group-start', group: groupOf(c) });
  },

  'POST /v1/clusters/:cluster/groups/:group/cleanup': async (c) => {
    await readJson(c, nothing);
    return await actNow(c, { type: 'cleanup', group: groupOf(c) });
  },

  'POST /v1/clusters/:cluster/groups/:group/pause': (c) => pause(c, groupOf(c)),
  'POST /v1/clusters/:cluster/groups/:group/resume': (c) => resume(c, groupOf(c)),
  'POST /v1/clusters/:cluster/pause': (c) => pause(c, null),
  'POST /v1/clusters/:cluster/resume': (c) => resume(c, null),
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/groups/:group/why'
  | 'POST /v1/clusters/:cluster/groups/:group/move'
  | 'POST /v1/clusters/:cluster/groups/:group/stop'
  | 'POST /v1/clusters/:cluster/groups/:group/start'
  | 'POST /v1/clusters/:cluster/groups/:group/cleanup'
  | 'POST /v1/clusters/:cluster/groups/:group/pause'
  | 'POST /v1/clusters/:cluster/groups/:group/resume'
  | 'POST /v1/clusters/:cluster/pause'
  | 'POST /v1/clusters/:cluster/resume'
>;

/** @param group null: every group. */
async function pause(c: RequestContext, group: string | null): Promise<Response> {
  const { forMs = PAUSE_DEFAULT_MS, reason } = await readJson(c, pauseSchema);
  return await actNow(c, { type: 'pause', group, forMs, reason });
}

async function resume(c: RequestContext, group: string | null): Promise<Response> {
  await readJson(c, nothing);
  return await actNow(c, { type: 'resume', group });
}

async function actNow(c: RequestContext, action: InstantAction): Promise<Response> {
  unwrap(await (await clusterOf(c)).actNow(action));
  return c.json({ done: true });
}

async function act(c: RequestContext, action: Action): Promise<Response> {
  return started(c, unwrap(await (await clusterOf(c)).act(action)));
}
