import { createClusterSchema } from '../../schemas/api.ts';
import { timestamp } from '../cluster/index.ts';
import { registryOf, rememberListed } from '../registry/index.ts';
import { readJson } from './body.ts';
import type { Handlers } from './context.ts';
import { problem, unwrap } from './problem.ts';

export const clusters = {
  'GET /v1/clusters': async (c) => {
    const listed = await registryOf(c.env).list();
    return c.json({ clusters: listed.map(({ name, createdAt }) => ({ name, createdAt: timestamp(createdAt) })) });
  },

  'POST /v1/clusters': async (c) => {
    const { name } = await readJson(c, createClusterSchema);
    const cluster = c.env.CLUSTER.get(c.env.CLUSTER.idFromName(name));
    const created = unwrap(await cluster.create(name));
    // Listed last: a failure in between leaves a cluster that the next attempt lists, never a listed one that is not there.
    await registryOf(c.env).add(name, created.createdAt);
    rememberListed(name);
    if (created.existed) throw problem('cluster-exists', `there is a cluster ${name} already`);
    return c.json({ name, createdAt: timestamp(created.createdAt) }, 201, { location: `/v1/clusters/${name}` });
  },
} satisfies Handlers<'GET /v1/clusters' | 'POST /v1/clusters'>;
