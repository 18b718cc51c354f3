/**
 * The rules between groups (`after`, `with`, `apart`) and for their place (`prefer`, `failback`, `failover`): whatever can never
 * work is refused here, so that what is in force can be trusted to make sense.
 */
import { type GroupConfig, labelSchema } from './config.ts';
import { listed } from './document-issues.ts';
import type { Parts, PartsOfGroup, ReportProblem } from './document-parts.ts';
import { checkRange } from './document-policy.ts';
import type { Path, Source } from './document-source.ts';
import { MAX_PREFERENCES, MAX_RELATED_GROUPS } from './limits.ts';
import { nearest } from './names.ts';

const RELATIONS = ['after', 'with', 'apart'] as const;
type Relation = (typeof RELATIONS)[number];
const MIN_FAILBACK_MS = 1_000;
/** More names than this help nobody who mistyped one. */
const NAMES_SHOWN = 12;

interface Context {
  readonly groups: ReadonlyMap<string, GroupConfig>;
  readonly source: Source;
  readonly report: ReportProblem;
}

/** @param groups as far as they are well formed, with the defaults filled in. */
export function checkRules(
  parts: Pick<Parts, 'groups' | 'labels' | 'nodes'>,
  groups: ReadonlyMap<string, GroupConfig>,
  source: Source,
  report: ReportProblem,
): void {
  const context: Context = { groups, source, report };
  for (const part of parts.groups) {
    for (const relation of RELATIONS) checkNames(part, relation, context);
    checkPlace(part, parts, context);
  }
  // what follows walks from group to group, and would say again of every walk what is wrong with a name
  const sound = new Map([...groups].map(([name, group]) => [name, withKnownNames(group, groups)]));
  const among: Context = { ...context, groups: sound };
  if (findCycles(among)) return;
  checkTogether(among);
  checkApart(among);
  checkTogetherWithApart(among);
}

function withKnownNames(group: GroupConfig, groups: Context['groups']): GroupConfig {
  const known = (names: readonly string[]) => [
    ...new Set(names.filter((name) => name !== group.name && groups.has(name))),
  ];
  return { ...group, after: known(group.after), with: known(group.with), apart: known(group.apart) };
}

/** Where the name of `other` stands in a rule of the group; one name may stand without a list. */
function placeOf({ name }: { name: string }, word: string, index: number, source: Source): Path {
  const path = ['groups', name, word];
  return source.writtenAt(path) === undefined ? [...path, index] : path;
}

function checkNames(part: PartsOfGroup, relation: Relation, { groups, source, report }: Context): void {
  const names = part.rules[relation] ?? [];
  const path = ['groups', part.name, relation];
  if (names.length > MAX_RELATED_GROUPS)
    report(path, source.valueAt(path), `${names.length} groups; \`${relation}\` takes at most ${MAX_RELATED_GROUPS}`);
  names.forEach((other, index) => {
    const at = placeOf(part, relation, index, source);
    const others = [...groups.keys()].filter((name) => name !== part.name);
    if (other === part.name)
      report(at, source.valueAt(at), `\`${other}\` is this group itself; \`${relation}\` names other groups`);
    else if (!groups.has(other))
      report(at, source.valueAt(at), `there is no group \`${other}\`; ${known(others)}`, nearest(other, others));
    else if (names.indexOf(other) !== index)
      report(at, source.valueAt(at), `\`${other}\` stands twice in \`${relation}\``);
  });
}

function known(others: readonly string[]): string {
  if (others.length === 0) return 'there is no other group';
  const more = others.length > NAMES_SHOWN ? ` and ${others.length - NAMES_SHOWN} more` : '';
  return `other groups: ${others.slice(0, NAMES_SHOWN).join(', ')}${more}`;
}

