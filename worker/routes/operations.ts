import type { Operation } from '../../schemas/api.ts';
import { readJson } from './body.ts';
import { clusterOf, type Handlers, pathPart, type RequestContext } from './context.ts';
import { nothing } from './nothing.ts';
import { unwrap } from './problem.ts';
import { waitFrom } from './wait.ts';

export const operations = {
  'GET /v1/clusters/:cluster/operations': async (c) => {
    const operations = unwrap(await (await clusterOf(c)).operations());
    return c.json({ schema: 'holdfast/operations/v1', operations });
  },

  'GET /v1/clusters/:cluster/operations/:operation': async (c) => {
    return c.json(unwrap(await (await clusterOf(c)).operation(pathPart(c, 'operation'), waitFrom(c))));
  },

  'POST /v1/clusters/:cluster/operations/:operation/cancel': async (c) => {
    await readJson(c, nothing);
    return c.json(unwrap(await (await clusterOf(c)).cancel(pathPart(c, 'operation'))));
  },
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/operations'
  | 'GET /v1/clusters/:cluster/operations/:operation'
  | 'POST /v1/clusters/:cluster/operations/:operation/cancel'
>;

/** The answer to an action that takes time: accepted, and where to look how it fares. */
export function started(c: RequestContext, operation: Operation): Response {
  const cluster = pathPart(c, 'cluster');
  return c.json(operation, 202, { location: `/v1/clusters/${cluster}/operations/${operation.id}` });
}
