/**
 * How the agent carries out what concerns a lease, in the order of loop.ts: an epoch is on disk, then the fuse is armed, then the first resource
 * starts; a promise is on disk and in the guard, and then it is answered.
 */
import { type KeepEffect, persisted } from '../../node-agent/agent/keep.ts';
import type { Agent } from './agent.ts';
import { type Armed, type Closing, Fuse } from './agent-fuse.ts';
import { Ending, EpochsFile, ended } from './disk.ts';
import type { Host } from './host.ts';

type Effect<K extends KeepEffect['kind']> = Extract<KeepEffect, { kind: K }>;

export class Leases {
  readonly #agent: Agent;
  readonly #files: EpochsFile;
  readonly #fuse: Fuse;
  /** The newest write. */
  #saved: Ending<boolean> = ended(true);

  constructor(host: Host, agent: Agent) {
    this.#agent = agent;
    this.#files = new EpochsFile(host.disk, agent.process, host.troubles);
    this.#fuse = new Fuse(agent.process, agent.guard);
  }

  save(effect: Effect<'persist'>): void {
    this.#saved = this.#files.save(effect);
  }

  promise(effect: Effect<'promise'>): Ending<boolean> {
    return this.#fuse.promise(effect);
  }

  close(group: string, epoch: number): Ending<Closing> {
    return this.#fuse.close(group, epoch);
  }

  /** The process has ended. */
  abandon(): void {
    this.#files.abandon();
  }

  /** What this node has seen is on disk; what could not be written is tried again. */
  #onDisk(): Ending<boolean> {
    const written = new Ending<boolean>();
    this.#saved.once((ok) => {
      if (ok) return written.end(true);
      this.#saved = this.#files.save(persisted(this.#agent.keep));
      this.#saved.once((again) => written.end(again));
    });
    return written;
  }

  /** P1: nothing is answered before it is certain to outlast this process and this host. */
  answer(effect: Effect<'answer'>, noted: readonly Ending<boolean>[]): void {
    const say = () => this.#agent.process.soon(() => this.#agent.lan.answer(effect));
    const [first, ...others] = noted;
    if (first === undefined) this.#onDisk().once((ok) => (ok ? say() : undefined));
    else first.once((ok) => (ok ? this.answer(effect, others) : undefined));
  }

  /** The first time before the group starts; again when the guard is to know of other voters. */
  arm(effect: Effect<'arm'>): void {
    const { group, epoch, voters } = effect;
    const again = this.#agent.keep.held[group]?.kept === true;
    const stillHeld = () => (again ? this.#agent.keep.held[group]?.epoch === epoch : this.#runs(group, epoch));
    this.#fuse.arm(effect, again ? ended(true) : this.#saved, stillHeld);
    this.#fuse.armed(group).once((armed) => {
      if (armed.is === 'armed') this.#agent.decide({ type: 'kept', group, epoch, version: voters.version });
      else if (again && stillHeld() && armed.by === 'guard')
        this.#agent.decide({
          type: 'unprotected',
          group,
          why: `its voters could not be written to the guard: ${armed.why}`,
        });
    });
  }

  /** Is this lease one to run the group by? */
  #runs(group: string, epoch: number): boolean {
    const held = this.#agent.keep.held[group];
    return held?.epoch === epoch && held.phase === 'active';
  }

  /** P2, O4: the epoch on disk, the fuse armed, and only then the first start. */
  start(group: string, epoch: number): void {
    const judge = (armed: Armed) => {
      if (!this.#runs(group, epoch)) return;
      if (armed.is === 'armed') this.#agent.groups.get(group)?.up(epoch, this.#agent.keep.held[group]?.paused ?? false);
      else if (armed.by === 'guard')
        this.#agent.decide({ type: 'unprotected', group, why: `not started: ${armed.why}` });
      else
        this.#agent.groups.giveUp(group, { resource: 'state', severity: 'hard', reason: `not started: ${armed.why}` });
    };
    this.#fuse.armed(group).once(judge);
  }

  pet(effect: Effect<'pet'>): void {
    const { group, epoch } = effect;
    const stillHeld = () => this.#agent.keep.held[group]?.epoch === epoch;
    this.#fuse.pet(effect, stillHeld, (why) => {
      if (stillHeld()) this.#agent.decide({ type: 'unprotected', group, why: `its fuse could not be petted: ${why}` });
    });
  }
}
