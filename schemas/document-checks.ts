/**
 * The rules of a document that reach across its fields, and the step from the document to the configuration that the product
 * uses. Works on whatever parts of a document are well formed, so that one reading finds every problem.
 */
import type * as z from 'zod';
import type { ProblemError } from './api.ts';
import {
  type Config,
  type DeclaredTimes,
  type documentSchema,
  type GroupConfig,
  MOUNT_FILE_SYSTEMS,
  RESOURCE_KINDS,
  type ResourceDeclaration,
  type resourceSchema,
  SHARED_DISK_RISK,
} from './config.ts';
import { readVirtualAddress } from './document-address.ts';
import { listed } from './document-issues.ts';
import { isBelow, mountProblems, readMountLine } from './document-mount.ts';
import { type Path, type Position, pathText, type Source } from './document-source.ts';
import { formatDuration } from './duration.ts';
import {
  customTiming,
  LEASE_PROFILES,
  type LeaseTiming,
  MAX_GROUPS,
  MAX_NAME_LENGTH,
  timingProblem,
} from './limits.ts';
import { nameSchema, nearest } from './names.ts';
import { readUnitName } from './unit-name.ts';

type WrittenResource = z.output<typeof resourceSchema>;
type WrittenLease = z.output<typeof documentSchema>['lease'];

/** A document, or as much of it as is well formed; undefined stands for a part that is not. */
export interface Parts {
  readonly cluster: string | undefined;
  readonly nodes: readonly (string | undefined)[] | undefined;
  readonly lease: WrittenLease;
  readonly groups: readonly PartsOfGroup[];
}
export interface PartsOfGroup {
  readonly name: string;
  /** Left out: every node. */
  readonly on: readonly (string | undefined)[] | undefined;
  readonly resources: readonly (WrittenResource | undefined)[];
}

export interface Checked {
  readonly errors: ProblemError[];
  /** Meaningful only when there are no errors. */
  readonly config: Config;
}

/** Longest time-out or interval: a day is a mistake, not a wish. */
const MAX_TIME_MS = 24 * 3_600_000;
const MIN_INTERVAL_MS = 100;

/** What only one resource of the whole document may name, and where it is named first. */
interface Taken {
  readonly addresses: Map<string, string>;
  readonly devices: Map<string, string>;
  readonly units: Map<string, string>;
  readonly directories: Map<string, { readonly group: PropertyKey | undefined; readonly at: string }>;
}

type Report = (path: Path, position: Position, detail: string, suggestion?: string) => void;

export function check(parts: Parts, source: Source): Checked {
  const errors: ProblemError[] = [];
  const report: Report = (path, position, detail, suggestion) => {
    errors.push({ path: pathText(path), ...position, detail, ...(suggestion === undefined ? {} : { suggestion }) });
  };
  checkNodes(parts.nodes ?? [], source, report);
  const timing = checkLease(parts.lease, source, report);
  if (parts.groups.length > MAX_GROUPS)
    report(
      ['groups'],
      source.keyAt(['groups']),
      `${parts.groups.length} groups; at most ${MAX_GROUPS} fit into one cluster`,
    );
  const nodes = [...new Set(defined(parts.nodes ?? []))];
  const taken: Taken = { addresses: new Map(), devices: new Map(), directories: new Map(), units: new Map() };
  const groups: Record<string, GroupConfig> = {};
  for (const group of parts.groups) {
    if (parts.nodes !== undefined) checkOn(group, nodes, source, report);
    const resources = checkResources(group, taken, source, report);
    groups[group.name] = { name: group.name, on: group.on === undefined ? nodes : defined(group.on), resources };
  }
  return { errors, config: { cluster: parts.cluster ?? '', nodes, timing, groups } };
}

function defined<T>(items: readonly (T | undefined)[]): T[] {
  return items.filter((item) => item !== undefined);
}

function checkNodes(nodes: NonNullable<Parts['nodes']>, source: Source, report: Report): void {
  nodes.forEach((node, index) => {
    const path = ['nodes', index];
    if (node === undefined) return;
    if (nodes.indexOf(node) !== index) report(path, source.valueAt(path), `\`${node}\` stands twice in nodes`);
  });
}

function checkLease(lease: WrittenLease, source: Source, report: Report): LeaseTiming {
  if (lease === undefined) return LEASE_PROFILES.default;
  if (typeof lease === 'string') return LEASE_PROFILES[lease];
  const timing = customTiming(lease.ttl, lease.renew);
  const problem = timingProblem(timing);
  const profile = lease.ttl < 3_000 ? 'fast' : lease.ttl < 10_000 ? 'default' : 'wan';
  if (problem !== undefined) report(['lease'], source.valueAt(['lease']), problem, profile);
  return timing;
}

function checkOn(group: PartsOfGroup, nodes: readonly string[], source: Source, report: Report): void {
  group.on?.forEach((node, index) => {
    const path = ['groups', group.name, 'on', index];
    if (node === undefined) return;
    if (!nodes.includes(node))
      report(
        path,
        source.valueAt(path),
        `there is no node \`${node}\`; nodes: ${nodes.join(', ')}`,
        nearest(node, nodes),
      );
    else if (group.on?.indexOf(node) !== index)
      report(path, source.valueAt(path), `\`${node}\` stands twice in \`on\``);
  });
}

