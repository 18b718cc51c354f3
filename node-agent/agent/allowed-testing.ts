/**
 * For the tests of what an agent may be made to do: a policy, and what it allows as one reads it off the text, written down a second time and
 * without any of the code that judges by it. Whatever reaches the boundary of the machine is looked at here.
 */
import { AGENTS, INTERFACES, type Noted, OWN_CGROUP, programOf, unitAt } from './machine-testing.ts';

/** A value with metacharacters, which the administrator has listed as it stands. */
export const LISTED_NOTE = '$(id); `id` | x > /y';

export const POLICY = `allow:
  vip: ["192.0.2.0/24", "2001:db8:7::/64"]
  drbd: [r0]
  mount: ["/srv/data/*"]
  service: [web.service, "app@*.service"]
  ocf:
    "heartbeat:paper":
      configfile: ["/etc/paper/*"]
      port: ["80", "443"]
      note: ['${LISTED_NOTE}']
    "paper:bare":
`;

const PLAIN = /^[A-Za-z0-9_.:@%+=,-]+$/;
const GROUPS = `${OWN_CGROUP}/holdfast-groups`;
const PARAMETERS: Readonly<Record<string, Readonly<Record<string, (value: string) => boolean>>>> = {
  'heartbeat/paper': {
    configfile: (value) => {
      const name = value.startsWith('/etc/paper/') ? value.slice('/etc/paper/'.length) : '/';
      return name === '' || (PLAIN.test(name) && name !== '.' && name !== '..');
    },
    port: (value) => value === '80' || value === '443',
    note: (value) => value === LISTED_NOTE,
  },
  'paper/bare': {},
};

function isAllowedAddress(address: string): boolean {
  const four = /^192\.0\.2\.(\d{1,3})$/.exec(address);
  if (four !== null) return String(Number(four[1])) === four[1] && Number(four[1]) <= 255;
  return /^2001:db8:7:(?::|0:)[0-9a-f:]*$/.test(address);
}

const isAllowedUnit = (unit: string) =>
  unit === 'web.service' || (/^app@[A-Za-z0-9:_.\\-]+\.service$/.test(unit) && unit.length < 256);

function isAllowedDirectory(path: string): boolean {
  const name = path.startsWith('/srv/data/') ? path.slice('/srv/data/'.length) : '';
  return PLAIN.test(name) && name !== '.' && name !== '..';
}

const isDevice = (path: string) => /^\/dev\/[A-Za-z0-9][A-Za-z0-9_./:-]*$/.test(path) && !path.includes('..');
const isWhole = (text: string) => /^\d+$/.test(text);
const isFileSystem = (type: string) => ['ext4', 'ext3', 'ext2', 'xfs', 'f2fs', 'vfat', 'exfat'].includes(type);

/** Nothing that mounts something else, runs a helper, or hands the file system to other users. */
function areMountOptions(options: string): boolean {
  const bad =
    /^(?:r?bind|move|remount|loop|helper|uhelper|r?shared|r?slave|r?private|users?|owner|group|offset)(?:=|$)|^x-/i;
  return options.split(',').every((option) => /^[A-Za-z0-9][A-Za-z0-9_.:=/-]*$/.test(option) && !bad.test(option));
}

/** A template of arguments: each a word, or what it must be like. */
type Template = readonly (string | ((text: string) => boolean))[];

const each = (args: readonly string[], template: Template) =>
  args.length === template.length &&
  template.every((part, index) => (typeof part === 'string' ? part === args[index] : part(args[index] ?? '')));
const oneOf = (args: readonly string[], templates: readonly Template[]) =>
  templates.some((template) => each(args, template));

function isAllowedIp(args: readonly string[]): boolean {
  const isAddress = (least4: number, least6: number) => (text: string) => {
    const [address = '', length = '', more] = text.split('/');
    const [least, most] = address.includes(':') ? [least6, 128] : [least4, 32];
    return more === undefined && isAllowedAddress(address) && isWhole(length) && +length >= least && +length <= most;
  };
  const isInterface = (name: string) => INTERFACES.includes(name);
  const add = ['address', 'add', isAddress(24, 64), 'dev', isInterface, 'valid_lft', isWhole, 'preferred_lft', isWhole];
  return oneOf(args, [
    ['-j', 'address', 'show'],
    ['-j', 'address', 'show', 'to', isAddress(32, 128)],
    add,
    [...add, 'nodad'],
    ['address', 'delete', isAddress(24, 64), 'dev', isInterface],
    ['-o', 'monitor', 'address', 'link'],
  ]);
}

