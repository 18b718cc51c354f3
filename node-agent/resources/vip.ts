import { ANNOUNCE_AFTER_MS, ANNOUNCE_EVERY_MS, CONFLICT_PROBE_MS, OPERATION_TIMES } from '../../schemas/limits.ts';
import type { NetworkInterface } from '../system/index.ts';
import { textOf } from '../system/index.ts';
import { resourceId, type VipDeclaration } from './declaration.ts';
import type { ResourceContext } from './ports.ts';
import {
  couldNotLook,
  type Holding,
  type OperationTimes,
  type Outcome,
  type Probe,
  type Resource,
  type Severity,
} from './resource.ts';
import { choosePlace, holdersOf, type NoPlace, type Place, parseVipAddress, type VipAddress } from './vip-place.ts';

/**
 * An address that moves between nodes. It is added with a finite lifetime that the guard refreshes, so that the kernel takes it
 * away when nobody is left to do it, and it is announced for as long as it is owned: switches forget, and neighbours are lied to.
 */
export class VipResource implements Resource {
  readonly id: string;
  readonly type = 'vip';
  readonly times: OperationTimes;
  readonly #vip: VipAddress;
  readonly #wanted: string | undefined;
  readonly #context: ResourceContext;
  readonly #watchers = new Set<(what: string) => void>();
  /** What `holdings` answered last: a start keeps to it, because the guard was told just that. */
  #planned: Place | NoPlace | undefined;
  /** Where the address is, or was last put. */
  #place: Place | undefined;
  /** From a start or a good monitor to the next stop. */
  #owned = false;
  #timer: NodeJS.Timeout | undefined;
  #endListening: (() => void) | undefined;

  private constructor(declaration: VipDeclaration, vip: VipAddress, context: ResourceContext) {
    this.id = resourceId(declaration);
    this.times = { ...OPERATION_TIMES.vip, ...declaration.timeouts };
    this.#vip = vip;
    this.#wanted = declaration.interface;
    this.#context = context;
  }

  /**
   * @returns the resource, or why this node cannot run it. An address that the node has for good (without a lifetime) is the node's own:
   * taking it for a virtual one would mean to delete it wherever the group does not run.
   */
  static async create(
    declaration: VipDeclaration,
    context: ResourceContext,
  ): Promise<VipResource | { readonly problem: string }> {
    const vip = parseVipAddress(declaration.address);
    if ('problem' in vip) return vip;
    if (declaration.interface !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(declaration.interface))
      return {
        problem: `vip ${vip.address}: ${JSON.stringify(declaration.interface)} cannot be the name of an interface`,
      };
    const own = holdersOf(await context.addresses.read({ only: vip.address }), vip.address);
    const permanent = own.find(({ entry }) => !entry.finite);
    if (permanent !== undefined)
      return {
        problem: `vip ${vip.address} is configured on ${permanent.interface} for good: it is this node's own address, or was added by hand; take it out of the node's network configuration (ip address delete ${vip.address} dev ${permanent.interface})`,
      };
    return new VipResource(declaration, vip, context);
  }

