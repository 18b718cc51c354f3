import { hostname } from 'node:os';
import { COPY_CONNECT_MS, OPERATION_TIMES } from '../../schemas/limits.ts';
import { type GroupCgroup, type RunResult, textOf } from '../system/index.ts';
import { type DrbdDeclaration, resourceId } from './declaration.ts';
import { attendDrbd } from './drbd-attend.ts';
import { type Bounds, Drbd, drbdTrouble, type Trouble, unfenced } from './drbd-command.ts';
import type { DrbdConfig } from './drbd-config.ts';
import { copyFrom, type DrbdResourceState, isHalfUp } from './drbd-state.ts';
import { DrbdWatch } from './drbd-watch.ts';
import { inOperation } from './mount-release.ts';
import type { ResourceContext } from './ports.ts';
import type { Attendance, CopyFacts, Holding, OperationTimes, Outcome, Probe, Resource, Severity } from './resource.ts';

/** Pause before what DRBD refuses for now is asked again, unless it says sooner that something has changed. */
const AGAIN_MS = 300;

export interface DrbdOptions {
  readonly drbd?: Drbd;
  readonly watch?: DrbdWatch;
  /** `uname -n` of this machine. */
  readonly host?: string;
}

const sharedDrbd = new Drbd();
const sharedWatch = new DrbdWatch(sharedDrbd);

/** @returns the names of the resources in this node's DRBD configuration; none where there is no DRBD. */
export async function drbdResources(drbd = sharedDrbd): Promise<string[]> {
  const read = await drbd.config();
  return 'resources' in read ? [...read.resources.keys()] : [];
}

/**
 * A DRBD resource: Primary under the lease, Secondary without. The lease decides who; DRBD itself refuses a second Primary that it is
 * connected to, and with `fencing resource-and-stonith` freezes one that has lost its peer until the coordinator knows of that.
 */
export class DrbdResource implements Resource {
  readonly id: string;
  readonly type = 'drbd';
  readonly times: OperationTimes;
  readonly #name: string;
  readonly #host: string;
  readonly #config: DrbdConfig;
  readonly #context: ResourceContext;
  readonly #group: GroupCgroup;
  readonly #drbd: Drbd;
  readonly #watch: DrbdWatch;
  #attendance: Attendance | undefined;
  #promoting = false;
  /** Its disk was taken away by force: it has to be taken down, and up again, before it can be used. */
  #apart = false;

  private constructor(
    declaration: DrbdDeclaration,
    context: ResourceContext,
    group: GroupCgroup,
    config: DrbdConfig,
    options: Required<DrbdOptions>,
  ) {
    this.id = resourceId(declaration);
    this.times = { ...OPERATION_TIMES.drbd, ...declaration.timeouts };
    this.#name = declaration.resource;
    this.#context = context;
    this.#group = group;
    this.#config = config;
    this.#drbd = options.drbd;
    this.#watch = options.watch;
    this.#host = options.host;
  }

  /** @returns the resource, or why this node cannot run it: no drbd-utils, no such resource in its DRBD configuration. */
  static async create(
    declaration: DrbdDeclaration,
    context: ResourceContext,
    options: DrbdOptions = {},
  ): Promise<DrbdResource | { readonly problem: string }> {
    const { drbd = sharedDrbd, watch = sharedWatch, host = hostname() } = options;
    const { resource: name } = declaration;
    if (context.cgroups === undefined)
      return { problem: `drbd ${name}: no cgroup v2, so that a promotion under way could not be ended` };
    const read = await drbd.config();
    if ('problem' in read) return { problem: `drbd ${name}: ${read.problem}` };
    const config = read.resources.get(name);
    if (config === undefined) {
      const names = [...read.resources.keys()];
      return {
        problem: `drbd ${name}: the DRBD configuration of this node has no such resource; it has ${names.join(', ') || 'none at all'} (/etc/drbd.d/*.res, drbdadm sh-resources)`,
      };
    }
    if (!config.hosts.some((one) => one.name === host))
      return {
        problem: `drbd ${name}: its \`on\` sections name ${config.hosts.map((one) => one.name).join(', ') || 'no machine'}, and this machine is ${host} (uname -n)`,
      };
    if (config.hosts.length < 2)
      return { problem: `drbd ${name}: only ${host} is configured for it; it needs an \`on\` section for each node` };
    return new DrbdResource(declaration, context, context.cgroups.group(context.group), config, { drbd, watch, host });
  }

