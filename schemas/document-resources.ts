/**
 * The resources of a group: what each of them is, under which name, and that no two of the document claim the same address, device,
 * directory or unit.
 */
import { MOUNT_DEFAULTS, MOUNT_FILE_SYSTEMS, RESOURCE_KINDS, type ResourceDeclaration } from './config.ts';
import { readVirtualAddress } from './document-address.ts';
import { listed } from './document-issues.ts';
import { isBelow, mountProblems, readMountLine } from './document-mount.ts';
import type { PartsOfGroup, ReportProblem, WrittenResource } from './document-parts.ts';
import { checkPolicy, checkTimes, policyOf, timesOf } from './document-policy.ts';
import { type Path, pathText, type Source } from './document-source.ts';
import { MAX_COPIES, MAX_NAME_LENGTH } from './limits.ts';
import { nameSchema } from './names.ts';
import { readUnitName } from './unit-name.ts';

/** What only one resource of the whole document may name, and where it is named first. */
export interface Taken {
  readonly addresses: Map<string, string>;
  readonly drbd: Map<string, string>;
  readonly devices: Map<string, string>;
  readonly units: Map<string, string>;
  readonly directories: Map<string, { readonly group: PropertyKey | undefined; readonly at: string }>;
}

export function checkResources(
  group: PartsOfGroup,
  taken: Taken,
  source: Source,
  report: ReportProblem,
): ResourceDeclaration[] {
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
    checkPolicy(resource, path, source, report);
    const bare = declarationOf(resource, path, taken, source, report);
    if (bare === undefined) return;
    const id = resource.id ?? freeId(defaultId(bare), ids);
    ids.set(id, pathText(path));
    declarations.push({ ...bare, id, times: timesOf(resource), policy: policyOf(resource) });
  });
  return declarations;
}

type BareDeclaration =
  | { type: 'vip'; address: string; interface?: string }
  | { type: 'drbd'; resource: string }
  | Omit<Extract<ResourceDeclaration, { type: 'mount' }>, 'id' | 'times' | 'policy'>
  | { type: 'service'; unit: string }
  | { type: 'ocf'; agent: string; params: Record<string, string> };

function declarationOf(
  resource: WrittenResource,
  path: Path,
  taken: Taken,
  source: Source,
  report: ReportProblem,
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
  if (resource.drbd !== undefined) return drbdOf(resource.drbd, path, taken.drbd, source, report);
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
  report: ReportProblem,
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

function drbdOf(
  drbd: NonNullable<WrittenResource['drbd']>,
  path: Path,
  taken: Map<string, string>,
  source: Source,
  report: ReportProblem,
): BareDeclaration | undefined {
  const short = typeof drbd === 'string';
  const name = short ? drbd : drbd.resource;
  const at = short ? [...path, 'drbd'] : [...path, 'drbd', 'resource'];
  const first = taken.get(name);
  if (first !== undefined) report(at, source.valueAt(at), `the DRBD resource ${name} is already that of ${first}`);
  else taken.set(name, pathText(path));
  if (first === undefined && taken.size === MAX_COPIES + 1)
    report(at, source.valueAt(at), `at most ${MAX_COPIES} DRBD resources; put several volumes into one`);
  return { type: 'drbd', resource: name };
}

function mountOf(
  mount: NonNullable<WrittenResource['mount']>,
  path: Path,
  taken: Taken,
  source: Source,
  report: ReportProblem,
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
    fsck: more.fsck ?? MOUNT_DEFAULTS.fsck,
    disk: more.disk ?? MOUNT_DEFAULTS.disk,
  };
}

function serviceOf(
  service: NonNullable<WrittenResource['service']>,
  path: Path,
  units: Map<string, string>,
  source: Source,
  report: ReportProblem,
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

/** `vip-192.0.2.10`, `vip-2001-db8--10`, `drbd-r0`, `mount-srv-mysql`, `nginx`, `app-1`: a name that says what it is and fits everywhere. */
function defaultId(declaration: BareDeclaration): string {
  if (declaration.type === 'vip') {
    const ip = declaration.address.slice(0, declaration.address.indexOf('/'));
    const name = `vip-${ip.replaceAll(':', '-')}`;
    return name.endsWith('-') ? `${name}0` : name;
  }
  if (declaration.type === 'drbd')
    return nameFrom(`drbd-${declaration.resource.replaceAll(/[^A-Za-z0-9._-]/g, '-')}`, 'drbd');
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