/** `prefer`, `failback` and `failover` of one group. */
function checkPlace(part: PartsOfGroup, { nodes, labels }: Pick<Parts, 'labels' | 'nodes'>, context: Context): void {
  const { source, report } = context;
  const { rules } = part;
  const path = (word: string) => ['groups', part.name, word];
  const failback = path('failback');
  checkRange(failback, rules.failback, MIN_FAILBACK_MS, source, report);
  if (rules.failback !== undefined && rules.failover === 'manual')
    report(
      failback,
      source.keyAt(failback),
      '`failback` moves the group by itself, `failover: manual` forbids that; keep one of them',
    );
  const leader = rules.with?.[0];
  for (const word of ['failback', 'prefer'] as const)
    if (leader !== undefined && rules[word] !== undefined)
      report(
        path(word),
        source.keyAt(path(word)),
        `it runs where \`${leader}\` runs (\`with\`), so \`${word}\` decides nothing here; write it at \`${leader}\``,
      );
  if (nodes !== undefined) checkPrefer(part, labels, context);
}

function checkPrefer(part: PartsOfGroup, labels: Parts['labels'], { groups, source, report }: Context): void {
  const entries = part.rules.prefer ?? [];
  const on = groups.get(part.name)?.on ?? [];
  const carried = [...new Set(on.flatMap((node) => labels[node] ?? []))];
  const path = ['groups', part.name, 'prefer'];
  if (entries.length > MAX_PREFERENCES)
    report(
      path,
      source.valueAt(path),
      `${entries.length} entries; \`prefer\` takes at most ${MAX_PREFERENCES}: the order of \`on\` ranks the others`,
    );
  entries.forEach((entry, index) => {
    const at = placeOf(part, 'prefer', index, source);
    const say = (detail: string, suggestion?: string) => report(at, source.valueAt(at), detail, suggestion);
    if (entries.indexOf(entry) !== index) say(`\`${entry}\` stands twice in \`prefer\``);
    else if (!entry.includes('=') && !on.includes(entry))
      say(
        `\`${entry}\` is neither a node of this group’s \`on\` list (${on.join(', ')}) nor a label (key=value)`,
        nearest(entry, [...on, ...carried]),
      );
    else if (entry.includes('=') && !labelSchema.safeParse(entry).success)
      say(`“${entry}” is not a label: key=value, the key in lower-case letters`, nearest(entry, carried));
    else if (entry.includes('=') && !carried.includes(entry))
      say(
        `no node of this group’s \`on\` list carries the label \`${entry}\`; ${carried.length === 0 ? 'they carry none' : `they carry ${carried.join(', ')}`}`,
        nearest(entry, carried),
      );
  });
}

interface Step {
  readonly relation: 'after' | 'with';
  readonly to: string;
}

/** `after` and `with` together: a group must not, over others, wait for itself. @returns whether any was found. */
function findCycles(context: Context): boolean {
  const { groups, source, report } = context;
  const state = new Map<string, 'open' | 'done'>();
  let found = false;
  /** @param way the steps from the first group to this one. */
  const visit = (name: string, way: readonly (Step & { from: string })[]): void => {
    state.set(name, 'open');
    for (const step of steps(groups.get(name))) {
      const next = [...way, { ...step, from: name }];
      if (state.get(step.to) === undefined) visit(step.to, next);
      else if (state.get(step.to) === 'open') {
        found = true;
        const cycle = next.slice(next.findIndex(({ from }) => from === step.to));
        const index = groups.get(name)?.[step.relation].indexOf(step.to) ?? 0;
        const at = placeOf({ name }, step.relation, index, source);
        const chain = [name, ...rotated(cycle, name).map(({ relation, to }) => `${relation} ${to}`)].join(' ');
        report(at, source.valueAt(at), `these wait for each other for ever: ${chain}`);
      }
    }
    state.set(name, 'done');
  };
  for (const name of groups.keys()) if (state.get(name) === undefined) visit(name, []);
  return found;
}

function steps(group: GroupConfig | undefined): Step[] {
  return (['after', 'with'] as const).flatMap((relation) => (group?.[relation] ?? []).map((to) => ({ relation, to })));
}

