/** What one report of an agent changes: who it is, what it renews, releases and claims, and what it tells. */
import { takeoverWaitMs } from '../../schemas/limits.ts';
import type { Reason } from '../../schemas/reasons.ts';
import { reasonText } from '../../schemas/reasons.ts';
import {
  type Claim,
  type Grant,
  type LeaseAnswer,
  type Release,
  type Reply,
  type Report,
  versionProblem,
} from '../../schemas/wire.ts';
import { claimProblem, freeAtOnce, freedom, nextEpoch, renewalProblem, timingOf, waitOrigin } from './lease.ts';
import { chosen, living, rank, releaseOrder } from './placement.ts';
import { withDurable, withGroup, withLease, withLive, withNode, withRenewal, withVolatile } from './records.ts';
import type { ClusterState, Effect, GroupRecord, Lease, NewEvent, NodeRecord, Outcome } from './state.ts';

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

/** Sent before another report that has arrived already: its leases and releases count as ever, but what it tells is old. */
function overtaken(before: ClusterState, report: Report): boolean {
  const live = before.volatile.nodes[report.node];
  if (live === undefined || live.incarnation !== report.incarnation || report.sentMs === undefined) return false;
  return report.sentMs < live.sentMs;
}

interface Identified {
  readonly state: ClusterState;
  readonly effects: readonly Effect[];
  readonly problem?: NonNullable<Reply['problem']>;
}

/** Which incarnation may speak as this node: the living one, or the one that may still hold a lease. */
function rightfulIncarnation(state: ClusterState, node: string, now: number): string | undefined {
  const timing = timingOf(state);
  const live = living(state, node);
  if (live !== undefined && now - live.lastSeenAt <= timing.leaseMs) return live.incarnation;
  for (const group of Object.values(state.durable.groups)) {
    const { lease } = group;
    if (lease === null || lease.owner !== node || lease.released || lease.provenDeadAt !== null) continue;
    if (!freedom(lease, state.volatile.renewals[group.name], timing, now).free) return lease.incarnation;
  }
  return undefined;
}

function identify(before: ClusterState, report: Report, now: number): Identified {
  const refuse = (
    code: NonNullable<Reply['problem']>['code'],
    detail: string,
    state = before,
    effects: Effect[] = [],
  ): Identified => ({
    state,
    effects,
    problem: { code, detail },
  });
  const version = versionProblem(report.version);
  if (version !== undefined) return refuse('version-unsupported', version);
  const record = before.durable.nodes[report.node];
  if (record === undefined)
    return refuse('node-unknown', `no node ${report.node} in cluster ${before.durable.cluster}; join it first`);
  if (record.removed) return refuse('node-removed', `${report.node} was removed from the cluster; join it again`);
  if (record.declaredDead?.incarnation === report.incarnation)
    return refuse(
      'declared-dead',
      'an operator declared this node dead; restart the agent’s guard or the machine to return as a new incarnation',
    );
  if (report.history !== null && report.history !== before.durable.history) {
    const mismatch = otherHistory(before, report, now);
    return refuse(
      'history-mismatch',
      `this node belongs to history ${report.history} of the cluster, the coordinator has ${before.durable.history}; join it again`,
      mismatch.state,
      [...mismatch.effects],
    );
  }
  const live = before.volatile.nodes[report.node];
  const rightful = rightfulIncarnation(before, report.node, now);
  if (rightful !== undefined && rightful !== report.incarnation) {
    const state =
      live?.incarnation === rightful && live.ended === null
        ? withLive(before, report.node, {
            ...live,
            rival: {
              incarnation: report.incarnation,
              at: now,
              told: live.rival?.incarnation === report.incarnation && live.rival.told,
            },
          })
        : before;
    return refuse(
      'identity-conflict',
      `another incarnation of ${report.node} is alive or may still hold a lease; this one may act when that has ended`,
      state,
    );
  }

  const effects: Effect[] = [];
  const event = (kind: NewEvent['kind'], severity: NewEvent['severity'], detail: string) =>
    effects.push({ kind: 'event', event: { kind, severity, node: report.node, detail, at: now } });
  if (live !== undefined && live.incarnation !== report.incarnation)
    event(
      'node.new-incarnation',
      'warning',
      `a new incarnation of the agent: the machine restarted or its guard was lost`,
    );
  const rival = live?.incarnation === report.incarnation ? live.rival : null;
  const both = rival !== null && !rival.told;
  if (both)
    event(
      'node.identity-conflict',
      'error',
      `two agents speak as ${report.node}: the second is held off. A cloned disk or state directory? Join the clone under a name of its own`,
    );
  const newest = live !== undefined && overtaken(before, report) ? live : undefined;
  let state = withLive(before, report.node, {
    incarnation: report.incarnation,
    lastSeenAt: now,
    ended: newest?.ended ?? null,
    sentMs: newest?.sentMs ?? report.sentMs ?? 0,
    readyAt: newest?.readyAt ?? now + report.quarantineMs,
    revision: newest?.revision ?? report.revision,
    epochsKnown: report.epochs !== undefined || (live?.incarnation === report.incarnation && live.epochsKnown),
    rival: rival === null ? null : { ...rival, told: true },
  });
  const seen: NodeRecord = {
    ...record,
    lost: false,
    agentVersion: report.agentVersion,
    // a new incarnation is the proof that the declared-dead one is gone
    declaredDead: null,
  };
  if (record.lost) event('node.returned', 'info', `${report.node} reports again`);
  if (record.lost || record.agentVersion !== report.agentVersion || record.declaredDead !== null)
    state = withNode(state, seen);
  return { state, effects };
}

