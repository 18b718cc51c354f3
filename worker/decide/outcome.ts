/** How a decision answers: with why something was not done, or with what there is to tell. */
import type { ProblemCode } from '../../schemas/api.ts';
import { MAX_DETAIL_LENGTH } from '../../schemas/limits.ts';
import { namesOffered } from '../../schemas/names.ts';
import type { ClusterState, Effect, NewEvent, Outcome } from './state.ts';

export function refuse(state: ClusterState, code: ProblemCode, detail: string): Outcome {
  return { state, effects: [], refused: { code, detail } };
}

export function unknownGroup(state: ClusterState, name: string): Outcome {
  return refuse(
    state,
    'group-unknown',
    `no group ${name} in the configuration${namesOffered(name, Object.keys(state.durable.config?.groups ?? {}))}`,
  );
}

export function unknownNode(state: ClusterState, name: string): Outcome {
  const joined = Object.values(state.durable.nodes).filter(({ removed }) => !removed);
  const names = joined.map((node) => node.name);
  return refuse(state, 'node-unknown', `no node ${name} has joined${namesOffered(name, names)}`);
}

/** An event of now, `info` unless it says otherwise. A list of everything a large cluster runs is cut like any other detail. */
export function event(
  now: number,
  told: Omit<NewEvent, 'at' | 'severity'> & { severity?: NewEvent['severity'] },
): Effect {
  return { kind: 'event', event: { severity: 'info', ...told, detail: cut(told.detail), at: now } };
}

function cut(detail: string): string {
  return detail.length <= MAX_DETAIL_LENGTH ? detail : `${detail.slice(0, MAX_DETAIL_LENGTH - 1)}…`;
}
