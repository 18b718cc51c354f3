/** The administrator's bearer token, and the query parameters that a route knows. */
import { nearest } from '../../schemas/names.ts';
import { fromHex, sameBytes, sha256, utf8 } from '../cluster/index.ts';
import { accessOf, type RouteKey } from './access.ts';
import type { RequestContext } from './context.ts';
import { problem } from './problem.ts';

const SHA256_BYTES = 32;

/** Lets a request through to the handler of `key`, or throws the problem that ends it. */
export async function authorise(c: RequestContext, key: RouteKey): Promise<void> {
  const { who, query = [] } = accessOf(key);
  if (who === 'admin') await requireAdmin(c);
  if (who === 'public') return;
  for (const name of Object.keys(c.req.query())) {
    if (query.includes(name)) continue;
    const suggestion = nearest(name, query);
    const detail = `unknown query parameter ${name}${query.length === 0 ? '; this route takes none' : `; known: ${query.join(', ')}`}`;
    throw problem('invalid-value', detail, [
      { path: name, detail, ...(suggestion === undefined ? {} : { suggestion }) },
    ]);
  }
}

async function requireAdmin(c: RequestContext): Promise<void> {
  const configured = fromHex(c.env.ADMIN_TOKEN_SHA256 ?? '');
  if (configured === null || configured.byteLength !== SHA256_BYTES) {
    throw problem(
      'internal',
      'no administrator is configured: set the secret ADMIN_TOKEN_SHA256 to the SHA-256 of the token in lower-case hex ' +
        '(printf %s "$TOKEN" | sha256sum | cut -d" " -f1 | npx wrangler secret put ADMIN_TOKEN_SHA256)',
    );
  }
  const token = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  const right = token !== undefined && sameBytes(await sha256(utf8(token)), configured);
  if (right) return;
  throw problem(
    'unauthorized',
    token === undefined
      ? 'send the administrator’s token: authorization: Bearer TOKEN'
      : 'the token is not the right one',
    undefined,
    { 'www-authenticate': 'Bearer' },
  );
}
