/**
 * The standing work of a DRBD replica: brought up where the kernel does not know it, looked at whenever the kernel says that
 * something has changed, and told. Never promoted, and never connected anew where a split brain or a person has ended the connection.
 */
import { COPY_LOOK_MS } from '../../schemas/limits.ts';
import type { Log } from '../system/index.ts';
import { textOf } from '../system/index.ts';
import { type Drbd, drbdTrouble } from './drbd-command.ts';
import { type DrbdConfig, optionOf } from './drbd-config.ts';
import { copyFrom, type DrbdResourceState, isHalfUp, type Meeting, meetingAfter } from './drbd-state.ts';
import type { DrbdWatch } from './drbd-watch.ts';
import type { Attendance, CopyFacts } from './resource.ts';

export interface AttendOptions {
  readonly drbd: Drbd;
  readonly watch: DrbdWatch;
  readonly name: string;
  readonly host: string;
  readonly log: Log;
  /** Whether a start is under way: from then on the kernel may make it Primary at any time. */
  readonly promoting: () => boolean;
  /** A forced stop has taken its disk away; `onDown`: it was taken down, and may be brought up again. */
  readonly apart: () => boolean;
  readonly onDown: () => void;
  readonly tell: (copy: CopyFacts) => void;
}

/** Our handler, wherever the program lies: the kernel asks it before a Primary goes on without a peer. */
export function isOurHandler(command: string | undefined): boolean {
  return (
    command !== undefined && /(?:^|\/)holdfast-drbd(?:\s+--state-dir[\s=]\S+)?\s+(?:un)?fence-peer\b/.test(command)
  );
}

export function attendDrbd(options: AttendOptions): Attendance {
  const attendant = new Attendant(options);
  return { look: () => attendant.look(), end: () => attendant.end() };
}

/** A look is waited for by the fence-peer handler, and with it by every write. */
const QUICK = { timeoutMs: 1_500 } as const;

/**
 * Pause before a command that was not answered in time is tried again. It doubles, as a machine that does not answer has enough to do, until
 * the look at every COPY_LOOK_MS comes sooner.
 */
const UNANSWERED_MS = 1_000;

/** What of a copy does not change with the kernel's state. */
interface Known {
  readonly config: DrbdConfig | undefined;
  readonly guarded: boolean;
  readonly problem: string | undefined;
}

class Attendant {
  readonly #options: AttendOptions;
  #known: Known | undefined;
  #readMs = Number.NEGATIVE_INFINITY;
  #raisedMs = Number.NEGATIVE_INFINITY;
  #raiseProblem: string | undefined;
  #meeting: Meeting = 'unknown';
  #connectedMs = Number.NEGATIVE_INFINITY;
  /** One look at a time, in order; what is told last was seen last. */
  #busy: Promise<unknown> = Promise.resolve();
  #queued: Promise<boolean> | undefined;
  #ended = false;
  /** One more look is on its way, and how many came to nothing since the last answer. */
  #again: NodeJS.Timeout | undefined;
  #unanswered = 0;
  /** Looks in a row that saw nothing. */
  #unseen = 0;
  #told = false;
  readonly #timer: NodeJS.Timeout;
  readonly #unlisten: () => void;

