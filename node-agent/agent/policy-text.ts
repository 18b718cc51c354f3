import { nearest } from '../../schemas/names.ts';
import { isParameterName, parseAgentName, type ResourceDeclaration } from '../resources/index.ts';
import { entryProblem, LISTS, type ListName, PolicyError, type PolicyRules, parsePolicy } from './policy-file.ts';
import { networkOf, parseNetwork, patternProblem, unitName } from './policy-rules.ts';

/** Entries on the way into a file, in the order in which they came, each once. */
export class PolicyText {
  readonly #lists = new Map<ListName, Set<string>>();
  readonly #agents = new Map<string, Map<string, Set<string>>>();

  addEntry(list: ListName, value: string): void {
    this.#lists.set(list, (this.#lists.get(list) ?? new Set()).add(value));
  }

  addAgent(agent: string): void {
    if (!this.#agents.has(agent)) this.#agents.set(agent, new Map());
  }

  addParameter(agent: string, name: string, values: readonly string[]): void {
    this.addAgent(agent);
    const params = this.#agents.get(agent);
    params?.set(name, new Set([...(params.get(name) ?? []), ...values]));
  }

  /** Adds the narrowest entries that fit. @returns why there are none. */
  addDeclaration(declaration: ResourceDeclaration): string | undefined {
    switch (declaration.type) {
      case 'vip': {
        const network = parseNetwork(declaration.address);
        if ('problem' in network) return `vip: ${network.problem}`;
        this.addEntry('vip', networkOf(network));
        return undefined;
      }
      case 'drbd':
        return this.#addLiteral('drbd', declaration.resource);
      case 'mount':
        return this.#addLiteral('mount', declaration.directory);
      case 'service':
        return this.#addLiteral('service', unitName(declaration.unit));
      case 'ocf': {
        const name = parseAgentName(declaration.agent);
        if (name === undefined) return `ocf: ${JSON.stringify(declaration.agent)} is not an agent name`;
        const agent = `${name.provider}:${name.type}`;
        this.addAgent(agent);
        for (const [parameter, value] of Object.entries(declaration.params)) {
          const problem = value.includes('*') ? 'has a * in it' : patternProblem(value);
          if (!isParameterName(parameter)) return `ocf: ${JSON.stringify(parameter)} cannot be the name of a parameter`;
          if (problem !== undefined) return `ocf: ${parameter}=${JSON.stringify(value)}: ${problem}`;
          this.addParameter(agent, parameter, [value]);
        }
        return undefined;
      }
    }
  }

  #addLiteral(list: ListName, value: string): string | undefined {
    const problem = value.includes('*') ? `${JSON.stringify(value)} has a * in it` : entryProblem(list, value);
    if (problem === undefined) this.addEntry(list, value);
    return problem === undefined ? undefined : `${list}: ${problem}`;
  }

  /** What the node would make of the text. */
  rules(): PolicyRules {
    return parsePolicy(['allow:', ...this.lines()].join('\n'), 'policy.yaml');
  }

  has(list: ListName | 'ocf'): boolean {
    return list === 'ocf' ? this.#agents.size > 0 : this.#lists.has(list);
  }

  /** The YAML below `allow:`. */
  lines(): string[] {
    return [...LISTS, 'ocf' as const].flatMap((list) => this.linesOf(list));
  }

  linesOf(list: ListName | 'ocf'): string[] {
    const flow = (values: Iterable<string>) => `[${[...values].map(scalar).join(', ')}]`;
    if (!this.has(list)) return [];
    if (list !== 'ocf') return [`  ${list}: ${flow(this.#lists.get(list) ?? [])}`];
    const agents = [...this.#agents].map(([agent, params]) => {
      const values = [...params].map(([name, allowed]) => `${name}: ${flow(allowed)}`);
      return `    ${JSON.stringify(agent)}: ${values.length === 0 ? '{}' : `{ ${values.join(', ')} }`}`;
    });
    return ['  ocf:', ...agents];
  }
}

/** Plain where no reader of YAML could take it for anything but a word. */
function scalar(value: string): string {
  const word = /^[A-Za-z][A-Za-z0-9_.-]*$/.test(value) && !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(value);
  return word ? value : JSON.stringify(value);
}

const EXPLAINED: readonly (readonly [ListName | 'ocf', string, string])[] = [
  ['vip', 'Addresses by network. Left out: the subnets of the interfaces of this node.', 'vip: ["192.0.2.0/24"]'],
  ['drbd', 'DRBD resources by name. Left out: those of the DRBD configuration of this node.', 'drbd: [r0]'],
  ['mount', 'Mount points; * stands for one segment of a path. Devices are only taken from /dev.', 'mount: ["/srv/*"]'],
  [
    'service',
    'systemd units by exact name, or all instances of a template: "app@*.service".',
    'service: [mariadb.service]',
  ],
  [
    'ocf',
    'OCF agents, with the values that each parameter may take. A parameter that is not listed is refused: some run what they are given as root.',
    'ocf: { "heartbeat:nginx": { configfile: ["/etc/nginx/*"] } }',
  ],
];

/**
 * The policy file that `holdfast join` writes from its `--allow` options (`vip=192.0.2.0/24`, `service=mariadb.service`,
 * `ocf=heartbeat:nginx:configfile=/etc/nginx/*`), commented for the administrator who edits it next.
 * @throws {PolicyError} naming the option that cannot be taken.
 */
export function renderPolicy(allow: readonly string[]): string {
  const text = new PolicyText();
  for (const option of allow) {
    const problem = addOption(text, option);
    if (problem !== undefined) throw new PolicyError(`--allow ${option}`, problem);
  }
  const body = EXPLAINED.flatMap(([list, meaning, example]) => {
    const lines = text.linesOf(list);
    return [`  # ${meaning}`, ...(lines.length === 0 ? [`  # ${example}`] : lines)];
  });
  return [
    '# What Holdfast may run on this node. Whatever the coordinator asks for, nothing else is executed.',
    '# Only root may write this file. What the present configuration would need and is not allowed here: holdfast doctor.',
    'allow:',
    ...body,
    '',
  ].join('\n');
}

function addOption(text: PolicyText, option: string): string | undefined {
  const match = /^([^=]*)=(.*)$/s.exec(option);
  const key = match?.[1] ?? option;
  const value = match?.[2] ?? '';
  const known = [...LISTS, 'ocf'];
  if (match === null || !known.includes(key)) {
    const near = match === null ? undefined : nearest(key, known);
    return near === undefined
      ? `write one of ${known.map((name) => `${name}=…`).join(', ')}`
      : `unknown key ${key}; did you mean ${near}?`;
  }
  const list = LISTS.find((name) => name === key);
  if (list !== undefined) {
    const problem = entryProblem(list, value);
    if (problem === undefined) text.addEntry(list, value);
    return problem;
  }
  const parts = /^(?:ocf:)?([^:=]+:[^:=]+)(?::([^=]*)=(.*))?$/s.exec(value);
  const agent = parts?.[1];
  if (agent === undefined || parseAgentName(agent) === undefined) return 'write ocf=provider:type:parameter=value';
  text.addAgent(agent);
  const parameter = parts?.[2];
  if (parameter === undefined) return undefined;
  if (!isParameterName(parameter)) return `${JSON.stringify(parameter)} cannot be the name of a parameter`;
  const problem = patternProblem(parts?.[3] ?? '');
  if (problem === undefined) text.addParameter(agent, parameter, [parts?.[3] ?? '']);
  return problem;
}
