import { createClusterSchema } from '../../schemas/api.ts';
import { timestamp } from '../cluster/index.ts';
import { registryOf, rememberListed } from '../registry/index.ts';
import { readJson } from './body.ts';
import { clusterOf, type Handlers } from './context.ts';
import { nothing } from './nothing.ts';
import { problem, unwrap } from './problem.ts';

export const clusters = {
  'GET /v1/clusters': async (c) => {
    const listed = await registryOf(c.env).list();
    return c.json({ clusters: listed.map(({ name, createdAt }) => ({ name, createdAt: timestamp(createdAt) })) });
  },

  'POST /v1/clusters': async (c) => {
    const { name, location } = await readJson(c, createClusterSchema);
    const hint = location === undefined ? {} : { locationHint: location };
    const cluster = c.env.CLUSTER.get(c.env.CLUSTER.idFromName(name), hint);
    const created = unwrap(await cluster.create(name));
    // Listed last: a failure in between leaves a cluster that the next attempt lists, never a listed one that is not there.
    await registryOf(c.env).add(name, created.createdAt);
    rememberListed(name);
    if (created.existed) throw problem('cluster-exists', `there is a cluster ${name} already`);
    return c.json({ name, createdAt: timestamp(created.createdAt) }, 201, { location: `/v1/clusters/${name}` });
  },

  'GET /v1/clusters/:cluster/keys': async (c) => {
    return c.json({ keys: unwrap(await (await clusterOf(c)).agents.keys()) });
  },

  'POST /v1/clusters/:cluster/keys/rotate': async (c) => {
    await readJson(c, nothing);
    return c.json({ keys: unwrap(await (await clusterOf(c)).agents.rotateKey()) });
  },
} satisfies Handlers<
  'GET /v1/clusters' | 'POST /v1/clusters' | 'GET /v1/clusters/:cluster/keys' | 'POST /v1/clusters/:cluster/keys/rotate'
>;
