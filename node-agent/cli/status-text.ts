/** `status` as people and monitors read it. Pure: the same status gives the same text. */
import type { Status } from '../../schemas/api.ts';
import { reasonText } from '../../schemas/reasons.ts';
import type { Io } from './io.ts';
import { count, lasting, oneLine, table } from './text.ts';

type Group = Status['groups'][string];
type Node = Status['nodes'][string];
type Paint = Pick<Io, 'paint'>;

export type Level = 'OK' | 'DEGRADED' | 'DOWN';
export interface Verdict {
  readonly level: Level;
  readonly text: string;
  /** What differs from how it should be, worst first, each with the command that tells more. */
  readonly notes: readonly string[];
}

/** What an operator wants to know first: is everything served, and would it survive the next failure? */
export function verdictOf(status: Status): Verdict {
  const groups = Object.entries(status.groups);
  const nodes = Object.entries(status.nodes);
  const is = (...states: Group['state'][]) => groups.filter(([, group]) => states.includes(group.state));
  const down = is('failed', 'waiting');
  const changing = is('starting', 'stopping', 'moving');
  const stopped = is('stopped').length;
  const idle = nodes.filter(([, node]) => neverStarted(node));
  const lost = nodes.filter(([, node]) => node.joined && node.state === 'lost' && !neverStarted(node));
  const absent = nodes.filter(([, node]) => !node.joined && node.state !== 'removed');
  const alone = groups.filter(
    ([, group]) => group.owner !== null && group.state === 'running' && lacksSuccessor(group),
  );
  const notes = [
    ...down.map(
      ([name, group]) =>
        `${name} ${group.state === 'failed' ? 'has failed' : 'waits'}${because(group.reason)} -> holdfast why ${name}`,
    ),
    ...is('degraded').map(
      ([name, group]) => `${name} runs degraded${because(group.reason)} -> holdfast status ${name}`,
    ),
    ...restoredNote(status),
    ...lost.map(([name, node]) => lostNote(name, node)),
    ...idle.map(([name]) => `${name} has joined, but its agent has not started -> holdfast agent, on ${name}`),
    ...absent.map(([name]) => `${name} is configured but has not joined -> holdfast node token create --node ${name}`),
    ...nodes.flatMap(([name, node]) =>
      node.refusals.map(
        (refusal) => `${name} refuses ${refusal.group}/${refusal.resource}: ${oneLine(refusal.reason)}`,
      ),
    ),
    ...alone.map(
      ([name, group]) => `no other node could take ${name} over from ${group.owner} -> holdfast why ${name}`,
    ),
  ];
  const problems = [
    ...part(down.length, groups.length, 'group', 'not served'),
    ...part(is('degraded').length, groups.length, 'group', 'degraded'),
    ...part(lost.length, nodes.length, 'node', 'lost'),
    ...part(idle.length, nodes.length, 'node', 'not started'),
    ...part(absent.length, nodes.length, 'node', 'not joined'),
    ...part(alone.length, groups.length, 'group', 'without a second node'),
    ...(status.restored === undefined ? [] : ['the coordinator was restored and grants nothing']),
    ...(changing.length === 0
      ? []
      : [`${count(changing.length, 'group')} ${changing.length === 1 ? 'is' : 'are'} changing`]),
  ];
  const level = down.length > 0 ? 'DOWN' : problems.length > 0 || notes.length > 0 ? 'DEGRADED' : 'OK';
  if (level === 'OK') return { level, text: fineText(status, stopped), notes };
  const served = down.length === 0 && changing.length === 0 ? servedText(groups.length, stopped) : [];
  const text = [problems.join(', ') || 'a node refuses what it should run', ...served, ...stoppedText(stopped)];
  return { level, text: text.join(', '), notes };
}

function servedText(groups: number, stopped: number): string[] {
  if (groups === stopped) return [];
  return [stopped === 0 ? 'every group is served' : 'every other group is served'];
}

function stoppedText(stopped: number): string[] {
  return stopped === 0 ? [] : [`${count(stopped, 'group')} stopped on purpose`];
}

/** Joined, and nothing has ever been heard of it: somebody has yet to start its agent. */
function neverStarted(node: Node): boolean {
  return node.joined && node.state === 'lost' && node.agentVersion === null;
}

function lostNote(name: string, node: Node): string {
  const silent = node.lastSeenMs === null ? 'since the coordinator started' : `for ${lasting(node.lastSeenMs)}`;
  switch (node.note) {
    case 'declared dead':
      return `${name} was declared dead and has not started again -> holdfast agent, on ${name}, brings it back`;
    case 'agent ended':
      return `the agent of ${name} ended and has not started again ${silent} -> holdfast agent, on ${name}`;
    default:
      return `${name} has not reported ${silent} -> holdfast events`;
  }
}

function part(number: number, all: number, noun: string, what: string): string[] {
  return number === 0 ? [] : [`${number} of ${count(all, noun)} ${what}`];
}

const because = (reason: string | undefined) => (reason === undefined ? '' : `: ${oneLine(reason)}`);

