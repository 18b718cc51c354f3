/** Incidents: the story of each time a group was not served though it should have been. */
import * as z from 'zod';
import { eventSchema } from './events.ts';
import { nameSchema } from './names.ts';
import { causes, decisionSchema } from './reasons.ts';
import { deliverySchema } from './webhook.ts';

const at = z.iso.datetime();

/** How many incidents are listed. */
export const MAX_INCIDENTS_LISTED = 100;

export const incidentIdPattern = /^inc_([1-9]\d{0,14})$/;

export const incidentSchema = z.object({
  /** `inc_` and the sequence number of the event that opened it. */
  id: z.string().regex(incidentIdPattern),
  group: nameSchema,
  state: z.enum(['open', 'over']),
  openedAt: at,
  /** When the group ran again, or was stopped; null while it is open. */
  closedAt: at.nullable(),
  /** What opened it, in the words of that event. */
  trigger: z.string(),
  /** Of the grant that ended it; null where none did. */
  cause: z.enum(causes).nullable(),
  from: nameSchema.nullable(),
  to: nameSchema.nullable(),
  /**
   * From the last renewal of the owner before, the opening or the failure of a resource that led to it (INCIDENT_SIGN_MS before the opening
   * at most), whichever was first, to running; null while it is open.
   */
  outageMs: z.int().nullable(),
});
export type Incident = z.infer<typeof incidentSchema>;

/** Newest first. */
export const incidentListSchema = z.object({
  schema: z.literal('holdfast/incidents/v1'),
  incidents: z.array(incidentSchema),
});

export const incidentStorySchema = z.object({
  schema: z.literal('holdfast/incident/v1'),
  incident: incidentSchema,
  /** The last sign of life of the owner before; null where it is not known. */
  lastRenewalAt: at.nullable(),
  /** The grants made meanwhile, each with every candidate and its reasons; oldest first. */
  grants: z.array(decisionSchema),
  /** Who asked meanwhile and was refused, with the reasons; oldest first. */
  refusals: z.array(decisionSchema),
  /** What happened to the group and to the nodes that had part in it, oldest first. */
  timeline: z.array(eventSchema),
  /** Attempts to tell somebody, oldest first. */
  alerts: z.array(deliverySchema.omit({ said: true }).extend({ webhook: z.string() })),
});
export type IncidentStory = z.infer<typeof incidentStorySchema>;
