/** What one report of an agent changes: who it is, what it renews, releases and claims, and what it tells. */
import { isServed } from '../../schemas/api.ts';
import { MAX_GROUPS, REFUSAL_FORGET_MS } from '../../schemas/limits.ts';
import type { Grant, GroupReport, HeldLease, LeaseAnswer, Release, Report } from '../../schemas/wire.ts';
import { onClaim } from './claims.ts';
import { copiesStored, onCopies } from './copies.ts';
import { withFailure } from './failure.ts';
import { learnEpochs } from './history.ts';
import { identify, overtaken } from './identity.ts';
import { countedLeaseMs, renewalProblem } from './lease.ts';
import { event } from './outcome.ts';
import { handsOff } from './pause.ts';
import { withGroup, withLease, withLive, withNode, withRenewal, withVolatile } from './records.ts';
import { releaseOrder } from './release.ts';
import type { ClusterState, Effect, GroupRecord, Halt, Lease, NodeRecord, Outcome } from './state.ts';
import { newestVoters, withVotersTold } from './voters.ts';

const noVerdicts = { leases: [], grants: [], refused: [] };

/** A report of a node whose signature the shell has verified. */
export function onReport(before: ClusterState, report: Report, now: number): Outcome {
  const identity = identify(before, report, now);
  if (identity.problem !== undefined)
    return { state: identity.state, effects: identity.effects, verdicts: { ...noVerdicts, problem: identity.problem } };

  let state = identity.state;
  const effects: Effect[] = [...identity.effects];
  const grants: Grant[] = [];
  const refused: { group: string; reason: string }[] = [];
  const run = (step: { state: ClusterState; effects: readonly Effect[] }) => {
    state = step.state;
    effects.push(...step.effects);
  };

  run(learnEpochs(state, report, now));
  if (!overtaken(before, report)) run(onCopies(state, report, now));
  for (const release of report.releases) run(onRelease(state, report, release, now));
  const renewals = report.leases.map((held) => {
    const renewal = onRenewal(state, report, held, now);
    state = renewal.state;
    return { ...held, problem: renewal.problem };
  });
  // what follows from a state is found once for each (memo.ts): the orders are of the one in which all of these are renewed
  const renewed = state;
  const leases = renewals.map((renewal) => leaseAnswer(renewed, renewal, now));
  if (!overtaken(before, report)) {
    run(onGroupReports(state, report, now));
    run(onRefusals(state, report, now));
  }
  for (const told of report.events ?? [])
    effects.push(event(now - told.agoMs, { ...told, node: report.node, id: `${report.node}/${told.id}` }));
  const recorded = { ...state.volatile.lastRefusals };
  for (const claim of report.claims) {
    const answer = onClaim(state, report, claim, now, recorded);
    run(answer);
    if (answer.grant !== undefined) grants.push(answer.grant);
    if (answer.refusal !== undefined) refused.push({ group: claim.group, reason: answer.refusal });
    if (answer.record !== undefined) recorded[answer.record.key] = answer.record.signature;
  }
  // once for all of them: a refusal changes nothing that the next claim is judged by
  if (Object.keys(recorded).some((key) => recorded[key] !== state.volatile.lastRefusals[key]))
    state = withVolatile(state, { lastRefusals: recorded });
  if (report.retiring === true) state = retired(state, report.node);
  return { state, effects, verdicts: { problem: undefined, leases, grants, refused } };
}

/** Nothing runs there and the incarnation is over; when it was last seen stays known. What it told of its epochs is asked anew. */
function retired(state: ClusterState, node: string): ClusterState {
  const live = state.volatile.nodes[node];
  if (live === undefined) return state;
  return withLive(state, node, { ...live, ended: 'retired', epochsKnown: false, rival: null });
}

