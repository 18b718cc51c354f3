import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
  type YAMLParseError,
} from 'yaml';
import { nearest } from '../../schemas/names.ts';
import { isParameterName, parseAgentName } from '../resources/index.ts';
import { errnoOf } from '../system/index.ts';
import {
  directoryEntryProblem,
  drbdEntryProblem,
  parseNetwork,
  patternProblem,
  unitEntryProblem,
} from './policy-rules.ts';

/** One thing that the policy allows, and the line that says so. */
export interface Entry {
  readonly value: string;
  readonly line: number;
}

/** An OCF agent with the values that its parameters may take. */
export interface AgentEntry {
  readonly line: number;
  readonly params: ReadonlyMap<string, { readonly line: number; readonly values: readonly Entry[] }>;
}

export const LISTS = ['vip', 'drbd', 'mount', 'service'] as const;
export type ListName = (typeof LISTS)[number];

/** What stands in the file. A list that the file does not have is undefined: its default holds. */
export interface PolicyRules {
  readonly lists: Readonly<Partial<Record<ListName, readonly Entry[]>>>;
  /** By `provider:type`. */
  readonly agents: ReadonlyMap<string, AgentEntry>;
}

/** The policy cannot be used; nothing is allowed until an administrator has mended it. */
export class PolicyError extends Error {
  readonly line: number | undefined;
  /** Without path and line. */
  readonly problem: string;

  constructor(path: string, problem: string, line?: number) {
    super(`${path}${line === undefined ? '' : `:${line}`}: ${problem}`);
    this.name = 'PolicyError';
    this.line = line;
    this.problem = problem;
  }
}

const MAX_POLICY_BYTES = 256 * 1024;

/**
 * Reads the file if only root (or the user that runs this) can have written it.
 * @returns undefined if there is none.
 * @throws {PolicyError}
 */
export async function readPolicyFile(path: string): Promise<string | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      if (errnoOf(error) === 'ELOOP') throw new PolicyError(path, 'is a symbolic link; put the file itself there');
      throw new PolicyError(path, `cannot be read (${errnoOf(error)})`);
    },
  );
  if (file === undefined) return undefined;
  try {
    // Of the open file, so that it cannot be another one by the time it is read.
    const found = await file.stat();
    if (!found.isFile()) throw new PolicyError(path, 'is not a regular file');
    for (const [what, stats] of [[path, found] as const, [dirname(path), await stat(dirname(path))] as const]) {
      if (stats.uid !== 0 && stats.uid !== process.geteuid?.())
        throw new PolicyError(path, `refused: ${what} belongs to uid ${stats.uid}; chown root ${what}`);
      if ((stats.mode & 0o022) !== 0)
        throw new PolicyError(path, `refused: ${what} can be written by group or others; chmod go-w ${what}`);
    }
    if (found.size > MAX_POLICY_BYTES) throw new PolicyError(path, `is larger than ${MAX_POLICY_BYTES} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function yamlProblem({ code, message }: YAMLParseError): string {
  return code === 'DUPLICATE_KEY' ? 'this key is there already; put what it holds below the first one' : message;
}

/**
 * Strict: what is not known is an error, because a misspelt word would silently allow or refuse something else.
 * @param path for messages.
 * @throws {PolicyError} with the line.
 */
export function parsePolicy(text: string, path: string): PolicyRules {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, uniqueKeys: true, prettyErrors: false });
  const lineOf = (node: unknown) => {
    const range = (node as Partial<Node> | null | undefined)?.range;
    return range === undefined || range === null ? undefined : counter.linePos(range[0]).line;
  };
  const fail = (problem: string, node: unknown): never => {
    throw new PolicyError(path, problem, lineOf(node));
  };
  const [error] = document.errors;
  if (error !== undefined) throw new PolicyError(path, yamlProblem(error), counter.linePos(error.pos[0]).line);

  /** A scalar as it is written, so that `1` or `true` in a parameter's values means just these characters. */
  const textOf = (node: unknown): string => {
    if (!isScalar(node) || node.value === null) return fail('a single value was expected', node);
    return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
  };
  const entryOf = (node: unknown): Entry => ({ value: textOf(node), line: lineOf(node) ?? 0 });
  const listOf = (node: unknown): Entry[] => (isSeq(node) ? node.items.map(entryOf) : [entryOf(node)]);
  const mapOf = (node: unknown, what: string): YAMLMap =>
    isMap(node) ? node : fail(`${what} must be a map of names to values`, node);
  const only = (pair: Pair, known: readonly string[]): string => {
    const key = textOf(pair.key);
    if (known.includes(key)) return key;
    const near = nearest(key, known);
    return fail(
      `unknown key ${key}; ${near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`}`,
      pair.key,
    );
  };

  const lists: Partial<Record<ListName, readonly Entry[]>> = {};
  const agents = new Map<string, AgentEntry>();
  const readAgent = (pair: Pair) => {
    const written = textOf(pair.key);
    const name = parseAgentName(written);
    if (name === undefined)
      return fail(`${JSON.stringify(written)} is not an agent name such as heartbeat:nginx`, pair.key);
    const key = `${name.provider}:${name.type}`;
    if (agents.has(key)) fail(`${key} is listed twice`, pair.key);
    const params = new Map<string, { line: number; values: readonly Entry[] }>();
    const empty = pair.value === null || (isScalar(pair.value) && pair.value.value === null);
    for (const parameter of empty ? [] : mapOf(pair.value, key).items) {
      const parameterName = textOf(parameter.key);
      if (!isParameterName(parameterName))
        fail(`${JSON.stringify(parameterName)} cannot be the name of a parameter`, parameter.key);
      const values = listOf(parameter.value);
      for (const entry of values) {
        const problem = patternProblem(entry.value);
        if (problem !== undefined) throw new PolicyError(path, problem, entry.line);
      }
      params.set(parameterName, { line: lineOf(parameter.key) ?? 0, values });
    }
    agents.set(key, { line: lineOf(pair.key) ?? 0, params });
    return undefined;
  };

  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null))
    return { lists, agents };
  for (const top of mapOf(document.contents, 'the policy').items) {
    only(top, ['allow']);
    if (top.value === null || (isScalar(top.value) && top.value.value === null)) continue;
    for (const pair of mapOf(top.value, 'allow').items) {
      const key = only(pair, [...LISTS, 'ocf']);
      const list = LISTS.find((name) => name === key);
      if (list === undefined) {
        if (pair.value === null || (isScalar(pair.value) && pair.value.value === null)) continue;
        for (const agent of mapOf(pair.value, 'ocf').items) readAgent(agent);
        continue;
      }
      const entries = listOf(pair.value);
      for (const entry of entries) {
        const problem = entryProblem(list, entry.value);
        if (problem !== undefined) throw new PolicyError(path, problem, entry.line);
      }
      lists[list] = entries;
    }
  }
  return { lists, agents };
}

/** @returns what is wrong with an entry of one of the lists. */
export function entryProblem(list: ListName, value: string): string | undefined {
  switch (list) {
    case 'vip': {
      const network = parseNetwork(value);
      return 'problem' in network ? network.problem : undefined;
    }
    case 'drbd':
      return drbdEntryProblem(value);
    case 'mount':
      return directoryEntryProblem(value);
    case 'service':
      return unitEntryProblem(value);
  }
}
