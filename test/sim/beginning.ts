/** Who an agent is when it starts, and what it knows, as in node-agent/agent/beginning.ts: its guard and its disk tell. */
import { groupsOf, type KeepState, newKeep } from '../../node-agent/agent/keep.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import type { Guard } from './guard.ts';
import type { Host } from './host.ts';

/** @returns what the keeper begins with. The guard has its incarnation, and with a new one its quarantine. */
export function beginning(host: Host, guard: Guard): KeepState {
  const { disk, world } = host;
  const { without } = world.product;
  const { history, promiseMs, coordinator, epochs } = disk.epochs;
  const timing = disk.config?.timing ?? LEASE_PROFILES.default;
  const nowMs = host.clock.bootMs();
  const adopted = guard.incarnation !== undefined;
  const incarnation = guard.incarnation ?? host.newIncarnation();
  if (!adopted) {
    const sawNothing = Object.keys(epochs).length === 0 || without.has('quarantine');
    guard.quarantineEndMs = sawNothing ? 0 : nowMs + Math.max(timing.promiseMs, promiseMs);
    guard.incarnation = incarnation;
  }
  world.note(host.name, () => `agent starts, ${adopted ? 'goes on as' : 'new incarnation'} ${incarnation}`);
  const known = {
    node: host.node,
    incarnation,
    timing,
    revision: disk.config?.revision ?? 0,
    groups: groupsOf(disk.config),
    history,
    epochs,
    coordinator,
    promises: without.has('promises-in-guard') ? {} : Object.fromEntries(guard.promises),
    longestPromise: { ms: promiseMs, untilMs: nowMs + promiseMs },
    quarantineEndMs: guard.quarantineEndMs,
    held: heldBy(guard, nowMs, timing.stopMs),
  };
  return newKeep(known, nowMs);
}

/** As fuse.ts `heldBy`: leases that still run go on, those that have fired or are about to are to be stopped. */
function heldBy(guard: Guard, nowMs: number, stopMs: number): KeepState['held'] {
  return Object.fromEntries(
    [...guard.groups].map(([group, { epoch, voters, deadlineMs, fired }]) => [
      group,
      {
        epoch,
        voters,
        kept: true,
        promised: {},
        deadlineMs,
        coordinatorMs: deadlineMs,
        paused: true,
        phase: !fired && nowMs < deadlineMs - stopMs ? 'active' : 'lost',
      } as const,
    ]),
  );
}
