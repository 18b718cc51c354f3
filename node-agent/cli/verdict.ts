/**
 * The first line of `status` and what stands below it: is everything served, and would it survive the next failure? Pure.
 *
 * A group that no other node would take over, and one that an outage of the coordinator would stop, are a warning (DEGRADED, 1 of
 * `--check`) unless it was meant so: `on` names one node, `failover: manual` while a person could move it, `requires: uplink`. What is
 * not known yet, or about to change (`settling`: the coordinator or the group has just started, the voters are changing), is no warning
 * and no note.
 */
import { isServed, type Status } from '../../schemas/api.ts';
import { hasNoTakeover, isExposed, lacksSuccessor, staysPut } from '../../schemas/takeover.ts';
import { count, lasting, oneLine } from './text.ts';

export type Group = Status['groups'][string];
export type Node = Status['nodes'][string];

export type Level = 'OK' | 'DEGRADED' | 'DOWN';
export interface Verdict {
  readonly level: Level;
  readonly text: string;
  /** What differs from how it should be, worst first, each with the command that tells more. */
  readonly notes: readonly string[];
}

/** What is not as it should be, or not as it usually is: by name. */
interface Findings {
  readonly halted: [string, Group][];
  readonly held: [string, Group][];
  readonly down: [string, Group][];
  readonly degraded: [string, Group][];
  readonly paused: [string, Group][];
  readonly changing: [string, Group][];
  readonly alone: [string, Group][];
  readonly exposed: [string, Group][];
  readonly resting: [string, Node][];
  readonly lost: [string, Node][];
  readonly idle: [string, Node][];
  readonly absent: [string, Node][];
  /** Groups that demand a watchdog, each with a node that may not run it for lack of one. */
  readonly unfenced: [string, string][];
  /** Nodes that cannot use the watchdog that they are to have. */
  readonly unfit: [string, Node][];
}

function findingsOf(status: Status): Findings {
  const groups = Object.entries(status.groups);
  const nodes = Object.entries(status.nodes);
  const is = (...states: Group['state'][]) => groups.filter(([, group]) => states.includes(group.state));
  const held = groups.filter(([, group]) => group.halted?.kind === 'hold');
  return {
    halted: groups.filter(([, group]) => group.halted !== undefined),
    held,
    down: is('failed', 'waiting').filter(([, group]) => group.halted?.kind !== 'hold'),
    degraded: is('degraded'),
    paused: groups.filter(([, group]) => group.paused !== undefined),
    changing: is('starting', 'stopping', 'moving'),
    alone: groups.filter(
      ([, group]) => isServed(group.state) && lacksSuccessor(group) && !staysPut(group, status.nodes),
    ),
    exposed: groups.filter(([, group]) => isExposed(group)),
    resting: nodes.filter(([, node]) => node.maintenance !== undefined),
    lost: nodes.filter(([, node]) => node.joined && node.state === 'lost' && !neverStarted(node)),
    idle: nodes.filter(([, node]) => neverStarted(node)),
    absent: nodes.filter(([, node]) => !node.joined && node.state !== 'removed'),
    unfenced: groups.flatMap(([name, group]) =>
      group.candidates
        .filter(({ reasons }) => reasons.some(({ rule }) => rule === 'no-watchdog'))
        .filter(({ node }) => status.nodes[node]?.state !== 'lost')
        .map(({ node }): [string, string] => [name, node]),
    ),
    unfit: nodes.filter(([, node]) => node.state !== 'lost' && node.fuse?.problem !== undefined),
  };
}

/** What an operator wants to know first: is everything served, and would it survive the next failure? */
export function verdictOf(status: Status): Verdict {
  const found = findingsOf(status);
  const groups = Object.values(status.groups);
  const stopped = groups.filter((group) => group.state === 'stopped').length;
  const notes = notesOf(status, found);
  const problems = problemsOf(status, found);
  const down = found.down.length + found.held.length > 0;
  const level = down ? 'DOWN' : problems.length > 0 || notes.length > 0 ? 'DEGRADED' : 'OK';
  if (level === 'OK') return { level, text: fineText(status, stopped), notes };
  const served = !down && found.changing.length === 0 ? servedText(groups.length, stopped) : [];
  const text = [problems.join(', ') || 'a node refuses what it should run', ...served, ...stoppedText(stopped)];
  return { level, text: text.join(', '), notes };
}

