import { isParameterName, parseAgentName, type ResourceDeclaration } from '../resources/index.ts';
import {
  type AgentEntry,
  type Entry,
  LISTS,
  type ListName,
  type PolicyRules,
  parsePolicy,
  readPolicyFile,
} from './policy-file.ts';
import { matches, mountDanger, parseNetwork, unitMatches, valueDanger, vipProblem } from './policy-rules.ts';
import { PolicyText } from './policy-text.ts';

export { PolicyError } from './policy-file.ts';
export { renderPolicy } from './policy-text.ts';

export type Verdict =
  | { readonly allowed: true; readonly line?: number }
  | { readonly allowed: false; readonly reason: string; readonly line?: number };

/** What the node itself is, for what the file leaves out. */
export interface NodeDefaults {
  /** Subnets of the node's own interfaces, `192.0.2.0/24`. Addresses in them are allowed where the file has no `vip`. */
  readonly subnets: readonly string[];
  /** Resources of the node's DRBD configuration. Allowed where the file has no `drbd`; none by default. */
  readonly drbd?: readonly string[];
}

const NO_RULES: PolicyRules = { lists: {}, agents: new Map() };

/**
 * What this node may be asked to run: the bound that its administrator set, whatever a coordinator says. Asked before anything of a
 * declaration is looked at, and what it refuses is not executed.
 */
export class Policy {
  readonly path: string;
  readonly #rules: PolicyRules;
  readonly #defaults: NodeDefaults;

  constructor(rules: PolicyRules, defaults: NodeDefaults, path = 'policy.yaml') {
    this.#rules = rules;
    this.#defaults = defaults;
    this.path = path;
  }

  /**
   * Reads the policy of a node; a file that is missing leaves the defaults.
   * @throws {PolicyError} when the file is wrong, or could have been written by somebody else: then nothing may be run.
   */
  static async load(path: string, defaults: NodeDefaults): Promise<Policy> {
    const text = await readPolicyFile(path);
    return new Policy(text === undefined ? NO_RULES : parsePolicy(text, path), defaults, path);
  }

