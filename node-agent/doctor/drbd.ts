/** Is DRBD set up so that it promotes nothing by itself, waits for the coordinator, and notices a loss sooner than the lease does? */
import { type ConfigPart, type Copy, differingParts } from '../../schemas/copies.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import { type DrbdConfig, isOurHandler, optionOf } from '../resources/index.ts';
import type { Wanted } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

export interface DrbdFacts {
  readonly wanted: Wanted<'drbd'>;
  /** Or why there is none: no drbd-utils, no such resource, a file that cannot be read. */
  readonly config: DrbdConfig | { readonly problem: string };
  /** Of the kernel module; undefined: it is not loaded. */
  readonly version: { readonly text: string; readonly major: number } | undefined;
  /** What the kernel has in force; undefined: it does not know the resource. */
  readonly kernel: { readonly freezes: boolean; readonly copy: Pick<Copy, 'disk' | 'frozen' | 'peers'> } | undefined;
  /** `uname -n` */
  readonly host: string;
  /** Is there a program of this name? */
  readonly exists: (path: string) => boolean;
}

const { ok, warning, error } = sayer('drbd');

export function drbdFindings(facts: readonly DrbdFacts[], timing: LeaseTiming): Finding[] {
  return facts.flatMap((one) => {
    const { subject, resource } = one.wanted;
    const { config } = one;
    if ('problem' in config) return [error(subject, config.problem, fixOf(config.problem, resource.resource))];
    const found = [
      ...moduleFindings(one),
      ...hostFindings(one, config),
      ...promotionFindings(subject, config, one.version),
      ...fencingFindings(one, config),
      ...dataFindings(subject, config),
      ...timeFindings(subject, config, timing),
      ...stateFindings(one),
    ];
    return found.length > 0
      ? found
      : [ok(subject, `${resource.resource} promotes nothing by itself and asks before it goes on without a peer`)];
  });
}

function fixOf(problem: string, name: string): string {
  if (problem.includes('drbd-utils')) return 'apt-get install drbd-utils';
  return problem.includes('cannot be read')
    ? 'drbdadm dump shows where'
    : `write /etc/drbd.d/${name}.res, the same on every node of the group`;
}

function moduleFindings({ wanted, version }: DrbdFacts): Finding[] {
  if (version !== undefined) return [];
  return [
    error(
      wanted.subject,
      'the kernel has no drbd module loaded',
      'modprobe drbd && echo drbd > /etc/modules-load.d/drbd.conf',
    ),
  ];
}

function hostFindings({ wanted, host }: DrbdFacts, { name, hosts }: DrbdConfig): Finding[] {
  const names = hosts.map((one) => one.name);
  if (!names.includes(host))
    return [
      error(
        wanted.subject,
        `${name} names ${names.join(', ')}, and this machine is ${host}`,
        `in its file \`on\` takes what uname -n prints, on every machine`,
      ),
    ];
  return [];
}

function promotionFindings(subject: string, config: DrbdConfig, version: DrbdFacts['version']): Finding[] {
  const found: Finding[] = [];
  const { name } = config;
  if (version !== undefined && version.major >= 9 && optionOf(config, 'auto-promote', 'options') !== 'no')
    found.push(
      error(
        subject,
        `${name} becomes Primary on whatever machine opens its device (auto-promote)`,
        `options { auto-promote no; } in its file, then: drbdadm adjust ${name}`,
      ),
    );
  const atBoot = optionOf(config, 'become-primary-on', 'startup');
  if (atBoot !== undefined)
    found.push(
      error(
        subject,
        `${name} becomes Primary at boot, without a lease (become-primary-on ${atBoot})`,
        'take become-primary-on out of its `startup`',
      ),
    );
  const two = optionOf(config, 'allow-two-primaries', 'net');
  if (two !== undefined && two !== 'no')
    found.push(
      error(
        subject,
        `${name} may be Primary on two machines at once (allow-two-primaries)`,
        `take allow-two-primaries out of its \`net\`, then: drbdadm adjust ${name}`,
      ),
    );
  return found;
}