/** C7: another history is a proof as well; of each node it counts once, or one such node could hold everything back for ever. */
function otherHistory(before: ClusterState, report: Report, now: number): Outcome {
  const key = `history/${report.node}`;
  if (before.volatile.lastRefusals[key] === report.history) return { state: before, effects: [] };
  const marked = withVolatile(before, {
    lastRefusals: { ...before.volatile.lastRefusals, [key]: report.history ?? '' },
  });
  return holdBack(marked, report, `${report.node} knows another history of this cluster (${report.history})`, now);
}

/** C7: hold every grant until all nodes have told their epochs, or an operator confirms, and the leases they do not tell of have run out. */
function holdBack(state: ClusterState, report: Report, why: string, now: number): Outcome {
  if (state.durable.restored !== null) return { state, effects: [] };
  const reported = Object.entries(state.volatile.nodes)
    .filter(([, live]) => live.epochsKnown)
    .map(([name]) => name);
  const longestLeaseMs = Math.max(report.leaseMs, timingOf(state).leaseMs);
  return {
    state: withDurable(state, { restored: { since: now, reported, longestLeaseMs, confirmed: false } }),
    effects: [
      {
        kind: 'event',
        event: {
          kind: 'coordinator.restored',
          severity: 'error',
          node: report.node,
          detail: `the coordinator’s data is older than what the nodes have seen: ${why}. Nothing is granted until every node has reported, or \`holdfast cluster confirm-history\`. If only ${report.node} says so and is wrong, \`holdfast node remove ${report.node}\``,
          at: now,
        },
      },
    ],
  };
}

function learnEpochs(before: ClusterState, report: Report, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  // a lease that a node holds is as good a witness as what it remembers
  const told = [
    ...Object.entries(report.epochs ?? {}),
    ...report.leases.map(({ group, epoch }) => [group, epoch] as const),
  ];
  for (const [name, epoch] of told) {
    const known = Math.max(state.durable.groups[name]?.lease?.epoch ?? 0, state.durable.highestEpochs[name] ?? 0);
    if (epoch <= known) continue;
    state = withDurable(state, { highestEpochs: { ...state.durable.highestEpochs, [name]: epoch } });
    const why = `${report.node} has seen epoch ${epoch} of ${name}, the data ends at ${known}`;
    const held = holdBack(state, report, why, now);
    state = held.state;
    effects.push(...held.effects);
  }
  const { restored } = state.durable;
  if (restored === null) return { state, effects };
  const reported =
    report.epochs === undefined || restored.reported.includes(report.node)
      ? restored.reported
      : [...restored.reported, report.node];
  const longestLeaseMs = Math.max(restored.longestLeaseMs, report.leaseMs);
  if (reported !== restored.reported || longestLeaseMs !== restored.longestLeaseMs)
    state = withDurable(state, { restored: { ...restored, reported, longestLeaseMs } });
  return { state, effects };
}

