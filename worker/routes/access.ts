/**
 * Who may ask for what. A route that is not in this table does not exist: handlers are typed by its keys (routes.ts), and a test
 * walks it.
 *
 * - `admin`: the administrator's bearer token.
 * - `node`: a request signed by a member of the cluster; the cluster's object verifies it, since it knows keys and nonces.
 * - `public`: no credentials. The two agent routes among them carry their own proof (enrol: a join token) or give away nothing
 *   (nonce).
 */
export type Who = 'admin' | 'node' | 'public';

interface Access {
  readonly who: Who;
  /** The query parameters it knows; any other is refused, because a mistyped one would be an unfulfilled wish. */
  readonly query?: readonly string[];
}

export const ACCESS = {
  'GET /healthz': { who: 'public' },
  'GET /v1/clusters': { who: 'admin' },
  'POST /v1/clusters': { who: 'admin' },
  'GET /v1/clusters/:cluster/config': { who: 'admin', query: ['revision'] },
  'PUT /v1/clusters/:cluster/config': { who: 'admin', query: ['dryRun'] },
  'POST /v1/clusters/:cluster/config/plan': { who: 'admin' },
  'GET /v1/clusters/:cluster/status': { who: 'admin' },
  'GET /v1/clusters/:cluster/events': { who: 'admin', query: ['after', 'limit', 'wait'] },
  'GET /v1/clusters/:cluster/groups/:group/why': { who: 'admin' },
  'POST /v1/clusters/:cluster/groups/:group/move': { who: 'admin' },
  'POST /v1/clusters/:cluster/groups/:group/stop': { who: 'admin' },
  'POST /v1/clusters/:cluster/groups/:group/start': { who: 'admin' },
  'POST /v1/clusters/:cluster/groups/:group/cleanup': { who: 'admin' },
  'GET /v1/clusters/:cluster/nodes': { who: 'admin' },
  'DELETE /v1/clusters/:cluster/nodes/:node': { who: 'admin', query: ['force'] },
  'POST /v1/clusters/:cluster/nodes/:node/token': { who: 'admin' },
  'POST /v1/clusters/:cluster/nodes/:node/standby': { who: 'admin' },
  'POST /v1/clusters/:cluster/nodes/:node/ready': { who: 'admin' },
  'POST /v1/clusters/:cluster/nodes/:node/confirm-dead': { who: 'admin' },
  'GET /v1/clusters/:cluster/operations/:operation': { who: 'admin', query: ['wait'] },
  'POST /v1/clusters/:cluster/confirm-history': { who: 'admin' },
  'POST /v1/clusters/:cluster/agent/enrol': { who: 'public' },
  'POST /v1/clusters/:cluster/agent/nonce': { who: 'public' },
  'GET /v1/clusters/:cluster/agent/socket': { who: 'node' },
  'POST /v1/clusters/:cluster/agent/report': { who: 'node' },
  'POST /v1/clusters/:cluster/agent/wait': { who: 'node' },
  // Exists only with the test hooks (worker/cluster/clock.ts).
  'POST /v1/test/clock': { who: 'admin' },
} as const satisfies Record<string, Access>;

export type RouteKey = keyof typeof ACCESS;
export const ROUTE_KEYS = Object.keys(ACCESS) as readonly RouteKey[];

/** Method and path pattern of a route. */
export function splitKey(key: RouteKey): { readonly method: string; readonly path: string } {
  const space = key.indexOf(' ');
  return { method: key.slice(0, space), path: key.slice(space + 1) };
}

export function accessOf(key: RouteKey): Access {
  return ACCESS[key];
}

/** The methods that a path knows: empty for one that does not exist. */
export function methodsFor(path: string): string[] {
  const parts = path.split('/');
  return ROUTE_KEYS.map(splitKey)
    .filter((route) => {
      const pattern = route.path.split('/');
      return pattern.length === parts.length && pattern.every((part, i) => part.startsWith(':') || part === parts[i]);
    })
    .map((route) => route.method);
}
