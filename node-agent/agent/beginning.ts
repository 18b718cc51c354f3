/**
 * Who an agent is when it starts, and what it knows: the guard it finds alive makes it the incarnation that was, with the leases that the
 * guard remembers; a new guard makes a new incarnation with its quarantine (P3).
 */
import { randomUUID } from 'node:crypto';
import { type LastWord, timingWith } from '../../schemas/fuse.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import type { NodeConfig } from '../../schemas/wire.ts';
import type { GuardClient, GuardState } from '../guard/index.ts';
import { bootMs } from '../system/index.ts';
import { heldBy } from './fuse.ts';
import type { Identity } from './identity.ts';
import { groupsOf, type KeepState, newKeep } from './keep.ts';
import type { Epochs } from './state-file.ts';

export interface Beginning {
  readonly state: KeepState;
  readonly found: GuardState;
  /** The incarnation goes on: to the protocol this agent was merely paused. */
  readonly adopted: boolean;
}

/** @throws {GuardError} when the guard does not take what has to be noted there before anything else happens. */
export async function beginning(
  guard: GuardClient,
  identity: Identity,
  saved: Epochs,
  timing: LeaseTiming,
  lastWord: LastWord,
  config: NodeConfig | undefined,
): Promise<Beginning> {
  // Epochs of another life of the cluster, from before this node joined again, say nothing about this one.
  const otherLife = identity.history !== null && saved.history !== null && saved.history !== identity.history;
  const epochs = otherLife ? {} : saved.epochs;
  const found = await guard.state();
  const adopted = found.incarnation !== undefined;
  const incarnation = found.incarnation ?? newIncarnation(identity.node);
  if (!adopted) {
    // A node that has seen no epoch has promised nothing to anyone: it would have been written down first. Noted before the incarnation,
    // which so always has its quarantine; as long as the longest promise that the one before may have given.
    const sawNothing = Object.keys(saved.epochs).length === 0;
    const endMs = sawNothing ? 0 : bootMs() + Math.max(timing.promiseMs, saved.promiseMs);
    await guard.note('quarantine', String(endMs));
    await guard.setIncarnation(incarnation);
  }
  const quarantineEndMs = Number((await guard.state()).notes.get('quarantine') ?? 0);
  const nowMs = bootMs();
  const state = newKeep(
    {
      node: identity.node,
      incarnation,
      timing: timingWith(timing, lastWord),
      lastWord,
      revision: 0,
      groups: groupsOf(config),
      history: identity.history ?? saved.history,
      epochs,
      coordinator: otherLife ? null : saved.coordinator,
      promises: Object.fromEntries(found.promises),
      // how long those run that the incarnation gave before is not known any more; at most so long
      longestPromise: { ms: saved.promiseMs, untilMs: nowMs + saved.promiseMs },
      quarantineEndMs,
      held: heldBy(found, nowMs, timing.stopMs),
    },
    nowMs,
  );
  return { state, found, adopted };
}

/** What messages allow is 64 characters, a name may have 63: it only helps a reader. */
export function newIncarnation(node: string): string {
  return `${node.slice(0, 50)}-${randomUUID().slice(0, 13)}`;
}
