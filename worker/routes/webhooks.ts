/** Webhooks: who is told of what happens. They are an object's of their own (worker/webhooks/). */

import type * as z from 'zod';
import {
  createWebhookSchema,
  type deliveriesSchema,
  replaySchema,
  type webhookCreatedSchema,
  type webhookListSchema,
  type webhookSecretSchema,
} from '../../schemas/webhook.ts';
import type { Webhooks } from '../webhooks/index.ts';
import { ADMINISTRATOR } from './authorise.ts';
import { readJson } from './body.ts';
import { clusterNameOf, type Handlers, pathPart, type RequestContext } from './context.ts';
import { nothing } from './nothing.ts';
import { problem, unwrap } from './problem.ts';

/** The object of the webhooks of the cluster that the path names. */
export async function webhooksOf(c: RequestContext): Promise<DurableObjectStub<Webhooks>> {
  return c.env.WEBHOOKS.get(c.env.WEBHOOKS.idFromName(await clusterNameOf(c)));
}

/** Where people reach the coordinator; a proxy that ends TLS says so. */
function originOf(c: RequestContext): string {
  const url = new URL(c.req.url);
  if (c.req.header('x-forwarded-proto') === 'https') url.protocol = 'https:';
  return url.origin;
}

const idOf = (c: RequestContext) => pathPart(c, 'webhook');

export const webhooks = {
  'GET /v1/clusters/:cluster/webhooks': async (c) => {
    const list = await (await webhooksOf(c)).list();
    const answer: z.infer<typeof webhookListSchema> = { schema: 'holdfast/webhooks/v1', webhooks: list };
    return c.json(answer);
  },

  'POST /v1/clusters/:cluster/webhooks': async (c) => {
    const cluster = await clusterNameOf(c);
    const wanted = await readJson(c, createWebhookSchema);
    // a receiver beside the coordinator is within the reach of its own administrator alone
    if (wanted.allowPrivate && c.get('caller')?.id !== ADMINISTRATOR.id)
      throw problem(
        'forbidden',
        'allowPrivate is for the administrator’s token: it lets the coordinator speak to its own network',
      );
    const origin = originOf(c);
    const created = unwrap(await (await webhooksOf(c)).create(cluster, wanted, origin));
    const answer: z.infer<typeof webhookCreatedSchema> = { schema: 'holdfast/webhook-created/v1', ...created };
    return c.json(answer, 201, { location: `/v1/clusters/${cluster}/webhooks/${created.webhook.id}` });
  },

  'GET /v1/clusters/:cluster/webhooks/:webhook': async (c) => c.json(unwrap(await (await webhooksOf(c)).get(idOf(c)))),

  'DELETE /v1/clusters/:cluster/webhooks/:webhook': async (c) => {
    unwrap(await (await webhooksOf(c)).remove(idOf(c)));
    return c.json({ done: true });
  },

  'GET /v1/clusters/:cluster/webhooks/:webhook/deliveries': async (c) => {
    const deliveries = unwrap(await (await webhooksOf(c)).deliveries(idOf(c)));
    const answer: z.infer<typeof deliveriesSchema> = { schema: 'holdfast/webhook-deliveries/v1', deliveries };
    return c.json(answer);
  },

  'POST /v1/clusters/:cluster/webhooks/:webhook/test': async (c) => {
    await readJson(c, nothing);
    return c.json(unwrap(await (await webhooksOf(c)).test(idOf(c))));
  },

  'POST /v1/clusters/:cluster/webhooks/:webhook/enable': async (c) => {
    await readJson(c, nothing);
    return c.json(unwrap(await (await webhooksOf(c)).enable(idOf(c))));
  },

  'POST /v1/clusters/:cluster/webhooks/:webhook/replay': async (c) => {
    const { id } = await readJson(c, replaySchema);
    unwrap(await (await webhooksOf(c)).replay(idOf(c), id));
    return c.json({ done: true });
  },

  'POST /v1/clusters/:cluster/webhooks/:webhook/rotate-secret': async (c) => {
    await readJson(c, nothing);
    const rotated = unwrap(await (await webhooksOf(c)).rotate(idOf(c)));
    const answer: z.infer<typeof webhookSecretSchema> = { schema: 'holdfast/webhook-secret/v1', ...rotated };
    return c.json(answer);
  },
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/webhooks'
  | 'POST /v1/clusters/:cluster/webhooks'
  | 'GET /v1/clusters/:cluster/webhooks/:webhook'
  | 'DELETE /v1/clusters/:cluster/webhooks/:webhook'
  | 'GET /v1/clusters/:cluster/webhooks/:webhook/deliveries'
  | 'POST /v1/clusters/:cluster/webhooks/:webhook/test'
  | 'POST /v1/clusters/:cluster/webhooks/:webhook/enable'
  | 'POST /v1/clusters/:cluster/webhooks/:webhook/replay'
  | 'POST /v1/clusters/:cluster/webhooks/:webhook/rotate-secret'
>;
