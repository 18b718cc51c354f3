/** `status` as people and monitors read it. Pure: the same status gives the same text. */
import { isServed, type Status } from '../../schemas/api.ts';
import { type About, type Reason, reasonText } from '../../schemas/reasons.ts';
import { ruledOut, staysPut, successor, unheard } from '../../schemas/takeover.ts';
import type { Io } from './io.ts';
import { lasting, oneLine, table } from './text.ts';
import { because, type Group, haltedNote, type Node, neverStarted, verdictOf } from './verdict.ts';

type Paint = Pick<Io, 'paint'>;

/** More names than this in one cell make lines that no terminal shows. */
const NAMES_SHOWN = 8;

/** @param order where what differs stands: at the end, or, where the end may not be seen, before the tables. */
export function statusText(status: Status, io: Paint, order: 'notes-last' | 'notes-first' = 'notes-last'): string {
  const verdict = verdictOf(status);
  const colour = verdict.level === 'OK' ? 'green' : verdict.level === 'DOWN' ? 'red' : 'yellow';
  const parts = [
    `${status.cluster}  ${io.paint(colour, verdict.level)}: ${verdict.text}  (revision ${status.revision})`,
  ];
  const notes = verdict.notes.map((note) => `! ${note}`).join('\n');
  if (order === 'notes-first') parts.push(notes);
  if (Object.keys(status.groups).length > 0) parts.push(groupTable(status, io));
  if (Object.keys(status.nodes).length > 0) parts.push(nodeTable(status, io));
  if (order === 'notes-last') parts.push(notes);
  return parts.filter((part) => part !== '').join('\n\n');
}

function groupTable(status: Status, io: Paint): string {
  const now = Date.parse(status.at);
  const rows = Object.entries(status.groups).map(([name, group]) => [
    name,
    groupState(group, io),
    group.owner ?? '-',
    lasting(now - Date.parse(group.since)),
    String(group.epoch),
    group.owner === null ? '-' : takesOver(group, status, io),
  ]);
  return table(['GROUP', 'STATE', 'NODE', 'FOR', 'EPOCH', 'TAKES OVER'], rows);
}

function takesOver(group: Group, status: Status, { paint }: Paint): string {
  const nobody = paint('yellow', 'nobody');
  if (staysPut(group, status.nodes)) return nobody;
  return successor(group) ?? ruledOut(group) ?? (unheard(group) ? '?' : nobody);
}

function groupState(group: Group, io: Paint): string {
  const state = bareState(group, io);
  const aside = [
    ...(group.halted?.kind === 'hold' ? [io.paint('red', 'ON HOLD')] : []),
    ...(group.paused === undefined ? [] : [io.paint('yellow', 'paused')]),
  ];
  return [state, ...aside].join(', ');
}

function bareState(group: Group, { paint }: Paint): string {
  switch (group.state) {
    case 'running':
      return paint('green', group.state);
    case 'failed':
    case 'waiting':
      return paint('red', group.state);
    case 'degraded':
    case 'starting':
    case 'stopping':
    case 'moving':
      return paint('yellow', group.state);
    case 'stopped':
      return group.state;
    default:
      return group.state satisfies never;
  }
}

export function nodeTable(status: Status, io: Paint): string {
  const rows = Object.entries(status.nodes).map(([name, node]) => [
    name,
    nodeState(node, io),
    node.lastSeenMs === null ? '-' : `${lasting(node.lastSeenMs)} ago`,
    node.agentVersion ?? '-',
    runsOf(status, name),
  ]);
  return table(['NODE', 'STATE', 'SEEN', 'AGENT', 'RUNS'], rows);
}

function runsOf({ groups }: Status, node: string): string {
  const names = Object.keys(groups).filter((name) => groups[name]?.owner === node);
  const more = names.length - NAMES_SHOWN;
  if (more <= 1) return names.join(' ') || '-';
  return `${names.slice(0, NAMES_SHOWN).join(' ')} and ${more} more`;
}

function nodeState(node: Node, { paint }: Paint): string {
  if (!node.joined && node.state !== 'removed') return paint('yellow', 'not joined');
  if (neverStarted(node)) return paint('yellow', 'joined, agent not started');
  const resting = node.maintenance === undefined ? '' : `, ${paint('yellow', 'maintenance')}`;
  return `${bareNodeState(node, { paint })}${resting}`;
}

function bareNodeState(node: Node, { paint }: Paint): string {
  switch (node.state) {
    case 'ready':
      return node.note === undefined ? paint('green', node.state) : paint('yellow', `${node.state} (${node.note})`);
    case 'standby':
      return paint('yellow', node.state);
    case 'lost':
      return paint('red', node.note === undefined ? 'LOST' : `LOST (${node.note})`);
    case 'removed':
      return node.state;
    default:
      return node.state satisfies never;
  }
}