function notesOf(status: Status, found: Findings): string[] {
  return [
    ...found.halted.map(([name, group]) => haltedNote(name, group)),
    ...found.down.filter(([, group]) => group.halted === undefined).map(([name, group]) => downNote(name, group)),
    ...found.degraded.map(
      ([name, group]) => `${name} runs degraded${because(group.reason)} -> holdfast status ${name}`,
    ),
    ...found.paused.map(
      ([name, { paused }]) =>
        `${name} is paused ${untilText(paused, status)}; nobody takes it over meanwhile -> holdfast group resume ${name}`,
    ),
    ...found.resting.map(
      ([name, { maintenance }]) =>
        `${name} is in maintenance ${untilText(maintenance, status)}; nobody takes over what it runs -> holdfast node ready ${name}`,
    ),
    ...restoredNote(status),
    ...found.lost.map(([name, node]) => lostNote(name, node)),
    ...found.idle.map(([name]) => `${name} has joined, but its agent has not started -> ${startAgent(name)}`),
    ...found.absent.map(
      ([name]) => `${name} is configured but has not joined -> holdfast node token create --node ${name}`,
    ),
    ...Object.entries(status.nodes).flatMap(([name, node]) =>
      node.refusals.map(
        (refusal) =>
          `${name} refuses ${refusal.group}/${refusal.resource}: ${oneLine(refusal.reason)} -> holdfast doctor, on ${name}`,
      ),
    ),
    ...found.unfit.map(
      ([name, node]) =>
        `${name} cannot use the watchdog that it is to have, and starts nothing${because(node.fuse?.problem)} -> holdfast doctor, on ${name}`,
    ),
    ...found.unfenced.map(([group, node]) =>
      status.groups[group]?.owner === node
        ? `${group} runs on ${node} WITHOUT the watchdog that it demands -> holdfast move ${group}, or holdfast doctor, on ${node}`
        : `${node} has no watchdog, which ${group} demands: it does not start there -> holdfast doctor, on ${node}`,
    ),
    ...found.alone.map(([name, group]) => aloneNote(name, group)),
    ...found.exposed.map(
      ([name, group]) =>
        `an outage of the coordinator would stop ${name}${because(group.outage?.reason)} -> holdfast status ${name}`,
    ),
  ];
}

function problemsOf(status: Status, found: Findings): string[] {
  const groups = Object.keys(status.groups).length;
  const nodes = Object.keys(status.nodes).length;
  const changing = found.changing.length;
  return [
    ...part(found.held.length, groups, 'group', 'on hold'),
    ...part(found.down.length, groups, 'group', 'not served'),
    ...part(found.degraded.length, groups, 'group', 'degraded'),
    ...part(found.paused.length, groups, 'group', 'paused'),
    ...part(found.resting.length, nodes, 'node', 'in maintenance'),
    ...part(found.lost.length, nodes, 'node', 'lost'),
    ...part(found.idle.length, nodes, 'node', 'not started'),
    ...part(found.absent.length, nodes, 'node', 'not joined'),
    ...part(found.unfit.length, nodes, 'node', 'without a watchdog that works'),
    ...part(new Set(found.unfenced.map(([name]) => name)).size, groups, 'group', 'with nodes that lack its watchdog'),
    ...part(found.alone.length, groups, 'group', 'without a second node'),
    ...part(found.exposed.length, groups, 'group', 'not safe from an outage of the coordinator'),
    ...(status.restored === undefined ? [] : ['the coordinator was restored and grants nothing']),
    ...(changing === 0 ? [] : [`${count(changing, 'group')} ${changing === 1 ? 'is' : 'are'} changing`]),
  ];
}

function aloneNote(name: string, group: Group): string {
  if (hasNoTakeover(group))
    return `no automatic takeover of ${name}${because(group.outage?.reason)} -> holdfast why ${name}`;
  return `no other node could take ${name} over from ${group.owner} -> holdfast why ${name}`;
}

function downNote(name: string, group: Group): string {
  const how = group.state === 'failed' ? 'has failed' : 'is waiting';
  return `${name} ${how}${because(group.reason)} -> holdfast why ${name}`;
}

function servedText(groups: number, stopped: number): string[] {
  if (groups === stopped) return [];
  return [stopped === 0 ? 'every group is served' : 'every other group is served'];
}

function stoppedText(stopped: number): string[] {
  return stopped === 0 ? [] : [`${count(stopped, 'group')} stopped on purpose`];
}

/** Joined, and nothing has ever been heard of it: somebody has yet to start its agent. */
export function neverStarted(node: Node): boolean {
  return node.joined && node.state === 'lost' && node.agentVersion === null;
}

export function haltedNote(name: string, { halted }: Group): string {
  if (halted === undefined) return name;
  const why = `${halted.resource} failed on ${halted.node} (${oneLine(halted.reason)})`;
  return halted.kind === 'hold'
    ? `${name} is ON HOLD: ${why}; nothing of it is touched until a person decides -> holdfast group cleanup ${name}`
    : `${name} has failed: ${why} and it starts nowhere until a person decides -> holdfast group cleanup ${name}`;
}

function untilText(pause: Group['paused'], status: Status): string {
  if (pause === undefined) return '';
  const left = lasting(Date.parse(pause.until) - Date.parse(status.at));
  return `until ${pause.until}, for another ${left} (${oneLine(pause.reason)})`;
}

/** By the unit of the guide; without one: `holdfast agent`. */
const startAgent = (name: string) => `systemctl enable --now holdfast, on ${name}`;

function lostNote(name: string, node: Node): string {
  const silent = node.lastSeenMs === null ? 'since the coordinator started' : `for ${lasting(node.lastSeenMs)}`;
  switch (node.note) {
    case 'declared dead':
      return `${name} was declared dead and has not started again -> ${startAgent(name)}, brings it back`;
    case 'agent ended':
      return `the agent of ${name} ended and has not started again ${silent} -> ${startAgent(name)}`;
    default:
      return `${name} has not reported ${silent} -> holdfast events`;
  }
}

function part(number: number, all: number, noun: string, what: string): string[] {
  return number === 0 ? [] : [`${number} of ${count(all, noun)} ${what}`];
}

export const because = (reason: string | undefined) => (reason === undefined ? '' : `: ${oneLine(reason)}`);

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
