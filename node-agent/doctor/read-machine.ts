/** Reads what the judgements of the machine, the agent and the coordinator need. */
import { realpath, stat, statfs } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { release } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { IdentityError, loadIdentity } from '../agent/identity.ts';
import { resetFile } from '../agent/reset-choice.ts';
import { AGENT_UNIT } from '../resources/index.ts';
import {
  Cgroups,
  containerKind,
  isByDate,
  type MountEntry,
  namesIn,
  protectionsOf,
  readMounts,
  type SeenProcess,
  type Systemd,
  seenProcesses,
  textAt,
  textOf,
  topAt,
  unitOf,
  unreachableBecause,
  virtualMachine,
  watchdogDevices,
  watchdogHolder,
} from '../system/index.ts';
import type { AgentProcessFacts, GuardFacts, StateDirFacts } from './agent.ts';
import type { CoordinatorFacts } from './coordinator.ts';
import type { MachineFacts } from './machine.ts';
import { NO_SYSTEMD, sameDirectory } from './read-resources.ts';
import type { WatchdogFacts } from './watchdog.ts';

const CLOCK_SOURCES = '/sys/devices/system/clocksource/clocksource0';
/** chrony.conf(5): what holds where nothing is set, parts per million. */
const CHRONY_SLEW_PPM = 83_333.333;

export function readMachine(): MachineFacts {
  const cgroup = Cgroups.mounted() ? undefined : 'no cgroup v2 hierarchy is mounted';
  return {
    kernel: release(),
    cgroupProblem: cgroup,
    clockSource: textAt(`${CLOCK_SOURCES}/current_clocksource`),
    clockSources: (textAt(`${CLOCK_SOURCES}/available_clocksource`) ?? '').split(' '),
    chronySlewPpm: seenProcesses().some(({ argv }) => basename(argv[0] ?? '') === 'chronyd') ? chronySlew() : undefined,
    virtual: virtualMachine(),
    container: containerKind(),
  };
}

/** The last of its files that sets it counts. */
function chronySlew(): number {
  const directory = '/etc/chrony/conf.d';
  const files = [
    '/etc/chrony/chrony.conf',
    '/etc/chrony.conf',
    ...namesIn(directory)
      .filter((name) => name.endsWith('.conf'))
      .toSorted()
      .map((name) => join(directory, name)),
  ];
  return maxSlewPpm(files.map((path) => textAt(path) ?? '')) ?? CHRONY_SLEW_PPM;
}

export function maxSlewPpm(texts: readonly string[]): number | undefined {
  const set = texts.flatMap((text) =>
    [...text.matchAll(/^\s*maxslewrate\s+([\d.]+)/gim)].map(([, value]) => Number(value)),
  );
  return set.at(-1);
}

