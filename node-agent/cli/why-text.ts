/** `why` in words: every candidate with its reasons, and the story of the last time the group changed hands. Pure. */
import type { Why } from '../../schemas/api.ts';
import { type Cause, type Decision, reasonText } from '../../schemas/reasons.ts';
import type { Io } from './io.ts';
import { candidateTable, weighed } from './status-text.ts';
import { oneLine } from './text.ts';
import { whatWouldChange } from './why-advice.ts';

export function whyText(why: Why, only: string | undefined, io: Pick<Io, 'paint'>): string {
  const candidates = only === undefined ? why.candidates : why.candidates.filter(({ node }) => node === only);
  const parts = [headline(why, io), candidateTable(why.group, candidates, why.owner)];
  if (only !== undefined) {
    const changes = whatWouldChange(why, only);
    if (changes.length > 0) parts.push(`For ${only} to be chosen:\n${changes.map((line) => `  ${line}`).join('\n')}`);
  }
  if (only === undefined && why.lastGrant !== null) parts.push(story(why.lastGrant));
  const refusals = why.refusals.filter(({ node }) => only === undefined || node === only);
  if (refusals.length > 0) parts.push(`Refused since then:\n${refusals.map(refusalLine).join('\n')}`);
  return parts.join('\n\n');
}

function headline(why: Why, { paint }: Pick<Io, 'paint'>): string {
  const because = why.reason === undefined ? '' : `\n  because ${oneLine(why.reason)}`;
  const reason = `${because}${pausedLine(why)}${maintenanceLine(why)}`;
  if (why.owner === null) return `${paint('bold', why.group)} is ${why.state} and runs nowhere${reason}`;
  const hold = why.halted?.kind === 'hold' ? `, ${paint('red', 'ON HOLD')},` : '';
  return `${paint('bold', why.group)} is ${why.state}${hold} on ${why.owner}, epoch ${why.epoch}${reason}`;
}

/** Of a group whose node somebody works on. */
function maintenanceLine({ owner, candidates }: Why): string {
  const reasons = candidates.find(({ node }) => node === owner)?.reasons ?? [];
  const resting = reasons.find((reason) => reason.rule === 'maintenance');
  if (resting === undefined || owner === null) return '';
  return `\n  ${owner} is in maintenance until ${resting.until} (${oneLine(resting.detail)}): nothing there is started, stopped or taken over; \`holdfast node ready ${owner}\` ends it`;
}

function pausedLine({ group, paused }: Why): string {
  if (paused === undefined) return '';
  return `\n  paused until ${paused.until} (${oneLine(paused.reason)}): nothing is started, stopped or taken over; \`holdfast group resume ${group}\` ends it`;
}

function refusalLine(refusal: Decision): string {
  return `  ${refusal.at}  ${refusal.node}: ${oneLine(refusal.reasons.map((reason) => reasonText(reason, refusal)).join('; ')) || 'no reason recorded'}`;
}

/** The last grant: why the lease was free, who got it over whom, and how long the service was away. */
export function story(grant: Decision): string {
  const from = grant.from === undefined || grant.from === grant.node ? '' : `${grant.from} -> `;
  const start = grant.lastRenewalAt ?? grant.at;
  const after = (at: string) => `+${seconds(Date.parse(at) - Date.parse(start))} s`;
  const lines = [
    `Last change: ${causeText(grant)}`,
    `  ${from}${grant.node}, epoch ${grant.epoch}, decision ${grant.seq}`,
    ...(grant.lastRenewalAt === null ? [] : [`  last renewal  ${grant.lastRenewalAt}`]),
    `  granted       ${grant.at}${grant.lastRenewalAt === null ? '' : `  ${after(grant.at)}`}`,
    grant.runningAt === null
      ? '  running       not yet'
      : `  running       ${grant.runningAt}  ${after(grant.runningAt)}`,
    ...outage(grant),
  ];
  const others = grant.candidates.filter((candidate) => candidate.node !== grant.node);
  if (others.length === 0) return lines.join('\n');
  const passedOver = others.map(
    (candidate) =>
      `    ${candidate.node}: ${oneLine(weighed(candidate.reasons, { group: grant.group, node: candidate.node })) || 'no reason recorded'}`,
  );
  return [...lines, '  passed over then:', ...passedOver].join('\n');
}

/** Measured from the previous owner's last renewal, which is the last proof that it ran, to the report that it runs again. */
function outage(grant: Decision): string[] {
  if (grant.lastRenewalAt === null || grant.runningAt === null || grant.cause === 'first-start') return [];
  return [
    `  outage        ${seconds(Date.parse(grant.runningAt) - Date.parse(grant.lastRenewalAt))} s at most (last renewal to running)`,
  ];
}

const seconds = (ms: number) => (ms / 1_000).toFixed(2);

function causeText(grant: Decision): string {
  const cause: Cause | undefined = grant.cause;
  const from = grant.from ?? 'the previous owner';
  switch (cause) {
    case undefined:
      return 'granted';
    case 'first-start':
      return 'first start';
    case 'released':
      return `released by ${from}`;
    case 'lease-expired':
      return `the lease of ${from} expired: it stopped renewing`;
    case 'declared-dead':
      return `${from} was declared dead by an operator`;
    default:
      return cause satisfies never;
  }
}
