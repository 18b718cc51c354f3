/** The commands of drbd-utils, and what they say in words that lead on. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, type RunResult, run } from '../system/index.ts';
import { type DrbdConfig, parseDrbdConfig } from './drbd-config.ts';
import { type DrbdState, drbdSnapshot, NOTHING_TOLD } from './drbd-state.ts';
import { lastLine } from './mount-release.ts';

const COMMAND_MS = 20_000;
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
const MAX_STATE_BYTES = 1024 * 1024;

export interface DrbdPlaces {
  /** Where the programs are looked for. */
  readonly programs: readonly string[];
  readonly proc: string;
}

const PLACES: DrbdPlaces = { programs: ['/usr/sbin', '/sbin'], proc: '/proc/drbd' };

/** How a command is bounded: the operation of a start or a stop runs in the group's cgroup, where the guard can end it. */
export interface Bounds {
  readonly signal?: AbortSignal | undefined;
  readonly cgroup?: string | undefined;
  readonly timeoutMs?: number;
}

export type ReadConfig =
  | { readonly resources: ReadonlyMap<string, DrbdConfig> }
  /** `missing`: drbd-utils are not installed. */
  | { readonly problem: string; readonly missing?: true };

/** DRBD on this node, by its own programs; nothing here decides anything. */
export class Drbd {
  readonly #places: DrbdPlaces;

  constructor(places: DrbdPlaces = PLACES) {
    this.#places = places;
  }

  path(program: 'drbdadm' | 'drbdsetup'): string | undefined {
    return this.#places.programs.map((place) => join(place, program)).find((path) => existsSync(path));
  }