function isAllowedMount(program: string, args: readonly string[]): boolean {
  const end: Template = ['--', isDevice, isAllowedDirectory];
  const mounts = [['-i'], ['-i', '-w']].flatMap((first): Template[] => [
    [...first, '-t', isFileSystem, ...end],
    [...first, '-t', isFileSystem, '-o', areMountOptions, ...end],
  ]);
  switch (program) {
    case 'mount':
      return oneOf(args, mounts);
    case 'umount':
      return each(args, ['-i', '--', isAllowedDirectory]);
    case 'blkid':
      return each(args, ['-p', '-o', 'value', '-s', 'TYPE', '--', isDevice]);
    case 'e2fsck':
      return each(args, ['-p', isDevice]);
    default:
      return false;
  }
}

const DRBDADM: readonly Template[] = [
  ['-d', 'dump-xml'],
  ...['up', 'primary', 'secondary', 'get-gi'].map((verb) => [verb, 'r0']),
];
const DRBDSETUP: readonly Template[] = [
  ['events2', '--now', '--statistics', 'all'],
  ['events2', 'all'],
  ['show', 'r0'],
  ['down', 'r0'],
  ['secondary', 'r0'],
  ['secondary', 'r0', '--force'],
  ...['resume-io', 'secondary'].map((verb) => [verb, '0']),
  ['detach', '0', '--force'],
];

const OCF_OWN =
  /^(?:PATH|LC_ALL|OCF_RA_VERSION_(?:MAJOR|MINOR)|OCF_ROOT|OCF_RESOURCE_(?:INSTANCE|TYPE|PROVIDER)|OCF_CHECK_LEVEL|OCF_RESKEY_CRM_meta_(?:name|timeout|interval)|HA_LOGFACILITY|HA_RSCTMP|HA_debug)$/;

function agentTrouble(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): string | undefined {
  const agent = path.slice('/usr/lib/ocf/resource.d/'.length);
  const parameters = AGENTS.includes(agent) ? PARAMETERS[agent] : undefined;
  if (parameters === undefined) return `the agent ${agent}`;
  const [action = '', more] = args;
  if (more !== undefined || !['meta-data', 'start', 'stop', 'monitor'].includes(action)) return `its arguments`;
  for (const [name, value] of Object.entries(env)) {
    if (/[\0\n\r]/.test(value)) return `a line end in ${name}`;
    if (OCF_OWN.test(name)) continue;
    const parameter = name.startsWith('OCF_RESKEY_') ? name.slice('OCF_RESKEY_'.length) : '';
    if (!Object.hasOwn(parameters, parameter) || parameters[parameter]?.(value) !== true)
      return `${name}=${JSON.stringify(value)}`;
  }
  return env.PATH === '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' ? undefined : 'its PATH';
}

function runTrouble({ argv, env, shell }: Extract<Noted, { kind: 'run' }>): string | undefined {
  const [program = '', ...args] = programOf(argv);
  if (shell !== undefined && shell !== false) return 'a shell';
  if (argv[0] === '/bin/sh') {
    // the text is fixed, and every value of it an argument
    const [, option, text = '', name, cgroup = ''] = argv;
    if (option !== '-c' || name !== 'sh' || !/^echo \$\$ .*; shift 2; exec "\$@"$/.test(text)) return 'the shell text';
    if (!cgroup.startsWith(`${GROUPS}/`) || /\/\.\.(?:\/|$)|[^ -~]/.test(cgroup)) return `the cgroup ${cgroup}`;
  }
  if (program.startsWith('/usr/lib/ocf/resource.d/')) return agentTrouble(program, args, env);
  const foreign = Object.entries(env).find(
    ([key, value]) =>
      !(key === 'LC_ALL' && value === 'C') &&
      !(key === 'PATH' && /^(?:\/usr)?\/s?bin(?::(?:\/usr)?\/s?bin)*$/.test(value)),
  );
  if (foreign !== undefined) return `${foreign.join('=')} in its environment`;
  const known = /^\/usr\/s?bin\/([a-z0-9]+)$/.exec(program)?.[1] ?? '';
  if (known === 'ip') return isAllowedIp(args) ? undefined : 'the arguments of ip';
  if (known === 'drbdadm') return oneOf(args, DRBDADM) ? undefined : 'the arguments of drbdadm';
  if (known === 'drbdsetup') return oneOf(args, DRBDSETUP) ? undefined : 'the arguments of drbdsetup';
  return isAllowedMount(known, args) ? undefined : `${known} with these arguments`;
}