/** The device is never opened: that alone would arm it. */
export function readWatchdogs(stateDir: string, seen: readonly SeenProcess[]): WatchdogFacts {
  const guard = guardProcess(stateDir, seen);
  const words = guard?.argv ?? (textAt(resetFile(stateDir)) ?? '').split(/[\s"]+/);
  const chosen = optionIn(words, '--reset') ?? 'none';
  return {
    devices: watchdogDevices(),
    holder: watchdogHolder(guard?.pid),
    chosen: chosen === 'watchdog' || chosen === 'sysrq' ? chosen : 'none',
    device: optionIn(words, '--watchdog') ?? '/dev/watchdog',
  };
}

function guardProcess(stateDir: string, seen: readonly SeenProcess[]): SeenProcess | undefined {
  return seen.find(
    ({ argv }) => basename(argv[0] ?? '') === 'holdfast-guard' && sameDirectory(stateDirOf(argv, ''), stateDir),
  );
}

export function readGuard(stateDir: string, seen: readonly SeenProcess[]): GuardFacts {
  const found = guardProcess(stateDir, seen);
  const protections = found === undefined ? undefined : protectionsOf(found.pid);
  return {
    pid: protections === undefined ? undefined : found?.pid,
    locked: (protections?.lockedBytes ?? 0) > 0,
    realtime: protections?.realtime ?? false,
    spared: (protections?.oomScoreAdjust ?? 0) <= -1_000,
  };
}

function stateDirOf(argv: readonly string[], otherwise: string): string {
  return optionIn(argv, '--state-dir') ?? otherwise;
}

/** The last one that is given counts. */
function optionIn(words: readonly string[], name: string): string | undefined {
  const at = words.findLastIndex((word) => word === name || word.startsWith(`${name}=`));
  if (at === -1) return undefined;
  return words[at]?.includes('=') ? words[at].slice(name.length + 1) : words[at + 1];
}

export async function readAgentProcess(options: {
  readonly stateDir: string;
  readonly defaultStateDir: string;
  readonly answers: boolean;
  readonly runsServices: boolean;
  readonly seen: readonly SeenProcess[];
  readonly systemd: Systemd | undefined;
}): Promise<AgentProcessFacts> {
  const { stateDir, answers, runsServices, systemd } = options;
  const found = agentProcess(stateDir, options.defaultStateDir, options.seen);
  const unit = found === undefined ? undefined : unitOf(found.pid);
  const supervision =
    systemd === undefined
      ? { unreadable: NO_SYSTEMD }
      : await systemd.supervision(unit ?? AGENT_UNIT).catch((error: unknown) => ({ unreadable: textOf(error) }));
  return { stateDir, answers, pid: found?.pid, unit, supervision, runsServices };
}

export function agentProcess(
  stateDir: string,
  defaultStateDir: string,
  seen: readonly SeenProcess[],
): SeenProcess | undefined {
  return seen.find(({ argv }) => isAgent(argv) && sameDirectory(stateDirOf(argv, defaultStateDir), stateDir));
}

/** `holdfast agent`, or the program run by Node from its source. */
function isAgent(argv: readonly string[]): boolean {
  const at = argv.indexOf('agent');
  return (at === 1 || at === 2) && /^(holdfast|main\.ts)|^agent-.*\.cjs$/.test(basename(argv[at - 1] ?? ''));
}

/** @throws when the directory cannot be looked at. */
export async function readStateDir(path: string): Promise<StateDirFacts> {
  const [found, space] = await Promise.all([stat(path), statfs(path)]);
  const identityProblem = await loadIdentity(path).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof IdentityError) return error.message;
      throw error;
    },
  );
  const mount = mountOf(await realpath(resolve(path)));
  return {
    path,
    mode: found.mode & 0o7777,
    uid: found.uid,
    identityProblem,
    fileSystem: mount?.fstype ?? 'an unknown file system',
    readOnly: mount?.options.includes('ro') ?? false,
    freeBytes: space.bavail * space.bsize,
    freeFiles: space.files === 0 ? Number.POSITIVE_INFINITY : space.ffree,
  };
}

/** What one finds mounted at the directory, or at the nearest one above it. */
function mountOf(path: string): MountEntry | undefined {
  const mounts = readMounts();
  for (let at = path; ; at = dirname(at)) {
    const found = topAt(mounts, at);
    if (found !== undefined || at === '/') return found;
  }
}

const TRIPS = 5;
const TRIP_MS = 5_000;

/** Times some small questions on one open connection; its making is not counted. Needs no token. */
export async function readCoordinator(url: string): Promise<CoordinatorFacts> {
  const target = new URL('healthz', url);
  const secure = target.protocol === 'https:';
  const https = secure ? await import('node:https') : undefined;
  const options = { keepAlive: true, maxSockets: 1 };
  const agent = https === undefined ? new HttpAgent(options) : new https.Agent(options);
  const start = https?.request ?? httpRequest;
  const once = () =>
    new Promise<void>((resolve, reject) => {
      const outgoing = start(target, { agent, signal: AbortSignal.timeout(TRIP_MS) }, (incoming) => {
        incoming.resume();
        incoming.on('error', reject);
        incoming.on('end', () =>
          incoming.statusCode === 200 ? resolve() : reject(new Error(`it answered ${incoming.statusCode}`)),
        );
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  try {
    await once();
    const trips: number[] = [];
    for (let n = 0; n < TRIPS; n += 1) {
      const before = performance.now();
      await once();
      trips.push(performance.now() - before);
    }
    return { url, trips };
  } catch (error) {
    return { url, trips: { unreachable: unreachableBecause(error, new URL(url)), byClock: isByDate(error) } };
  } finally {
    agent.destroy();
  }
}

/** How much may be unwritten before writers have to wait. Source: Documentation/admin-guide/sysctl/vm.rst. */
export function readDirtyBytes(): number | undefined {
  const bytes = Number(textAt('/proc/sys/vm/dirty_bytes') ?? Number.NaN);
  if (bytes > 0) return bytes;
  const ratio = Number(textAt('/proc/sys/vm/dirty_ratio') ?? Number.NaN);
  const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(textAt('/proc/meminfo') ?? '')?.[1] ?? Number.NaN);
  const limit = (available * 1_024 * ratio) / 100;
  return Number.isFinite(limit) ? limit : undefined;
}
