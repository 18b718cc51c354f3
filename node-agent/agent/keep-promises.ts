/**
 * Promises between nodes (protocol.md O2, P1, P4): what the owner of a lease asks of the other voters and what their answers are worth;
 * what this node promises to others, and what it must not do meanwhile. Pure, as keep.ts.
 *
 * A promise is asked for all the time, not only when the coordinator is away, so that losing it opens no gap.
 */
import {
  CLOCK_GRANULARITY_MS,
  MAX_EPOCH_STEP,
  MAX_PROMISES_PER_MESSAGE,
  takeoverWaitMs,
} from '../../schemas/limits.ts';
import type { PeerAnswer, PeerAsk } from '../../schemas/peer.ts';
import type { Asked, Held, KeepEffect, KeepOutcome, KeepState, Promised } from './keep-state.ts';

type Lease = PeerAsk['leases'][number];
type Asking = Pick<PeerAsk, 'id' | 'from' | 'leaseMs' | 'leases'>;
type Answering = Pick<PeerAnswer, 'id' | 'from' | 'promised'>;

/** One message to a peer; the transport adds what makes it authentic and new. */
export interface Question {
  readonly to: string;
  readonly id: string;
  readonly leaseMs: number;
  readonly leases: readonly Lease[];
}

/** P2, P4: the promise that keeps this node out of the group, if one runs. */
export function runningPromise(state: KeepState, group: string, nowMs: number): Promised | undefined {
  const promise = state.promises[group];
  return promise !== undefined && nowMs < promise.untilMs ? promise : undefined;
}

/** P2: what was released is over for ever, and with it whatever was promised to it and to what came before it. */
export function isVoid(promise: Promised, released: number | null): boolean {
  return released !== null && promise.epoch <= released;
}

/** O5: nothing older than this node's own lease can be alive on its word. */
export function isClean(state: KeepState, group: string, nowMs: number): boolean {
  return nowMs >= state.quarantineEndMs && runningPromise(state, group, nowMs) === undefined;
}

/**
 * P1. What is promised here is in `state.promises` from now on; the answer leaves only when the epoch is on disk and the promise in the
 * guard. (The order of the effects is the order in which they count.)
 */
export function onAsk(before: KeepState, { id, from, leaseMs, leases }: Asking, nowMs: number): KeepOutcome {
  // the clock shows steps: a promise ends late by one of them rather than early
  const lengthMs = takeoverWaitMs(leaseMs, before.timing.promiseMarginMs);
  const untilMs = nowMs + CLOCK_GRANULARITY_MS + lengthMs;
  const mayPromise = (lease: Lease) => refusal(before, from, lease, nowMs) === undefined;
  const promised = leases.filter(mayPromise);
  const refused = leases.filter((lease) => !mayPromise(lease));
  const epochs = { ...before.epochs };
  const promises = { ...before.promises };
  for (const { group, epoch } of promised) {
    epochs[group] = Math.max(epoch, epochs[group] ?? 0);
    promises[group] = { owner: from, epoch, untilMs: Math.max(untilMs, sameLease(promises[group], epoch)) };
  }
  const longest = promised.length === 0 ? before.longestPromise : longestWith(before, lengthMs, untilMs, nowMs);
  const state: KeepState = { ...before, epochs, promises, longestPromise: longest };
  const grew = promised.some(({ group, epoch }) => epoch > (before.epochs[group] ?? 0));
  const effects: KeepEffect[] = [];
  if (grew || longest.ms !== before.longestPromise.ms) effects.push(persisted(state));
  for (const { group, epoch } of promised)
    effects.push({ kind: 'promise', group, epoch, owner: from, untilMs: promises[group]?.untilMs ?? untilMs });
  effects.push({ kind: 'answer', to: from, id, promised, refused });
  return { state, effects };
}

/** What has to outlast this process and this host. */
export function persisted(state: KeepState): Extract<KeepEffect, { kind: 'persist' }> {
  const { history, epochs, longestPromise, coordinator } = state;
  return { kind: 'persist', history, epochs, promiseMs: longestPromise.ms, coordinator };
}

function sameLease(promise: Promised | undefined, epoch: number): number {
  return promise?.epoch === epoch ? promise.untilMs : 0;
}

/** P1, and what keeps it simple: a node that has a claim under way is about to be granted the group, and promises nothing until that is over. */
function refusal(state: KeepState, owner: string, { group, epoch }: Lease, nowMs: number): string | undefined {
  const declared = state.groups[group];
  if (declared === undefined) return 'unknown';
  // an owner that the document has just left out goes on until it is heard of; nobody else of the cluster has a say in the group
  if (!declared.on.includes(owner) && state.promises[group]?.owner !== owner) return 'unknown';
  const seen = state.epochs[group] ?? 0;
  if (epoch < seen || epoch > seen + MAX_EPOCH_STEP) return 'epoch';
  if (state.held[group] !== undefined) return 'held';
  if (claimIsUnderWay(state, group, nowMs)) return 'claimed';
  const promise = runningPromise(state, group, nowMs);
  return promise !== undefined && promise.epoch === epoch && promise.owner !== owner ? 'promised' : undefined;
}

/** A second copy of the claim may be granted after the first was refused, so an answer ends nothing. */
function claimIsUnderWay(state: KeepState, group: string, nowMs: number): boolean {
  for (const { claims, sentMs, leaseMs } of state.requests.values())
    if (claims.includes(group) && nowMs < sentMs + leaseMs) return true;
  return false;
}

