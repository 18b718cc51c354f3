import { moveSchema } from '../../schemas/api.ts';
import type { Action } from '../cluster/index.ts';
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
    const { to } = await readJson(c, moveSchema);
    return await act(c, { type: 'move', group: groupOf(c), to: to ?? null });
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
    unwrap(await (await clusterOf(c)).actNow({ type: 'cleanup', group: groupOf(c) }));
    return c.json({ done: true });
  },
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/groups/:group/why'
  | 'POST /v1/clusters/:cluster/groups/:group/move'
  | 'POST /v1/clusters/:cluster/groups/:group/stop'
  | 'POST /v1/clusters/:cluster/groups/:group/start'
  | 'POST /v1/clusters/:cluster/groups/:group/cleanup'
>;

async function act(c: RequestContext, action: Action): Promise<Response> {
  return started(c, unwrap(await (await clusterOf(c)).act(action)));
}
