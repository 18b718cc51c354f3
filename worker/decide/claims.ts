/** C2: claims, and what is granted or refused to them. */
import { type Reason, reasonText } from '../../schemas/reasons.ts';
import type { Claim, Grant, Report } from '../../schemas/wire.ts';
import { waits } from './explain.ts';
import { unheardInDoubt, unreported } from './history.ts';
import { claimProblem, countedLeaseMs, freeAtOnce, freedom, holder, nextEpoch, timingOf, waitOrigin } from './lease.ts';
import { event } from './outcome.ts';
import { startBar } from './pause.ts';
import { chosen, rank } from './placement.ts';
import { withGroup, withLease, withRenewal } from './records.ts';
import { objectionsByRule } from './rules.ts';
import type { ClusterState, Effect, GroupRecord, Lease, Outcome } from './state.ts';
import { eligibleVoters, firstVoters, keptOut, newestVoters } from './voters.ts';

type ClaimAnswer = Outcome & {
  readonly grant?: Grant;
  readonly refusal?: string;
  /** What is to be remembered of a refusal that was recorded. */
  readonly record?: { readonly key: string; readonly signature: string };
};

/** C2. @param recorded the refusals that are on record, see `Volatile.lastRefusals`. */
export function onClaim(
  before: ClusterState,
  report: Report,
  claim: Claim,
  now: number,
  recorded: Readonly<Record<string, string>>,
): ClaimAnswer {
  const group = before.durable.groups[claim.group];
  const config = before.durable.config?.groups[claim.group];
  if (group === undefined || config === undefined)
    return { state: before, effects: [], refusal: reasonText({ rule: 'group-removed' }) };
  const { lease } = group;
  if (lease !== null && isRepeated(before, group, lease, report, now) && startBar(before, group, now) === undefined) {
    // the same grant again; it counts as a renewal, so the wait of others starts anew
    const renewed = withRenewal(before, group.name, now);
    const leaseMs = countedLeaseMs(before, lease, report);
    const same = lease.suspectSince === null && lease.leaseMs === leaseMs && lease.expired !== true;
    const state = same ? renewed : withLease(renewed, group, { suspectSince: null, leaseMs, expired: false });
    return { state, effects: [], grant: grantOf(lease, group.name) };
  }

  const candidates = rank(before, group, now, { exceptOwner: true });
  const problem = claimRefusal(before, group, report, claim, candidates, now);
  if (problem !== undefined) return refusal(before, group, report, problem, candidates, now, recorded);

  const timing = timingOf(before);
  const renewal = before.volatile.renewals[group.name];
  const state = freedom(lease, renewal, timing, now);
  const cause = state.free ? state.cause : 'lease-expired';
  const granted: Lease = {
    owner: report.node,
    incarnation: report.incarnation,
    epoch: nextEpoch(before, group),
    voters: firstVoters(before, group, report.node, now),
    pendingVoters: null,
    eligibleBase: eligibleVoters(lease),
    barred: {},
    followsRelease: lease?.released === true ? lease.epoch : null,
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
  const next = withRenewal(withGroup(before, { ...group, lease: granted, run: null, halt: null }), group.name, now);
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
    event(now, {
      kind: 'group.granted',
      severity: cause === 'lease-expired' || cause === 'declared-dead' ? 'warning' : 'info',
      node: report.node,
      group: group.name,
      epoch: granted.epoch,
      detail: grantDetail(cause, lease, report.node),
    }),
  ];
  return { state: next, effects, grant: grantOf(granted, group.name) };
}

/**
 * Its grant was lost on the way. C7: not from data that is older than what nodes have seen, or may be: there, somebody else may have been
 * granted the group since. Nor where it has run out, and what it may not run beside has come to the node meanwhile.
 */
function isRepeated(state: ClusterState, group: GroupRecord, lease: Lease, report: Report, now: number): boolean {
  const own = lease.owner === report.node && lease.incarnation === report.incarnation;
  if (!own || lease.released || lease.provenDeadAt !== null) return false;
  const { restored, highestEpochs } = state.durable;
  const old = restored !== null || lease.epoch < (highestEpochs[group.name] ?? 0);
  if (old || unheardInDoubt(state, now).length > 0) return false;
  return holder(state, group, now) !== undefined || objectionsByRule(state, group, report.node, now).length === 0;
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

function grantOf(lease: Lease, group: string): Grant {
  const { epoch, incarnation, followsRelease } = lease;
  return { group, epoch, incarnation, voters: newestVoters(lease), released: followsRelease };
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
  const bar = startBar(state, group, now);
  if (bar !== undefined) return [bar];
  const { restored } = state.durable;
  if (restored !== null) return [{ rule: 'restored', waitingFor: unreported(state) }];
  const unheard = unheardInDoubt(state, now);
  if (unheard.length > 0 && freeAtOnce(group.lease))
    return [{ rule: 'instance-new', waitingFor: unheard, remainingMs: state.volatile.doubtUntil - now }];
  const first = waits(state, group.name, now);
  if (first.length > 0) return first;
  const wait = claimProblem(group, state.volatile.renewals[group.name], claim, timingOf(state), now);
  if (wait !== undefined) return [wait];
  const keepers = keptOut(state, group, now);
  if (group.lease !== null && keepers.length > 0)
    return [{ rule: 'lives-on-promises', owner: group.lease.owner, voters: keepers }];
  const voters = eligibleVoters(group.lease);
  if (voters !== null && !voters.includes(report.node)) return [{ rule: 'not-voter', voters: [...voters] }];
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
  recorded: Readonly<Record<string, string>>,
): ClaimAnswer {
  const text = reasons.map((reason) => reasonText(reason)).join('; ');
  const key = `${group.name}/${report.node}`;
  const signature = `${group.lease?.epoch ?? 0} ${reasons.map((reason) => reason.rule).join(' ')}`;
  if (recorded[key] === signature) return { state, effects: [], refusal: text };
  return {
    state,
    record: { key, signature },
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