function fencingFindings({ wanted, kernel, version, exists }: DrbdFacts, config: DrbdConfig): Finding[] {
  const { subject } = wanted;
  const { name } = config;
  const found: Finding[] = [];
  const policy = optionOf(config, 'fencing', 'net', 'disk') ?? 'dont-care';
  const section = version !== undefined && version.major < 9 ? 'disk' : 'net';
  if (policy !== 'resource-and-stonith')
    found.push(
      error(
        subject,
        `a Primary of ${name} that loses its peer writes on before the coordinator knows (fencing ${policy}); should it die then, older data may be served`,
        `${section} { fencing resource-and-stonith; } in its file, then: drbdadm adjust ${name}`,
      ),
    );
  else if (kernel !== undefined && !kernel.freezes)
    found.push(
      error(
        subject,
        `the kernel does not work by the file of ${name}: it has another fencing policy`,
        `drbdadm adjust ${name}`,
      ),
    );
  for (const handler of ['fence-peer', 'unfence-peer'] as const) {
    const command = optionOf(config, handler, 'handlers');
    const [program = ''] = command?.split(/\s+/) ?? [];
    const fix = `handlers { ${handler} "/usr/lib/holdfast/holdfast-drbd ${handler}"; } in its file, or in /etc/drbd.d/global_common.conf`;
    if (!isOurHandler(command)) {
      const say = handler === 'fence-peer' ? error : warning;
      found.push(
        say(
          subject,
          `the handler ${handler} of ${name} is ${command === undefined ? 'not set' : `“${command}”`}, so DRBD does not ask the coordinator`,
          fix,
        ),
      );
    } else if (!exists(program))
      found.push(error(subject, `the handler ${handler} of ${name} runs ${program}, which is not there`, fix));
  }
  const suspended = optionOf(config, 'on-suspended-primary-outdated', 'options');
  if (version !== undefined && version.major >= 9 && suspended !== 'force-secondary')
    found.push(
      warning(
        subject,
        `a Primary of ${name} that was cut off stays frozen when it comes back to a newer one`,
        `options { on-suspended-primary-outdated force-secondary; } in its file (DRBD 9.1.7 and newer), then: drbdadm adjust ${name}`,
      ),
    );
  return found;
}

