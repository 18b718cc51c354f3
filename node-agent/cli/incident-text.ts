/** An incident as a person reads it: what happened when, who was asked, who was passed over and why, who was told. Pure. */
import type { Incident, IncidentStory } from '../../schemas/incident.ts';
import { type Decision, reasonText } from '../../schemas/reasons.ts';
import { weighed } from './status-text.ts';
import { lasting, oneLine, table } from './text.ts';

export function incidentTable(incidents: readonly Incident[]): string {
  return table(
    ['INCIDENT', 'AT', 'GROUP', 'STATE', 'OUTAGE', 'OWNER', 'TRIGGER'],
    incidents.map((one) => [
      one.id,
      one.openedAt,
      one.group,
      one.state,
      outage(one),
      owners(one),
      oneLine(one.trigger),
    ]),
  );
}

function outage({ outageMs }: Incident): string {
  return outageMs === null ? '-' : lasting(outageMs);
}

function owners({ from, to }: Incident): string {
  if (to === null || to === from) return from ?? '-';
  return from === null ? to : `${from} -> ${to}`;
}

export function incidentText(story: IncidentStory): string {
  const { incident, lastRenewalAt, grants, refusals } = story;
  const begun = lastRenewalAt ?? incident.openedAt;
  const ended =
    incident.outageMs === null ? 'not over yet' : `over; outage ${(incident.outageMs / 1_000).toFixed(2)} s at most`;
  const parts = [
    `${incident.id}  ${incident.group}  ${owners(incident)}  ${ended}\n  ${oneLine(incident.trigger)}`,
    timelineText(story, begun),
    ...grants.map((grant) => grantText(grant)),
  ];
  if (refusals.length > 0)
    parts.push(`Refused meanwhile:\n${refusals.map((refusal) => refusalLine(refusal, begun)).join('\n')}`);
  parts.push(alertsText(story, begun));
  return parts.join('\n\n');
}

/** Since the beginning, in seconds: what is earlier by the coordinator's clock has a minus. */
function after(at: string, begun: string): string {
  const seconds = (Date.parse(at) - Date.parse(begun)) / 1_000;
  return `${seconds < 0 ? '-' : '+'}${Math.abs(seconds).toFixed(2)} s`;
}

function timelineText({ incident, lastRenewalAt, timeline }: IncidentStory, begun: string): string {
  const head =
    lastRenewalAt === null
      ? []
      : [['+0.00 s', incident.from ?? '', 'last renewal', 'the last proof that the owner had it']];
  const rows = timeline.map((event) => [
    after(event.at, begun),
    event.node ?? '',
    event.resource === undefined ? event.kind : `${event.kind} ${event.resource}`,
    oneLine(event.detail),
  ]);
  return table(['AFTER', 'NODE', 'WHAT', 'DETAIL'], [...head, ...rows]);
}

function grantText(grant: Decision): string {
  const { group, node, epoch, cause, candidates } = grant;
  const lines = candidates.map(
    (candidate) =>
      `  ${candidate.node}: ${oneLine(weighed(candidate.reasons, { group, node: candidate.node })) || 'no reason recorded'}`,
  );
  return [`Granted to ${node}, epoch ${epoch}${cause === undefined ? '' : ` (${cause})`}, of these:`, ...lines].join(
    '\n',
  );
}

function refusalLine(refusal: Decision, begun: string): string {
  const reasons = refusal.reasons.map((reason) => reasonText(reason, refusal)).join('; ');
  return `  ${after(refusal.at, begun)}  ${refusal.node}: ${oneLine(reasons) || 'no reason recorded'}`;
}

function alertsText({ alerts }: IncidentStory, begun: string): string {
  if (alerts.length === 0) return 'No attempt to tell somebody is on record (holdfast webhook list).';
  const rows = alerts.map((one) => [after(one.at, begun), one.webhook, one.kind, oneLine(one.detail)]);
  return `Told:\n${table(['AFTER', 'WEBHOOK', 'EVENT', 'ANSWER'], rows)}`;
}
