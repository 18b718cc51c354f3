import { mkdirSync } from 'node:fs';
import { OPERATION_TIMES } from '../../schemas/limits.ts';
import { nearest } from '../../schemas/names.ts';
import { type Cgroup, errnoOf, type GroupCgroup, type RunResult, run, textOf } from '../system/index.ts';
import { isParameterName, type OcfDeclaration, resourceId } from './declaration.ts';
import { agentProblem, BASE_ENVIRONMENT, findAgent, MetadataCache, OCF_ROOT, type OcfAgent } from './ocf-agents.ts';
import { type Ended, meaningOf, monitorResult, startOutcome, stopOutcome } from './ocf-codes.ts';
import { findAction, type OcfMetadata, valueProblem } from './ocf-metadata.ts';
import type { ResourceContext } from './ports.ts';
import {
  couldNotLook,
  type Holding,
  type OperationTimes,
  type Outcome,
  type Probe,
  type Resource,
} from './resource.ts';

export interface OcfOptions {
  readonly root?: string;
  /** Where agents keep their own state between actions. */
  readonly stateDirectory?: string;
  readonly metadata?: MetadataCache;
}

const DEFAULT_TIMES: OperationTimes = OPERATION_TIMES.ocf;
const STATE_DIRECTORY = '/run/resource-agents';
/** How long processes may take to end after a stop that said it had stopped them; what is left then is killed. */
const LEFTOVER_GRACE_MS = 2_000;
/** How long the agent may take to tidy up after its processes were killed: a stop that hangs must leave time for the monitor. */
export const FORCED_TIDY_MS = 400;
const sharedMetadata = new MetadataCache();

/** Looks at the declaration against the agent's meta-data. @returns what is wrong, naming what would be right. */
export function parameterProblem(params: Readonly<Record<string, string>>, metadata: OcfMetadata): string | undefined {
  for (const [name, value] of Object.entries(params)) {
    const parameter = metadata.parameters.get(name);
    if (parameter === undefined) {
      const near = nearest(name, metadata.parameters.keys());
      return `${metadata.name} has no parameter ${name}${near === undefined ? '' : `; did you mean ${near}?`}`;
    }
    const problem = valueProblem(parameter, value);
    if (problem !== undefined) return `${metadata.name}: ${name} ${problem}, not ${JSON.stringify(value)}`;
  }
  const missing = [...metadata.parameters.values()].filter(
    (parameter) => parameter.required && !(parameter.name in params),
  );
  if (missing.length === 0) return undefined;
  return `${metadata.name} needs the parameter ${missing.map((parameter) => parameter.name).join(' and ')}`;
}

/** What no agent should be given, whatever its meta-data says. */
function unsafeParameter(params: Readonly<Record<string, string>>): string | undefined {
  for (const [name, value] of Object.entries(params)) {
    if (!isParameterName(name) || name.startsWith('CRM_meta_'))
      return `ocf: ${JSON.stringify(name)} cannot be the name of a parameter`;
    if (value.includes('\n') || value.includes('\r') || value.includes('\0'))
      return `ocf: the value of ${name} has a line end or a NUL in it`;
  }
  return undefined;
}

/** A resource run by an OCF resource agent: a program of this node's disk, told what to do by its first argument and its environment. */
export class OcfResource implements Resource {
  readonly id: string;
  readonly type = 'ocf';
  readonly times: OperationTimes;
  readonly #agent: OcfAgent;
  readonly #params: Readonly<Record<string, string>>;
  readonly #context: ResourceContext;
  readonly #stateDirectory: string;
  readonly #metadata: MetadataCache;
  readonly #group: GroupCgroup;
  readonly #cgroup: Cgroup;
  /** It has been seen running with processes of its own: then the last of them ending is news. */
  #hasProcesses = false;
  /** The last of them has ended, by itself. */
  #ended = false;

  private constructor(
    declaration: OcfDeclaration,
    context: ResourceContext,
    group: GroupCgroup,
    agent: OcfAgent,
    times: OperationTimes,
    options: OcfOptions,
  ) {
    this.id = resourceId(declaration);
    this.times = { ...times, ...declaration.timeouts };
    this.#agent = agent;
    this.#params = declaration.params;
    this.#context = context;
    this.#stateDirectory = options.stateDirectory ?? STATE_DIRECTORY;
    this.#metadata = options.metadata ?? sharedMetadata;
    this.#group = group;
    this.#cgroup = group.resource(this.id);
  }

