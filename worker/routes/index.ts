import { isRecorded, ROUTE_KEYS, type RouteKey, splitKey } from './access.ts';
import { agent } from './agent.ts';
import { audited } from './audited.ts';
import { authenticate, permit } from './authorise.ts';
import { clusters } from './clusters.ts';
import { config } from './config.ts';
import type { App, Handler } from './context.ts';
import { groups } from './groups.ts';
import { incidents } from './incidents.ts';
import { metrics } from './metrics.ts';
import { nodes } from './nodes.ts';
import { operations } from './operations.ts';
import { count } from './rate.ts';
import { simulate } from './simulate.ts';
import { status } from './status.ts';
import { testHooks } from './test-hooks.ts';
import { tokens } from './tokens.ts';
import { webhooks } from './webhooks.ts';

export { methodsFor } from './access.ts';
export type { App, Bindings, RequestContext } from './context.ts';
export { ProblemException, problem, problemResponse } from './problem.ts';

/** A handler for every route of the access table: one that lacks a handler, or a handler that is not in the table, does not compile. */
const handlers: Readonly<Record<RouteKey, Handler>> = {
  ...clusters,
  ...config,
  ...status,
  ...metrics,
  ...simulate,
  ...groups,
  ...nodes,
  ...operations,
  ...incidents,
  ...tokens,
  ...webhooks,
  ...agent,
  ...testHooks,
};

/** Registers every route behind its check. */
export function addRoutes(app: App): void {
  for (const key of ROUTE_KEYS) {
    const { method, path } = splitKey(key);
    app.on(method, path, async (c) => {
      const caller = await authenticate(c, key);
      if (caller === null) return await handlers[key](c);
      count(c, caller.id);
      c.set('caller', caller);
      if (isRecorded(key)) return await audited(c, key, caller, () => handlers[key](c));
      permit(c, key, caller);
      return await handlers[key](c);
    });
  }
}
