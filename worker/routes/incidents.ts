/** Incidents: the story of each time a group was not served. */
import type * as z from 'zod';
import type { IncidentStory, incidentListSchema } from '../../schemas/incident.ts';
import { clusterNameOf, clusterOf, type Handlers, pathPart } from './context.ts';
import { unwrap } from './problem.ts';

export const incidents = {
  'GET /v1/clusters/:cluster/incidents': async (c) => {
    const list = unwrap(await (await clusterOf(c)).incidents());
    const answer: z.infer<typeof incidentListSchema> = { schema: 'holdfast/incidents/v1', incidents: list };
    return c.json(answer);
  },

  'GET /v1/clusters/:cluster/incidents/:incident': async (c) => {
    const story = unwrap(await (await clusterOf(c)).incident(pathPart(c, 'incident')));
    const webhooks = c.env.WEBHOOKS.get(c.env.WEBHOOKS.idFromName(await clusterNameOf(c)));
    const [first, last] = [story.timeline[0], story.timeline.at(-1)];
    const told = first === undefined || last === undefined ? [] : await webhooks.told(first.seq, last.seq);
    const own = new Set(story.timeline.map(({ seq }) => seq));
    // what a receiver answered beside is for administrators
    const alerts = told.filter(({ seq }) => own.has(seq)).map(({ said: _, ...alert }) => alert);
    const answer: IncidentStory = { schema: 'holdfast/incident/v1', ...story, alerts };
    return c.json(answer);
  },
} satisfies Handlers<'GET /v1/clusters/:cluster/incidents' | 'GET /v1/clusters/:cluster/incidents/:incident'>;
