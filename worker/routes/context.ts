import type { Context, Hono } from 'hono';
import { nameSchema } from '../../schemas/names.ts';
import type { Cluster } from '../cluster/index.ts';
import type { Env } from '../env.ts';
import type { RouteKey } from './access.ts';
import { problem } from './problem.ts';

export type Bindings = { Bindings: Env };
export type App = Hono<Bindings>;
export type RequestContext = Context<Bindings>;
export type Handler = (c: RequestContext) => Promise<Response>;
/** What one file of this folder contributes. */
export type Handlers<K extends RouteKey> = Readonly<Record<K, Handler>>;

/** One object lists the clusters. */
export const REGISTRY_NAME = 'registry';

/** A part of the path. Routes without it do not ask for it. */
export function pathPart(c: RequestContext, part: 'cluster' | 'group' | 'node' | 'operation'): string {
  const value = c.req.param(part);
  if (value === undefined) throw new Error(`this route has no :${part}`);
  return value;
}

/** The object of the cluster that the path names. A text that can be no name reaches no object. */
export function clusterOf(c: RequestContext): DurableObjectStub<Cluster> {
  const name = pathPart(c, 'cluster');
  if (!nameSchema.safeParse(name).success) throw problem('cluster-unknown', `${name} cannot be the name of a cluster`);
  return c.env.CLUSTER.get(c.env.CLUSTER.idFromName(name));
}

/** The name of a node in the path, where it need not exist yet. */
export function nodeName(c: RequestContext): string {
  const parsed = nameSchema.safeParse(pathPart(c, 'node'));
  if (parsed.success) return parsed.data;
  throw problem('invalid-value', `not the name of a node: ${parsed.error.issues[0]?.message}`);
}
