/**
 * The agent's dealings with the guard about one lease each: arm before anything starts, pet while it runs, and close before it is given
 * back. Their order is kept here, whatever the disk and the guard take their time for.
 */
import { type GuardClient, GuardError, type GuardState } from '../guard/index.ts';
import { type Addresses, type Cgroups, type Log, processIdentity } from '../system/index.ts';
import type { KeepEffect, KeepState } from './keep.ts';

type Arm = Extract<KeepEffect, { kind: 'arm' }>;
type Pet = Extract<KeepEffect, { kind: 'pet' }>;

/** How a lease's end in the guard went: `closed`: nothing of it is held; `held`: something cannot be taken away; `unsure`: no answer. */
export type Closing =
  | { readonly is: 'closed' }
  | { readonly is: 'held'; readonly what: string }
  | { readonly is: 'unsure'; readonly why: string };

export interface FuseOptions {
  readonly guard: Pick<GuardClient, 'arm' | 'pet' | 'hold' | 'disarm' | 'promise' | 'state'>;
  /** Identity of the guard's process, to tell a dead one from one that does not answer. */
  readonly process: { readonly pid: number; readonly identity: string | undefined };
  readonly cgroups: Cgroups | undefined;
  readonly addresses: Addresses;
  readonly log: Log;
  /** The watchdog could not be armed. */
  readonly onNotArmed?: (why: string) => void;
}

/** Why a guard does not forget a lease that has fired: something of it is left, or it knows nothing of it any more. */
const FORGOTTEN_OR_HELD: ReadonlySet<string> = new Set(['held', 'unknown', 'epoch']);

export class Fuse {
  readonly #options: FuseOptions;
  /** By group: settles when the lease is armed, or will not be. */
  readonly #arming = new Map<string, Promise<void>>();
  /** Groups whose lease is being closed: it is neither armed nor petted any more. */
  readonly #closing = new Set<string>();

  constructor(options: FuseOptions) {
    this.#options = options;
  }

  /**
   * O4, P2: arms when the epoch is on disk.
   * @param stillHeld asked again after the disk: a lease that was given back meanwhile must not be armed.
   */
  arm(effect: Arm, persisted: Promise<void>, stillHeld: () => boolean): void {
    const armed = this.#arm(effect, persisted, stillHeld);
    // whoever waits for it judges its failure
    armed.catch(() => undefined);
    this.#arming.set(effect.group, armed);
  }

  /** Settles when the group's fuse is armed; rejects when it will not be. */
  armed(group: string): Promise<void> {
    return this.#arming.get(group) ?? Promise.reject(new Error('the fuse was not armed'));
  }

  async #arm(effect: Arm, persisted: Promise<void>, stillHeld: () => boolean): Promise<void> {
    await persisted;
    if (!stillHeld() || this.#closing.has(effect.group))
      throw new Error('the lease was given back before it was armed');
    const { guard, cgroups } = this.#options;
    const { group, epoch, deadlineMs, fireMs } = effect;
    try {
      await guard.arm({ group, epoch, deadlineMs, fireAtMs: fireMs }, effect.voters);
    } catch (error) {
      if (error instanceof GuardError && error.code === 'watchdog') this.#options.onNotArmed?.(error.message);
      throw error;
    }
    await this.#holdCgroup(effect.group, cgroups);
  }

