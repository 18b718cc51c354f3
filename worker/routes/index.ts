import { ROUTE_KEYS, type RouteKey, splitKey } from './access.ts';
import { agent } from './agent.ts';
import { authorise } from './authorise.ts';
import { clusters } from './clusters.ts';
import { config } from './config.ts';
import type { App, Handler } from './context.ts';
import { groups } from './groups.ts';
import { nodes } from './nodes.ts';
import { operations } from './operations.ts';
import { status } from './status.ts';
import { testHooks } from './test-hooks.ts';

export { methodsFor } from './access.ts';
export type { App, Bindings, RequestContext } from './context.ts';
export { ProblemException, problem, problemResponse } from './problem.ts';

/** A handler for every route of the access table: one that lacks a handler, or a handler that is not in the table, does not compile. */
const handlers: Readonly<Record<RouteKey, Handler>> = {
  ...clusters,
  ...config,
  ...status,
  ...groups,
  ...nodes,
  ...operations,
  ...agent,
  ...testHooks,
};

/** Registers every route behind its check. */
export function addRoutes(app: App): void {
  for (const key of ROUTE_KEYS) {
    const { method, path } = splitKey(key);
    app.on(method, path, async (c) => {
      await authorise(c, key);
      return await handlers[key](c);
    });
  }
}
