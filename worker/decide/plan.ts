/** What a new document would do, before it is applied. */
import { createTwoFilesPatch } from 'diff';
import type { Plan } from '../../schemas/api.ts';
import type { Config, GroupConfig } from '../../schemas/config.ts';
import { formatDuration } from '../../schemas/duration.ts';
import { betterNode } from './failback.ts';
import { rank } from './placement.ts';
import { newGroup, withDurable } from './records.ts';
import { reasonToLeave } from './release.ts';
import type { ClusterState, GroupRecord } from './state.ts';

type Effect = Plan['effects'][number];
const order: readonly Effect['effect'][] = ['removed', 'moves', 'restarts', 'created', 'settings', 'unchanged'];

/** @param current the document in force, '' if there is none. @param next the new one, and `config` what it parses to. */
/**
 * A difference is looked for in the thread that renewals need, by an algorithm that takes as long as the texts are different: beyond so many
 * changed lines it is not shown.
 */
const PATCH = { context: 3, maxEditLength: 2_000 };
const TOO_DIFFERENT = 'the two documents have too little in common to be shown line by line\n';

export function planChange(state: ClusterState, current: string, next: string, config: Config): Plan {
  const { revision, config: before } = state.durable;
  const effects: Effect[] = [];
  const names = new Set([...Object.keys(before?.groups ?? {}), ...Object.keys(config.groups)]);
  const after = withDurable(state, { config });
  for (const name of names)
    effects.push(
      effectOn(state.durable.groups[name], before?.groups[name], config.groups[name], name, { state, after }),
    );
  if (before !== null && JSON.stringify(before.timing) !== JSON.stringify(config.timing))
    effects.push({
      group: '*',
      effect: 'settings',
      detail: 'lease timing changes at each node’s next renewal; no restart',
    });
  effects.sort((a, b) => order.indexOf(a.effect) - order.indexOf(b.effect));
  return {
    schema: 'holdfast/plan/v1',
    revision,
    changed: current.trim() !== next.trim(),
    diff:
      current.trim() === next.trim()
        ? ''
        : (createTwoFilesPatch(`revision ${revision}`, 'new', current, next, undefined, undefined, PATCH) ??
          TOO_DIFFERENT),
    effects,
  };
}

function effectOn(
  record: GroupRecord | undefined,
  before: GroupConfig | undefined,
  after: GroupConfig | undefined,
  group: string,
  states: { readonly state: ClusterState; readonly after: ClusterState },
): Effect {
  const lease = record?.lease;
  const owner = lease !== null && lease !== undefined && !lease.released ? lease.owner : undefined;
  if (after === undefined)
    return { group, effect: 'removed', detail: owner === undefined ? 'does not run' : `${owner} stops it` };
  if (before === undefined) return { group, effect: 'created', detail: firstPlace(after, states.after) };
  if (owner !== undefined && !after.on.includes(owner))
    return {
      group,
      effect: 'moves',
      detail: `${owner} is no longer in its \`on\` list: stops there, starts on ${after.on[0]}`,
    };
  const ruled = owner === undefined ? undefined : ruledAway(group, owner, states);
  if (ruled !== undefined) return { group, effect: 'moves', detail: ruled };
  const first = firstDifference(before, after);
  if (first !== undefined)
    return {
      group,
      effect: 'restarts',
      detail:
        owner === undefined
          ? `${first} changed; it does not run now`
          : `${first} changed: it and what comes after it restart on ${owner}`,
    };
  if (canonical(before) !== canonical(after))
    return {
      group,
      effect: 'settings',
      detail: `no restart${goesBack(record, after, states.after)}${outlives(before, after)}${demands(before, after, owner, states.after)}`,
    };
  return { group, effect: 'unchanged', detail: 'no change' };
}

/** What the groups it names say of the place and time of its first start. */
function firstPlace(group: GroupConfig, after: ClusterState): string {
  const first =
    group.after.length === 0 ? '' : `, once ${listed(group.after)} ${group.after.length === 1 ? 'is' : 'are'} up`;
  const never = group.apart.length === 0 ? '' : `, never beside ${group.apart.join(' or ')}`;
  if (group.with.length > 0) return `starts where ${listed(group.with)} runs${never}${first}`;
  const now = after.volatile.lastEventAt;
  const best = rank(after, newGroup(group.name, now), now).toSorted((a, b) => (b.score ?? 0) - (a.score ?? 0));
  return `starts on ${best[0]?.node ?? group.on[0]}, or on the next of its nodes that can${never}${first}`;
}

const listed = (names: readonly string[]) => names.join(' and ');

/** @returns why a changed rule makes the group leave its node, and where it goes; undefined if none does. */
function ruledAway(
  name: string,
  owner: string,
  { state, after }: { readonly state: ClusterState; readonly after: ClusterState },
): string | undefined {
  const now = state.volatile.lastEventAt;
  const record = state.durable.groups[name];
  const why = reasonToLeave(after, name, now);
  if (record === undefined || why === undefined || reasonToLeave(state, name, now) !== undefined) return undefined;
  const candidates = rank(after, record, now, { asked: true });
  const next = candidates.find(({ node, eligible }) => eligible && node !== owner)?.node;
  return `${why}: stops on ${owner}, ${next === undefined ? 'and waits until it can start elsewhere' : `starts on ${next}`}`;
}

function goesBack(record: GroupRecord | undefined, { failbackMs }: GroupConfig, after: ClusterState): string {
  if (record === undefined || failbackMs === null) return '';
  const node = betterNode(after, record, after.volatile.lastEventAt);
  return node === undefined
    ? ''
    : `; moves to ${node} when that has been able to run it for ${formatDuration(failbackMs)} (failback)`;
}

/** What it does when its node loses the coordinator, where that changes. */
function outlives(before: GroupConfig, { requires }: GroupConfig): string {
  if (before.requires === requires) return '';
  return requires === 'uplink'
    ? '; from now on it stops when its node loses the coordinator'
    : '; from now on it goes on when its node loses the coordinator, while its voters keep out';
}

/** A watchdog that it demands from now on, and its owner lacks: it is not stopped for that. */
function demands(
  before: GroupConfig,
  { fence }: GroupConfig,
  owner: string | undefined,
  { durable }: ClusterState,
): string {
  if (before.fence === fence) return '';
  if (fence === 'guard') return '; from now on it demands no watchdog';
  const lacks = owner !== undefined && durable.nodes[owner]?.fuse?.kind !== 'watchdog';
  return `; from now on it starts only on nodes with a watchdog${lacks ? `; ${owner}, where it runs, has none: it goes on there` : ''}`;
}

/** One text for what is equal, in whatever order its keys were written: a configuration completed on reading has its own. */
function canonical(value: unknown): string {
  const sorted = (part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part;
  return JSON.stringify(value, (_, part) => sorted(part));
}

/** The first resource, in start order, that differs in more than its times and its failure policy: it and what follows restarts. */
export function firstDifference(
  before: Pick<GroupConfig, 'resources'>,
  after: Pick<GroupConfig, 'resources'>,
): string | undefined {
  const length = Math.max(before.resources.length, after.resources.length);
  for (let index = 0; index < length; index++) {
    const a = before.resources[index];
    const b = after.resources[index];
    const bare = { times: undefined, policy: undefined };
    if (canonical({ ...a, ...bare }) !== canonical({ ...b, ...bare })) return b?.id ?? a?.id;
  }
  return undefined;
}