/** O5: a release is final. It frees the lease at once, whatever the clocks say. */
function onRelease(state: ClusterState, report: Report, release: Release, now: number): Outcome {
  const group = state.durable.groups[release.group];
  const lease = group?.lease;
  if (group === undefined || lease === null || lease === undefined) return { state, effects: [] };
  if (
    lease.released ||
    lease.owner !== report.node ||
    lease.incarnation !== report.incarnation ||
    lease.epoch !== release.epoch
  )
    return { state, effects: [] };
  const { failure } = release;
  const on = state.durable.config?.groups[group.name]?.on ?? [];
  const failures = failure === undefined ? group.failures : withFailure(group, report.node, on, failure, now);
  const effects: Effect[] = [];
  if (failure !== undefined)
    effects.push(
      event(now, {
        kind: 'group.failed-on-node',
        severity: 'error',
        node: report.node,
        group: group.name,
        resource: failure.resource,
        epoch: lease.epoch,
        detail: `${failure.reason}${failure.output === undefined || failure.output === '' ? '' : `\n${failure.output.slice(-1_500)}`}`,
      }),
    );
  effects.push(
    event(now, {
      kind: 'group.released',
      node: report.node,
      group: group.name,
      epoch: lease.epoch,
      detail: releaseDetail(release),
    }),
  );
  const forced = release.forced === true ? { forced: true } : {};
  const gaveUp = failure === undefined ? {} : { failed: true };
  const over: Lease = { ...lease, released: true, suspectSince: null, ...forced, ...gaveUp };
  const halt = haltAfter(group, report.node, release, now);
  return { state: withGroup(state, { ...group, failures, halt, run: null, lease: over }), effects };
}

/** A policy that says `stop` waits for a person; a hold ends with the lease. */
function haltAfter(group: GroupRecord, node: string, { failure }: Release, now: number): Halt | null {
  if (failure?.verdict === 'stop')
    return { kind: 'stop', node, resource: failure.resource, reason: failure.reason, at: now };
  return group.halt?.kind === 'hold' ? null : group.halt;
}

function releaseDetail({ failure, forced }: Release): string {
  if (failure !== undefined) return 'given up and released';
  return forced === true ? 'stopped by force after its lease was lost, and released' : 'stopped and released';
}

/** C1. The renewal counts from the start of this event, and clears a suspicion durably before the reply. */
function onRenewal(
  before: ClusterState,
  report: Report,
  held: HeldLease,
  now: number,
): { state: ClusterState; problem?: string } {
  const group = before.durable.groups[held.group];
  const problem = renewalProblem(group?.lease ?? null, report.node, report.incarnation, held.epoch);
  if (problem !== undefined || group === undefined || group.lease === null)
    return { state: before, problem: problem ?? 'the group is unknown' };
  const leaseMs = countedLeaseMs(before, group.lease, report);
  const { suspectSince, expired } = group.lease;
  // C6: a renewal that names no voters comes before the epoch is on the owner's disk, and confirms nothing
  const confirmedAt = group.lease.confirmedAt ?? (held.voters === undefined ? null : now);
  const told = withVotersTold(group.lease, held.voters);
  const newVoters = told.voters !== group.lease.voters;
  let state = withRenewal(before, held.group, now, { backed: held.backed, newVoters });
  if (
    suspectSince !== null ||
    confirmedAt !== group.lease.confirmedAt ||
    newVoters ||
    group.lease.leaseMs !== leaseMs ||
    expired === true
  )
    state = withLease(state, group, { suspectSince: null, confirmedAt, leaseMs, expired: false, ...told });
  return { state };
}

function leaseAnswer(
  state: ClusterState,
  { group: name, epoch, voters, problem }: HeldLease & { problem: string | undefined },
  now: number,
): LeaseAnswer {
  const held = { group: name, epoch };
  const group = state.durable.groups[name];
  if (problem !== undefined || group === undefined)
    return { verdict: 'refused', ...held, reason: problem ?? 'the group is unknown' };
  const newest = group.lease === null ? undefined : newestVoters(group.lease);
  return {
    verdict: 'renewed',
    ...held,
    order: orderFor(state, group, now),
    cleanups: group.cleanups,
    ...(newest === undefined || newest.version === voters ? {} : { voters: newest }),
    ...(group.lease !== null && copiesStored(state, name, group.lease.owner) ? { copies: 'stored' } : {}),
  };
}