/** Until when a lease may run that was granted after this data was saved. */
export function restoredUntil(state: ClusterState): number {
  const { restored } = state.durable;
  if (restored === null) return 0;
  return restored.since + takeoverWaitMs(restored.longestLeaseMs, timingOf(state).coordinatorMarginMs);
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

/**
 * L as the owner counts it at most. A report by an older configuration may have been overtaken by one that counts a longer lease, so
 * it shortens nothing.
 */
function countedLeaseMs(state: ClusterState, lease: Lease, report: Report): number {
  if (report.revision === state.durable.revision) return report.leaseMs;
  return Math.max(lease.leaseMs, report.leaseMs);
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

type ClaimAnswer = Outcome & { readonly grant?: Grant; readonly refusal?: string };

/** C2. */
function onClaim(before: ClusterState, report: Report, claim: Claim, now: number): ClaimAnswer {
  const group = before.durable.groups[claim.group];
  const config = before.durable.config?.groups[claim.group];
  if (group === undefined || config === undefined)
    return { state: before, effects: [], refusal: reasonText({ rule: 'group-removed' }) };
  const { lease } = group;

  const repeated =
    lease !== null &&
    !lease.released &&
    lease.owner === report.node &&
    lease.incarnation === report.incarnation &&
    lease.provenDeadAt === null;
  if (repeated) {
    // the same grant again; it counts as a renewal, so the wait of others starts anew
    const renewed = withRenewal(before, group.name, now);
    const leaseMs = countedLeaseMs(before, lease, report);
    const same = lease.suspectSince === null && lease.leaseMs === leaseMs;
    const state = same ? renewed : withLease(renewed, group, { suspectSince: null, leaseMs });
    return { state, effects: [], grant: grantOf(lease, group.name, null) };
  }

  const candidates = rank(before, group, now, { exceptOwner: true });
  const problem = claimRefusal(before, group, report, claim, candidates, now);
  if (problem !== undefined) return refusal(before, group, report, problem, candidates, now);

  const timing = timingOf(before);
  const renewal = before.volatile.renewals[group.name];
  const state = freedom(lease, renewal, timing, now);
  const cause = state.free ? state.cause : 'lease-expired';
  const granted: Lease = {
    owner: report.node,
    incarnation: report.incarnation,
    epoch: nextEpoch(before, group),
    voters: config.on,
    grantedAt: now,
    leaseMs: report.leaseMs,
    confirmedAt: null,
    released: false,
    suspectSince: null,
    provenDeadAt: null,
    ...(lease === null || cause === 'first-start'
      ? {}
      : { before: { owner: lease.owner, how: cause === 'released' && lease.forced === true ? 'forced' : cause } }),
  };
  const next = withRenewal(withGroup(before, { ...group, lease: granted, run: null }), group.name, now);
  const mine = candidates.find((candidate) => candidate.node === report.node);
  const effects: Effect[] = [
    {
      kind: 'decision',
      decision: {
        group: group.name,
        kind: 'grant',
        node: report.node,
        epoch: granted.epoch,
        cause,
        from: lease?.owner,
        reasons: mine?.reasons ?? [],
        candidates,
        lastRenewalAt: waitOrigin(lease, renewal)?.at ?? null,
        at: now,
      },
    },
    {
      kind: 'event',
      event: {
        kind: 'group.granted',
        severity: cause === 'lease-expired' || cause === 'declared-dead' ? 'warning' : 'info',
        node: report.node,
        group: group.name,
        epoch: granted.epoch,
        detail: grantDetail(cause, lease, report.node),
        at: now,
      },
    },
  ];
  return { state: next, effects, grant: grantOf(granted, group.name, lease?.released === true ? lease.epoch : null) };
}

function grantDetail(cause: string, lease: Lease | null, node: string): string {
  const from = lease === null || lease.owner === node ? '' : ` from ${lease.owner}`;
  switch (cause) {
    case 'first-start':
      return `${node} takes it for the first time`;
    case 'released':
      return `${node} takes it over${from} after its release`;
    case 'declared-dead':
      return `${node} takes it over${from}, declared dead by an operator`;
    default:
      return `${node} takes it over${from}, whose lease expired`;
  }
}

function grantOf(lease: Lease, group: string, released: number | null): Grant {
  return { group, epoch: lease.epoch, incarnation: lease.incarnation, voters: [...lease.voters], released };
}

function claimRefusal(
  state: ClusterState,
  group: GroupRecord,
  report: Report,
  claim: Claim,
  candidates: ReturnType<typeof rank>,
  now: number,
): Reason[] | undefined {
  if (group.desired === 'stopped') return [{ rule: 'group-stopped' }];
  const { restored } = state.durable;
  if (restored !== null) return [{ rule: 'restored', waitingFor: unreported(state) }];
  const unheard = unheardInDoubt(state, now);
  if (unheard.length > 0 && freeAtOnce(group.lease, timingOf(state)))
    return [{ rule: 'instance-new', waitingFor: unheard, remainingMs: state.volatile.doubtUntil - now }];
  const wait = claimProblem(group, state.volatile.renewals[group.name], claim, timingOf(state), now);
  if (wait !== undefined) return [wait];
  const mine = candidates.find((candidate) => candidate.node === report.node);
  if (mine === undefined) return [{ rule: 'not-listed' }];
  if (!mine.eligible) return mine.reasons;
  const best = chosen(candidates);
  return best === undefined || best === report.node ? undefined : [{ rule: 'better-candidate', node: best }];
}

/**
 * C7: data that was restored shows itself only when a node reports a higher epoch. Until every node has told its epochs to this
 * instance, or any lease given by an earlier one has run out, what looks free is not granted.
 */
function unheardInDoubt(state: ClusterState, now: number): string[] {
  if (now >= state.volatile.doubtUntil) return [];
  return Object.values(state.durable.nodes)
    .filter((node) => !node.removed && node.declaredDead === null)
    .filter((node) => state.volatile.nodes[node.name]?.epochsKnown !== true)
    .map((node) => node.name);
}

/** C7: nodes that have not told their epochs since the restore. */
export function unreported(state: ClusterState): string[] {
  const reported = state.durable.restored?.reported ?? [];
  return Object.values(state.durable.nodes)
    .filter((node) => !node.removed && !reported.includes(node.name))
    .map((node) => node.name);
}

/** A claim repeated every second is recorded once, until its reasons change. */
function refusal(
  state: ClusterState,
  group: GroupRecord,
  report: Report,
  reasons: Reason[],
  candidates: ReturnType<typeof rank>,
  now: number,
): ClaimAnswer {
  const text = reasons.map(reasonText).join('; ');
  const key = `${group.name}/${report.node}`;
  const signature = `${group.lease?.epoch ?? 0} ${reasons.map((reason) => reason.rule).join(' ')}`;
  if (state.volatile.lastRefusals[key] === signature) return { state, effects: [], refusal: text };
  return {
    state: withVolatile(state, { lastRefusals: { ...state.volatile.lastRefusals, [key]: signature } }),
    effects: [
      {
        kind: 'decision',
        decision: {
          group: group.name,
          kind: 'refusal',
          node: report.node,
          epoch: group.lease?.epoch ?? 0,
          reasons,
          candidates,
          lastRenewalAt: waitOrigin(group.lease, state.volatile.renewals[group.name])?.at ?? null,
          at: now,
        },
      },
    ],
    refusal: text,
  };
}
