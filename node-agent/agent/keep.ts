/**
 * The lease keeper: which groups this node may run, until when, and what it must say to the coordinator. Pure: state and event in,
 * new state and effects out; the loop carries the effects out in order and waits for each.
 *
 * All times are milliseconds of this host's CLOCK_BOOTTIME. A deadline is always counted from the moment before a request left
 * (O1), so whatever the network does to the answer, the coordinator's own wait ends later.
 *
 * Losing is terminal: a lease that was not extended in time is stopped by force and given back; it comes back only as a new epoch.
 *
 * Beside the coordinator, the promises of all other voters lengthen a lease that still runs (O2): keep-promises.ts.
 */
import { timingWith } from '../../schemas/fuse.ts';
import { activationReserveMs, CLOCK_GRANULARITY_MS, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import type { Grant, Release, Reply, Report } from '../../schemas/wire.ts';
import { claimableFrom, claims, clearsUp, keptOut, mayClaimNow, observe, onRenewals } from './keep-claims.ts';
import {
  deadlineFrom,
  extendAll,
  lose,
  loseExpired,
  onKept,
  onRefused,
  onRenewed,
  onStuck,
  onTiming,
  stopFrom,
  stopInstant,
  tellAlone,
  unattendedInstant,
  withHeld,
} from './keep-lease.ts';
import { leaveDue, leaveGoesOn, leaveOverdue, onLeave } from './keep-leave.ts';
import { isCrowded, onLostReport, onOtherWay, reportSoon } from './keep-pace.ts';
import {
  alone,
  askDue,
  isBacked,
  isClean,
  isVoid,
  onAsk,
  onPromised,
  persisted,
  runningPromise,
} from './keep-promises.ts';
import {
  groupsOf,
  type Held,
  type KeepEffect,
  type KeepEvent,
  type KeepOutcome,
  type KeepState,
  type Request,
} from './keep-state.ts';

export { askDue, composeAsks, persisted } from './keep-promises.ts';
export type * from './keep-state.ts';
export { groupsOf, newKeep } from './keep-state.ts';

const nothing = (state: KeepState): KeepOutcome => ({ state, effects: [] });

/** Requests older than this many leases are forgotten: their answers could not extend anything. */
const REQUEST_MEMORY_LEASES = 2;

export function keep(state: KeepState, event: KeepEvent, nowMs: number): KeepOutcome {
  switch (event.type) {
    case 'tick':
      return onTick(state, nowMs);
    case 'nudge':
    case 'news':
      return nothing(reportSoon(state, nowMs));
    case 'other-way':
      return nothing(onOtherWay(state, nowMs));
    case 'lost-report':
      return nothing(onLostReport(state, event.id));
    case 'reply':
      return onReply(state, event.reply, nowMs);
    case 'renewals':
      return nothing(onRenewals(state, event.renewals, nowMs));
    case 'ask':
      return onAsk(state, event.ask, nowMs);
    case 'promised': {
      const heard = onPromised(state, event.answer);
      return extendAll(heard.state, heard.extensions, nowMs);
    }
    case 'kept':
      return nothing(onKept(state, event));
    case 'claimable': {
      const next = { ...state, claimable: event.groups };
      return nothing(mayClaimNow(state, event.groups, nowMs) ? reportSoon(next, nowMs) : next);
    }
    case 'closing':
      return nothing(onClosing(state, event.group));
    case 'stopped':
      return onStopped(state, event.group, event.failure, nowMs);
    case 'stuck':
      return onStuck(state, event.group, nowMs);
    case 'unprotected':
      return lose(state, event.group, event.why ?? 'its fuse could not be armed or petted', nowMs);
    case 'leave':
      return onLeave(state, nowMs);
    case 'refused':
      return onProblem(state, event.problem, nowMs);
    default:
      return event satisfies never;
  }
}

/** @returns when `keep` or `compose` has something to do next, ms. */
export function nextDue(state: KeepState, nowMs: number): number {
  let due = state.nextReportMs;
  for (const held of Object.values(state.held))
    if (held.phase === 'active' || held.phase === 'draining') due = Math.min(due, stopInstant(state, held));
  for (const [group, seen] of Object.entries(state.observed)) {
    if (seen.claim === 'never' || !state.claimable.has(group) || state.held[group] !== undefined) continue;
    const at = claimableFrom(state, group, seen);
    if (at > nowMs) due = Math.min(due, at);
  }
  if (state.unanswered > 1) due = Math.min(due, askDue(state) ?? due);
  if (state.quarantineEndMs > nowMs) due = Math.min(due, state.quarantineEndMs);
  return Math.min(due, leaveDue(state) ?? due);
}

/** Is it time to report: by the clock, because a wait has ended, or because there is a release to tell? */
export function reportDue(state: KeepState, nowMs: number): boolean {
  if (nowMs >= state.nextReportMs) return true;
  if (isCrowded(state)) return false;
  let lastSentMs = 0;
  for (const { sentMs } of state.requests.values()) lastSentMs = Math.max(lastSentMs, sentMs);
  if (lastSentMs < state.quarantineEndMs && nowMs >= state.quarantineEndMs) return true;
  return Object.keys(claims(state, nowMs)).some((group) => {
    const seen = state.observed[group];
    return seen !== undefined && lastSentMs < claimableFrom(state, group, seen);
  });
}

type Extras = Pick<Report, 'groups' | 'refusals' | 'copies' | 'events' | 'endpoint' | 'fuse' | 'peers' | 'retiring'>;

/** The report to send now. The time of sending is recorded here, before its first byte leaves (O1). */
export function compose(
  state: KeepState,
  id: string,
  agentVersion: string,
  extras: Extras,
  nowMs: number,
): { readonly state: KeepState; readonly report: Report } {
  const { timing } = state;
  const leases = Object.entries(state.held)
    .filter(([, held]) => (held.phase === 'active' || held.phase === 'draining') && nowMs < stopInstant(state, held))
    .map(([group, held]) => ({
      group,
      epoch: held.epoch,
      ...(held.kept ? { voters: held.voters.version, backed: isBacked(state, group, held, nowMs) } : {}),
    }));
  const promised = keptOut(state, nowMs);
  const claimed = claims(state, nowMs);
  const releases = Object.values(state.releases);
  const tellEpochs = state.instance === null || state.toldInstance !== state.instance;
  const report: Report = {
    type: 'report',
    version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
    id,
    node: state.node,
    incarnation: state.incarnation,
    sentMs: sentMs(state, nowMs),
    agentVersion,
    history: state.history,
    revision: state.revision,
    quarantineMs: Math.max(0, state.quarantineEndMs - nowMs),
    leaseMs: longestLeaseMs(state, nowMs),
    leases,
    claims: Object.values(claimed),
    releases,
    ...(state.leaving === undefined ? {} : { leaving: true }),
    ...(promised.length === 0 ? {} : { promised }),
    ...(tellEpochs ? { epochs: { ...state.epochs } } : {}),
    ...(tellEpochs && state.coordinator !== null ? { coordinator: state.coordinator } : {}),
    ...extras,
  };
  const oldest = nowMs - REQUEST_MEMORY_LEASES * timing.leaseMs;
  const requests = new Map<string, Request>();
  for (const [sent, before] of state.requests) if (before.sentMs >= oldest) requests.set(sent, before);
  const request: Request = {
    number: state.sent + 1,
    sentMs: nowMs,
    leaseMs: report.leaseMs,
    stopMs: timing.stopMs,
    groups: [...leases.map((lease) => lease.group), ...Object.keys(claimed)],
    claims: Object.keys(claimed),
    releases,
    toldEpochs: tellEpochs,
  };
  requests.set(id, request);
  // Several reports of one moment are no repetition: what counts is how long no answer has come.
  const unansweredSinceMs = state.unanswered === 0 ? nowMs : state.unansweredSinceMs;
  const retry = nowMs - unansweredSinceMs < timing.retries * timing.retryMs ? timing.retryMs : timing.renewMs;
  return {
    report,
    state: {
      ...state,
      requests,
      sent: request.number,
      soon: false,
      unanswered: state.unanswered + 1,
      unansweredSinceMs,
      nextReportMs: nowMs + retry,
    },
  };
}

/** How often a report would have been repeated by now: 0 for the first, also while several leave in one moment. */
export function attemptOf({ unanswered, unansweredSinceMs, timing }: KeepState, nowMs: number): number {
  if (unanswered === 0) return 0;
  return Math.min(unanswered, Math.round((nowMs - unansweredSinceMs) / timing.retryMs));
}

/** The clock, and within one of its steps the number of reports: so that later reports bear later times. */
function sentMs(state: KeepState, nowMs: number): number {
  let sameMoment = 0;
  for (const request of state.requests.values()) if (request.sentMs === nowMs) sameMoment += 1;
  return nowMs + sameMoment;
}

/**
 * A lease that became shorter is told to the coordinator only as fast as the deadlines that were set before really end: neither the
 * guard nor a lease that was given can be shortened, and the coordinator must wait for the longest that may still run.
 */
function longestLeaseMs(state: KeepState, nowMs: number): number {
  const remaining = Object.values(state.held).map((held) => held.deadlineMs - nowMs);
  return Math.max(state.timing.leaseMs, ...remaining);
}

function onReply(before: KeepState, reply: Reply, nowMs: number): KeepOutcome {
  const request = before.requests.get(reply.id);
  // O1, P3: an answer to a request this process did not send proves nothing and extends nothing
  if (request === undefined) return nothing(before);
  const answered = Math.max(before.answered, request.number);
  if (reply.problem !== undefined) return onProblem({ ...before, answered }, reply.problem, nowMs);

  const effects: KeepEffect[] = [];
  if (wasAway(before, nowMs)) effects.push({ kind: 'reconnected', awayMs: nowMs - before.lastAnswerMs });
  const told = reply.tellEpochs !== true && (request.toldEpochs || before.toldInstance === reply.instance);
  let state: KeepState = {
    ...before,
    unanswered: 0,
    lastAnswerMs: nowMs,
    answered,
    instance: reply.instance,
    toldInstance: told ? reply.instance : null,
    soon: false,
    // what has come up since that request was sent, and is due, is not put off by its answer; nor is a retry
    nextReportMs: before.nextReportMs <= nowMs ? before.nextReportMs : nowMs + reply.renewInMs,
    releases: acknowledge(before.releases, request.releases),
  };
  if (before.soon || state.toldInstance === null) state = reportSoon(state, nowMs);
  const { generation, instance } = reply;
  const later = generation > (state.coordinator?.generation ?? -1);
  if (later || state.history === null) {
    const coordinator = later ? { generation, instance } : state.coordinator;
    state = { ...state, history: state.history ?? reply.history, coordinator };
    effects.push(persisted(state));
  }
  const step = (outcome: KeepOutcome) => {
    state = outcome.state;
    effects.push(...outcome.effects);
  };
  for (const answer of reply.leases)
    step(answer.verdict === 'renewed' ? onRenewed(state, answer, request, nowMs) : onRefused(state, answer, nowMs));
  for (const grant of reply.grants) step(onGrant(state, grant, request, nowMs));
  // Another instance may call another document by the same number: its data may have been restored.
  const foreign = reply.instance !== before.instance;
  if (reply.config !== undefined && (foreign || reply.config.revision !== state.revision)) {
    const { revision } = reply.config;
    const timing = timingWith(reply.config.timing, state.lastWord ?? { kind: 'none' });
    state = reportSoon({ ...state, timing, revision, groups: groupsOf(reply.config) }, nowMs);
    effects.push(...onTiming(before, state, nowMs), { kind: 'configure', config: reply.config });
  }
  state = observe(state, reply, nowMs);
  return { state, effects };
}

/** All retries went unanswered, for as long as they and the renewal after them take: neither a burst nor one slow answer. */
function wasAway(state: KeepState, nowMs: number): boolean {
  const { retries, retryMs, renewMs } = state.timing;
  return state.unanswered > retries && nowMs - state.lastAnswerMs >= retries * retryMs + renewMs;
}

/** P2: activate only what was granted to this incarnation, above every epoch seen, with enough left, outside the quarantine. */
function onGrant(state: KeepState, grant: Grant, request: Request, nowMs: number): KeepOutcome {
  const { group, epoch } = grant;
  if (grant.incarnation !== state.incarnation || !request.groups.includes(group) || state.held[group] !== undefined)
    return nothing(state);
  if (epoch <= (state.epochs[group] ?? 0)) {
    // it is being given back already, with what there is to tell of its end
    if ((state.releases[group]?.epoch ?? 0) >= epoch) return nothing(state);
    // Granted before and never activated, or closed for ever (O5): nothing of it runs here, so it is given back.
    if (!isClean(state, group, nowMs)) return nothing(state);
    const release: Release = { group, epoch };
    return nothing(reportSoon({ ...state, releases: { ...state.releases, [group]: release } }, nowMs));
  }
  const deadlineMs = deadlineFrom(state, request);
  const inQuarantine = nowMs < state.quarantineEndMs;
  const tooLate = deadlineMs - nowMs <= activationReserveMs(state.timing) + CLOCK_GRANULARITY_MS;
  const promise = runningPromise(state, group, nowMs);
  const keptOutByPromise = promise !== undefined && !isVoid(promise, grant.released);
  if (inQuarantine || tooLate || keptOutByPromise || clearsUp(state, nowMs) || !state.claimable.has(group))
    return nothing(state);
  const held: Held = {
    epoch,
    voters: grant.voters,
    kept: false,
    promised: {},
    deadlineMs,
    coordinatorMs: deadlineMs,
    stopMs: stopFrom(state, request),
    phase: 'active',
  };
  const { [group]: _void, ...promises } = state.promises;
  const next = withHeld({ ...state, promises, epochs: { ...state.epochs, [group]: epoch } }, group, held);
  return {
    state: next,
    effects: [
      persisted(next),
      { kind: 'arm', group, epoch, deadlineMs, fireMs: unattendedInstant(state, held), voters: grant.voters },
      { kind: 'run', group, epoch },
    ],
  };
}

const revoking = new Set<string>([
  'declared-dead',
  'node-removed',
  'node-unknown',
  'identity-conflict',
  'history-mismatch',
]);

function onProblem(before: KeepState, problem: { code: string; detail: string }, nowMs: number): KeepOutcome {
  let state: KeepState = { ...before, unanswered: 0, lastAnswerMs: nowMs, nextReportMs: nowMs + before.timing.renewMs };
  const effects: KeepEffect[] = [{ kind: 'refused', code: problem.code, detail: problem.detail }];
  if (!revoking.has(problem.code)) return { state, effects };
  // who is refused by data that is older than what it has seen is its witness (C7)
  state = { ...state, toldInstance: null };
  for (const group of Object.keys(before.held)) {
    const lost = lose(state, group, problem.detail, nowMs);
    state = lost.state;
    effects.push(...lost.effects);
  }
  return { state, effects };
}

function acknowledge(
  pending: Readonly<Record<string, Release>>,
  told: readonly Release[],
): Readonly<Record<string, Release>> {
  return Object.fromEntries(
    Object.entries(pending).filter(
      ([group, release]) => !told.some((sent) => sent.group === group && sent.epoch === release.epoch),
    ),
  );
}

function onTick(before: KeepState, nowMs: number): KeepOutcome {
  const expired = loseExpired(before, nowMs);
  const longer = extendAll(expired.state, alone(expired.state, nowMs), nowMs);
  const told = tellAlone(longer.state, nowMs);
  const left = leaveOverdue(told.state, nowMs);
  return { state: left.state, effects: [...expired.effects, ...longer.effects, ...told.effects, ...left.effects] };
}

/** O5: what is being given back must not start, also where its grant was still waiting for the disk. It is renewed until it is closed. */
function onClosing(state: KeepState, group: string): KeepState {
  const held = state.held[group];
  return held?.phase === 'active' ? withHeld(state, group, { ...held, phase: 'draining', paused: false }) : state;
}

/** O5: everything is down; give the lease back. Only when clean: an older epoch may still be relied on by what this node promised. */
function onStopped(state: KeepState, group: string, failure: Release['failure'], nowMs: number): KeepOutcome {
  const held = state.held[group];
  if (held === undefined) return nothing(state);
  const { [group]: _gone, ...rest } = state.held;
  const forced = held.phase === 'lost' || held.phase === 'stuck' ? { forced: true } : {};
  const release: Release = { group, epoch: held.epoch, ...forced, ...(failure === undefined ? {} : { failure }) };
  const clean = isClean(state, group, nowMs);
  const releases = clean ? { ...state.releases, [group]: release } : state.releases;
  return nothing(reportSoon({ ...leaveGoesOn(state, nowMs), held: rest, releases }, nowMs));
}