  holdings(): Promise<readonly Holding[]> {
    return Promise.resolve([{ kind: 'drbd', resource: this.#name }]);
  }

  probe({ signal }: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    return this.#probe(signal).catch((error: unknown) => failed('soft', textOf(error)));
  }

  async #probe(signal: AbortSignal): Promise<Probe> {
    const seen = await this.#see({ signal });
    if ('problem' in seen) return failed('soft', seen.problem);
    const { resource } = seen;
    if (resource?.role !== 'Primary') return { state: 'stopped' };
    const { disk, peers } = copyFrom(resource, this.#config, this.#host);
    if (resource.suspended !== 'no') return { state: 'running', note: this.#frozen(resource) };
    if (disk === 'UpToDate') return { state: 'running' };
    if (peers.some((peer) => peer.connection === 'Connected' && peer.disk === 'UpToDate'))
      return { state: 'running', note: `its disk here is ${disk}; it works by that of its peer` };
    return failed('hard', `${this.#name} is Primary with its disk ${disk} and no UpToDate peer: it has no data`);
  }

  #frozen({ suspended }: DrbdResourceState): string {
    const why = suspended.includes('fencing')
      ? 'it has lost a peer, and the coordinator has not been told yet'
      : suspended.includes('quorum')
        ? 'it has no quorum'
        : suspended.includes('user')
          ? `somebody has suspended it (drbdadm resume-io ${this.#name})`
          : 'it has no disk to write to';
    return `writes of ${this.#name} are frozen (${suspended}): ${why}`;
  }

  async start(signal: AbortSignal): Promise<Outcome> {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(this.times.startMs)]);
    this.#promoting = true;
    try {
      return await this.#start(bounded);
    } catch (error) {
      return fail('soft', textOf(error));
    } finally {
      this.#promoting = false;
      void this.#attendance?.look();
    }
  }

  async #start(signal: AbortSignal): Promise<Outcome> {
    const raised = await this.#raise(signal);
    if (!raised.ok) return raised;
    const startedAt = performance.now();
    let why = `${this.#name} was not promoted: the start was called off`;
    for (;;) {
      const seen = await this.#see({ signal });
      if (signal.aborted) return fail('soft', why);
      if ('problem' in seen) return fail('soft', seen.problem);
      const { resource } = seen;
      if (resource === undefined) return fail('soft', `${this.#name} was taken down while it was being promoted`);
      if (resource.role === 'Primary') return { ok: true };
      const { disk, peers } = copyFrom(resource, this.#config, this.#host);
      const young = raised.fresh && performance.now() - startedAt < COPY_CONNECT_MS;
      if (
        young &&
        (disk === 'Attaching' || disk === 'Negotiating' || peers.some(({ connection }) => connection === 'Connecting'))
      ) {
        await this.#change(signal);
        continue;
      }
      if (disk !== 'UpToDate' && disk !== 'Consistent')
        return fail('hard', `${this.#name} is ${disk} here and is not promoted: that would be old or incomplete data`);
      const refused = await this.#promote(disk, signal);
      if (refused === undefined) continue;
      // what was called off has said nothing: the refusal before it is the reason
      if (signal.aborted) return fail('soft', refused.is === 'other' ? why : refused.reason);
      // its old Primary may be dead without DRBD having noticed yet: ping-int and ping-timeout of its configuration say for how long
      if (!['two-primaries', 'transient', 'unfenced'].includes(refused.is))
        return fail(refused.is === 'data' ? 'hard' : 'soft', refused.reason);
      why = refused.reason;
      await this.#change(signal);
    }
  }

  async #promote(
    disk: string,
    signal: AbortSignal,
  ): Promise<{ readonly is: Trouble; readonly reason: string } | undefined> {
    const result = await this.#adm(['primary', this.#name], signal);
    if (result.code === 0) return undefined;
    const trouble = drbdTrouble(this.#name, result);
    // what is Consistent becomes UpToDate by the handler's word, and DRBD then complains of the data
    return trouble.is === 'data' && disk === 'Consistent' ? unfenced(this.#name) : trouble;
  }

  /** `fresh`: it was brought up just now, and may still be looking for its peers. */
  async #raise(
    signal: AbortSignal,
  ): Promise<(Outcome & { readonly ok: false }) | { readonly ok: true; readonly fresh: boolean }> {
    const seen = await this.#see({ signal });
    if ('problem' in seen) return fail('soft', seen.problem);
    if (seen.resource !== undefined && !isHalfUp(seen.resource)) return { ok: true, fresh: false };
    const result = await this.#adm(['up', this.#name], signal);
    if (result.code === 0) return { ok: true, fresh: true };
    // the standing work may have been quicker
    const again = await this.#see({ signal });
    if ('resource' in again && again.resource !== undefined && !isHalfUp(again.resource))
      return { ok: true, fresh: true };
    return fail('soft', drbdTrouble(this.#name, result).reason, result.output);
  }

  async stop(signal: AbortSignal): Promise<Outcome> {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(this.times.stopMs)]);
    try {
      return await this.#demote(() => this.#adm(['secondary', this.#name], bounded), bounded);
    } catch (error) {
      return fail('soft', textOf(error));
    } finally {
      void this.#attendance?.look();
    }
  }

  async #demote(demote: () => Promise<RunResult>, signal: AbortSignal): Promise<Outcome> {
    for (let reason = `${this.#name} was not demoted in time`; ; ) {
      const seen = await this.#see({});
      if ('problem' in seen) return fail('soft', seen.problem);
      if (seen.resource?.role !== 'Primary') return { ok: true };
      if (signal.aborted) return fail('soft', reason);
      const result = await demote();
      if (result.code === 0) continue;
      const trouble = drbdTrouble(this.#name, result);
      if (!result.aborted) reason = trouble.reason;
      if (trouble.is !== 'in-use' && trouble.is !== 'transient') return fail('soft', reason, result.output);
      await this.#change(signal);
    }
  }

  /**
   * DRBD 9 fails what is open and gives the role up. 8.4 has no such thing; what waits for a frozen Primary there cannot even be killed. Its
   * way is the forced detach: with neither peer nor disk all waiting writes fail, none of which was acknowledged; then it can be demoted,
   * and is taken down, because it has to attach anew.
   */
  async forceStop(signal: AbortSignal): Promise<Outcome> {
    try {
      const seen = await this.#see({});
      if ('problem' in seen) return fail('soft', seen.problem);
      const { resource } = seen;
      if (resource?.role !== 'Primary') return { ok: true };
      const version = this.#drbd.version();
      if (version !== undefined && version.major >= 9) return await this.#forceDemote(signal);
      // straight to the kernel: drbdadm reads files first, and starts more programs than there may be time for
      const minors = minorsOf(resource);
      const kept = resource.suspended === 'no' ? undefined : await this.#detach(resource, signal);
      if (kept !== undefined) return kept;
      return await this.#demote(() => this.#setupEach(minors, (minor) => ['secondary', minor], signal), signal);
    } catch (error) {
      return fail('soft', textOf(error));
    } finally {
      void this.#attendance?.look();
    }
  }

  /**
   * What was written before the freeze fails, none of it acknowledged.
   * @returns the failure if the disk is still there. Nothing is resumed then: it would be written after all, and the two copies would
   * have nothing in common any more.
   */
  async #detach(resource: DrbdResourceState, signal: AbortSignal): Promise<Outcome | undefined> {
    this.#apart = true;
    // what an earlier try has done is not done again: all of it has to fit into the time of one
    const whole = minorsOf(resource, ({ disk }) => disk !== 'Diskless');
    const detached =
      whole.length === 0 ? undefined : await this.#setupEach(whole, (minor) => ['detach', minor, '--force'], signal);
    if (detached !== undefined && detached.code !== 0)
      return fail('soft', drbdTrouble(this.#name, detached).reason, detached.output);
    await this.#setupEach(minorsOf(resource), (minor) => ['resume-io', minor], signal);
    return undefined;
  }

  /** Modules before 9.1 do not know the force: then in order. */
  async #forceDemote(signal: AbortSignal): Promise<Outcome> {
    const forced = await this.#demote(() => this.#setup(['secondary', this.#name, '--force'], signal), signal);
    return forced.ok ? forced : await this.#demote(() => this.#setup(['secondary', this.#name], signal), signal);
  }

  /** For each volume, to the end; @returns the first that failed, else the last. */
  async #setupEach(
    minors: readonly string[],
    args: (minor: string) => readonly string[],
    signal: AbortSignal,
  ): Promise<RunResult> {
    const results: RunResult[] = [];
    for (const minor of minors) results.push(await this.#setup(args(minor), signal));
    const [first] = results;
    return results.find(({ code }) => code !== 0) ?? first ?? (await this.#setup(['secondary', this.#name], signal));
  }

  watch(changed: (what: string) => void): () => void {
    let well = true;
    return this.#watch.listen(this.#name, (resource) => {
      const was = well;
      well = resource?.role === 'Primary' && Object.values(resource.devices).every(({ disk }) => disk === 'UpToDate');
      if (was && !well)
        changed(
          `DRBD: ${resource === undefined ? 'taken down' : `${resource.role}, ${copyFrom(resource, this.#config, this.#host).disk}`}`,
        );
    });
  }

  attend(tell: (copy: CopyFacts) => void): Attendance {
    const attendance = attendDrbd({
      drbd: this.#drbd,
      watch: this.#watch,
      name: this.#name,
      host: this.#host,
      log: this.#context.log,
      promoting: () => this.#promoting,
      apart: () => this.#apart,
      onDown: () => {
        this.#apart = false;
      },
      tell,
    });
    this.#attendance = attendance;
    return attendance;
  }

  async #see(
    bounds: Bounds,
  ): Promise<{ readonly resource: DrbdResourceState | undefined } | { readonly problem: string }> {
    const seen = await this.#drbd.snapshot(bounds);
    return 'problem' in seen ? seen : { resource: seen.state.resources[this.#name] };
  }

  /** In a cgroup of its own, so that the guard ends it with everything else when the lease ends. */
  #adm(args: readonly string[], signal: AbortSignal) {
    return inOperation(this.#group, (cgroup) =>
      this.#drbd.adm(args, { cgroup, signal, timeoutMs: this.times.startMs }),
    );
  }

  /**
   * For the forced stop, which only takes away. Not in the group's cgroup: a guard that has fired kills all that is in there as long as
   * something is held, and on a slow machine a command of DRBD needs longer than it leaves.
   */
  #setup(args: readonly string[], signal: AbortSignal) {
    return this.#drbd.setup(args, { signal });
  }

  /** Until DRBD tells of a change, or for a moment. */
  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, AGAIN_MS);
    const unlisten = this.#watch.listen(this.#name, () => resolve());
    const abort = () => resolve();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (!signal.aborted) await promise;
    } finally {
      clearTimeout(timer);
      unlisten();
      signal.removeEventListener('abort', abort);
    }
  }
}

function minorsOf({ devices }: DrbdResourceState, which: (device: { disk: string }) => boolean = () => true): string[] {
  return Object.values(devices).flatMap((device) =>
    device.minor !== undefined && which(device) ? [`${device.minor}`] : [],
  );
}

function failed(severity: Severity, reason: string): Probe {
  return { state: 'failed', severity, reason };
}

function fail(severity: Severity, reason: string, output?: string): Outcome & { readonly ok: false } {
  return { ok: false, severity, reason, ...(output === undefined || output.trim() === '' ? {} : { output }) };
}
