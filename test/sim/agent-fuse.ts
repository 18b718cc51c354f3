/** The agent's dealings with the guard about one lease each, in the order of node-agent/agent/fuse.ts. */
import type { KeepEffect } from '../../node-agent/agent/keep.ts';
import { Ending, ended } from './disk.ts';
import type { Guard } from './guard.ts';
import type { Process } from './process.ts';

type Effect<K extends KeepEffect['kind']> = Extract<KeepEffect, { kind: K }>;

/** How an arming went: by whom it was refused. */
export type Armed =
  | { readonly is: 'armed' }
  | { readonly is: 'refused'; readonly by: 'guard' | 'disk' | 'agent'; readonly why: string };
const ARMED: Armed = { is: 'armed' };
export type Closing = 'closed' | 'held';

export class Fuse {
  readonly #process: Process;
  readonly #guard: Guard;
  /** By group: ends when the lease is armed, or will not be. */
  readonly #arming = new Map<string, Ending<Armed>>();
  /** Groups whose lease is being closed: it is neither armed nor petted any more. */
  readonly #closing = new Set<string>();

  constructor(process: Process, guard: Guard) {
    this.#process = process;
    this.#guard = guard;
  }

  /** O4, P2: arms when the epoch is on disk. */
  arm(effect: Effect<'arm'>, onDisk: Ending<boolean>, stillHeld: () => boolean): void {
    const arming = new Ending<Armed>();
    this.#arming.set(effect.group, arming);
    const settle = (outcome: Armed) =>
      this.#process.later(this.#process.random.between(0, 3), () => arming.end(outcome));
    onDisk.once((ok) => {
      if (!ok) return settle({ is: 'refused', by: 'disk', why: 'the epoch could not be written' });
      if (!stillHeld() || this.#closing.has(effect.group))
        return settle({ is: 'refused', by: 'agent', why: 'the lease was given back before it was armed' });
      this.#process.later(0, () => {
        const why = this.#guard.alive ? this.#guard.arm(effect, effect.voters) : 'it is lost';
        settle(why === undefined ? ARMED : { is: 'refused', by: 'guard', why });
      });
    });
  }

  /** When the group's fuse is armed, or will not be. */
  armed(group: string): Ending<Armed> {
    return this.#arming.get(group) ?? ended<Armed>({ is: 'refused', by: 'agent', why: 'the fuse was not armed' });
  }

  pet(effect: Effect<'pet'>, stillHeld: () => boolean, refused: (why: string) => void): void {
    const pet = () => {
      if (!stillHeld() || this.#closing.has(effect.group)) return;
      this.#process.soon(() => {
        const why = this.#guard.alive ? this.#guard.pet(effect) : 'it is lost';
        if (why !== undefined) this.#process.later(0, () => refused(why));
      });
    };
    const arming = this.#arming.get(effect.group);
    if (arming === undefined) pet();
    else arming.once((armed) => (armed.is === 'armed' ? pet() : refused(armed.why)));
  }

  /** P1. @returns whether the guard has it. */
  promise({ group, epoch, owner, untilMs }: Effect<'promise'>): Ending<boolean> {
    const noted = new Ending<boolean>();
    this.#process.soon(() => {
      const why = this.#guard.alive ? this.#guard.promise(group, { epoch, owner, untilMs }) : 'it is lost';
      if (why === undefined) noted.end(true);
      else this.#process.soon(() => noted.end(false));
    });
    return noted;
  }

  /** O5: before a lease is given back the guard must have forgotten it, which it does only when it finds nothing of it held. */
  close(group: string, epoch: number): Ending<Closing> {
    this.#closing.add(group);
    const closed = new Ending<Closing>();
    const close = () =>
      this.#process.soon(() => {
        const closing = this.#close(group, epoch);
        this.#arming.delete(group);
        this.#closing.delete(group);
        closed.end(closing);
      });
    (this.#arming.get(group) ?? ended(ARMED)).once(close);
    return closed;
  }

  #close(group: string, epoch: number): Closing {
    // a guard that is proven dead has nothing armed
    if (!this.#guard.alive || this.#guard.disarm(group, epoch)) return 'closed';
    // what is left, of a resource that is in no plan any more, is ended by force, and mostly that helps
    if (this.#process.random.chance(0.3)) return 'held';
    this.#process.host.forceDown(group);
    return this.#guard.disarm(group, epoch) ? 'closed' : 'held';
  }
}
