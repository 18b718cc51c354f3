/**
 * The record of what was done: a line before it is done, completed by how it ended. Whoever only looks leaves none. By the same lines an action
 * that is asked for twice with the same `Idempotency-Key` is done once, and answered alike.
 */
import { idempotencyKeyPattern } from '../../schemas/access.ts';
import { PROBLEMS } from '../../schemas/api.ts';
import { MAX_BODY_BYTES } from '../../schemas/limits.ts';
import { hex, sha256 } from '../cluster/index.ts';
import { type RouteKey, takesKey } from './access.ts';
import { type Caller, permit } from './authorise.ts';
import { readBytes } from './body.ts';
import { clusterOf, type RequestContext } from './context.ts';
import { ProblemException, problem, unwrap } from './problem.ts';

const KEY = 'idempotency-key';

export async function audited(
  c: RequestContext,
  route: RouteKey,
  caller: Caller,
  act: () => Promise<Response>,
): Promise<Response> {
  const recorded = record(c, route, caller, act);
  // whoever asked may be gone before the end: it is done and written down all the same
  c.executionCtx.waitUntil(recorded.catch(() => undefined));
  return await recorded;
}

async function record(
  c: RequestContext,
  route: RouteKey,
  caller: Caller,
  act: () => Promise<Response>,
): Promise<Response> {
  const cluster = await clusterOf(c);
  const { pathname, search } = new URL(c.req.url);
  const line = {
    who: caller.name,
    whoId: caller.id,
    role: caller.role,
    what: `${c.req.method} ${pathname}${search}`,
    before: revisionIn(c.req.header('if-match')),
  };
  try {
    permit(c, route, caller);
  } catch (error) {
    if (error instanceof ProblemException)
      await cluster.people.auditRefused({ ...line, repeatable: null }, error.refused.detail);
    throw error;
  }
  const begun = unwrap(await cluster.people.auditBegin({ ...line, repeatable: await repeatableBy(c, route) }));
  if ('given' in begun) {
    const { status, body, location } = begun.given;
    const headers = { 'content-type': 'application/json', 'idempotency-replayed': 'true' };
    return new Response(body, { status, headers: { ...headers, ...(location === null ? {} : { location }) } });
  }
  const end = async (status: number, detail: string | null, response: Response | null) => {
    const location = response?.headers.get('location') ?? null;
    const keeps = response !== null && c.req.header(KEY) !== undefined;
    await cluster.people.auditEnd(begun.seq, {
      status,
      problem: detail,
      reason: c.get('reason') ?? null,
      after: revisionIn(response?.headers.get('etag')) ?? location?.split('/').at(-1) ?? null,
      answer: keeps ? { status, body: await response.clone().text(), location } : null,
    });
  };
  try {
    const response = await act();
    await end(response.status, null, response);
    return response;
  } catch (error) {
    // of what failed inside nobody knows whether it was done: the line stays without an end
    if (error instanceof ProblemException && error.refused.code !== 'internal')
      await end(PROBLEMS[error.refused.code], error.refused.detail, null);
    throw error;
  }
}

async function repeatableBy(c: RequestContext, route: RouteKey) {
  const key = c.req.header(KEY);
  if (key === undefined) return null;
  const detail = takesKey(route)
    ? 'Idempotency-Key: 1 to 64 visible ASCII characters'
    : 'Idempotency-Key: this request takes none; actions on groups and nodes do';
  if (!takesKey(route) || !idempotencyKeyPattern.test(key))
    throw problem('invalid-value', detail, [{ path: 'Idempotency-Key', detail }]);
  // read once, and put back: of a clone everything would be kept that the other branch has not read
  const body = await readBytes(c.req.raw, MAX_BODY_BYTES);
  c.req.raw = new Request(c.req.raw, { body: body.byteLength === 0 ? null : body });
  return { key, bodySha256: hex(await sha256(body)) };
}

/** `rev-7` of `"rev-7"`. */
function revisionIn(tag: string | null | undefined): string | null {
  return tag?.replaceAll('"', '') ?? null;
}
