/** An operator takes back what takes time. What has happened by then stays so; what was still to come does not. */
import type { Operation } from '../../schemas/api.ts';
import { holder } from './lease.ts';
import { event, refuse } from './outcome.ts';
import { iso, withDurable, withGroup, withNode, withoutKeys } from './records.ts';
import type { ClusterState, Outcome } from './state.ts';

/** @param id of an operation that runs: of those that have ended the caller knows more than is kept here. */
export function onCancel(state: ClusterState, id: string, now: number): Outcome {
  const operation = state.durable.operations[id];
  if (operation === undefined) return refuse(state, 'operation-unknown', `no operation ${id} is running`);
  const undone = takeBack(state, operation, now);
  if ('refused' in undone) return refuse(state, 'not-possible', undone.refused);
  const cancelled: Operation = {
    ...operation,
    state: 'cancelled',
    progress: undone.progress,
    finishedAt: iso(now),
  };
  return {
    state: withDurable(undone.state, { operations: withoutKeys(undone.state.durable.operations, [id]) }),
    effects: [
      { kind: 'operation', operation: cancelled },
      event(now, {
        kind: 'operation.finished',
        severity: 'info',
        group: operation.group ?? undefined,
        node: operation.node ?? undefined,
        detail: `${operation.kind} cancelled: ${undone.progress} (${id})`,
      }),
    ],
  };
}

type Undone = { readonly state: ClusterState; readonly progress: string } | { readonly refused: string };

function takeBack(state: ClusterState, { id, kind, group: name, node }: Operation, now: number): Undone {
  if (kind === 'standby') {
    const record = state.durable.nodes[node ?? ''];
    if (record === undefined) return { refused: `${node} is no node any more` };
    return {
      state: withNode(state, { ...record, mode: 'ready' }),
      progress: `${node} may run groups again; what has left it stays where it is`,
    };
  }
  const group = state.durable.groups[name ?? ''];
  if (group === undefined) return { refused: `${name} is no group any more` };
  const owner = holder(state, group, now);
  switch (kind) {
    case 'move':
      if (group.target?.operation !== id || owner === node)
        return { refused: `${name} has arrived on ${owner ?? node}; \`holdfast move ${name}\` moves it on` };
      return {
        state: withGroup(state, { ...group, target: null }),
        progress: owner === undefined ? 'it goes where it would by itself' : `${owner} keeps it`,
      };
    case 'stop':
      return {
        state: withGroup(state, { ...group, desired: 'started' }),
        progress: owner === undefined ? 'it is started where it would be by itself' : `${owner} keeps it`,
      };
    case 'start':
      return { refused: `a start is not taken back; \`holdfast group stop ${name}\` stops it` };
    default:
      return kind satisfies never;
  }
}