function checkResources(group: PartsOfGroup, taken: Taken, source: Source, report: Report): ResourceDeclaration[] {
  const ids = new Map<string, string>();
  const pathOf = (index: number): Path => ['groups', group.name, 'resources', index];
  group.resources.forEach((resource, index) => {
    if (resource?.id === undefined) return;
    const path = [...pathOf(index), 'id'];
    const first = ids.get(resource.id);
    if (first === undefined) ids.set(resource.id, pathText(pathOf(index)));
    else
      report(
        path,
        source.valueAt(path),
        `the id \`${resource.id}\` is already that of ${first}`,
        freeId(resource.id, ids),
      );
  });
  const declarations: ResourceDeclaration[] = [];
  group.resources.forEach((resource, index) => {
    if (resource === undefined) return;
    const path = pathOf(index);
    checkTimes(resource, path, source, report);
    const bare = declarationOf(resource, path, taken, source, report);
    if (bare === undefined) return;
    const id = resource.id ?? freeId(defaultId(bare), ids);
    ids.set(id, pathText(path));
    declarations.push({ ...bare, id, times: timesOf(resource) });
  });
  return declarations;
}

type BareDeclaration =
  | { type: 'vip'; address: string; interface?: string }
  | Omit<Extract<ResourceDeclaration, { type: 'mount' }>, 'id' | 'times'>
  | { type: 'service'; unit: string }
  | { type: 'ocf'; agent: string; params: Record<string, string> };

function declarationOf(
  resource: WrittenResource,
  path: Path,
  taken: Taken,
  source: Source,
  report: Report,
): BareDeclaration | undefined {
  const kinds = RESOURCE_KINDS.filter((kind) => resource[kind] !== undefined);
  const [, second] = kinds;
  if (second !== undefined) {
    const both = listed(kinds, 'and');
    report(
      [...path, second],
      source.keyAt([...path, second]),
      `one resource is one thing, not ${both}; make each its own list item`,
    );
    return undefined;
  }
  if (resource.vip !== undefined) return vipOf(resource.vip, path, taken, source, report);
  if (resource.mount !== undefined) return mountOf(resource.mount, path, taken, source, report);
  if (resource.service !== undefined) return serviceOf(resource.service, path, taken.units, source, report);
  if (resource.ocf !== undefined) return { type: 'ocf', agent: resource.ocf.agent, params: resource.ocf.params ?? {} };
  report(path, source.valueAt(path), `the resource has no kind; it needs ${listed(RESOURCE_KINDS, 'or')}`);
  return undefined;
}

function vipOf(
  vip: NonNullable<WrittenResource['vip']>,
  path: Path,
  { addresses }: Taken,
  source: Source,
  report: Report,
): BareDeclaration | undefined {
  const short = typeof vip === 'string';
  const addressPath = short ? [...path, 'vip'] : [...path, 'vip', 'address'];
  const name = short ? undefined : vip.interface;
  if (name !== undefined && (!/^[A-Za-z0-9._@-]+$/.test(name) || /^(-|\.{1,2}$)/.test(name))) {
    const interfacePath = [...path, 'vip', 'interface'];
    report(
      interfacePath,
      source.valueAt(interfacePath),
      `“${name}” is not the name of a network interface; \`ip -br link\` lists them`,
    );
  }
  const verdict = readVirtualAddress(short ? vip : vip.address);
  if (!verdict.ok) {
    report(addressPath, source.valueAt(addressPath), verdict.detail, verdict.suggestion);
    return undefined;
  }
  const { ip, prefix } = verdict.address;
  const first = addresses.get(ip);
  if (first !== undefined)
    report(addressPath, source.valueAt(addressPath), `the address ${ip} is already that of ${first}`);
  else addresses.set(ip, pathText(path));
  return { type: 'vip', address: `${ip}/${prefix}`, ...(name === undefined ? {} : { interface: name }) };
}

