/** What may stand where an argument or the value of an option is wanted: by the place itself, else by the word that stands for it in the help. */
import type { Argument, Command, Option } from 'commander';
import { flagOf, lineage } from './line.ts';

/** Names that only the coordinator knows. */
const NAME_KINDS = [
  'groups',
  'nodes',
  'operations',
  'clusters',
  'webhooks',
  'incidents',
  'tokens',
  'revisions',
] as const;
export type NameKind = (typeof NAME_KINDS)[number];

export interface Suggestion {
  readonly value: string;
  readonly description?: string;
}

export type Source =
  | { readonly kind: 'names'; readonly of: NameKind }
  | { readonly kind: 'files' }
  | { readonly kind: 'directories' }
  | { readonly kind: 'fixed'; readonly suggestions: readonly Suggestion[] }
  /** The operator's own words: nothing can be offered. */
  | { readonly kind: 'free' };

const names = (of: NameKind): Source => ({ kind: 'names', of });
const fixed = (...suggestions: readonly (readonly [value: string, description: string])[]): Source => ({
  kind: 'fixed',
  suggestions: suggestions.map(([value, description]) => ({ value, description })),
});
const files: Source = { kind: 'files' };
const directories: Source = { kind: 'directories' };
const free: Source = { kind: 'free' };

/** `<group>` in the help of any command is the name of a group, and so on. */
const BY_WORD: Readonly<Record<string, Source>> = {
  group: names('groups'),
  node: names('nodes'),
  id: names('operations'),
  webhook: names('webhooks'),
  incident: names('incidents'),
  token: names('tokens'),
  revision: names('revisions'),
  file: files,
  dir: directories,
  url: free,
  duration: free,
  when: free,
  text: free,
  'address:port': free,
};

/** What the guard does when something that no lease covers any more cannot be taken away. */
const lastWords = fixed(
  ['none', 'the guard alone'],
  ['watchdog', 'a watchdog resets the machine'],
  ['sysrq', 'the kernel is asked to reset the machine'],
);

/** Where the word alone does not say it. */
const BY_PLACE: Readonly<Record<string, Source>> = {
  'holdfast --cluster': names('clusters'),
  'holdfast cluster create <name>': free,
  'holdfast node token create --node': names('nodes'),
  'holdfast webhook create --events': fixed(
    ['*', 'everything'],
    ['group.*', 'what happens to groups'],
    ['node.*', 'what happens to nodes'],
    ['resource.*', 'what happens to single resources'],
  ),
  'holdfast webhook replay <notice>': free,
  'holdfast token create <name>': free,
  'holdfast config diff <from>': names('revisions'),
  'holdfast config diff <to>': names('revisions'),
  'holdfast token create --groups': names('groups'),
  'holdfast confirm-dead --accept-risk': fixed([
    'not-really-off',
    'two owners, if the machine is in truth still running',
  ]),
  'holdfast move --accept-risk': fixed([
    'lose-newer-writes',
    'what was written last may be missing where the group goes',
  ]),
  'holdfast drbd resolve-split-brain <resource>': free,
  'holdfast drbd resolve-split-brain --accept-risk': fixed([
    'discard-this-copy',
    'what was written on this machine since the two parted',
  ]),
  'holdfast agent --reset': lastWords,
  'holdfast agent --watchdog': files,
  'holdfast join --reset': lastWords,
  'holdfast join --watchdog': files,
  'holdfast join --lan-address': free,
  'holdfast join --allow': fixed(
    ['vip=', 'addresses of a subnet: vip=192.0.2.0/24'],
    ['drbd=', 'DRBD resources: drbd=r0'],
    ['mount=', 'mount points: mount=/srv/*'],
    ['service=', 'a systemd unit: service=mariadb.service'],
    ['ocf=', 'an OCF agent: ocf=heartbeat:nginx:configfile=/etc/nginx/*'],
  ),
};

/** @param command where the option was declared, or any command below that. @returns undefined for a place that nobody has thought of. */
export function sourceOf(command: Command, wanted: Option | Argument): Source | undefined {
  if (wanted.argChoices !== undefined)
    return { kind: 'fixed', suggestions: wanted.argChoices.map((value) => ({ value })) };
  const word = 'flags' in wanted ? (/[<[](.+?)(?:\.\.\.)?[\]>]/.exec(wanted.flags)?.[1] ?? '') : wanted.name();
  return BY_PLACE[placeOf(command, wanted, word)] ?? (Object.hasOwn(BY_WORD, word) ? BY_WORD[word] : undefined);
}

/** `holdfast node token create --node`, `holdfast cluster create <name>` */
export function placeOf(command: Command, wanted: Option | Argument, word: string): string {
  const line = lineage(command);
  if (!('flags' in wanted)) return `${pathOf(line)} <${word}>`;
  const declared = line.findLastIndex((one) => one.options.includes(wanted));
  return `${pathOf(line.slice(0, declared + 1))} ${flagOf(wanted)}`;
}

const pathOf = (line: readonly Command[]) => line.map((one) => one.name()).join(' ');
