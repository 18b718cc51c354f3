/**
 * Carries out what the lease keeper answers, in the one order that matters: an epoch is on disk, then the fuse is armed, then the first
 * resource starts; everything is down, the guard has forgotten it, then it is given back; a promise is on disk and in the guard, then it is
 * answered. What stops a group is never queued behind anything.
 */
import type { Release } from '../../schemas/wire.ts';
import { GuardError } from '../guard/index.ts';
import { bootMs, type Log, textOf } from '../system/index.ts';
import type { Fuse } from './fuse.ts';
import type { Groups } from './groups.ts';
import type { KeepEffect, KeepEvent, KeepState } from './keep.ts';
import type { Lan } from './lan.ts';
import type { SeenEpochs } from './seen-epochs.ts';
import type { Telling } from './telling.ts';

type Effect<Kind extends KeepEffect['kind']> = Extract<KeepEffect, { kind: Kind }>;

export interface EffectsOptions {
  readonly groups: Groups;
  readonly fuse: Fuse;
  readonly seen: SeenEpochs;
  readonly lan: Lan;
  readonly telling: Telling;
  readonly log: Log;
  /** The keeper's state as it is when it is asked for. */
  readonly keep: () => KeepState;
  readonly decide: (event: KeepEvent) => void;
  /** A group is down, and its lease given back or left to run out. */
  readonly onSettled: () => void;
}

export class Effects {
  readonly #groups: EffectsOptions['groups'];
  readonly #fuse: EffectsOptions['fuse'];
  readonly #seen: EffectsOptions['seen'];
  readonly #lan: EffectsOptions['lan'];
  readonly #telling: EffectsOptions['telling'];
  readonly #log: EffectsOptions['log'];
  readonly #keep: EffectsOptions['keep'];
  readonly #decide: EffectsOptions['decide'];
  readonly #onSettled: EffectsOptions['onSettled'];
  /** Why each neighbour was last promised nothing: said once, though it asks several times a second. */
  readonly #unpromised = new Map<string, string>();

  constructor(around: EffectsOptions) {
    this.#groups = around.groups;
    this.#fuse = around.fuse;
    this.#seen = around.seen;
    this.#lan = around.lan;
    this.#telling = around.telling;
    this.#log = around.log;
    this.#keep = around.keep;
    this.#decide = around.decide;
    this.#onSettled = around.onSettled;
  }