/** The same circle, told from the group at which it is reported. */
function rotated<T extends { from: string }>(cycle: readonly T[], first: string): T[] {
  const index = cycle.findIndex(({ from }) => from === first);
  return [...cycle.slice(index), ...cycle.slice(0, index)];
}

/** The group and whatever decides over its node, each with the words that lead there: `web with app with db`. */
function leadersOf(name: string, groups: Context['groups']): Map<string, string> {
  const found = new Map([[name, name]]);
  for (const [group, chain] of found)
    for (const leader of groups.get(group)?.with ?? [])
      if (!found.has(leader)) found.set(leader, `${chain} with ${leader}`);
  return found;
}

/** Nodes on which the group and everything it runs with may be. */
function sharedNodes(name: string, groups: Context['groups']): string[] {
  const lists = [...leadersOf(name, groups).keys()].map((group) => groups.get(group)?.on ?? []);
  return (lists[0] ?? []).filter((node) => lists.every((on) => on.includes(node)));
}

function checkTogether({ groups, source, report }: Context): void {
  for (const group of groups.values()) {
    if (group.with.length === 0 || group.on.length === 0 || sharedNodes(group.name, groups).length > 0) continue;
    // one above it that has no place either is the mistake to mend
    if (group.with.some((leader) => sharedNodes(leader, groups).length === 0)) continue;
    const leaders = [...leadersOf(group.name, groups).keys()].slice(1);
    const lists = [group.name, ...leaders].map((name) => `${name} on ${groups.get(name)?.on.join(', ') ?? 'none'}`);
    const path = ['groups', group.name, 'with'];
    report(
      path,
      source.keyAt(path),
      `it has to run on the node of ${listed(leaders, 'and')}, but their \`on\` lists share no node: ${lists.join('; ')}`,
    );
  }
}

/** What runs with two that are kept apart runs nowhere. */
function checkTogetherWithApart({ groups, source, report }: Context): void {
  const torn = (name: string) => {
    const together = [...leadersOf(name, groups).keys()].slice(1);
    for (const one of together)
      for (const other of groups.get(one)?.apart ?? [])
        if (together.includes(other) && neverApart(one, other, groups) === undefined) return [one, other];
    return undefined;
  };
  for (const group of groups.values()) {
    const pair = torn(group.name);
    // one above it that is torn as well is the mistake to mend
    if (pair === undefined || group.with.some((leader) => torn(leader) !== undefined)) continue;
    const path = ['groups', group.name, 'with'];
    report(
      path,
      source.keyAt(path),
      `it has to run on the node of ${listed(pair, 'and')}, which are kept apart (\`apart\` of ${pair[0]})`,
    );
  }
}

function checkApart({ groups, source, report }: Context): void {
  const told = new Set<string>();
  for (const group of groups.values())
    group.apart.forEach((other, index) => {
      const pair = [group.name, other].sort().join(' ');
      if (told.has(pair)) return;
      told.add(pair);
      const problem = neverApart(group.name, other, groups);
      const at = placeOf(group, 'apart', index, source);
      if (problem !== undefined) report(at, source.valueAt(at), problem);
    });
}

/** @returns why these two can never both run while they are kept apart. */
function neverApart(group: string, other: string, groups: Context['groups']): string | undefined {
  const mine = leadersOf(group, groups);
  const theirs = leadersOf(other, groups);
  for (const [leader, chain] of mine) {
    const way = theirs.get(leader);
    if (way === undefined) continue;
    const ways = [chain, way].filter((text) => text.includes(' '));
    return `\`${group}\` and \`${other}\` can never be apart, they run on one node: ${ways.join('; ')}`;
  }
  const [only, ...more] = sharedNodes(group, groups);
  const [otherOnly, ...otherMore] = sharedNodes(other, groups);
  if (only === undefined || only !== otherOnly || more.length > 0 || otherMore.length > 0) return undefined;
  return `\`${group}\` and \`${other}\` can run on ${only} only: one of them would wait for ever; give one of them another node in \`on\``;
}
