/**
 * What this node may claim, and when: the wait for a lease (C2) on its own clock, its quarantine (P3) and its promises (P4). Pure, as
 * keep.ts.
 */
import { CLOCK_GRANULARITY_MS } from '../../schemas/limits.ts';
import type { Claim, Renewals, Reply } from '../../schemas/wire.ts';
import { reportSoon } from './keep-pace.ts';
import { isVoid, runningPromise } from './keep-promises.ts';
import type { KeepState, Observed } from './keep-state.ts';

/** When the wait for the lease (C2) and a promise that keeps this node out (P4) are both over; 0: nothing has to be waited for. */
export function claimableFrom(state: KeepState, group: string, seen: Observed): number {
  const promise = state.promises[group];
  const keptOutMs = promise === undefined || isVoid(promise, seen.released) ? 0 : promise.untilMs;
  return Math.max(seen.claim === 'after' ? seen.sinceMs + seen.waitMs : 0, keptOutMs);
}

/** What this node could claim by what it was told, without asking whether it has promised to keep out. */
function claimsInSight(state: KeepState, nowMs: number): Claim[] {
  if (nowMs < state.quarantineEndMs || state.leaving !== undefined) return [];
  return Object.entries(state.observed).flatMap(([group, { claim, renewal, sinceMs, waitMs }]) => {
    if (!state.claimable.has(group) || state.held[group] !== undefined || state.releases[group] !== undefined)
      return [];
    const seenForMs = Math.max(0, nowMs - sinceMs);
    return claim === 'now' || (claim === 'after' && seenForMs >= waitMs) ? [{ group, renewal, seenForMs }] : [];
  });
}

/** P4: the promise that this claim has to wait for. */
function promiseAgainst(state: KeepState, group: string, nowMs: number): { readonly epoch: number } | undefined {
  const promise = runningPromise(state, group, nowMs);
  return promise === undefined || isVoid(promise, state.observed[group]?.released ?? null) ? undefined : promise;
}

/**
 * What was lost is still being taken down here, at the latest until its deadline. The coordinator may take it for gone by now, and grant what
 * must not run beside it.
 */
export function clearsUp(state: KeepState, nowMs: number): boolean {
  return Object.values(state.held).some(({ phase, deadlineMs }) => phase === 'lost' && nowMs < deadlineMs);
}

/** P2, P3, P4: nothing is claimed that could not be activated. */
export function claims(state: KeepState, nowMs: number): Record<string, Claim> {
  if (clearsUp(state, nowMs)) return {};
  const open = claimsInSight(state, nowMs).filter(({ group }) => promiseAgainst(state, group, nowMs) === undefined);
  return Object.fromEntries(open.map((claim) => [claim.group, claim]));
}

/** Where a promise keeps this node out of what the coordinator takes for free, so that it hears of an owner it does not hear itself. */
export function keptOut(state: KeepState, nowMs: number): { group: string; epoch: number }[] {
  return Object.entries(state.observed).flatMap(([group, { claim, sinceMs, waitMs }]) => {
    if (state.held[group] !== undefined || (claim !== 'now' && nowMs - sinceMs < waitMs)) return [];
    const promise = promiseAgainst(state, group, nowMs);
    return promise === undefined ? [] : [{ group, epoch: promise.epoch }];
  });
}

export function mayClaimNow(state: KeepState, claimable: ReadonlySet<string>, nowMs: number): boolean {
  return Object.keys(claims({ ...state, claimable }, nowMs)).length > Object.keys(claims(state, nowMs)).length;
}

export function observe(state: KeepState, reply: Reply, nowMs: number): KeepState {
  const observed: Record<string, Observed> = {};
  for (const seen of reply.observed) {
    const known = state.observed[seen.group];
    const same = known !== undefined && known.renewal === seen.renewal;
    observed[seen.group] = {
      renewal: seen.renewal,
      sinceMs: same ? known.sinceMs : nowMs + CLOCK_GRANULARITY_MS,
      claim: seen.claim,
      released: seen.released,
      waitMs: seen.waitMs,
    };
  }
  const next = { ...state, observed };
  // A claim refused in this very reply waits for the next renewal; a new permission to claim is used at once.
  const fresh = Object.entries(claims(next, nowMs)).some(
    ([group]) => state.observed[group]?.claim !== 'now' && !reply.refused.some((refusal) => refusal.group === group),
  );
  return fresh ? reportSoon(next, nowMs) : next;
}

/** The wait for a lease starts anew with each renewal of its owner, on this node's clock from when it hears of it. */
export function onRenewals(state: KeepState, renewals: Renewals['renewals'], nowMs: number): KeepState {
  const observed = { ...state.observed };
  for (const { group, renewal } of renewals) {
    const known = observed[group];
    if (known === undefined || known.renewal === renewal) continue;
    observed[group] = { ...known, renewal, sinceMs: nowMs + CLOCK_GRANULARITY_MS };
  }
  return { ...state, observed };
}