  carryOut(effects: readonly KeepEffect[]): void {
    const promised: Promise<void>[] = [];
    for (const effect of effects) {
      switch (effect.kind) {
        case 'persist':
          this.#seen.save(effect);
          break;
        case 'arm':
          this.#arm(effect);
          break;
        case 'promise':
          promised.push(this.#fuse.promise(effect));
          break;
        case 'answer':
          this.#answer(effect, promised);
          break;
        case 'run':
          this.#start(effect.group, effect.epoch);
          break;
        case 'pet':
          this.#pet(effect);
          break;
        case 'stop':
          this.#groups.get(effect.group)?.down(effect.how);
          break;
        case 'pause':
          this.#groups.get(effect.group)?.pause(effect.paused);
          break;
        case 'cleanup':
          this.#groups.get(effect.group)?.cleanup(effect.askedMs);
          break;
        case 'configure':
          this.#groups.configure(effect.config);
          break;
        case 'alone':
        case 'lost':
        case 'refused':
        case 'reconnected':
          this.#telling.tell(effect);
          break;
        default:
          effect satisfies never;
      }
    }
  }

  /** P1: nothing is answered before it is certain to outlast this process and this host. */
  #answer({ to, id, promised, refused }: Effect<'answer'>, noted: readonly Promise<void>[]): void {
    Promise.all([this.#seen.onDisk(this.#keep), ...noted]).then(
      () => {
        this.#lan.answer(to, id, { promised, refused });
        this.#unpromised.delete(to);
      },
      (error: unknown) => {
        this.#lan.answer(to, id, undefined);
        const reason = textOf(error);
        if (this.#unpromised.get(to) === reason) return;
        this.#unpromised.set(to, reason);
        this.#log.warn(`nothing was promised to ${to}: ${reason}`);
      },
    );
  }

  /** The first time before the group starts; again when the guard is to know of other voters. */
  #arm(effect: Effect<'arm'>): void {
    const { group, epoch, voters } = effect;
    const again = this.#keep().held[group]?.kept === true;
    const stillHeld = () => (again ? this.#keep().held[group]?.epoch === epoch : this.#runs(group, epoch));
    this.#fuse.arm(effect, again ? Promise.resolve() : this.#seen.saved, stillHeld);
    this.#fuse.armed(group).then(
      () => this.#decide({ type: 'kept', group, epoch, version: voters.version }),
      (error: unknown) => {
        // the first time the start judges it
        if (!again || !stillHeld() || !(error instanceof GuardError)) return;
        this.#decide({
          type: 'unprotected',
          group,
          why: `its voters could not be written to the guard: ${textOf(error)}`,
        });
      },
    );
  }

  /** Is this lease one to run the group by? */
  #runs(group: string, epoch: number): boolean {
    const held = this.#keep().held[group];
    return held?.epoch === epoch && held.phase === 'active';
  }

  /** P2, O4: the epoch on disk, the fuse armed, and only then the first start. */
  #start(group: string, epoch: number): void {
    this.#fuse.armed(group).then(
      () => {
        if (this.#runs(group, epoch)) this.#groups.get(group)?.up(epoch, this.#keep().held[group]?.paused ?? false);
      },
      (error: unknown) => {
        if (!this.#runs(group, epoch)) return;
        const runner = this.#groups.get(group);
        const reason = `not started: ${textOf(error)}`;
        // a lost guard is no fault of the group; what cannot be written here cannot be run here until somebody looks
        if (error instanceof GuardError) this.#decide({ type: 'unprotected', group, why: reason });
        else runner?.giveUp({ resource: 'state', severity: 'hard', reason });
      },
    );
  }

  #pet(effect: Effect<'pet'>): void {
    const stillHeld = () => this.#keep().held[effect.group]?.epoch === effect.epoch;
    this.#fuse.pet(effect, stillHeld).catch((error: unknown) => {
      if (!stillHeld()) return;
      this.#log.warn(`${effect.group}: the fuse was not petted: ${textOf(error)}`);
      this.#decide({ type: 'unprotected', group: effect.group, why: 'its fuse could not be petted' });
    });
  }

  /**
   * The resources say that they are down. O5: the lease is given back only when the guard, which knows what was made exclusive under
   * it, finds nothing of it left; without that certainty it is left to run out.
   */
  async onDown(name: string, failure: Release['failure']): Promise<void> {
    const epoch = this.#keep().held[name]?.epoch;
    if (epoch !== undefined) {
      // a lease whose fuse is only being armed would have the group started in the middle of this
      this.#decide({ type: 'closing', group: name });
      const closing = await this.#fuse.close(name, epoch);
      if (closing.is === 'held') {
        this.#groups.stuck(name, closing.what);
        this.onStuck(name);
        return;
      }
      if (closing.is === 'unsure') {
        this.#log.warn(`${name}: not given back, because the guard does not answer: ${closing.why}`);
        this.#onSettled();
        return;
      }
    }
    if (this.#keep().held[name]?.epoch === epoch && epoch !== undefined)
      this.#decide({ type: 'stopped', group: name, ...(failure === undefined ? {} : { failure }) });
    this.#groups.settled(name);
    this.#onSettled();
  }

  /**
   * Under a lease the fuse will end it. Without one, the node may not take the group, and says why. Where the fuse has acted, the guard goes on
   * ending whatever runs in the group's cgroup, this agent's own looks too, and nothing could ever be found to be down: it is to forget, which it
   * does when it finds nothing held.
   */
  onStuck(name: string): void {
    const held = this.#keep().held[name];
    if (held?.phase === 'lost' && bootMs() >= held.deadlineMs)
      this.#fuse
        .forgetFired(name, held.epoch)
        .catch((error: unknown) => this.#log.warn(`${name}: the guard goes on with it: ${textOf(error)}`));
    this.#decide({ type: 'stuck', group: name });
    this.#decide({ type: 'news' });
  }
}
