/** What a new document would do, before it is applied. */
import { createTwoFilesPatch } from 'diff';
import type { Plan } from '../../schemas/api.ts';
import type { Config, GroupConfig } from '../../schemas/config.ts';
import type { ClusterState, GroupRecord } from './state.ts';

type Effect = Plan['effects'][number];
const order: readonly Effect['effect'][] = ['removed', 'moves', 'restarts', 'created', 'settings', 'unchanged'];

/** @param current the document in force, '' if there is none. @param next the new one, and `config` what it parses to. */
export function planChange(state: ClusterState, current: string, next: string, config: Config): Plan {
  const { revision, config: before } = state.durable;
  const effects: Effect[] = [];
  const names = new Set([...Object.keys(before?.groups ?? {}), ...Object.keys(config.groups)]);
  for (const name of names)
    effects.push(effectOn(state.durable.groups[name], before?.groups[name], config.groups[name], name));
  if (before !== null && JSON.stringify(before.timing) !== JSON.stringify(config.timing))
    effects.push({
      group: '*',
      effect: 'settings',
      detail: 'lease timing changes at each node’s next renewal; no restart',
    });
  effects.sort((a, b) => order.indexOf(a.effect) - order.indexOf(b.effect));
  return {
    schema: 'holdfast/plan/v1',
    revision,
    changed: current.trim() !== next.trim(),
    diff:
      current.trim() === next.trim()
        ? ''
        : createTwoFilesPatch(`revision ${revision}`, 'new', current, next, undefined, undefined, { context: 3 }),
    effects,
  };
}

function effectOn(
  record: GroupRecord | undefined,
  before: GroupConfig | undefined,
  after: GroupConfig | undefined,
  group: string,
): Effect {
  const lease = record?.lease;
  const owner = lease !== null && lease !== undefined && !lease.released ? lease.owner : undefined;
  if (after === undefined)
    return { group, effect: 'removed', detail: owner === undefined ? 'does not run' : `${owner} stops it` };
  if (before === undefined)
    return { group, effect: 'created', detail: `starts on ${after.on[0]}, or on the next of its nodes that can` };
  if (owner !== undefined && !after.on.includes(owner))
    return {
      group,
      effect: 'moves',
      detail: `${owner} is no longer in its \`on\` list: stops there, starts on ${after.on[0]}`,
    };
  const first = firstDifference(before, after);
  if (first !== undefined)
    return {
      group,
      effect: 'restarts',
      detail:
        owner === undefined
          ? `${first} changed; it does not run now`
          : `${first} changed: it and what comes after it restart on ${owner}`,
    };
  if (JSON.stringify(before) !== JSON.stringify(after)) return { group, effect: 'settings', detail: 'no restart' };
  return { group, effect: 'unchanged', detail: 'no change' };
}

/** The first resource, in start order, that differs: it and everything after it restarts. */
function firstDifference(before: GroupConfig, after: GroupConfig): string | undefined {
  const length = Math.max(before.resources.length, after.resources.length);
  for (let index = 0; index < length; index++) {
    const a = before.resources[index];
    const b = after.resources[index];
    const changed = JSON.stringify({ ...a, times: undefined }) !== JSON.stringify({ ...b, times: undefined });
    if (changed) return b?.id ?? a?.id;
  }
  return undefined;
}
