import type { Role } from '../../schemas/access.ts';

/**
 * Who may ask for what. A route that is not in this table does not exist: handlers are typed by its keys (routes.ts), and a test
 * walks it.
 *
 * - `viewer`, `operator`, `admin`: a bearer token of that role or one that may do more; the administrator's may do everything. A token that
 *   is limited to groups may act on these (`:group`) and look at everything.
 * - `node`: a request signed by a member of the cluster; the cluster's object verifies it, since it knows keys and nonces.
 * - `public`: no credentials. The two agent routes among them carry their own proof (enrol: a join token) or give away nothing
 *   (nonce).
 */
export type Who = Role | 'node' | 'public';

interface Access {
  readonly who: Who;
  /** The query parameters it knows; any other is refused, because a mistyped one would be an unfulfilled wish. */
  readonly query?: readonly string[];
}

const ACCESS = {
  'GET /healthz': { who: 'public' },
  'GET /openapi.json': { who: 'public' },
  'GET /reference': { who: 'public' },
  'GET /v1/clusters': { who: 'admin' },
  'POST /v1/clusters': { who: 'admin' },
  'GET /v1/clusters/:cluster/config': { who: 'viewer', query: ['revision'] },
  'GET /v1/clusters/:cluster/config/history': { who: 'viewer' },
  'PUT /v1/clusters/:cluster/config': { who: 'admin', query: ['dryRun'] },
  'POST /v1/clusters/:cluster/config/plan': { who: 'viewer' },
  'GET /v1/clusters/:cluster/status': { who: 'viewer' },
  'GET /v1/clusters/:cluster/events': { who: 'viewer', query: ['after', 'limit', 'wait'] },
  'GET /v1/clusters/:cluster/metrics': { who: 'viewer' },
  'POST /v1/clusters/:cluster/simulate': { who: 'viewer' },
  'GET /v1/clusters/:cluster/groups/:group/why': { who: 'viewer' },
  'POST /v1/clusters/:cluster/groups/:group/move': { who: 'operator' },
  'POST /v1/clusters/:cluster/groups/:group/stop': { who: 'operator' },
  'POST /v1/clusters/:cluster/groups/:group/start': { who: 'operator' },
  'POST /v1/clusters/:cluster/groups/:group/cleanup': { who: 'operator' },
  'POST /v1/clusters/:cluster/groups/:group/pause': { who: 'operator' },
  'POST /v1/clusters/:cluster/groups/:group/resume': { who: 'operator' },
  'POST /v1/clusters/:cluster/pause': { who: 'operator' },
  'POST /v1/clusters/:cluster/resume': { who: 'operator' },
  'GET /v1/clusters/:cluster/nodes': { who: 'viewer' },
  'DELETE /v1/clusters/:cluster/nodes/:node': { who: 'admin', query: ['force'] },
  'POST /v1/clusters/:cluster/nodes/:node/token': { who: 'admin' },
  'POST /v1/clusters/:cluster/nodes/:node/standby': { who: 'operator' },
  'POST /v1/clusters/:cluster/nodes/:node/ready': { who: 'operator' },
  'POST /v1/clusters/:cluster/nodes/:node/maintenance': { who: 'operator' },
  'POST /v1/clusters/:cluster/nodes/:node/confirm-dead': { who: 'operator' },
  'GET /v1/clusters/:cluster/operations': { who: 'viewer' },
  'GET /v1/clusters/:cluster/operations/:operation': { who: 'viewer', query: ['wait'] },
  'POST /v1/clusters/:cluster/operations/:operation/cancel': { who: 'operator' },
  'POST /v1/clusters/:cluster/confirm-history': { who: 'admin' },
  'GET /v1/clusters/:cluster/keys': { who: 'viewer' },
  'POST /v1/clusters/:cluster/keys/rotate': { who: 'admin' },
  'GET /v1/clusters/:cluster/incidents': { who: 'viewer' },
  'GET /v1/clusters/:cluster/incidents/:incident': { who: 'viewer' },
  'GET /v1/clusters/:cluster/tokens': { who: 'admin' },
  'POST /v1/clusters/:cluster/tokens': { who: 'admin' },
  'DELETE /v1/clusters/:cluster/tokens/:token': { who: 'admin' },
  'GET /v1/clusters/:cluster/audit': { who: 'admin', query: ['after', 'limit'] },
  'GET /v1/clusters/:cluster/audit/chain': { who: 'admin', query: ['after', 'limit'] },
  'GET /v1/clusters/:cluster/webhooks': { who: 'admin' },
  'POST /v1/clusters/:cluster/webhooks': { who: 'admin' },
  'GET /v1/clusters/:cluster/webhooks/:webhook': { who: 'admin' },
  'DELETE /v1/clusters/:cluster/webhooks/:webhook': { who: 'admin' },
  'GET /v1/clusters/:cluster/webhooks/:webhook/deliveries': { who: 'admin' },
  'POST /v1/clusters/:cluster/webhooks/:webhook/test': { who: 'admin' },
  'POST /v1/clusters/:cluster/webhooks/:webhook/enable': { who: 'admin' },
  'POST /v1/clusters/:cluster/webhooks/:webhook/replay': { who: 'admin' },
  'POST /v1/clusters/:cluster/webhooks/:webhook/rotate-secret': { who: 'admin' },
  'POST /v1/clusters/:cluster/agent/enrol': { who: 'public' },
  'POST /v1/clusters/:cluster/agent/nonce': { who: 'public' },
  'GET /v1/clusters/:cluster/agent/socket': { who: 'node' },
  'POST /v1/clusters/:cluster/agent/report': { who: 'node' },
  'POST /v1/clusters/:cluster/agent/wait': { who: 'node' },
  'POST /v1/clusters/:cluster/agent/rekey': { who: 'node' },
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

/** Whether a route changes something of a cluster. */
export function isRecorded(key: RouteKey): boolean {
  const { method, path } = splitKey(key);
  const { who } = accessOf(key);
  return method !== 'GET' && path.includes('/:cluster/') && (who === 'operator' || who === 'admin');
}

/** Whether a route is an action that may be repeated by its key. What answers with a secret is not: secrets are not kept. */
export function takesKey(key: RouteKey): boolean {
  return isRecorded(key) && accessOf(key).who === 'operator';
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
