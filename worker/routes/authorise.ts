/** Who is asking, by the bearer token; what that token may do; and the query parameters that a route knows. */
import { type AccessToken, ADMINISTRATOR_NAME, type Role, roleReaches } from '../../schemas/access.ts';
import { nearest } from '../../schemas/names.ts';
import { fromHex, readSecret, sameBytes, sha256, utf8 } from '../cluster/index.ts';
import { accessOf, type RouteKey, splitKey } from './access.ts';
import { clusterOf, groupOf, type RequestContext } from './context.ts';
import { problem, unwrap } from './problem.ts';

const SHA256_BYTES = 32;

/** Whoever is asking. */
export type Caller = Pick<AccessToken, 'id' | 'name' | 'role' | 'groups'>;

/** The token of `holdfast serve`, or of the secret on Cloudflare: every cluster, every role, no end. */
export const ADMINISTRATOR: Caller = { id: ADMINISTRATOR_NAME, name: ADMINISTRATOR_NAME, role: 'admin', groups: null };

/** @returns who is asking; null where the route wants no bearer token. @throws the problem that ends the request. */
export async function authenticate(c: RequestContext, key: RouteKey): Promise<Caller | null> {
  const { who, query = [] } = accessOf(key);
  if (who === 'public') return null;
  const caller = who === 'node' ? null : await callerOf(c, key);
  for (const name of Object.keys(c.req.query())) {
    if (query.includes(name)) continue;
    const suggestion = nearest(name, query);
    const detail = `unknown query parameter ${name}${query.length === 0 ? '; this route takes none' : `; known: ${query.join(', ')}`}`;
    throw problem('invalid-value', detail, [
      { path: name, detail, ...(suggestion === undefined ? {} : { suggestion }) },
    ]);
  }
  return caller;
}

/** Lets a caller through whose role and groups reach as far as the route wants. */
export function permit(c: RequestContext, key: RouteKey, { name, role, groups }: Caller): void {
  const wanted = accessOf(key).who as Role;
  if (!roleReaches(role, wanted))
    throw problem('forbidden', `the token ${name} is of role ${role}; this needs ${wanted}`);
  if (groups === null || wanted === 'viewer') return;
  const onGroup = splitKey(key).path.includes('/:group/');
  if (onGroup && groups.includes(groupOf(c))) return;
  throw problem('forbidden', `the token ${name} may act on ${groups.join(', ')} only`);
}

async function callerOf(c: RequestContext, key: RouteKey): Promise<Caller> {
  const administrator = fromHex(c.env.ADMIN_TOKEN_SHA256 ?? '');
  if (administrator === null || administrator.byteLength !== SHA256_BYTES) {
    throw problem(
      'internal',
      'no administrator is configured: set the secret ADMIN_TOKEN_SHA256 to the SHA-256 of the token in lower-case hex ' +
        '(printf %s "$TOKEN" | sha256sum | cut -d" " -f1 | npx wrangler secret put ADMIN_TOKEN_SHA256)',
    );
  }
  const token = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  if (token === undefined) throw unauthorized('send a token: authorization: Bearer TOKEN');
  if (sameBytes(await sha256(utf8(token)), administrator)) return ADMINISTRATOR;
  const presented = await readSecret('hfa1', token);
  if (presented === null) throw unauthorized('the token is not the right one');
  if (!splitKey(key).path.includes('/:cluster/'))
    throw unauthorized('a token of a cluster is good for that cluster alone; this is for the administrator’s');
  // whether there is such a cluster is nobody's business who has no token of it
  const cluster = await clusterOf(c).catch(() => null);
  const holder = cluster === null ? null : unwrap(await cluster.people.holderOf(presented));
  if (holder === null) throw unauthorized('the token is not one of this cluster, was revoked, or has ended');
  return holder;
}

function unauthorized(detail: string) {
  return problem('unauthorized', detail, undefined, { 'www-authenticate': 'Bearer' });
}
