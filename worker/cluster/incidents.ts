/**
 * An incident is told from the event log and the decisions, which are written with the change that they tell of; stored beside them is only
 * where it begins and ends (incident-spans.ts). So incidents go as far back as those do. Pure.
 */
import type { ClusterEvent } from '../../schemas/events.ts';
import type { Incident, IncidentStory } from '../../schemas/incident.ts';
import type { Decision } from '../../schemas/reasons.ts';

/** From the event that opened an incident to the one that ended it. */
export interface Span {
  readonly group: string;
  /** When a resource of it failed, if that led to it. */
  readonly signAt: string | null;
  readonly opening: ClusterEvent;
  readonly closing: ClusterEvent | null;
}

/** @param grants those made since it opened, oldest first: the first tells of the owner before, the last is that in which it ran again. */
export function incidentOf({ group, signAt, opening, closing }: Span, grants: readonly Decision[]): Incident {
  const [first] = grants;
  const ended = closing === null ? undefined : grants.at(-1);
  const signs = [opening.at, signAt, first?.lastRenewalAt].flatMap((at) => (at == null ? [] : Date.parse(at)));
  return {
    id: `inc_${opening.seq}`,
    group,
    state: closing === null ? 'open' : 'over',
    openedAt: opening.at,
    closedAt: closing?.at ?? null,
    trigger: `${opening.kind}${opening.node === undefined ? '' : ` on ${opening.node}`}: ${opening.detail}`,
    cause: ended?.cause ?? null,
    from: first?.from ?? opening.node ?? null,
    to: ended?.node ?? null,
    outageMs: closing === null ? null : Math.max(0, servedAt(closing, ended) - Math.min(...signs)),
  };
}

/** The moment that webhooks count to as well: its owner ran it a little before that was heard of. */
function servedAt(closing: ClusterEvent, ended: Decision | undefined): number {
  const runs = closing.kind !== 'group.stopped' && closing.epoch === ended?.epoch;
  return Date.parse((runs ? ended?.runningAt : null) ?? closing.at);
}

/** What of the log belongs to an incident: everything of the group, and of the nodes that had part in it what is of no group. */
export function timelineOf(
  incident: Incident,
  lastRenewalAt: string | null,
  grants: readonly Decision[],
  events: readonly ClusterEvent[],
): ClusterEvent[] {
  const begun = Date.parse(lastRenewalAt ?? incident.openedAt);
  const nodes = new Set([incident.from, incident.to, ...grants.map(({ node }) => node)]);
  return events.filter(
    ({ at, group, node }) =>
      Date.parse(at) >= begun &&
      (group === incident.group || (group === undefined && node !== undefined && nodes.has(node))),
  );
}

export type Story = Omit<IncidentStory, 'schema' | 'alerts'>;
