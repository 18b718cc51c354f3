import { confirmDeadSchema, createTokenSchema, pauseSchema, removeNodeSchema } from '../../schemas/api.ts';
import { JOIN_TOKEN_DEFAULT_TTL_MS, JOIN_TOKEN_MAX_TTL_MS, PAUSE_DEFAULT_MS } from '../../schemas/limits.ts';
import { timestamp } from '../cluster/index.ts';
import { flagFrom, readJson } from './body.ts';
import { clusterOf, type Handlers, newNodeOf, nodeOf } from './context.ts';
import { nothing } from './nothing.ts';
import { started } from './operations.ts';
import { problem, unwrap } from './problem.ts';

export const nodes = {
  'GET /v1/clusters/:cluster/nodes': async (c) => {
    const status = unwrap(await (await clusterOf(c)).status());
    return c.json({ schema: 'holdfast/nodes/v1', nodes: status.nodes });
  },

  'DELETE /v1/clusters/:cluster/nodes/:node': async (c) => {
    const { force } = await readJson(c, removeNodeSchema);
    const node = nodeOf(c);
    unwrap(
      await (await clusterOf(c)).actNow({ type: 'node-remove', node, force: flagFrom(c, 'force') || force === true }),
    );
    return c.json({ done: true });
  },

  'POST /v1/clusters/:cluster/nodes/:node/token': async (c) => {
    const { ttlMs = JOIN_TOKEN_DEFAULT_TTL_MS } = await readJson(c, createTokenSchema);
    if (ttlMs > JOIN_TOKEN_MAX_TTL_MS) {
      const detail = `a join token lives at most ${JOIN_TOKEN_MAX_TTL_MS / 3_600_000} hours`;
      throw problem('invalid-value', detail, [{ path: 'ttlMs', detail }]);
    }
    const node = newNodeOf(c);
    const { token, expiresAt } = unwrap(await (await clusterOf(c)).agents.createToken(node, ttlMs));
    return c.json({ token, node, expiresAt: timestamp(expiresAt) }, 201);
  },

  'POST /v1/clusters/:cluster/nodes/:node/standby': async (c) => {
    await readJson(c, nothing);
    return started(c, unwrap(await (await clusterOf(c)).act({ type: 'node-standby', node: nodeOf(c) })));
  },

  'POST /v1/clusters/:cluster/nodes/:node/ready': async (c) => {
    await readJson(c, nothing);
    unwrap(await (await clusterOf(c)).actNow({ type: 'node-ready', node: nodeOf(c) }));
    return c.json({ done: true });
  },

  'POST /v1/clusters/:cluster/nodes/:node/maintenance': async (c) => {
    const { forMs = PAUSE_DEFAULT_MS, reason } = await readJson(c, pauseSchema);
    unwrap(await (await clusterOf(c)).actNow({ type: 'node-maintenance', node: nodeOf(c), forMs, reason }));
    return c.json({ done: true });
  },

  'POST /v1/clusters/:cluster/nodes/:node/confirm-dead': async (c) => {
    await readJson(c, confirmDeadSchema);
    unwrap(await (await clusterOf(c)).actNow({ type: 'confirm-dead', node: nodeOf(c) }));
    return c.json({ done: true });
  },
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/nodes'
  | 'DELETE /v1/clusters/:cluster/nodes/:node'
  | 'POST /v1/clusters/:cluster/nodes/:node/token'
  | 'POST /v1/clusters/:cluster/nodes/:node/standby'
  | 'POST /v1/clusters/:cluster/nodes/:node/ready'
  | 'POST /v1/clusters/:cluster/nodes/:node/maintenance'
  | 'POST /v1/clusters/:cluster/nodes/:node/confirm-dead'
>;
