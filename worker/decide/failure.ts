/**
 * How long a node stays away from a group that it gave up, and when that is forgotten (docs/decisions/0012). How often a resource may
 * fail on its node before that is the node's own affair.
 */
import { isServed } from '../../schemas/api.ts';
import { FAILURE_WINDOW_MS, RETRY_FIRST_MS, RETRY_FORGET_MS, RETRY_LAST_MS } from '../../schemas/limits.ts';
import type { Release } from '../../schemas/wire.ts';
import { withGroup, withoutKeys } from './records.ts';
import type { ClusterState, Failure, GroupRecord, Outcome } from './state.ts';

type GivenUp = NonNullable<Release['failure']>;

/** The wait after this node has given the group up `count` times. */
export function retryMs(count: number): number {
  return Math.min(RETRY_FIRST_MS * 2 ** (count - 1), RETRY_LAST_MS);
}

/** The failure that keeps this node away from the group; undefined once its wait is over, though it still counts. */
export function failureInForce(group: GroupRecord, node: string, now: number): Failure | undefined {
  const failure = group.failures[node];
  return failure !== undefined && now < failure.until ? failure : undefined;
}

/** From then on the failure no longer counts: an hour after its wait, or when the group has run there for the failure window. */
function forgottenAt(group: GroupRecord, node: string, failure: Failure): number {
  const inTime = failure.until + RETRY_FORGET_MS;
  const { lease } = group;
  const runs = lease !== null && !lease.released && lease.owner === node && isServed(group.shown);
  return runs ? Math.min(inTime, group.since + FAILURE_WINDOW_MS) : inTime;
}

/**
 * The owner gave the group up.
 * @param listed the nodes that may run it: each of them has failed if nobody can ever run it (`fatal`).
 */
export function withFailure(
  group: GroupRecord,
  owner: string,
  listed: readonly string[],
  { resource, severity, reason }: GivenUp,
  now: number,
): GroupRecord['failures'] {
  const failures = { ...group.failures };
  for (const node of severity === 'fatal' ? listed : [owner]) {
    const before = group.failures[node];
    const count = before === undefined || now >= forgottenAt(group, node, before) ? 1 : before.count + 1;
    failures[node] = { resource, severity, reason, at: now, count, until: now + retryMs(count) };
  }
  return failures;
}

export function forgetFailures(before: ClusterState, now: number): Outcome {
  let state = before;
  for (const group of Object.values(before.durable.groups)) {
    const over = Object.entries(group.failures)
      .filter(([node, failure]) => now >= forgottenAt(group, node, failure))
      .map(([node]) => node);
    if (over.length > 0) state = withGroup(state, { ...group, failures: withoutKeys(group.failures, over) });
  }
  return { state, effects: [] };
}

/** When a wait ends, or a failure is forgotten. */
export function failureTimes(group: GroupRecord, now: number): number[] {
  return Object.entries(group.failures).map(([node, failure]) =>
    now < failure.until ? failure.until : forgottenAt(group, node, failure),
  );
}
