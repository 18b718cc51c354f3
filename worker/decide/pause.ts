/**
 * Hands off (docs/decisions/0012): while a group is paused, while its owner is in maintenance, and while a resource of it is on hold,
 * nothing of it is started or stopped. The lease itself goes on as ever.
 */
import type { Reason } from '../../schemas/reasons.ts';
import { holder } from './lease.ts';
import { living } from './liveness.ts';
import { event } from './outcome.ts';
import { iso, withDurable, withGroup, withNode } from './records.ts';
import type { ClusterState, Effect, GroupRecord, Halt, Outcome, Pause } from './state.ts';

/** The pause, for as long as it lasts. */
export function inForce(pause: Pause | null, now: number): Pause | null {
  return pause !== null && now < pause.until ? pause : null;
}

/** This node is in maintenance. */
export function maintenance(state: ClusterState, node: string, now: number): Pause | null {
  return inForce(state.durable.nodes[node]?.maintenance ?? null, now);
}

/**
 * What an operator asked to be left alone: by name, or with the node that has it. A group that its owner gave back in order is no
 * longer with it; one whose lease was lost waits for its owner.
 */
function frozen(state: ClusterState, group: GroupRecord, now: number): Reason | undefined {
  const pause = inForce(group.pause, now);
  if (pause !== null) return { rule: 'group-paused', until: iso(pause.until), detail: pause.reason };
  const { lease } = group;
  if (lease === null || (lease.released && lease.forced !== true)) return undefined;
  const ownerRests = maintenance(state, lease.owner, now);
  if (ownerRests === null) return undefined;
  return { rule: 'maintenance', node: lease.owner, until: iso(ownerRests.until), detail: ownerRests.reason };
}

export function haltedReason({ node, resource, reason, at }: Halt): Reason {
  return { rule: 'group-halted', node, resource, detail: reason, since: iso(at) };
}

/** Why the owner is to leave the group as it is; undefined: it may act. */
export function handsOff(state: ClusterState, group: GroupRecord, now: number): Reason | undefined {
  const { halt } = group;
  // a hold is its owner's: it ends with the lease
  if (halt?.kind === 'hold' && holder(state, group, now) !== undefined) return haltedReason(halt);
  return frozen(state, group, now);
}

/** Is the group to stay with its owner, whatever else would take it away? Not with a host that goes down: of that it leaves in its turn. */
export function staysAsItIs(state: ClusterState, group: GroupRecord, now: number): boolean {
  if (group.lease !== null && living(state, group.lease.owner)?.leaving === true) return false;
  return handsOff(state, group, now) !== undefined;
}

/** Why nobody is given the group, whoever claims it. */
export function startBar(state: ClusterState, group: GroupRecord, now: number): Reason | undefined {
  return group.halt?.kind === 'stop' ? haltedReason(group.halt) : frozen(state, group, now);
}

/** Why an action on this group is refused, with the command that has to come first. */
export function firstStep(group: string, reason: Reason): string | undefined {
  switch (reason.rule) {
    case 'group-paused':
      return `${group} is paused until ${reason.until} (${reason.detail}); \`holdfast group resume ${group}\` first`;
    case 'maintenance':
      return `${reason.node}, which has ${group}, is in maintenance until ${reason.until} (${reason.detail}); \`holdfast node ready ${reason.node}\` first`;
    case 'group-halted':
      return `${reason.resource} of ${group} failed on ${reason.node} (${reason.detail}) and by its policy a person decides; \`holdfast group cleanup ${group}\` first`;
    default:
      return undefined;
  }
}

/** Pauses and maintenances end by themselves. */
export function endPauses(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  const isOver = (pause: Pause | null): pause is Pause => pause !== null && now >= pause.until;
  for (const group of Object.values(before.durable.groups)) {
    if (!isOver(group.pause)) continue;
    state = withGroup(state, { ...group, pause: null });
    const detail = `the pause ended by itself (${group.pause.reason})`;
    effects.push(event(now, { kind: 'group.resumed', group: group.name, detail }));
  }
  for (const node of Object.values(before.durable.nodes)) {
    if (!isOver(node.maintenance)) continue;
    state = withNode(state, { ...node, maintenance: null });
    const detail = `the maintenance ended by itself (${node.maintenance.reason})`;
    effects.push(event(now, { kind: 'node.ready', node: node.name, detail }));
  }
  return { state, effects };
}

/** When pauses and maintenances end. */
export function pauseTimes({ durable }: ClusterState): number[] {
  const pauses = [
    ...Object.values(durable.groups).map((group) => group.pause),
    ...Object.values(durable.nodes).map((node) => node.maintenance),
  ];
  return pauses.flatMap((pause) => (pause === null ? [] : [pause.until]));
}

/**
 * The clock has stepped back, so everything that was to end by it is that much nearer: a pause and the wait after a failure never last
 * longer than they were meant to.
 * @param backMs by how much, for something that began at this time.
 */
export function moveEnds(before: ClusterState, backMs: (since: number) => number): ClusterState {
  const moved = (pause: Pause | null): Pause | null => {
    const ms = pause === null ? 0 : backMs(pause.since);
    return pause === null || ms === 0 ? pause : { ...pause, since: pause.since - ms, until: pause.until - ms };
  };
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const pause = moved(group.pause);
    const late = Object.entries(group.failures).filter(([, failure]) => backMs(failure.at) > 0);
    if (pause === group.pause && late.length === 0) continue;
    const failures = { ...group.failures };
    for (const [node, failure] of late) {
      const ms = backMs(failure.at);
      failures[node] = { ...failure, at: failure.at - ms, until: failure.until - ms };
    }
    state = withGroup(state, { ...group, pause, failures });
  }
  const nodes = Object.entries(before.durable.nodes).map(
    ([name, node]) => [name, { node, maintenance: moved(node.maintenance) }] as const,
  );
  const changed = nodes.filter(([, { node, maintenance }]) => maintenance !== node.maintenance);
  if (changed.length === 0) return state;
  const records = Object.fromEntries(changed.map(([name, { node, maintenance }]) => [name, { ...node, maintenance }]));
  return withDurable(state, { nodes: { ...state.durable.nodes, ...records } });
}