/** P3: the quarantine of a new incarnation must outlast every promise of this one, also one that was asked for by a longer lease. */
function longestWith(state: KeepState, ms: number, untilMs: number, nowMs: number): KeepState['longestPromise'] {
  const { longestPromise } = state;
  if (ms < longestPromise.ms && nowMs < longestPromise.untilMs) return longestPromise;
  return { ms, untilMs: Math.max(untilMs, longestPromise.untilMs) };
}

/** The voters whose promises count, or will when the guard knows of them. */
function othersOf(state: KeepState, { voters, nextVoters }: Held): string[] {
  return [...new Set([...voters.names, ...(nextVoters?.names ?? [])])].filter((node) => node !== state.node);
}

function mayOutlive(state: KeepState, group: string, held: Held): boolean {
  return (held.phase === 'active' || held.phase === 'draining') && state.groups[group]?.requiresUplink !== true;
}

/** O2: the earliest of what the other voters have promised; undefined if one of them has not. Infinite without any other. */
export function promisedUntil(state: KeepState, held: Held): number | undefined {
  let least = Number.POSITIVE_INFINITY;
  for (const node of held.voters.names) {
    if (node === state.node) continue;
    const until = held.promised[node];
    if (until === undefined) return undefined;
    least = Math.min(least, until);
  }
  return least;
}

/** Would an outage of the coordinator that begins now cost this group nothing? */
export function isBacked(state: KeepState, group: string, held: Held, nowMs: number): boolean {
  return held.kept && mayOutlive(state, group, held) && (promisedUntil(state, held) ?? 0) > nowMs + state.timing.stopMs;
}

/** @returns when the voters are asked next, ms; undefined while there is nothing to ask. With every report, and more often while nobody answers those. */
export function askDue(state: KeepState): number | undefined {
  const any = Object.entries(state.held).some(
    ([group, held]) => mayOutlive(state, group, held) && othersOf(state, held).length > 0,
  );
  if (!any) return undefined;
  const { retryMs, renewMs } = state.timing;
  return state.askedMs + (state.unanswered > 1 ? retryMs : 0.75 * renewMs);
}

/** The messages to send now. Their time of sending is recorded here, before the first byte leaves (O1). */
export function composeAsks(
  state: KeepState,
  newId: () => string,
  nowMs: number,
): { readonly state: KeepState; readonly questions: readonly Question[] } {
  const byPeer = new Map<string, Lease[]>();
  for (const [group, held] of Object.entries(state.held)) {
    if (!mayOutlive(state, group, held)) continue;
    for (const node of othersOf(state, held)) {
      const leases = byPeer.get(node) ?? [];
      byPeer.set(node, leases);
      leases.push({ group, epoch: held.epoch });
    }
  }
  const { leaseMs, stopMs } = state.timing;
  const asks: Record<string, Asked> = Object.fromEntries(
    Object.entries(state.asks).filter(([, { sentMs }]) => nowMs < sentMs + leaseMs),
  );
  const questions: Question[] = [];
  for (const [to, all] of byPeer)
    for (let first = 0; first < all.length; first += MAX_PROMISES_PER_MESSAGE) {
      const question = { to, id: newId(), leaseMs, leases: all.slice(first, first + MAX_PROMISES_PER_MESSAGE) };
      questions.push(question);
      asks[question.id] = { to, sentMs: nowMs, leaseMs, stopMs, leases: question.leases };
    }
  return { state: { ...state, asks, askedMs: nowMs }, questions };
}

/** A lease and how much longer it may be relied on. */
export interface Extension {
  readonly group: string;
  readonly held: Held;
  readonly untilMs: number;
  readonly stopMs: number;
}

/** O1, O2: what an answer is worth: counted from the question that it names, and only together with the promises of all other voters. */
export function onPromised(
  before: KeepState,
  { id, from, promised }: Answering,
): { readonly state: KeepState; readonly extensions: readonly Extension[] } {
  const ask = before.asks[id];
  if (ask === undefined || ask.to !== from) return { state: before, extensions: [] };
  const { [id]: _answered, ...asks } = before.asks;
  let state: KeepState = { ...before, asks };
  const untilMs = ask.sentMs + Math.min(ask.leaseMs, before.timing.leaseMs);
  const extensions: Extension[] = [];
  for (const { group, epoch } of promised) {
    const held = state.held[group];
    if (held === undefined || held.epoch !== epoch || !mayOutlive(state, group, held)) continue;
    if (!ask.leases.some((lease) => lease.group === group && lease.epoch === epoch)) continue;
    const known = { ...held, promised: { ...held.promised, [from]: Math.max(untilMs, held.promised[from] ?? 0) } };
    state = { ...state, held: { ...state.held, [group]: known } };
    const until = promisedUntil(state, known);
    if (until === undefined || !Number.isFinite(until)) continue;
    extensions.push({ group, held: known, untilMs: until, stopMs: Math.min(ask.stopMs, state.timing.stopMs) });
  }
  return { state, extensions };
}

/** O2: `V = {me}` needs no peers. Taken up well before the lease ends, and not at every tick. */
export function alone(state: KeepState, nowMs: number): readonly Extension[] {
  const { leaseMs, renewMs, stopMs } = state.timing;
  return Object.entries(state.held).flatMap(([group, held]) => {
    const only = held.kept && mayOutlive(state, group, held) && promisedUntil(state, held) === Number.POSITIVE_INFINITY;
    const untilMs = nowMs + leaseMs;
    return only && held.deadlineMs < untilMs - 0.75 * renewMs ? [{ group, held, untilMs, stopMs }] : [];
  });
}