  get env(): Readonly<Record<string, string>> {
    return { LC_ALL: 'C', PATH: [...this.#places.programs, '/usr/bin', '/bin'].join(':') };
  }

  /** Of the kernel module: `8.4.11`, `9.2.14`. Undefined: it is not loaded. */
  version(): { readonly text: string; readonly major: number; readonly minor: number } | undefined {
    let text: string;
    try {
      text = readFileSync(this.#places.proc, 'utf8');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const found = /^version:\s*((\d+)\.(\d+)\S*)/m.exec(text);
    return found?.[1] === undefined ? undefined : { text: found[1], major: Number(found[2]), minor: Number(found[3]) };
  }

  async config(bounds: Bounds = {}): Promise<ReadConfig> {
    if (this.path('drbdadm') === undefined || this.path('drbdsetup') === undefined)
      return { problem: 'drbd-utils are not installed (apt-get install drbd-utils)', missing: true };
    // -d: without it drbdadm says nothing at all while an address of the configuration is missing, as on a machine whose cable is out
    const read = await this.#run('drbdadm', ['-d', 'dump-xml'], { ...bounds, stdoutLimit: MAX_CONFIG_BYTES });
    // without any resource drbdadm may end with an error and nothing to say
    if (read.code !== 0 && /no resources defined/.test(read.output)) return { resources: new Map() };
    if (read.code !== 0) return { problem: `the DRBD configuration cannot be read: ${firstLine(read)} (drbdadm dump)` };
    if (read.truncated) return { problem: 'the DRBD configuration is larger than this agent reads' };
    try {
      return { resources: parseDrbdConfig(read.stdout) };
    } catch (error) {
      return {
        problem: `the DRBD configuration cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      };
    }
  }

  /** What the kernel knows now: of all resources, because it answers for one that it does not know as each version likes. */
  async snapshot(bounds: Bounds = {}): Promise<{ readonly state: DrbdState } | { readonly problem: string }> {
    // without the module there is no resource; drbdsetup would try to load it
    if (this.version() === undefined) return { state: { ...NOTHING_TOLD, complete: true } };
    const read = await this.#run('drbdsetup', ['events2', '--now', '--statistics', 'all'], {
      ...bounds,
      stdoutLimit: MAX_STATE_BYTES,
    });
    const state = drbdSnapshot(read.stdout);
    return state.complete ? { state } : { problem: `drbdsetup events2: ${lastLine(read)}` };
  }

  /** What the kernel itself has in force, not what its file says. Undefined: not answered in time. */
  async freezesWithoutPeer(name: string, bounds: Bounds = {}): Promise<boolean | undefined> {
    const read = await this.#run('drbdsetup', ['show', name], { ...bounds, stdoutLimit: MAX_STATE_BYTES });
    if (read.timedOut || read.aborted) return undefined;
    return read.code === 0 && /\bfencing\s+resource-and-stonith\b/.test(read.stdout);
  }

  /** Current, bitmap and history of the first volume, hexadecimal with colons. */
  async generation(name: string, bounds: Bounds = {}): Promise<string | undefined> {
    const read = await this.#run('drbdadm', ['get-gi', name], { ...bounds, stdoutLimit: MAX_STATE_BYTES });
    return /\b([0-9A-Fa-f]{16}(?::[0-9A-Fa-f]{16}){1,3})/.exec(read.stdout)?.[1];
  }

  /** @param args as `drbdadm` takes them, the name of the resource last. */
  async adm(args: readonly string[], bounds: Bounds = {}): Promise<RunResult> {
    return await this.#run('drbdadm', args, bounds);
  }

  async setup(args: readonly string[], bounds: Bounds = {}): Promise<RunResult> {
    return await this.#run('drbdsetup', args, bounds);
  }

  async #run(
    program: 'drbdadm' | 'drbdsetup',
    args: readonly string[],
    { signal, cgroup, timeoutMs, stdoutLimit }: Bounds & { readonly stdoutLimit?: number },
  ): Promise<RunResult> {
    const path = this.path(program) ?? `/usr/sbin/${program}`;
    return await run([path, ...args], {
      env: this.env,
      timeoutMs: timeoutMs ?? COMMAND_MS,
      signal,
      cgroup,
      ...(stdoutLimit === undefined ? {} : { stdoutLimit }),
    });
  }
}

export const NO_MODULE =
  'the kernel has no drbd module loaded (modprobe drbd; at boot by /etc/modules-load.d; Debian’s kernels bring it, cloud kernels too)';

/** Why a command did not do what it should, as far as its text is known; the rest is said as it came. */
export function drbdTrouble(name: string, result: RunResult): { readonly reason: string; readonly is: Trouble } {
  const text = result.output;
  const known = TROUBLES.find(({ said }) => said.test(text));
  if (known !== undefined) return { is: known.is, reason: known.reason(name) };
  if (result.timedOut || result.aborted)
    return {
      is: 'other',
      reason: `drbdadm did not end in time for ${name}; what the kernel waits for: drbdadm status ${name}`,
    };
  return { is: 'other', reason: `drbdadm: ${firstLine(result)}` };
}

/** DRBD waits for the word of the handler. */
export function unfenced(name: string): { readonly reason: string; readonly is: 'unfenced' } {
  const reason = `DRBD does not promote ${name} before its peer is outdated, and the fence-peer handler did not say so; handlers { fence-peer "/usr/lib/holdfast/holdfast-drbd fence-peer"; } in its configuration, and the coordinator has to be reached`;
  return { is: 'unfenced', reason };
}

export type Trouble =
  | 'two-primaries'
  | 'data'
  | 'unfenced'
  | 'in-use'
  | 'transient'
  | 'no-module'
  | 'undefined'
  | 'other';

/** Texts of drbd_strings.c and drbdadm. */
const TROUBLES: readonly {
  readonly said: RegExp;
  readonly is: Trouble;
  readonly reason: (name: string) => string;
}[] = [
  {
    said: /Multiple primaries not allowed|Other vol primary on peer/,
    is: 'two-primaries',
    reason: (name) =>
      `${name} is still Primary on a peer, by what DRBD knows; where it should not be: drbdadm secondary ${name} there`,
  },
  {
    said: /Need access to UpToDate data/,
    is: 'data',
    reason: (name) =>
      `${name} has no UpToDate data here; it catches up when its peer is connected: drbdadm status ${name}`,
  },
  {
    said: /Refusing to be Primary while peer is not outdated/,
    is: 'unfenced',
    reason: (name) => unfenced(name).reason,
  },
  {
    said: /held open by someone/,
    is: 'in-use',
    reason: (name) => `the device of ${name} is held open; lsof $(drbdadm sh-dev ${name}) tells by whom`,
  },
  {
    said: /In transient state|Concurrent state changes/,
    is: 'transient',
    reason: (name) => `${name} is just changing its state`,
  },
  {
    said: /Failed to modprobe|Could not stat \/proc\/drbd|could not connect to 'drbd' generic netlink/i,
    is: 'no-module',
    reason: () => NO_MODULE,
  },
  {
    said: /not defined in your config|ignored, since this host/,
    is: 'undefined',
    reason: (name) =>
      `the DRBD configuration has no resource ${name} for this machine; what there is: drbdadm sh-resources. Its \`on\` sections name machines as \`uname -n\` does`,
  },
  {
    said: /IP \S+ not found on this host/,
    is: 'other',
    reason: (name) =>
      `the address that the configuration of ${name} has for this machine is on none of its interfaces: ip -br address; bring that network up, or correct the file`,
  },
  {
    said: /No valid meta.?data|no suitable meta.?data|open\(.*\) failed: No such file|Can not open backing device/i,
    is: 'other',
    reason: (name) =>
      `the disk of ${name} is missing or has no DRBD metadata; once, on a new disk: drbdadm create-md ${name}`,
  },
];

/** What drbdadm complains of stands first, sometimes in two lines; what follows are its own command lines. */
function firstLine(result: RunResult): string {
  const lines = result.output
    .split('\n')
    .map((text) => text.trim())
    .filter((text) => text !== '' && !/^(sh: |Command ')/.test(text));
  const [first, second] = lines;
  if (first === undefined) return lastLine(result);
  return first.endsWith(':') && second !== undefined ? `${first} ${second}` : first;
}
