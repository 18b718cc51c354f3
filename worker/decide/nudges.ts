/** What a change is to the nodes that did not cause it: is there something to conclude, and must they hear of it at once? */
import { isUp, relationsOf } from './rules.ts';
import type { ClusterState, GroupRecord, NodeLive, NodeRecord } from './state.ts';

/** What other nodes act upon. */
const CANDIDATE: readonly (keyof NodeLive)[] = [
  'incarnation',
  'ended',
  'leaving',
  'revision',
  'epochsKnown',
  'promised',
];
const GROUP: readonly (keyof GroupRecord)[] = ['desired', 'target', 'failures', 'pause', 'halt', 'cleanups'];
const NODE: readonly (keyof NodeRecord)[] = ['mode', 'maintenance', 'removed', 'lost', 'copies'];

function differs<T extends object>(before: T | undefined, after: T, keys: readonly (keyof T)[]): boolean {
  return before === undefined || keys.some((key) => before[key] !== after[key]);
}

/** Is this node as fit to take a group as it was before its report? If not, there are conclusions to draw. */
export function sameCandidate(before: ClusterState, after: ClusterState, node: string): boolean {
  const live = after.volatile.nodes[node];
  if (live === undefined) return before.volatile.nodes[node] === undefined;
  return !differs(before.volatile.nodes[node], live, CANDIDATE);
}

/** Has anything changed that other nodes should hear of before their next renewal? */
export function concernsOthers(before: ClusterState, after: ClusterState, now: number): boolean {
  const a = before.durable;
  const b = after.durable;
  return (
    a.revision !== b.revision ||
    a.restored !== b.restored ||
    Object.values(b.groups).some((group) => groupConcerns(a.groups[group.name], group)) ||
    Object.values(b.nodes).some((node) => differs(a.nodes[node.name], node, NODE)) ||
    someoneLeaves(before, after) ||
    Object.entries(after.volatile.expired).some(([group, epoch]) => before.volatile.expired[group] !== epoch) ||
    stirsDependants(before, after, now)
  );
}

function groupConcerns(old: GroupRecord | undefined, group: GroupRecord): boolean {
  if (old === undefined || differs(old, group, GROUP)) return true;
  if (old.shown === 'failed' && group.shown !== 'failed') return true;
  return old.lease?.released !== group.lease?.released || old.lease?.provenDeadAt !== group.lease?.provenDeadAt;
}

function someoneLeaves(before: ClusterState, after: ClusterState): boolean {
  return Object.entries(after.volatile.nodes).some(([name, live]) => {
    const old = before.volatile.nodes[name];
    return live.ended !== (old?.ended ?? null) || live.leaving !== (old?.leaving ?? false);
  });
}

/** Has a group come up, or to another node, for which others wait? */
function stirsDependants(before: ClusterState, after: ClusterState, now: number): boolean {
  return Object.values(after.durable.groups).some((group) => {
    const old = before.durable.groups[group.name];
    if (old === group || relationsOf(after, group.name).dependants.length === 0) return false;
    if (old?.lease?.epoch !== group.lease?.epoch) return true;
    return old?.run !== group.run && isUp(after, group.name, now) && !isUp(before, group.name, now);
  });
}
