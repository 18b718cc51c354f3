/** How far the long actions of operators have come, and how they end: judged from what is so, not from what was sent. */
import type { Operation } from '../../schemas/api.ts';
import { objection, showGroup } from './explain.ts';
import { holder } from './lease.ts';
import { rank } from './placement.ts';
import { iso, withDurable, withoutKeys } from './records.ts';
import type { ClusterState, Effect, GroupRecord, Outcome } from './state.ts';

export function endOperations(before: ClusterState, now: number): Outcome {
  let operations = before.durable.operations;
  const effects: Effect[] = [];
  for (const operation of Object.values(operations)) {
    const next = advance(before, operation, now);
    if (next.state === operation.state && next.progress === operation.progress) continue;
    if (next.state === 'running') {
      operations = { ...operations, [operation.id]: next };
      continue;
    }
    const done: Operation = { ...next, finishedAt: iso(now) };
    operations = withoutKeys(operations, [operation.id]);
    effects.push({ kind: 'operation', operation: done });
    effects.push({
      kind: 'event',
      event: {
        kind: 'operation.finished',
        severity: done.state === 'failed' ? 'error' : 'info',
        group: operation.group ?? undefined,
        node: operation.node ?? undefined,
        detail: `${operation.kind} ${done.state}: ${done.progress} (${operation.id})`,
        at: now,
      },
    });
  }
  if (operations === before.durable.operations) return { state: before, effects };
  return { state: withDurable(before, { operations }), effects };
}

/** How far an operation has come, judged from what is so, not from what was sent. */
function advance(state: ClusterState, operation: Operation, now: number): Operation {
  const ended = (outcome: 'succeeded' | 'failed', progress: string): Operation => ({
    ...operation,
    state: outcome,
    progress,
  });
  if (operation.kind === 'standby') {
    if (state.durable.nodes[operation.node ?? '']?.mode !== 'standby')
      return ended('failed', 'the node was made ready again meanwhile');
    const left = Object.values(state.durable.groups).filter((group) => holder(state, group, now) === operation.node);
    return left.length === 0
      ? ended('succeeded', `${operation.node} runs nothing`)
      : { ...operation, progress: `waiting for ${left.map((group) => group.name).join(', ')}` };
  }
  const group = state.durable.groups[operation.group ?? ''];
  if (group === undefined || state.durable.config?.groups[group.name] === undefined) {
    return operation.kind === 'stop'
      ? ended('succeeded', 'the group is gone')
      : ended('failed', 'the group is no longer in the configuration');
  }
  const owner = holder(state, group, now);
  switch (operation.kind) {
    case 'stop':
      if (group.desired === 'started') return ended('failed', 'the group was started again meanwhile');
      return owner === undefined
        ? ended('succeeded', stoppedText(group))
        : { ...operation, progress: `${owner} is stopping it` };
    case 'start':
      if (group.desired === 'stopped') return ended('failed', 'the group was stopped again meanwhile');
      if (group.shown === 'running') return ended('succeeded', `runs on ${owner}`);
      if (group.shown === 'failed')
        return ended('failed', `no node is left that could run it: ${objectionsTo(state, group, now)}`);
      return {
        ...operation,
        progress: owner === undefined ? takerText(state, group, now) : `${owner} is starting it`,
      };
    case 'move':
      if (owner === operation.node) {
        if (group.shown === 'running') return ended('succeeded', `runs on ${owner}${takenByForce(group)}`);
        return { ...operation, progress: `${owner} is starting it` };
      }
      if (group.target?.operation !== operation.id)
        return ended(
          'failed',
          owner === undefined
            ? `${operation.node} can no longer take it`
            : `${operation.node} could not take it; ${owner} has it`,
        );
      return {
        ...operation,
        progress:
          owner === undefined ? `waiting for ${operation.node} to take it` : `waiting for ${owner} to stop and release`,
      };
    default:
      return operation.kind satisfies never;
  }
}

/** How a group came to its stop: an owner that lost its lease did not release in order. */
function stoppedText({ lease }: GroupRecord): string {
  if (lease === null) return 'stopped; it never ran';
  if (lease.released) return lease.forced === true ? byForce(lease.owner, 'forced') : 'stopped and released';
  return byForce(lease.owner, lease.provenDeadAt === null ? 'lease-expired' : 'declared-dead');
}

/** Of a move that has arrived: nothing, unless the lease before was not released in order. */
function takenByForce({ lease }: GroupRecord): string {
  const before = lease?.before;
  return before === undefined || before.how === 'released' ? '' : `, taken over ${byForce(before.owner, before.how)}`;
}

function byForce(owner: string, how: 'forced' | 'lease-expired' | 'declared-dead'): string {
  switch (how) {
    case 'forced':
      return `by force: ${owner} lost its lease`;
    case 'lease-expired':
      return `by force: the lease of ${owner} ran out`;
    case 'declared-dead':
      return `by force: ${owner} was declared dead`;
    default:
      return how satisfies never;
  }
}

function objectionsTo(state: ClusterState, group: GroupRecord, now: number): string {
  return objection(rank(state, group, now, { exceptOwner: true }));
}

/** Who is to take a group that nobody has, or why nobody can. */
function takerText(state: ClusterState, group: GroupRecord, now: number): string {
  const { state: shown, reason } = showGroup(state, group, now);
  if (shown !== 'waiting' || reason === undefined) return 'waiting for a node to take it';
  return state.durable.restored === null ? `no node can take it: ${reason}` : reason;
}
