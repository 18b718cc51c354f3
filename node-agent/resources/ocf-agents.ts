import { realpathSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Cgroup, errnoOf, run, textOf } from '../system/index.ts';
import { parseAgentName } from './declaration.ts';
import { MAX_METADATA_BYTES, type OcfMetadata, parseMetadata } from './ocf-metadata.ts';

/** An agent on this node's disk. */
export interface OcfAgent {
  readonly provider: string;
  readonly type: string;
  /** The executable, below `<root>/resource.d`. */
  readonly path: string;
  readonly root: string;
}

/** Where Debian and everyone else installs agents. */
export const OCF_ROOT = '/usr/lib/ocf';
/** The environment of every action begins with this. Nothing of the agent's own environment gets in. */
export const BASE_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  OCF_RA_VERSION_MAJOR: '1',
  OCF_RA_VERSION_MINOR: '1',
};
const METADATA_TIMEOUT_MS = 10_000;

/** @returns the agent of that name; what is wrong with the name otherwise. Whether it is installed is asked with {@link agentProblem}. */
export function findAgent(name: string, root = OCF_ROOT): OcfAgent | { readonly problem: string } {
  const parsed = parseAgentName(name);
  if (parsed === undefined)
    return { problem: `ocf: ${JSON.stringify(name)} is not an agent name such as heartbeat:nginx` };
  return { ...parsed, root, path: join(root, 'resource.d', parsed.provider, parsed.type) };
}

/**
 * Why the agent must not be run: it is missing, or somebody other than root can change it or put another in its place.
 * (An agent of the user that runs us counts as root's: then nothing is gained by it.)
 */
export function agentProblem(agent: OcfAgent): string | undefined {
  const { provider, type, root, path } = agent;
  try {
    const file = statSync(path);
    if (!file.isFile() || (file.mode & 0o111) === 0) return `${path} is not an executable file`;
    const real = realpathSync(path);
    const places = [path, real, root, join(root, 'resource.d'), join(root, 'resource.d', provider), join(real, '..')];
    for (const place of places) {
      const problem = ownerProblem(place, statSync(place));
      if (problem !== undefined) return problem;
    }
    return undefined;
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR')
      return `the agent ${provider}:${type} is not installed: there is no ${path}`;
    return `${path} cannot be looked at (${code})`;
  }
}

function ownerProblem(path: string, stats: Stats): string | undefined {
  if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) return `${path} belongs to uid ${stats.uid}, not to root`;
  if ((stats.mode & 0o022) !== 0) return `${path} can be written by others than root; chmod go-w ${path}`;
  return undefined;
}

/** What became of asking an agent for its meta-data. `installed` false: no use in asking again. */
export type MetadataAnswer =
  | { readonly ok: true; readonly metadata: OcfMetadata }
  | { readonly ok: false; readonly reason: string };

/** Meta-data by path; asked again when the file has changed. */
export class MetadataCache {
  readonly #known = new Map<string, { readonly stamp: string; readonly metadata: OcfMetadata }>();

  /** Runs `meta-data`, in the cgroup if one is given. The agent must have passed {@link agentProblem}. */
  async get(agent: OcfAgent, cgroup?: Cgroup): Promise<MetadataAnswer> {
    const { mtimeMs, size, ino } = statSync(agent.path);
    const stamp = `${mtimeMs} ${size} ${ino}`;
    const known = this.#known.get(agent.path);
    if (known?.stamp === stamp) return { ok: true, metadata: known.metadata };
    const result = await run([agent.path, 'meta-data'], {
      env: {
        ...BASE_ENVIRONMENT,
        OCF_ROOT: agent.root,
        OCF_RESOURCE_INSTANCE: agent.type,
        OCF_RESOURCE_TYPE: agent.type,
        OCF_RESOURCE_PROVIDER: agent.provider,
        HA_LOGFACILITY: 'none',
      },
      timeoutMs: METADATA_TIMEOUT_MS,
      stdoutLimit: MAX_METADATA_BYTES,
      cgroup: cgroup?.path,
    });
    const failed = (why: string) =>
      ({ ok: false, reason: `meta-data of ${agent.provider}:${agent.type}: ${why}` }) as const;
    if (result.timedOut) return failed(`no answer within ${METADATA_TIMEOUT_MS / 1_000} s`);
    if (result.notStarted !== undefined) return failed(result.notStarted);
    if (result.truncated) return failed(`more than ${MAX_METADATA_BYTES} bytes`);
    if (result.code !== 0)
      return failed(`ended with ${result.signal ?? result.code}; ${result.output.trim().split('\n').at(-1)}`);
    try {
      const metadata = parseMetadata(result.stdout);
      this.#known.set(agent.path, { stamp, metadata });
      return { ok: true, metadata };
    } catch (error) {
      return failed(textOf(error));
    }
  }
}