  /** May this node run that? With the line of the policy that decided, where one did. */
  check(declaration: ResourceDeclaration): Verdict {
    switch (declaration.type) {
      case 'vip':
        return this.#checkVip(declaration.address);
      case 'drbd':
        return this.#checkList(
          'drbd',
          `DRBD resource ${declaration.resource}`,
          (entry) => entry === declaration.resource,
        );
      case 'mount': {
        const danger = mountDanger(declaration);
        if (danger !== undefined) return refuse(`mount: ${danger}`);
        return this.#checkList('mount', `mount point ${declaration.directory}`, (entry) =>
          matches(entry, declaration.directory),
        );
      }
      case 'service':
        return this.#checkList('service', `unit ${JSON.stringify(declaration.unit)}`, (entry) =>
          unitMatches(entry, declaration.unit),
        );
      case 'ocf':
        return this.#checkOcf(declaration.agent, declaration.params);
      default:
        return refuse(`unknown type of resource ${JSON.stringify((declaration as { type?: unknown }).type)}`);
    }
  }

  /**
   * The policy lines that would allow a whole configuration: each key that has to change, whole, to replace or to add. What no line
   * can allow is told in a comment. Empty when all is allowed.
   */
  linesNeeded(declarations: readonly ResourceDeclaration[]): string[] {
    const refused = declarations.filter((declaration) => !this.check(declaration).allowed);
    const comments: string[] = [];
    const allowable = refused.filter((declaration) => {
      const alone = new PolicyText();
      const problem = alone.addDeclaration(declaration);
      const verdict =
        problem === undefined ? new Policy(alone.rules(), this.#defaults).check(declaration) : refuse(problem);
      if (!verdict.allowed) comments.push(`# no line can allow this: ${oneLine(verdict.reason)}`);
      return verdict.allowed;
    });
    const text = new PolicyText();
    for (const list of LISTS)
      if (allowable.some(({ type }) => type === list))
        for (const { value } of this.#entries(list)) text.addEntry(list, value);
    if (allowable.some(({ type }) => type === 'ocf')) {
      for (const [agent, entry] of this.#rules.agents) {
        text.addAgent(agent);
        for (const [name, { values }] of entry.params)
          text.addParameter(
            agent,
            name,
            values.map(({ value }) => value),
          );
      }
    }
    for (const declaration of allowable) text.addDeclaration(declaration);
    const lines = text.lines();
    return [...comments, ...(lines.length === 0 ? [] : ['allow:', ...lines])];
  }

  #entries(list: ListName): readonly Entry[] {
    const listed = this.#rules.lists[list];
    if (listed !== undefined) return listed;
    const values = list === 'vip' ? this.#defaults.subnets : list === 'drbd' ? (this.#defaults.drbd ?? []) : [];
    return values.map((value) => ({ value, line: 0 }));
  }

  #checkList(list: ListName, what: string, fits: (entry: string) => boolean): Verdict {
    const entries = this.#entries(list);
    const found = entries.find((entry) => fits(entry.value));
    if (found !== undefined) return allow(found.line);
    const listed = entries.map((entry) => entry.value).join(', ') || 'nothing';
    return refuse(`${what} is not allowed on this node: ${list} allows ${listed}`, entries[0]?.line);
  }

  #checkVip(address: string): Verdict {
    const entries = this.#entries('vip');
    const networks = entries.map((entry) => parseNetwork(entry.value)).filter((network) => 'text' in network);
    const verdict = vipProblem(address, networks, this.#defaults.subnets);
    if ('by' in verdict) return allow(entries.find((entry) => entry.value === verdict.by)?.line);
    const source = this.#rules.lists.vip === undefined ? ' (no vip in the policy: the subnets of the interfaces)' : '';
    return refuse(`vip: ${verdict.problem}${source}`, entries[0]?.line);
  }

  #checkOcf(agent: string, params: Readonly<Record<string, string>>): Verdict {
    const name = parseAgentName(agent);
    if (name === undefined) return refuse(`ocf: ${JSON.stringify(agent)} is not an agent name`);
    const key = `${name.provider}:${name.type}`;
    const listed = this.#rules.agents.get(key);
    if (listed === undefined)
      return refuse(
        `ocf: the agent ${key} is not allowed on this node; ocf allows ${[...this.#rules.agents.keys()].join(', ') || 'nothing'}`,
        // as for the lists: where the entries begin
        [...this.#rules.agents.values()][0]?.line,
      );
    for (const [parameter, value] of Object.entries(params)) {
      const problem = parameterProblem(key, listed, parameter, value);
      if (problem !== undefined) return problem;
    }
    return allow(listed.line);
  }
}

function parameterProblem(agent: string, listed: AgentEntry, parameter: string, value: string): Verdict | undefined {
  if (!isParameterName(parameter))
    return refuse(`ocf: ${JSON.stringify(parameter)} cannot be the name of a parameter`, listed.line);
  const allowed = listed.params.get(parameter);
  if (allowed === undefined) return refuse(`ocf: ${agent} may not be given the parameter ${parameter}`, listed.line);
  if (/[\0\n\r]/.test(value))
    return refuse(`ocf: the value of ${parameter} has a line end or a NUL in it`, allowed.line);
  if (allowed.values.some((entry) => matches(entry.value, value))) return undefined;
  const danger = valueDanger(value);
  const why =
    danger === undefined
      ? `allowed are ${allowed.values.map((entry) => entry.value).join(', ') || 'no values'}`
      : danger;
  return refuse(`ocf: ${agent} may not be given ${parameter}=${JSON.stringify(value)}: ${why}`, allowed.line);
}

function allow(line: number | undefined): Verdict {
  return line === undefined || line === 0 ? { allowed: true } : { allowed: true, line };
}

function refuse(reason: string, line?: number): Verdict {
  return line === undefined || line === 0 ? { allowed: false, reason } : { allowed: false, reason, line };
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}