function mountOf(
  mount: NonNullable<WrittenResource['mount']>,
  path: Path,
  taken: Taken,
  source: Source,
  report: Report,
): BareDeclaration | undefined {
  const linePath = [...path, 'mount'];
  const written = typeof mount === 'string' ? readMountLine(mount) : mount;
  if ('detail' in written) {
    report(linePath, source.valueAt(linePath), written.detail);
    return undefined;
  }
  const { device, directory, options } = written;
  const more: Partial<Exclude<typeof mount, string>> = typeof mount === 'string' ? {} : mount;
  const at = (part: string) => (typeof mount === 'string' ? linePath : [...linePath, part]);
  const problem = (part: string, detail: string, suggestion?: string) =>
    report(at(part), source.valueAt(at(part)), detail, suggestion);
  if (more.disk === 'shared' && more.acceptRisk === undefined)
    problem(
      'disk',
      `a shared disk needs a watchdog, which resets a node that cannot let go of it; this version has none. \`acceptRisk: ${SHARED_DISK_RISK}\` accepts that; \`disk: local\` is right for a disk of the node’s own and for DRBD`,
    );
  if (more.disk !== 'shared' && more.acceptRisk !== undefined)
    problem('acceptRisk', `\`acceptRisk: ${more.acceptRisk}\` is for \`disk: shared\` only; leave it out`);
  const problems = mountProblems(written);
  for (const { part, detail, suggestion } of problems) problem(part, detail, suggestion);
  const fstype = MOUNT_FILE_SYSTEMS.find((known) => known === written.fstype);
  if (problems.length > 0 || fstype === undefined) return undefined;

  const group = path[1];
  const sameDevice = taken.devices.get(device);
  if (sameDevice === undefined) taken.devices.set(device, pathText(path));
  else problem('device', `the device ${device} is already that of ${sameDevice}`);
  for (const [other, { group: owner, at: place }] of taken.directories) {
    if (other === directory) problem('directory', `the directory ${directory} is already that of ${place}`);
    else if (isBelow(directory, other) && owner !== group)
      problem('directory', `${directory} lies in ${other} of ${place}, another group: put both into one group`);
    else if (isBelow(other, directory))
      problem(
        'directory',
        owner === group
          ? `${directory} would hide ${other} of ${place}, which is mounted before it: put the outer one first`
          : `${other} of ${place}, another group, lies in ${directory}: put both into one group`,
      );
  }
  if (!taken.directories.has(directory)) taken.directories.set(directory, { group, at: pathText(path) });
  return {
    type: 'mount',
    device,
    directory,
    fstype,
    ...(options === undefined || options === '' ? {} : { options }),
    fsck: more.fsck ?? 'auto',
    disk: more.disk ?? 'local',
  };
}

function serviceOf(
  service: NonNullable<WrittenResource['service']>,
  path: Path,
  units: Map<string, string>,
  source: Source,
  report: Report,
): BareDeclaration | undefined {
  const short = typeof service === 'string';
  const unitPath = short ? [...path, 'service'] : [...path, 'service', 'unit'];
  const verdict = readUnitName(short ? service : service.unit);
  if (!verdict.ok) {
    report(unitPath, source.valueAt(unitPath), verdict.detail, verdict.suggestion);
    return undefined;
  }
  const { unit } = verdict;
  const first = units.get(unit);
  if (first !== undefined) report(unitPath, source.valueAt(unitPath), `the unit ${unit} is already that of ${first}`);
  else units.set(unit, pathText(path));
  return { type: 'service', unit };
}

function checkTimes(resource: WrittenResource, path: Path, source: Source, report: Report): void {
  const outside = (at: Path, ms: number | undefined, least: number) => {
    if (ms === undefined || (ms >= least && ms <= MAX_TIME_MS)) return;
    const range = `from ${formatDuration(least)} to ${formatDuration(MAX_TIME_MS)}`;
    report(at, source.valueAt(at), `must be ${range}, not ${formatDuration(ms)}`);
  };
  for (const action of ['start', 'stop', 'monitor'] as const)
    outside([...path, 'timeouts', action], resource.timeouts?.[action], 1);
  outside([...path, 'interval'], resource.interval, MIN_INTERVAL_MS);
}

function timesOf({ timeouts, interval }: WrittenResource): DeclaredTimes {
  return {
    ...(timeouts?.start === undefined ? {} : { startMs: timeouts.start }),
    ...(timeouts?.stop === undefined ? {} : { stopMs: timeouts.stop }),
    ...(timeouts?.monitor === undefined ? {} : { monitorMs: timeouts.monitor }),
    ...(interval === undefined ? {} : { monitorIntervalMs: interval }),
  };
}

/** `vip-192.0.2.10`, `vip-2001-db8--10`, `mount-srv-mysql`, `nginx`, `app-1`: a name that says what it is and fits everywhere. */
function defaultId(declaration: BareDeclaration): string {
  if (declaration.type === 'vip') {
    const ip = declaration.address.slice(0, declaration.address.indexOf('/'));
    const name = `vip-${ip.replaceAll(':', '-')}`;
    return name.endsWith('-') ? `${name}0` : name;
  }
  if (declaration.type === 'mount') {
    const name = `mount${declaration.directory.toLowerCase().replaceAll(/[^a-z0-9_.]/g, '-')}`;
    return name.slice(0, MAX_NAME_LENGTH - 4).replaceAll(/[^a-z0-9]+$/g, '');
  }
  if (declaration.type === 'service')
    return nameFrom(declaration.unit.slice(0, -'.service'.length).replaceAll(/[^A-Za-z0-9._-]/g, '-'), 'service');
  return nameFrom(declaration.agent.slice(declaration.agent.indexOf(':') + 1), 'ocf');
}

function nameFrom(text: string, otherwise: string): string {
  const name = text
    .toLowerCase()
    .slice(0, MAX_NAME_LENGTH - 4)
    .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  return nameSchema.safeParse(name).success ? name : otherwise;
}

function freeId(wanted: string, taken: ReadonlyMap<string, string>): string {
  let id = wanted;
  for (let number = 2; taken.has(id); number++) id = `${wanted}-${number}`;
  return id;
}