function orderFor(state: ClusterState, group: GroupRecord, now: number): 'run' | 'pause' | 'release' {
  if (releaseOrder(state, group, now) !== undefined) return 'release';
  return handsOff(state, group, now) === undefined ? 'run' : 'pause';
}

function onGroupReports(before: ClusterState, report: Report, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  for (const told of report.groups ?? []) {
    const group = state.durable.groups[told.group];
    const lease = group?.lease;
    if (group === undefined || lease === null || lease === undefined) continue;
    if (
      lease.released ||
      lease.owner !== report.node ||
      lease.incarnation !== report.incarnation ||
      lease.epoch !== told.epoch
    )
      continue;
    const run = { epoch: told.epoch, state: told.state, reason: told.reason, resources: told.resources };
    const was = group.run?.epoch === told.epoch ? group.run.state : 'starting';
    const held = isNewHold(group, told, was) ? holdOf(told, report.node, now) : undefined;
    if (held === undefined && JSON.stringify(group.run) === JSON.stringify(run)) continue;
    if (isServed(told.state) && was === 'starting')
      effects.push({ kind: 'answering', group: group.name, epoch: told.epoch, at: now - told.forMs });
    if (held !== undefined)
      effects.push(
        event(now, {
          kind: 'group.held',
          severity: 'error',
          node: report.node,
          group: group.name,
          resource: held.resource,
          epoch: told.epoch,
          detail: `${held.reason}; nothing of it is touched until \`holdfast group cleanup ${group.name}\``,
        }),
      );
    state = withGroup(state, { ...group, run, halt: held ?? group.halt });
  }
  return { state, effects };
}

/** What was said before the node heard of a cleanup is no new hold; what is said after it is one, whatever was heard in between. */
function isNewHold({ halt, cleanups }: GroupRecord, told: GroupReport, before: GroupReport['state']): boolean {
  if (told.state !== 'held') return false;
  if (told.cleanups === undefined) return before !== 'held';
  return told.cleanups >= cleanups && (before !== 'held' || halt?.kind !== 'hold');
}

function holdOf({ resources, reason }: GroupReport, node: string, now: number): Halt {
  const failed = resources.find((resource) => resource.state === 'failed') ?? resources[0];
  return {
    kind: 'hold',
    node,
    resource: failed?.id ?? 'a resource',
    reason: failed?.reason ?? reason ?? 'failed',
    at: now,
  };
}

function onRefusals(state: ClusterState, report: Report, now: number): Outcome {
  const record = state.durable.nodes[report.node];
  if (report.refusals === undefined || record === undefined) return { state, effects: [] };
  if (JSON.stringify(record.refusals) === JSON.stringify(report.refusals)) return { state, effects: [] };
  const told = refusalsTold(state, record, now);
  const effects: Effect[] = report.refusals
    .filter((refusal) => told[JSON.stringify(refusal)] === undefined)
    .map((refusal) =>
      event(now, {
        kind: 'node.refuses',
        severity: 'warning',
        node: report.node,
        group: refusal.group,
        resource: refusal.resource,
        detail: refusal.reason,
      }),
    );
  if (report.refusals.length === 0)
    effects.push(event(now, { kind: 'node.accepts', node: report.node, detail: 'refuses nothing any more' }));
  const refuses = withNode(state, { ...record, refusals: report.refusals });
  const standing = Object.fromEntries(report.refusals.map((refusal) => [JSON.stringify(refusal), now]));
  const toldNow = report.refusals.length === 0 ? {} : { ...told, ...standing };
  const toldRefusals = { ...state.volatile.toldRefusals, [report.node]: toldNow };
  return { state: withVolatile(refuses, { toldRefusals }), effects };
}

/** What this node refuses, or refused a short while ago: two reasons that take turns are no news every time. */
function refusalsTold(state: ClusterState, { name, refusals }: NodeRecord, now: number): Record<string, number> {
  const recent = Object.entries(state.volatile.toldRefusals[name] ?? {})
    .filter(([, at]) => at <= now && now - at < REFUSAL_FORGET_MS)
    .slice(-MAX_GROUPS);
  return Object.fromEntries([...recent, ...refusals.map((refusal) => [JSON.stringify(refusal), now] as const)]);
}
