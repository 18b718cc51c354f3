/** Reads what the judgements of packages, units and mounts need. Executes blkid and the meta-data action of allowed OCF agents. */
import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { toDeclaration } from '../agent/plan.ts';
import type { Policy } from '../agent/policy.ts';
import {
  activatorsOf,
  agentProblem,
  BASE_ENVIRONMENT,
  extState,
  findAction,
  findAgent,
  isDown,
  MetadataCache,
  mountedAt,
  parameterProblem,
  SUPERBLOCK_BYTES,
} from '../resources/index.ts';
import {
  errnoOf,
  findDevice,
  knownFileSystems,
  mountToolPath,
  readDevice,
  readMounts,
  run,
  type Systemd,
  textAt,
  textOf,
  topAt,
  unescapeOctal,
} from '../system/index.ts';
import { programsOf } from './debian.ts';
import { type Declared, type Wanted, wanted } from './declared.ts';
import type { FstabEntry, MountFacts } from './mounts.ts';
import type { AgentFacts, PackageFacts, Tool } from './packages.ts';
import { TOOLS } from './packages.ts';
import type { AdvisedTimes } from './timing.ts';
import type { UnitFacts } from './units.ts';

const BLKID_MS = 10_000;
const PLACES = (BASE_ENVIRONMENT.PATH ?? '').split(':');

/** systemd manages this machine: sd_booted(3). */
export function systemdHere(): boolean {
  return existsSync('/run/systemd/system');
}

export const NO_SYSTEMD = 'systemd does not run here';

export async function readPackages(
  declared: Declared,
  policy: Policy | undefined,
): Promise<{ packages: PackageFacts; advised: ReadonlyMap<string, AdvisedTimes> }> {
  const mounts = wanted(declared, 'mount');
  const advised = new Map<string, AdvisedTimes>();
  const agents: AgentFacts[] = [];
  for (const one of wanted(declared, 'ocf')) agents.push(await readAgent(one, policy, advised));
  const tools = Object.keys(TOOLS) as Tool[];
  return {
    packages: {
      missingTools: new Set(tools.filter((tool) => !hasTool(tool))),
      vips: wanted(declared, 'vip'),
      mounts,
      fileSystems: knownFileSystems([...new Set(mounts.map(({ resource }) => resource.fstype))], release()),
      kernel: release(),
      agents,
    },
    advised,
  };
}

function hasTool(tool: Tool): boolean {
  return tool === 'ip' ? executable('ip') : mountToolPath(tool) !== undefined;
}

/** The agent is executed (for its meta-data) only where the policy allows it with these parameters. */
async function readAgent(
  one: Wanted<'ocf'>,
  policy: Policy | undefined,
  advised: Map<string, AdvisedTimes>,
): Promise<AgentFacts> {
  const { resource } = one;
  const programs = programsOf(resource.agent.replace(/^ocf:/, '')).flatMap((program) => {
    const given = program.parameter === undefined ? undefined : resource.params[program.parameter];
    const names = given === undefined ? program.usual : [given];
    const [first] = names;
    return first === undefined ? [] : [{ name: first, found: names.some(executable), package: program.package }];
  });
  const agent = findAgent(resource.agent);
  if ('problem' in agent) return { wanted: one, programs, problem: agent.problem };
  const problem = agentProblem(agent);
  if (problem !== undefined) return { wanted: one, programs, problem, missing: !existsSync(agent.path) };
  if (policy?.check(toDeclaration(resource)).allowed !== true)
    return { wanted: one, programs, notAsked: 'the agent is not executed before the policy allows it' };
  const answer = await new MetadataCache().get(agent);
  if (!answer.ok) return { wanted: one, programs, notAsked: answer.reason };
  const { metadata } = answer;
  const timeout = (action: string) => findAction(metadata, action)?.timeoutMs;
  advised.set(one.subject, { startMs: timeout('start'), stopMs: timeout('stop'), monitorMs: timeout('monitor') });
  const parameters = parameterProblem(resource.params, metadata);
  return { wanted: one, programs, ...(parameters === undefined ? {} : { parameters }) };
}

/** By path, or by name in the places where agents look. */
function executable(name: string): boolean {
  const paths = name.startsWith('/') ? [name] : PLACES.map((place) => join(place, name));
  return paths.some((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(errnoOf(error) ?? '')) return false;
      throw error;
    }
  });
}

export async function readUnits(declared: Declared, systemd: Systemd | undefined): Promise<UnitFacts[]> {
  return Promise.all(wanted(declared, 'service').map((one) => readUnit(one, systemd)));
}

async function readUnit(one: Wanted<'service'>, systemd: Systemd | undefined): Promise<UnitFacts> {
  if (systemd === undefined) return { wanted: one, state: { unreadable: NO_SYSTEMD }, activators: [] };
  try {
    const state = await systemd.unit(one.resource.unit);
    const activators: string[] = [];
    for (const name of activatorsOf(state)) if (!isDown((await systemd.activity(name)).active)) activators.push(name);
    return { wanted: one, state, activators };
  } catch (error) {
    return { wanted: one, state: { unreadable: textOf(error) }, activators: [] };
  }
}