  /** One address, in the exact shape that it has or will get on the interface. None where no place for it was found; a start then fails with the reason. */
  async holdings(): Promise<readonly Holding[]> {
    const { addresses } = this.#context;
    this.#planned = this.#choose(await addresses.read());
    if ('problem' in this.#planned) return [];
    const { interface: name, prefixLength } = this.#planned;
    return [{ kind: 'vip', interface: name, address: `${this.#vip.address}/${prefixLength}` }];
  }

  probe(options: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    return this.#probe(options).catch(couldNotLook);
  }

  async #probe({ recurring, signal }: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    const failed = (severity: Severity, reason: string): Probe => ({ state: 'failed', severity, reason });
    const { addresses } = this.#context;
    const found = holdersOf(await addresses.read({ only: this.#vip.address, signal }), this.#vip.address);
    if (found.length === 0) return { state: 'stopped' };
    const expected = await this.#expectedInterface(signal);
    const stray = found.find((holder) => expected !== undefined && holder.interface !== expected);
    if (stray !== undefined) return failed('hard', this.#strayReason(stray.interface, expected));
    const holder = found[0];
    if (holder === undefined) return { state: 'stopped' };
    if (holder.entry.dadFailed)
      return failed('soft', `another host answers for ${this.#vip.address} (duplicate address detection failed)`);
    if (!holder.up) return failed('soft', `the link of ${holder.interface} is down`);
    this.#place ??= {
      interface: holder.interface,
      prefixLength: holder.entry.prefixLength,
      neighbours: holder.neighbours,
    };
    if (recurring) this.#own();
    return { state: 'running' };
  }

  start(signal: AbortSignal): Promise<Outcome> {
    return this.#start(signal).catch(failure);
  }

  async #start(signal: AbortSignal): Promise<Outcome> {
    const { addresses, announcer } = this.#context;
    const interfaces = await addresses.read({ signal });
    const place = this.#planned ?? this.#choose(interfaces);
    if ('problem' in place) return { ok: false, severity: place.severity, reason: place.problem };
    const found = holdersOf(interfaces, this.#vip.address);
    const stray = found.find((holder) => holder.interface !== place.interface);
    if (stray !== undefined)
      return { ok: false, severity: 'hard', reason: this.#strayReason(stray.interface, place.interface) };
    const here = found[0]?.entry;
    if (here !== undefined && !here.dadFailed && !here.tentative) {
      this.#place = { ...place, prefixLength: here.prefixLength };
      this.#announceFromNow();
      return { ok: true };
    }
    // What duplicate address detection is not done with, or has given up, never answers: begin anew.
    if (here !== undefined) await addresses.delete(place.interface, this.#vip.address, here.prefixLength, signal);

    if (place.neighbours) {
      const answer = await announcer.probe(place.interface, this.#vip.address, CONFLICT_PROBE_MS);
      if (answer.taken)
        return fail(
          `${this.#vip.address} is in use on the segment of ${place.interface} by ${answer.mac}; it was not added`,
        );
    }
    // The lease may have ended while the neighbours were asked.
    if (signal.aborted) return fail(`${this.#vip.address} was not added: the start was called off`);
    return this.#put(place, signal);
  }

  /** Adds the address, looks whether it is really there, announces it. */
  async #put(place: Place, signal: AbortSignal): Promise<Outcome> {
    const { addresses, cgroups, group, log } = this.#context;
    const lifetimeSeconds = this.#context.lifetimeSeconds();
    const cgroup = cgroups?.group(group).operation();
    const added = await addresses
      .add({ ...place, address: this.#vip.address, lifetimeSeconds, cgroup: cgroup?.path }, signal)
      .finally(() => cgroup?.remove());
    if (added.ok) {
      this.#place = place;
      this.#announceFromNow();
    }
    const found = holdersOf(await addresses.read({ only: this.#vip.address }), this.#vip.address);
    const entry = found.find((holder) => holder.interface === place.interface)?.entry;
    if (entry === undefined || entry.dadFailed) {
      this.#disown();
      if (entry !== undefined) await addresses.delete(place.interface, this.#vip.address, entry.prefixLength);
      if (entry !== undefined)
        return fail(`another host answers for ${this.#vip.address} (duplicate address detection failed)`);
      return fail(
        `${this.#vip.address} could not be added to ${place.interface}: ${added.ok ? 'it is not there' : added.reason}`,
      );
    }
    if (!added.ok) {
      this.#place = { ...place, prefixLength: entry.prefixLength };
      this.#announceFromNow();
    }
    if (entry.family === 4 && entry.prefixLength < 32 && !addresses.promoteSecondaries(place.interface))
      log.warn(
        `${this.#vip.address}/${entry.prefixLength} is the first address of its subnet on ${place.interface} and promote_secondaries is 0: later addresses of the subnet go when it goes`,
      );
    return { ok: true };
  }

  stop(signal: AbortSignal): Promise<Outcome> {
    this.#disown();
    return this.#remove(signal, false).catch(failure);
  }

  /** Like stop, and takes the address from every interface of the node that has it, whoever put it there. */
  forceStop(signal: AbortSignal): Promise<Outcome> {
    this.#disown();
    return this.#remove(signal, true).catch(failure);
  }

  async #remove(signal: AbortSignal, everywhere: boolean): Promise<Outcome> {
    const { addresses } = this.#context;
    const look = async () => holdersOf(await addresses.read({ only: this.#vip.address, signal }), this.#vip.address);
    const found = await look();
    const expected = everywhere || found.length === 0 ? undefined : await this.#expectedInterface(signal);
    let problem = '';
    for (const { interface: name, entry } of found) {
      if (expected !== undefined && name !== expected) continue;
      const deleted = await addresses.delete(name, this.#vip.address, entry.prefixLength, signal);
      if (!deleted.ok) problem = `: ${deleted.reason}`;
    }
    const left = found.length === 0 ? found : await look();
    const first = left[0];
    if (first === undefined) {
      this.#place = undefined;
      return { ok: true };
    }
    if (expected !== undefined && first.interface !== expected)
      return fail(this.#strayReason(first.interface, expected));
    return fail(`${this.#vip.address} is still on ${first.interface} after it was deleted${problem}`);
  }

  /** Puts a deleted address back where it was, without asking the neighbours: a valid lease says that it is ours. */
  async repair(signal: AbortSignal): Promise<Outcome> {
    if (signal.aborted) return fail('the repair was called off');
    const place = this.#place;
    if (place === undefined) return this.start(signal);
    const links = await this.#context.addresses.read({ signal });
    const link = links.find((candidate) => candidate.name === place.interface);
    if (link?.up !== true) return fail(`the link of ${place.interface} is down`);
    return this.#put(place, signal).catch(failure);
  }

  watch(changed: (what: string) => void): () => void {
    const watcher = (what: string) => changed(what);
    this.#watchers.add(watcher);
    this.#listen();
    return () => {
      this.#watchers.delete(watcher);
      this.#listen();
    };
  }

  /** Listens to the kernel exactly while the address is owned or somebody watches. */
  #listen(): void {
    const needed = this.#owned || this.#watchers.size > 0;
    if (!needed) {
      this.#endListening?.();
      this.#endListening = undefined;
      return;
    }
    if (this.#endListening !== undefined) return;
    const interfaceName = () => this.#place?.interface ?? this.#wanted ?? '';
    this.#endListening = this.#context.addresses.watch({
      address: this.#vip.address,
      get interface() {
        return interfaceName();
      },
      notify: (event) => {
        switch (event) {
          case 'deleted':
            if (this.#owned) this.#tell('address deleted');
            return;
          case 'dadfailed':
            return this.#tell('another host answers for the address');
          case 'link up':
            if (this.#owned) this.#announceFromNow();
            return this.#tell(`link of ${interfaceName()} is up`);
          case 'link down':
            return this.#tell(`link of ${interfaceName()} is down`);
          case 'lost':
            return this.#tell('address events may have been missed');
        }
      },
    });
  }

  #tell(what: string): void {
    for (const watcher of [...this.#watchers]) watcher(what);
  }

  #own(): void {
    if (this.#owned) return;
    this.#announceFromNow();
  }

  #disown(): void {
    this.#owned = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#listen();
  }

  #announceFromNow(): void {
    this.#owned = true;
    this.#listen();
    clearTimeout(this.#timer);
    this.#announce(0);
  }

  /** Announcement number n; each one sets the timer of the next. */
  #announce(n: number): void {
    const place = this.#place;
    if (!this.#owned || place === undefined) return;
    const at = ANNOUNCE_AFTER_MS[n] ?? 0;
    const next = ANNOUNCE_AFTER_MS[n + 1];
    this.#timer = setTimeout(() => this.#announce(n + 1), next === undefined ? ANNOUNCE_EVERY_MS : next - at);
    this.#timer.unref();
    if (!place.neighbours) return;
    this.#context.announcer.announce(place.interface, this.#vip.address).catch((error: unknown) => {
      this.#context.log.warn(`${this.#vip.address} could not be announced on ${place.interface}: ${textOf(error)}`);
    });
  }

  /** The interface that is declared, or that the address would be put on; where neither is known, the one that it is on already. */
  #choose(interfaces: readonly NetworkInterface[]): Place | NoPlace {
    const chosen = choosePlace(interfaces, this.#vip, this.#wanted);
    const [only, second] = holdersOf(interfaces, this.#vip.address);
    if (only === undefined || second !== undefined) return chosen;
    const present = { interface: only.interface, prefixLength: only.entry.prefixLength, neighbours: only.neighbours };
    if ('problem' in chosen) return this.#wanted === undefined ? present : chosen;
    return chosen.interface === only.interface ? present : chosen;
  }

  async #expectedInterface(signal: AbortSignal): Promise<string | undefined> {
    const known = this.#wanted ?? this.#place?.interface;
    if (known !== undefined) return known;
    const chosen = this.#choose(await this.#context.addresses.read({ signal }));
    return 'problem' in chosen ? undefined : chosen.interface;
  }

  #strayReason(found: string, expected: string | undefined): string {
    return `${this.#vip.address} is on ${found}, where Holdfast did not put it (it belongs on ${expected ?? 'no interface'}); remove it: ip address delete ${this.#vip.address} dev ${found}`;
  }
}

function fail(reason: string): Outcome {
  return { ok: false, severity: 'soft', reason };
}

function failure(error: unknown): Outcome {
  return fail(textOf(error));
}
