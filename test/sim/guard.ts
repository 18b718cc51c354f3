/** The fuse of a host, as dist/holdfast-guard behaves: same refusals, same memory, same order when it fires. */
import { stopInstant } from '../../node-agent/agent/keep-lease.ts';
import { GUARD_LATENESS_MS } from '../../schemas/limits.ts';
import type { Voters } from '../../schemas/wire.ts';
import type { Host } from './host.ts';
import { Violation } from './referee.ts';
import { Timer } from './world.ts';

/** What the forced release takes at most: below the smallest δ of the profiles. */
const RELEASE_MS = 45;

export interface GuardLease {
  epoch: number;
  deadlineMs: number;
  fireMs: number;
  voters: Voters;
  fired: boolean;
  readonly watch: Timer;
}

export interface GuardPromise {
  readonly epoch: number;
  readonly owner: string;
  readonly untilMs: number;
}

interface Times {
  readonly group: string;
  readonly epoch: number;
  readonly deadlineMs: number;
  readonly fireMs: number;
}

export class Guard {
  readonly #host: Host;
  readonly groups = new Map<string, GuardLease>();
  readonly promises = new Map<string, GuardPromise>();
  incarnation: string | undefined;
  quarantineEndMs = 0;
  alive = true;

  constructor(host: Host) {
    this.#host = host;
  }

  /** @returns why not. A promise for the group is over with it. */
  arm({ group, epoch, deadlineMs, fireMs }: Times, voters: Voters): string | undefined {
    const now = this.#host.clock.exactMs();
    const known = this.groups.get(group);
    if (known !== undefined && epoch < known.epoch) return 'a higher epoch is recorded';
    if (known !== undefined && this.#tooLate(known, now)) return 'late';
    if (now >= fireMs) return 'late';
    this.promises.delete(group);
    if (known?.epoch === epoch) {
      known.voters = voters;
      return this.#extend(known, deadlineMs, fireMs);
    }
    known?.watch.set(Number.POSITIVE_INFINITY);
    const watch = new Timer(this.#host.world, () => this.#host.whenAwake(() => this.#due(group, lease)));
    const lease: GuardLease = { epoch, deadlineMs, fireMs, voters, fired: false, watch };
    this.groups.set(group, lease);
    return this.#extend(lease, deadlineMs, fireMs);
  }

  pet({ group, epoch, deadlineMs, fireMs }: Times): string | undefined {
    const known = this.groups.get(group);
    if (known === undefined || known.epoch !== epoch) return 'unknown';
    const now = this.#host.clock.exactMs();
    if (this.#tooLate(known, now) || now >= fireMs) return 'late';
    return this.#extend(known, deadlineMs, fireMs);
  }

  hold(group: string): string | undefined {
    const known = this.groups.get(group);
    if (known === undefined) return 'unknown';
    return this.#tooLate(known, this.#host.clock.exactMs()) ? 'late' : undefined;
  }

  /** @returns why not: a group that runs here is not promised to anybody, nor a lower epoch while a higher one is. */
  promise(group: string, { epoch, owner, untilMs }: GuardPromise): string | undefined {
    if (this.groups.has(group)) return 'the group is armed';
    const known = this.promises.get(group);
    const runs = known !== undefined && known.untilMs > this.#host.clock.exactMs();
    if (runs && epoch < known.epoch) return 'a promise of a higher epoch runs';
    // the owner may rely on the longest
    const longest = runs && epoch === known.epoch ? Math.max(untilMs, known.untilMs) : untilMs;
    this.promises.set(group, { epoch, owner, untilMs: longest });
    return undefined;
  }

  /** @returns false: something of it is still held, so it stays armed. */
  disarm(group: string, epoch: number): boolean {
    const known = this.groups.get(group);
    if (known?.epoch !== epoch) return true;
    if (this.#host.holdsAny(group)) return false;
    known.watch.set(Number.POSITIVE_INFINITY);
    this.groups.delete(group);
    return true;
  }

  /** The host slept: the kernel's timers that are due come before anything else. */
  wake(): void {
    for (const [group, lease] of this.groups)
      if (this.#host.clock.exactMs() >= lease.fireMs) this.#fire(group, lease, 0);
  }

  /** Its clock runs at another rate. */
  rewatch(): void {
    for (const lease of this.groups.values()) this.#watch(lease);
  }

  #tooLate(lease: GuardLease, now: number): boolean {
    return lease.fired || now >= lease.fireMs;
  }

  #extend(lease: GuardLease, deadlineMs: number, fireMs: number): undefined {
    lease.deadlineMs = Math.max(lease.deadlineMs, deadlineMs);
    lease.fireMs = Math.max(lease.fireMs, fireMs);
    this.#watch(lease);
  }

  /** A timer on the instant, as late as the machine lets it be, W at the most. */
  #watch(lease: GuardLease): void {
    if (lease.fired) return;
    const { world, clock, troubles } = this.#host;
    const latenessMs = world.random.between(0, troubles.guardLate ? GUARD_LATENESS_MS : 3);
    lease.watch.set(world.now + clock.trueMs(Math.max(0, lease.fireMs - clock.exactMs()) + latenessMs));
  }

  #due(group: string, lease: GuardLease): void {
    if (!this.alive) return;
    if (this.#host.clock.exactMs() < lease.fireMs) this.#watch(lease);
    else this.#fire(group, lease, this.#host.world.random.between(1, RELEASE_MS));
  }

  /** An agent that is not kept from it pets in time: what it holds with time left is never taken from it. */
  #judge(group: string, lease: GuardLease): void {
    const { agent, clock, troubles, name } = this.#host;
    if (agent === undefined || agent.process.paused || troubles.busyMs > 0) return;
    const held = agent.keep.held[group];
    if (held === undefined || held.epoch !== lease.epoch || held.phase === 'lost' || held.phase === 'stuck') return;
    const leftMs = stopInstant(agent.keep, held) - clock.bootMs();
    if (leftMs > 0)
      throw new Violation(
        `the guard of ${name} takes ${group} (epoch ${lease.epoch}) from its agent, which runs and need not stop it for ${leftMs} ms`,
      );
  }

  /** Nobody petted: the agent dies first, then everything of the group. */
  #fire(group: string, lease: GuardLease, takesMs: number): void {
    const { world, name } = this.#host;
    if (!this.alive || this.groups.get(group) !== lease || lease.fired) return;
    if (world.product.without.has('fuse')) return;
    this.#judge(group, lease);
    lease.fired = true;
    world.count('fuse fired');
    world.note(name, () => `the guard fires for ${group} epoch ${lease.epoch}`);
    this.#host.killAgent('the guard fired', true);
    const release = () => {
      if (this.alive) this.#host.forceDown(group);
    };
    if (takesMs === 0) release();
    else this.#host.afterOwn(takesMs, release);
  }
}
