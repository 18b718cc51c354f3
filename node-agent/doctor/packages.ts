/** Are the programs there that the declared resources execute? Each with the package that brings it. */
import { aptGet, packageOfProvider } from './debian.ts';
import type { Wanted } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

/** Programs that the resource types themselves run. */
export const TOOLS = {
  ip: 'iproute2',
  mount: 'mount',
  umount: 'mount',
  losetup: 'mount',
  swapoff: 'mount',
  blkid: 'util-linux',
  e2fsck: 'e2fsprogs',
} as const;
export type Tool = keyof typeof TOOLS;

export interface AgentFacts {
  readonly wanted: Wanted<'ocf'>;
  /** Why it must not or cannot be run; with `missing`: it is not there at all. */
  readonly problem?: string;
  readonly missing?: boolean;
  /** What is wrong with the declared parameters by the agent's own meta-data. */
  readonly parameters?: string;
  /** Why its meta-data was not asked for, or did not come. */
  readonly notAsked?: string;
  readonly programs: readonly { readonly name: string; readonly found: boolean; readonly package: string }[];
}

export interface PackageFacts {
  readonly missingTools: ReadonlySet<Tool>;
  readonly vips: readonly Wanted<'vip'>[];
  readonly mounts: readonly Wanted<'mount'>[];
  /** File systems that the kernel has or can load; undefined: it cannot be told. */
  readonly fileSystems: ReadonlySet<string> | undefined;
  readonly kernel: string;
  readonly agents: readonly AgentFacts[];
}

const { ok, warning, error, unknown } = sayer('packages');

export function packageFindings(facts: PackageFacts): Finding[] {
  const found = [...toolFindings(facts), ...fileSystemFindings(facts), ...facts.agents.flatMap(agentFindings)];
  if (found.length > 0 || facts.vips.length + facts.mounts.length + facts.agents.length === 0) return found;
  return [ok('programs', 'everything that the declared resources execute is installed')];
}

function toolFindings({ missingTools, vips, mounts }: PackageFacts): Finding[] {
  const lacks = (tool: Tool) => missingTools.has(tool);
  const install = (tool: Tool) => aptGet(TOOLS[tool]);
  const address =
    lacks('ip') && vips.length > 0 ? [error('ip', `is not installed; ${uses(vips)} need it`, install('ip'))] : [];
  if (mounts.length === 0) return address;
  const needed = (['mount', 'umount', 'blkid'] as const)
    .filter(lacks)
    .map((tool) => error(tool, `is not installed; ${uses(mounts)} need it`, install(tool)));
  const helpful = (['losetup', 'swapoff'] as const)
    .filter(lacks)
    .map((tool) =>
      warning(
        tool,
        `is not installed; a ${tool === 'losetup' ? 'loop device' : 'swap file'} on the file system would keep it from being unmounted`,
        install(tool),
      ),
    );
  const checked = mounts.filter(({ resource }) => /^ext\d$/.test(resource.fstype) && resource.fsck === 'auto');
  const check =
    lacks('e2fsck') && checked.length > 0
      ? [
          warning(
            'e2fsck',
            `is not installed; damage in ${uses(checked)} could not be mended before the mount`,
            install('e2fsck'),
          ),
        ]
      : [];
  return [...address, ...needed, ...helpful, ...check];
}

function fileSystemFindings({ mounts, fileSystems, kernel }: PackageFacts): Finding[] {
  if (fileSystems === undefined) return [];
  return mounts
    .filter(({ resource }) => !fileSystems.has(resource.fstype))
    .map(({ subject, resource }) =>
      error(
        subject,
        `the kernel ${kernel} has no ${resource.fstype} and no module of that name`,
        `install a kernel that has it (${aptGet('linux-image-amd64')} has), or make the file system another type`,
      ),
    );
}

function agentFindings(facts: AgentFacts): Finding[] {
  const { subject, resource } = facts.wanted;
  const programs = facts.programs
    .filter((program) => !program.found)
    .map((program) =>
      error(subject, `${resource.agent} runs ${program.name}, which is not here`, aptGet(program.package)),
    );
  if (facts.problem !== undefined) return [error(subject, facts.problem, agentFix(facts)), ...programs];
  if (facts.parameters !== undefined)
    return [
      error(subject, facts.parameters, `correct the parameters of ${subject} in the document: holdfast apply`),
      ...programs,
    ];
  if (facts.notAsked !== undefined)
    return [unknown(subject, `the parameters could not be checked: ${facts.notAsked}`), ...programs];
  return programs;
}

function agentFix({ missing, wanted, problem }: AgentFacts): string {
  if (missing !== true) return /chmod .*$/.exec(problem ?? '')?.[0] ?? 'give it and the directories above it to root';
  const [provider = ''] = wanted.resource.agent.replace(/^ocf:/, '').split(':');
  const brings = packageOfProvider(provider);
  return brings === undefined ? `install what brings the agents of ${provider}` : aptGet(brings);
}

function uses(list: readonly { readonly subject: string }[]): string {
  return list.map(({ subject }) => subject).join(', ');
}