function dataFindings(subject: string, config: DrbdConfig): Finding[] {
  const { name } = config;
  const protocol = optionOf(config, 'protocol', 'net') ?? 'C';
  const found: Finding[] = [];
  if (protocol !== 'C')
    found.push(
      error(
        subject,
        `${name} says that something is written before its peer has it (protocol ${protocol}): a failover loses that`,
        'net { protocol C; } in its file',
      ),
    );
  for (const [option, harmless] of [
    ['after-sb-0pri', ['disconnect', 'discard-zero-changes']],
    ['after-sb-1pri', ['disconnect']],
    ['after-sb-2pri', ['disconnect']],
  ] as const) {
    const value = optionOf(config, option, 'net');
    if (value === undefined || (harmless as readonly string[]).includes(value)) continue;
    found.push(
      warning(
        subject,
        `after a split brain ${name} throws one side away by itself (${option} ${value})`,
        `take ${option} out of its \`net\``,
      ),
    );
  }
  return found;
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

/** Whoever takes over cannot be Primary before DRBD there has noticed that the old one is gone. */
function timeFindings(subject: string, config: DrbdConfig, { takeoverMs }: LeaseTiming): Finding[] {
  const number = (option: string, otherwise: number) => Number(optionOf(config, option, 'net') ?? otherwise);
  // drbd.conf(5): tenths of a second, and seconds for ping-int
  const idleMs = number('ping-int', 10) * 1_000 + number('ping-timeout', 5) * 100;
  const writingMs = number('timeout', 60) * 100;
  const slowest = Math.max(idleMs, writingMs);
  if (!Number.isFinite(slowest) || slowest <= takeoverMs) return [];
  return [
    warning(
      subject,
      `${config.name} notices after up to ${seconds(slowest)} that a peer is gone, the lease is free after ${seconds(takeoverMs)}: a failover waits for DRBD`,
      `net { timeout 25; ping-int 3; ping-timeout 5; } in its file (tenths of a second, and seconds for ping-int), then: drbdadm adjust ${config.name}`,
    ),
  ];
}

function stateFindings({ wanted, kernel, version }: DrbdFacts): Finding[] {
  const { subject, resource } = wanted;
  const name = resource.resource;
  if (version === undefined) return [];
  if (kernel === undefined)
    return [warning(subject, `${name} is not up`, `its agent brings it up; by hand: drbdadm up ${name}`)];
  const { disk, frozen, peers } = kernel.copy;
  const found: Finding[] = [];
  if (disk !== 'UpToDate')
    found.push(warning(subject, `the copy of ${name} here is ${disk}`, `drbdadm status ${name}`));
  if (frozen === true)
    found.push(
      error(
        subject,
        `writes of ${name} are frozen`,
        `drbdadm status ${name}; they go on when the coordinator or the peer is back`,
      ),
    );
  if (peers.length === 0)
    found.push(error(subject, `${name} is not connected to anybody and does not try to be`, `drbdadm connect ${name}`));
  for (const { host, connection, splitBrain } of peers) {
    if (connection === 'Connected') continue;
    const alone = connection === 'StandAlone';
    found.push(
      (alone ? error : warning)(
        subject,
        `${name} is not connected to ${host}: ${connection}${splitBrain === true ? ', split brain' : ''}`,
        alone
          ? `if they have diverged: holdfast drbd resolve-split-brain ${name}; else drbdadm connect ${name}`
          : `is ${host} up, and its port for ${name} open?`,
      ),
    );
  }
  return found;
}

/** Without these alike the copies do not work together, or one of them promotes, writes or waits otherwise than the other. */
const GRAVE: ReadonlySet<ConfigPart> = new Set(['hosts', 'volumes', 'protocol', 'fencing', 'auto-promote', 'handlers']);

/** Of the cluster: are the sides configured alike, up and connected? */
export function copyFindings(copies: readonly { readonly node: string; readonly copy: Copy }[]): Finding[] {
  const names = [...new Set(copies.map(({ copy }) => copy.name))];
  const troubles = copies.flatMap(({ node, copy: { name, problem } }) =>
    problem === undefined ? [] : [error(node, `its copy of ${name}: ${problem}`, `holdfast doctor, on ${node}`)],
  );
  return [...names.flatMap((name) => differences(name, copies)), ...troubles];
}

/** Each against the first. */
function differences(name: string, copies: Parameters<typeof copyFindings>[0]): Finding[] {
  const [first, ...others] = copies.flatMap(({ node, copy: { name: of, config } }) =>
    of === name && config !== undefined ? [{ node, config }] : [],
  );
  if (first === undefined) return [];
  return others.flatMap(({ node, config }) => {
    if (config === first.config) return [];
    const parts = differingParts(first.config, config);
    if (parts === undefined) return [];
    const say = parts.some((part) => GRAVE.has(part)) ? error : warning;
    return [
      say(
        name,
        `is not configured alike on ${first.node} and ${node}: ${parts.map(partText).join(', ')}`,
        `drbdadm dump ${name} shows both; make the files in /etc/drbd.d the same, then on each: drbdadm adjust ${name}`,
      ),
    ];
  });
}

function partText(part: ConfigPart): string {
  switch (part) {
    case 'hosts':
      return 'its `on` sections (names and addresses)';
    case 'volumes':
      return 'its volumes and their devices';
    case 'handlers':
      return 'its `handlers`';
    case 'net':
    case 'disk':
    case 'options':
      return `something in its \`${part}\``;
    case 'protocol':
    case 'fencing':
    case 'auto-promote':
      return part;
    default:
      return part satisfies never;
  }
}
