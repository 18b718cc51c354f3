/** May this node run what is declared? The policy's own judgement, with the lines that are missing. */
import { parseDocument } from 'yaml';
import { toDeclaration } from '../agent/plan.ts';
import type { Policy } from '../agent/policy.ts';
import { shellWord } from '../system/index.ts';
import type { Declared } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

export type PolicyFacts = {
  readonly path: string;
  /** A machine that has not joined has no policy yet: `join` writes it. */
  readonly joined: boolean;
} & ({ readonly policy: Policy } | { readonly problem: string });

const { ok, error } = sayer('policy');

export function policyFindings(facts: PolicyFacts, declared: Declared): Finding[] {
  const { path } = facts;
  if ('problem' in facts) return [error(path, facts.problem, `mend ${path}; until then this node runs nothing`)];
  const { policy } = facts;
  const all = declared.groups.flatMap((group) =>
    group.resources.map((resource) => ({
      subject: `${group.name}/${resource.id}`,
      declaration: toDeclaration(resource),
    })),
  );
  const lines = policy.linesNeeded(all.map(({ declaration }) => declaration));
  const fix = fixOf(facts, lines);
  const refused = all.flatMap(({ subject, declaration }) => {
    const verdict = policy.check(declaration);
    if (verdict.allowed) return [];
    const where = verdict.line === undefined ? path : `${path}:${verdict.line}`;
    return [error(subject, facts.joined ? `${where}: ${verdict.reason}` : verdict.reason, fix)];
  });
  if (refused.length > 0) return refused;
  return [ok(path, all.length === 0 ? 'nothing is declared for this node' : 'allows everything that is declared here')];
}

function fixOf({ path, joined }: PolicyFacts, lines: readonly string[]): string {
  if (!joined) return `join with ${allowOptions(lines).join(' ')}`;
  const put = `in ${path}, put these lines below \`allow:\`, in place of keys that are there already; the agent reads them at once:`;
  return [put, ...lines].join('\n');
}

/** The options of `holdfast join` that write these lines. */
export function allowOptions(lines: readonly string[]): string[] {
  const { allow }: { allow?: Record<string, unknown> } = parseDocument(lines.join('\n')).toJS() ?? {};
  return Object.entries(allow ?? {}).flatMap(([kind, value]) => {
    if (Array.isArray(value)) return value.map((entry) => option(`${kind}=${String(entry)}`));
    return Object.entries(value as Record<string, Record<string, readonly unknown[]>>).flatMap(([agent, params]) => {
      const each = Object.entries(params).flatMap(([name, values]) =>
        values.map((entry) => option(`ocf=${agent}:${name}=${String(entry)}`)),
      );
      return each.length === 0 ? [option(`ocf=${agent}`)] : each;
    });
  });
}

function option(value: string): string {
  return `--allow ${shellWord(value)}`;
}