/** One group: what it consists of, and who could run it. */
export function groupText(name: string, group: Group, at: string, io: Paint): string {
  const where = group.owner === null ? '' : ` on ${group.owner}`;
  const since = lasting(Date.parse(at) - Date.parse(group.since));
  const parts = [
    `${name}  ${groupState(group, io)}${where} for ${since}, epoch ${group.epoch}${because(group.reason)}`,
  ];
  const { paused, halted } = group;
  if (paused !== undefined)
    parts.push(`paused until ${paused.until} (${oneLine(paused.reason)}); \`holdfast group resume ${name}\` ends it`);
  if (halted !== undefined) parts.push(`! ${haltedNote(name, group)}`);
  if (group.state === 'degraded')
    parts.push(
      `what is not well is tried again by itself, less and less often; \`holdfast group cleanup ${name}\` tries it at once`,
    );
  if (group.resources.length > 0)
    parts.push(
      table(
        ['RESOURCE', 'STATE', 'NOTE'],
        group.resources.map((resource) => [resource.id, resource.state, oneLine(resource.reason ?? '')]),
      ),
    );
  if (group.outage !== undefined && group.owner !== null) parts.push(outageText(group, group.outage));
  parts.push(candidateTable(name, group.candidates, group.owner));
  return parts.join('\n\n');
}

/** What an outage of the coordinator, and the loss of the owner, would mean. */
function outageText({ owner, candidates }: Group, outage: NonNullable<Group['outage']>): string {
  const { survives, takeover, settling, reason } = outage;
  const others = outage.voters.filter((node) => node !== owner);
  const by = others.length === 0 ? 'it needs nobody’s promise' : `by the promises of ${others.join(', ')}`;
  const lines = [
    `voters    ${outage.voters.join(', ') || '-'}`,
    `outage    ${survives ? `one of the coordinator that begins now costs it nothing: ${by}` : `one of the coordinator would stop it${because(reason)}`}`,
  ];
  if (!takeover) {
    // what speaks against the outage alone is told above
    const why = survives ? because(reason) : '';
    lines.push(
      `takeover  ${candidates.length > 1 ? `no automatic takeover${why}` : `none: it may run on ${owner} alone`}`,
    );
  }
  if (settling === true) lines.push('(not settled yet: ask again in a few seconds)');
  return lines.join('\n');
}

/** Every node with every reason for and against it, and what the reasons for it sum up to. */
export function candidateTable(group: string, candidates: Group['candidates'], owner: string | null): string {
  const scored = candidates.some(({ score }) => score !== undefined);
  const rows = candidates.map((candidate) => [
    candidate.node,
    candidate.node === owner ? 'runs it' : candidate.eligible ? (candidate.chosen ? 'yes, next' : 'yes') : 'NO',
    ...(scored ? [String(candidate.score ?? '-')] : []),
    oneLine(weighed(candidate.reasons, { group, node: candidate.node })) || '-',
  ]);
  return table(['NODE', 'ELIGIBLE', ...(scored ? ['SCORE'] : []), 'WHY'], rows);
}

/** Reasons, each with what it adds to the score. */
export function weighed(reasons: readonly Reason[], about: About): string {
  const words = reasons.map((reason) => {
    const weight = 'weight' in reason ? reason.weight : undefined;
    return weight === undefined ? reasonText(reason, about) : `${reasonText(reason, about)} +${weight}`;
  });
  return words.join('; ');
}

/** `--check`: the exit code and the line of a Nagios plug-in, with performance data. */
export function checkText(status: Status): { exit: 0 | 1 | 2; line: string } {
  const { level, text, notes } = verdictOf(status);
  const groups = Object.values(status.groups);
  const nodes = Object.values(status.nodes);
  const running = groups.filter(({ state }) => isServed(state)).length;
  const ready = nodes.filter((node) => node.state === 'ready' && node.joined && node.maintenance === undefined).length;
  const word = level === 'OK' ? 'OK' : level === 'DEGRADED' ? 'WARNING' : 'CRITICAL';
  const more = notes[0] === undefined ? '' : `; ${notes[0].split(' -> ')[0]}`;
  const line = `HOLDFAST ${word} - ${status.cluster}: ${text}${more}`.replaceAll('|', '/');
  const data = `groups=${groups.length} groups_running=${running} nodes=${nodes.length} nodes_ready=${ready}`;
  return { exit: level === 'OK' ? 0 : level === 'DEGRADED' ? 1 : 2, line: `${line} | ${data}` };
}
