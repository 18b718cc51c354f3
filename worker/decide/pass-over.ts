/**
 * A node that is to take a group and does not, although it reports: something of the group may still be hanging there. It is passed
 * over as if it had given the group up, where another node could take it.
 */
import { formatDuration } from '../../schemas/duration.ts';
import { TAKE_PATIENCE_MS } from '../../schemas/limits.ts';
import { withFailure } from './failure.ts';
import { unheardInDoubt } from './history.ts';
import { freeAtOnce, holder, takeoverMs, timingOf } from './lease.ts';
import { event } from './outcome.ts';
import { startBar } from './pause.ts';
import { rank } from './placement.ts';
import { withGroup, withVolatile } from './records.ts';
import { unmet } from './rules.ts';
import type { ClusterState, Effect, GroupRecord, Outcome, Volatile } from './state.ts';
import { keptOut } from './voters.ts';

/** Counts for how long the node that should take each free group has not, and passes over those whose time is up. */
export function passOver(before: ClusterState, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  const awaited: Record<string, Volatile['awaited'][string]> = {};
  for (const group of Object.values(before.durable.groups)) {
    const node = awaitedNode(before, group, now);
    if (node === undefined) continue;
    const known = before.volatile.awaited[group.name];
    const one = known?.node === node && known.since <= now ? known : { node, since: now };
    const patienceMs = patience(before, group);
    if (now - one.since < patienceMs) {
      awaited[group.name] = one;
      continue;
    }
    const reason = `it reports, and for ${formatDuration(patienceMs)} it has not taken the group that it was to take`;
    const failure = { resource: 'agent', severity: 'soft', reason } as const;
    state = withGroup(state, { ...group, failures: withFailure(group, node, [], failure, now) });
    const detail = `${reason}; another node takes it`;
    effects.push(event(now, { kind: 'group.failed-on-node', severity: 'error', node, group: group.name, detail }));
  }
  return { state: same(awaited, before.volatile.awaited) ? state : withVolatile(state, { awaited }), effects };
}

/** @returns when the next node is passed over, ms of the coordinator's clock. */
export function passOverTimes(state: ClusterState): number[] {
  return Object.entries(state.volatile.awaited).flatMap(([name, { since }]) => {
    const group = state.durable.groups[name];
    return group === undefined ? [] : [since + patience(state, group)];
  });
}

/** Where nothing is released, claimants count the wait for the lease themselves, from whenever they learned of it. */
function patience(state: ClusterState, { lease }: GroupRecord): number {
  const timing = timingOf(state);
  return TAKE_PATIENCE_MS + (lease === null || freeAtOnce(lease) ? 0 : takeoverMs(lease, timing));
}

/** @returns the node that may take the group now, where there is another one that could. */
function awaitedNode(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  if (group.desired === 'stopped' || state.durable.config?.groups[group.name] === undefined) return undefined;
  if (holder(state, group, now) !== undefined || startBar(state, group, now) !== undefined) return undefined;
  if (state.durable.restored !== null || unheardInDoubt(state, now).length > 0) return undefined;
  // who has promised to keep out cannot take it, and nobody else could
  if (keptOut(state, group, now).length > 0) return undefined;
  if (unmet(state, group.name, now).length > 0) return undefined;
  const [best, next] = rank(state, group, now, { exceptOwner: true });
  return best?.chosen === true && next?.eligible === true ? best.node : undefined;
}

function same(a: Volatile['awaited'], b: Volatile['awaited']): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
