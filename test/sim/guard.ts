/** The fuse of a host, as dist/holdfast-guard behaves: same refusals, same order when it fires. */
import { GUARD_LATENESS_MS } from '../../schemas/limits.ts';
import type { Host } from './host.ts';

/** What the forced release takes at most: below the smallest δ of the profiles. */
const RELEASE_MS = 45;

export interface GuardLease {
  epoch: number;
  deadlineMs: number;
  fireMs: number;
  fired: boolean;
}

export class Guard {
  readonly #host: Host;
  readonly groups = new Map<string, GuardLease>();
  incarnation: string | undefined;
  quarantineEndMs = 0;
  alive = true;

  constructor(host: Host) {
    this.#host = host;
  }

  /** @returns why not. */
  arm(group: string, epoch: number, deadlineMs: number, fireMs: number): string | undefined {
    const now = this.#host.exactMs();
    const known = this.groups.get(group);
    if (known !== undefined && epoch < known.epoch) return 'a higher epoch is recorded';
    if (known !== undefined && this.#tooLate(known, now)) return 'late';
    if (now >= fireMs) return 'late';
    const lease = known !== undefined && known.epoch === epoch ? known : { epoch, deadlineMs, fireMs, fired: false };
    this.groups.set(group, lease);
    return this.#extend(group, lease, deadlineMs, fireMs);
  }

  pet(group: string, epoch: number, deadlineMs: number, fireMs: number): string | undefined {
    const known = this.groups.get(group);
    if (known === undefined || known.epoch !== epoch) return 'unknown';
    if (this.#tooLate(known, this.#host.exactMs()) || this.#host.exactMs() >= fireMs) return 'late';
    return this.#extend(group, known, deadlineMs, fireMs);
  }

  hold(group: string): string | undefined {
    const known = this.groups.get(group);
    if (known === undefined) return 'unknown';
    return this.#tooLate(known, this.#host.exactMs()) ? 'late' : undefined;
  }

  /** @returns false: something of it is still held, so it stays armed. */
  disarm(group: string, epoch: number): boolean {
    if (this.groups.get(group)?.epoch !== epoch) return true;
    if (this.#host.holdsAny(group)) return false;
    this.groups.delete(group);
    return true;
  }

  /** Nobody petted: the agent dies first, then everything of the group. */
  fire(group: string, lease: GuardLease): void {
    if (!this.alive || this.groups.get(group) !== lease || lease.fired) return;
    if (this.#host.exactMs() < lease.fireMs) {
      this.#watch(group, lease);
      return;
    }
    lease.fired = true;
    this.#host.world.count('fuse fired');
    this.#host.world.note(this.#host.name, () => `the guard fires for ${group} epoch ${lease.epoch}`);
    this.#host.killAgent('the guard fired', true);
    this.#host.world.after(this.#host.world.random.between(1, RELEASE_MS), () => {
      if (this.alive) this.#host.forceDown(group);
    });
  }

  #tooLate(lease: GuardLease, now: number): boolean {
    return lease.fired || now >= lease.fireMs;
  }

  #extend(group: string, lease: GuardLease, deadlineMs: number, fireMs: number): undefined {
    lease.deadlineMs = Math.max(lease.deadlineMs, deadlineMs);
    lease.fireMs = Math.max(lease.fireMs, fireMs);
    this.#watch(group, lease);
  }

  /** A timer on the instant, as late as the machine lets it be, W at the most. */
  #watch(group: string, lease: GuardLease): void {
    const { random } = this.#host.world;
    const lateness = random.between(0, random.chance(0.1) ? GUARD_LATENESS_MS : 3);
    this.#host.afterOwn(Math.max(0, lease.fireMs - this.#host.exactMs()) + lateness, () => this.fire(group, lease));
  }
}
