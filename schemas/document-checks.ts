/**
 * The rules of a document that reach across its fields, and the step from the document to the configuration that the product
 * uses. Works on whatever parts of a document are well formed, so that one reading finds every problem.
 */
import type { ProblemError } from './api.ts';
import { type Config, type GroupConfig, NO_RULES } from './config.ts';
import { fenceOf } from './document-fence.ts';
import type { Parts, PartsOfGroup, ReportProblem, WrittenLease } from './document-parts.ts';
import { checkResources, type Taken } from './document-resources.ts';
import { checkRules } from './document-rules.ts';
import { pathText, type Source } from './document-source.ts';
import {
  customTiming,
  DEFAULT_PROFILE,
  LEASE_PROFILES,
  type LeaseTiming,
  MAX_GROUPS,
  timingProblem,
} from './limits.ts';
import { nearest } from './names.ts';

export interface Checked {
  readonly errors: ProblemError[];
  /** Meaningful only when there are no errors. */
  readonly config: Config;
}

export function check(parts: Parts, source: Source): Checked {
  const errors: ProblemError[] = [];
  const report: ReportProblem = (path, position, detail, suggestion) => {
    errors.push({ path: pathText(path), ...position, detail, ...(suggestion === undefined ? {} : { suggestion }) });
  };
  checkNodes(parts, source, report);
  const timing = checkLease(parts.lease, source, report);
  if (parts.groups.length > MAX_GROUPS)
    report(
      ['groups'],
      source.keyAt(['groups']),
      `${parts.groups.length} groups; at most ${MAX_GROUPS} fit into one cluster`,
    );
  const nodes = [...new Set(defined(parts.nodes ?? []))];
  const taken: Taken = {
    addresses: new Map(),
    drbd: new Map(),
    devices: new Map(),
    directories: new Map(),
    units: new Map(),
  };
  const groups: Record<string, GroupConfig> = {};
  for (const group of parts.groups) {
    if (parts.nodes !== undefined) checkOn(group, nodes, source, report);
    const resources = checkResources(group, taken, source, report);
    const on = group.on === undefined ? nodes : defined(group.on);
    const fence = fenceOf(group, source, report);
    groups[group.name] = { name: group.name, on, resources, ...rulesOf(group.rules), fence };
  }
  checkRules(parts, new Map(Object.entries(groups)), source, report);
  return { errors, config: { cluster: parts.cluster ?? '', nodes, labels: parts.labels, timing, groups } };
}

function rulesOf({
  failback,
  failover,
  requires,
  fence: _fence,
  ...lists
}: PartsOfGroup['rules']): Omit<GroupConfig, 'name' | 'on' | 'resources' | 'fence'> {
  const given = Object.fromEntries(Object.entries(lists).filter(([, value]) => value !== undefined));
  return {
    ...NO_RULES,
    ...given,
    failbackMs: failback ?? NO_RULES.failbackMs,
    failover: failover ?? NO_RULES.failover,
    requires: requires ?? NO_RULES.requires,
  };
}

function defined<T>(items: readonly (T | undefined)[]): T[] {
  return items.filter((item) => item !== undefined);
}

function checkNodes({ nodes = [], labels }: Parts, source: Source, report: ReportProblem): void {
  nodes.forEach((node, index) => {
    const path = ['nodes', index];
    if (node === undefined) return;
    if (nodes.indexOf(node) !== index) report(path, source.valueAt(path), `\`${node}\` stands twice in nodes`);
  });
  for (const [node, given] of Object.entries(labels))
    given.forEach((label, index) => {
      const path = ['nodes', node, 'labels', index];
      if (given.indexOf(label) !== index) report(path, source.valueAt(path), `\`${label}\` stands twice in labels`);
    });
}

function checkLease(lease: WrittenLease, source: Source, report: ReportProblem): LeaseTiming {
  if (lease === undefined) return LEASE_PROFILES[DEFAULT_PROFILE];
  if (typeof lease === 'string') return LEASE_PROFILES[lease];
  const timing = customTiming(lease.ttl, lease.renew);
  const problem = timingProblem(timing);
  const profile = lease.ttl < 3_000 ? 'fast' : lease.ttl < 10_000 ? 'default' : 'wan';
  if (problem !== undefined) report(['lease'], source.valueAt(['lease']), problem, profile);
  return timing;
}

function checkOn(group: PartsOfGroup, nodes: readonly string[], source: Source, report: ReportProblem): void {
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