function fineText(status: Status, stopped: number): string {
  const groups = Object.keys(status.groups).length;
  if (status.revision === 0) return 'nothing is configured yet';
  if (groups === 0) return 'no groups are configured';
  const running = `${count(groups - stopped, 'group')} ${groups - stopped === 1 ? 'runs' : 'run'}`;
  return [running, ...stoppedText(stopped)].join(', ');
}

function restoredNote({ restored }: Status): string[] {
  if (restored === undefined) return [];
  const waiting = restored.waitingFor.length === 0 ? 'the wait to end' : restored.waitingFor.join(', ');
  return [
    `the coordinator’s data was restored (${restored.since}); waiting for ${waiting} -> holdfast cluster confirm-history`,
  ];
}

/** A group that may run on one node only was meant so; one whose other nodes all cannot take it was not. */
function lacksSuccessor(group: Group): boolean {
  return group.candidates.length > 1 && successor(group) === undefined && !unheard(group);
}

/** The coordinator has just started: who could take the group over is known in a moment. */
function unheard(group: Group): boolean {
  return group.candidates.some(
    ({ node, reasons }) =>
      node !== group.owner && reasons.some(({ rule }) => rule === 'unheard' || rule === 'epochs-unreported'),
  );
}

function successor(group: Group): string | undefined {
  return group.candidates.find((candidate) => candidate.eligible && candidate.node !== group.owner)?.node;
}

export function statusText(status: Status, io: Paint): string {
  const verdict = verdictOf(status);
  const colour = verdict.level === 'OK' ? 'green' : verdict.level === 'DOWN' ? 'red' : 'yellow';
  const parts = [
    `${status.cluster}  ${io.paint(colour, verdict.level)}: ${verdict.text}  (revision ${status.revision})`,
  ];
  if (Object.keys(status.groups).length > 0) parts.push(groupTable(status, io));
  if (Object.keys(status.nodes).length > 0) parts.push(nodeTable(status, io));
  if (verdict.notes.length > 0) parts.push(verdict.notes.map((note) => `! ${note}`).join('\n'));
  return parts.join('\n\n');
}

function groupTable(status: Status, io: Paint): string {
  const now = Date.parse(status.at);
  const rows = Object.entries(status.groups).map(([name, group]) => [
    name,
    groupState(group, io),
    group.owner ?? '-',
    lasting(now - Date.parse(group.since)),
    String(group.epoch),
    group.owner === null ? '-' : (successor(group) ?? (unheard(group) ? '?' : io.paint('yellow', 'nobody'))),
  ]);
  return table(['GROUP', 'STATE', 'NODE', 'FOR', 'EPOCH', 'TAKES OVER'], rows);
}

function groupState(group: Group, { paint }: Paint): string {
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
    Object.entries(status.groups)
      .filter(([, group]) => group.owner === name)
      .map(([group]) => group)
      .join(' ') || '-',
  ]);
  return table(['NODE', 'STATE', 'SEEN', 'AGENT', 'RUNS'], rows);
}

function nodeState(node: Node, { paint }: Paint): string {
  if (!node.joined && node.state !== 'removed') return paint('yellow', 'not joined');
  if (neverStarted(node)) return paint('yellow', 'joined, agent not started');
  switch (node.state) {
    case 'ready':
      return paint('green', node.state);
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
  if (group.resources.length > 0)
    parts.push(
      table(
        ['RESOURCE', 'STATE', 'NOTE'],
        group.resources.map((resource) => [resource.id, resource.state, oneLine(resource.reason ?? '')]),
      ),
    );
  parts.push(candidateTable(group.candidates, group.owner));
  return parts.join('\n\n');
}

/** Every node with every reason for and against it. */
export function candidateTable(candidates: Group['candidates'], owner: string | null): string {
  const rows = candidates.map((candidate) => [
    candidate.node,
    candidate.node === owner ? 'runs it' : candidate.eligible ? (candidate.chosen ? 'yes, next' : 'yes') : 'NO',
    oneLine(candidate.reasons.map(reasonText).join('; ')) || '-',
  ]);
  return table(['NODE', 'ELIGIBLE', 'WHY'], rows);
}

/** `--check`: the exit code and the line of a Nagios plug-in, with performance data. */
export function checkText(status: Status): { exit: 0 | 1 | 2; line: string } {
  const { level, text, notes } = verdictOf(status);
  const groups = Object.values(status.groups);
  const nodes = Object.values(status.nodes);
  const running = groups.filter((group) => group.state === 'running').length;
  const ready = nodes.filter((node) => node.state === 'ready' && node.joined).length;
  const word = level === 'OK' ? 'OK' : level === 'DEGRADED' ? 'WARNING' : 'CRITICAL';
  const more = notes[0] === undefined ? '' : `; ${notes[0].split(' -> ')[0]}`;
  const line = `HOLDFAST ${word} - ${status.cluster}: ${text}${more}`.replaceAll('|', '/');
  const data = `groups=${groups.length} groups_running=${running} nodes=${nodes.length} nodes_ready=${ready}`;
  return { exit: level === 'OK' ? 0 : level === 'DEGRADED' ? 1 : 2, line: `${line} | ${data}` };
}
