/** What a forecast assumes: checked against what there is, and made so. */
import type { ProblemCode } from '../../../schemas/api.ts';
import type { Config } from '../../../schemas/config.ts';
import { nearest } from '../../../schemas/names.ts';
import { decide } from '../decide.ts';
import { statusOf } from '../explain.ts';
import { timingOf } from '../lease.ts';
import type { ClusterState } from '../state.ts';

export interface WhatIf {
  /** These nodes lose power. */
  readonly down: readonly string[];
  /** These are drained. */
  readonly standby: readonly string[];
  /** The coordinator goes away and stays away. */
  readonly coordinatorDown: boolean;
  /** This is applied. */
  readonly config: Config | null;
}

export interface NotAssumed {
  readonly code: ProblemCode;
  readonly detail: string;
}

/** @returns why this cannot be assumed; undefined if it can. */
export function assumptionProblem(
  { durable }: ClusterState,
  { down, standby, config }: WhatIf,
): NotAssumed | undefined {
  const joined = Object.values(durable.nodes).filter((node) => !node.removed);
  const names = [
    ...new Set([...joined.map(({ name }) => name), ...(durable.config?.nodes ?? []), ...(config?.nodes ?? [])]),
  ];
  for (const node of [...down, ...standby]) {
    if (names.includes(node)) continue;
    const meant = nearest(node, names);
    const suggestion = meant === undefined ? '.' : `; did you mean ${meant}?`;
    return { code: 'node-unknown', detail: `no node ${node}${suggestion} There are: ${names.join(', ') || 'none'}` };
  }
  return undefined;
}

/** The events that an operator's actions would be. A refusal of one of them refuses the whole. */
export function assumed(
  state: ClusterState,
  { standby, config }: WhatIf,
  now: number,
): { readonly state: ClusterState; readonly refused?: NotAssumed } {
  const actions = [
    ...(config === null ? [] : [{ type: 'apply', config } as const]),
    ...standby.map((node) => ({ type: 'node-standby', node, operation: `forecast-${node}` }) as const),
  ];
  let next = state;
  for (const action of actions) {
    const outcome = decide(next, action, now);
    if (outcome.refused !== undefined) return { state, refused: outcome.refused };
    next = outcome.state;
  }
  return { state: next };
}

export type Liveliness =
  /** It reports; or the coordinator has just started and cannot know better yet. */
  | 'alive'
  | 'unheard'
  /** It has missed all its retries, and is not yet shown as lost. */
  | 'silent'
  | 'gone';

/** What is to be expected of every node that the coordinator knows of. */
export function liveliness(state: ClusterState, now: number): ReadonlyMap<string, Liveliness> {
  const { renewMs, retries, retryMs } = timingOf(state);
  const { nodes } = statusOf(state, now);
  const verdict = (name: string): Liveliness => {
    const shown = nodes[name];
    if (shown === undefined || !shown.joined || shown.state === 'lost' || shown.state === 'removed') return 'gone';
    if (shown.lastSeenMs === null) return 'unheard';
    return shown.lastSeenMs > 1.25 * renewMs + retries * retryMs ? 'silent' : 'alive';
  };
  return new Map(Object.keys(nodes).map((name) => [name, verdict(name)]));
}