export async function readMountFacts(declared: Declared, systemd: Systemd | undefined): Promise<MountFacts[]> {
  const fstab = parseFstab(textAt('/etc/fstab') ?? '');
  const facts: MountFacts[] = [];
  for (const one of wanted(declared, 'mount')) facts.push(await readMount(one, fstab, systemd));
  return facts;
}

async function readMount(
  one: Wanted<'mount'>,
  fstab: readonly FstabEntry[],
  systemd: Systemd | undefined,
): Promise<MountFacts> {
  const { device: name, directory } = one.resource;
  const device = findDevice(name);
  const here = topAt(readMounts(), directory);
  const number = device.is === 'device' ? device.number : undefined;
  const inPlace = here !== undefined && here.device === number;
  const elsewhere = number === undefined || inPlace ? undefined : mountedAt(number);
  return {
    wanted: one,
    device,
    content: device.is === 'device' ? await contentOf(device.path) : undefined,
    ext: device.is === 'device' ? await extOf(device.path) : undefined,
    mounted: inPlace ? 'in place' : elsewhere === undefined ? undefined : { elsewhere },
    covered: here === undefined || inPlace ? undefined : `${here.source} (${here.fstype})`,
    fstab: fstab.filter((entry) => entry.directory === directory || isDevice(entry.spec, name, number)),
    units: await mountUnits(directory, systemd),
  };
}

async function contentOf(path: string): Promise<MountFacts['content']> {
  const blkid = mountToolPath('blkid');
  if (blkid === undefined) return { unreadable: 'blkid is not installed' };
  const result = await run([blkid, '-p', '-o', 'value', '-s', 'TYPE', '--', path], {
    env: { LC_ALL: 'C' },
    timeoutMs: BLKID_MS,
    stdoutLimit: 4_096,
  });
  if (result.code === 0) return { type: result.stdout.trim() };
  // EMEDIUMTYPE: where a DRBD resource is Secondary nobody may read it, and what is on it is what its Primary has
  if (/Wrong medium type/.test(result.output)) return undefined;
  // blkid(8): 2 is also what it says of a device that it cannot open
  if (result.code === 2 && result.output.trim() === '') return { nothing: true };
  return {
    unreadable: result.timedOut
      ? `blkid did not end within ${BLKID_MS / 1_000} s`
      : result.output.trim() || `blkid ended with ${result.code}`,
  };
}

async function extOf(path: string): Promise<MountFacts['ext']> {
  try {
    return extState(await readDevice(path, SUPERBLOCK_BYTES));
  } catch (error) {
    // what is on it is then said to be unreadable by blkid's own answer
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** Source: fstab(5). */
export function parseFstab(text: string): FstabEntry[] {
  return text.split('\n').flatMap((line, index) => {
    const [spec, directory, , options = ''] = line.trim().split(/\s+/);
    if (spec === undefined || spec === '' || spec.startsWith('#') || directory === undefined) return [];
    return [{ line: index + 1, spec, directory: unescapeOctal(directory), options: options.split(',') }];
  });
}

const TAGS = { UUID: 'by-uuid', LABEL: 'by-label', PARTUUID: 'by-partuuid', PARTLABEL: 'by-partlabel' } as const;

function isDevice(spec: string, name: string, number: string | undefined): boolean {
  const [, tag, value = ''] = /^(\w+)="?([^"]*)"?$/.exec(spec) ?? [];
  const directory = Object.entries(TAGS).find(([known]) => known === tag)?.[1];
  const path = directory === undefined ? spec : `/dev/disk/${directory}/${value}`;
  if (path === name) return true;
  if (number === undefined || !path.startsWith('/dev/')) return false;
  const found = findDevice(path);
  return found.is === 'device' && found.number === number;
}

/** `/srv/my-data` is the mount unit `srv-my\x2ddata.mount` (systemd-escape(1), --path). */
export function unitStemOf(directory: string): string {
  const escaped = [...Buffer.from(directory.replace(/^\/+|\/+$/g, ''))].map((byte, index) => {
    const character = String.fromCharCode(byte);
    if (character === '/') return '-';
    const plain = /[A-Za-z0-9:_]/.test(character) || (character === '.' && index > 0);
    return plain ? character : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return escaped.join('') || '-';
}

async function mountUnits(directory: string, systemd: Systemd | undefined): Promise<MountFacts['units']> {
  if (systemd === undefined) return new Map();
  try {
    const names = [`${unitStemOf(directory)}.mount`, `${unitStemOf(directory)}.automount`];
    return new Map(await Promise.all(names.map(async (name) => [name, await systemd.origin(name)] as const)));
  } catch (error) {
    return { unreadable: textOf(error) };
  }
}

export function sameDirectory(a: string, b: string): boolean {
  return a === b || (existsSync(a) && existsSync(b) && realpathSync(a) === realpathSync(b));
}
