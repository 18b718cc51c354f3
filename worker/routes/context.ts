import type { Context, Hono } from 'hono';
import type { ProblemCode } from '../../schemas/api.ts';
import { nameSchema } from '../../schemas/names.ts';
import type { Cluster } from '../cluster/index.ts';
import type { Env } from '../env.ts';
import { isListed } from '../registry/index.ts';
import type { RouteKey } from './access.ts';
import { problem } from './problem.ts';

export type Bindings = {
  Bindings: Env;
  Variables: { reason?: string; caller?: { readonly id: string }; headers?: Readonly<Record<string, string>> };
};
export type App = Hono<Bindings>;
export type RequestContext = Context<Bindings>;
export type Handler = (c: RequestContext) => Promise<Response>;
/** What one file of this folder contributes. */
export type Handlers<K extends RouteKey> = Readonly<Record<K, Handler>>;

/** A part of the path. Routes without it do not ask for it. */
export function pathPart(
  c: RequestContext,
  part: 'cluster' | 'group' | 'node' | 'operation' | 'webhook' | 'incident' | 'token',
): string {
  const value = c.req.param(part);
  if (value === undefined) throw new Error(`this route has no :${part}`);
  return value;
}

/**
 * The object of the cluster that the path names. A name that is not listed reaches no object: to address one is to make it, and
 * anyone may ask for any name.
 */
export async function clusterOf(c: RequestContext): Promise<DurableObjectStub<Cluster>> {
  return c.env.CLUSTER.get(c.env.CLUSTER.idFromName(await clusterNameOf(c)));
}

/** The name of the cluster in the path, which there is. */
export async function clusterNameOf(c: RequestContext): Promise<string> {
  const name = pathPart(c, 'cluster');
  if (!nameSchema.safeParse(name).success) throw problem('cluster-unknown', `${name} cannot be the name of a cluster`);
  if (!(await isListed(c.env, name))) throw problem('cluster-unknown', `there is no cluster ${name}`);
  return name;
}

/** The group that the path names. */
export function groupOf(c: RequestContext): string {
  return known(c, 'group', 'group-unknown');
}

/** The node that the path names. */
export function nodeOf(c: RequestContext): string {
  return known(c, 'node', 'node-unknown');
}

/** A text that can be no name names nothing. */
function known(c: RequestContext, part: 'group' | 'node', code: ProblemCode): string {
  const text = pathPart(c, part);
  const name = nameSchema.safeParse(text);
  if (name.success) return name.data;
  throw problem(code, `${text} cannot be the name of a ${part}`);
}

/** The name in the path of a node that need not exist yet. */
export function newNodeOf(c: RequestContext): string {
  const parsed = nameSchema.safeParse(pathPart(c, 'node'));
  if (parsed.success) return parsed.data;
  throw problem('invalid-value', `not the name of a node: ${parsed.error.issues[0]?.message}`);
}