  /**
   * Finds the agent and checks the declaration against its meta-data. An agent that cannot give its meta-data just now is no
   * problem yet (the resource may be running): default times are used, and a start asks again.
   * @returns the resource, or why this node cannot run it.
   */
  static async create(
    declaration: OcfDeclaration,
    context: ResourceContext,
    options: OcfOptions = {},
  ): Promise<OcfResource | { readonly problem: string }> {
    const agent = findAgent(declaration.agent, options.root ?? OCF_ROOT);
    if ('problem' in agent) return agent;
    const problem = unsafeParameter(declaration.params) ?? agentProblem(agent);
    if (problem !== undefined) return { problem };
    if (context.cgroups === undefined)
      return {
        problem: `ocf ${declaration.agent}: no cgroup v2 to run it in, so it could not be killed with all its children`,
      };
    const group = context.cgroups.group(context.group);
    const times = await withOperation(group, async (cgroup) => {
      const answer = await (options.metadata ?? sharedMetadata).get(agent, cgroup);
      if (answer.ok) return parameterProblem(declaration.params, answer.metadata) ?? timesOf(answer.metadata);
      context.log.warn(`${answer.reason}; default times are used`);
      return DEFAULT_TIMES;
    });
    if (typeof times === 'string') return { problem: times };
    return new OcfResource(declaration, context, group, agent, times, options);
  }

  /** The cgroup of its daemons. */
  async holdings(): Promise<readonly Holding[]> {
    this.#cgroup.create();
    return [{ kind: 'cgroup', path: this.#cgroup.path }];
  }

  probe(options: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    return this.#probe(options).catch(couldNotLook);
  }

  async #probe({ recurring, signal }: { readonly recurring: boolean; readonly signal: AbortSignal }): Promise<Probe> {
    const ended = await this.#operate(
      'monitor',
      this.times.monitorMs,
      signal,
      recurring ? this.times.monitorIntervalMs : 0,
    );
    const result: Probe =
      'code' in ended ? monitorResult(ended, recurring) : { state: 'failed', severity: 'soft', ...ended };
    const populated = this.#cgroup.populated();
    if (populated) this.#ended = false;
    if (result.state === 'running') this.#hasProcesses ||= populated;
    if (result.state === 'failed' && !populated && (this.#hasProcesses || this.#ended))
      return { ...result, ended: true };
    if (result.state === 'stopped' && populated) {
      const reason = `its monitor says that it does not run, but it has processes: ${this.#cgroup.processNames().join(', ')}`;
      return { state: 'failed', severity: 'soft', reason };
    }
    return result;
  }

  start(signal: AbortSignal): Promise<Outcome> {
    return this.#start(signal).catch(failure);
  }

  async #start(signal: AbortSignal): Promise<Outcome> {
    const problem = agentProblem(this.#agent) ?? (await this.#metadataProblem());
    if (problem !== undefined) return { ok: false, severity: 'hard', reason: problem };
    this.#cgroup.create();
    const ended = await this.#run('start', this.#cgroup, this.times.startMs, signal);
    if (!('code' in ended)) return { ok: false, severity: 'soft', ...ended };
    const outcome = startOutcome(ended);
    this.#hasProcesses = outcome.ok && this.#cgroup.populated();
    this.#ended = false;
    return outcome;
  }

  /** Runs the agent's stop, then ends what it has overlooked: a process that is left is not stopped, whatever the exit code says. */
  stop(signal: AbortSignal): Promise<Outcome> {
    return this.#stop(signal).catch(failure);
  }

  async #stop(signal: AbortSignal): Promise<Outcome> {
    this.#hasProcesses = false;
    const ended = await this.#operate('stop', this.times.stopMs, signal);
    if (!('code' in ended)) return { ok: false, severity: 'soft', ...ended };
    const outcome = stopOutcome(ended);
    if (!outcome.ok || (await this.#cgroup.waitEmpty(LEFTOVER_GRACE_MS, signal))) return outcome;
    const left = this.#cgroup.processNames().join(', ');
    this.#context.log.warn(`${this.id}: stop succeeded but left ${left}; killed`);
    return (await this.#cgroup.kill())
      ? outcome
      : { ok: false, severity: 'soft', reason: `${left} does not end after SIGKILL` };
  }

  /** Kills its processes first, then lets the agent tidy up (pid files), and believes only a monitor that says stopped. */
  forceStop(signal: AbortSignal): Promise<Outcome> {
    return this.#forceStop(signal).catch(failure);
  }

  async #forceStop(signal: AbortSignal): Promise<Outcome> {
    this.#hasProcesses = false;
    const empty = await this.#cgroup.kill();
    if (!empty)
      return {
        ok: false,
        severity: 'soft',
        reason: `${this.#cgroup.processNames().join(', ')} does not end after SIGKILL`,
      };
    const stopped = await this.#operate('stop', Math.min(this.times.stopMs, FORCED_TIDY_MS), signal);
    const found = await this.probe({ recurring: false, signal });
    if (found.state === 'stopped') return { ok: true };
    const state = found.state === 'failed' ? found.reason : 'its monitor says that it still runs';
    const stop = 'code' in stopped && stopOutcome(stopped).ok ? '' : `; stop: ${stopped.reason}`;
    return { ok: false, severity: 'soft', reason: `after its processes were killed: ${state}${stop}` };
  }

  watch(changed: (what: string) => void): () => void {
    this.#cgroup.create();
    return this.#cgroup.watchEmpty(() => {
      if (!this.#hasProcesses) return;
      this.#hasProcesses = false;
      this.#ended = true;
      changed('its last process ended');
    });
  }

  /** Undefined also when the agent cannot answer: a start that can succeed is not refused for it. */
  async #metadataProblem(): Promise<string | undefined> {
    const answer = await withOperation(this.#group, (cgroup) => this.#metadata.get(this.#agent, cgroup));
    return answer.ok ? parameterProblem(this.#params, answer.metadata) : undefined;
  }

  /** Runs an action that leaves nothing behind, in a cgroup of its own. */
  #operate(action: 'stop' | 'monitor', timeoutMs: number, signal: AbortSignal, intervalMs = 0) {
    return withOperation(this.#group, (cgroup) => this.#run(action, cgroup, timeoutMs, signal, intervalMs));
  }

  async #run(
    action: 'start' | 'stop' | 'monitor',
    cgroup: Cgroup,
    timeoutMs: number,
    signal: AbortSignal,
    intervalMs = 0,
  ): Promise<Ended | { readonly reason: string; readonly output?: string }> {
    makeStateDirectory(this.#stateDirectory);
    const result = await run([this.#agent.path, action], {
      env: this.#environment(action, timeoutMs, intervalMs),
      cgroup: cgroup.path,
      timeoutMs,
      signal,
    });
    return interpret(action, result, timeoutMs);
  }

  /** Exactly this and nothing else: OCF Resource Agent API 1.1, section 5, and what the heartbeat agents' shell functions read besides. */
  #environment(action: string, timeoutMs: number, intervalMs: number): Record<string, string> {
    const { provider, type, root } = this.#agent;
    const given = Object.entries(this.#params).map(([name, value]) => [`OCF_RESKEY_${name}`, value] as const);
    return {
      ...BASE_ENVIRONMENT,
      ...Object.fromEntries(given),
      OCF_ROOT: root,
      OCF_RESOURCE_INSTANCE: this.id,
      OCF_RESOURCE_TYPE: type,
      OCF_RESOURCE_PROVIDER: provider,
      OCF_CHECK_LEVEL: '0',
      OCF_RESKEY_CRM_meta_name: action,
      OCF_RESKEY_CRM_meta_timeout: String(timeoutMs),
      OCF_RESKEY_CRM_meta_interval: String(intervalMs),
      HA_LOGFACILITY: 'none',
      HA_RSCTMP: this.#stateDirectory,
      HA_debug: '0',
    };
  }
}

/** The kernel refused something (a cgroup that cannot be made): an outcome like any other. */
function failure(error: unknown): Outcome {
  return { ok: false, severity: 'soft', reason: textOf(error) };
}

/** Gives the work a cgroup of its own and removes it afterwards; one that still has processes is removed later. */
async function withOperation<T>(group: GroupCgroup, work: (cgroup: Cgroup) => Promise<T>): Promise<T> {
  const cgroup = group.operation();
  try {
    return await work(cgroup);
  } finally {
    cgroup.remove();
  }
}

function makeStateDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o1755 });
  } catch (error) {
    // Without it an agent that needs it says so itself.
    if (!['EEXIST', 'ENOENT', 'EACCES', 'EROFS', 'ENOSPC'].includes(errnoOf(error) ?? '')) throw error;
  }
}

