import { simulateSchema } from '../../schemas/api.ts';
import { readJson } from './body.ts';
import { parsedDocument } from './config.ts';
import { clusterOf, type Handlers } from './context.ts';
import { unwrap } from './problem.ts';

export const simulate = {
  'POST /v1/clusters/:cluster/simulate': async (c) => {
    const { document, ...assumed } = await readJson(c, simulateSchema);
    const cluster = await clusterOf(c);
    return c.json(unwrap(await cluster.simulate(assumed, document === undefined ? null : parsedDocument(document))));
  },
} satisfies Handlers<'POST /v1/clusters/:cluster/simulate'>;
