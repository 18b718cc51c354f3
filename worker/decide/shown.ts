/** What each group shows, and the events that tell of a change. */
import type { GroupState } from '../../schemas/api.ts';
import { showGroup } from './explain.ts';
import { holder } from './lease.ts';
import { event } from './outcome.ts';
import { chosen, rank } from './placement.ts';
import { iso, withGroup } from './records.ts';
import type { ClusterState, Effect, GroupRecord, NewEvent, Outcome } from './state.ts';

export function showGroups(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  for (const group of Object.values(before.durable.groups)) {
    const { state: shown, reason } = showGroup(before, group, now);
    if (shown === group.shown) continue;
    state = withGroup(state, { ...group, shown, since: now });
    if (group.shown === 'failed') effects.push(...retried(state, group, now));
    const told = shownEvent(group, shown, reason);
    if (told !== undefined) effects.push(event(now, { ...told, group: group.name }));
  }
  return { state, effects };
}

/**
 * Of a group that had failed everywhere: the node whose wait is over, if that is what makes it startable. It may have been granted the
 * group in the same step: a claim that arrives in the moment in which the wait ends is heard before any tick.
 */
function retried(state: ClusterState, group: GroupRecord, now: number): Effect[] {
  const node = holder(state, group, now) ?? chosen(rank(state, group, now, { exceptOwner: true }));
  const failure = node === undefined ? undefined : group.failures[node];
  if (node === undefined || failure === undefined || now < failure.until) return [];
  const times = failure.count === 1 ? 'once' : `${failure.count} times`;
  const detail = `${node} may try again; it gave it up ${times}, last at ${iso(failure.at)}: ${failure.reason}`;
  return [event(now, { kind: 'group.retried', node, group: group.name, detail })];
}

function shownEvent(
  group: GroupRecord,
  shown: GroupState,
  reason: string | undefined,
): Omit<NewEvent, 'at' | 'group'> | undefined {
  const epoch = group.lease?.epoch;
  const node = group.lease?.owner;
  switch (shown) {
    case 'running':
      return { kind: 'group.running', severity: 'info', node, epoch, detail: 'every resource is up' };
    case 'degraded': {
      const detail = reason ?? 'up without all of its resources';
      return { kind: 'group.degraded', severity: 'warning', node, epoch, detail };
    }
    case 'stopped':
      return { kind: 'group.stopped', severity: 'info', epoch, detail: 'stopped' };
    case 'failed':
      // of a hold its owner has told
      if (group.halt?.kind === 'hold') return undefined;
      return { kind: 'group.failed', severity: 'error', epoch, detail: reason ?? 'no node is left that could run it' };
    case 'waiting':
      return { kind: 'group.waiting', severity: 'warning', epoch, detail: reason ?? 'no node can run it now' };
    case 'starting':
    case 'stopping':
    case 'moving':
      return undefined;
    default:
      return shown satisfies never;
  }
}
