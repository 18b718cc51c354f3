/**
 * What outlives an agent on one node: its disk, and its guard as node-agent/guard/protocol.c keeps it. Both refuse what comes in the wrong
 * order, as a disagreement: an epoch must be on disk before its lease is armed, and both disk and guard must know of a promise before it
 * is answered.
 */
import type { KeepEffect, Promised } from '../../../../node-agent/agent/keep.ts';
import type { GuardGroup, GuardPromise, GuardState } from '../../../../node-agent/guard/index.ts';

export const GROUP = 'db';

type Effect<Kind extends KeepEffect['kind']> = Extract<KeepEffect, { kind: Kind }>;

/** The code does something in an order in which it must not be done. */
export class OutOfOrder extends Error {
  override name = 'OutOfOrder';
}

export interface GuardLease {
  readonly epoch: number;
  readonly voters: Effect<'arm'>['voters'];
  readonly deadlineMs: number;
  readonly fireMs: number;
  readonly fired: boolean;
}

type Disk = Omit<Effect<'persist'>, 'kind'>;

export class Guard {
  disk: Disk = { history: null, epochs: {}, promiseMs: 0, coordinator: null };
  lease: GuardLease | undefined;
  promised: Promised | undefined;
  quarantineEndMs = 0;

  /** @returns what puts everything back as it is now. */
  save(): () => void {
    const { disk, lease, promised, quarantineEndMs } = this;
    return () => {
      Object.assign(this, { disk, lease, promised, quarantineEndMs });
    };
  }

  persist({ kind: _persist, ...disk }: Effect<'persist'>): void {
    this.disk = disk;
  }

  arm({ epoch, voters, deadlineMs, fireMs }: Effect<'arm'>): void {
    if ((this.disk.epochs[GROUP] ?? 0) < epoch) throw new OutOfOrder(`epoch ${epoch} is armed before it is on disk`);
    const same = this.lease?.epoch === epoch ? this.lease : undefined;
    if (same?.fired === true) throw new OutOfOrder(`epoch ${epoch} is armed again after its fuse has fired`);
    this.lease = {
      epoch,
      voters,
      deadlineMs: Math.max(deadlineMs, same?.deadlineMs ?? 0),
      fireMs: Math.max(fireMs, same?.fireMs ?? 0),
      fired: false,
    };
    this.promised = undefined;
  }

  pet({ epoch, deadlineMs, fireMs }: Effect<'pet'>): void {
    const { lease } = this;
    if (lease?.epoch !== epoch || lease.fired) return;
    this.lease = {
      ...lease,
      deadlineMs: Math.max(deadlineMs, lease.deadlineMs),
      fireMs: Math.max(fireMs, lease.fireMs),
    };
  }

  promise({ owner, epoch, untilMs }: Effect<'promise'>, nowMs: number): void {
    if (this.lease !== undefined) throw new OutOfOrder('a promise while the lease is held here');
    const running = this.promised !== undefined && nowMs < this.promised.untilMs ? this.promised : undefined;
    if (running !== undefined && epoch < running.epoch) throw new OutOfOrder('a promise below one that runs');
    const least = running?.epoch === epoch ? running.untilMs : 0;
    this.promised = { owner, epoch, untilMs: Math.max(untilMs, least) };
  }

  /** P1: is an answer certain to outlast agent and host? */
  mayAnswer({ promised }: Effect<'answer'>, nowMs: number): void {
    for (const { epoch } of promised) {
      if ((this.disk.epochs[GROUP] ?? 0) < epoch) throw new OutOfOrder('an answer before its epoch is on disk');
      if (this.promised?.epoch !== epoch || nowMs >= this.promised.untilMs)
        throw new OutOfOrder('an answer before its promise is in the guard');
      if (this.disk.promiseMs < this.promised.untilMs - nowMs - 10)
        throw new OutOfOrder('an answer before the disk knows how long the promise is');
    }
  }

  fire(): void {
    if (this.lease !== undefined) this.lease = { ...this.lease, fired: true };
  }

  /** P3: another incarnation, as beginning.ts begins it. */
  begin(quarantineEndMs: number): void {
    this.lease = undefined;
    this.promised = undefined;
    this.quarantineEndMs = quarantineEndMs;
  }

  state(incarnation: string, nowMs: number): GuardState {
    const groups = new Map<string, GuardGroup>();
    if (this.lease !== undefined) {
      const { epoch, voters, deadlineMs, fireMs, fired } = this.lease;
      const lease = { epoch, voters, deadlineMs, fireAtMs: fireMs, holdings: [] };
      groups.set(
        GROUP,
        fired
          ? { ...lease, state: 'fired', firedAtMs: fireMs, latenessUs: 0, clean: true }
          : { ...lease, state: 'armed' },
      );
    }
    const promises = new Map<string, GuardPromise>();
    if (this.promised !== undefined && nowMs < this.promised.untilMs) promises.set(GROUP, this.promised);
    return { incarnation, notes: new Map(), groups, promises };
  }
}