  constructor(options: AttendOptions) {
    this.#options = options;
    this.#unlisten = options.watch.listen(options.name, (resource) => {
      this.#meeting = meetingAfter(this.#meeting, resource);
      void this.look();
    });
    this.#timer = setInterval(() => void this.look(), COPY_LOOK_MS);
    this.#timer.unref();
    void this.look();
  }

  end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    clearTimeout(this.#again);
    this.#unlisten();
  }

  /** A look that has not begun yet sees everything that was so when it was asked for. */
  look(): Promise<boolean> {
    if (this.#queued !== undefined) return this.#queued;
    const look = this.#busy.then(async () => {
      this.#queued = undefined;
      if (this.#ended) return false;
      try {
        return await this.#look();
      } catch (error) {
        this.#options.log.warn(`drbd ${this.#options.name}: could not be looked at: ${textOf(error)}`);
        return false;
      }
    });
    this.#busy = look;
    this.#queued = look;
    return look;
  }

  async #look(): Promise<boolean> {
    const { drbd, name, host, tell } = this.#options;
    let known = await this.#read();
    let seen = await drbd.snapshot(QUICK);
    if ('state' in seen && seen.state.resources[name]?.role === 'Secondary' && this.#options.apart()) {
      await drbd.setup(['down', name], QUICK);
      this.#options.onDown();
      this.#known = undefined;
      seen = await drbd.snapshot(QUICK);
    }
    if ('state' in seen && this.#isDown(seen.state.resources[name]) && (await this.#raise())) {
      known = await this.#read();
      seen = await drbd.snapshot(QUICK);
    }
    if ('state' in seen && this.#isRefused(seen.state.resources[name], known) && (await this.#connect()))
      seen = await drbd.snapshot(QUICK);
    if (this.#ended) return false;
    this.#unseen = 'problem' in seen ? this.#unseen + 1 : 0;
    // one look that fails (a command that was not answered in time) says nothing about the copy: what was told last stands
    if (this.#unseen === 1 && this.#told) return false;
    this.#told = true;
    const { config, guarded } = known;
    const resource = 'state' in seen ? seen.state.resources[name] : undefined;
    const copy =
      config === undefined
        ? { role: resource?.role ?? 'Unknown', disk: 'Unconfigured', peers: [] }
        : copyFrom(resource, config, host);
    const alone =
      resource !== undefined &&
      (copy.peers.length === 0 || copy.peers.some(({ connection }) => connection === 'StandAlone'));
    const generation = alone ? await drbd.generation(name, QUICK) : undefined;
    const problem =
      known.problem ??
      ('problem' in seen
        ? seen.problem
        : this.#isDown(resource)
          ? this.#raiseProblem
          : resource === undefined
            ? undefined
            : this.#isRefused(resource, known)
              ? `${name} has refused its peer, as a rule because that was Primary as well; it is connected anew every ${COPY_LOOK_MS / 1_000} s`
              : troubleOf(name, resource));
    tell({
      name,
      host,
      ...copy,
      role: copy.role === 'Secondary' && this.#options.promoting() ? 'Promoting' : copy.role,
      guarded: guarded && resource !== undefined,
      ...(config === undefined ? {} : { config: config.digest }),
      ...(generation === undefined ? {} : { generation }),
      ...(problem === undefined ? {} : { problem: problem.slice(0, 400) }),
    });
    return 'state' in seen;
  }

  /** What changes only when somebody edits a file or adjusts the resource, so not with every look. */
  async #read(): Promise<Known> {
    const { drbd, name } = this.#options;
    if (this.#known !== undefined && performance.now() - this.#readMs < COPY_LOOK_MS / 2) return this.#known;
    const read = await drbd.config(QUICK);
    // a command that was not answered in time says nothing about the configuration
    const config = 'resources' in read ? read.resources.get(name) : this.#known?.config;
    const ours = config !== undefined && isOurHandler(optionOf(config, 'fence-peer', 'handlers'));
    const freezes = ours ? await drbd.freezesWithoutPeer(name, QUICK) : false;
    // nor about what is in force; a replica that is not known to be guarded is one that is not, so that is asked again soon
    // … nor is one whose configuration has changed since that was known
    const before = config?.digest === this.#known?.config?.digest ? this.#known?.guarded : undefined;
    const guarded = freezes ?? before ?? false;
    if (freezes === undefined) this.#lookAgain();
    else this.#unanswered = 0;
    const missing = `the DRBD configuration of this machine has no resource ${name} any more (drbdadm sh-resources)`;
    const problem = 'problem' in read ? read.problem : config === undefined ? missing : undefined;
    this.#known = { config, guarded, problem };
    this.#readMs = freezes === undefined ? Number.NEGATIVE_INFINITY : performance.now();
    return this.#known;
  }

  /** One more look, a while after this one. */
  #lookAgain(): void {
    const pauseMs = UNANSWERED_MS * 2 ** this.#unanswered;
    if (this.#again !== undefined || pauseMs > COPY_LOOK_MS) return;
    this.#unanswered += 1;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      void this.look();
    }, pauseMs);
    this.#again.unref();
  }

  /** Not up, or not any further than the last try has come. What is up and lost its disk later is left as it is. */
  #isDown(resource: DrbdResourceState | undefined): boolean {
    const untried = this.#raisedMs === Number.NEGATIVE_INFINITY;
    return resource === undefined || (isHalfUp(resource) && (untried || this.#raiseProblem !== undefined));
  }

  /**
   * A Primary that has met a second one, because that machine stood still and could not be demoted: DRBD leaves it StandAlone for good. Guarded
   * ones have not diverged by that. Of more than one peer it is not known which of them a person has disconnected.
   */
  #isRefused(resource: DrbdResourceState | undefined, { config, guarded }: Known): boolean {
    return (
      resource !== undefined &&
      guarded &&
      config?.hosts.length === 2 &&
      this.#meeting === 'refused' &&
      Object.values(resource.connections).every(({ connection }) => connection === 'StandAlone')
    );
  }

  /** @returns whether it was tried with success. */
  async #connect(): Promise<boolean> {
    const { drbd, name, log } = this.#options;
    if (performance.now() - this.#connectedMs < COPY_LOOK_MS / 2) return false;
    this.#connectedMs = performance.now();
    const connected = await drbd.adm(['connect', name]);
    const said = connected.code === 0 ? 'connected anew' : drbdTrouble(name, connected).reason;
    log.info(`drbd ${name}: has refused its peer; ${said}`);
    return connected.code === 0;
  }

  /** Brings it up where nobody has. @returns whether it was tried with success. */
  async #raise(): Promise<boolean> {
    const { drbd, name, log } = this.#options;
    if (performance.now() - this.#raisedMs < COPY_LOOK_MS / 2) return false;
    this.#raisedMs = performance.now();
    const raised = await drbd.adm(['up', name]);
    this.#known = undefined;
    const problem = raised.code === 0 ? undefined : drbdTrouble(name, raised).reason;
    if (problem !== this.#raiseProblem)
      log[problem === undefined ? 'info' : 'warn'](
        `drbd ${name}: ${problem === undefined ? 'brought up' : `could not be brought up: ${problem}`}`,
      );
    this.#raiseProblem = problem;
    return problem === undefined;
  }
}

/** What keeps a resource that is up from being connected, with the next step. */
function troubleOf(name: string, resource: DrbdResourceState): string | undefined {
  const alone = Object.values(resource.connections).filter(({ connection }) => connection === 'StandAlone');
  if (alone.some(({ splitBrain }) => splitBrain))
    return `split brain: the two sides have diverged and DRBD keeps them apart; holdfast why shows both, holdfast drbd resolve-split-brain ${name} on the side whose writes may be lost`;
  if (alone.length > 0 || Object.keys(resource.connections).length === 0)
    return `StandAlone: DRBD does not try to connect to its peer, because they have diverged (dmesg says Split-Brain) or somebody has disconnected it: drbdadm connect ${name}, on both nodes`;
  if (Object.values(resource.devices).some(({ quorum }) => !quorum))
    return `${name} has no quorum among its DRBD nodes`;
  return undefined;
}
