/** C2: claims, and what is granted or refused to them. */
import { type Reason, reasonText } from '../../schemas/reasons.ts';
import type { Claim, Grant, Report } from '../../schemas/wire.ts';
import { unheardInDoubt, unreported } from './history.ts';
import { claimProblem, countedLeaseMs, freeAtOnce, freedom, nextEpoch, timingOf, waitOrigin } from './lease.ts';
import { chosen, rank } from './placement.ts';
import { withGroup, withLease, withRenewal, withVolatile } from './records.ts';
import type { ClusterState, Effect, GroupRecord, Lease, Outcome } from './state.ts';

type ClaimAnswer = Outcome & { readonly grant?: Grant; readonly refusal?: string };

/** C2. */
export function onClaim(before: ClusterState, report: Report, claim: Claim, now: number): ClaimAnswer {
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
