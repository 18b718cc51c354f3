/**
 * The lease keeper: which groups this node may run, until when, and what it must say to the coordinator. Pure: state and event in,
 * new state and effects out; the loop carries the effects out in order and waits for each.
 *
 * All times are milliseconds of this host's CLOCK_BOOTTIME. A deadline is always counted from the moment before a request left
 * (O1), so whatever the network does to the answer, the coordinator's own wait ends later.
 *
 * Losing is terminal: a lease that was not extended in time is stopped by force and given back; it comes back only as a new epoch.
 *
 * Room for promises (O2, P1, P4): `Held.voters` is kept and written to the guard; deadlines come from `deadlineFrom` alone.
 */
import {
  activationReserveMs,
  CLOCK_GRANULARITY_MS,
  fuseInstant,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
} from '../../schemas/limits.ts';
import type { Claim, Grant, Release, Renewals, Reply, Report } from '../../schemas/wire.ts';
import type { Held, KeepEffect, KeepEvent, KeepOutcome, KeepState, Observed, Request } from './keep-state.ts';

export type * from './keep-state.ts';

const nothing = (state: KeepState): KeepOutcome => ({ state, effects: [] });

/** Requests older than this many leases are forgotten: their answers could not extend anything. */
const REQUEST_MEMORY_LEASES = 2;

export function keep(state: KeepState, event: KeepEvent, nowMs: number): KeepOutcome {
  switch (event.type) {
    case 'tick':
      return loseExpired(state, nowMs);
    case 'nudge':
    case 'news':
      return nothing({ ...state, nextReportMs: Math.min(state.nextReportMs, nowMs) });
    case 'reply':
      return onReply(state, event.reply, nowMs);
    case 'renewals':
      return nothing(onRenewals(state, event.renewals, nowMs));
    case 'claimable':
      return nothing({
        ...state,
        claimable: event.groups,
        nextReportMs: mayClaimNow(state, event.groups, nowMs) ? nowMs : state.nextReportMs,
      });
    case 'stopped':
      return onStopped(state, event.group, event.failure, nowMs);
    case 'stuck':
      return onStuck(state, event.group, nowMs);
    case 'unprotected':
      return lose(state, event.group, event.why ?? 'its fuse could not be armed or petted', nowMs);
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
    if (seen.claim !== 'after' || !state.claimable.has(group) || state.held[group] !== undefined) continue;
    const at = seen.sinceMs + seen.waitMs;
    if (at > nowMs) due = Math.min(due, at);
  }
  if (state.quarantineEndMs > nowMs) due = Math.min(due, state.quarantineEndMs);
  return due;
}

/** Is it time to report: by the clock, because a wait has ended, or because there is a release to tell? */
export function reportDue(state: KeepState, nowMs: number): boolean {
  if (nowMs >= state.nextReportMs) return true;
  const lastSentMs = Object.values(state.requests).reduce((latest, request) => Math.max(latest, request.sentMs), 0);
  if (lastSentMs < state.quarantineEndMs && nowMs >= state.quarantineEndMs) return true;
  return Object.keys(claims(state, nowMs)).some((group) => {
    const seen = state.observed[group];
    return seen?.claim === 'after' && lastSentMs < seen.sinceMs + seen.waitMs;
  });
}