function timesOf(metadata: OcfMetadata): OperationTimes {
  const monitor = findAction(metadata, 'monitor');
  const positive = (ms: number | undefined, otherwise: number) => (ms !== undefined && ms > 0 ? ms : otherwise);
  return {
    startMs: positive(findAction(metadata, 'start')?.timeoutMs, DEFAULT_TIMES.startMs),
    stopMs: positive(findAction(metadata, 'stop')?.timeoutMs, DEFAULT_TIMES.stopMs),
    monitorMs: positive(monitor?.timeoutMs, DEFAULT_TIMES.monitorMs),
    monitorIntervalMs: positive(monitor?.intervalMs, DEFAULT_TIMES.monitorIntervalMs),
  };
}

/** An agent's last word is its reason (`ocf-exit-reason:` on standard error); without one, the meaning of the exit code. */
function interpret(
  action: string,
  result: RunResult,
  timeoutMs: number,
): Ended | { readonly reason: string; readonly output?: string } {
  const output = result.output.trim() === '' ? {} : { output: result.output };
  const cleaned = result.unkillable ? ' and a process does not end after SIGKILL' : '; its processes were killed';
  if (result.notStarted !== undefined) return { reason: `${action}: ${result.notStarted}` };
  if (result.timedOut) return { reason: `${action} did not end within ${timeoutMs / 1_000} s${cleaned}`, ...output };
  if (result.aborted) return { reason: `${action} was called off${cleaned}`, ...output };
  if (result.code === null)
    return { reason: `${action} was ended by ${result.signal ?? 'an unknown signal'}`, ...output };
  const said = [...result.output.matchAll(/^ocf-exit-reason:(.*)$/gm)].at(-1)?.[1]?.trim();
  const reason = `${action}: ${said || `${meaningOf(result.code)} (exit code ${result.code})`}`;
  return { code: result.code, reason, ...output };
}
