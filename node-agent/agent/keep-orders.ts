/** What the answer to a renewal orders about a group that this node runs, beside the time that it gives. Pure, as keep.ts. */
import type { GroupReport, LeaseAnswer } from '../../schemas/wire.ts';
import type { Held, KeepEffect, Request } from './keep-state.ts';

type Renewed = Extract<LeaseAnswer, { verdict: 'renewed' }>;

export interface Obeyed {
  readonly held: Held;
  readonly effects: readonly KeepEffect[];
}

/**
 * `release` is never taken back. `run` and `pause` follow each other, so an answer that was overtaken by that to a later request says
 * nothing any more. Cleanups are counted: the first answer of an epoch tells where the count stands.
 */
export function obey(held: Held, answer: Renewed, request: Request): Obeyed {
  const { group, order, cleanups } = answer;
  if (held.phase !== 'active') return { held, effects: [] };
  if (order === 'release') return drain(held, group, 'the coordinator asks for the group’s release');
  if (request.number < (held.orderedBy ?? 0)) return { held, effects: [] };
  const effects: KeepEffect[] = [];
  if (held.cleanups !== undefined && cleanups > held.cleanups)
    effects.push({ kind: 'cleanup', group, askedMs: request.sentMs });
  const paused = order === 'pause';
  if (paused !== (held.paused ?? false)) effects.push({ kind: 'pause', group, paused });
  return { held: { ...held, orderedBy: request.number, cleanups, paused }, effects };
}

/** A report of a hold says which cleanups its node had heard of: without it a new hold could not be told from the one that was forgiven. */
export function withCleanups(report: GroupReport, held: Held | undefined): GroupReport {
  const { cleanups } = held ?? {};
  return report.state !== 'held' || cleanups === undefined ? report : { ...report, cleanups };
}

export function drain(held: Held, group: string, because: string): Obeyed {
  return {
    held: { ...held, phase: 'draining', paused: false },
    effects: [{ kind: 'stop', group, how: 'graceful', why: because }],
  };
}