type Extras = Pick<Report, 'groups' | 'refusals' | 'events' | 'retiring'>;

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
    .map(([group, held]) => ({ group, epoch: held.epoch }));
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
    ...(tellEpochs ? { epochs: { ...state.epochs } } : {}),
    ...extras,
  };
  const oldest = nowMs - REQUEST_MEMORY_LEASES * timing.leaseMs;
  const remembered = Object.fromEntries(
    Object.entries(state.requests).filter(([, request]) => request.sentMs >= oldest),
  );
  const request: Request = {
    sentMs: nowMs,
    leaseMs: report.leaseMs,
    stopMs: timing.stopMs,
    groups: [...leases.map((lease) => lease.group), ...Object.keys(claimed)],
    releases,
    toldEpochs: tellEpochs,
  };
  // Several reports of one moment are no repetition: what counts is how long no answer has come.
  const unansweredSinceMs = state.unanswered === 0 ? nowMs : state.unansweredSinceMs;
  const retry = nowMs - unansweredSinceMs < timing.retries * timing.retryMs ? timing.retryMs : timing.renewMs;
  return {
    report,
    state: {
      ...state,
      requests: { ...remembered, [id]: request },
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
  return nowMs + Object.values(state.requests).filter((request) => request.sentMs === nowMs).length;
}

/**
 * A lease that became shorter is told to the coordinator only as fast as the deadlines that were set before really end: neither the
 * guard nor a lease that was given can be shortened, and the coordinator must wait for the longest that may still run.
 */
function longestLeaseMs(state: KeepState, nowMs: number): number {
  const remaining = Object.values(state.held).map((held) => held.deadlineMs - nowMs);
  return Math.max(state.timing.leaseMs, ...remaining);
}

function mayClaimNow(state: KeepState, claimable: ReadonlySet<string>, nowMs: number): boolean {
  return Object.keys(claims({ ...state, claimable }, nowMs)).length > Object.keys(claims(state, nowMs)).length;
}

/** P2, P3: nothing is claimed that could not be activated. */
function claims(state: KeepState, nowMs: number): Record<string, Claim> {
  const wanted: Record<string, Claim> = {};
  if (nowMs < state.quarantineEndMs) return wanted;
  for (const [group, seen] of Object.entries(state.observed)) {
    if (!state.claimable.has(group) || state.held[group] !== undefined || state.releases[group] !== undefined) continue;
    const seenForMs = Math.max(0, nowMs - seen.sinceMs);
    if (seen.claim === 'now' || (seen.claim === 'after' && seenForMs >= seen.waitMs))
      wanted[group] = { group, renewal: seen.renewal, seenForMs };
  }
  return wanted;
}

function onReply(before: KeepState, reply: Reply, nowMs: number): KeepOutcome {
  // own: an id like `constructor` names no request
  const request = Object.hasOwn(before.requests, reply.id) ? before.requests[reply.id] : undefined;
  // O1, P3: an answer to a request this process did not send proves nothing and extends nothing
  if (request === undefined) return nothing(before);
  if (reply.problem !== undefined) return onProblem(before, reply.problem, nowMs);

  const effects: KeepEffect[] = [];
  if (wasAway(before, nowMs)) effects.push({ kind: 'reconnected', awayMs: nowMs - before.lastAnswerMs });
  let state: KeepState = {
    ...before,
    unanswered: 0,
    lastAnswerMs: nowMs,
    instance: reply.instance,
    toldInstance: request.toldEpochs || before.toldInstance === reply.instance ? reply.instance : null,
    nextReportMs: nowMs + reply.renewInMs,
    releases: acknowledge(before.releases, request.releases),
  };
  if (state.toldInstance === null) state = { ...state, nextReportMs: nowMs };
  if (state.history === null) {
    state = { ...state, history: reply.history };
    effects.push({ kind: 'persist', history: state.history, epochs: state.epochs });
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
    const { timing, revision } = reply.config;
    state = { ...state, timing, revision, nextReportMs: nowMs };
    effects.push({ kind: 'configure', config: reply.config });
  }
  state = observe(state, reply, nowMs);
  return { state, effects };
}

/** All retries went unanswered, for as long as they and the renewal after them take: neither a burst nor one slow answer. */
function wasAway(state: KeepState, nowMs: number): boolean {
  const { retries, retryMs, renewMs } = state.timing;
  return state.unanswered > retries && nowMs - state.lastAnswerMs >= retries * retryMs + renewMs;
}

/** What a request is worth: no more than the lease it named, nor than the one counted now. */
function deadlineFrom(state: KeepState, request: Request): number {
  return request.sentMs + Math.min(request.leaseMs, state.timing.leaseMs);
}

/** S that goes with it: a lease counted by a shorter timing is not lost because a longer one came into force meanwhile. */
function stopFrom(state: KeepState, request: Request): number {
  return Math.min(request.stopMs, state.timing.stopMs);
}

/** O3: when everything exclusive is forced down. */
function stopInstant(state: KeepState, held: Held): number {
  return held.deadlineMs - Math.min(held.stopMs ?? state.timing.stopMs, state.timing.stopMs);
}

function onRenewed(
  state: KeepState,
  answer: { group: string; epoch: number; order: 'run' | 'release' },
  request: Request,
  nowMs: number,
): KeepOutcome {
  const held = state.held[answer.group];
  if (held === undefined || held.epoch !== answer.epoch || !request.groups.includes(answer.group))
    return nothing(state);
  if (held.phase === 'lost' || held.phase === 'stuck') return nothing(state);
  if (nowMs >= stopInstant(state, held))
    return lose(state, answer.group, 'the coordinator’s answer came too late', nowMs);
  const deadlineMs = Math.max(held.deadlineMs, deadlineFrom(state, request));
  const drain = answer.order === 'release' && held.phase === 'active';
  const stopMs = deadlineMs > held.deadlineMs ? stopFrom(state, request) : held.stopMs;
  const next: Held = {
    ...held,
    deadlineMs,
    ...(stopMs === undefined ? {} : { stopMs }),
    phase: drain ? 'draining' : held.phase,
  };
  const effects: KeepEffect[] = [];
  const fireMs = fuseInstant(deadlineMs, state.timing);
  // I2: a pet is only worth something before the fuse acts
  if (deadlineMs > held.deadlineMs && nowMs < fireMs)
    effects.push({ kind: 'pet', group: answer.group, epoch: held.epoch, deadlineMs, fireMs });
  if (drain)
    effects.push({
      kind: 'stop',
      group: answer.group,
      how: 'graceful',
      why: 'the coordinator asks for the group’s release',
    });
  return { state: withHeld(state, answer.group, next), effects };
}

/** O3: a message that proves a higher epoch or a revocation ends the lease now. */
function onRefused(
  state: KeepState,
  answer: { group: string; epoch: number; reason: string },
  nowMs: number,
): KeepOutcome {
  const held = state.held[answer.group];
  if (held === undefined || held.epoch !== answer.epoch) return nothing(state);
  return lose(state, answer.group, `the coordinator refused its renewal: ${answer.reason}`, nowMs);
}

/** P2: activate only what was granted to this incarnation, above every epoch seen, with enough left, outside the quarantine. */
function onGrant(state: KeepState, grant: Grant, request: Request, nowMs: number): KeepOutcome {
  const { group, epoch } = grant;
  if (grant.incarnation !== state.incarnation || !request.groups.includes(group) || state.held[group] !== undefined)
    return nothing(state);
  if (epoch <= (state.epochs[group] ?? 0)) {
    // Granted before and never activated, or closed for ever (O5): nothing of it runs here, so it is given back.
    const release: Release = { group, epoch };
    return nothing({ ...state, releases: { ...state.releases, [group]: release }, nextReportMs: nowMs });
  }
  const deadlineMs = deadlineFrom(state, request);
  const inQuarantine = nowMs < state.quarantineEndMs;
  const tooLate = deadlineMs - nowMs <= activationReserveMs(state.timing) + CLOCK_GRANULARITY_MS;
  if (inQuarantine || tooLate || !state.claimable.has(group)) return nothing(state);
  const held: Held = { epoch, voters: grant.voters, deadlineMs, stopMs: stopFrom(state, request), phase: 'active' };
  const epochs = { ...state.epochs, [group]: epoch };
  return {
    state: withHeld({ ...state, epochs }, group, held),
    effects: [
      { kind: 'persist', history: state.history, epochs },
      { kind: 'arm', group, epoch, deadlineMs, fireMs: fuseInstant(deadlineMs, state.timing), voters: grant.voters },
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
  for (const group of Object.keys(before.held)) {
    const lost = lose(state, group, problem.detail, nowMs);
    state = lost.state;
    effects.push(...lost.effects);
  }
  return { state, effects };
}

function observe(state: KeepState, reply: Reply, nowMs: number): KeepState {
  const observed: Record<string, Observed> = {};
  for (const seen of reply.observed) {
    const known = state.observed[seen.group];
    const same = known !== undefined && known.renewal === seen.renewal;
    observed[seen.group] = {
      renewal: seen.renewal,
      sinceMs: same ? known.sinceMs : nowMs + CLOCK_GRANULARITY_MS,
      claim: seen.claim,
      waitMs: seen.waitMs,
    };
  }
  const next = { ...state, observed };
  // A claim refused in this very reply waits for the next renewal; a new permission to claim is used at once.
  const fresh = Object.entries(claims(next, nowMs)).some(
    ([group]) => state.observed[group]?.claim !== 'now' && !reply.refused.some((refusal) => refusal.group === group),
  );
  return fresh ? { ...next, nextReportMs: nowMs } : next;
}

/** The wait for a lease starts anew with each renewal of its owner, on this node's clock from when it hears of it. */
function onRenewals(state: KeepState, renewals: Renewals['renewals'], nowMs: number): KeepState {
  const observed = { ...state.observed };
  for (const { group, renewal } of renewals) {
    const known = observed[group];
    if (known === undefined || known.renewal === renewal) continue;
    observed[group] = { ...known, renewal, sinceMs: nowMs + CLOCK_GRANULARITY_MS };
  }
  return { ...state, observed };
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

/** O3: at deadline − S everything exclusive is forced down. */
function loseExpired(before: KeepState, nowMs: number): KeepOutcome {
  let state = before;
  const effects: KeepEffect[] = [];
  for (const [group, held] of Object.entries(before.held)) {
    if (held.phase === 'lost' || held.phase === 'stuck') continue;
    if (nowMs < stopInstant(before, held)) continue;
    const lost = lose(
      state,
      group,
      `no renewal was answered for ${before.timing.leaseMs - before.timing.stopMs} ms`,
      nowMs,
    );
    state = lost.state;
    effects.push(...lost.effects);
  }
  return { state, effects };
}

function lose(state: KeepState, group: string, why: string, _nowMs: number): KeepOutcome {
  const held = state.held[group];
  if (held === undefined || held.phase === 'lost' || held.phase === 'stuck') return nothing(state);
  return {
    state: withHeld(state, group, { ...held, phase: 'lost' }),
    effects: [
      { kind: 'lost', group, epoch: held.epoch, why },
      { kind: 'stop', group, how: 'forced', why },
    ],
  };
}

/** O5: everything is down; give the lease back. Never while in quarantine, for an older epoch of this node may still be relied on. */
function onStopped(state: KeepState, group: string, failure: Release['failure'], nowMs: number): KeepOutcome {
  const held = state.held[group];
  if (held === undefined) return nothing(state);
  const { [group]: _gone, ...rest } = state.held;
  const forced = held.phase === 'lost' || held.phase === 'stuck' ? { forced: true } : {};
  const release: Release = { group, epoch: held.epoch, ...forced, ...(failure === undefined ? {} : { failure }) };
  const clean = nowMs >= state.quarantineEndMs;
  return {
    state: {
      ...state,
      held: rest,
      releases: clean ? { ...state.releases, [group]: release } : state.releases,
      nextReportMs: nowMs,
    },
    effects: [],
  };
}

/** The lease is not renewed any more: what can still be stopped is, and the fuse brings down what would not stop. */
function onStuck(state: KeepState, group: string, nowMs: number): KeepOutcome {
  const held = state.held[group];
  if (held === undefined) return nothing(state);
  const lost = lose(state, group, 'something of it could not be stopped', nowMs);
  return { ...lost, state: withHeld(lost.state, group, { ...held, phase: 'stuck' }) };
}

function withHeld(state: KeepState, group: string, held: Held): KeepState {
  return { ...state, held: { ...state.held, [group]: held } };
}