function systemdTrouble({ call }: Extract<Noted, { kind: 'systemd' }>): string | undefined {
  const [first = ''] = call.body ?? [];
  switch (call.member) {
    case 'StartUnit':
    case 'StopUnit':
    case 'KillUnit':
    case 'ResetFailedUnit':
      return isAllowedUnit(String(first)) ? undefined : `${call.member} of ${first}`;
    case 'GetAll': {
      const unit = unitAt(call.path);
      return isAllowedUnit(unit) || unit === 'holdfast.service' ? undefined : `it looked at ${unit}`;
    }
    default:
      return ['Get', 'Reload', 'Subscribe', 'Hello', 'AddMatch'].includes(call.member) ? undefined : call.member;
  }
}

/** @param stateDir what the agent may write besides. @returns what the policy does not allow about it. */
export function trouble(noted: Noted, stateDir: string): string | undefined {
  switch (noted.kind) {
    case 'run':
      return runTrouble(noted);
    case 'systemd':
      return systemdTrouble(noted);
    case 'kill':
      // only what was started here, as a process group
      return noted.pid < -1_000_000 ? undefined : `a signal to ${noted.pid}`;
    case 'write': {
      const { path } = noted;
      if (path.includes('/../') || path.endsWith('/..')) return `it wrote ${path}`;
      const unit = /^\/run\/systemd\/system\/([^/]+)\.d(?:\/zz-holdfast\.conf(?:\.new)?)?$/.exec(path)?.[1];
      if (unit !== undefined) return isAllowedUnit(unit) ? undefined : `a drop-in of ${unit}`;
      const sound =
        path.startsWith(`${stateDir}/`) ||
        path.startsWith(`${GROUPS}/`) ||
        [GROUPS, '/run/resource-agents'].includes(path) ||
        isAllowedDirectory(path);
      return sound ? undefined : `it wrote ${path}`;
    }
  }
}

/** What the guard is told to take away when a lease ends, and to say to the neighbours. */
export function guardTrouble(line: string): string | undefined {
  const [verb = '', first = '', ...rest] = line.split(' ');
  const allowed = (address: string) => isAllowedAddress(address.split('/')[0] ?? '');
  if (verb === 'announce' || verb === 'probe')
    return INTERFACES.includes(first) && allowed(rest[0] ?? '') ? undefined : line;
  if (verb !== 'hold' && verb !== 'unhold')
    return /^(?:hello|state|incarnation|note|arm|pet|promise|disarm|reset)$/.test(verb) ? undefined : line;
  const [kind, what = '', more = '', extra] = rest;
  const cgroup = /^\/sys\/fs\/cgroup\/system\.slice\/([^/]+)$/.exec(what)?.[1];
  switch (kind) {
    case 'vip':
      return INTERFACES.includes(what) && allowed(more) && extra === undefined ? undefined : line;
    case 'mount':
      return /^\d+:\d+$/.test(what) && isAllowedDirectory(more) && extra === undefined ? undefined : line;
    case 'drbd':
      return what === 'r0' && more === '' ? undefined : line;
    case 'cgroup':
      return (cgroup === undefined ? what.startsWith(`${GROUPS}/`) : isAllowedUnit(cgroup)) && more === ''
        ? undefined
        : line;
    default:
      return line;
  }
}