  async #holdCgroup(group: string, cgroups: Cgroups | undefined): Promise<void> {
    const cgroup = cgroups?.group(group);
    if (cgroup === undefined) return;
    cgroup.create();
    await this.#options.guard.hold(group, { kind: 'cgroup', path: cgroup.path });
  }

  /** P1: what is promised is in the guard before it is answered. @throws GuardError. */
  promise({ group, epoch, owner, untilMs }: Extract<KeepEffect, { kind: 'promise' }>): Promise<void> {
    return this.#options.guard.promise({ group, epoch, owner, untilMs });
  }

  /** A lease that this agent found armed: the operations of its predecessor end, and the cgroup is known to the guard. */
  async adopt(group: string): Promise<void> {
    const { cgroups } = this.#options;
    await cgroups?.group(group).killOperations();
    await this.#holdCgroup(group, cgroups);
  }

  /** @returns false if the lease is no longer to be petted. @throws GuardError. */
  async pet(effect: Pet, stillHeld: () => boolean): Promise<boolean> {
    await (this.#arming.get(effect.group) ?? Promise.resolve());
    if (!stillHeld() || this.#closing.has(effect.group)) return false;
    const { group, epoch, deadlineMs, fireMs } = effect;
    await this.#options.guard.pet({ group, epoch, deadlineMs, fireAtMs: fireMs });
    return true;
  }

  /**
   * O5: before a lease is given back the guard must have forgotten it, which it does only when it finds nothing of it held. What is
   * left (of a resource that is no longer in the plan here) is ended by force first. A guard that does not answer may still have the
   * lease armed, and a successor of this agent would take it up again: unless it is proven dead, nothing is given back.
   */
  async close(group: string, epoch: number): Promise<Closing> {
    this.#closing.add(group);
    try {
      await (this.#arming.get(group) ?? Promise.resolve()).catch(() => undefined);
      return await this.#close(group, epoch);
    } finally {
      this.#arming.delete(group);
      this.#closing.delete(group);
    }
  }

  async #close(group: string, epoch: number): Promise<Closing> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#options.guard.disarm(group, epoch);
        return { is: 'closed' };
      } catch (error) {
        if (!(error instanceof GuardError)) throw error;
        if (error.code === 'unknown' || error.code === 'epoch') return { is: 'closed' };
        if (error.code !== 'held') return this.guardIsDead() ? { is: 'closed' } : { is: 'unsure', why: error.message };
        if (attempt === 2)
          return { is: 'held', what: `the guard finds something held after everything was stopped: ${error.message}` };
      }
      await this.#endLeftovers(group);
    }
  }

  async #endLeftovers(group: string): Promise<void> {
    const { guard, cgroups, addresses, log } = this.#options;
    log.warn(`${group}: something of it runs that is not in its plan here; it is ended by force`);
    await cgroups?.group(group).kill();
    const holdings = (await guard.state()).groups.get(group)?.holdings ?? [];
    for (const holding of holdings) {
      if (holding.kind !== 'vip') continue;
      const [address = '', prefixLength] = holding.address.split('/');
      await addresses.delete(holding.interface, address, Number(prefixLength));
    }
  }

  /**
   * A lease that has fired, with nothing of it held any more; where something is, the guard goes on, and what it has forgotten it is not asked for.
   * @throws GuardError for any other reason.
   */
  async forgetFired(group: string, epoch: number): Promise<void> {
    try {
      await this.#options.guard.disarm(group, epoch);
    } catch (error) {
      if (!(error instanceof GuardError) || !FORGOTTEN_OR_HELD.has(error.code)) throw error;
    }
  }

  /** Proven: its process is gone. A connection that ended proves nothing. */
  guardIsDead(): boolean {
    const { pid, identity } = this.#options.process;
    return identity === undefined || processIdentity(pid) !== identity;
  }
}

/**
 * What a living guard remembers: leases that still run go on, those that have fired or are about to are to be stopped. Whether the
 * group is paused the guard does not know: until the coordinator has said, nothing of it is touched.
 *
 * A lease that is lost already is not petted any more, also not to have the guard leave this agent more of S, as `lose` does: its agent has
 * died, so the guard begins at the instant it was told then (decision 0018) and has the rest of S, while this agent has not looked at
 * anything yet. It needs no pet either: what it finds down the guard forgets, armed or fired.
 */
export function heldBy(found: GuardState, nowMs: number, stopMs: number): KeepState['held'] {
  return Object.fromEntries(
    [...found.groups].map(([group, lease]) => [
      group,
      {
        epoch: lease.epoch,
        voters: lease.voters,
        kept: true,
        promised: {},
        deadlineMs: lease.deadlineMs,
        coordinatorMs: lease.deadlineMs,
        paused: true,
        phase: lease.state === 'armed' && nowMs < lease.deadlineMs - stopMs ? 'active' : 'lost',
      } as const,
    ]),
  );
}
