/** What one report of an agent changes: who it is, what it renews, releases and claims, and what it tells. */
import type { Grant, LeaseAnswer, Release, Report } from '../../schemas/wire.ts';
import { onClaim } from './claims.ts';
import { learnEpochs } from './history.ts';
import { identify, overtaken } from './identity.ts';
import { countedLeaseMs, renewalProblem } from './lease.ts';
import { releaseOrder } from './placement.ts';
import { withGroup, withLease, withLive, withNode, withRenewal } from './records.ts';
import type { ClusterState, Effect, Lease, Outcome } from './state.ts';

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
  for (const release of report.releases) run(onRelease(state, report, release, now));
  const leases: LeaseAnswer[] = [];
  for (const held of report.leases) {
    const answer = onRenewal(state, report, held, now);
    state = answer.state;
    leases.push(answer.answer);
  }
  if (!overtaken(before, report)) {
    run(onGroupReports(state, report, now));
    run(onRefusals(state, report, now));
  }
  for (const event of report.events ?? [])
    effects.push({
      kind: 'event',
      event: { ...event, node: report.node, at: now - event.agoMs, id: `${report.node}/${event.id}` },
    });
  for (const claim of report.claims) {
    const answer = onClaim(state, report, claim, now);
    run(answer);
    if (answer.grant !== undefined) grants.push(answer.grant);
    if (answer.refusal !== undefined) refused.push({ group: claim.group, reason: answer.refusal });
  }
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
  const failed = failure === undefined ? [] : failure.severity === 'fatal' ? on : [report.node];
  const failures = { ...group.failures };
  if (failure !== undefined)
    for (const node of failed)
      failures[node] = { resource: failure.resource, severity: failure.severity, reason: failure.reason, at: now };
  const effects: Effect[] = [];
  if (failure !== undefined)
    effects.push({
      kind: 'event',
      event: {
        kind: 'group.failed-on-node',
        severity: 'error',
        node: report.node,
        group: group.name,
        resource: failure.resource,
        epoch: lease.epoch,
        detail: `${failure.reason}${failure.output === undefined || failure.output === '' ? '' : `\n${failure.output.slice(-1_500)}`}`,
        at: now,
      },
    });
  effects.push({
    kind: 'event',
    event: {
      kind: 'group.released',
      severity: 'info',
      node: report.node,
      group: group.name,
      epoch: lease.epoch,
      detail: releaseDetail(release),
      at: now,
    },
  });
  const forced = release.forced === true ? { forced: true } : {};
  const over: Lease = { ...lease, released: true, suspectSince: null, ...forced };
  return { state: withGroup(state, { ...group, failures, run: null, lease: over }), effects };
}

function releaseDetail({ failure, forced }: Release): string {
  if (failure !== undefined) return 'given up and released';
  return forced === true ? 'stopped by force after its lease was lost, and released' : 'stopped and released';
}

/** C1. The renewal counts from the start of this event, and clears a suspicion durably before the reply. */
function onRenewal(
  before: ClusterState,
  report: Report,
  held: { group: string; epoch: number },
  now: number,
): { state: ClusterState; answer: LeaseAnswer } {
  const group = before.durable.groups[held.group];
  const problem = renewalProblem(group?.lease ?? null, report.node, report.incarnation, held.epoch);
  if (problem !== undefined || group === undefined || group.lease === null)
    return { state: before, answer: { verdict: 'refused', ...held, reason: problem ?? 'the group is unknown' } };
  let state = withRenewal(before, held.group, now);
  const leaseMs = countedLeaseMs(before, group.lease, report);
  if (group.lease.suspectSince !== null || group.lease.confirmedAt === null || group.lease.leaseMs !== leaseMs)
    state = withLease(state, group, { suspectSince: null, confirmedAt: group.lease.confirmedAt ?? now, leaseMs });
  const order = releaseOrder(state, group, now) === undefined ? 'run' : 'release';
  return { state, answer: { verdict: 'renewed', ...held, order } };
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
    if (JSON.stringify(group.run) === JSON.stringify(run)) continue;
    if (
      told.state === 'running' &&
      (group.run === null || group.run.epoch !== told.epoch || group.run.state === 'starting')
    )
      effects.push({ kind: 'answering', group: group.name, epoch: told.epoch, at: now - told.forMs });
    state = withGroup(state, { ...group, run });
  }
  return { state, effects };
}

function onRefusals(state: ClusterState, report: Report, now: number): Outcome {
  const record = state.durable.nodes[report.node];
  if (report.refusals === undefined || record === undefined) return { state, effects: [] };
  if (JSON.stringify(record.refusals) === JSON.stringify(report.refusals)) return { state, effects: [] };
  const told = new Set(record.refusals.map((refusal) => JSON.stringify(refusal)));
  const effects: Effect[] = report.refusals
    .filter((refusal) => !told.has(JSON.stringify(refusal)))
    .map((refusal) => ({
      kind: 'event',
      event: {
        kind: 'node.refuses',
        severity: 'warning',
        node: report.node,
        group: refusal.group,
        resource: refusal.resource,
        detail: refusal.reason,
        at: now,
      },
    }));
  if (report.refusals.length === 0)
    effects.push({
      kind: 'event',
      event: { kind: 'node.accepts', severity: 'info', node: report.node, detail: 'refuses nothing any more', at: now },
    });
  return { state: withNode(state, { ...record, refusals: report.refusals }), effects };
}
