/** `failback`: a group moves to a better node by itself once that node has been able to run it for long enough. */
import { formatDuration } from '../../schemas/duration.ts';
import { holder } from './lease.ts';
import { event } from './outcome.ts';
import { handsOff } from './pause.ts';
import { rank, worth } from './placement.ts';
import { withGroup, withOperation, withVolatile } from './records.ts';
import { reasonToLeave } from './release.ts';
import { isUp, unmet } from './rules.ts';
import type { ClusterState, Effect, GroupRecord, Outcome, Volatile } from './state.ts';

/**
 * Counts how long a better node has been able to run each group that wants to go back, and moves those whose time has come. The
 * count is lost with the instance, and starts anew with it.
 */
export function failBack(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  const better: Record<string, Volatile['better'][string]> = {};
  for (const config of Object.values(before.durable.config?.groups ?? {})) {
    const group = before.durable.groups[config.name];
    if (config.failbackMs === null || group === undefined) continue;
    const node = betterNode(before, group, now);
    if (node === undefined) continue;
    const known = before.volatile.better[config.name];
    const since = known?.node === node ? Math.min(known.since, now) : now;
    if (now - since < config.failbackMs) {
      better[config.name] = known?.node === node && known.since === since ? known : { node, since };
      continue;
    }
    const moved = moveBack(state, group, node, config.failbackMs, now);
    state = moved.state;
    effects.push(...moved.effects);
  }
  return { state: same(better, before.volatile.better) ? state : withVolatile(state, { better }), effects };
}

/** @returns when the next group is due, ms of the coordinator's clock. */
export function failBackTimes(state: ClusterState): number[] {
  return Object.entries(state.volatile.better).flatMap(([name, { since }]) => {
    const failbackMs = state.durable.config?.groups[name]?.failbackMs ?? null;
    return failbackMs === null ? [] : [since + failbackMs];
  });
}

/** @returns the node that the group should go to; undefined where it is best, is in motion, or is not to be touched. */
export function betterNode(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const owner = holder(state, group, now);
  if (owner === undefined || group.target !== null || handsOff(state, group, now) !== undefined) return undefined;
  if (state.durable.restored !== null || !isUp(state, group.name, now)) return undefined;
  if (unmet(state, group.name, now).length > 0 || reasonToLeave(state, group.name, now) !== undefined) return undefined;
  const candidates = rank(state, group, now);
  const mine = candidates.find(({ node }) => node === owner);
  const others = candidates.filter(
    ({ node, eligible }) => eligible && node !== owner && group.failures[node] === undefined,
  );
  const [best] = others.toSorted((a, b) => worth(b) - worth(a));
  return best !== undefined && mine !== undefined && worth(best) > worth(mine) ? best.node : undefined;
}

function moveBack(before: ClusterState, group: GroupRecord, node: string, afterMs: number, now: number): Outcome {
  const epoch = group.lease?.epoch ?? 0;
  const owner = group.lease?.owner ?? 'nowhere';
  // named after what it ends, so that every instance calls it the same
  const id = `failback-${group.name}-${epoch}`;
  const moving = withGroup(before, { ...group, target: { node, operation: id, aboveEpoch: epoch } });
  const progress = `waiting for ${owner} to stop and release`;
  return {
    state: withOperation(moving, { id, kind: 'move', group: group.name, node, progress }, now),
    effects: [
      event(now, {
        kind: 'group.move-requested',
        group: group.name,
        node,
        detail: `from ${owner} to ${node}: it is the better node and could run it for ${formatDuration(afterMs)} (failback)`,
      }),
    ],
  };
}

function same(a: Volatile['better'], b: Volatile['better']): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
